use serde_json::{Value, json};

use crate::house::{Gadget, House, campaign_when, text};

/// A running campaign over three lamps, none of which is connected.
async fn running(house: &House) -> String {
    let lamp = house.furnish().await;
    for node in ["2", "3"] {
        house.operator().device("lamp", node).await;
    }
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1", "lamp_2", "lamp_3"]).await;
    campaign_when(house.viewer(), &id, |c| c["state"] == "running").await;
    id
}

fn path(id: &str, verb: &str) -> String {
    format!("/api/v1/campaigns/{id}/deployments/{verb}")
}

/// Of each named device, what was done and where its deployment is.
fn results(answer: &Value) -> Vec<(String, String, Value, Value)> {
    let of = |one: &Value| {
        (text(&one["device_id"]), text(&one["result"]), one["run"].clone(), one["outcome"].clone())
    };
    answer["results"].as_array().unwrap().iter().map(of).collect()
}

#[tokio::test]
async fn named_devices_are_answered_one_by_one() {
    let house = House::open().await;
    let id = running(&house).await;
    let asked = json!({"device_ids": ["lamp_2", "lamp_9", "lamp_2", "not an id"]});
    let stopped = house.operator().post(&path(&id, "stop"), asked).await.ok(200);
    let cancelled = json!("cancelled");
    let expected = [
        ("lamp_2", "stopped", json!(1), cancelled.clone()),
        ("lamp_9", "not_found", Value::Null, Value::Null),
        ("lamp_2", "stopped", json!(1), cancelled),
        ("not an id", "not_found", Value::Null, Value::Null),
    ];
    let expected =
        expected.map(|(id, result, run, outcome)| (id.to_owned(), result.to_owned(), run, outcome));
    assert_eq!(results(&stopped), expected);
    let asked = json!({"device_ids": ["lamp_1", "lamp_2"]});
    let retried = house.operator().post(&path(&id, "retry"), asked.clone()).await.ok(200);
    assert_eq!(retried["results"][0]["result"], "wrong_state");
    assert_eq!(retried["results"][0]["state"], "released");
    assert_eq!(
        (&retried["results"][1]["result"], &retried["results"][1]["run"]),
        (&json!("retried"), &json!(2))
    );
    assert_ne!(retried["results"][1]["deployment_id"], stopped["results"][0]["deployment_id"]);
    let shown = house.viewer().get(&format!("/api/v1/campaigns/{id}/deployments")).await.ok(200);
    let runs: Vec<(String, &Value)> =
        shown["items"].as_array().unwrap().iter().map(|one| (text(&one["device_id"]), &one["run"])).collect();
    let one = json!(1);
    let expected =
        [("lamp_1".to_owned(), &one), ("lamp_3".to_owned(), &one), ("lamp_2".to_owned(), &json!(2))];
    assert_eq!(runs, expected, "the oldest first, and of each device the latest run");
}

#[tokio::test]
async fn what_names_no_device_is_accepted_and_done_afterwards() {
    let house = House::open().await;
    let id = running(&house).await;
    let accepted = house.operator().post(&path(&id, "stop"), json!({"states": ["released", "asked"]})).await;
    assert_eq!(accepted.ok(202), json!({"campaign_id": id, "meant": 3}));
    campaign_when(house.viewer(), &id, |c| c["state"] == "finished" && c["counts"]["cancelled"] == 3).await;
    let accepted = house.operator().post(&path(&id, "retry"), json!({"all": true, "codes": null})).await;
    assert_eq!(accepted.ok(202)["meant"], 3);
    campaign_when(house.viewer(), &id, |c| c["state"] == "running" && c["counts"]["released"] == 3).await;
    let refused = house.operator().post(&path("none", "retry"), json!({"all": true})).await;
    refused.refused(404, "not_found");
}

#[tokio::test]
async fn failures_are_retried_by_outcome_and_code() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let mut gadget = Gadget::connect(&house, &lamp.device).await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    gadget.told_when_running("v1").await;
    gadget.report("upgrade_progress_report", json!({"result_code": 4, "version": "v1"})).await;
    campaign_when(house.viewer(), &id, |c| c["state"] == "finished").await;
    let retry = async |mut asked: Value| {
        asked["device_ids"] = json!(["lamp_1"]);
        let answer = house.operator().post(&path(&id, "retry"), asked).await.ok(200);
        text(&answer["results"][0]["result"])
    };
    assert_eq!(retry(json!({"codes": [5, 6]})).await, "not_selected");
    assert_eq!(retry(json!({"outcomes": ["timed_out"], "codes": [4]})).await, "not_selected");
    assert_eq!(retry(json!({"outcomes": ["timed_out", "failed"], "codes": [4]})).await, "retried");
}

#[tokio::test]
async fn a_selection_that_cannot_be_meant_is_refused_in_words() {
    let house = House::open().await;
    let id = running(&house).await;
    for (verb, asked, words) in [
        ("stop", json!({}), "the body says nothing; `\"all\": true` alone"),
        ("stop", json!({"all": false}), "the body says nothing"),
        ("stop", json!({"all": true, "codes": [1]}), "`all` and something else"),
        ("stop", json!({"states": []}), "`states` is empty; `queued`, `released`"),
        ("stop", json!({"states": ["finished"]}), "`states` names finished; `queued`"),
        ("stop", json!({"outcomes": ["failed"]}), "`outcomes`"),
        ("retry", json!({"outcomes": ["installed"]}), "`outcomes` names installed; `failed`, `timed_out`"),
        ("retry", json!({"outcomes": ["removed"]}), "names removed"),
        ("retry", json!({"states": ["running"]}), "`states`"),
        ("retry", json!({"codes": []}), "`codes` has 0 entries; 1 to 16"),
        ("retry", json!({"codes": (0..17).collect::<Vec<i64>>()}), "`codes` has 17 entries"),
        ("retry", json!({"codes": ["4"]}), "`codes[0]`"),
    ] {
        let message =
            house.operator().post(&path(&id, verb), asked.clone()).await.refused(400, "invalid_member");
        assert!(message.contains(words), "{asked} gave {message}");
    }
    house.operator().post(&path(&id, "stop"), json!({"device_ids": []})).await.refused(400, "invalid");
    let many = json!({"device_ids": vec!["lamp_1"; 30_001]});
    house.operator().post(&path(&id, "stop"), many).await.refused(400, "too_many_devices");
    house.viewer().post(&path(&id, "stop"), json!({"all": true})).await.refused(403, "role_too_low");
    let counts = house.viewer().get(&format!("/api/v1/campaigns/{id}")).await.ok(200)["counts"].clone();
    assert_eq!(counts["released"], 3, "nothing was done");
}

#[tokio::test]
async fn a_cancelled_campaign_is_left_alone() {
    let house = House::open().await;
    let id = running(&house).await;
    house.operator().post(&format!("/api/v1/campaigns/{id}/cancel"), json!({})).await.ok(200);
    for verb in ["stop", "retry"] {
        let refused = house.operator().post(&path(&id, verb), json!({"device_ids": ["lamp_1"]})).await;
        let message = refused.refused(409, "wrong_state");
        assert!(message.contains("is cancelled; only a campaign that is not"), "{message}");
    }
}

#[tokio::test]
async fn what_needs_confirmation_is_confirmed_by_name_or_all_at_once() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    house.operator().device("lamp", "2").await;
    let asked = json!({
        "name": "lights", "package_ids": [lamp.package_id], "devices": {"product_id": "lamp"}, "start": true,
        "need_confirm": true,
    });
    let made = house.operator().post("/api/v1/campaigns", asked).await.ok(201);
    assert_eq!(made["need_confirm"], true);
    let id = text(&made["campaign_id"]);
    campaign_when(house.viewer(), &id, |c| c["state"] == "running" && c["counts"]["queued"] == 2).await;
    let explained = house.viewer().get("/api/v1/devices/lamp_1/explain").await.ok(200);
    assert_eq!(explained["deployments"][0]["held_back"]["reason"], "unconfirmed");
    let confirmed =
        house.operator().post(&path(&id, "confirm"), json!({"device_ids": ["lamp_1"]})).await.ok(200);
    assert_eq!(
        (&confirmed["results"][0]["result"], &confirmed["results"][0]["state"]),
        (&json!("confirmed"), &json!("released"))
    );
    let accepted = house.operator().post(&path(&id, "confirm"), json!({"all": true})).await.ok(202);
    assert_eq!(accepted["meant"], 1);
    campaign_when(house.viewer(), &id, |c| c["counts"]["released"] == 2).await;
    for refused in [json!({}), json!({"all": true, "device_ids": ["lamp_1"]})] {
        let message =
            house.operator().post(&path(&id, "confirm"), refused).await.refused(400, "invalid_member");
        assert!(message.contains("alone is accepted, or `device_ids`"), "{message}");
    }
    house.viewer().post(&path(&id, "confirm"), json!({"all": true})).await.refused(403, "role_too_low");
}
