//! What is forgotten by age, what is deleted by hand, and what stays.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use otaru_core::campaign::{CampaignState, Policy};
use otaru_engine::{CampaignError, Declared, ForgottenOld, Retention, Settings};
use otaru_store::{BlobStore, Store, StoreError, Vault};
use support::{Platform, WoundClock, settings};

const DAY: Duration = Duration::from_secs(86_400);

/// Waits for what the platform does by itself.
async fn until(wanted: impl AsyncFn() -> bool) {
    for _ in 0..30_000 {
        if wanted().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it does not happen");
}

/// Everything for ten days, artifacts for three.
fn ten_days() -> Settings {
    let ten = Some(DAY * 10);
    let retention = Retention {
        reports: ten,
        device_logs: ten,
        audit: ten,
        quarantine: ten,
        campaigns: ten,
        artifacts: Some(DAY * 3),
    };
    Settings { retention, ..settings() }
}

#[tokio::test]
async fn what_is_old_is_forgotten_and_the_device_stays_as_it_is() {
    let platform = Platform::in_memory_with(ten_days()).await;
    platform.product().await;
    let id = platform.register("sn1").await;
    let mut device = platform.connect(&id).await;
    device.report_version("v1").await;
    platform.clock.pass(DAY * 6);
    device.report_version("v2").await;
    assert_eq!(platform.engine.forget_old().await.unwrap(), ForgottenOld::default(), "nothing is old");
    platform.clock.pass(DAY * 6);
    let forgotten = platform.engine.forget_old().await.unwrap();
    assert_eq!(forgotten.reports, 1);
    assert!(forgotten.audit > 0, "{forgotten:?}");
    let left = platform.engine.reports(id.as_str(), None, 10).await.unwrap();
    assert_eq!(left.len(), 1);
    let shown = platform.engine.device(id.as_str()).await.unwrap().unwrap();
    assert_eq!(shown.record.state.firmware_version.as_deref(), Some("v2"));
    platform.clock.pass(DAY * 60);
    assert_eq!(platform.engine.forget_old().await.unwrap().reports, 0, "the last report there is stays");
    device.report_version("v3").await;
    assert_eq!(platform.engine.reports(id.as_str(), None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn for_ever_is_for_ever() {
    let off = Retention {
        reports: None,
        device_logs: None,
        audit: None,
        quarantine: None,
        campaigns: None,
        artifacts: None,
    };
    let platform = Platform::in_memory_with(Settings { retention: off, ..settings() }).await;
    platform.product().await;
    let id = platform.register("sn1").await;
    let mut device = platform.connect(&id).await;
    device.report_version("v1").await;
    device.report_version("v2").await;
    upload(&platform, "unused").await;
    platform.clock.pass(DAY * 36_000);
    assert_eq!(platform.engine.forget_old().await.unwrap(), ForgottenOld::default());
}

#[tokio::test]
async fn a_campaign_goes_with_its_deployments_and_frees_its_package() {
    let platform = Platform::in_memory_with(ten_days()).await;
    platform.product().await;
    let package = platform.package("v2", &[]).await;
    let (one, other) = (platform.register("sn1").await, platform.register("sn2").await);
    let campaign = platform.campaign(&package, &[&one, &other], Policy::default()).await;
    let open = platform.campaign(&package, &[&one], Policy::default()).await;
    let refused = platform.engine.delete_campaign(&platform.by, &campaign).await.unwrap_err();
    assert!(matches!(refused, CampaignError::WrongState { .. }), "{refused}");

    let counts = async || platform.engine.campaign(&campaign).await.unwrap().unwrap();
    until(async || counts().await.0.state == CampaignState::Running).await;
    platform.engine.cancel_campaign(&platform.by, &campaign).await.unwrap();
    until(async || counts().await.1.unfinished() == 0).await;
    assert_eq!(counts().await.1.total(), 2);
    platform.clock.pass(DAY * 9);
    assert_eq!(platform.engine.forget_old().await.unwrap().campaigns, 0);
    platform.clock.pass(DAY * 2);
    assert_eq!(platform.engine.forget_old().await.unwrap().campaigns, 1);
    assert!(platform.engine.campaign(&campaign).await.unwrap().is_none());
    assert!(platform.engine.campaign(&open).await.unwrap().is_some(), "it has not ended");
}

#[tokio::test]
async fn deleting_is_taken_up_again_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let clock = WoundClock::new();
    let store = Store::open_sqlite(dir.path(), otaru_store::SqliteOptions::default()).await.unwrap();
    let engine = otaru_engine::Engine::open(
        settings(),
        store.clone(),
        BlobStore::memory(),
        Vault::for_tests(),
        clock.clone(),
    );
    let engine = engine.await.unwrap();
    engine.ensure_admin(Some("otaru_test")).await.unwrap();
    let by = engine.operator("otaru_test").await.unwrap();
    let platform = Platform { engine, clock: clock.clone(), faults: None, by };
    platform.product().await;
    let package = platform.package("v2", &[]).await;
    let id = platform.register("sn1").await;
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    let counts = async || platform.engine.campaign(&campaign).await.unwrap().unwrap();
    until(async || counts().await.0.filled).await;
    platform.engine.cancel_campaign(&platform.by, &campaign).await.unwrap();
    until(async || counts().await.1.unfinished() == 0).await;
    platform.engine.stop().await;
    // It is deleted, and the process ends before the deployments are.
    store.delete_campaign(&platform.actor(), &campaign, otaru_core::WallTime(1)).await.unwrap().unwrap();
    assert_eq!(store.leaving_campaigns().await.unwrap().len(), 1);
    drop(platform);
    drop(store);

    let store = Store::open_sqlite(dir.path(), otaru_store::SqliteOptions::default()).await.unwrap();
    let engine =
        otaru_engine::Engine::open(settings(), store.clone(), BlobStore::memory(), Vault::for_tests(), clock);
    let engine = engine.await.unwrap();
    until(async || store.leaving_campaigns().await.unwrap().is_empty()).await;
    engine.stop().await;
}

async fn upload(platform: &Platform, bytes: &'static str) -> String {
    let body = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(bytes))]);
    platform.engine.ingest(&platform.by, Declared::default(), body).await.unwrap().0.artifact_id
}

#[tokio::test]
async fn an_artifact_out_of_use_goes_with_its_bytes_and_one_in_use_stays() {
    let platform = Platform::in_memory_with(ten_days()).await;
    platform.product().await;
    platform.package("v2", &[]).await;
    let unused = upload(&platform, "unused").await;
    platform.clock.pass(DAY * 2);
    assert_eq!(upload(&platform, "unused").await, unused, "uploaded again, it is in use again");
    platform.clock.pass(DAY * 2);
    assert_eq!(platform.engine.forget_old().await.unwrap().artifacts, 0);
    platform.clock.pass(DAY * 2);
    assert_eq!(platform.engine.forget_old().await.unwrap().artifacts, 1);
    assert!(platform.engine.artifact(&unused).await.unwrap().is_none());
}

#[tokio::test]
async fn bytes_that_a_crash_left_without_an_artifact_are_taken_away_once_they_are_old() {
    let blobs = BlobStore::memory();
    let orphan = "cd".repeat(32);
    let mut writer = blobs.writer().await.unwrap();
    writer.write(b"orphan").await.unwrap();
    writer.finish(&orphan).await.unwrap();
    let engine = otaru_engine::Engine::open(
        settings(),
        Store::memory(),
        blobs.clone(),
        Vault::for_tests(),
        WoundClock::new(),
    );
    let engine = engine.await.unwrap();
    engine.ensure_admin(Some("otaru_test")).await.unwrap();
    let by = engine.operator("otaru_test").await.unwrap();
    let body = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from("kept"))]);
    let kept = engine.ingest(&by, Declared::default(), body).await.unwrap().0.artifact_id;
    // In memory every age is old.
    assert_eq!(engine.forget_old().await.unwrap().orphans, 1);
    assert!(blobs.open(&orphan).await.unwrap().is_none());
    assert!(blobs.open(&kept).await.unwrap().is_some());
}

#[tokio::test]
async fn uploads_and_deletions_of_the_same_bytes_never_leave_a_row_without_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = BlobStore::open_directory(dir.path()).await.unwrap();
    let engine = otaru_engine::Engine::open(
        settings(),
        Store::open_sqlite(dir.path(), otaru_store::SqliteOptions::default()).await.unwrap(),
        blobs.clone(),
        Vault::for_tests(),
        WoundClock::new(),
    );
    let engine = engine.await.unwrap();
    engine.ensure_admin(Some("otaru_test")).await.unwrap();
    let by = engine.operator("otaru_test").await.unwrap();
    let upload = async || {
        let body = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from("contested"))]);
        engine.ingest(&by, Declared::default(), body).await.unwrap().0.artifact_id
    };
    let id = upload().await;
    for _ in 0..100 {
        let delete = async || match engine.delete_artifact(&by, &id).await {
            Ok(_) | Err(StoreError::InUse { .. }) => {}
            Err(error) => panic!("{error}"),
        };
        let uploads = futures_util::future::join_all((0..4).map(|_| upload()));
        let deletions = futures_util::future::join_all((0..4).map(|_| delete()));
        futures_util::future::join(uploads, deletions).await;
        let has_row = engine.artifact(&id).await.unwrap().is_some();
        let has_bytes = blobs.open(&id).await.unwrap().is_some();
        assert_eq!(has_row, has_bytes);
    }
}
