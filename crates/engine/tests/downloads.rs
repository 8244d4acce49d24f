//! What was served of a package: counted while it happens, written once, and held against nobody who may be right.

mod support;

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use otaru_core::campaign::{Policy, Retry};
use otaru_engine::{Declared, DeploymentView, Download};
use otaru_proto::{Access, DeviceId, Notice, Version, VersionReport, encode_version_report};
use support::{Device, Platform, WoundClock, progress_report, settings};

/// What `Platform::package("v2", …)` holds.
const IMAGE: &[u8] = b"image v2";
const SIZE: u64 = IMAGE.len() as u64;

#[tokio::test]
async fn nothing_fetched_is_no_progress_of_nought() {
    let told = Told::open(Policy::default()).await;
    assert_eq!(told.shown().await.download, None);
    drop(told.asks().await);
    assert_eq!(told.shown().await.download, None, "asked, and took nothing");
}

#[tokio::test]
async fn a_device_that_reports_no_progress_still_shows_how_far_its_download_is() {
    let told = Told::open(Policy::default()).await;
    let download = told.asks().await;
    download.tally.add(0..3);
    let half = told.shown().await.download.unwrap();
    assert_eq!((half.bytes, half.size_bytes, half.percent, half.in_flight), (3, SIZE, 37, true));
    assert!(half.last_at.is_some());
    drop(download);
    assert!(!told.shown().await.download.unwrap().in_flight);
    let explained = told.platform.engine.explain(told.device.id.as_str()).await.unwrap();
    assert_eq!(explained.deployments[0].download.unwrap().percent, 37);
}

#[tokio::test]
async fn what_a_retry_or_a_second_range_repeats_counts_once() {
    let told = Told::open(Policy::default()).await;
    for range in [0..6, 0..6, 2..7, 5..7] {
        told.takes(range).await;
    }
    let shown = told.shown().await.download.unwrap();
    assert_eq!((shown.bytes, shown.percent), (7, 87));
    assert!(!told.is_fetched().await, "one byte is missing");
    told.takes(7..8).await;
    told.until_fetched().await;
}

#[tokio::test]
async fn a_complete_download_is_one_row_and_its_pieces_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let told = Told::on(Platform::on_disk(dir.path(), settings(), WoundClock::new()).await).await;
    let beside = rusqlite::Connection::open(dir.path().join("otaru.db")).unwrap();
    let count = "CREATE TABLE written (n INTEGER);
                 CREATE TRIGGER counts AFTER UPDATE ON deployment BEGIN INSERT INTO written VALUES (1); END";
    beside.execute_batch(count).unwrap();
    for byte in 0..SIZE {
        told.takes(byte..byte + 1).await;
    }
    told.until_fetched().await;
    told.takes(0..SIZE).await;
    // Stops once everything that arrived is stored.
    told.platform.engine.stop().await;
    let written: i64 = beside.query_row("SELECT count(*) FROM written", [], |row| row.get(0)).unwrap();
    assert_eq!(written, 1);
}

/// Protocol quirk 28.
#[tokio::test]
async fn success_without_a_complete_download_is_shown_and_changes_nothing_else() {
    let mut told = Told::open(Policy::default()).await;
    told.takes(0..SIZE - 1).await;
    told.device.report_progress(0, 100, "v2").await;
    let shown = told.shown().await;
    assert_eq!(shown.outcome, Some("installed"));
    assert!(shown.unfetched_success);
    assert!(shown.explanation.contains("a success without a complete download"), "{}", shown.explanation);
    let explained = told.platform.engine.explain(told.device.id.as_str()).await.unwrap();
    assert!(explained.deployments[0].unfetched_success);
    let said = explained.sentences.join(" ");
    assert!(said.contains("a success without a complete download"), "{said}");
}

#[tokio::test]
async fn success_after_a_complete_download_is_not_warned_of() {
    let mut told = Told::open(Policy::default()).await;
    told.takes(0..SIZE).await;
    told.device.report_progress(0, 100, "v2").await;
    let shown = told.shown().await;
    assert_eq!((shown.outcome, shown.unfetched_success), (Some("installed"), false));
    assert_eq!(shown.download.unwrap().percent, 100, "that it was fetched outlasts the end");
}

#[tokio::test]
async fn a_complete_download_outlasts_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let told = Told::on(Platform::on_disk(dir.path(), settings(), WoundClock::new()).await).await;
    told.takes(0..SIZE).await;
    told.until_fetched().await;
    let mut told = told.restarted(dir.path()).await;
    let shown = told.shown().await.download.unwrap();
    assert_eq!((shown.bytes, shown.percent, shown.last_at), (SIZE, 100, None));
    told.device.report_progress(0, 100, "v2").await;
    assert!(!told.shown().await.unfetched_success);
}

/// The bytes before the restart may have been served or not; nobody knows.
#[tokio::test]
async fn a_device_that_goes_on_with_a_range_after_a_restart_is_not_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let told = Told::on(Platform::on_disk(dir.path(), settings(), WoundClock::new()).await).await;
    told.takes(0..5).await;
    let mut told = told.restarted(dir.path()).await;
    assert_eq!(told.shown().await.download, None, "what was counted is gone with the process");
    told.takes(5..SIZE).await;
    assert_eq!(told.shown().await.download.unwrap().bytes, 3, "since the start");
    told.device.report_progress(0, 100, "v2").await;
    let shown = told.shown().await;
    assert_eq!((shown.outcome, shown.unfetched_success), (Some("installed"), false));
}

#[tokio::test]
async fn a_download_that_ends_just_after_the_success_takes_the_warning_back() {
    let mut told = Told::open(Policy::default()).await;
    let download = told.asks().await;
    download.tally.add(0..SIZE - 1);
    told.device.report_progress(0, 100, "v2").await;
    assert!(told.shown().await.unfetched_success);
    download.tally.add(SIZE - 1..SIZE);
    told.until_fetched().await;
    assert!(!told.shown().await.unfetched_success);
}

#[tokio::test]
async fn the_late_truth_and_the_end_of_a_download_may_come_in_one_batch() {
    let mut told = Told::open(Policy::default()).await;
    let download = told.asks().await;
    told.device.report_progress(7, 0, "v1").await;
    let faults = told.platform.faults.as_ref().unwrap();
    faults.stall();
    let id = told.device.id.clone();
    told.device.publish(progress_report(&id, 0, 1, "v1")); // the batch that waits; the others make up the next one
    let version = VersionReport { fw_version: Version::as_sent("v2"), ..VersionReport::default() };
    told.device.publish(encode_version_report(&id, &version, None));
    download.tally.add(0..SIZE);
    faults.resume();
    told.until_fetched().await;
    assert!(told.shown().await.late_success);
    assert!(told.platform.engine.health().ready);
}

#[tokio::test]
async fn every_attempt_is_fetched_anew() {
    let retry = Retry { count: 1, interval_secs: 60 };
    let mut told = Told::open(Policy { retry, ..Policy::default() }).await;
    told.takes(0..SIZE).await;
    told.until_fetched().await;
    told.device.report_progress(7, 0, "v1").await;
    told.platform.clock.pass(Duration::from_secs(61));
    told.notice = told.device.is_told("v1").await;
    assert_eq!(told.shown().await.download, None);
    told.takes(0..2).await;
    assert_eq!(told.shown().await.download.unwrap().bytes, 2);
    told.device.report_progress(0, 100, "v2").await;
    assert!(told.shown().await.unfetched_success);
}

/// A device that was told, and its deployment.
struct Told {
    platform: Platform,
    device: Device,
    campaign: String,
    notice: Notice,
}

impl Told {
    async fn open(policy: Policy) -> Told {
        Told::with(Platform::in_memory().await, policy).await
    }

    async fn on(platform: Platform) -> Told {
        Told::with(platform, Policy::default()).await
    }

    async fn with(platform: Platform, policy: Policy) -> Told {
        platform.product().await;
        let id = platform.register("sn1").await;
        let package = platform.package("v2", &[]).await;
        let campaign = platform.campaign(&package, &[&id], policy).await;
        let mut device = platform.connect(&id).await;
        let notice = device.is_told("v1").await;
        Told { platform, device, campaign, notice }
    }

    /// The platform ends and begins again on the same store, and the device connects anew.
    async fn restarted(self, dir: &std::path::Path) -> Told {
        let Told { platform, device, campaign, notice } = self;
        let id: DeviceId = device.id.clone();
        platform.engine.stop().await;
        drop((platform, device));
        let platform = Platform::on_disk(dir, settings(), WoundClock::new()).await;
        // Artifacts are in memory in these tests.
        let body = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(IMAGE))]);
        platform.engine.ingest(&platform.by, Declared::default(), body).await.expect("the same bytes again");
        let device = platform.connect(&id).await;
        Told { platform, device, campaign, notice }
    }

    async fn asks(&self) -> Download {
        let deployment = self.shown().await.deployment_id;
        let Access::Token(token) = &self.notice.access else { panic!("a token was asked for") };
        self.platform.engine.download(&deployment, Some(token)).await.expect("it was told to fetch")
    }

    async fn takes(&self, range: Range<u64>) {
        self.asks().await.tally.add(range);
    }

    async fn shown(&self) -> DeploymentView {
        self.platform.deployment(&self.campaign, &self.device.id).await
    }

    /// As it is stored, not as it is counted.
    async fn is_fetched(&self) -> bool {
        self.shown().await.download.is_some_and(|download| download.is_stored)
    }

    async fn until_fetched(&self) {
        for _ in 0..2_000 {
            if self.is_fetched().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never stored, but {:?}", self.shown().await);
    }
}
