//! A device is told to upgrade, reports, and the platform knows the truth.

mod support;

use std::time::Duration;

use otaru_core::campaign::{OnConflict, Policy, Retry, Slots};
use otaru_core::deployment::Label;
use otaru_engine::{Delivery, DeviceChange, Refusal};
use otaru_proto::{Access, DeviceId};
use support::{Platform, WoundClock, progress_report, settings};

#[tokio::test]
async fn a_device_is_asked_told_and_believed_when_it_names_the_wanted_version() {
    let (platform, id, package) = Platform::with_a_device().await;
    let mut device = platform.connect(&id).await;
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;

    let notice = device.is_told("v1").await;
    assert_eq!(notice.version, "v2");
    assert_eq!(notice.file_size, 8);
    assert!(notice.url.starts_with("http://127.0.0.1:8080/download/"), "{}", notice.url);
    assert!(matches!(notice.access, Access::Token(_)));

    device.report_progress(0, 40, "v1").await;
    let shown = platform.until(&campaign, &id, "running").await;
    assert_eq!((shown.progress, shown.result_code), (Some(40), Some(0)));

    device.report_progress(0, 100, "v2").await;
    platform.until(&campaign, &id, "installed").await;
    platform.until_campaign(&campaign, "finished").await;
    let counts = platform.counts(&campaign).await;
    assert_eq!((counts.total(), counts.unfinished()), (1, 0));

    let seen = platform.engine.device(id.as_str()).await.unwrap().unwrap();
    assert!(seen.online);
    assert_eq!(seen.record.state.firmware_version.as_deref(), Some("v2"));
    let last = seen.last_report.unwrap();
    assert_eq!(last.reading["events"][0]["then"], "installed");
    assert_eq!(last.campaign_id.as_deref(), Some(campaign.as_str()));
    assert_eq!(platform.engine.reports(id.as_str(), None, 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_device_that_runs_the_wanted_version_is_not_told() {
    let (platform, id, package) = Platform::with_a_device().await;
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    let mut device = platform.connect(&id).await;
    device.hears_question().await;
    device.report_version("v2").await;
    platform.until(&campaign, &id, "already_installed").await;
    platform.until_campaign(&campaign, "finished").await;
    assert!(device.heard_nothing_for(Duration::from_millis(50)).await);
}

#[tokio::test]
async fn a_failure_code_is_kept_whatever_version_it_names() {
    let (platform, id, package) = Platform::with_a_device().await;
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    let mut device = platform.connect(&id).await;
    device.is_told("v1").await;
    device.report_progress(4711, 0, "v2").await;
    let shown = platform.until(&campaign, &id, "failed").await;
    assert_eq!(shown.result_code, Some(4711));
    let seen = platform.engine.device(id.as_str()).await.unwrap().unwrap();
    assert_eq!(
        seen.record.state.firmware_version.as_deref(),
        Some("v1"),
        "the version of a failure is not taken"
    );
}

#[tokio::test]
async fn messages_of_a_session_are_acknowledged_in_their_order() {
    let (platform, id, _) = Platform::with_a_device().await;
    let mut device = platform.connect(&id).await;
    let mut sent = Vec::new();
    for round in 0..300 {
        let payload = match round % 3 {
            0 => progress_report(&id, 0, 5, "v1"),
            1 => b"{ not json".to_vec(),
            _ => br#"{"services":[{"service_id":"$log","event_type":"log_report","paras":{}}]}"#.to_vec(),
        };
        sent.push(device.publish(payload));
    }
    let mut acknowledged = Vec::new();
    while acknowledged.len() < sent.len() {
        if let Delivery::Acknowledge(ticket) = device.next().await {
            acknowledged.push(ticket);
        }
    }
    assert_eq!(acknowledged, sent);
}

#[tokio::test]
async fn only_as_many_devices_as_allowed_are_at_work_and_the_next_takes_the_freed_slot() {
    let (platform, mut devices, package) = Platform::with_devices(5).await;
    let ids: Vec<DeviceId> = devices.iter().map(|device| device.id.clone()).collect();
    let policy = Policy { slots: Slots { concurrency: Some(2) }, ..Policy::default() };
    let campaign = platform.campaign(&package, &ids.iter().collect::<Vec<_>>(), policy).await;
    platform.until_campaign(&campaign, "running").await;
    while !devices.is_empty() {
        assert!(platform.counts(&campaign).await.slots_held() <= 2);
        let mut asked = None;
        for (at, device) in devices.iter().enumerate() {
            if platform.deployment(&campaign, &device.id).await.state == "asked" {
                asked = Some(at);
            }
        }
        let Some(at) = asked else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let mut device = devices.remove(at);
        device.is_told("v1").await;
        device.report_progress(0, 100, "v2").await;
    }
    platform.until_campaign(&campaign, "finished").await;
    let explanation = platform.engine.explain(ids[0].as_str()).await.unwrap();
    assert_eq!(explanation.deployments[0].outcome, Some("installed"));
}

#[tokio::test]
async fn a_slot_goes_to_the_next_device_when_the_one_in_front_is_gone() {
    let (platform, mut devices, package) = Platform::with_devices(4).await;
    let ids: Vec<DeviceId> = devices.iter().map(|device| device.id.clone()).collect();
    for device in &mut devices {
        device.report_version("v1").await; // connected, one after the other
    }
    let policy = Policy { slots: Slots { concurrency: Some(1) }, ..Policy::default() };
    let campaign = platform.campaign(&package, &ids.iter().collect::<Vec<_>>(), policy).await;
    platform.until_campaign(&campaign, "running").await;
    platform.until(&campaign, &ids[0], "asked").await;
    devices.drain(1..3); // the next two go away
    devices[0].is_told("v1").await;
    devices[0].report_progress(0, 100, "v2").await;
    platform.until(&campaign, &ids[3], "asked").await;
}

#[tokio::test]
async fn a_device_busy_in_another_campaign_waits_and_the_reason_names_that_campaign() {
    let (platform, id, first_package) = Platform::with_a_device().await;
    let second_package = platform.package("v3", &[]).await;
    let mut device = platform.connect(&id).await;
    let first = platform.campaign(&first_package, &[&id], Policy::default()).await;
    device.is_told("v1").await;
    let second = platform.campaign(&second_package, &[&id], Policy::default()).await;
    platform.until(&second, &id, "released").await;
    let explanation = platform.engine.explain(id.as_str()).await.unwrap();
    let held =
        explanation.deployments.iter().find(|d| d.campaign_id == second).unwrap().held_back.clone().unwrap();
    assert_eq!((held.reason, held.with.as_deref()), ("busy", Some(first.as_str())));
    assert!(explanation.sentences.iter().any(|s| s.contains(&first)), "{:?}", explanation.sentences);

    // The first one's end lets the second begin, in the same session.
    device.report_progress(0, 100, "v2").await;
    assert_eq!(device.is_told("v2").await.version, "v3");
}

#[tokio::test]
async fn a_campaign_that_does_not_wait_ends_as_conflict_and_one_that_supersedes_takes_over() {
    let (platform, id, package) = Platform::with_a_device().await;
    let other = platform.package("v3", &[]).await;
    let mut device = platform.connect(&id).await;
    let first = platform.campaign(&package, &[&id], Policy::default()).await;
    device.is_told("v1").await;
    let impatient = Policy { on_conflict: OnConflict::Fail, ..Policy::default() };
    let impatient = platform.campaign(&other, &[&id], impatient).await;
    let shown = platform.until(&impatient, &id, "conflict").await;
    assert!(shown.explanation.starts_with("Task Conflict"), "{}", shown.explanation);
    let taking = Policy { on_conflict: OnConflict::Supersede, ..Policy::default() };
    let taking = platform.campaign(&other, &[&id], taking).await;
    platform.until(&first, &id, "superseded").await;
    assert_eq!(device.is_told("v1").await.version, "v3");
    platform.until(&taking, &id, "offered").await;
}

#[tokio::test]
async fn a_child_speaks_through_its_gateway_and_nobody_elses() {
    let platform = Platform::in_memory().await;
    platform.product().await;
    let gateway = platform.register("gw").await;
    let child = platform.register_child("child", &gateway).await;
    let stranger = platform.register("stranger").await;
    let package = platform.package("v2", &[]).await;
    let mut link = platform.connect(&gateway).await;
    let campaign = platform.campaign(&package, &[&child], Policy::default()).await;
    // The child may have been looked at before the gateway settled: a reconnect looks again.
    let (about, _) = link.hears_about().await;
    assert_eq!(about, child);
    let mut thief = platform.connect(&stranger).await;
    thief.report(progress_report(&child, 0, 100, "v2")).await;
    let history = platform.engine.reports(stranger.as_str(), None, 10).await.unwrap();
    let refused = history[0].reading["rejected"].as_str().unwrap();
    assert!(refused.contains(child.as_str()) && refused.contains("nothing was changed"), "{refused}");
    assert_eq!(platform.engine.reports(child.as_str(), None, 10).await.unwrap().len(), 0);
    assert_eq!(platform.deployment(&campaign, &child).await.state, "asked");

    let answer = otaru_proto::VersionReport {
        fw_version: otaru_proto::Version::as_sent("v1"),
        ..otaru_proto::VersionReport::default()
    };
    link.report(otaru_proto::encode_version_report(&child, &answer, None)).await;
    let (about, word) = link.hears_about().await;
    assert_eq!(about, child);
    assert!(matches!(word, otaru_proto::Downlink::Notice(_)));
    link.report(progress_report(&child, 0, 100, "v2")).await;
    platform.until(&campaign, &child, "installed").await;
}

#[tokio::test]
async fn a_newer_session_ends_the_older_one_and_wrong_credentials_end_nothing() {
    let (platform, id, _) = Platform::with_a_device().await;
    let mut first = platform.connect(&id).await;
    assert_eq!(platform.try_connect(&id, "guess").await.err(), Some(Refusal::WrongPassword));
    assert!(first.heard_nothing_for(Duration::from_millis(50)).await);
    let refused = platform.engine.explain(id.as_str()).await.unwrap().refused_connection.unwrap();
    assert_eq!(refused.code, "wrong_password");
    let second = platform.connect(&id).await;
    assert_eq!(first.next().await, Delivery::TakenOver);
    assert!(second.session.epoch() > first.session.epoch());
    drop(first);
    assert!(platform.engine.device(id.as_str()).await.unwrap().unwrap().online, "the newer one stays");
}

#[tokio::test]
async fn unknown_frozen_and_misnamed_devices_are_refused_with_the_reason() {
    let (platform, id, _) = Platform::with_a_device().await;
    let nobody = otaru_proto::DeviceId::parse("p_nobody").unwrap();
    let refusal = platform.try_connect(&nobody, "x").await.err().unwrap();
    assert!(refusal.to_string().contains("POST /api/v1/devices"), "{refusal}");
    let explained = platform.engine.explain("p_nobody").await.unwrap();
    assert!(!explained.registered && explained.refused_connection.is_some());

    let mut device = platform.connect(&id).await;
    let freeze = DeviceChange { frozen: Some(true), ..DeviceChange::default() };
    platform.engine.patch_device(&platform.by, id.as_str(), freeze).await.unwrap();
    assert_eq!(device.next().await, Delivery::Close { reason: "frozen" });
    assert_eq!(platform.try_connect(&id, support::SECRET).await.err(), Some(Refusal::Frozen));
    assert_eq!(platform.engine.refused_connections().len(), 2);
}

#[tokio::test]
async fn a_failed_attempt_is_followed_by_another_one() {
    let (platform, id, package) = Platform::with_a_device().await;
    let policy = Policy { retry: Retry { count: 1, interval_secs: 60 }, ..Policy::default() };
    let campaign = platform.campaign(&package, &[&id], policy).await;
    let mut device = platform.connect(&id).await;
    let first = device.is_told("v1").await;
    device.report_progress(6, 0, "v1").await;
    platform.until(&campaign, &id, "waiting").await;
    platform.clock.pass(Duration::from_secs(61));
    let second = device.is_told("v1").await;
    assert_ne!(first.access, second.access, "a token is for one attempt");
    device.report_progress(0, 100, "v2").await;
    assert_eq!(platform.until(&campaign, &id, "installed").await.attempt, 2);
}

#[tokio::test]
async fn silence_ends_as_timed_out_and_the_late_truth_is_noted() {
    let (platform, id, package) = Platform::with_a_device().await;
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    let mut device = platform.connect(&id).await;
    device.is_told("v1").await;
    platform.clock.pass(Duration::from_secs(24 * 3600 + 1));
    device.hears_question().await; // the last call
    platform.clock.pass(Duration::from_secs(181));
    platform.until(&campaign, &id, "timed_out").await;
    device.report_version("v2").await;
    let shown = platform.deployment(&campaign, &id).await;
    assert!(shown.late_success);
    assert_eq!(shown.outcome, Some("timed_out"), "what is finished stays");
}

#[tokio::test]
async fn cancelling_ends_everything_and_pausing_holds_the_next_ones_back() {
    let platform = Platform::in_memory().await;
    platform.product().await;
    let (at_work, waiting) = (platform.register("a").await, platform.register("b").await);
    let package = platform.package("v2", &[]).await;
    let mut device = platform.connect(&at_work).await;
    let campaign = platform.campaign(&package, &[&at_work, &waiting], Policy::default()).await;
    device.is_told("v1").await;
    platform.until_campaign(&campaign, "running").await;
    platform.engine.pause_campaign(&platform.by, &campaign).await.unwrap();
    let mut late = platform.connect(&waiting).await;
    assert!(late.heard_nothing_for(Duration::from_millis(100)).await, "a paused campaign tells nobody");
    let why = platform.engine.explain(waiting.as_str()).await.unwrap();
    assert_eq!(why.deployments[0].held_back.as_ref().unwrap().reason, "paused");
    platform.engine.resume_campaign(&platform.by, &campaign).await.unwrap();
    late.hears_question().await;
    platform.engine.cancel_campaign(&platform.by, &campaign).await.unwrap();
    platform.until(&campaign, &at_work, "cancelled").await;
    platform.until(&campaign, &waiting, "cancelled").await;
    let refused = platform.engine.start_campaign(&platform.by, &campaign).await.err().unwrap();
    assert!(refused.to_string().contains("is cancelled"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_that_is_started_while_it_is_prepared_runs() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::on_disk(dir.path(), settings(), WoundClock::new()).await;
    platform.product().await;
    let id = platform.register("sn1").await;
    let package = platform.package("v2", &[]).await;
    for round in 0..100 {
        let request = otaru_engine::CampaignRequest {
            name: format!("round {round}"),
            package_ids: vec![package.clone()],
            devices: otaru_engine::DeviceSelection::Ids(vec![id.to_string()]),
            policy: Policy::default(),
            ext_info: None,
            start_at: None,
            start: false,
        };
        let campaign = platform.engine.create_campaign(&platform.by, request).await.unwrap().campaign_id;
        // Meets the preparation at different points.
        tokio::time::sleep(Duration::from_micros(100 * (round % 20))).await;
        platform.engine.start_campaign(&platform.by, &campaign).await.unwrap();
        platform.until_campaign(&campaign, "running").await;
        platform.until(&campaign, &id, "released").await;
    }
}

#[tokio::test]
async fn nobody_is_told_once_the_cancel_is_answered() {
    let (platform, mut devices, package) = Platform::with_devices(20).await;
    let ids: Vec<DeviceId> = devices.iter().map(|device| device.id.clone()).collect();
    let campaign = platform.campaign(&package, &ids.iter().collect::<Vec<_>>(), Policy::default()).await;
    for device in &mut devices {
        device.hears_question().await;
    }
    platform.engine.cancel_campaign(&platform.by, &campaign).await.unwrap();
    for device in &mut devices {
        device.report_version("v1").await;
    }
    for device in &mut devices {
        platform.until(&campaign, &device.id, "cancelled").await;
        assert!(device.heard_nothing_for(Duration::from_millis(5)).await, "{} was told", device.id);
    }
}

#[tokio::test]
async fn late_truth_belongs_to_the_one_that_was_told() {
    let (platform, id, package) = Platform::with_a_device().await;
    let told = platform.campaign(&package, &[&id], Policy::default()).await;
    let mut device = platform.connect(&id).await;
    device.is_told("v1").await;
    let never_told = platform.campaign(&package, &[&id], Policy::default()).await;
    platform.until(&never_told, &id, "released").await;
    platform.engine.pause_campaign(&platform.by, &never_told).await.unwrap();
    device.report_progress(10, 0, "v1").await;
    platform.until(&told, &id, "failed").await;
    platform.engine.cancel_campaign(&platform.by, &never_told).await.unwrap();
    platform.until(&never_told, &id, "cancelled").await;
    device.report_version("v2").await;
    assert!(platform.deployment(&told, &id).await.late_success);
}

#[tokio::test]
async fn a_gateway_is_asked_about_fifty_children_at_once_and_about_the_next_when_one_answers() {
    let (platform, gateway, children, package) = Platform::with_a_gateway(120).await;
    let mut link = platform.connect(&gateway).await;
    link.report_version("v1").await;
    let campaign = platform.campaign(&package, &children.iter().collect::<Vec<_>>(), Policy::default()).await;
    let mut asked = Vec::new();
    for _ in 0..50 {
        asked.push(link.hears_about().await.0);
    }
    assert!(link.heard_nothing_for(Duration::from_millis(100)).await, "a fifty-first question");
    // Each answer makes room for one; 120 answers bring all of them through.
    let answer = otaru_proto::VersionReport {
        fw_version: otaru_proto::Version::as_sent("v2"),
        ..otaru_proto::VersionReport::default()
    };
    let mut answered = 0;
    while let Some(child) = asked.pop() {
        link.report(otaru_proto::encode_version_report(&child, &answer, None)).await;
        answered += 1;
        if answered <= 70 {
            asked.push(link.hears_about().await.0);
        }
    }
    assert_eq!(answered, 120);
    platform.until_campaign(&campaign, "finished").await;
}

#[tokio::test]
async fn a_gateway_that_reconnects_is_still_asked_about_fifty_children_at_once() {
    let (platform, gateway, children, package) = Platform::with_a_gateway(120).await;
    let campaign = platform.campaign(&package, &children.iter().collect::<Vec<_>>(), Policy::default()).await;
    platform.until_campaign(&campaign, "running").await;
    for session in 0..3 {
        let mut link = platform.connect(&gateway).await;
        for _ in 0..50 {
            link.hears_about().await;
        }
        let quiet = link.heard_nothing_for(Duration::from_millis(100)).await;
        assert!(quiet, "a fifty-first question in session {session}");
        assert_eq!(platform.counts(&campaign).await.of(Label::Asked), 50);
    }
}

#[tokio::test]
async fn late_truth_is_not_lost_to_a_campaign_that_found_nothing_to_do() {
    let (platform, id, package) = Platform::with_a_device().await;
    let old = platform.package("v1", &[]).await;
    let told = platform.campaign(&package, &[&id], Policy::default()).await;
    let mut device = platform.connect(&id).await;
    device.is_told("v1").await;
    device.report_progress(10, 0, "v1").await;
    platform.until(&told, &id, "failed").await;
    let idle = platform.campaign(&old, &[&id], Policy::default()).await;
    device.hears_question().await;
    device.report_version("v1").await;
    platform.until(&idle, &id, "already_installed").await;
    device.report_version("v2").await;
    assert!(platform.deployment(&told, &id).await.late_success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_that_is_paused_while_it_is_prepared_is_made_whole_and_resumes_once() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::on_disk(dir.path(), settings(), WoundClock::new()).await;
    platform.product().await;
    let package = platform.package("v2", &[]).await;
    for number in 0..2_500 {
        platform.register(&format!("sn{number}")).await; // three chunks
    }
    for round in 0..8 {
        let request = otaru_engine::CampaignRequest {
            name: format!("round {round}"),
            package_ids: vec![package.clone()],
            devices: otaru_engine::DeviceSelection::Product("p".into()),
            policy: Policy::default(),
            ext_info: None,
            start_at: None,
            start: true,
        };
        let campaign = platform.engine.create_campaign(&platform.by, request).await.unwrap().campaign_id;
        tokio::time::sleep(Duration::from_millis(4 * round)).await; // meets the preparation at different points
        platform.engine.pause_campaign(&platform.by, &campaign).await.unwrap();
        assert_eq!(platform.state(&campaign).await, "paused");
        platform.engine.resume_campaign(&platform.by, &campaign).await.unwrap();
        platform.engine.resume_campaign(&platform.by, &campaign).await.unwrap();
        platform.until_campaign(&campaign, "running").await;
        let counts = platform.counts(&campaign).await;
        assert_eq!((counts.total(), counts.of(Label::Released)), (2_500, 2_500));
        platform.engine.cancel_campaign(&platform.by, &campaign).await.unwrap();
    }
    platform.engine.stop().await;
}

#[tokio::test]
async fn a_deleted_device_leaves_its_campaign_as_removed() {
    let (platform, id, package) = Platform::with_a_device().await;
    let mut device = platform.connect(&id).await;
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    device.is_told("v1").await;
    platform.engine.delete_device(&platform.by, id.as_str()).await.unwrap();
    assert_eq!(device.next().await, Delivery::Close { reason: "device_deleted" });
    platform.until(&campaign, &id, "removed").await;
    platform.until_campaign(&campaign, "finished").await;
    assert!(platform.engine.device(id.as_str()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was_and_our_downtime_is_not_the_devices_silence() {
    let dir = tempfile::tempdir().unwrap();
    let clock = WoundClock::new();
    let grace = otaru_engine::Settings { reconnect_grace: Duration::from_secs(120), ..settings() };
    let platform = Platform::on_disk(dir.path(), grace.clone(), clock.clone()).await;
    platform.product().await;
    let id = platform.register("sn1").await;
    let package = platform.package("v2", &[]).await;
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    let mut device = platform.connect(&id).await;
    device.is_told("v1").await;
    device.report_progress(0, 10, "v1").await;
    drop(device);
    platform.engine.stop().await;
    drop(platform);

    clock.pass(Duration::from_secs(3 * 24 * 3600)); // a long weekend
    let platform = Platform::on_disk(dir.path(), grace, clock.clone()).await;
    assert_eq!(platform.deployment(&campaign, &id).await.state, "running", "our absence expires nothing");
    let mut device = platform.connect(&id).await;
    clock.pass(Duration::from_secs(126)); // the grace, and the five seconds after a reconnect
    device.hears_question().await;
    device.report_version("v2").await;
    platform.until(&campaign, &id, "installed").await;
    assert_eq!(platform.counts(&campaign).await.of(Label::from_name("installed").unwrap()), 1);
    platform.engine.stop().await;
}
