use serde_json::{Value, json};

use crate::house::{Gadget, House, campaign_when, take_id, take_moment, text};

#[tokio::test]
async fn a_deployment_says_where_it_is_and_why() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let mut gadget = Gadget::connect(&house, &lamp.device).await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    gadget.told_when_running("v1").await;
    gadget
        .report("upgrade_progress_report", json!({"result_code": 0, "progress": 40, "version": "v1"}))
        .await;
    let mut shown = only(&house, &id, "").await;
    for member in ["created_at", "updated_at"] {
        take_moment(&mut shown, member);
    }
    take_id(&mut shown, "deployment_id");
    assert!(!text(&shown.as_object_mut().unwrap().remove("explanation").unwrap()).is_empty());
    assert_eq!(
        shown,
        json!({
            "device_id": "lamp_1", "campaign_id": id, "state": "running", "outcome": null, "result_code": 0,
            "progress": 40, "attempt": 1, "run": 1, "reported_version": "v1",
            "version_before": "v1", "target_version": "v2", "description": null,
            "late_success": false, "download": null, "unfetched_success": false,
        })
    );
}

#[tokio::test]
async fn a_failure_carries_the_devices_own_words() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let mut gadget = Gadget::connect(&house, &lamp.device).await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    gadget.told_when_running("v1").await;
    let failure = json!({"result_code": 4, "version": "v1", "description": "battery at 3 %"});
    gadget.report("upgrade_progress_report", failure).await;
    let shown = only(&house, &id, "?outcome=failed").await;
    assert_eq!(
        (&shown["state"], &shown["outcome"], &shown["result_code"], &shown["description"]),
        (&json!("finished"), &json!("failed"), &json!(4), &json!("battery at 3 %"))
    );
}

#[tokio::test]
async fn lists_can_be_narrowed_by_state_and_outcome() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    house.operator().device("lamp", "2").await;
    let mut gadget = Gadget::connect(&house, &lamp.device).await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1", "lamp_2"]).await;
    gadget.told_when_running("v1").await;
    gadget.runs("v2").await;
    campaign_when(house.viewer(), &id, |c| c["counts"]["installed"] == 1 && c["counts"]["released"] == 1)
        .await;
    for (query, wanted) in [
        ("", vec!["lamp_1", "lamp_2"]),
        ("?state=released", vec!["lamp_2"]),
        ("?state=finished", vec!["lamp_1"]),
        ("?outcome=installed", vec!["lamp_1"]),
        ("?state=finished&outcome=installed", vec!["lamp_1"]),
        ("?state=released&outcome=installed", vec!["lamp_1", "lamp_2"]),
        ("?state=finished&outcome=failed", vec![]),
        ("?state=released&state=queued", vec!["lamp_2"]),
        ("?outcome=failed&outcome=installed", vec!["lamp_1"]),
        ("?outcome=failed", vec![]),
        ("?state=running", vec![]),
    ] {
        let page = list(&house, &id, query).await;
        assert_eq!(devices(&page), wanted, "{query}");
        assert_eq!(
            (&page["total"], &page["total_is_capped"]),
            (&json!(wanted.len()), &json!(false)),
            "{query}"
        );
    }
}

#[tokio::test]
async fn failures_can_be_narrowed_by_their_result_code() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let other = house.operator().device("lamp", "2").await;
    house.operator().device("lamp", "3").await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1", "lamp_2", "lamp_3"]).await;
    for (device, code) in [(&lamp.device, 4), (&other, -7)] {
        let mut gadget = Gadget::connect(&house, device).await;
        gadget.told_when_running("v1").await;
        gadget.report("upgrade_progress_report", json!({"result_code": code, "version": "v1"})).await;
    }
    for (query, wanted) in [
        ("?code=4", vec!["lamp_1"]),
        ("?code=-7&code=4", vec!["lamp_1", "lamp_2"]),
        ("?code=4&outcome=failed", vec!["lamp_1"]),
        ("?code=4&outcome=timed_out", vec![]),
        ("?code=4&state=released", vec![]),
        ("?code=none", vec![]),
    ] {
        let page = list(&house, &id, query).await;
        assert_eq!(devices(&page), wanted, "{query}");
        assert_eq!(page["total"], wanted.len(), "{query}");
    }
}

#[tokio::test]
async fn one_device_has_its_latest_run_and_what_it_said_in_it() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let mut gadget = Gadget::connect(&house, &lamp.device).await;
    gadget.runs("v0").await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    gadget.told_when_running("v1").await;
    for progress in [10, 20] {
        let paras = json!({"result_code": 0, "progress": progress, "version": "v1"});
        gadget.report("upgrade_progress_report", paras).await;
    }
    let mut shown = house.viewer().get(&format!("/api/v1/campaigns/{id}/deployments/lamp_1")).await.ok(200);
    assert_eq!(shown.as_object_mut().unwrap().remove("earlier_runs").unwrap(), json!([]));
    assert_eq!(shown, only(&house, &id, "").await, "the same as in the list");

    let reports = format!("/api/v1/campaigns/{id}/deployments/lamp_1/reports");
    let (mut said, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = house.viewer().get(&format!("{reports}{query}")).await.ok(200);
        for report in page["items"].as_array().unwrap() {
            let payload: Value = serde_json::from_str(report["payload"].as_str().unwrap()).unwrap();
            let event = &payload["services"][0];
            said.push((text(&event["event_type"]), event["paras"]["progress"].as_u64()));
            assert_eq!(report["campaign_id"], id);
            assert!(report["reading"].is_object());
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=2&cursor={cursor}");
    }
    let word = |name: &str, progress| (name.to_owned(), progress);
    let progress = "upgrade_progress_report";
    assert_eq!(said, [word(progress, Some(20)), word(progress, Some(10)), word("version_report", None)]);
}

#[tokio::test]
async fn a_retried_device_keeps_its_earlier_runs_and_counts_once() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let mut gadget = Gadget::connect(&house, &lamp.device).await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    gadget.told_when_running("v1").await;
    gadget.report("upgrade_progress_report", json!({"result_code": 4, "version": "v1"})).await;
    let retry = format!("/api/v1/campaigns/{id}/deployments/retry");
    house.operator().post(&retry, json!({"device_ids": ["lamp_1"]})).await.ok(200);
    gadget.told_when_running("v1").await;
    gadget.runs("v2").await;
    let shown = house.viewer().get(&format!("/api/v1/campaigns/{id}/deployments/lamp_1")).await.ok(200);
    let runs = |run: &Value| (run["run"].clone(), run["outcome"].clone(), run["result_code"].clone());
    assert_eq!(runs(&shown), (json!(2), json!("installed"), Value::Null));
    let earlier: Vec<_> = shown["earlier_runs"].as_array().unwrap().iter().map(runs).collect();
    assert_eq!(earlier, [(json!(1), json!("failed"), json!(4))]);
    assert_eq!(devices(&list(&house, &id, "?outcome=failed").await), [""; 0]);
    assert_eq!(devices(&list(&house, &id, "").await), ["lamp_1"]);
    let failures = house.viewer().get(&format!("/api/v1/campaigns/{id}/failures")).await.ok(200);
    assert_eq!(failures, json!({"total": 0, "items": [], "has_more": false}));
    let results = house.viewer().get(&format!("/api/v1/campaigns/{id}/results.ndjson")).await.ok(200);
    assert_eq!((&results["run"], &results["outcome"]), (&json!(2), &json!("installed")), "one row");
    // What it said in either run was said in this campaign.
    let said =
        house.viewer().get(&format!("/api/v1/campaigns/{id}/deployments/lamp_1/reports")).await.ok(200);
    assert_eq!(said["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_device_that_is_not_in_the_campaign_is_not_found() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    house.operator().device("lamp", "2").await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    campaign_when(house.viewer(), &id, |c| c["state"] == "running").await;
    for path in ["lamp_2", "nobody", "lamp_2/reports", "%20", "nobody/reports"] {
        let refused = house.viewer().get(&format!("/api/v1/campaigns/{id}/deployments/{path}")).await;
        assert!(refused.refused(404, "not_found").contains("no deployment on device"), "{path}");
    }
    let elsewhere = house.viewer().get("/api/v1/campaigns/0123/deployments/lamp_1").await;
    assert!(elsewhere.refused(404, "not_found").contains("no campaign 0123"));
}

#[tokio::test]
async fn a_word_that_is_none_is_refused_with_the_ones_that_are() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    for (query, words) in [
        ("state=installed", ["`state` is `installed`", "`queued`", "`finished` are accepted"]),
        ("outcome=running", ["`outcome` is `running`", "`installed`", "`removed` are accepted"]),
        ("code=four", ["`code` is `four`", "integer", "`none` is accepted"]),
    ] {
        let refused = house.viewer().get(&format!("/api/v1/campaigns/{id}/deployments?{query}")).await;
        let message = refused.refused(400, "invalid_parameter");
        for word in words {
            assert!(message.contains(word), "{message}");
        }
    }
}

#[tokio::test]
async fn they_are_listed_page_by_page_without_gaps() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let ids: Vec<String> = (1..=5).map(|n| format!("lamp_{n}")).collect();
    for node in 2..=5 {
        house.operator().device("lamp", &node.to_string()).await;
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let id = house.operator().campaign(&lamp.package_id, &ids).await;
    campaign_when(house.viewer(), &id, |c| c["counts"]["released"] == 5).await;
    let mut seen = Vec::new();
    let mut query = "?limit=2&state=released".to_owned();
    loop {
        let page = list(&house, &id, &query).await;
        seen.extend(devices(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=2&state=released&cursor={cursor}");
    }
    seen.sort();
    assert_eq!(seen, ids);
}

async fn list(house: &House, campaign_id: &str, query: &str) -> Value {
    house.viewer().get(&format!("/api/v1/campaigns/{campaign_id}/deployments{query}")).await.ok(200)
}

async fn only(house: &House, campaign_id: &str, query: &str) -> Value {
    let page = list(house, campaign_id, query).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");
    page["items"][0].clone()
}

fn devices(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|d| d["device_id"].as_str().unwrap()).collect()
}
