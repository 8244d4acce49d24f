//! The quirks of device SDKs, by their numbers in `docs/protocol.md`. Those of connecting and of downloads are in
//! `connecting` and `downloads`, that of Python's thread in `captures`.

use serde_json::{Value, json};

use crate::captures::{asked, told};
use crate::device::envelope;
use crate::link::events_up;
use crate::recorded::payload;
use crate::stage::{ChildUpgrade, NEW, OLD, Stage, Upgrade, fetch};

/// The event of a gateway sample about its child, which leaves out or nulls what it can.
fn of_sample(child: &str, event_type: &Value, paras: &Value) -> String {
    format!(
        r#"{{"object_device_id":"{child}","services":[{{"paras":{paras},"service_id":"$ota","event_type":{event_type},"event_time":null,"event_id":null}}]}}"#
    )
}

/// No member is null, however deep.
fn has_no_null(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => items.iter().all(has_no_null),
        Value::Object(members) => members.values().all(has_no_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// A question and a notice with everything in it, as they were said.
async fn said(delivery: &str, kind: &str) -> [Value; 2] {
    let stage = Stage::new().await;
    let package = json!({ "delivery": delivery, "kind": kind, "custom_info": r#"{"like":"an object"}"# });
    let package = stage.package_with(package).await;
    let device = stage.device("dev1").await;
    let mut line = device.connects().await;
    stage.campaign_of(&package, &[&device], json!({})).await;
    let question = line.message().await;
    line.event("version_report", json!({ "fw_version": OLD, "sw_version": OLD })).await;
    [question, line.message().await]
}

#[tokio::test]
async fn quirk_2_java_writes_null_for_what_it_does_not_have() {
    let mut up = told("java").await;
    let with_nulls =
        payload("java_success").replace("\"description\":\"upgrade success\"", "\"description\":null");
    up.line.says(&with_nulls).await;
    up.ended("installed").await;
    assert_eq!(up.device.last_reading().await["tolerances"], json!(["null_member"]));
}

#[tokio::test]
async fn quirk_3_java_says_the_same_version_for_firmware_and_software() {
    let (stage, device, mut line, _campaign) = asked("java").await;
    line.says(&payload("java_version_report")).await;
    line.is_told("firmware_upgrade").await;
    let shown = device.shown().await;
    assert_eq!((&shown["firmware_version"], &shown["software_version"]), (&json!(OLD), &json!(OLD)));
    // A campaign of software is judged by it like by any other.
    line.says(&payload("java_success")).await;
    let software = stage.package_with(json!({ "kind": "software", "version": OLD })).await;
    let campaign = stage.campaign_of(&software, &[&device], json!({})).await;
    line.is_asked().await;
    line.says(&payload("java_version_report")).await;
    campaign.ended(&device, "already_installed").await;
}

#[tokio::test]
async fn quirk_4_javas_two_last_reports_arrive_back_to_back() {
    for (last, outcome) in [("java_success", "installed"), ("java_wrong_hash", "failed")] {
        let mut up = told("java").await;
        let topic = events_up(&up.device.id);
        let mut both = up.line.link.publish(&topic, 1, 301, &payload("java_downloaded"));
        both.extend(up.line.link.publish(&topic, 1, 302, &payload(last)));
        up.line.link.send(&both).await;
        up.line.is_acknowledged(301).await;
        up.line.is_acknowledged(302).await;
        up.ended(outcome).await;
        up.line.is_told_nothing().await;
    }
}

#[tokio::test]
async fn quirk_5_java_ignores_what_does_not_name_it_and_so_it_is_always_named() {
    for delivery in ["token", "signed_url"] {
        for message in said(delivery, "firmware").await {
            let named = message["object_device_id"].as_str().unwrap();
            assert!(named.ends_with("_dev1"), "{message}");
        }
    }
    // `is_asked_about` and `is_told_about` see that a child is named on its gateway's topic.
    ChildUpgrade::new().await;
}

#[tokio::test]
async fn quirk_6_java_fails_on_null_services_and_event_types_and_never_gets_them() {
    for message in said("token", "software").await {
        assert_eq!(message["services"].as_array().unwrap().len(), 1, "{message}");
        for member in ["service_id", "event_type"] {
            assert!(message["services"][0][member].is_string(), "{message}");
        }
        assert!(message["services"][0]["paras"].is_object(), "{message}");
    }
}

#[tokio::test]
async fn quirk_7_java_needs_custom_info_as_text() {
    let [_, notice] = said("token", "firmware").await;
    assert_eq!(notice["services"][0]["paras"]["custom_info"], r#"{"like":"an object"}"#);
}

#[tokio::test]
async fn quirk_8_java_with_one_thread_is_neither_asked_nor_told_again_while_it_upgrades() {
    let mut up = told("java").await;
    for _ in 0..5 {
        up.line.says(&payload("java_progress_10")).await;
        up.line.is_told_nothing().await;
    }
    // Even a version that it announces by itself leads to nothing.
    up.line.says(&payload("java_version_report")).await;
    up.line.is_told_nothing().await;
    up.line.says(&payload("java_success")).await;
    up.ended("installed").await;
}

#[tokio::test]
async fn quirk_10_a_gateway_sample_reports_its_childs_success_with_a_code_and_a_version_only() {
    let mut up = ChildUpgrade::new().await;
    // It fetches nothing, but could: the token is for the child, whoever brings it.
    assert_eq!(fetch(&up.gateway.platform, &up.notice).await.status, 200);
    let report = json!({ "result_code": 0, "version": NEW });
    up.line.says(&of_sample(&up.child.id, &json!("upgrade_progress_report"), &report)).await;
    up.campaign.ended(&up.child, "installed").await;
    assert_eq!(up.child.shown().await["firmware_version"], NEW);
    assert_eq!(up.gateway.shown().await["firmware_version"], json!(null), "the child's is not the gateway's");
}

#[tokio::test]
async fn quirk_11_a_gateway_samples_nameless_events_change_nothing() {
    let mut up = ChildUpgrade::new().await;
    let child = up.child.id.clone();
    up.line.says(&of_sample(&child, &json!(null), &json!({}))).await;
    up.line.says(&of_sample(&child, &json!(null), &json!(null))).await;
    let all_null = r#"{"object_device_id":null,"services":[{"paras":null,"service_id":null,"event_type":null,"event_time":null,"event_id":null}]}"#;
    up.line.says(all_null).await;
    up.line.is_told_nothing().await;
    assert_eq!(up.campaign.deployment(&up.child).await["state"], "offered");
}

#[tokio::test]
async fn quirk_12_a_gateway_may_answer_for_itself_as_it_does_for_a_child() {
    let stage = Stage::new().await;
    let gateway = stage.device("gw").await;
    stage.child("child1", &gateway).await;
    let mut line = gateway.connects().await;
    let campaign = stage.campaign(&[&gateway], json!({})).await;
    line.is_asked().await;
    line.says(&of_sample(&gateway.id, &json!("version_report"), &json!({ "fw_version": OLD }))).await;
    line.is_told("firmware_upgrade").await;
    let report = json!({ "result_code": 0, "version": NEW });
    line.says(&of_sample(&gateway.id, &json!("upgrade_progress_report"), &report)).await;
    campaign.ended(&gateway, "installed").await;
}

#[tokio::test]
async fn quirk_13_pythons_local_time_is_shown_and_the_time_of_receipt_counts() {
    let mut up = told("python").await;
    up.line
        .says(&payload("python_progress_10").replace("2026-11-23T00:10:53Z", "1999-01-01T08:00:00Z"))
        .await;
    let report = &up.device.reports().await[0];
    assert_eq!(report["reading"]["events"][0]["event_time"], "1999-01-01T08:00:00Z");
    let connected_at = up.device.shown().await["connected_at"].clone();
    assert!(report["received_at"].as_str() >= connected_at.as_str(), "{report}");
    assert!(up.deployment().await["updated_at"].as_str() >= connected_at.as_str());
}

#[tokio::test]
async fn quirk_14_python_says_nothing_of_a_failure_and_the_timer_ends_it() {
    let mut up = Stage::new().await.upgrade_with(json!({ "timers": { "result_secs": 0.5 } })).await;
    // Fetched, found wrong, and not a word.
    assert_eq!(up.fetches().await.status, 200);
    up.line.is_asked().await;
    let bytes = up.notice["file_size"].clone();
    assert_eq!(up.deployment().await["download"]["bytes"], bytes, "that it was fetched can be seen");
    up.line.runs(OLD).await;
    up.ended("timed_out").await;
}

#[tokio::test]
async fn quirk_16_pythons_parser_of_the_second_form_finds_the_three_members_it_keeps() {
    for kind in ["firmware", "software"] {
        let [_, notice] = said("signed_url", kind).await;
        assert_eq!(notice["services"][0]["event_type"], format!("{kind}_upgrade_v2"));
        let paras = &notice["services"][0]["paras"];
        assert!(paras["url"].is_string() && paras["version"] == NEW && paras["expires"].is_u64(), "{paras}");
    }
}

#[tokio::test]
async fn quirk_17_pythons_empty_versions_are_not_said() {
    let mut up = told("python").await;
    up.line.says(&payload("python_sdk_info")).await;
    up.line.event("version_report", json!({ "fw_version": "", "sw_version": "" })).await;
    let shown = up.device.shown().await;
    assert_eq!((&shown["firmware_version"], &shown["software_version"]), (&json!(OLD), &json!(null)));
    up.is("offered").await;
}

#[tokio::test]
async fn quirk_19_c_prints_its_json_with_tabs_and_leaves_members_out() {
    let mut up = told("c").await;
    assert!(payload("c_progress_10").contains("\n\t\t\t\t\"progress\":\t10"));
    for (name, progress) in [("c_progress_10", 10), ("c_progress_50", 50)] {
        up.line.says(&payload(name)).await;
        assert_eq!(up.deployment().await["progress"], progress);
    }
    up.line.says(&payload("c_success")).await;
    up.ended("installed").await;
    assert_eq!(up.device.last_reading().await.get("tolerances"), None, "white space is no departure");
}

#[tokio::test]
async fn quirk_20_c_echoes_minus_one_for_a_name_it_was_not_told() {
    let (_stage, device, mut line, _campaign) = asked("c").await;
    line.says(&payload("c_version_report_minus_one")).await;
    line.is_told("firmware_upgrade").await;
    assert_eq!(device.last_reading().await["tolerances"], json!(["subject_minus_one"]));
}

#[tokio::test]
async fn quirk_21_c_names_the_version_that_it_did_not_install() {
    let mut up = told("c").await;
    up.line.says(&payload("c_failed")).await;
    up.ended("failed").await;
    let deployment = up.deployment().await;
    assert_eq!((&deployment["result_code"], &deployment["description"]), (&json!(1), &json!("failed")));
    assert_eq!(up.device.shown().await["firmware_version"], OLD);
}

#[tokio::test]
async fn quirk_26_go_takes_its_childs_notice_for_its_own_and_that_is_no_success_of_the_child() {
    let mut up = ChildUpgrade::new().await;
    up.line.event("version_report", json!({ "fw_version": NEW, "sw_version": "" })).await;
    let report = json!({ "result_code": 0, "progress": 100, "version": NEW, "description": "" });
    up.line.event("upgrade_progress_report", report).await;
    assert_eq!(up.campaign.deployment(&up.child).await["state"], "offered");
    assert_ne!(up.child.shown().await["firmware_version"], NEW);
    up.line.is_told_nothing().await;
}

#[tokio::test]
async fn quirk_27_go_fails_with_an_empty_version() {
    for code in [10, 255] {
        let mut up = told("go").await;
        let report = payload("go_failed").replace(r#""result_code":10"#, &format!(r#""result_code":{code}"#));
        up.line.says_on(&events_up(&up.device.id), 0, report.as_bytes()).await;
        up.ended("failed").await;
        assert_eq!(up.deployment().await["result_code"], code);
        assert_eq!(up.device.shown().await["firmware_version"], OLD, "empty is unknown");
    }
}

#[tokio::test]
async fn quirk_28_gos_success_stands_although_it_fetched_nothing() {
    let mut up = told("go").await;
    up.line.says_on(&events_up(&up.device.id), 0, payload("go_success").as_bytes()).await;
    up.ended("installed").await;
}

#[tokio::test]
async fn quirk_30_go_puts_several_services_into_one_message_without_a_name() {
    let mut up = told("go").await;
    let service = |service: &str, event: &str, paras: Value| json!({ "service_id": service, "event_type": event, "event_time": "20261123T002408Z", "paras": paras });
    let log = || {
        service(
            "$log",
            "log_report",
            json!({ "timestamp": "1795392652356", "type": "DEVICE_STATUS", "content": "x" }),
        )
    };
    up.line.says(&json!({ "services": [log(), log(), log()] }).to_string()).await;
    up.is("offered").await;
    // Each counts for itself, in order.
    let report = |progress: u8, version: &str| {
        service(
            "$ota",
            "upgrade_progress_report",
            json!({ "result_code": 0, "progress": progress, "version": version }),
        )
    };
    up.line.says(&json!({ "services": [report(99, OLD), log(), report(100, NEW)] }).to_string()).await;
    up.ended("installed").await;
}

#[tokio::test]
async fn quirk_31_go_publishes_on_its_own_downlink_topic() {
    let mut up = told("go").await;
    let result = json!({ "object_name": "x", "result_code": 0 });
    let event = envelope(&up.device.id, "upload_result_report", result).to_string();
    let success = payload("go_success");
    let topic = up.device.down();
    for flags in [0, 2] {
        up.line.says_on(&topic, flags, event.as_bytes()).await;
        up.line.says_on(&topic, flags, success.as_bytes()).await;
    }
    up.line.is_told_nothing().await;
    up.is("offered").await;
}

#[tokio::test]
async fn quirk_32_c_sharps_hard_coded_versions_are_not_believed() {
    let mut up = Upgrade::new().await;
    let event = json!({ "services": [{
        "service_id": "$sdk_info", "event_type": "sdk_info_report", "event_time": "20250414T010203Z",
        "paras": {
            "device_sdk_version": "C#_v1.3.4", "sw_version": "v1.0", "fw_version": NEW,
            "event_time": "14.04.2025 01:02:03",
        },
    }] });
    up.line.says(&event.to_string()).await;
    up.is("offered").await;
    let shown = up.device.shown().await;
    assert_eq!((&shown["firmware_version"], &shown["software_version"]), (&json!(OLD), &json!(null)));
}

#[tokio::test]
async fn quirk_33_c_sharp_says_already_the_latest_when_the_hash_is_wrong() {
    let mut up = Upgrade::new().await;
    up.line.reports(json!({ "result_code": 3, "progress": 0, "version": NEW })).await;
    up.line.is_asked().await;
    up.line.runs(OLD).await;
    up.ended("failed").await;
    assert_eq!(up.deployment().await["result_code"], 3);
}

#[tokio::test]
async fn quirk_34_c_sharp_names_the_target_in_every_failure() {
    for code in [6, 255] {
        let mut up = Upgrade::new().await;
        up.line.reports(json!({ "result_code": code, "progress": 0, "version": NEW })).await;
        up.ended("failed").await;
        assert_eq!(up.device.shown().await["firmware_version"], OLD, "{code}");
    }
}

#[tokio::test]
async fn quirk_35_c_sharp_fails_on_a_null_number_and_never_gets_one() {
    for (delivery, kind) in
        [("token", "firmware"), ("token", "software"), ("signed_url", "firmware"), ("signed_url", "software")]
    {
        for message in said(delivery, kind).await {
            assert!(has_no_null(&message), "{message}");
        }
    }
}

#[tokio::test]
async fn quirk_38_arkts_writes_milliseconds_and_dashes() {
    let mut up = Upgrade::new().await;
    for (written, shown) in [
        (json!("2025-04-14T01:02:03.456Z"), json!("2025-04-14T01:02:03.456Z")),
        (json!("20250414T010203Z"), json!("20250414T010203Z")),
        (json!("1795392652356"), json!("1795392652356")),
        (json!(""), json!(null)),
        (json!(null), json!(null)),
    ] {
        let paras = json!({ "result_code": 0, "progress": 10, "version": OLD });
        let mut message = envelope(&up.device.id, "upgrade_progress_report", paras);
        message["services"][0]["event_time"] = written;
        up.line.says(&message.to_string()).await;
        up.is("running").await;
        assert_eq!(up.device.last_reading().await["events"][0]["event_time"], shown);
    }
}

#[tokio::test]
async fn quirk_40_typescript_publishes_on_the_topic_of_whom_it_speaks_of() {
    let (stage, device) = Stage::captured(&[]).await;
    let bytes = crate::recorded::connect("ts");
    let (_, mut line) = device.tries(&device.platform.mqtt(), &bytes, crate::link::V3_1_1).await;
    let message = payload("ts_message");
    line.says_on("$oc/devices/prod1_dev1/sys/messages/up", 2, message.as_bytes()).await;
    // On another's topic, even a child's, it is acknowledged and means nothing.
    let child = stage.child("child1", &device).await;
    let foreign = device.platform.metric("otaru_gateway_uplinks_total", r#"topic="foreign""#).await;
    let report = envelope(&child.id, "version_report", json!({ "fw_version": NEW })).to_string();
    line.says_on(&events_up(&child.id), 2, report.as_bytes()).await;
    line.says_on(&events_up(&child.id), 0, report.as_bytes()).await;
    line.is_alive().await;
    assert_eq!(child.shown().await["firmware_version"], json!(null));
    let metric = device.platform.metric("otaru_gateway_uplinks_total", r#"topic="foreign""#).await;
    assert_eq!(metric, foreign + 2);
}

#[tokio::test]
async fn quirk_41_home_made_clients_write_numbers_as_they_like() {
    let mut up = Upgrade::new().await;
    let paras = json!({
        "result_code": "0", "progress": 55.0, "version": OLD, "description": 7, "extra": { "deep": [1, null] },
        "ok": true,
    });
    let mut message = envelope(&up.device.id, "upgrade_progress_report", paras);
    message["extra"] = json!([true]);
    message["services"][0]["extra"] = json!(1);
    up.line.says(&message.to_string()).await;
    let deployment = up.deployment().await;
    assert_eq!((&deployment["state"], &deployment["progress"]), (&json!("running"), &json!(55)));
    up.line.reports(json!({ "result_code": 0.0, "progress": "100", "version": NEW })).await;
    up.ended("installed").await;
}
