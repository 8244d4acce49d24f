use serde_json::{Value, json};

use crate::client::{Stage, refused};
use crate::house::{Gadget, Registered};

#[tokio::test]
async fn a_device_comes_back_with_its_secret_and_without_a_timeout() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    let body = json!({
        "node_id": "n1", "product_id": "pump", "device_name": "设备_1", "app_id": stage.project,
        "description": "hall 1", "auth_info": {"auth_type": "SECRET", "secret": "s3cret-0001",
        "secure_access": true, "timeout": 60}, "extension_info": {"line": 4}, "nobody_knows": 1,
    });
    let made = stage.post("/devices", body).await.ok(201);
    assert_eq!((&made["device_id"], &made["gateway_id"]), (&json!("pump_n1"), &json!("pump_n1")));
    assert_eq!(
        (&made["node_type"], &made["status"], &made["tags"]),
        (&json!("GATEWAY"), &json!("INACTIVE"), &json!([]))
    );
    let proof = json!({"auth_type": "SECRET", "secret": "s3cret-0001", "secure_access": true, "timeout": 60});
    assert_eq!(made["auth_info"], proof);
    assert_eq!((&made["extension_info"], &made["product_name"]), (&json!({"line": 4}), &json!("Pump")));
    let shown = stage.get("/devices/pump_n1").await.ok(200);
    let mut without = made;
    without["auth_info"].as_object_mut().unwrap().remove("timeout");
    assert_eq!(shown, without);
    let row = &stage.get("/devices").await.ok(200)["devices"][0];
    for absent in ["auth_info", "create_time", "extension_info"] {
        assert!(row.get(absent).is_none(), "{absent} is not in rows");
    }
    assert_eq!(row["description"], "hall 1");
}

#[tokio::test]
async fn a_device_without_a_secret_gets_one_that_it_can_connect_with() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    let made = stage.device("n1").await;
    let secret = made["auth_info"]["secret"].as_str().unwrap().to_owned();
    let device = Registered { device_id: "pump_n1".to_owned(), secret };
    let mut gadget = Gadget::connect(&stage.house, &device).await;
    gadget.runs("1.0").await;
    let shown = stage.get("/devices/pump_n1").await.ok(200);
    assert_eq!((&shown["status"], &shown["fw_version"]), (&json!("ONLINE"), &json!("1.0")));
    assert!(shown["connection_status_update_time"].as_str().unwrap().ends_with('Z'));

    assert_eq!(stage.call(axum::http::Method::POST, "/devices/pump_n1/freeze", None).await.status, 204);
    gadget.is_closed().await;
    assert_eq!(stage.get("/devices/pump_n1").await.ok(200)["status"], "FROZEN");
    assert!(Gadget::try_to_connect(&stage.house, &device).await.is_err());
    assert_eq!(stage.call(axum::http::Method::POST, "/devices/pump_n1/unfreeze", None).await.status, 204);
    refused(
        &stage.call(axum::http::Method::POST, "/devices/pump_n1/unfreeze", None).await,
        403,
        "IOTDA.014040",
    );
    Gadget::connect(&stage.house, &device).await;
}

#[tokio::test]
async fn children_and_certificates_are_shown_as_what_they_are() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    stage.device("gateway").await;
    let child = json!({"node_id": "valve", "product_id": "pump", "gateway_id": "pump_gateway"});
    let child = stage.post("/devices", child).await.ok(201);
    assert_eq!((&child["gateway_id"], &child["node_type"]), (&json!("pump_gateway"), &json!("ENDPOINT")));
    assert!(child.get("auth_info").is_none());
    let print = "dc0f1016f495157344ac5f1296335cff725ef22f";
    let with = json!({
        "device_id": "x509", "node_id": "c", "product_id": "pump",
        "auth_info": {"auth_type": "CERTIFICATES", "fingerprint": print},
    });
    let made = stage.post("/devices", with).await.ok(201);
    assert_eq!(made["auth_info"]["fingerprint"], json!(print));
    assert!(made["auth_info"].get("secret").is_none());
    let other = "aa0f1016f495157344ac5f1296335cff725ef22f";
    let reset = stage.post("/devices/x509/reset-fingerprint", json!({"fingerprint": other})).await.ok(200);
    assert_eq!(reset, json!({"device_id": "x509", "fingerprint": other, "fingerprint_type": "PRIMARY"}));

    let children = stage.get("/devices?gateway_id=pump_gateway&is_cascade_query=true").await.ok(200);
    assert_eq!(
        (&children["page"]["count"], &children["devices"][0]["device_id"]),
        (&json!(1), &json!("pump_valve"))
    );
    refused(&stage.post("/devices/pump_valve/freeze", json!({})).await, 403, "IOTDA.014038");
    refused(&stage.delete("/devices/pump_gateway").await, 403, "IOTDA.000106");
    assert_eq!(stage.delete("/devices/pump_valve").await.status, 204);
    assert_eq!(stage.delete("/devices/pump_gateway").await.status, 204);
}

#[tokio::test]
async fn lists_are_narrowed_by_everything_that_is_asked_for() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    for node in ["n1", "n2", "n3"] {
        stage
            .post(
                "/devices",
                json!({"product_id": "pump", "node_id": node, "device_name": format!("name_{node}")}),
            )
            .await
            .ok(201);
    }
    let ids = async |query: &str| {
        let listed = stage.get(&format!("/devices?{query}")).await.ok(200);
        let rows = listed["devices"].as_array().unwrap().clone();
        rows.iter().map(|row| row["node_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("product_id=pump&limit=2").await, ["n3", "n2"]);
    assert_eq!(ids("node_id=n2").await, ["n2"]);
    assert_eq!(ids("device_name=name_n1").await, ["n1"]);
    assert_eq!(ids("start_time=20000101T000000Z&end_time=20010101T000000Z").await, Vec::<String>::new());
    for nobody in ["product_id=none", "gateway_id=none", "gateway_id=a%20b"] {
        assert_eq!(ids(nobody).await, Vec::<String>::new(), "{nobody}");
    }
    refused(&stage.get("/devices?start_time=yesterday").await, 400, "IOTDA.000009");
    let turned = "/devices?start_time=20010101T000000Z&end_time=20000101T000000Z";
    refused(&stage.get(turned).await, 400, "IOTDA.000010");
}

#[tokio::test]
async fn an_update_changes_what_it_names() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    stage.device("n1").await;
    let update = json!({"device_name": "north", "description": "d", "auth_info": {"timeout": 3600}});
    let changed = stage.put("/devices/pump_n1", update).await.ok(200);
    assert_eq!((&changed["device_name"], &changed["auth_info"]["timeout"]), (&json!("north"), &json!(3600)));
    let changed = stage.put("/devices/pump_n1", json!({"extension_info": [1]})).await.ok(200);
    assert_eq!((&changed["device_name"], &changed["description"]), (&json!("north"), &json!("d")));
    assert_eq!(changed["extension_info"], json!([1]));
    assert!(changed["auth_info"].get("timeout").is_none(), "it has not changed");
    refused(&stage.put("/devices/none", json!({})).await, 404, "IOTDA.014000");
}

#[tokio::test]
async fn a_secret_is_reset_to_a_given_one_or_a_new_one() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    stage.device("n1").await;
    let reset = async |body: Value| stage.post("/devices/pump_n1/action?action_id=resetSecret", body).await;
    let given = reset(json!({"secret": "n3w-secret", "force_disconnect": false})).await.ok(200);
    assert_eq!(given, json!({"device_id": "pump_n1", "secret": "n3w-secret", "secret_type": "PRIMARY"}));
    assert_eq!(stage.get("/devices/pump_n1").await.ok(200)["auth_info"]["secret"], "n3w-secret");
    let made = reset(json!({})).await.ok(200);
    assert!(made["secret"].as_str().unwrap().len() >= 8 && made["secret"] != given["secret"]);
    refused(&reset(json!({"secret": "short"})).await, 400, "IOTDA.000006");
    refused(&reset(json!({"secret_type": "SECONDARY"})).await, 400, "IOTDA.000006");
    refused(&stage.post("/devices/pump_n1/action?action_id=x", json!({})).await, 400, "IOTDA.000006");
    refused(&stage.post("/devices/pump_n1/action", json!({})).await, 400, "IOTDA.000006");
}

#[tokio::test]
async fn each_member_is_held_against_its_range() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    for (name, value) in [
        ("node_id", json!("")),
        ("node_id", json!("a.b")),
        ("node_id", json!("x".repeat(65))),
        ("device_id", json!("a b")),
        ("device_name", json!("x".repeat(257))),
        ("description", json!("x".repeat(2_049))),
        ("extension_info", json!({"x": "y".repeat(1_024)})),
        ("auth_info", json!([])),
        ("auth_info", json!({"auth_type": "NONE"})),
        ("auth_info", json!({"secret": "short"})),
        ("auth_info", json!({"secret": "x".repeat(33)})),
        ("auth_info", json!({"secret": 12_345_678})),
        ("auth_info", json!({"timeout": -1})),
        ("auth_info", json!({"secure_access": "yes"})),
    ] {
        let mut body = json!({"node_id": "n1", "product_id": "pump"});
        body[name] = value.clone();
        let message = refused(&stage.post("/devices", body).await, 400, "IOTDA.000006");
        assert!(message.contains(&format!("`{name}")), "{name} {value}: {message}");
    }
    refused(
        &stage.post("/devices", json!({"node_id": "n", "product_id": "none"})).await,
        404,
        "IOTDA.000104",
    );
    stage.device("n1").await;
    let taken = stage.post("/devices", json!({"node_id": "n1", "product_id": "pump"})).await;
    refused(&taken, 400, "IOTDA.014031");
    for path in ["/devices/none", "/devices/a%20b", "/devices/%00"] {
        refused(&stage.get(path).await, 404, "IOTDA.014000");
        refused(&stage.delete(path).await, 404, "IOTDA.014000");
    }
}

#[tokio::test]
async fn a_child_moves_from_one_gateway_to_another() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    stage.device("one").await;
    stage.device("other").await;
    let child = json!({"node_id": "valve", "product_id": "pump", "gateway_id": "pump_one"});
    stage.post("/devices", child).await.ok(201);
    let path = "/devices/pump_valve/change-gateway";
    stage.post(path, json!({"gateway_id": "pump_other"})).await.ok(200);
    assert_eq!(stage.get("/devices/pump_valve").await.ok(200)["gateway_id"], "pump_other");
    refused(&stage.post(path, json!({"gateway_id": "none"})).await, 404, "IOTDA.014000");
    refused(&stage.post(path, json!({})).await, 400, "IOTDA.000006");
    let alone = stage.post("/devices/pump_one/change-gateway", json!({"gateway_id": "pump_other"})).await;
    refused(&alone, 400, "IOTDA.000006");
    let nobody = stage.post("/devices/none/change-gateway", json!({"gateway_id": "pump_other"})).await;
    refused(&nobody, 404, "IOTDA.014000");
}

#[tokio::test]
async fn a_session_goes_on_with_the_old_secret_unless_it_is_to_end() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    let made = stage.device("n1").await;
    let secret = made["auth_info"]["secret"].as_str().unwrap().to_owned();
    let mut gadget =
        Gadget::connect(&stage.house, &Registered { device_id: "pump_n1".to_owned(), secret }).await;
    let path = "/devices/pump_n1/action?action_id=resetSecret";
    stage.post(path, json!({"secret": "n3w-secret"})).await.ok(200);
    gadget.runs("1.0").await;
    stage.post(path, json!({"force_disconnect": true})).await.ok(200);
    gadget.is_closed().await;
}
