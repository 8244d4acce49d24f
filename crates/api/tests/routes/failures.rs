use serde_json::{Value, json};

use crate::house::{Gadget, House, campaign_when, take_id, take_moment, text};

/// A campaign on three lamps: two have failed with a low battery, one for a reason of its maker's.
async fn with_failures(house: &House) -> String {
    let lamp = house.furnish().await;
    let mut devices = vec![lamp.device];
    for node in ["2", "3"] {
        devices.push(house.operator().device("lamp", node).await);
    }
    house.operator().device("lamp", "4").await;
    let ids = ["lamp_1", "lamp_2", "lamp_3", "lamp_4"];
    let id = house.operator().campaign(&lamp.package_id, &ids).await;
    for (device, code, words) in
        [(&devices[0], 4, "3 %"), (&devices[1], 4711, "flux capacitor"), (&devices[2], 4, "5 %")]
    {
        let mut gadget = Gadget::connect(house, device).await;
        gadget.told_when_running("v1").await;
        let paras = json!({"result_code": code, "version": "v1", "description": words});
        gadget.report("upgrade_progress_report", paras).await;
    }
    id
}

#[tokio::test]
async fn failures_are_shown_by_outcome_and_code_with_devices() {
    let house = House::open().await;
    let id = with_failures(&house).await;
    let mut shown = house.viewer().get(&format!("/api/v1/campaigns/{id}/failures")).await.ok(200);
    for group in shown["items"].as_array_mut().unwrap() {
        for device in group["devices"].as_array_mut().unwrap() {
            take_moment(device, "updated_at");
            take_id(device, "deployment_id");
            assert!(!text(&device.as_object_mut().unwrap().remove("explanation").unwrap()).is_empty());
        }
    }
    let device =
        |id: &str, words: &str| json!({"device_id": id, "description": words, "reported_version": "v1"});
    assert_eq!(
        shown,
        json!({
            "total": 3, "has_more": false,
            "items": [
                {
                    "outcome": "failed", "result_code": 4, "result": "low_battery",
                    "meaning": "The battery is too low to upgrade safely.", "count": 2,
                    "devices": [device("lamp_3", "5 %"), device("lamp_1", "3 %")],
                },
                {
                    "outcome": "failed", "result_code": 4711, "result": "vendor",
                    "meaning": "The device gave a reason of its maker's own.", "count": 1,
                    "devices": [device("lamp_2", "flux capacitor")],
                },
            ],
        })
    );
}

#[tokio::test]
async fn as_many_are_shown_as_asked_for() {
    let house = House::open().await;
    let id = with_failures(&house).await;
    let get =
        async |query: &str| house.viewer().get(&format!("/api/v1/campaigns/{id}/failures{query}")).await;
    let one = get("?limit=1&examples=1").await.ok(200);
    assert_eq!((&one["has_more"], &one["total"]), (&json!(true), &json!(3)));
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    assert_eq!(one["items"][0]["devices"][0]["device_id"], "lamp_3");
    assert_eq!(get("?examples=0").await.ok(200)["items"][0]["devices"], json!([]));
    for (query, says) in
        [("?limit=0", "1 to 100 is"), ("?limit=101", "1 to 100 is"), ("?examples=21", "0 to 20 is")]
    {
        assert!(get(query).await.refused(400, "invalid_parameter").contains(says), "{query}");
    }
}

#[tokio::test]
async fn a_device_that_timed_out_said_nothing() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let campaign = json!({
        "name": "lights", "package_ids": [lamp.package_id], "devices": {"ids": ["lamp_1"]},
        "timers": {"online_secs": 0.001}, "start": true,
    });
    let made = house.operator().post("/api/v1/campaigns", campaign).await.ok(201);
    let id = text(&made["campaign_id"]);
    campaign_when(house.viewer(), &id, |c| c["counts"]["timed_out"] == 1).await;
    let shown = house.viewer().get(&format!("/api/v1/campaigns/{id}/failures")).await.ok(200);
    let group = &shown["items"][0];
    assert_eq!(
        (&group["outcome"], &group["result_code"], &group["result"]),
        (&json!("timed_out"), &Value::Null, &json!("none"))
    );
}

#[tokio::test]
async fn a_campaign_without_failures_has_none_and_one_that_is_not_there_is_not_found() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    let none = house.viewer().get(&format!("/api/v1/campaigns/{id}/failures")).await.ok(200);
    assert_eq!(none, json!({"total": 0, "items": [], "has_more": false}));
    house.viewer().get("/api/v1/campaigns/0123/failures").await.refused(404, "not_found");
}
