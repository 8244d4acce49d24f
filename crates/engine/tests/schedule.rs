//! Campaigns that start by themselves.

mod support;

use std::time::Duration;

use otaru_core::WallTime;
use otaru_core::campaign::Policy;
use otaru_engine::{CampaignRequest, Clock, DeviceSelection, Faulty};
use support::{Platform, WoundClock, settings};

const HOUR: Duration = Duration::from_secs(3_600);

fn request(package: &str, start_at: Option<WallTime>) -> CampaignRequest {
    CampaignRequest {
        name: "spring".into(),
        package_ids: vec![package.to_owned()],
        devices: DeviceSelection::Product("p".into()),
        policy: Policy::default(),
        ext_info: None,
        start_at,
        start: false,
    }
}

fn after(clock: &WoundClock, span: Duration) -> WallTime {
    WallTime(clock.wall().0 + i64::try_from(span.as_millis()).expect("spans of a test are short"))
}

#[tokio::test]
async fn a_campaign_starts_when_its_time_has_come_and_not_before() {
    let (platform, mut devices, package) = Platform::with_devices(1).await;
    let at = after(&platform.clock, HOUR);
    let made = platform.engine.create_campaign(&platform.by, request(&package, Some(at))).await.unwrap();
    let id = made.campaign_id;
    platform.until_campaign(&id, "scheduled").await;
    assert!(devices[0].heard_nothing_for(Duration::from_millis(50)).await);
    let why = platform.engine.explain(devices[0].id.as_str()).await.unwrap();
    let held_back = why.deployments[0].held_back.clone().unwrap();
    assert_eq!((held_back.reason, held_back.start_at), ("scheduled", Some(at)));
    platform.clock.pass(HOUR);
    devices[0].is_told("v1").await;
    let (row, _) = platform.engine.campaign(&id).await.unwrap().unwrap();
    assert_eq!((row.state.name(), row.start_at), ("running", Some(at)));
    assert!(row.started_at.unwrap() >= at);
    let log = platform.engine.audit(otaru_engine::Page { after: None, limit: 100 }).await.unwrap();
    let started: Vec<&str> =
        log.iter().filter(|line| line.action == "campaign_started").map(|line| line.actor.as_str()).collect();
    assert_eq!(started, ["platform"]);
}

#[tokio::test]
async fn a_time_that_passed_while_the_platform_was_down_is_made_up_for_once() {
    let dir = tempfile::tempdir().unwrap();
    let clock = WoundClock::new();
    let platform = Platform::on_disk(dir.path(), settings(), clock.clone()).await;
    platform.product().await;
    let id = platform.register("sn1").await;
    let package = platform.package("v2", &[]).await;
    let at = after(&clock, HOUR);
    let made = platform.engine.create_campaign(&platform.by, request(&package, Some(at))).await.unwrap();
    platform.until_campaign(&made.campaign_id, "scheduled").await;
    platform.engine.stop().await;
    drop(platform);
    clock.pass(3 * HOUR);
    let platform = Platform::on_disk(dir.path(), settings(), clock.clone()).await;
    platform.until(&made.campaign_id, &id, "released").await;
    platform.until_campaign(&made.campaign_id, "running").await;
    // What an operator does afterwards is not undone by another look at the clock.
    platform.engine.pause_campaign(&platform.by, &made.campaign_id).await.unwrap();
    platform.engine.stop().await;
    drop(platform);
    let platform = Platform::on_disk(dir.path(), settings(), clock).await;
    let other = platform.engine.create_campaign(&platform.by, request(&package, Some(at))).await;
    assert_eq!(other.unwrap_err().code(), "invalid", "two hours ago");
    assert_eq!(platform.state(&made.campaign_id).await, "paused");
}

#[tokio::test]
async fn a_schedule_is_changed_cancelled_and_overtaken_by_a_start() {
    let (platform, mut devices, package) = Platform::with_devices(1).await;
    let engine = &platform.engine;
    let made = engine.create_campaign(&platform.by, request(&package, None)).await.unwrap();
    let id = made.campaign_id;
    platform.until_campaign(&id, "draft").await;
    let schedule = |start_at| engine.schedule_campaign(&platform.by, &id, start_at);
    let (one, two) = (after(&platform.clock, HOUR), after(&platform.clock, 2 * HOUR));
    assert_eq!(schedule(Some(one)).await.unwrap().0.state.name(), "scheduled");
    assert_eq!(schedule(Some(two)).await.unwrap().0.start_at, Some(two));
    assert_eq!(schedule(None).await.unwrap().0.state.name(), "draft");
    schedule(Some(one)).await.unwrap();
    engine.start_campaign(&platform.by, &id).await.unwrap();
    devices[0].hears_question().await;
    let (row, _) = engine.campaign(&id).await.unwrap().unwrap();
    assert_eq!((row.state.name(), row.start_at), ("running", None));
    assert_eq!(schedule(Some(two)).await.unwrap_err().code(), "wrong_state");
}

#[tokio::test]
async fn a_scheduled_campaign_can_be_cancelled_and_stays_so() {
    let (platform, devices, package) = Platform::with_devices(1).await;
    let at = after(&platform.clock, HOUR);
    let made = platform.engine.create_campaign(&platform.by, request(&package, Some(at))).await.unwrap();
    platform.until_campaign(&made.campaign_id, "scheduled").await;
    platform.engine.cancel_campaign(&platform.by, &made.campaign_id).await.unwrap();
    let soon = platform.engine.create_campaign(&platform.by, request(&package, Some(at))).await.unwrap();
    platform.clock.pass(HOUR);
    // The other one started, so that both were looked at.
    platform.until_campaign(&soon.campaign_id, "running").await;
    assert_eq!(platform.state(&made.campaign_id).await, "cancelled");
    assert_eq!(platform.deployment(&made.campaign_id, &devices[0].id).await.outcome, Some("cancelled"));
}

#[tokio::test]
async fn a_start_too_long_ago_or_too_far_ahead_is_a_mistake() {
    let (platform, _, package) = Platform::with_a_device().await;
    let ms = |at: i64| WallTime(platform.clock.wall().0 + at);
    for (at, words) in [
        (ms(-120_000), "`start_at` is 120 s ago"),
        (ms(367 * 86_400_000), "days from now; up to 366 are accepted"),
    ] {
        let refused =
            platform.engine.create_campaign(&platform.by, request(&package, Some(at))).await.unwrap_err();
        assert!(refused.to_string().contains(words), "{refused}");
    }
    let both = CampaignRequest { start: true, ..request(&package, Some(ms(5_000))) };
    let refused = platform.engine.create_campaign(&platform.by, both).await.unwrap_err();
    assert!(refused.to_string().contains("one of them is accepted"), "{refused}");
    let just_now =
        platform.engine.create_campaign(&platform.by, request(&package, Some(ms(-30_000)))).await.unwrap();
    platform.until_campaign(&just_now.campaign_id, "running").await;
}
