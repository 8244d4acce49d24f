//! What devices ask and say beside upgrades, gateways and their children, and the way in over HTTP.

use serde_json::{Value, json};

use crate::device::{Device, Line};
use crate::fetch::exchange;
use crate::link::V3_1_1;
use crate::recorded::{self, payload};
use crate::stage::{NEW, OLD, Stage, Upgrade, waited};

#[tokio::test]
async fn quirk_9_a_java_gateway_asks_for_its_children_without_the_dollar() {
    let stage = Stage::new().await;
    let gateway = stage.device("gw").await;
    stage.child("child01", &gateway).await;
    for service_id in ["sub_device_manager", "$sub_device_manager"] {
        let mut line = gateway.connects().await;
        let told = asks(&mut line, service_id, "sub_device_sync_request", json!({ "version": 0 })).await;
        assert_eq!(told["event_type"], "add_sub_device_notify");
        assert_eq!(told["paras"]["devices"][0]["node_id"], "child01");
        assert_eq!(told["paras"]["version"], 1);
    }
}

#[tokio::test]
async fn capture_fact_12_a_java_gateway_with_children_is_told_them_at_its_captured_question() {
    let (stage, device) = Stage::captured(&[]).await;
    stage.child("child01", &device).await;
    let (_, mut line) = device.tries(&device.platform.mqtt(), &recorded::connect("java"), V3_1_1).await;
    line.says(&payload("java_sync_request")).await;
    assert_eq!(service(&mut line).await["paras"]["devices"][0]["node_id"], "child01");
}

#[tokio::test]
async fn quirk_17_pythons_time_request_is_a_text_and_is_echoed_as_a_number() {
    let stage = Stage::new().await;
    let mut line = stage.device("dev").await.connects().await;
    for (sent, echoed) in [
        (json!("1744592523123"), 1_744_592_523_123_i64),
        (json!(1_744_592_523_123_i64), 1_744_592_523_123),
        (json!(1_744_592_523), 1_744_592_523),
    ] {
        let told =
            asks(&mut line, "$time_sync", "time_sync_request", json!({ "device_send_time": sent })).await;
        assert_eq!(told["event_type"], "time_sync_response");
        assert_eq!(told["paras"]["device_send_time"], echoed);
        assert!(told["paras"]["server_recv_time"].is_i64() && told["paras"]["server_send_time"].is_i64());
    }
}

#[tokio::test]
async fn quirk_28_a_success_without_a_complete_download_is_flagged_and_a_complete_one_is_not() {
    let mut saved_an_error = Upgrade::new().await;
    let done = json!({ "result_code": 0, "progress": 100, "version": NEW, "description": "" });
    saved_an_error.line.reports(done.clone()).await;
    let flagged =
        saved_an_error.campaign.until(&saved_an_error.device, |found| found["outcome"] == "installed").await;
    assert_eq!(flagged["unfetched_success"], true, "{flagged}");

    let mut fetched = Upgrade::new().await;
    assert_eq!(fetched.fetches().await.status, 200);
    fetched.campaign.until(&fetched.device, |found| found["download"]["percent"] == 100).await;
    fetched.line.reports(done).await;
    let plain = fetched.campaign.until(&fetched.device, |found| found["outcome"] == "installed").await;
    assert_eq!(plain["unfetched_success"], false, "{plain}");
}

#[tokio::test]
async fn minimum_8_3_line_2_what_devices_say_beside_upgrades_is_kept_and_questions_are_answered() {
    let stage = Stage::new().await;
    let device = stage.device("dev").await;
    let mut line = device.connects().await;
    let sdk = json!({ "device_sdk_version": "JAVA_v1.2.1", "fw_version": null, "sw_version": "" });
    line.says(&event("$sdk_info", "sdk_info_report", sdk)).await;
    let log = json!({ "timestamp": "1795392652356", "type": "DEVICE_STATUS", "content": "connected" });
    line.says(&event("$log", "log_report", log)).await;
    let own = format!("$oc/devices/{}/sys", device.id);
    let properties = json!({ "services": [{ "service_id": "Battery", "properties": { "level": 80 } }] });
    line.says_on(&format!("{own}/properties/report"), 2, properties.to_string().as_bytes()).await;

    let shown = device.shown().await;
    assert_eq!((&shown["sdk_version"], &shown["firmware_version"]), (&json!("JAVA_v1.2.1"), &Value::Null));
    let kept = async |what: &str| device.platform.get(&format!("/devices/{}/{what}", device.id)).await;
    assert_eq!(kept("log").await["items"][0]["content"], "connected");
    assert_eq!(kept("properties").await["items"][0]["properties"], json!({ "level": 80 }));

    line.says_on(&format!("{own}/shadow/get/request_id=5c6f"), 2, b"{}").await;
    let shadow = line.told().await;
    assert_eq!(shadow.topic, format!("{own}/shadow/get/response/request_id=5c6f"));
    let shadow: Value = serde_json::from_str(&shadow.payload).unwrap();
    assert_eq!(shadow["shadow"][0]["reported"]["properties"], json!({ "level": 80 }));
    let no = asks(&mut line, "$file_manager", "get_upload_url", json!({ "file_name": "a.log" })).await;
    assert_eq!((&no["event_type"], &no["paras"]["url"]), (&json!("get_upload_url_response"), &json!("")));
}

#[tokio::test]
async fn minimum_8_3_line_3_a_gateway_is_answered_whatever_it_asks_about_its_children() {
    let stage = Stage::new().await;
    let gateway = stage.device("gw").await;
    let mut line = gateway.connects().await;
    let new = json!({ "devices": [{ "node_id": "child01", "product_id": stage.product }] });
    let added = asks(&mut line, "$sub_device_manager", "add_sub_device_request", new).await;
    assert_eq!(added["event_type"], "add_sub_device_response");
    let child = added["paras"]["successful_devices"][0]["device_id"].as_str().unwrap().to_owned();
    assert!(added["event_id"].as_str().is_some_and(|id| id.len() == 36));

    for (status, online) in [("OFFLINE", false), ("ONLINE", true)] {
        let said = json!({ "device_statuses": [{ "device_id": child, "status": status }] });
        let noted = asks(&mut line, "$sub_device_manager", "sub_device_update_status", said).await;
        assert_eq!(noted["paras"]["successful_devices"][0]["status"], status);
        assert_eq!(gateway.platform.get(&format!("/devices/{child}")).await["online"], online);
    }
    let gone = json!({ "devices": [child, "nobody"] });
    let deleted = asks(&mut line, "$sub_device_manager", "delete_sub_device_request", gone).await;
    assert_eq!(deleted["paras"]["successful_devices"], json!([child]));
    assert_eq!(deleted["paras"]["failed_devices"][0]["error_code"], "IOTDA.014000");
}

#[tokio::test]
async fn flow_3_8_in_gateway_mode_a_child_is_announced_with_the_task_and_its_size() {
    let stage = Stage::new().await;
    let gateway = stage.device("gw").await;
    let child = stage.child("child01", &gateway).await;
    stage.child("child02", &gateway).await;
    let mut line = gateway.connects().await;
    let gateway_mode = json!({ "gateway_mode": true, "ext_info": { "device_type": "DDC" } });
    let package = stage.package().await;
    let campaign = stage.campaign_of(&package, &[&child], gateway_mode).await;
    let task = json!({
        "task_id": campaign.id, "sub_device_count": 1, "task_ext_info": { "device_type": "DDC" },
    });
    let (question, paras) = line.told_about(&child.id).await;
    assert_eq!((question.as_str(), &paras), ("version_query", &task));
    line.event_of(&child.id, "version_report", json!({ "fw_version": OLD })).await;
    let (_, notice) = line.told_about(&child.id).await;
    for member in ["task_id", "sub_device_count", "task_ext_info"] {
        assert_eq!(notice[member], task[member], "{notice}");
    }
    line.event_of(&child.id, "upgrade_progress_report", json!({ "result_code": 0, "version": NEW })).await;
    campaign.ended(&child, "installed").await;
}

#[tokio::test]
async fn flow_3_8_a_child_that_is_not_there_is_waited_for_until_its_gateway_says_otherwise() {
    let stage = Stage::new().await;
    let gateway = stage.device("gw").await;
    let child = stage.child("child01", &gateway).await;
    let mut line = gateway.connects().await;
    says_status(&mut line, &child, "OFFLINE").await;
    let campaign = stage.campaign(&[&child], json!({})).await;
    campaign.comes_to(&child, "released").await;
    line.is_told_nothing().await;
    line.brings(&child).await;
    line.is_asked_about(&child.id).await;
}

#[tokio::test]
async fn minimum_8_3_line_6_a_device_gets_a_token_and_reports_over_http() {
    let stage = Stage::new().await;
    let upgrade = stage.upgrade().await;
    let device = &upgrade.device;
    let connect = device.connect();
    let credentials = json!({
        "device_id": device.id, "sign_type": 0, "timestamp": "2025041401", "password": connect.password,
    });
    let granted = posts(device, "/v5/device-auth", "", &credentials).await;
    assert_eq!((granted.0, &granted.1["expires_in"]), (200, &json!(86399)));
    let token = format!("access_token: {}\r\n", granted.1["access_token"].as_str().unwrap());
    let report = json!({ "services": [{ "service_id": "$ota", "event_type": "upgrade_progress_report",
        "paras": { "result_code": 0, "progress": 100, "version": NEW } }] });
    let path = format!("/v5/devices/{}/sys/events/up", device.id);
    assert_eq!(posts(device, &path, "", &report).await.1["error_code"], "IOTDA.000004");
    assert_eq!(posts(device, &path, &token, &report).await.0, 200);
    upgrade.ended("installed").await;
}

/// Status and body of a POST, sent as bytes.
async fn posts(device: &Device, path: &str, headers: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let request =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
    let answer = exchange(&device.platform.http(), request.as_bytes()).await;
    (answer.status, if answer.body.is_empty() { Value::Null } else { answer.json() })
}

async fn says_status(line: &mut Line, child: &Device, status: &str) {
    let said = json!({ "device_statuses": [{ "device_id": child.id, "status": status }] });
    let noted = asks(line, "$sub_device_manager", "sub_device_update_status", said).await;
    assert_eq!(noted["paras"]["failed_devices"], json!([]), "{noted}");
    let online = waited(async || child.shown().await, |shown| shown["online"] == (status == "ONLINE")).await;
    assert_eq!(online["device_id"], child.id.as_str());
}

fn event(service_id: &str, event_type: &str, paras: Value) -> String {
    json!({ "services": [{ "service_id": service_id, "event_type": event_type, "paras": paras }] })
        .to_string()
}

/// Says it, and answers with the service in the answer.
async fn asks(line: &mut Line, service_id: &str, event_type: &str, paras: Value) -> Value {
    line.says(&event(service_id, event_type, paras)).await;
    service(line).await
}

async fn service(line: &mut Line) -> Value {
    loop {
        let told: Value = serde_json::from_str(&line.told().await.payload).unwrap();
        let service = told["services"][0].clone();
        // Which children it has, a gateway is told as well without asking.
        if service["event_type"]
            .as_str()
            .is_some_and(|told| told.ends_with("_response") || told.ends_with("_notify"))
        {
            return service;
        }
    }
}
