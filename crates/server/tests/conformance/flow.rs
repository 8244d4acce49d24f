//! How an upgrade goes from start to end: the steps, the timers, and when a notice is said again.

use serde_json::json;

use crate::device::{Device, Line};
use crate::fetch;
use crate::platform::{Platform, word};
use crate::recorded;
use crate::stage::{Campaign, NEW, OLD, PACKAGE, Stage, Upgrade, download_of, fetch, large_package};

/// A campaign whose device was asked and has not answered.
async fn asked(more: serde_json::Value) -> (Stage, Device, Line, Campaign) {
    let stage = Stage::new().await;
    let device = stage.device("dev1").await;
    let mut line = device.connects().await;
    let campaign = stage.campaign(&[&device], more).await;
    line.is_asked().await;
    (stage, device, line, campaign)
}

#[tokio::test]
async fn flow_3_8_a_device_is_waited_for_asked_told_and_believed() {
    let stage = Stage::new().await;
    let device = stage.device("dev1").await;
    let campaign = stage.campaign(&[&device], json!({})).await;
    campaign.comes_to(&device, "released").await;
    let mut line = device.connects().await;
    line.is_asked().await;
    campaign.comes_to(&device, "asked").await;
    line.runs(OLD).await;
    let notice = line.is_told("firmware_upgrade").await;
    assert_eq!(campaign.deployment(&device).await["state"], "offered");
    let fetched = fetch(&stage.platform, &notice).await;
    assert_eq!((fetched.status, fetched.body.as_slice()), (200, PACKAGE));
    line.reports(json!({ "result_code": 0, "progress": 50, "version": OLD })).await;
    assert_eq!(campaign.deployment(&device).await["state"], "running");
    line.reports(json!({ "result_code": 0, "progress": 100, "version": NEW })).await;
    campaign.ended(&device, "installed").await;
    line.is_told_nothing().await;
}

#[tokio::test]
async fn flow_3_8_the_notice_has_what_every_sdk_needs() {
    let stage = Stage::new().await;
    let package = stage.package_with(json!({ "custom_info": "for the device" })).await;
    let device = stage.device("dev1").await;
    let mut line = device.connects().await;
    stage.campaign_of(&package, &[&device], json!({})).await;
    line.is_asked().await;
    line.runs(OLD).await;
    let notice = line.is_told("firmware_upgrade").await;
    let members: Vec<&str> = notice.as_object().unwrap().keys().map(String::as_str).collect();
    let mut known =
        ["version", "url", "file_size", "file_name", "access_token", "expires", "sign", "custom_info"];
    known.sort_unstable();
    assert_eq!(members, known, "all of them, none null, nothing else");
    assert_eq!(notice["version"], NEW);
    assert_eq!(notice["file_name"], "app.bin");
    assert_eq!(notice["file_size"], PACKAGE.len());
    assert_eq!(notice["expires"], 86_400);
    assert_eq!(notice["custom_info"], "for the device");
    let sign = word(&notice, "sign");
    assert!(sign.len() == 64 && sign.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{sign}");
    assert_eq!(sign, stage.platform.artifact(PACKAGE).await, "it is the digest of the bytes");
}

#[tokio::test]
async fn flow_3_8_a_device_that_does_not_come_is_given_up() {
    let stage = Stage::new().await;
    let device = stage.device("dev1").await;
    let campaign = stage.campaign(&[&device], json!({ "timers": { "online_secs": 0.05 } })).await;
    let ended = campaign.ended(&device, "timed_out").await;
    assert!(word(&ended, "explanation").contains("online"), "{ended}");
}

#[tokio::test]
async fn flow_3_8_the_first_word_waits_until_the_device_has_settled() {
    let stage = Stage::on(Platform::with(&["timers.settle=1h"]), "p").await;
    let device = stage.device("dev1").await;
    let mut line = device.connects().await;
    let campaign = stage.campaign(&[&device], json!({})).await;
    campaign.comes_to(&device, "released").await;
    line.is_told_nothing().await;
    let shown = device.shown().await;
    assert_eq!(shown["online"], true, "{shown}");
    assert_eq!(campaign.deployment(&device).await["state"], "released");
}

#[tokio::test]
async fn flow_3_8_a_device_that_does_not_answer_is_asked_once_more_and_given_up() {
    let (_stage, device, mut line, campaign) = asked(json!({ "timers": { "answer_secs": 0.1 } })).await;
    line.is_asked().await;
    campaign.ended(&device, "timed_out").await;
    line.is_told_nothing().await;
}

#[tokio::test]
async fn flow_3_8_an_answer_without_the_version_that_matters_is_none() {
    let stage = Stage::new().await;
    let package = stage.package_with(json!({ "kind": "software" })).await;
    let device = stage.device("dev1").await;
    let mut line = device.connects().await;
    let campaign = stage.campaign_of(&package, &[&device], json!({})).await;
    line.is_asked().await;
    line.runs(NEW).await;
    line.event("version_report", json!({ "fw_version": OLD, "sw_version": null })).await;
    line.event("version_report", json!({ "fw_version": OLD, "sw_version": "" })).await;
    line.is_told_nothing().await;
    campaign.comes_to(&device, "asked").await;
    line.event("version_report", json!({ "sw_version": OLD })).await;
    line.is_told("software_upgrade").await;
}

#[tokio::test]
async fn flow_3_8_a_device_that_has_it_already_is_done_without_a_notice() {
    let (_stage, device, mut line, campaign) = asked(json!({})).await;
    line.runs(NEW).await;
    campaign.ended(&device, "already_installed").await;
    line.is_told_nothing().await;
}

#[tokio::test]
async fn flow_3_8_versions_are_compared_letter_by_letter_and_have_no_order() {
    for other in ["V2.0.0", "v2.0.0 ", "v2.0", "v9.9.9"] {
        let (_stage, _device, mut line, _campaign) = asked(json!({})).await;
        line.runs(other).await;
        line.is_told("firmware_upgrade").await;
    }
}

#[tokio::test]
async fn flow_3_8_a_version_that_the_package_does_not_start_from_is_not_told() {
    let stage = Stage::new().await;
    let package = stage.package_with(json!({ "source_versions": [OLD, "v1.5.0"] })).await;
    for (number, (runs, is_covered)) in
        [(OLD, true), ("v1.5.0", true), ("v0.9.0", false)].into_iter().enumerate()
    {
        let device = stage.device(&format!("dev{number}")).await;
        let mut line = device.connects().await;
        let campaign = stage.campaign_of(&package, &[&device], json!({})).await;
        line.is_asked().await;
        line.runs(runs).await;
        if is_covered {
            line.is_told("firmware_upgrade").await;
        } else {
            campaign.ended(&device, "not_eligible").await;
            line.is_told_nothing().await;
        }
    }
}

#[tokio::test]
async fn flow_3_8_the_token_lives_as_long_as_the_notice_says() {
    let platform = Platform::with(&["timers.download_token=2s"]);
    let up = Stage::on(platform, "p").await.upgrade().await;
    assert_eq!(up.notice["expires"], 2);
    let (endpoint, path, token) = download_of(&up.device.platform, &up.notice);
    let request = recorded::request("java", &endpoint, &path, &token);
    let refused = fetch::until(&endpoint, &request, |answer| answer.status != 200).await;
    assert_eq!(refused.status, 403, "{}", refused.head);
    up.is("offered").await;
}

#[tokio::test]
async fn flow_3_8_without_a_result_the_device_is_asked_a_last_time() {
    for (answer, outcome) in [(OLD, "timed_out"), (NEW, "installed")] {
        let timers = json!({ "timers": { "result_secs": 0.2 } });
        let mut up = Stage::new().await.upgrade_with(timers).await;
        up.line.reports(json!({ "result_code": 0, "progress": 90, "version": OLD })).await;
        // Nothing was asked in between: a running device is not probed.
        up.line.is_asked().await;
        up.line.runs(answer).await;
        up.ended(outcome).await;
        up.line.is_told_nothing().await;
    }
}

#[tokio::test]
async fn flow_3_8_without_a_result_and_without_a_link_it_is_given_up() {
    let mut up = Stage::new().await.upgrade_with(json!({ "timers": { "result_secs": 0.5 } })).await;
    up.line.reports(json!({ "result_code": 0, "progress": 90, "version": OLD })).await;
    let Upgrade { line, campaign, device, .. } = up;
    line.leaves().await;
    campaign.ended(&device, "timed_out").await;
}

#[tokio::test]
async fn flow_3_8_after_a_result_the_upgrade_is_over_and_downloads_are_refused() {
    for code in [0, 10] {
        let mut up = Upgrade::new().await;
        up.line.reports(json!({ "result_code": code, "progress": 100, "version": NEW })).await;
        up.campaign.comes_to(&up.device, "finished").await;
        assert_eq!(up.fetches().await.status, 403);
    }
}

#[tokio::test]
async fn flow_3_8_of_two_campaigns_only_one_works_on_a_device() {
    for (on_conflict, first, second) in [
        ("fail", "offered", "conflict"),
        ("hold", "offered", "released"),
        ("supersede", "superseded", "asked"),
    ] {
        let mut up = Upgrade::new().await;
        let software = up.stage.package_with(json!({ "kind": "software" })).await;
        let other =
            up.stage.campaign_of(&software, &[&up.device], json!({ "on_conflict": on_conflict })).await;
        let word = |deployment: &serde_json::Value| {
            deployment["outcome"].as_str().unwrap_or_else(|| deployment["state"].as_str().unwrap()).to_owned()
        };
        other.until(&up.device, |deployment| word(deployment) == second).await;
        assert_eq!(word(&up.deployment().await), first);
        if on_conflict == "hold" {
            up.line.is_told_nothing().await;
            up.line.reports(json!({ "result_code": 0, "progress": 100, "version": NEW })).await;
            up.line.is_asked().await;
        }
    }
}

#[tokio::test]
async fn flow_3_8_a_link_lost_before_the_answer_is_waited_for_again() {
    let (_stage, device, line, campaign) = asked(json!({})).await;
    line.leaves().await;
    campaign.comes_to(&device, "released").await;
    let mut line = device.connects().await;
    line.is_asked().await;
    line.runs(OLD).await;
    line.is_told("firmware_upgrade").await;
}

#[tokio::test]
async fn flow_3_8_a_link_lost_while_upgrading_fails_nothing() {
    let mut up = Upgrade::new().await;
    up.line.reports(json!({ "result_code": 0, "progress": 60, "version": OLD })).await;
    let Upgrade { line, campaign, device, .. } = up;
    line.leaves().await;
    device.until(|shown| shown["online"] == false).await;
    assert_eq!(campaign.deployment(&device).await["state"], "running");
    // It rebooted into the new image, and says so by its version only.
    let mut line = device.connects().await;
    line.is_asked().await;
    line.runs(NEW).await;
    campaign.ended(&device, "installed").await;
}

#[tokio::test]
async fn flow_3_8_nothing_is_said_to_a_device_whose_upgrade_is_stopped() {
    let mut up = Upgrade::new().await;
    up.campaign.does("cancel").await;
    up.ended("cancelled").await;
    assert_eq!(up.fetches().await.status, 403);
    up.line.is_told_nothing().await;
    up.reconnects().await;
    up.line.reports(json!({ "result_code": 0, "progress": 100, "version": NEW })).await;
    up.line.is_told_nothing().await;
    up.ended("cancelled").await;
}

#[tokio::test]
async fn flow_3_8_a_retry_waits_its_interval() {
    let retry = json!({ "retry": { "count": 1, "interval_secs": 3600 } });
    let mut up = Stage::new().await.upgrade_with(retry).await;
    up.line.reports(json!({ "result_code": 2, "progress": 0, "version": OLD })).await;
    up.is("waiting").await;
    assert_eq!(up.fetches().await.status, 403, "the attempt is over");
    up.line.is_told_nothing().await;
    // Between attempts it may turn out to have succeeded after all.
    up.line.runs(NEW).await;
    up.ended("installed").await;
}

// --- When a notice is said again ---------------------------------------------------------------------------

#[tokio::test]
async fn flow_3_8_a_notice_is_not_said_again_in_the_same_session() {
    let mut up = Upgrade::new().await;
    up.line.runs(OLD).await;
    up.line.runs(OLD).await;
    up.line.is_told_nothing().await;
    up.is("offered").await;
}

#[tokio::test]
async fn flow_3_8_a_notice_is_said_again_after_a_reconnect_and_an_answer_and_is_the_same() {
    let mut up = Upgrade::new().await;
    up.reconnects().await;
    up.line.is_asked().await;
    up.line.runs(OLD).await;
    let again = up.line.is_told("firmware_upgrade").await;
    for member in ["version", "url", "file_size", "file_name", "sign"] {
        assert_eq!(again[member], up.notice[member]);
    }
    assert_eq!(up.fetches().await.status, 200, "the first token is still good");
    up.notice = again;
    assert_eq!(up.fetches().await.status, 200, "and so is the second");
}

#[tokio::test]
async fn flow_3_8_a_greeting_with_the_old_version_is_no_answer() {
    let platform = Platform::with(&["timers.settle_underway=500ms"]);
    let mut up = Stage::on(platform, "p").await.upgrade().await;
    up.reconnects().await;
    // It says so again and again, also while it could be told already; the first word is the question all the same.
    while !up.line.has_heard() {
        up.line.runs(OLD).await;
    }
    up.line.is_asked().await;
    up.line.runs(OLD).await;
    up.line.is_told("firmware_upgrade").await;
}

#[tokio::test]
async fn flow_3_8_a_device_that_downloads_is_not_told_again_but_asked_later() {
    let stage = Stage::new().await;
    let package = large_package(&stage).await;
    let device = stage.device("dev1").await;
    let line = device.connects().await;
    let mut up = stage.upgrade_on(line, device, &package, json!({})).await;
    let (endpoint, path, token) = download_of(&up.device.platform, &up.notice);
    let download = fetch::begin(&endpoint, &recorded::request("java", &endpoint, &path, &token)).await;
    up.reconnects().await;
    // As long as it is at it, each answer leads to another question and to nothing else.
    for _ in 0..3 {
        up.line.is_asked().await;
        up.line.runs(OLD).await;
    }
    drop(download);
    loop {
        let (event_type, _) = up.line.told_about(&up.device.id).await;
        if event_type == "firmware_upgrade" {
            break;
        }
        up.line.runs(OLD).await;
    }
}

#[tokio::test]
async fn flow_3_8_a_notice_is_said_three_times_at_most() {
    let mut up = Upgrade::new().await;
    for _ in 0..2 {
        up.reconnects().await;
        up.line.is_asked().await;
        up.line.runs(OLD).await;
        up.line.is_told("firmware_upgrade").await;
    }
    for _ in 0..2 {
        up.reconnects().await;
        up.line.is_asked().await;
        up.line.runs(OLD).await;
        up.line.is_told_nothing().await;
    }
    up.is("offered").await;
    up.line.runs(NEW).await;
    up.ended("installed").await;
}
