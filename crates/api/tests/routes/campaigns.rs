use otaru_core::deployment::Label;
use serde_json::{Value, json};

use crate::house::{Gadget, House, IMAGE, campaign_when, take_id, take_moment, text};

#[tokio::test]
async fn a_campaign_is_a_draft_until_it_is_started() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let campaign =
        json!({"name": "lights", "package_ids": [lamp.package_id], "devices": {"ids": ["lamp_1"]}});
    let made = house.operator().post("/api/v1/campaigns", campaign).await.ok(201);
    let id = text(&made["campaign_id"]);
    let draft = campaign_when(house.viewer(), &id, |c| c["state"] == "draft").await;
    assert_eq!((&draft["counts"]["queued"], &draft["started_at"]), (&json!(1), &Value::Null));
    let started = house.operator().post(&format!("/api/v1/campaigns/{id}/start"), json!({})).await.ok(200);
    assert_eq!(started["state"], "running");
}

#[tokio::test]
async fn it_is_read_back_with_every_count() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    let mut shown = campaign_when(house.viewer(), &id, |c| c["counts"]["released"] == 1).await;
    for member in ["created_at", "started_at"] {
        take_moment(&mut shown, member);
    }
    take_id(&mut shown, "campaign_id");
    let mut counts = json!({"total": 1});
    for label in Label::ALL {
        counts[label.name()] = json!(u64::from(label == Label::Released));
    }
    assert_eq!(
        shown,
        json!({
            "name": "lights", "state": "running", "counts": counts, "product_id": "lamp",
            "package_ids": [lamp.package_id], "retry": {"count": 0, "interval_secs": 0},
            "limits": {"concurrency": null}, "on_conflict": "hold",
            "timers": {"online_secs": 90000.0, "answer_secs": 180.0, "result_secs": 86400.0, "confirm_secs": 600.0},
            "gateway_mode": false, "need_confirm": false, "ext_info": null, "created_by": "test", "start_at": null,
            "finished_at": null,
        })
    );
}

#[tokio::test]
async fn counts_begin_with_total_and_go_on_in_the_order_of_a_deployments_life() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    let answer = house.viewer().get(&format!("/api/v1/campaigns/{id}")).await;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let mut places: Vec<usize> = vec![body.find("\"total\"").unwrap()];
    places.extend(Label::ALL.iter().map(|label| body.find(&format!("\"{}\"", label.name())).unwrap()));
    assert!(places.is_sorted(), "{body}");
}

#[tokio::test]
async fn rules_are_kept_as_asked_and_timers_may_be_fractions() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let rules = json!({
        "retry": {"count": 2, "interval_secs": 30}, "limits": {"concurrency": 7}, "on_conflict": "supersede",
        "timers": {"online_secs": 0.25, "answer_secs": 2, "result_secs": 3.5, "confirm_secs": 1},
    });
    let made = house.operator().post("/api/v1/campaigns", with(&lamp.package_id, &rules)).await.ok(201);
    assert_eq!((&made["retry"], &made["limits"]), (&rules["retry"], &rules["limits"]));
    assert_eq!(made["on_conflict"], "supersede");
    assert_eq!(
        made["timers"],
        json!({"online_secs": 0.25, "answer_secs": 2.0, "result_secs": 3.5, "confirm_secs": 1.0})
    );
}

#[tokio::test]
async fn what_gateways_and_devices_are_told_beside_the_upgrade_is_kept_as_asked() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let asked = json!({"gateway_mode": true, "ext_info": {"device_type": "DDC", "n": [1, 2.5]}});
    let made = house.operator().post("/api/v1/campaigns", with(&lamp.package_id, &asked)).await.ok(201);
    assert_eq!((&made["gateway_mode"], &made["ext_info"]), (&asked["gateway_mode"], &asked["ext_info"]));
    for (wrong, named) in [
        (json!({"ext_info": "text"}), "`ext_info`"),
        (json!({"ext_info": {"x": "y".repeat(600)}}), "`ext_info` has 608 characters of JSON; up to 512"),
        (json!({"gateway_mode": "yes"}), "`gateway_mode`"),
    ] {
        let problem = house.operator().post("/api/v1/campaigns", with(&lamp.package_id, &wrong)).await;
        let body = String::from_utf8_lossy(&problem.body).into_owned();
        assert!(body.contains(named), "{wrong}: {body}");
    }
}

#[tokio::test]
async fn rules_outside_their_range_are_named_with_the_range() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    for (rules, named) in [
        (json!({"retry": {"count": 6}}), "`retry.count` is 6; 0 to 5"),
        (json!({"retry": {"count": 1, "interval_secs": 86401}}), "`retry.interval_secs` is 86401"),
        (json!({"retry": {"count": -1}}), "`retry.count`"),
        (json!({"limits": {"concurrency": 0}}), "`limits.concurrency` is 0"),
        (json!({"on_conflict": "fight"}), "`fight`"),
        (json!({"timers": {"answer_secs": 0}}), "`timers.answer_secs` is 0"),
        (json!({"timers": {"answer_secs": -3.5}}), "`timers.answer_secs` is -3.5"),
        (json!({"timers": {"answer_secs": 1e12}}), "`timers.answer_secs` is 1000000000000"),
        (json!({"timers": {"answer_secs": "soon"}}), "`timers.answer_secs`"),
        (json!({"timers": {"tea_secs": 1}}), "`tea_secs`"),
        (json!({"name": ""}), "name"),
    ] {
        let refused = house.operator().post("/api/v1/campaigns", with(&lamp.package_id, &rules)).await;
        let message = text(&refused.ok(400)["message"]);
        assert!(message.contains(named), "{rules} gave {message}");
    }
    assert_eq!(house.viewer().get("/api/v1/campaigns").await.ok(200)["items"], json!([]));
}

#[tokio::test]
async fn devices_are_chosen_in_exactly_one_way() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    for (devices, given) in [
        (json!({}), "`devices` has 0 of"),
        (json!({"ids": ["lamp_1"], "product_id": "lamp"}), "`devices` has 2 of"),
        (json!({"ids": [], "product_id": "lamp", "tags": {}}), "`devices` has 3 of"),
    ] {
        let campaign = with(&lamp.package_id, &json!({"devices": devices}));
        let message =
            house.operator().post("/api/v1/campaigns", campaign).await.refused(400, "invalid_member");
        assert!(message.contains(given) && message.contains("exactly one is accepted"), "{message}");
    }
}

#[tokio::test]
async fn devices_may_be_chosen_by_product_or_tags() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    house.operator().device("lamp", "2").await;
    house.operator().patch("/api/v1/devices/lamp_2", json!({"tags": {"site": "berlin"}})).await.ok(200);
    for (devices, total) in [(json!({"product_id": "lamp"}), 2), (json!({"tags": {"site": "berlin"}}), 1)] {
        let campaign = with(&lamp.package_id, &json!({"devices": devices}));
        let made = house.operator().post("/api/v1/campaigns", campaign).await.ok(201);
        let id = text(&made["campaign_id"]);
        campaign_when(house.viewer(), &id, |c| c["state"] != "preparing" && c["counts"]["total"] == total)
            .await;
    }
}

#[tokio::test]
async fn devices_that_do_not_exist_are_named() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let devices = json!({"devices": {"ids": ["lamp_1", "ghost"]}});
    let refused = house.operator().post("/api/v1/campaigns", with(&lamp.package_id, &devices)).await;
    assert!(refused.refused(400, "unknown_devices").contains("ghost"));
}

#[tokio::test]
async fn a_list_of_the_longest_ids_fits_and_a_longer_list_is_named() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let ids = |count: usize| json!({"devices": {"ids": (0..count).map(|n| format!("{n:0128}")).collect::<Vec<_>>()}});
    let refused = house.operator().post("/api/v1/campaigns", with(&lamp.package_id, &ids(30_000))).await;
    assert!(refused.refused(400, "unknown_devices").contains("30000"));
    let refused = house.operator().post("/api/v1/campaigns", with(&lamp.package_id, &ids(30_001))).await;
    assert!(refused.refused(400, "too_many_devices").contains("30001"));
}

#[tokio::test]
async fn devices_of_another_product_are_named() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    house.operator().product("door").await;
    house.operator().device("door", "1").await;
    let devices = json!({"devices": {"ids": ["door_1"]}});
    let refused = house.operator().post("/api/v1/campaigns", with(&lamp.package_id, &devices)).await;
    assert!(refused.refused(400, "wrong_product").contains("door_1"));
}

#[tokio::test]
async fn packages_that_do_not_go_together_are_named() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let other = house.operator().package("lamp", "v3", IMAGE).await;
    let both = json!({"package_ids": [lamp.package_id, other]});
    let refused = house.operator().post("/api/v1/campaigns", with(&lamp.package_id, &both)).await;
    let message = refused.refused(400, "packages_do_not_fit");
    for named in [&lamp.package_id, &other, "source versions must not overlap"] {
        assert!(message.contains(named), "{message}");
    }
    let none =
        house.operator().post("/api/v1/campaigns", with(&lamp.package_id, &json!({"package_ids": []}))).await;
    assert!(none.refused(400, "packages_do_not_fit").contains("`package_ids` is empty"));
    let ghost = json!({"package_ids": ["0123456789abcdef01234567"]});
    let refused = house.operator().post("/api/v1/campaigns", with(&lamp.package_id, &ghost)).await;
    assert!(refused.refused(400, "unknown_package").contains("0123456789abcdef01234567"));
}

#[tokio::test]
async fn it_can_be_paused_resumed_and_cancelled() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    campaign_when(house.viewer(), &id, |c| c["state"] == "running").await;
    for (verb, state) in [("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")] {
        let told = house.operator().post(&format!("/api/v1/campaigns/{id}/{verb}"), json!({})).await.ok(200);
        assert_eq!(told["state"], state, "after {verb}");
    }
    let ended = campaign_when(house.viewer(), &id, |c| c["counts"]["cancelled"] == 1).await;
    assert!(ended["finished_at"].is_string());
}

#[tokio::test]
async fn a_verb_that_does_not_fit_the_state_is_a_conflict() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    campaign_when(house.viewer(), &id, |c| c["state"] == "running").await;
    house.operator().post(&format!("/api/v1/campaigns/{id}/cancel"), json!({})).await.ok(200);
    for verb in ["start", "pause", "resume"] {
        let refused = house.operator().post(&format!("/api/v1/campaigns/{id}/{verb}"), json!({})).await;
        assert!(refused.refused(409, "wrong_state").contains("is cancelled"), "{verb}");
    }
}

#[tokio::test]
async fn an_unknown_one_is_not_found() {
    let house = House::open().await;
    house.viewer().get("/api/v1/campaigns/none").await.refused(404, "not_found");
    house.viewer().get("/api/v1/campaigns/none/deployments").await.refused(404, "not_found");
    for verb in ["start", "pause", "resume", "cancel"] {
        let refused = house.operator().post(&format!("/api/v1/campaigns/none/{verb}"), json!({})).await;
        refused.refused(404, "not_found");
    }
    house.operator().post("/api/v1/campaigns/none/dance", json!({})).await.refused(404, "path_unknown");
}

#[tokio::test]
async fn they_are_listed_newest_first() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    for name in ["one", "two", "three"] {
        house
            .operator()
            .post("/api/v1/campaigns", with(&lamp.package_id, &json!({"name": name})))
            .await
            .ok(201);
    }
    let first = house.viewer().get("/api/v1/campaigns?limit=2").await.ok(200);
    let path = format!("/api/v1/campaigns?limit=2&cursor={}", text(&first["next_cursor"]));
    let rest = house.viewer().get(&path).await.ok(200);
    let names: Vec<_> = [&first, &rest]
        .iter()
        .flat_map(|p| p["items"].as_array().unwrap())
        .map(|c| text(&c["name"]))
        .collect();
    assert_eq!(names, ["three", "two", "one"]);
    assert_eq!(rest["next_cursor"], Value::Null);
}

#[tokio::test]
async fn it_finishes_when_its_device_runs_the_version() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let mut gadget = Gadget::connect(&house, &lamp.device).await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    gadget.told_when_running("v1").await;
    gadget.runs("v2").await;
    let ended = campaign_when(house.viewer(), &id, |c| c["state"] == "finished").await;
    assert_eq!((&ended["counts"]["installed"], &ended["counts"]["total"]), (&json!(1), &json!(1)));
}

/// A campaign for `lamp_1`, with something else about it.
fn with(package_id: &str, change: &Value) -> Value {
    let mut campaign = json!({"name": "lights", "package_ids": [package_id], "devices": {"ids": ["lamp_1"]}});
    campaign.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    campaign
}

#[tokio::test]
async fn campaigns_can_be_narrowed_by_state_product_and_name() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    house.operator().product("bell").await;
    house.operator().device("bell", "1").await;
    let bell = house.operator().package("bell", "v2", b"ding").await;
    for (name, package, device) in [
        ("Hall lights", &lamp.package_id, "lamp_1"),
        ("Bells", &bell, "bell_1"),
        ("Garden lights", &lamp.package_id, "lamp_1"),
    ] {
        let campaign = json!({"name": name, "package_ids": [package], "devices": {"ids": [device]}});
        let made = house.operator().post("/api/v1/campaigns", campaign).await.ok(201);
        let id = text(&made["campaign_id"]);
        campaign_when(house.viewer(), &id, |c| c["state"] == "draft").await;
        if name != "Hall lights" {
            house.operator().post(&format!("/api/v1/campaigns/{id}/start"), json!({})).await.ok(200);
        }
    }
    for (query, wanted) in [
        ("", vec!["Garden lights", "Bells", "Hall lights"]),
        ("?state=draft", vec!["Hall lights"]),
        ("?state=draft&state=running", vec!["Garden lights", "Bells", "Hall lights"]),
        ("?product_id=lamp", vec!["Garden lights", "Hall lights"]),
        ("?product_id=lamp&state=running", vec!["Garden lights"]),
        ("?product_id=none", vec![]),
        ("?name=LIGHTS", vec!["Garden lights", "Hall lights"]),
        ("?name=bell&product_id=lamp", vec![]),
    ] {
        let page = house.viewer().get(&format!("/api/v1/campaigns{query}")).await.ok(200);
        let names: Vec<&str> =
            page["items"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
        assert_eq!(names, wanted, "{query}");
        assert_eq!(
            (&page["total"], &page["total_is_capped"]),
            (&json!(wanted.len()), &json!(false)),
            "{query}"
        );
    }
    for (query, says) in [("state=done", "`cancelled` are accepted"), ("name=", "1 to 256 characters")] {
        let refused = house.viewer().get(&format!("/api/v1/campaigns?{query}")).await;
        assert!(refused.refused(400, "invalid_parameter").contains(says));
    }
}

#[tokio::test]
async fn a_campaign_is_scheduled_at_its_creation_and_afterwards() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let draft = house.operator().post("/api/v1/campaigns", with(&lamp.package_id, &json!({}))).await.ok(201);
    let day = |days: i64| days_after(draft["created_at"].as_str().unwrap(), days);
    let asked_later = json!({"start_at": day(2)});
    let made = house.operator().post("/api/v1/campaigns", with(&lamp.package_id, &asked_later)).await.ok(201);
    let id = text(&made["campaign_id"]);
    let scheduled = campaign_when(house.viewer(), &id, |c| c["state"] == "scheduled").await;
    assert_eq!((&scheduled["start_at"], &scheduled["started_at"]), (&json!(day(2)), &Value::Null));
    let explained = house.viewer().get("/api/v1/devices/lamp_1/explain").await.ok(200);
    let of_this = |one: &&Value| one["campaign_id"] == json!(id);
    let held_back = &explained["deployments"].as_array().unwrap().iter().find(of_this).unwrap()["held_back"];
    assert_eq!((&held_back["reason"], &held_back["start_at"]), (&json!("scheduled"), &json!(day(2))));
    let schedule = format!("/api/v1/campaigns/{id}/schedule");
    let changed = house.operator().post(&schedule, json!({"start_at": day(1)})).await.ok(200);
    assert_eq!((&changed["state"], &changed["start_at"]), (&json!("scheduled"), &json!(day(1))));
    let draft = house.operator().post(&schedule, json!({"start_at": null})).await.ok(200);
    assert_eq!((&draft["state"], &draft["start_at"]), (&json!("draft"), &Value::Null));
    for (refused, code) in [
        (json!({"start_at": day(400)}), "invalid"),
        (json!({"start_at": "2020-01-01T00:00:00Z"}), "invalid"),
        (json!({"start_at": "tomorrow"}), "invalid_member"),
        (json!({}), "invalid_member"),
    ] {
        house.operator().post(&schedule, refused).await.refused(400, code);
    }
    let both = with(&lamp.package_id, &json!({"start": true, "start_at": day(1)}));
    house.operator().post("/api/v1/campaigns", both).await.refused(400, "invalid");
    // A time that has just come starts it.
    house.operator().post(&schedule, json!({"start_at": day(0)})).await.ok(200);
    campaign_when(house.viewer(), &id, |c| c["state"] == "running").await;
    house.operator().post(&schedule, json!({"start_at": null})).await.refused(409, "wrong_state");
}

/// So many days after a time, to the second.
fn days_after(shown: &str, days: i64) -> String {
    let time = time::OffsetDateTime::parse(shown, &time::format_description::well_known::Rfc3339).unwrap();
    let form = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].000Z");
    (time + time::Duration::days(days)).format(&form).unwrap()
}

#[tokio::test]
async fn a_campaign_that_has_ended_can_be_deleted_and_then_its_package() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    let path = format!("/api/v1/campaigns/{id}");
    campaign_when(house.viewer(), &id, |c| c["state"] == "running").await;
    let refused = house.operator().delete(&path).await.refused(409, "wrong_state");
    assert!(
        refused.contains("is running; only a campaign that is finished or cancelled can be deleted"),
        "{refused}"
    );
    house.operator().post(&format!("{path}/cancel"), json!({})).await.ok(200);
    campaign_when(house.viewer(), &id, |c| c["counts"]["cancelled"] == 1).await;
    house.viewer().delete(&path).await.refused(403, "role_too_low");
    let package = format!("/api/v1/packages/{}", lamp.package_id);
    house.operator().delete(&package).await.refused(409, "in_use");
    house.operator().delete(&path).await.ok(204);
    house.viewer().get(&path).await.refused(404, "not_found");
    house.viewer().get(&format!("{path}/deployments")).await.refused(404, "not_found");
    house.operator().delete(&path).await.refused(404, "not_found");
    assert_eq!(house.viewer().get("/api/v1/campaigns").await.ok(200)["items"], json!([]));
    house.operator().delete(&package).await.ok(204);
}
