//! Making a backup while the platform serves.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::{
    ARTIFACTS, BackupError, BackupOptions, DATABASE, FORMAT, MANIFEST, Manifest, SECRETS, SecretFile,
    copy_file, digest, failed, parent, place, sync_tree,
};
use crate::error::StoreError;
use crate::private_files;
use crate::sqlite::SqliteStore;
use crate::sqlite::copy::Copied;
use crate::waist::Store;

impl Store {
    /// Makes a backup in `to`, which is an absolute path outside the data directory, and empty or not there yet. Reports
    /// go on meanwhile. What was answered before this was called is in the backup.
    ///
    /// Artifacts are hard links where the file system allows it, for they never change; a backup that is to outlive the
    /// disk must be copied to another one.
    ///
    /// *Retry*: safe; what was made before makes it `NotEmpty`. What an interrupted one left is beside it, named
    /// `.NAME.unfinished-…`, and may be deleted.
    ///
    /// # Errors
    ///
    /// - `Directory`, `NotEmpty`: the path is not accepted.
    /// - `NoRoom`: not enough space.
    /// - `ArtifactGone`: try again.
    /// - `Store`: it could not be read, or it was written faster than copied; or it is in memory, which has no backup.
    /// - `Io`: the disk refused.
    pub async fn back_up(&self, to: &Path, options: BackupOptions) -> Result<Manifest, BackupError> {
        let Store::Sqlite(sqlite) = self else {
            let why = "a store in memory has no backup".to_owned();
            return Err(StoreError::Unavailable(why).into());
        };
        let (sqlite, to) = (sqlite.clone(), to.to_owned());
        tokio::task::spawn_blocking(move || make(&sqlite, &to, options))
            .await
            .unwrap_or_else(|stopped| Err(StoreError::Unavailable(stopped.to_string()).into()))
    }
}

fn make(store: &SqliteStore, to: &Path, options: BackupOptions) -> Result<Manifest, BackupError> {
    check_target(store.dir(), to)?;
    let aside = Aside::make(to, options.now.0)?;
    check_room(store.dir(), to, options.reserve_bytes)?;
    let (from, copied) = (store.dir().join(ARTIFACTS), aside.0.join(ARTIFACTS));

    // What is deleted while the store is copied has been linked before; what is uploaded meanwhile is linked
    // afterwards.
    private_files::make_dir(&copied).map_err(failed("make", &copied))?;
    link_all(&from, &copied, options.reserve_bytes)?;
    let database = aside.0.join(DATABASE);
    store.copy_to(&database)?;
    let copy = Copied::open(&database)?;
    let (mut artifacts, mut artifact_bytes) = (0, 0);
    copy.each_artifact(|artifact_id, bytes| {
        artifacts += 1;
        artifact_bytes += bytes;
        let gone = || BackupError::ArtifactGone { artifact_id: artifact_id.to_owned() };
        let (at, source) = place(&copied, artifact_id).zip(place(&from, artifact_id)).ok_or_else(gone)?;
        if at.exists() || link(&source, &at, options.reserve_bytes)? { Ok(()) } else { Err(gone()) }
    })?;

    let mut secrets = Vec::new();
    for name in SECRETS.into_iter().filter(|_| options.secrets) {
        let (source, at) = (store.dir().join(name), aside.0.join(name));
        if source.exists() {
            copy_file(&source, &at)?;
            secrets.push(SecretFile { name: name.to_owned(), sha256: digest(&at)?.0 });
        }
    }
    let (database_sha256, database_bytes) = digest(&database)?;
    let manifest = Manifest {
        format: FORMAT,
        made_at: options.now.0,
        schema: copy.schema()?,
        database_bytes,
        database_sha256,
        artifacts,
        artifact_bytes,
        secrets,
    };
    drop(copy);
    aside.keep_as(to, &manifest)?;
    Ok(manifest)
}

fn check_target(data: &Path, to: &Path) -> Result<(), BackupError> {
    let refused = |why| Err(BackupError::Directory { path: to.to_owned(), why });
    if to.as_os_str().as_bytes().iter().any(u8::is_ascii_control) {
        return refused("which has control characters; a path without any is accepted");
    }
    if !to.is_absolute() || to.file_name().is_none() {
        return refused("which is no absolute path of a directory; one on the server's machine is accepted");
    }
    let Ok(above) = parent(to).canonicalize() else {
        return refused("and the directory above it does not exist; make that one first");
    };
    if data.canonicalize().is_ok_and(|data| above.starts_with(data)) {
        return refused("which is in the data directory; one outside of it is accepted");
    }
    match fs::read_dir(to) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(BackupError::NotEmpty { path: to.to_owned() }),
            None => Ok(()),
        },
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) if cause.kind() == io::ErrorKind::NotADirectory => {
            refused("which is a file; a directory that is empty or does not exist yet is accepted")
        }
        Err(cause) if is_about_the_path(cause.kind()) => refused(
            "which the server's user cannot read; a directory of its own, or one not there yet, is accepted",
        ),
        Err(cause) => Err(failed("read", to)(cause)),
    }
}

/// Whether there is room for the store with what is in its log. Artifacts need some only on another disk, and it is
/// looked for when one is copied.
fn check_room(data: &Path, to: &Path, reserve: u64) -> Result<(), BackupError> {
    let size = |name: &str| fs::metadata(data.join(name)).map_or(0, |meta| meta.len());
    leave_room(to, size(DATABASE) + size("otaru.db-wal"), reserve)
}

fn leave_room(to: &Path, needed: u64, reserve: u64) -> Result<(), BackupError> {
    let free = private_files::free_bytes(parent(to)).map_err(failed("ask for free space at", parent(to)))?;
    if free < needed.saturating_add(reserve) {
        return Err(BackupError::NoRoom { path: to.to_owned(), needed, reserve, free });
    }
    Ok(())
}

/// Links every artifact there is.
fn link_all(from: &Path, to: &Path, reserve: u64) -> Result<(), BackupError> {
    for folder in fs::read_dir(from).map_err(failed("read", from))? {
        let folder = folder.map_err(failed("read", from))?;
        let name = folder.file_name();
        // Beside the folders of two digits there is one for what is being written.
        if name.len() != 2 {
            continue;
        }
        let path = folder.path();
        for file in fs::read_dir(&path).map_err(failed("read", &path))? {
            let file = file.map_err(failed("read", &path))?;
            link(&file.path(), &to.join(&name).join(file.file_name()), reserve)?;
        }
    }
    Ok(())
}

/// Links an artifact, or copies it where that cannot be. Whether there is one.
fn link(from: &Path, to: &Path, reserve: u64) -> Result<bool, BackupError> {
    private_files::make_dir(parent(to)).map_err(failed("make", parent(to)))?;
    let linked = match fs::hard_link(from, to) {
        Ok(()) => return Ok(true),
        // Another disk, or a file system without links.
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            let needed = fs::metadata(from).map_or(0, |meta| meta.len());
            leave_room(to, needed, reserve).and_then(|()| copy_file(from, to))
        }
        Err(cause) => Err(failed("link", from)(cause)),
    };
    match linked {
        Ok(()) => Ok(true),
        Err(BackupError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether an error is about the path and who asks, so that the same would be refused at any time.
fn is_about_the_path(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{
        InvalidFilename, InvalidInput, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem,
        Unsupported,
    };
    matches!(
        kind,
        InvalidFilename
            | InvalidInput
            | NotADirectory
            | NotFound
            | PermissionDenied
            | ReadOnlyFilesystem
            | Unsupported
    )
}

/// A backup being written. Dropped before it is kept, nothing of it stays.
struct Aside(PathBuf);

impl Aside {
    fn make(to: &Path, now: i64) -> Result<Aside, BackupError> {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let aside = parent(to).join(format!(".{name}.unfinished-{now}"));
        match private_files::make_new_dir(&aside) {
            Ok(()) => Ok(Aside(aside)),
            Err(cause) if is_about_the_path(cause.kind()) => Err(BackupError::Directory {
                path: to.to_owned(),
                why: "and the server's user can make no directory there; one is accepted in a directory that it may \
                      write to",
            }),
            Err(cause) => Err(failed("make", &aside)(cause)),
        }
    }

    fn keep_as(self, to: &Path, manifest: &Manifest) -> Result<(), BackupError> {
        let path = self.0.join(MANIFEST);
        let write = || -> io::Result<()> {
            let mut file = private_files::make_file(&path)?;
            file.write_all(&serde_json::to_vec_pretty(manifest).map_err(io::Error::other)?)?;
            file.sync_all()
        };
        write().map_err(failed("write", &path))?;
        sync_tree(&self.0)?;
        // Takes the place of an empty directory, and of nothing else.
        fs::rename(&self.0, to).map_err(failed("make", to))?;
        private_files::sync_dir(parent(to)).map_err(failed("sync", parent(to)))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Absent once it was kept.
        let _ = fs::remove_dir_all(&self.0);
    }
}
