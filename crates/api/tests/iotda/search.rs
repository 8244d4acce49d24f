use serde_json::{Value, json};

use crate::client::{Stage, refused};
use crate::house::{Gadget, Registered, eventually};

/// A gateway `n1` with its child `n2`, and `n3`, which is tagged, in a group, and called something.
async fn furnished() -> Stage {
    let stage = Stage::open().await;
    stage.furnish(&["n1"]).await;
    let child = json!({"product_id": "pump", "node_id": "n2", "gateway_id": "pump_n1"});
    stage.post("/devices", child).await.ok(201);
    let third = json!({"product_id": "pump", "node_id": "n3", "device_name": "Pump, it's the 3rd"});
    stage.post("/devices", third).await.ok(201);
    for (device, ring) in [("pump_n1", "wide"), ("pump_n3", "canary")] {
        let tags = json!([{"tag_key": "ring", "tag_value": ring}, {"tag_key": "site", "tag_value": "wide"}]);
        let body = json!({"resource_type": "device", "resource_id": device, "tags": tags});
        stage.post("/tags/bind-resource", body).await.ok(200);
    }
    stage
}

async fn rows(stage: &Stage, rest: &str) -> Vec<String> {
    let found = stage.ask_for(&format!("select * from device {rest}")).await.ok(200);
    assert_eq!(found.as_object().unwrap().len(), 1, "{found}");
    let rows = found["devices"].as_array().unwrap();
    rows.iter().map(|row| row["node_id"].as_str().unwrap().to_owned()).collect()
}

impl Stage {
    async fn ask_for(&self, sql: &str) -> crate::house::Answer {
        self.post("/search/query-devices", json!({ "sql": sql })).await
    }
}

#[tokio::test]
async fn devices_are_found_by_every_field_and_counted() {
    let stage = furnished().await;
    let group = stage.post("/device-group", json!({"name": "Hall"})).await.ok(201);
    let group = group["group_id"].as_str().unwrap().to_owned();
    let put = format!("/device-group/{group}/action?action_id=addDevice&device_id=pump_n3");
    stage.post(&put, json!({})).await.ok(200);
    let all = stage.ask_for("select * from device").await.ok(200);
    let third = &all["devices"][0];
    let listed = stage.get("/devices?limit=1").await.ok(200);
    let mut without = third.clone();
    let marker = without.as_object_mut().unwrap().remove("marker").unwrap();
    assert_eq!(without, listed["devices"][0], "rows are those of a list, and a marker");
    assert_eq!(marker, listed["page"]["marker"]);
    let (marker, project) = (marker.as_str().unwrap(), stage.project.clone());
    let made = stage.get("/devices/pump_n3").await.ok(200)["create_time"].as_str().unwrap().to_owned();
    for (condition, expected) in [
        (format!("app_id = '{project}'"), "n3 n2 n1"),
        (format!("app_id != '{project}'"), ""),
        (format!("app_id not in ('x', '{project}')"), ""),
        ("device_id = 'pump_n3'".into(), "n3"),
        ("device_id not in ('pump_n3', 'none')".into(), "n2 n1"),
        ("gateway_id = 'pump_n1'".into(), "n2 n1"),
        ("gateway_id != 'pump_n1'".into(), "n3"),
        ("gateway_id in ('pump_n2', '?')".into(), ""),
        ("product_id in ('pump', 'x')".into(), "n3 n2 n1"),
        ("product_id != 'pump'".into(), ""),
        ("device_name = 'Pump, it''s the 3rd'".into(), "n3"),
        ("device_name like 'Pump, it%'".into(), "n3"),
        ("device_name != 'x'".into(), "n3 n2 n1"),
        ("node_id in ('n1', 'n2')".into(), "n2 n1"),
        ("node_id like 'n1__%'".into(), ""),
        ("status = 'INACTIVE'".into(), "n3 n2 n1"),
        ("status != 'ABNORMAL'".into(), "n3 n2 n1"),
        ("status = 'ABNORMAL'".into(), ""),
        ("node_type = 'ENDPOINT'".into(), "n2"),
        ("node_type not in ('ENDPOINT', 'UNKNOWN')".into(), "n3 n1"),
        ("node_type != 'UNKNOWN'".into(), "n3 n2 n1"),
        ("tag_key = 'ring'".into(), "n3 n1"),
        ("tag_key != 'ring'".into(), "n2"),
        ("tag_key like 'ring%'".into(), "n3 n1"),
        ("tag_value = 'wide'".into(), "n3 n1"),
        ("tag_key = 'ring' and tag_value = 'wide'".into(), "n1"),
        ("tag_key = 'ring' and tag_value != 'wide'".into(), "n3"),
        ("fw_version != '1.0'".into(), "n3 n2 n1"),
        ("sw_version in ('1.0')".into(), ""),
        (format!("group_id = '{group}'"), "n3"),
        (format!("group_id != '{group}'"), "n2 n1"),
        (format!("create_time in ('{made}') and node_id = 'n3'"), "n3"),
        ("create_time > '20200101T000000Z'".into(), "n3 n2 n1"),
        ("create_time < '20200101T000000Z'".into(), ""),
        (format!("create_time > '{made}' and node_id = 'n3'"), ""),
        (format!("marker = '{marker}'"), "n3"),
        (format!("marker < '{marker}'"), "n2 n1"),
        (format!("marker > '{marker}'"), ""),
        (format!("marker not in ('{marker}', 'ffffffffffffffffffffffff')"), "n2 n1"),
    ] {
        let found = rows(&stage, &format!("where {condition}")).await;
        assert_eq!(found.join(" "), expected, "{condition}");
        let counted = stage.ask_for(&format!("select count(*) from device where {condition}")).await.ok(200);
        assert_eq!(counted, json!({"count": found.len()}), "{condition}");
    }
}

#[tokio::test]
async fn and_binds_before_or_and_pages_come_in_the_order_asked_for() {
    let stage = furnished().await;
    let either = "where node_id = 'n1' or tag_key = 'ring' and tag_value = 'canary'";
    assert_eq!(rows(&stage, either).await, ["n3", "n1"]);
    let swapped = "where tag_value = 'canary' and tag_key = 'ring' or node_id = 'n1'";
    assert_eq!(rows(&stage, swapped).await, ["n3", "n1"]);
    for (rest, expected) in [
        ("order by marker asc", "n1 n2 n3"),
        ("Order By Marker DESC", "n3 n2 n1"),
        ("order by marker", "n3 n2 n1"),
        ("limit 2", "n3 n2"),
        ("limit 1,2", "n2 n1"),
        ("limit 500 , 50", ""),
        ("order by marker asc limit 2, 1", "n3"),
        ("where status = 'INACTIVE' order by marker asc limit 1,1", "n2"),
        ("where status in ('INACTIVE', 'FROZEN') limit 1", "n3"),
    ] {
        assert_eq!(rows(&stage, rest).await.join(" "), expected, "{rest}");
    }
}

#[tokio::test]
async fn versions_and_whether_a_device_is_there_are_searched_as_they_are_now() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    let mut made = Vec::new();
    for node in ["n1", "n2", "n3"] {
        let device = stage.device(node).await;
        let secret = device["auth_info"]["secret"].as_str().unwrap().to_owned();
        made.push(Registered { device_id: format!("pump_{node}"), secret });
    }
    let mut first = Gadget::connect(&stage.house, &made[0]).await;
    first.runs("1.0").await;
    let second = Gadget::connect(&stage.house, &made[1]).await;
    drop(second);
    let stage = &stage;
    let found = |rest: &'static str| async move { rows(stage, rest).await.join(" ") };
    eventually(async || (found("where status = 'OFFLINE'").await == "n2").then_some(())).await;
    assert_eq!(found("where status = 'ONLINE'").await, "n1");
    assert_eq!(found("where status = 'INACTIVE'").await, "n3");
    assert_eq!(found("where status != 'ONLINE'").await, "n3 n2");
    assert_eq!(found("where status = 'ONLINE' and fw_version = '1.0'").await, "n1");
    assert_eq!(found("where status = 'OFFLINE' and fw_version = '1.0'").await, "");
    assert_eq!(found("where fw_version = '1.0' or status = 'INACTIVE'").await, "n3 n1");
    stage.post("/devices/pump_n3/freeze", json!({})).await.ok(204);
    assert_eq!(found("where status = 'FROZEN'").await, "n3");
    assert_eq!(found("where status in ('FROZEN', 'ONLINE')").await, "n3 n1");
    assert_eq!(found("where status not in ('FROZEN')").await, "n2 n1");
    assert_eq!(found("where status = 'FROZEN' and status = 'ONLINE'").await, "");
    assert_eq!(found("where status in ('FROZEN', 'ONLINE', 'OFFLINE', 'INACTIVE')").await, "n3 n2 n1");
    let counted = stage.ask_for("select count(*) from device where status != 'FROZEN'").await.ok(200);
    assert_eq!(counted["count"], 2);
    let counted = stage.ask_for("select count(*) from device where status = 'ONLINE'").await.ok(200);
    assert_eq!(counted["count"], 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_what_can() {
    let stage = Stage::open().await;
    let long = format!("select * from device where node_id = '{}'", "x".repeat(400));
    for (sql, told) in [
        ("delete from device", "`select`"),
        ("select device_id from device", "`*` or `count(*)`"),
        ("select * from product", "`device`"),
        ("select * from device where", "one of app_id"),
        ("select * from device where colour = 'red'", "fw_version"),
        ("select * from device where node_id = n1", "single quotes"),
        ("select * from device where node_id = \"n1\"", "'text'"),
        ("select * from device where node_id = 'n1", "quote is missing"),
        ("select * from device where node_id > 'n1'", "`like`"),
        ("select * from device where node_id = 'n1' and (node_id = 'n2')", "nested"),
        ("select * from device where (node_id = 'n1')", "nested"),
        ("select * from device where tag_key in ('a')", "`like`"),
        ("select * from device where node_id like 'n1%'", "at least 4"),
        ("select * from device where node_id like 'node1'", "at its end"),
        ("select * from device where node_id like '%node%'", "at its end"),
        ("select * from device where node_id in ()", "a text"),
        ("select * from device where node_id in ('a' 'b')", "`,` or `)`"),
        ("select * from device where status = 'AWAKE'", "INACTIVE"),
        ("select * from device where node_type = 'PHONE'", "ENDPOINT"),
        ("select * from device where create_time > 'today'", "yyyyMMdd"),
        ("select * from device where marker > '12'", "24 hexadecimal"),
        ("select * from device order by device_id", "`marker`"),
        ("select * from device limit 0", "1 to 50"),
        ("select * from device limit 51", "1 to 50"),
        ("select * from device limit 501,10", "0 to 500"),
        ("select * from device limit -1", "a"),
        ("select * from device limit 1 order by marker", "in this order"),
        ("select * from device;", "the end"),
        ("select count(*) from device limit 5", "the end"),
        (
            "select * from device where node_id='1' or node_id='2' or node_id='3' or node_id='4' or node_id='5' or node_id='6'",
            "5 conditions",
        ),
        (long.as_str(), "at most 400"),
    ] {
        let message = refused(&stage.ask_for(sql).await, 400, "IOTDA.000006");
        assert!(
            message.contains(told) && (message.contains("accepted") || message.contains("quote")),
            "{sql}: {message}"
        );
    }
    let without = stage.post("/search/query-devices", json!({})).await;
    refused(&without, 400, "IOTDA.000006");
    let number = stage.post("/search/query-devices", json!({"sql": Value::from(1)})).await;
    refused(&number, 400, "IOTDA.000006");
}
