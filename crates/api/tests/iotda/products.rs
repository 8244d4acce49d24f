use serde_json::{Value, json};

use crate::client::{Stage, refused};

fn whole() -> Value {
    json!({
        "product_id": "pump", "name": "泵 1".replace(' ', "_"), "device_type": "pump", "protocol_type": "MQTT",
        "data_format": "json", "manufacturer_name": "we", "industry": "water", "description": "all of it",
        "service_capabilities": [{"service_id": "Pump", "service_type": "Pump", "properties": [], "x": {"y": 1}}],
    })
}

#[tokio::test]
async fn a_product_comes_back_as_it_was_made() {
    let stage = Stage::open().await;
    let made = stage.post("/products", whole()).await.ok(201);
    for (name, value) in whole().as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    assert_eq!(made["app_id"], json!(stage.project));
    assert_eq!(made["create_time"].as_str().unwrap().len(), "20260131T091000Z".len());
    assert_eq!(stage.get("/products/pump").await.ok(200), made);
    let listed = stage.get("/products?product_name=%E6%B3%B5_1").await.ok(200);
    let mut row = made;
    row.as_object_mut().unwrap().remove("service_capabilities");
    assert_eq!(listed["products"], json!([row]), "rows have no model");
    assert_eq!(listed["page"]["count"], 1);
    assert_eq!(stage.get("/products?product_name=x").await.ok(200)["products"], json!([]));
}

#[tokio::test]
async fn an_update_changes_what_it_names() {
    let stage = Stage::open().await;
    stage.post("/products", whole()).await.ok(201);
    let update =
        json!({"name": "Pump", "description": "less", "service_capabilities": [{"service_id": "B"}]});
    let changed = stage.put("/products/pump", update).await.ok(200);
    assert_eq!((&changed["name"], &changed["description"]), (&json!("Pump"), &json!("less")));
    assert_eq!((&changed["industry"], &changed["device_type"]), (&json!("water"), &json!("pump")));
    assert_eq!(changed["service_capabilities"], json!([{"service_id": "B"}]));
    assert_eq!(stage.get("/products/pump").await.ok(200), changed);
    refused(&stage.put("/products/none", json!({})).await, 404, "IOTDA.000104");
}

#[tokio::test]
async fn a_product_of_the_native_api_is_shown_as_well() {
    let stage = Stage::open().await;
    stage.house.operator().product("lamp").await;
    let shown = stage.get("/products/lamp").await.ok(200);
    assert_eq!((&shown["name"], &shown["service_capabilities"]), (&json!("lamp"), &json!([])));
}

#[tokio::test]
async fn a_product_in_use_stays_and_its_id_is_free_afterwards() {
    let stage = Stage::open().await;
    let package = stage.furnish(&["n1"]).await;
    assert!(refused(&stage.delete("/products/pump").await, 403, "IOTDA.000106").contains("device pump_n1"));
    assert_eq!(stage.delete("/devices/pump_n1").await.status, 204);
    assert!(refused(&stage.delete("/products/pump").await, 403, "IOTDA.000106").contains(&package));
    assert_eq!(stage.delete(&format!("/ota-upgrades/packages/{package}")).await.status, 204);
    let gone = stage.delete("/products/pump").await;
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    refused(&stage.get("/products/pump").await, 404, "IOTDA.000104");
    refused(&stage.delete("/products/pump").await, 404, "IOTDA.000104");
    stage.product("pump").await;
    stage.device("n1").await;
}

#[tokio::test]
async fn each_member_is_held_against_its_range() {
    let stage = Stage::open().await;
    for (name, value) in [
        ("product_id", json!("a b")),
        ("product_id", json!("x".repeat(37))),
        ("name", json!("")),
        ("name", json!("x".repeat(65))),
        ("name", json!(7)),
        ("device_type", json!(null)),
        ("protocol_type", json!("SMTP")),
        ("data_format", json!("xml")),
        ("service_capabilities", json!({})),
        ("service_capabilities", json!([1])),
        ("service_capabilities", json!([{"x": "y".repeat(600_000)}])),
        ("description", json!("x".repeat(129))),
    ] {
        let mut body = whole();
        body[name] = value.clone();
        let message = refused(&stage.post("/products", body).await, 400, "IOTDA.000006");
        assert!(message.contains(&format!("`{name}`")), "{name}: {message}");
    }
    stage.post("/products", whole()).await.ok(201);
    refused(&stage.post("/products", whole()).await, 400, "IOTDA.000107");
}

#[tokio::test]
async fn lists_are_walked_by_marker_and_by_offset() {
    let stage = Stage::open().await;
    for number in 0..5 {
        stage.product(&format!("p{number}")).await;
    }
    let names = |listed: &Value| -> Vec<String> {
        let rows = listed["products"].as_array().unwrap();
        rows.iter().map(|row| row["product_id"].as_str().unwrap().to_owned()).collect()
    };
    let mut seen = Vec::new();
    let mut marker = "f".repeat(24);
    loop {
        let page = stage.get(&format!("/products?limit=2&marker={marker}")).await.ok(200);
        assert_eq!(page["page"]["count"], 5);
        if page["products"] == json!([]) {
            break;
        }
        seen.extend(names(&page));
        marker = page["page"]["marker"].as_str().unwrap().to_owned();
    }
    assert_eq!(seen, ["p4", "p3", "p2", "p1", "p0"]);
    assert_eq!(names(&stage.get("/products?limit=2&offset=3").await.ok(200)), ["p1", "p0"]);
    assert_eq!(stage.get("/products?offset=500").await.ok(200)["page"]["marker"], json!(null));
    for (query, code) in [
        ("limit=0", "IOTDA.000017"),
        ("limit=51", "IOTDA.000017"),
        ("offset=501", "IOTDA.000018"),
        ("marker=xyz", "IOTDA.000018"),
    ] {
        refused(&stage.get(&format!("/products?{query}")).await, 400, code);
    }
}
