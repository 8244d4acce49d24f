use serde_json::{Value, json};

use crate::client::{Stage, refused};

fn module(stage: &Stage, name: &str) -> Value {
    json!({"app_id": stage.project, "product_id": "pump", "module_name": name})
}

#[tokio::test]
async fn a_module_is_registered_shown_changed_and_deleted() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    let mut body = module(&stage, "mcu");
    body["alias_name"] = json!("motor 电机");
    body["description"] = json!("STM32 behind the gateway board");
    let made = stage.post("/ota-upgrades/modules", body.clone()).await.ok(201);
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    assert_eq!((&made["product_name"], made["module_id"].as_str().unwrap().len()), (&json!("Pump"), 24));
    let path = format!("/ota-upgrades/modules/{}", made["module_id"].as_str().unwrap());
    assert_eq!(stage.get(&path).await.ok(200), made);
    let changed =
        stage.put(&path, json!({"alias_name": "MCU", "description": "", "module_name": "x"})).await.ok(200);
    assert_eq!((&changed["alias_name"], &changed["module_name"]), (&json!("MCU"), &json!("mcu")));
    assert!(changed.get("description").is_none(), "empty text clears it");
    assert_eq!(stage.put(&path, json!({})).await.ok(200), changed);
    assert_eq!(stage.delete(&path).await.status, 204);
    for answer in [stage.get(&path).await, stage.delete(&path).await, stage.put(&path, json!({})).await] {
        refused(&answer, 404, "IOTDA.000113");
    }
}

#[tokio::test]
async fn modules_are_listed_newest_first_by_space_and_product() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    let north = stage.space("North").await;
    stage.product_in("lamp", &north).await;
    for name in ["a", "b", "c"] {
        stage.post("/ota-upgrades/modules", module(&stage, name)).await.ok(201);
    }
    let theirs = json!({"app_id": north, "product_id": "lamp", "module_name": "a"});
    stage.post("/ota-upgrades/modules", theirs).await.ok(201);
    let listed = async |query: &str| {
        let found = stage.get(&format!("/ota-upgrades/modules?{query}")).await.ok(200);
        let names =
            found["modules"].as_array().unwrap().iter().map(|row| row["module_name"].as_str().unwrap());
        (
            names.collect::<Vec<_>>().join(" "),
            found["page"]["count"].as_u64().unwrap(),
            found["page"]["marker"].clone(),
        )
    };
    let own = format!("app_id={}", stage.project);
    let first = listed(&format!("{own}&limit=2")).await;
    assert_eq!((first.0.as_str(), first.1), ("c b", 3));
    assert_eq!(listed(&format!("{own}&marker={}", first.2.as_str().unwrap())).await.0, "a");
    assert_eq!(listed(&format!("{own}&product_id=pump&offset=1")).await.0, "b a");
    assert_eq!(listed(&format!("{own}&product_id=lamp")).await.1, 0);
    assert_eq!(listed(&format!("app_id={north}")).await.0, "a");
    refused(&stage.get("/ota-upgrades/modules").await, 400, "IOTDA.000006");
    refused(&stage.get("/ota-upgrades/modules?app_id=none").await, 403, "IOTDA.001000");
}

#[tokio::test]
async fn what_a_module_cannot_be_is_refused() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    let with = |name: &str, value: Value| {
        let mut body = module(&stage, "mcu");
        body[name] = value;
        body
    };
    for (name, value) in [
        ("app_id", json!(null)),
        ("product_id", json!("")),
        ("product_id", json!("a b")),
        ("module_name", json!(null)),
        ("module_name", json!("a b")),
        ("module_name", json!("x".repeat(65))),
        ("module_name", json!(1)),
        ("alias_name", json!("x".repeat(65))),
        ("description", json!("x".repeat(1_025))),
    ] {
        let answer = stage.post("/ota-upgrades/modules", with(name, value.clone())).await;
        assert!(refused(&answer, 400, "IOTDA.000006").contains(name), "{name} {value}");
    }
    let nowhere = stage.post("/ota-upgrades/modules", with("product_id", json!("none"))).await;
    refused(&nowhere, 404, "IOTDA.000104");
    let space = stage.space("North").await;
    let elsewhere = stage.post("/ota-upgrades/modules", with("app_id", json!(space))).await;
    refused(&elsewhere, 404, "IOTDA.000104");
    for number in 0..10 {
        stage.post("/ota-upgrades/modules", module(&stage, &format!("m{number}"))).await.ok(201);
    }
    refused(&stage.post("/ota-upgrades/modules", module(&stage, "m0")).await, 400, "IOTDA.000107");
    refused(&stage.post("/ota-upgrades/modules", module(&stage, "more")).await, 403, "IOTDA.000108");
}

#[tokio::test]
async fn modules_are_not_upgraded_and_it_is_said_why() {
    let stage = Stage::open().await;
    let package = stage.furnish(&["n1"]).await;
    let mut body = stage.package_of("3.0");
    body["package_type"] = json!("modulePackage");
    body["module_name"] = json!("mcu");
    let said = refused(&stage.post("/ota-upgrades/packages", body).await, 400, "IOTDA.000006");
    assert!(said.contains("no message to a device"), "{said}");
    let task = json!({
        "task_name": "t", "task_type": "moduleUpgrade", "targets": ["pump_n1"], "document": {"package_ids": [package]},
    });
    let said = refused(&stage.post("/batchtasks", task).await, 400, "IOTDA.000006");
    assert!(said.contains("no message to a device"), "{said}");
}
