use axum::http::Method;
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

/// Rounds in which callers meet; one may miss another one in a single round.
const ROUNDS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_at_the_same_time_do_not_lose_each_others_changes() {
    let stage = std::sync::Arc::new(Stage::open().await);
    stage.product("pump").await;
    for round in 0..ROUNDS {
        let node = format!("n{round}");
        stage.device(&node).await;
        let device = format!("pump_{node}");
        let mut calls = tokio::task::JoinSet::new();
        let mut call = |method: Method, path: String, body: Value| {
            let stage = stage.clone();
            calls.spawn(async move { stage.call(method, &path, Some(body)).await.status });
        };
        for n in 0..10 {
            let tags = json!([{"tag_key": format!("k{n}"), "tag_value": "v"}]);
            let body = json!({"resource_type": "device", "resource_id": device, "tags": tags});
            call(Method::POST, "/tags/bind-resource".to_owned(), body);
        }
        let of_device = [
            json!({"device_name": "Hall"}),
            json!({"description": "north"}),
            json!({"extension_info": {"a": round}}),
            json!({"auth_info": {"secure_access": true}}),
        ];
        for body in of_device {
            call(Method::PUT, format!("/devices/{device}"), body);
        }
        let of_product = [
            json!({"name": format!("Pump {round}")}),
            json!({"industry": format!("water {round}")}),
            json!({"manufacturer_name": format!("Works {round}")}),
            json!({"description": format!("round {round}")}),
        ];
        for body in &of_product {
            call(Method::PUT, "/products/pump".to_owned(), body.clone());
        }
        assert!(calls.join_all().await.into_iter().all(|status| status == 200));

        let shown = stage.get(&format!("/devices/{device}")).await.ok(200);
        assert_eq!(shown["tags"].as_array().unwrap().len(), 10, "round {round}: {}", shown["tags"]);
        assert_eq!((&shown["device_name"], &shown["description"]), (&json!("Hall"), &json!("north")));
        assert_eq!(shown["extension_info"], json!({"a": round}));
        assert_eq!(shown["auth_info"]["secure_access"], json!(true), "round {round}");
        let product = stage.get("/products/pump").await.ok(200);
        for (name, value) in of_product.iter().flat_map(|body| body.as_object().unwrap()) {
            assert_eq!(&product[name], value, "round {round}: {name}");
        }
        // One more is too many, whoever comes first.
        let one_more = json!([{"tag_key": "more", "tag_value": "v"}]);
        let body = json!({"resource_type": "device", "resource_id": device, "tags": one_more});
        refused(&stage.post("/tags/bind-resource", body).await, 403, "IOTDA.000108");
    }
}
