use serde_json::{Value, json};

use crate::house::{Gadget, House, take_moment, text};

#[tokio::test]
async fn reports_are_kept_word_for_word_newest_first() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let mut gadget = Gadget::connect(&house, &lamp.device).await;
    for version in ["v0", "v1", "v2"] {
        gadget.runs(version).await;
    }
    let first = house.viewer().get("/api/v1/devices/lamp_1/reports?limit=2").await.ok(200);
    let path = format!("/api/v1/devices/lamp_1/reports?limit=2&cursor={}", text(&first["next_cursor"]));
    let rest = house.viewer().get(&path).await.ok(200);
    assert_eq!(versions(&[&first, &rest]), ["v2", "v1", "v0"]);
    assert_eq!(rest["next_cursor"], Value::Null);
    let mut newest = first["items"][0].clone();
    take_moment(&mut newest, "received_at");
    let payload: Value = serde_json::from_str(newest["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["services"][0]["event_type"], "version_report");
    assert!(newest["reading"].is_object());
    assert_eq!(newest["campaign_id"], Value::Null);
}

#[tokio::test]
async fn a_report_during_a_campaign_names_it() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let mut gadget = Gadget::connect(&house, &lamp.device).await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    gadget.told_when_running("v1").await;
    gadget
        .report("upgrade_progress_report", json!({"result_code": 0, "progress": 10, "version": "v1"}))
        .await;
    let listed = house.viewer().get("/api/v1/devices/lamp_1/reports?limit=1").await.ok(200);
    assert_eq!(listed["items"][0]["campaign_id"], id);
}

#[tokio::test]
async fn an_unknown_device_is_not_found_and_a_silent_one_has_none() {
    let house = House::open().await;
    house.furnish().await;
    let none = house.viewer().get("/api/v1/devices/lamp_1/reports").await.ok(200);
    assert_eq!(none, json!({"items": [], "next_cursor": null}));
    house.viewer().get("/api/v1/devices/nobody/reports").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_bad_cursor_is_named() {
    let house = House::open().await;
    house.furnish().await;
    let refused = house.viewer().get("/api/v1/devices/lamp_1/reports?cursor=device-1").await;
    refused.refused(400, "invalid_cursor");
}

fn versions(pages: &[&Value]) -> Vec<String> {
    let items = pages.iter().flat_map(|page| page["items"].as_array().unwrap());
    let payloads =
        items.map(|item| serde_json::from_str::<Value>(item["payload"].as_str().unwrap()).unwrap());
    payloads.map(|payload| text(&payload["services"][0]["paras"]["fw_version"])).collect()
}
