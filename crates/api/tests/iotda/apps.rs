use serde_json::{Value, json};

use crate::client::{Stage, refused};

impl Stage {
    /// A resource space with this name; its id.
    pub async fn space(&self, name: &str) -> String {
        let made = self.post("/apps", json!({"app_name": name})).await.ok(201);
        assert_eq!((&made["app_name"], &made["default_app"]), (&json!(name), &json!(false)));
        made["app_id"].as_str().unwrap().to_owned()
    }

    /// A product in a space.
    pub async fn product_in(&self, product_id: &str, app_id: &str) -> Value {
        let body = json!({
            "product_id": product_id, "name": "Pump", "device_type": "pump", "protocol_type": "MQTT",
            "data_format": "json", "service_capabilities": [], "app_id": app_id,
        });
        self.post("/products", body).await.ok(201)
    }
}

#[tokio::test]
async fn the_default_space_has_the_id_of_the_project_and_stays() {
    let stage = Stage::open().await;
    let all = stage.get("/apps?default_app=true").await.ok(200);
    assert_eq!(all["applications"].as_array().unwrap().len(), 1);
    assert_eq!(all["applications"][0]["app_id"], json!(stage.project));
    assert_eq!(all["applications"][0]["default_app"], json!(true));
    assert_eq!(stage.get("/apps?default_app=false").await.ok(200)["applications"], json!([]));
    let own = format!("/apps/{}", stage.project);
    assert_eq!(stage.get(&own).await.ok(200), all["applications"][0]);
    refused(&stage.get("/apps/none").await, 403, "IOTDA.001000");
    refused(&stage.delete(&own).await, 403, "IOTDA.000106");
    refused(&stage.put(&own, json!({"app_name": "other"})).await, 403, "IOTDA.000103");
    refused(&stage.post("/apps", json!({"app_name": "default"})).await, 400, "IOTDA.000107");
}

#[tokio::test]
async fn a_space_is_made_renamed_and_deleted() {
    let stage = Stage::open().await;
    let id = stage.space("North").await;
    let path = format!("/apps/{id}");
    assert_eq!(stage.get("/apps").await.ok(200)["applications"].as_array().unwrap().len(), 2);
    let others = stage.get("/apps?default_app=false").await.ok(200);
    assert_eq!(others["applications"], json!([stage.get(&path).await.ok(200)]));
    let renamed = stage.put(&path, json!({"app_name": "South"})).await.ok(200);
    assert_eq!((&renamed["app_id"], &renamed["app_name"]), (&json!(id), &json!("South")));
    stage.space("North").await;
    refused(&stage.put(&path, json!({"app_name": "North"})).await, 400, "IOTDA.000107");
    refused(&stage.post("/apps", json!({"app_name": "South"})).await, 400, "IOTDA.000107");
    for wrong in
        [json!({}), json!({"app_name": ""}), json!({"app_name": "x".repeat(65)}), json!({"app_name": 1})]
    {
        let message = refused(&stage.post("/apps", wrong.clone()).await, 400, "IOTDA.000006");
        assert!(message.contains("app_name"), "{wrong}: {message}");
    }
    stage.product_in("pump", &id).await;
    let message = refused(&stage.delete(&path).await, 403, "IOTDA.000106");
    assert!(message.contains("product pump"), "{message}");
    assert_eq!(stage.delete("/products/pump").await.status, 204);
    assert_eq!(stage.delete(&path).await.status, 204);
    refused(&stage.delete(&path).await, 403, "IOTDA.001000");
    refused(&stage.get(&path).await, 403, "IOTDA.001000");
    for number in 0..8 {
        stage.space(&format!("s{number}")).await;
    }
    refused(&stage.post("/apps", json!({"app_name": "more"})).await, 403, "IOTDA.000108");
}

#[tokio::test]
async fn everything_is_where_its_product_is_and_lists_tell_them_apart() {
    let stage = Stage::open().await;
    let package = stage.furnish(&["sn1"]).await;
    let north = stage.space("North").await;
    let made = stage.product_in("lamp", &north).await;
    assert_eq!((&made["app_id"], &made["app_name"]), (&json!(north), &json!("North")));
    let device = stage.post("/devices", json!({"product_id": "lamp", "node_id": "n1"})).await.ok(201);
    assert_eq!((&device["app_id"], &device["app_name"]), (&json!(north), &json!("North")));
    let mut body = stage.package_of("2.0");
    body["product_id"] = json!("lamp");
    refused(&stage.post("/ota-upgrades/packages", body.clone()).await, 404, "IOTDA.000104");
    body["app_id"] = json!(north);
    let theirs = stage.post("/ota-upgrades/packages", body).await.ok(201);
    assert_eq!(theirs["app_id"], json!(north));
    let task = |id: &Value, target: &str| json!({"task_name": "t", "task_type": "firmwareUpgrade", "targets": [target], "document": {"package_ids": [id]}});
    let mut their_task = task(&theirs["package_id"], "lamp_n1");
    their_task["app_id"] = json!(stage.project);
    refused(&stage.post("/batchtasks", their_task.clone()).await, 404, "IOTDA.000104");
    their_task["app_id"] = json!(north);
    stage.post("/batchtasks", their_task).await.ok(201);
    stage.post("/batchtasks", task(&json!(package), "pump_sn1")).await.ok(201);
    stage.post("/device-group", json!({"name": "g0"})).await.ok(201);
    stage.post("/device-group", json!({"name": "g1", "app_id": north})).await.ok(201);
    for (path, list, name, ours, others) in [
        ("/products?x=1", "products", "product_id", "pump", "lamp"),
        ("/devices?x=1", "devices", "device_id", "pump_sn1", "lamp_n1"),
        ("/device-group?x=1", "device_groups", "name", "g0", "g1"),
        ("/ota-upgrades/packages?package_type=firmwarePackage", "packages", "product_id", "pump", "lamp"),
    ] {
        let listed = async |space: &str| {
            let query = if space.is_empty() { String::new() } else { format!("&app_id={space}") };
            let found = stage.get(&format!("{path}{query}")).await.ok(200);
            let rows = found[list].as_array().unwrap();
            assert_eq!(found["page"]["count"], json!(rows.len()), "{path} {space}");
            rows.iter().map(|row| row[name].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(listed("").await, [others, ours], "{path}");
        assert_eq!(listed(&stage.project).await, [ours], "{path}");
        assert_eq!(listed(&north).await, [others], "{path}");
    }
    let tasks = async |query: &str| {
        let found = stage.get(&format!("/batchtasks?task_type=firmwareUpgrade{query}")).await.ok(200);
        found["page"]["count"].as_u64().unwrap()
    };
    assert_eq!((tasks("").await, tasks(&format!("&app_id={north}")).await), (2, 1));
    let found = async |condition: &str| {
        let sql = format!("select * from device where {condition}");
        let found = stage.post("/search/query-devices", json!({"sql": sql})).await.ok(200);
        let rows = found["devices"].as_array().unwrap();
        rows.iter().map(|row| row["device_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(&format!("app_id = '{north}'")).await, ["lamp_n1"]);
    assert_eq!(found(&format!("app_id != '{north}'")).await, ["pump_sn1"]);
    assert_eq!(found("app_id = 'none'").await, [""; 0]);
    // A product that is looked for in another space is not found there, and stays where it is.
    let elsewhere = format!("/products/lamp?app_id={}", stage.project);
    refused(&stage.get(&elsewhere).await, 404, "IOTDA.000104");
    refused(&stage.delete(&elsewhere).await, 404, "IOTDA.000104");
    refused(&stage.put("/products/lamp", json!({"app_id": stage.project})).await, 404, "IOTDA.000104");
    let mut moved = json!({"product_id": "lamp", "node_id": "n2"});
    moved["app_id"] = json!(stage.project);
    refused(&stage.post("/devices", moved).await, 404, "IOTDA.000104");
    assert_eq!(stage.get(&format!("/products/lamp?app_id={north}")).await.ok(200)["app_id"], json!(north));
}

#[tokio::test]
async fn rules_of_a_space_are_listed_by_it_and_keep_it() {
    let stage = Stage::open().await;
    let north = stage.space("North").await;
    let rule =
        json!({"subject": {"resource": "batchtask", "event": "update"}, "app_type": "APP", "app_id": north});
    let made = stage.post("/routing-rule/rules", rule).await.ok(201);
    stage
        .post("/routing-rule/rules", json!({"subject": {"resource": "batchtask", "event": "update"}}))
        .await
        .ok(201);
    let listed = stage.get(&format!("/routing-rule/rules?app_id={north}")).await.ok(200);
    assert_eq!((&listed["rules"], &listed["count"]), (&json!([made]), &json!(1)));
    let message = refused(&stage.delete(&format!("/apps/{north}")).await, 403, "IOTDA.000106");
    assert!(message.contains(made["rule_id"].as_str().unwrap()), "{message}");
}

#[tokio::test]
async fn a_space_that_there_is_not_is_refused_wherever_it_is_named() {
    let stage = Stage::open().await;
    stage.furnish(&[]).await;
    for path in [
        "/products?app_id=none",
        "/devices?app_id=none",
        "/device-group?app_id=none",
        "/batchtasks?task_type=firmwareUpgrade&app_id=none",
        "/ota-upgrades/packages?package_type=firmwarePackage&app_id=none",
        "/routing-rule/rules?app_id=none",
        "/routing-rule/actions?app_id=none",
    ] {
        refused(&stage.get(path).await, 403, "IOTDA.001000");
    }
    let mut package = stage.package_of("3");
    package["app_id"] = json!("none");
    refused(&stage.post("/ota-upgrades/packages", package).await, 403, "IOTDA.001000");
}
