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
            "progress": 40, "attempt": 1, "run": 1, "reported_version": "v1", "description": null,
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
        ("?outcome=failed", vec![]),
        ("?state=running", vec![]),
    ] {
        assert_eq!(devices(&list(&house, &id, query).await), wanted, "{query}");
    }
}

#[tokio::test]
async fn a_word_that_is_none_is_refused_with_the_ones_that_are() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    for (query, words) in [
        ("state=installed", ["`state` is `installed`", "`queued`", "`finished` are accepted"]),
        ("outcome=running", ["`outcome` is `running`", "`installed`", "`removed` are accepted"]),
        ("state=running&outcome=failed", ["`state` is `running`", "`outcome`", "`finished`"]),
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
