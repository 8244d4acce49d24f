//! Packages whose bytes are read in the background: devices wait for them, and are told once they are here.

mod support;

use std::path::Path;
use std::time::Duration;

use otaru_core::campaign::Policy;
use otaru_engine::{
    Bucket, Content, Engine, NewContent, ObjectError, ObjectPlace, PackageDelivery, PackageRequest, Settings,
};
use otaru_proto::PackageKind;
use support::{Platform, WoundClock, settings};

const SHA256_OF_IMAGE: &str = "9d048c9556a131f12402d3114f485dbf1e150474cb635d1af103188484ea20ee";

fn place(key: &str, sha256: Option<&str>) -> ObjectPlace {
    ObjectPlace { bucket: "images".into(), key: key.into(), sha256: sha256.map(str::to_owned) }
}

fn with_bucket(directory: &Path) -> Settings {
    let buckets = [("images".to_owned(), Bucket::Directory(directory.to_owned()))].into();
    Settings { buckets, ..settings() }
}

impl Platform {
    /// A package of an object that nobody has looked for.
    async fn package_at(&self, place: ObjectPlace) -> String {
        let request = PackageRequest {
            product_id: "p".into(),
            kind: PackageKind::Firmware,
            version: "v2".into(),
            content: NewContent::At(place),
            file_name: "app.bin".into(),
            source_versions: Vec::new(),
            custom_info: None,
            delivery: PackageDelivery::SignedUrl,
        };
        self.engine.create_package(&self.by, request).await.expect("it may be made").package_id
    }
}

async fn content(engine: &Engine, package: &str) -> Content {
    engine.package(package).await.expect("the store is there").expect("the package too").content
}

/// Waits until the content of a package is in this state; answers with its problem.
async fn until(engine: &Engine, package: &str, state: &str) -> String {
    for _ in 0..2_000 {
        let content = content(engine, package).await;
        if content.state() == state && (state != "pending" || content.problem().is_some()) {
            return content.problem().unwrap_or_default().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never {state}, but {:?}", content(engine, package).await);
}

#[tokio::test]
async fn devices_wait_for_a_package_that_is_invalid_and_go_once_it_was_put_right() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::in_memory_with(with_bucket(dir.path())).await;
    platform.product().await;
    let id = platform.register("sn1").await;
    let mut device = platform.connect(&id).await;
    // The image is another one than was said.
    std::fs::write(dir.path().join("app.bin"), "some other image").unwrap();
    let package = platform.package_at(place("app.bin", Some(SHA256_OF_IMAGE))).await;
    let problem = until(&platform.engine, &package, "invalid").await;
    assert!(problem.contains(SHA256_OF_IMAGE), "{problem}");
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    platform.until(&campaign, &id, "released").await;
    assert!(device.heard_nothing_for(Duration::from_millis(50)).await);
    let why = platform.engine.explain(id.as_str()).await.unwrap().deployments[0].held_back.clone().unwrap();
    assert_eq!(why.reason, "package_not_ready");
    assert!(why.explanation.contains(&package) && why.explanation.contains("invalid"), "{why:?}");
    // Also longer than a device is waited for: it is not the device that is late.
    drop(device);
    platform.clock.pass(Duration::from_secs(26 * 3_600));
    let shown = platform.until(&campaign, &id, "released").await;
    assert_eq!(shown.outcome, None);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(platform.deployment(&campaign, &id).await.outcome, None);
    let mut device = platform.connect(&id).await;
    assert!(device.heard_nothing_for(Duration::from_millis(50)).await);
    // The right image is put there, and somebody says so.
    std::fs::write(dir.path().join("app.bin"), "image v2").unwrap();
    let again = platform.engine.retry_package(&platform.by, &package).await.unwrap();
    assert_eq!(again.content, Content::Pending { problem: None });
    let notice = device.is_told("v1").await;
    assert_eq!((notice.sign.as_str(), notice.file_size), (SHA256_OF_IMAGE, 8));
    assert_eq!(content(&platform.engine, &package).await.artifact(), Some((SHA256_OF_IMAGE, 8)));
}

#[tokio::test]
async fn what_cannot_be_read_yet_is_tried_again_also_after_a_restart() {
    let (store, images) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = WoundClock::new();
    // Somebody has forgotten to configure the bucket.
    let platform = Platform::on_disk(store.path(), settings(), clock.clone()).await;
    platform.product().await;
    let id = platform.register("sn1").await;
    let package = platform.package_at(place("app.bin", None)).await;
    let problem = until(&platform.engine, &package, "pending").await;
    assert!(problem.contains("no bucket images"), "{problem}");
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    let mut device = platform.connect(&id).await;
    platform.until(&campaign, &id, "released").await;
    assert!(device.heard_nothing_for(Duration::from_millis(50)).await);
    let why = platform.engine.explain(id.as_str()).await.unwrap().deployments[0].held_back.clone().unwrap();
    assert!(why.explanation.contains("tried again"), "{why:?}");
    platform.engine.stop().await;
    drop((device, platform));
    std::fs::write(images.path().join("app.bin"), "image v2").unwrap();
    let platform = Platform::on_disk(store.path(), with_bucket(images.path()), clock).await;
    until(&platform.engine, &package, "ready").await;
    let mut device = platform.connect(&id).await;
    assert_eq!(device.is_told("v1").await.sign, SHA256_OF_IMAGE);
}

#[tokio::test]
async fn an_object_that_is_gone_or_empty_makes_its_package_invalid() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::in_memory_with(with_bucket(dir.path())).await;
    platform.product().await;
    let package = platform.package_at(place("app.bin", None)).await;
    let problem = until(&platform.engine, &package, "invalid").await;
    assert_eq!(problem, "there is no object app.bin in bucket images");
    std::fs::write(dir.path().join("app.bin"), "").unwrap();
    platform.engine.retry_package(&platform.by, &package).await.unwrap();
    for _ in 0..2_000 {
        if until(&platform.engine, &package, "invalid").await.contains("empty") {
            return;
        }
    }
    panic!("{:?}", content(&platform.engine, &package).await);
}

#[tokio::test]
async fn only_files_below_the_directory_are_objects_and_nothing_else_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (outside, bucket) = (dir.path().join("outside"), dir.path().join("bucket"));
    std::fs::create_dir_all(bucket.join("pump/dir.bin")).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("app.bin"), "x").unwrap();
    std::fs::write(bucket.join("pump/app.bin"), "x").unwrap();
    std::os::unix::fs::symlink(&outside, bucket.join("away")).unwrap();
    std::os::unix::fs::symlink("pump", bucket.join("near")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(bucket.join("pipe.bin")).status().unwrap();
    assert!(made.success());
    let platform = Platform::in_memory_with(with_bucket(&bucket)).await;
    let found = async |key: &str| platform.engine.object_content(place(key, None)).await;
    for key in ["pump/app.bin", "near/app.bin"] {
        let (content, name) = found(key).await.unwrap();
        assert_eq!((content, name.as_str()), (NewContent::At(place(key, None)), "app.bin"));
    }
    let long = format!("{}.bin", "x".repeat(300));
    for key in ["pump/none.bin", "pump/app.bin/x.bin", "away/app.bin", "pump/dir.bin", "pipe.bin", &long] {
        let error = found(key).await.unwrap_err();
        assert!(matches!(error, ObjectError::Missing { .. }), "{key}: {error}");
    }
    for key in ["../outside/app.bin", "/etc/passwd", "pump/../../outside/app.bin", ""] {
        let error = found(key).await.unwrap_err();
        assert!(matches!(error, ObjectError::Key(_)), "{key}: {error}");
    }
}
