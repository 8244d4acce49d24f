use axum::http::Method;
use serde_json::json;

use crate::client::{Stage, refused};

async fn group(stage: &Stage, name: &str) -> String {
    let made = stage.post("/device-group", json!({"name": name})).await.ok(201);
    made["group_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_group_is_made_shown_changed_and_deleted() {
    let stage = Stage::open().await;
    let body = json!({"name": "canary", "description": "first_ring", "app_id": stage.project});
    let made = stage.post("/device-group", body).await.ok(201);
    let id = made["group_id"].as_str().unwrap();
    assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id}");
    assert_eq!(
        made,
        json!({"group_id": id, "name": "canary", "description": "first_ring", "group_type": "STATIC"})
    );
    let path = format!("/device-group/{id}");
    assert_eq!(stage.get(&path).await.ok(200), made);
    let changed = stage.put(&path, json!({"name": "canary-2"})).await.ok(200);
    assert_eq!((&changed["name"], &changed["description"]), (&json!("canary-2"), &json!("first_ring")));
    assert_eq!(stage.get("/device-group?name=canary").await.ok(200)["device_groups"], json!([changed]));
    assert_eq!(stage.get("/device-group?name=x").await.ok(200)["device_groups"], json!([]));
    assert_eq!(stage.get("/device-group?group_type=DYNAMIC").await.ok(200)["device_groups"], json!([]));
    refused(&stage.post("/device-group", json!({"name": "canary-2"})).await, 400, "IOTDA.000107");
    assert_eq!(stage.delete(&path).await.status, 204);
    for answer in [stage.get(&path).await, stage.delete(&path).await, stage.put(&path, json!({})).await] {
        refused(&answer, 404, "IOTDA.000105");
    }
}

#[tokio::test]
async fn devices_come_and_go_one_by_one() {
    let stage = Stage::open().await;
    stage.furnish(&["n1", "n2", "n3"]).await;
    let id = group(&stage, "canary").await;
    let act = async |action: &str, device: &str| {
        let path = format!("/device-group/{id}/action?action_id={action}&device_id={device}");
        stage.call(Method::POST, &path, None).await
    };
    for node in ["n1", "n2", "n3", "n1"] {
        act("addDevice", &format!("pump_{node}")).await.ok(200);
    }
    let page = stage.get(&format!("/device-group/{id}/devices?limit=2")).await.ok(200);
    let row = json!({"device_id": "pump_n3", "node_id": "n3", "device_name": null, "product_id": "pump"});
    assert_eq!((&page["devices"][0], &page["page"]["count"]), (&row, &json!(3)));
    let marker = page["page"]["marker"].as_str().unwrap();
    let next = stage.get(&format!("/device-group/{id}/devices?limit=2&marker={marker}")).await.ok(200);
    assert_eq!(next["devices"][0]["device_id"], "pump_n1");
    act("removeDevice", "pump_n2").await.ok(200);
    let of_device = stage.call(Method::POST, "/devices/pump_n1/list-device-group", None).await.ok(200);
    assert_eq!(of_device["device_groups"][0]["group_id"], json!(id));
    let of_other = stage.call(Method::POST, "/devices/pump_n2/list-device-group", None).await.ok(200);
    assert_eq!(of_other, json!({"device_groups": []}));
    refused(&act("addDevice", "none").await, 404, "IOTDA.014000");
    refused(&act("other", "pump_n1").await, 400, "IOTDA.000006");
    let nowhere = "/device-group/none/action?action_id=addDevice&device_id=pump_n1";
    refused(&stage.call(Method::POST, nowhere, None).await, 404, "IOTDA.000105");
    refused(&stage.get("/device-group/none/devices").await, 404, "IOTDA.000105");
}

#[tokio::test]
async fn a_group_may_name_one_above_it_and_is_never_dynamic() {
    let stage = Stage::open().await;
    let above = group(&stage, "all").await;
    let made = stage.post("/device-group", json!({"name": "some", "super_group_id": above})).await.ok(201);
    assert_eq!(made["super_group_id"], json!(above));
    refused(
        &stage.post("/device-group", json!({"name": "x", "super_group_id": "none"})).await,
        404,
        "IOTDA.000105",
    );
    refused(
        &stage.post("/device-group", json!({"name": "x", "group_type": "DYNAMIC"})).await,
        400,
        "IOTDA.000006",
    );
    for wrong in
        [json!({}), json!({"name": "x".repeat(65)}), json!({"name": "x", "description": "y".repeat(65)})]
    {
        refused(&stage.post("/device-group", wrong).await, 400, "IOTDA.000006");
    }
}
