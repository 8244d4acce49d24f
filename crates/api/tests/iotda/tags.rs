use serde_json::{Value, json};

use crate::client::{Stage, refused};

fn tags(pairs: &[(&str, &str)]) -> Value {
    let tag = |(key, value): &(&str, &str)| json!({"tag_key": key, "tag_value": value});
    Value::Array(pairs.iter().map(tag).collect())
}

fn of(device: &str, name: &str, value: Value) -> Value {
    let mut body = json!({"resource_type": "device", "resource_id": device});
    body[name] = value;
    body
}

#[tokio::test]
async fn tags_are_bound_replaced_found_and_unbound() {
    let stage = Stage::open().await;
    stage.furnish(&["n1", "n2"]).await;
    let bind = async |device: &str, pairs: &[(&str, &str)]| {
        stage.post("/tags/bind-resource", of(device, "tags", tags(pairs))).await
    };
    bind("pump_n1", &[("ring", "canary"), ("site", "north")]).await.ok(200);
    let bound = bind("pump_n1", &[("ring", "all")]).await;
    assert_eq!((bound.status, bound.body.len()), (200, 0));
    bind("pump_n2", &[("site", "北")]).await.ok(200);
    let shown = stage.get("/devices/pump_n1").await.ok(200);
    assert_eq!(shown["tags"], tags(&[("ring", "all"), ("site", "north")]));

    let query = async |pairs: &[(&str, &str)]| {
        let body = json!({"resource_type": "device", "tags": tags(pairs)});
        stage.post("/tags/query-resources?limit=10", body).await.ok(200)
    };
    let found = query(&[("ring", "all"), ("site", "北")]).await;
    assert_eq!(
        found["resources"],
        json!([{"resource_id": "pump_n2"}, {"resource_id": "pump_n1"}]),
        "any of them"
    );
    assert_eq!(found["page"]["count"], 2);
    assert_eq!(query(&[("ring", "canary")]).await["resources"], json!([]));

    let unbound = of("pump_n1", "tag_keys", json!(["ring", "none"]));
    stage.post("/tags/unbind-resource", unbound).await.ok(200);
    assert_eq!(stage.get("/devices/pump_n1").await.ok(200)["tags"], tags(&[("site", "north")]));
}

#[tokio::test]
async fn what_is_no_tag_of_a_device_is_refused() {
    let stage = Stage::open().await;
    stage.furnish(&["n1"]).await;
    let reserved = of("pump_n1", "tags", tags(&[("iot_x", "y")]));
    refused(&stage.post("/tags/bind-resource", reserved).await, 400, "IOTDA.004002");
    refused(
        &stage.post("/tags/bind-resource", of("none", "tags", tags(&[("a", "b")]))).await,
        404,
        "IOTDA.014000",
    );
    for wrong in [
        json!({}),
        json!({"resource_type": "group", "resource_id": "pump_n1", "tags": tags(&[("a", "b")])}),
        of("pump_n1", "tags", json!([])),
        of("pump_n1", "tags", json!([{"tag_value": "x"}])),
        of("pump_n1", "tags", tags(&[("a b", "c")])),
        of("pump_n1", "tags", tags(&[(&"x".repeat(65), "c")])),
        of("pump_n1", "tags", json!(["a"])),
    ] {
        refused(&stage.post("/tags/bind-resource", wrong).await, 400, "IOTDA.000006");
    }
    let many = |from: u32| {
        let pairs: Vec<Value> =
            (from..from + 6).map(|n| json!({"tag_key": format!("k{n}"), "tag_value": "v"})).collect();
        of("pump_n1", "tags", Value::Array(pairs))
    };
    stage.post("/tags/bind-resource", many(0)).await.ok(200);
    refused(&stage.post("/tags/bind-resource", many(6)).await, 403, "IOTDA.000108");
    stage.post("/tags/bind-resource", many(4)).await.ok(200);
}
