//! The least that unmodified SDKs need. The first line, about connecting, is in `connecting`.

use serde_json::json;

use crate::fetch::parts;
use crate::platform::word;
use crate::stage::{NEW, OLD, Stage, Upgrade, fetch, waited};

#[tokio::test]
async fn minimum_8_3_line_2_both_upgrade_events_are_read_and_everything_else_is_accepted_silently() {
    let mut up = Upgrade::new().await;
    for (service, event) in [
        ("$log", "log_report"),
        ("$device_config", "config_update_response"),
        ("$device_rule", "device_rule_config_request"),
        ("sub_device_discovery", "scan_result"),
        ("$oh_soft_bus", "soft_bus_config_request"),
        ("$tunnel_manager", "anything"),
        ("security", "security_log_report"),
        ("$ota", "module_upgrade_request"),
        ("of_the_product", "anything"),
    ] {
        let message =
            json!({ "services": [{ "service_id": service, "event_type": event, "paras": { "x": 1 } }] });
        up.line.says(&message.to_string()).await;
    }
    let own = format!("$oc/devices/{}/sys", up.device.id);
    for topic in [
        "properties/report",
        "properties/report?encoding=gzip",
        "gateway/sub_devices/properties/report",
        "properties/set/response/request_id=5c6f",
        "properties/get/response/request_id=5c6f",
        "commands/response/request_id=5c6f",
        "messages/up",
        "messages/up?encoding=gzip",
        "bootstrap/up",
        "sub_device_manage/messages/up",
    ] {
        for flags in [0, 2] {
            up.line.says_on(&format!("{own}/{topic}"), flags, b"\x1f\x8b anything").await;
        }
    }
    for topic in [
        format!("$oc/devices/{}/user/anything", up.device.id),
        format!("$oc/m2m/to/x/from/{}/request_id=1", up.device.id),
        format!("/huawei/v1/devices/{}/data/json", up.device.id),
        "telemetry".to_owned(),
    ] {
        up.line.says_on(&topic, 2, b"anything").await;
        // A retained one as well: the flag means nothing.
        up.line.says_on(&topic, 3, b"anything").await;
    }
    up.line.is_told_nothing().await;
    up.is("offered").await;
    up.line.reports(json!({ "result_code": 0, "progress": 40, "version": OLD })).await;
    up.is("running").await;
    up.line.runs(NEW).await;
    up.ended("installed").await;
}

#[tokio::test]
async fn minimum_8_3_line_3_the_question_and_the_four_notices() {
    let stage = Stage::new().await;
    for (number, (kind, delivery, event_type)) in [
        ("firmware", "token", "firmware_upgrade"),
        ("software", "token", "software_upgrade"),
        ("firmware", "signed_url", "firmware_upgrade_v2"),
        ("software", "signed_url", "software_upgrade_v2"),
    ]
    .into_iter()
    .enumerate()
    {
        let package = json!({ "kind": kind, "delivery": delivery, "version": format!("v2.{number}.0") });
        let package = stage.package_with(package).await;
        let device = stage.device(&format!("dev{number}")).await;
        let mut line = device.connects().await;
        stage.campaign_of(&package, &[&device], json!({})).await;
        line.is_asked().await;
        line.event("version_report", json!({ "fw_version": OLD, "sw_version": OLD })).await;
        let notice = line.is_told(event_type).await;
        assert_eq!(notice.get("access_token").is_some(), delivery == "token", "{notice}");
        assert_eq!(fetch(&stage.platform, &notice).await.status, 200);
    }
}

#[tokio::test]
async fn minimum_8_3_line_4_a_download_over_https_with_the_port_in_the_address() {
    let up = Upgrade::new().await;
    let url = word(&up.notice, "url");
    let (scheme, _, port, _) = parts(&url);
    assert_eq!((scheme, port), ("https", up.device.platform.https().port));
    let answer = up.fetches().await;
    assert!(answer.status == 200 && answer.is_plain(), "{}", answer.head);
}

#[tokio::test]
async fn minimum_8_3_line_5_from_waiting_to_the_end_by_the_decision_table() {
    // One device for each way through: told and done, there already, failed, never there.
    let stage = Stage::new().await;
    let mut devices = Vec::new();
    for number in 0..4 {
        devices.push(stage.device(&format!("dev{number}")).await);
    }
    let mut lines = Vec::new();
    for device in &devices[..3] {
        lines.push(device.connects().await);
    }
    let listed: Vec<_> = devices.iter().collect();
    let campaign = stage.campaign(&listed, json!({ "timers": { "online_secs": 1.0 } })).await;
    for (line, runs) in lines.iter_mut().zip([OLD, NEW, OLD]) {
        line.is_asked().await;
        line.runs(runs).await;
    }
    lines[0].is_told("firmware_upgrade").await;
    lines[0].reports(json!({ "result_code": 0, "progress": 100, "version": NEW })).await;
    lines[2].is_told("firmware_upgrade").await;
    lines[2].reports(json!({ "result_code": 5, "progress": 3, "version": OLD })).await;
    for (device, outcome) in devices.iter().zip(["installed", "already_installed", "failed", "timed_out"]) {
        campaign.ended(device, outcome).await;
    }
    let path = format!("/campaigns/{}", campaign.id);
    let ended = waited(async || stage.platform.get(&path).await, |found| found["state"] == "finished").await;
    assert_eq!(ended["counts"]["total"], 4);
}
