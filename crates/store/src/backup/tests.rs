//! Backups of a real store in a directory, and data directories made from them.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::blobs::BlobStore;
use crate::rows::{Actor, ArtifactRow};
use crate::sqlite::SqliteOptions;
use crate::vault::Vault;
use crate::waist::Store;

const MADE: WallTime = WallTime(1_700_000_000_000);

/// A data directory in use.
struct House {
    dir: tempfile::TempDir,
    store: Store,
    blobs: BlobStore,
    actor: Actor,
}

impl House {
    async fn new() -> House {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let store = open(&data).await;
        let boot = store.boot(MADE).await.unwrap();
        let blobs = BlobStore::open_directory(&data).await.unwrap();
        let _made = Vault::open_or_create(&data, None).unwrap();
        let actor = Actor { name: "ann".to_owned(), project: boot.project.key };
        House { dir, store, blobs, actor }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn product(&self, id: &str) {
        self.store.create_product(&self.actor, id, id, MADE).await.unwrap();
    }

    async fn artifact(&self, bytes: &[u8]) -> String {
        let id = sha256(bytes);
        let mut writer = self.blobs.writer().await.unwrap();
        writer.write(bytes).await.unwrap();
        writer.finish(&id).await.unwrap();
        let row = ArtifactRow { artifact_id: id.clone(), size_bytes: bytes.len() as u64, created_at: MADE };
        self.store.add_artifact(&self.actor, row).await.unwrap();
        id
    }

    async fn back_up(&self, name: &str) -> Result<Manifest, BackupError> {
        self.store.back_up(&self.path(name), options()).await
    }
}

fn options() -> BackupOptions {
    BackupOptions { secrets: true, reserve_bytes: 0, now: MADE }
}

async fn open(data: &Path) -> Store {
    Store::open_sqlite(data, SqliteOptions::default()).await.unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names in a directory, in order.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_there_when_a_backup_begins_is_there_after_a_restore() {
    let house = House::new().await;
    house.product("before").await;
    let artifact = house.artifact(b"firmware").await;
    let manifest = house.back_up("backup").await.unwrap();
    assert_eq!((manifest.artifacts, manifest.artifact_bytes), (1, 8));
    house.product("after").await;

    let data = house.path("restored");
    let restored = restore(&house.path("backup"), &data, false, MADE).unwrap();
    assert_eq!(restored.manifest, manifest);
    assert_eq!(restored.replaced, None);
    let store = open(&data).await;
    assert!(store.product("before").await.unwrap().is_some());
    assert!(store.product("after").await.unwrap().is_none());
    let blobs = BlobStore::open_directory(&data).await.unwrap();
    assert_eq!(blobs.len(&artifact).await.unwrap(), Some(8));
    let key = |dir: &str| fs::read(house.path(dir).join("master.key")).unwrap();
    assert_eq!(key("restored"), key("data"));
}

#[tokio::test]
async fn a_backup_is_its_owners_alone_and_one_file_per_thing() {
    let house = House::new().await;
    house.artifact(b"firmware").await;
    house.back_up("backup").await.unwrap();
    let backup = house.path("backup");
    assert_eq!(names(&backup), ["artifacts", "manifest.json", "master.key", "otaru.db"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&backup), 0o700);
    for name in ["manifest.json", "master.key", "otaru.db"] {
        assert_eq!(mode(&backup.join(name)), 0o600, "{name}");
    }
    assert_eq!(names(house.dir.path()), ["backup", "data"], "nothing is left beside it");

    let without = BackupOptions { secrets: false, ..options() };
    house.store.back_up(&house.path("open"), without).await.unwrap();
    assert_eq!(names(&house.path("open")), ["artifacts", "manifest.json", "otaru.db"]);
}

#[tokio::test]
async fn a_directory_that_cannot_become_one_is_refused_and_left_as_it_is() {
    let house = House::new().await;
    fs::create_dir(house.path("full")).unwrap();
    fs::write(house.path("full").join("mine"), "").unwrap();
    fs::create_dir(house.path("empty")).unwrap();
    fs::write(house.path("file"), "").unwrap();

    assert!(matches!(house.back_up("full").await, Err(BackupError::NotEmpty { .. })));
    assert_eq!(names(&house.path("full")), ["mine"]);
    for name in ["file", "nowhere/backup", "data/backup", "nul\0l", "two\nlines", &"long".repeat(64)] {
        let refused = house.back_up(name).await.unwrap_err();
        assert!(matches!(refused, BackupError::Directory { .. }), "{name}: {refused}");
    }
    let system = house.store.back_up(Path::new("/proc/backup"), options()).await.unwrap_err();
    assert!(matches!(system, BackupError::Directory { .. }), "{system}");
    let relative = house.store.back_up(Path::new("backup"), options()).await.unwrap_err();
    assert!(relative.to_string().contains("no absolute path"), "{relative}");
    let crowded = BackupOptions { reserve_bytes: u64::MAX, ..options() };
    let refused = house.store.back_up(&house.path("crowded"), crowded).await.unwrap_err();
    assert!(matches!(refused, BackupError::NoRoom { .. }), "{refused}");
    house.back_up("empty").await.unwrap();
    assert_eq!(names(house.dir.path()), ["data", "empty", "file", "full"]);
}

#[tokio::test]
async fn sessions_after_a_restore_have_numbers_that_no_earlier_one_had() {
    let house = House::new().await;
    house.back_up("backup").await.unwrap();
    let mut last = 0;
    for _ in 0..3 {
        last = house.store.boot(MADE).await.unwrap().number;
    }
    let day = WallTime(MADE.0 + 86_400_000);
    restore(&house.path("backup"), &house.path("restored"), false, day).unwrap();
    let first = open(&house.path("restored")).await.boot(day).await.unwrap().number;
    assert!(first > last, "{first} after {last}");

    let next = WallTime(day.0 + 60_000);
    restore(&house.path("backup"), &house.path("again"), false, next).unwrap();
    let second = open(&house.path("again")).await.boot(next).await.unwrap().number;
    assert!(second > first, "{second} after {first}");
}

#[tokio::test]
async fn a_store_that_is_in_the_way_is_moved_aside_when_that_is_asked_for() {
    let house = House::new().await;
    house.back_up("backup").await.unwrap();
    house.product("after").await;
    let data = house.path("data");
    let busy = restore(&house.path("backup"), &data, true, MADE).unwrap_err();
    assert!(matches!(busy, BackupError::Store(StoreError::Locked { .. })), "{busy}");

    let House { dir, store, .. } = house;
    drop(store);
    let backup = dir.path().join("backup");
    let refused = restore(&backup, &data, false, MADE).unwrap_err();
    assert!(matches!(refused, BackupError::Occupied { .. }), "{refused}");
    assert!(open(&data).await.product("after").await.unwrap().is_some(), "nothing was touched");

    let restored = restore(&backup, &data, true, MADE).unwrap();
    let aside = restored.replaced.unwrap();
    assert!(open(&data).await.product("after").await.unwrap().is_none());
    assert!(open(&aside).await.product("after").await.unwrap().is_some(), "what was there can still be used");
}

#[tokio::test]
async fn a_backup_that_is_not_what_its_manifest_says_is_refused() {
    let house = House::new().await;
    let artifact = house.artifact(b"firmware").await;
    house.back_up("backup").await.unwrap();
    let backup = house.path("backup");
    let data = house.path("restored");
    let artifact = place(&backup.join("artifacts"), &artifact).unwrap();
    for path in [backup.join("otaru.db"), backup.join("master.key"), artifact] {
        let whole = fs::read(&path).unwrap();
        let mut altered = whole.clone();
        *altered.last_mut().unwrap() ^= 1;
        // Beside the artifact there is the original, which a link would alter as well.
        fs::remove_file(&path).unwrap();
        let missing = restore(&backup, &data, false, MADE).unwrap_err();
        assert!(matches!(missing, BackupError::Damaged { .. }), "{missing}");
        fs::write(&path, altered).unwrap();
        let refused = restore(&backup, &data, false, MADE).unwrap_err();
        assert!(refused.to_string().contains("SHA-256"), "{refused}");
        assert!(!data.join("otaru.db").exists());
        fs::write(&path, whole).unwrap();
    }
    restore(&backup, &data, false, MADE).unwrap();
    let nothing = restore(house.dir.path(), &data, true, MADE).unwrap_err();
    assert!(nothing.to_string().contains("it has no manifest.json"), "{nothing}");
}

#[tokio::test]
async fn a_restore_that_was_interrupted_keeps_the_store_shut_until_it_is_done() {
    // Wherever it ended: while copying; after the log, the store or the artifacts were moved aside; after some of what
    // was restored was in place.
    let stops: [&[(&str, &str)]; 4] = [
        &[],
        &[("otaru.db", "restoring/replaced/otaru.db")],
        &[("otaru.db", "restoring/replaced/otaru.db"), ("artifacts", "restoring/replaced/artifacts")],
        &[
            ("otaru.db", "restoring/replaced/otaru.db"),
            ("artifacts", "restoring/replaced/artifacts"),
            ("restoring/new/artifacts", "artifacts"),
        ],
    ];
    for renamed in stops {
        let house = House::new().await;
        let artifact = house.artifact(b"firmware").await;
        house.back_up("backup").await.unwrap();
        house.product("after").await;
        let (data, backup) = (house.path("data"), house.path("backup"));
        let House { dir: _kept, store, .. } = house;
        drop(store);
        fs::create_dir_all(data.join("restoring/new/artifacts")).unwrap();
        fs::create_dir_all(data.join("restoring/replaced")).unwrap();
        fs::write(data.join("restoring/moving"), "").unwrap();
        for (from, to) in renamed {
            fs::rename(data.join(from), data.join(to)).unwrap();
        }

        let shut = Store::open_sqlite(&data, SqliteOptions::default()).await.unwrap_err();
        assert!(shut.to_string().contains("run `otaru restore` again"), "{shut}");
        let restored = restore(&backup, &data, false, MADE).unwrap();
        let blobs = BlobStore::open_directory(&data).await.unwrap();
        assert_eq!(blobs.len(&artifact).await.unwrap(), Some(8), "{renamed:?}");
        assert!(open(&data).await.product("after").await.unwrap().is_none(), "{renamed:?}");
        let aside = restored.replaced.unwrap();
        assert!(open(&aside).await.product("after").await.unwrap().is_some(), "{renamed:?}");
    }
}
