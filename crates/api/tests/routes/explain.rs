use serde_json::{Value, json};

use crate::house::{House, eventually, take_id, take_moment, text};

#[tokio::test]
async fn a_device_that_is_offline_has_that_as_its_reason() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let campaign_id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    let mut explained = eventually(async || {
        let explained = house.viewer().get("/api/v1/devices/lamp_1/explain").await.ok(200);
        (explained["deployments"][0]["state"] == "released").then_some(explained)
    })
    .await;
    let sentences = text(&Value::String(explained["sentences"].to_string()));
    assert!(sentences.contains("not connected"), "{sentences}");
    explained.as_object_mut().unwrap().remove("sentences");
    let deployment = &mut explained["deployments"][0];
    take_moment(deployment, "looked_at_again");
    take_id(deployment, "deployment_id");
    deployment.as_object_mut().unwrap().remove("explanation");
    deployment["held_back"].as_object_mut().unwrap().remove("explanation");
    assert_eq!(
        explained,
        json!({
            "device_id": "lamp_1", "registered": true, "online": false, "frozen": false, "firmware_version": null,
            "software_version": null, "refused_connection": null,
            "deployments": [{
                "campaign_id": campaign_id, "campaign_name": "lights", "campaign_state": "running",
                "state": "released", "outcome": null, "held_back": {"reason": "offline"}, "download": null,
                "unfetched_success": false,
            }],
        })
    );
}

#[tokio::test]
async fn a_device_that_nobody_registered_but_that_tries_to_connect_is_explained_too() {
    let house = House::open().await;
    house.knock("ghost").await;
    let mut explained = house.viewer().get("/api/v1/devices/ghost/explain").await.ok(200);
    assert_eq!(explained["registered"], false);
    assert!(explained["sentences"].to_string().contains("POST /api/v1/devices"), "{explained}");
    assert_eq!(explained["refused_connection"]["code"], "unknown_device");
    for moment in ["first_at", "last_at"] {
        take_moment(&mut explained["refused_connection"], moment);
    }
}

#[tokio::test]
async fn nobody_is_not_found() {
    let house = House::open().await;
    house.viewer().get("/api/v1/devices/nobody/explain").await.refused(404, "not_found");
}
