use axum::http::Method;
use serde_json::{Value, json};

use crate::client::{Stage, date, refused};
use crate::house::{Gadget, Registered, eventually};

fn task_of(package: &str, nodes: &[&str]) -> Value {
    let targets: Vec<String> = nodes.iter().map(|node| format!("pump_{node}")).collect();
    json!({
        "task_name": "fw_2", "task_type": "firmwareUpgrade", "targets": targets,
        "document": {"package_ids": [package]},
    })
}

async fn create(stage: &Stage, body: Value) -> String {
    let made = stage.post("/batchtasks", body).await.ok(201);
    made["task_id"].as_str().unwrap().to_owned()
}

/// The task once it has this status.
async fn when(stage: &Stage, task: &str, status: &str) -> Value {
    eventually(async || {
        let shown = stage.get(&format!("/batchtasks/{task}?limit=50")).await.ok(200);
        (shown["batchtask"]["status"] == status).then_some(shown)
    })
    .await
}

async fn gadget(stage: &Stage, node: &str) -> Gadget {
    let device_id = format!("pump_{node}");
    let shown = stage.get(&format!("/devices/{device_id}")).await.ok(200);
    let secret = shown["auth_info"]["secret"].as_str().unwrap().to_owned();
    Gadget::connect(&stage.house, &Registered { device_id, secret }).await
}

fn progress(counts: &[(&str, u64)]) -> Value {
    let names =
        ["total", "processing", "success", "fail", "waitting", "fail_wait_retry", "stopped", "removed"];
    let of = |name: &str| counts.iter().find(|(found, _)| *found == name).map_or(0, |(_, n)| *n);
    let total: u64 = counts.iter().map(|(_, n)| n).sum();
    names
        .iter()
        .map(|name| ((*name).to_owned(), json!(if *name == "total" { total } else { of(name) })))
        .collect()
}

fn details(shown: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = shown["task_details"].as_array().unwrap();
    rows.iter().map(|row| (text(&row["target"]), text(&row["status"]))).collect()
}

#[tokio::test]
async fn a_task_runs_from_its_creation_to_partial_success_and_its_failure_is_retried() {
    let stage = Stage::open().await;
    let package = stage.furnish(&["good", "bad", "there"]).await;
    let (mut good, mut bad, mut there) =
        (gadget(&stage, "good").await, gadget(&stage, "bad").await, gadget(&stage, "there").await);
    let mut body = task_of(&package, &["good", "bad", "there"]);
    body["app_id"] = json!(stage.project);
    body["task_ext_info"] = json!({"ticket": "OPS-17"});
    let made = stage.post("/batchtasks", body.clone()).await.ok(201);
    for name in ["task_name", "task_type", "targets", "document", "task_ext_info"] {
        assert_eq!(made[name], body[name], "{name}");
    }
    assert!(made.get("app_id").is_none() && made.get("task_policy").is_none());
    assert_eq!((&made["status"], &made["status_desc"]), (&json!("Initializing"), &json!("")));
    assert_eq!(made["task_progress"], progress(&[("waitting", 3)]));
    let task = made["task_id"].as_str().unwrap();

    let done = json!({"result_code": 0, "progress": 100, "version": "2.0"});
    good.told_by("upgrade_v2").await;
    good.report("upgrade_progress_report", done.clone()).await;
    good.runs("2.0").await;
    bad.told_by("upgrade_v2").await;
    bad.report("upgrade_progress_report", json!({"result_code": 4, "progress": 30, "version": "v1"})).await;
    there.asked_for_version().await;
    there.runs("2.0").await;
    let shown = when(&stage, task, "PartialSuccess").await;
    assert_eq!(shown["batchtask"]["task_progress"], progress(&[("success", 2), ("fail", 1)]));
    let row = |node: &str| {
        let rows = shown["task_details"].as_array().unwrap();
        rows.iter().find(|row| row["target"] == format!("pump_{node}")).unwrap().clone()
    };
    assert_eq!(row("good"), json!({"target": "pump_good", "status": "Success", "output": "success"}));
    let same = "The current version is the same as the target version";
    assert_eq!(row("there"), json!({"target": "pump_there", "status": "Success", "output": same}));
    assert_eq!((&row("bad")["status"], &row("bad")["output"]), (&json!("Fail"), &json!("")));
    assert_eq!(row("bad")["error"]["error_code"], "IOTDA.014301");
    assert!(row("bad")["error"]["error_msg"].as_str().unwrap().contains("code 4"));

    let retried = stage
        .post(&format!("/batchtasks/{task}/retry"), json!({"targets": ["pump_bad", "pump_good"]}))
        .await
        .ok(200);
    assert_eq!(retried["targets"][0], json!({"target": "pump_bad", "status": "success"}));
    assert_eq!(
        (&retried["targets"][1]["status"], &retried["targets"][1]["error_code"]),
        (&json!("failure"), &json!("IOTDA.014219"))
    );
    refused(&stage.delete(&format!("/batchtasks/{task}")).await, 403, "IOTDA.000103");
    bad.told_by("upgrade_v2").await;
    bad.report("upgrade_progress_report", done).await;
    bad.runs("2.0").await;
    let shown = when(&stage, task, "Success").await;
    assert_eq!(shown["batchtask"]["task_progress"], progress(&[("success", 3)]));
    refused(&stage.post(&format!("/batchtasks/{task}/retry"), json!({})).await, 403, "IOTDA.000103");
    refused(&stage.post(&format!("/batchtasks/{task}/stop"), json!({})).await, 403, "IOTDA.000103");
    assert_eq!(stage.delete(&format!("/batchtasks/{task}")).await.status, 204);
    refused(&stage.get(&format!("/batchtasks/{task}")).await, 404, "IOTDA.000102");
}

#[tokio::test]
async fn targets_that_are_no_devices_of_the_product_fail_and_the_others_go() {
    let stage = Stage::open().await;
    let package = stage.furnish(&["n1"]).await;
    stage.product("lamp").await;
    stage.post("/devices", json!({"product_id": "lamp", "node_id": "n9"})).await.ok(201);
    let mut body = task_of(&package, &["n1", "n1", "none"]);
    body["targets"].as_array_mut().unwrap().push(json!("lamp_n9"));
    let task = create(&stage, body).await;
    let shown = when(&stage, &task, "Processing").await;
    assert_eq!(shown["batchtask"]["task_progress"], progress(&[("processing", 1), ("fail", 2)]));
    let expected = [("pump_n1", "Processing"), ("lamp_n9", "Fail"), ("pump_none", "Fail")];
    assert_eq!(details(&shown), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert_eq!(shown["task_details"][2]["error"]["error_code"], "IOTDA.014000");
    assert!(shown["task_details"][1]["error"]["error_msg"].as_str().unwrap().contains("product lamp"));

    // One after the other by marker and by offset, over the border between the two kinds.
    let (mut seen, mut marker) = (Vec::new(), "f".repeat(24));
    for offset in 0..4 {
        let by_offset = stage.get(&format!("/batchtasks/{task}?limit=1&offset={offset}")).await.ok(200);
        let page = stage.get(&format!("/batchtasks/{task}?limit=1&marker={marker}")).await.ok(200);
        assert_eq!(details(&page), details(&by_offset), "{offset}");
        assert_eq!(page["page"]["count"], 3);
        seen.extend(details(&page));
        if offset < 3 {
            marker = page["page"]["marker"].as_str().unwrap().to_owned();
        } else {
            assert_eq!((&page["task_details"], &page["page"]["marker"]), (&json!([]), &json!(null)));
        }
    }
    assert_eq!(seen, details(&shown));
    let only = async |query: &str| {
        let page = stage.get(&format!("/batchtasks/{task}?{query}")).await.ok(200);
        (details(&page).len(), page["page"]["count"].as_u64().unwrap())
    };
    assert_eq!(only("task_detail_status=Fail").await, (2, 2));
    assert_eq!(only("task_detail_status=Processing").await, (1, 1));
    assert_eq!(only("target=pump_none").await, (1, 1));
    assert_eq!(only("target=pump_n1&task_detail_status=Fail").await, (0, 0));
    assert_eq!(only("target=pump_never").await, (0, 0));
    assert_eq!(only("target=pump_none&task_detail_status=Processing").await, (0, 0));

    let stopped = stage.call(Method::POST, &format!("/batchtasks/{task}/stop"), None).await.ok(200);
    assert_eq!(stopped["targets"], json!([{"target": "pump_n1", "status": "success"}]));
    let shown = when(&stage, &task, "Stopped").await;
    assert_eq!(shown["batchtask"]["task_progress"], progress(&[("stopped", 1), ("fail", 2)]));
    // A device that was deleted stays in its tasks, also when another one has its id.
    assert_eq!(stage.delete("/devices/pump_n1").await.status, 204);
    assert_eq!(only("target=pump_n1").await, (1, 1));
    stage.device("n1").await;
    assert_eq!(only("target=pump_n1&task_detail_status=Stopped").await, (1, 1));
    assert_eq!(only("target=pump_n1&task_detail_status=Fail").await, (0, 0));
    refused(&stage.post(&format!("/batchtasks/{task}/retry"), json!({})).await, 403, "IOTDA.000103");
}

#[tokio::test]
async fn a_task_of_nobody_but_strangers_fails_at_once() {
    let stage = Stage::open().await;
    let package = stage.furnish(&[]).await;
    let task = create(&stage, task_of(&package, &["a", "b"])).await;
    let shown = when(&stage, &task, "Fail").await;
    assert_eq!(shown["batchtask"]["task_progress"], progress(&[("fail", 2)]));
    assert_eq!(stage.delete(&format!("/batchtasks/{task}")).await.status, 204);
}

#[tokio::test]
async fn a_group_is_upgraded_and_single_targets_are_stopped_and_retried() {
    let stage = Stage::open().await;
    let package = stage.furnish(&["n1", "n2", "other"]).await;
    let group = stage.post("/device-group", json!({"name": "canary"})).await.ok(201);
    let group = group["group_id"].as_str().unwrap();
    for node in ["n1", "n2"] {
        let path = format!("/device-group/{group}/action?action_id=addDevice&device_id=pump_{node}");
        stage.call(Method::POST, &path, None).await.ok(200);
    }
    let mut body = task_of(&package, &[]);
    body["targets_filter"] = json!({"group_ids": [group]});
    let task = create(&stage, body).await;
    let shown = when(&stage, &task, "Processing").await;
    assert_eq!(shown["batchtask"]["targets_filter"], json!({"group_ids": [group]}));
    assert_eq!(shown["batchtask"]["task_progress"], progress(&[("processing", 2)]));
    let path = format!("/batchtasks/{task}/stop");
    let stopped = stage.post(&path, json!({"targets": ["pump_n1", "pump_other"]})).await.ok(200);
    assert_eq!(stopped["targets"][0], json!({"target": "pump_n1", "status": "success"}));
    assert_eq!(stopped["targets"][1]["status"], "failure");
    let shown = stage.get(&format!("/batchtasks/{task}")).await.ok(200);
    assert_eq!(shown["batchtask"]["task_progress"], progress(&[("processing", 1), ("stopped", 1)]));
    let retried = stage.post(&format!("/batchtasks/{task}/retry"), json!({})).await.ok(200);
    assert_eq!(retried["targets"], json!([{"target": "pump_n1", "status": "success"}]));
    eventually(async || {
        let shown = stage.get(&format!("/batchtasks/{task}")).await.ok(200);
        (shown["batchtask"]["task_progress"] == progress(&[("processing", 2)])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_task_waits_for_its_time_and_for_being_confirmed() {
    let stage = Stage::open().await;
    let package = stage.furnish(&["n1", "n2"]).await;
    let mut body = task_of(&package, &["n1", "n2"]);
    let time = date(stage.house.engine.wall().0 + 86_400_000);
    body["task_policy"] = json!({"schedule_time": time});
    let scheduled = create(&stage, body).await;
    let shown = when(&stage, &scheduled, "Waitting").await;
    assert_eq!(shown["batchtask"]["task_progress"], progress(&[("waitting", 2)]));
    assert_eq!(shown["batchtask"]["task_policy"], json!({"schedule_time": time}));
    assert_eq!(details(&shown)[0].1, "Waitting");

    let mut body = task_of(&package, &["n1", "n2"]);
    body["need_confirm"] = json!(true);
    let task = create(&stage, body).await;
    let shown = when(&stage, &task, "Waitting").await;
    assert_eq!(shown["batchtask"]["need_confirm"], json!(true));
    let path = format!("/batchtasks/{task}/confirm");
    let one = stage.post(&path, json!({"targets": ["pump_n1"]})).await.ok(200);
    assert_eq!(one["targets"], json!([{"target": "pump_n1", "status": "success"}]));
    let shown = when(&stage, &task, "Processing").await;
    assert_eq!(shown["batchtask"]["task_progress"], progress(&[("processing", 1), ("waitting", 1)]));
    let all = stage.post(&path, json!({})).await.ok(200);
    assert_eq!(all["targets"], json!([{"target": "pump_n2", "status": "success"}]));
    for id in [&task, &scheduled] {
        stage.post(&format!("/batchtasks/{id}/stop"), json!({})).await.ok(200);
        when(&stage, id, "Stopped").await;
    }
}

#[tokio::test]
async fn tasks_are_listed_newest_first_by_type_and_by_status() {
    let stage = Stage::open().await;
    let package = stage.furnish(&["n1"]).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = create(&stage, task_of(&package, &["n1"])).await;
        stage.post(&format!("/batchtasks/{id}/stop"), json!({})).await.ok(200);
        when(&stage, &id, "Stopped").await;
        ids.insert(0, id);
    }
    let failed = create(&stage, task_of(&package, &["none"])).await;
    when(&stage, &failed, "Fail").await;
    ids.insert(0, failed);
    let list = async |query: &str| {
        let listed = stage.get(&format!("/batchtasks?task_type=firmwareUpgrade{query}")).await.ok(200);
        let rows = listed["batchtasks"].as_array().unwrap();
        let ids: Vec<String> = rows.iter().map(|row| row["task_id"].as_str().unwrap().to_owned()).collect();
        (ids, listed["page"]["count"].as_u64().unwrap(), listed["page"]["marker"].clone())
    };
    assert_eq!(list("").await, (ids.clone(), 4, json!(ids[3])));
    assert_eq!(list("&limit=2").await, (ids[..2].to_vec(), 4, json!(ids[1])));
    assert_eq!(list(&format!("&limit=2&marker={}", ids[1])).await.0, ids[2..]);
    assert_eq!(list("&offset=3").await.0, ids[3..]);
    assert_eq!(list(&format!("&marker={}", ids[3])).await, (vec![], 4, json!(null)));
    assert_eq!(list("&status=Stopped").await, (ids[1..].to_vec(), 3, json!(ids[3])));
    assert_eq!(list("&status=Stopped&limit=1&offset=1").await.0, ids[2..3]);
    assert_eq!(list(&format!("&status=Stopped&marker={}", ids[2])).await.0, ids[3..]);
    assert_eq!(list("&status=Fail").await.0, ids[..1]);
    assert_eq!(list("&status=Success").await.1, 0);
    let software = stage.get("/batchtasks?task_type=softwareUpgrade").await.ok(200);
    assert_eq!(software, json!({"batchtasks": [], "page": {"count": 0, "marker": null}}));
    assert_eq!(stage.get("/batchtasks?task_type=createDevices").await.ok(200)["batchtasks"], json!([]));
    for query in ["", "?task_type=x", "?task_type=firmwareUpgrade&status=x"] {
        refused(&stage.get(&format!("/batchtasks{query}")).await, 400, "IOTDA.000006");
    }
}

#[tokio::test]
async fn older_clients_name_one_package_and_gateways_may_be_told() {
    let stage = Stage::open().await;
    let package = stage.furnish(&["n1"]).await;
    let mut body = task_of(&package, &["n1"]);
    body["document"] = json!({"package_id": package});
    body["task_mode"] = json!("GATEWAY");
    body["document_source"] = json!("");
    body["task_policy"] = json!({"retry_count": 2, "retry_interval": 30});
    let made = stage.post("/batchtasks", body.clone()).await.ok(201);
    for name in ["document", "task_mode", "task_policy"] {
        assert_eq!(made[name], body[name], "{name}");
    }
    let native = stage
        .house
        .operator()
        .get(&format!("/api/v1/campaigns/{}", made["task_id"].as_str().unwrap()))
        .await
        .ok(200);
    assert_eq!(
        (&native["gateway_mode"], &native["retry"]),
        (&json!(true), &json!({"count": 2, "interval_secs": 1800}))
    );
    assert_eq!(native["on_conflict"], "fail");
}

#[tokio::test]
async fn each_member_is_held_against_its_range() {
    let stage = Stage::open().await;
    let package = stage.furnish(&["n1"]).await;
    let ahead = |days: i64| date(stage.house.engine.wall().0 + days * 86_400_000);
    for (name, value, says) in [
        ("task_name", json!(""), "task_name"),
        ("task_name", json!("a b"), "task_name"),
        ("task_name", json!("a-b"), "task_name"),
        ("task_name", json!("x".repeat(129)), "task_name"),
        ("task_type", json!(null), "task_type"),
        ("task_type", json!("createCommands"), "createCommands is not offered"),
        ("task_type", json!("x"), "task_type"),
        ("task_type", json!("softwareUpgrade"), "softwareUpgrade"),
        ("task_mode", json!("OTHER"), "task_mode"),
        ("need_confirm", json!("yes"), "need_confirm"),
        ("task_ext_info", json!("text"), "task_ext_info"),
        ("task_ext_info", json!({"x": "y".repeat(512)}), "512"),
        ("targets", json!("pump_n1"), "targets"),
        ("targets", json!([]), "targets"),
        ("targets", json!([1]), "targets[0]"),
        ("targets", json!(["a b"]), "targets[0]"),
        ("targets", json!(vec!["x"; 30_001]), "30001"),
        ("document", json!(null), "document"),
        ("document", json!({}), "document"),
        ("document", json!({"package_ids": []}), "document"),
        ("document", json!({"package_ids": [package, package]}), "twice"),
        ("task_policy", json!({"retry_count": 2}), "together"),
        ("task_policy", json!({"retry_interval": 2}), "together"),
        ("task_policy", json!({"retry_count": 6, "retry_interval": 1}), "retry_count"),
        ("task_policy", json!({"retry_count": 1, "retry_interval": 1441}), "retry_interval"),
        ("task_policy", json!({"schedule_time": ahead(-1)}), "schedule_time"),
        ("task_policy", json!({"schedule_time": ahead(8)}), "schedule_time"),
    ] {
        let mut body = task_of(&package, &["n1"]);
        body[name] = value.clone();
        let message = refused(&stage.post("/batchtasks", body).await, 400, "IOTDA.000006");
        assert!(message.contains(says), "{name} {value}: {message}");
    }
    let mut body = task_of(&package, &["n1"]);
    body["task_policy"] = json!({"schedule_time": "tomorrow"});
    refused(&stage.post("/batchtasks", body).await, 400, "IOTDA.000009");
    refused(
        &stage.post("/batchtasks", task_of("65a0ffffffffffffffffffff", &["n1"])).await,
        404,
        "IOTDA.000101",
    );
    let mut body = task_of(&package, &[]);
    body["targets_filter"] = json!({"group_ids": ["none"]});
    refused(&stage.post("/batchtasks", body.clone()).await, 404, "IOTDA.000105");
    body["targets_filter"] = json!({"group_ids": []});
    refused(&stage.post("/batchtasks", body.clone()).await, 400, "IOTDA.000006");
    body["targets_filter"] = json!(null);
    body["document_source"] = json!("65a0f20000000000000000f1");
    assert!(
        refused(&stage.post("/batchtasks", body).await, 400, "IOTDA.000006").contains("not for upgrades")
    );
}

#[tokio::test]
async fn an_empty_selection_never_becomes_everything() {
    let stage = Stage::open().await;
    let package = stage.furnish(&["n1"]).await;
    let task = create(&stage, task_of(&package, &["n1"])).await;
    when(&stage, &task, "Processing").await;
    for act in ["stop", "retry", "confirm"] {
        let path = format!("/batchtasks/{task}/{act}");
        refused(&stage.post(&path, json!({"targets": []})).await, 400, "IOTDA.000006");
        refused(&stage.post(&path, json!({"targets": vec!["x"; 101]})).await, 400, "IOTDA.000006");
        let unknown = stage.post(&format!("/batchtasks/{}/{act}", "0".repeat(24)), json!({})).await;
        refused(&unknown, 404, "IOTDA.000102");
    }
    let shown = stage.get(&format!("/batchtasks/{task}")).await.ok(200);
    assert_eq!(shown["batchtask"]["status"], "Processing");
}
