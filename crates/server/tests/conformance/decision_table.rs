//! What follows from a report of a device: the decision table, row by row.

use serde_json::{Value, json};

use crate::stage::{NEW, OLD, Stage, Upgrade};

/// A report with these members beside `result_code` 0.
fn on_track(more: Value) -> Value {
    let mut paras = json!({ "result_code": 0 });
    for (member, value) in more.as_object().unwrap() {
        paras[member] = value.clone();
    }
    paras
}

#[tokio::test]
async fn table_3_7_row_1_a_report_without_a_running_upgrade_is_only_kept() {
    let stage = Stage::new().await;
    let device = stage.device("dev1").await;
    let mut line = device.connects().await;
    line.runs(OLD).await;
    for paras in [
        on_track(json!({ "progress": 100, "version": NEW })),
        json!({ "result_code": 1, "progress": 0, "version": NEW, "description": "failed" }),
    ] {
        line.reports(paras).await;
        assert_eq!(device.last_reading().await["events"][0]["then"], "no_deployment");
    }
    line.is_told_nothing().await;
    assert_eq!(device.shown().await["firmware_version"], OLD, "versions come from version reports");
}

#[tokio::test]
async fn table_3_7_row_2_a_report_without_a_usable_code_changes_nothing() {
    let mut up = Upgrade::new().await;
    up.line.reports(on_track(json!({ "progress": 40, "version": OLD }))).await;
    let before = up.deployment().await;
    for code in [json!(null), json!("success"), json!("80%"), json!(1.5), json!(true), json!([0]), json!({})]
    {
        up.line.reports(json!({ "result_code": code, "progress": 100, "version": NEW })).await;
        assert!(up.device.last_reading().await["events"][0]["rejected"].is_string(), "{code}");
    }
    up.line.reports(json!({ "progress": 100, "version": NEW })).await;
    let rejected = up.device.last_reading().await["events"][0]["rejected"].clone();
    assert_eq!(rejected, "`result_code` is missing; an integer is accepted");
    assert_eq!(up.deployment().await, before);
}

#[tokio::test]
async fn table_3_7_row_3_progress_below_100_is_under_way_and_never_goes_back() {
    let mut up = Upgrade::new().await;
    up.is("offered").await;
    for (said, shown) in [(0, 0), (40, 40), (20, 40), (99, 99)] {
        up.line.reports(on_track(json!({ "progress": said, "version": OLD }))).await;
        let deployment = up.deployment().await;
        assert_eq!((&deployment["state"], &deployment["progress"]), (&json!("running"), &json!(shown)));
    }
    up.line.is_told_nothing().await;
}

#[tokio::test]
async fn table_3_7_row_3_the_wanted_version_below_100_is_not_the_end() {
    let mut up = Upgrade::new().await;
    // The published example is of this kind: 80 and, already, the new version.
    up.line
        .reports(on_track(json!({ "progress": 80, "version": NEW, "description": "upgrade processing" })))
        .await;
    up.is("running").await;
    assert_eq!(up.fetches().await.status, 200, "the package may still be fetched");
}

#[tokio::test]
async fn table_3_7_row_4_progress_out_of_range_is_under_way_without_a_number() {
    let mut up = Upgrade::new().await;
    up.line.reports(on_track(json!({ "progress": 30, "version": OLD }))).await;
    for progress in [json!(150), json!(-1), json!(101), json!(1e300), json!(-9_000_000_000_i64)] {
        // With the wanted version, so that taking it for 100 would end it.
        up.line.reports(on_track(json!({ "progress": progress, "version": NEW }))).await;
        let deployment = up.deployment().await;
        let shown = (&deployment["state"], &deployment["progress"]);
        assert_eq!(shown, (&json!("running"), &json!(30)), "{progress}");
    }
}

#[tokio::test]
async fn table_3_7_row_5_done_with_the_wanted_version_is_the_end_and_the_token_is_worth_nothing() {
    let mut up = Upgrade::new().await;
    assert_eq!(up.fetches().await.status, 200);
    up.line.reports(on_track(json!({ "progress": 100, "version": NEW }))).await;
    up.ended("installed").await;
    assert_eq!(up.device.shown().await["firmware_version"], NEW);
    let refused = up.fetches().await;
    assert_eq!(refused.status, 403, "{}", refused.head);
    assert!(refused.body.len() < 256, "an error is tiny: some devices keep it as the package");
    up.line.is_told_nothing().await;
}

#[tokio::test]
async fn table_3_7_row_5_done_without_a_progress_is_the_end_as_well() {
    for progress in [None, Some(Value::Null)] {
        let mut up = Upgrade::new().await;
        let mut paras = on_track(json!({ "version": NEW }));
        if let Some(progress) = progress {
            paras["progress"] = progress;
        }
        up.line.reports(paras).await;
        up.ended("installed").await;
    }
}

#[tokio::test]
async fn table_3_7_row_6_done_without_a_version_is_asked_about_once() {
    for paras in [
        on_track(json!({ "progress": 100 })),
        on_track(json!({ "progress": 100, "version": "" })),
        on_track(json!({ "progress": 100, "version": null })),
        on_track(json!({})),
    ] {
        let mut up = Upgrade::new().await;
        up.line.reports(paras.clone()).await;
        up.is("confirming").await;
        up.line.is_asked().await;
        up.line.reports(paras.clone()).await;
        up.line.is_told_nothing().await;
        up.line.runs(NEW).await;
        up.ended("installed").await;
    }
}

#[tokio::test]
async fn table_3_7_row_7_done_with_the_old_version_is_not_the_end() {
    let mut up = Upgrade::new().await;
    up.line.reports(on_track(json!({ "progress": 100, "version": OLD }))).await;
    up.is("confirming").await;
    assert_eq!(up.fetches().await.status, 200, "the package may still be fetched");
    up.line.is_told_nothing().await;
    up.line.reports(on_track(json!({ "progress": 100, "version": NEW }))).await;
    up.ended("installed").await;
}

#[tokio::test]
async fn table_3_7_row_7_silence_after_done_with_the_old_version_is_asked_about_and_the_answer_decides() {
    for (answer, outcome) in [(OLD, "version_mismatch"), ("v3.0.0", "version_mismatch"), (NEW, "installed")] {
        let mut up = Stage::new().await.upgrade_with(json!({ "timers": { "confirm_secs": 0.05 } })).await;
        up.line.reports(on_track(json!({ "progress": 100, "version": OLD }))).await;
        up.line.is_asked().await;
        up.line.runs(answer).await;
        up.ended(outcome).await;
        up.line.is_told_nothing().await;
    }
}

#[tokio::test]
async fn table_3_7_row_7_a_reconnect_after_done_with_the_old_version_is_asked_about() {
    for (answer, outcome) in [(OLD, "version_mismatch"), (NEW, "installed")] {
        // The timer of ten minutes does not matter: a device that is back has installed, or has not.
        let mut up = Upgrade::new().await;
        up.line.reports(on_track(json!({ "progress": 100, "version": OLD }))).await;
        up.reconnects().await;
        up.line.is_asked().await;
        up.line.runs(answer).await;
        up.ended(outcome).await;
    }
}

#[tokio::test]
async fn table_3_7_row_8_already_the_latest_is_asked_about_and_believed_only_with_the_version() {
    for (answer, outcome) in [(NEW, "installed"), (OLD, "failed")] {
        let mut up = Upgrade::new().await;
        up.line.reports(json!({ "result_code": 3, "progress": 0, "version": NEW })).await;
        up.is("confirming").await;
        up.line.is_asked().await;
        up.line.runs(answer).await;
        up.ended(outcome).await;
        let deployment = up.deployment().await;
        assert_eq!(deployment["result_code"], 3);
        assert_eq!(deployment["reported_version"], answer);
        assert_eq!(up.device.shown().await["firmware_version"], answer);
    }
}

#[tokio::test]
async fn table_3_7_row_8_already_the_latest_without_an_answer_is_a_failure() {
    let mut up = Stage::new().await.upgrade_with(json!({ "timers": { "answer_secs": 0.3 } })).await;
    up.line.reports(json!({ "result_code": 3, "progress": 0, "version": NEW })).await;
    up.line.is_asked().await;
    up.ended("failed").await;
    assert_eq!(up.deployment().await["result_code"], 3);
}

#[tokio::test]
async fn table_3_7_row_9_every_other_code_is_a_failure_and_its_version_is_not_believed() {
    let stage = Stage::new().await;
    let codes = [1, 2, 4, 5, 6, 7, 8, 9, 10, 255, 99, -1, i64::MAX];
    let mut devices = Vec::new();
    for code in codes {
        let node = format!("dev{}", devices.len());
        devices.push((code, stage.device(&node).await));
    }
    let listed: Vec<_> = devices.iter().map(|(_, device)| device).collect();
    let mut lines = Vec::new();
    for device in &listed {
        lines.push(device.connects().await);
    }
    let campaign = stage.campaign(&listed, json!({})).await;
    for ((code, device), line) in devices.iter().zip(&mut lines) {
        line.is_asked().await;
        line.runs(OLD).await;
        line.is_told("firmware_upgrade").await;
        let version = if *code == 10 { "" } else { NEW };
        line.reports(json!({ "result_code": code, "progress": 0, "version": version, "description": "why" }))
            .await;
        let ended = campaign.ended(device, "failed").await;
        assert_eq!(ended["result_code"], *code, "kept as it was sent");
        assert_eq!(ended["description"], "why");
        assert_eq!(ended["reported_version"], OLD, "{code}");
        assert_eq!(device.shown().await["firmware_version"], OLD, "{code}");
        line.is_told_nothing().await;
    }
}

#[tokio::test]
async fn table_3_7_row_9_a_failure_beats_progress_and_version() {
    let mut up = Upgrade::new().await;
    up.line.reports(json!({ "result_code": 255, "progress": 100, "version": NEW })).await;
    up.ended("failed").await;
}

#[tokio::test]
async fn table_3_7_row_9_a_failure_with_retries_left_is_tried_again_with_a_new_token() {
    let retry = json!({ "retry": { "count": 1, "interval_secs": 0 } });
    let mut up = Stage::new().await.upgrade_with(retry).await;
    up.line.reports(json!({ "result_code": 4, "progress": 10, "version": OLD })).await;
    up.line.is_asked().await;
    up.line.runs(OLD).await;
    let second = up.line.is_told("firmware_upgrade").await;
    assert_eq!(up.deployment().await["attempt"], 2);
    assert_eq!(up.fetches().await.status, 403, "the first attempt's token");
    up.notice = second;
    assert_eq!(up.fetches().await.status, 200);
    up.line.reports(json!({ "result_code": 4, "progress": 10, "version": OLD })).await;
    up.ended("failed").await;
}

#[tokio::test]
async fn table_3_7_also_the_wanted_version_announced_unasked_is_the_end() {
    let mut up = Upgrade::new().await;
    // Not the device's only word before: greetings with the old version mean nothing.
    up.line.runs(OLD).await;
    up.is("offered").await;
    up.line.event("version_report", json!({ "sw_version": NEW })).await;
    up.is("offered").await;
    up.line.runs(NEW).await;
    up.ended("installed").await;
}

#[tokio::test]
async fn table_3_7_also_a_success_stays_one_whatever_the_device_says_later() {
    let mut up = Upgrade::new().await;
    up.line.reports(on_track(json!({ "progress": 100, "version": NEW }))).await;
    // Some samples answer their hard-coded old version for ever.
    up.line.runs(OLD).await;
    up.line.reports(json!({ "result_code": 10, "progress": 0, "version": OLD })).await;
    assert_eq!(up.device.last_reading().await["events"][0]["then"], "after_the_end");
    up.reconnects().await;
    up.line.runs(OLD).await;
    up.line.is_told_nothing().await;
    up.ended("installed").await;
}
