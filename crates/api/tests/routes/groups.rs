use serde_json::{Value, json};

use crate::house::{Caller, House, campaign_when, take_id, take_moment, text};

#[tokio::test]
async fn a_group_is_made_changed_and_read_back() {
    let house = House::open().await;
    let mut made = group(house.operator(), "north", " North yard ").await;
    assert_eq!(house.viewer().get("/api/v1/groups/north").await.ok(200), made);
    take_moment(&mut made, "created_at");
    assert_eq!(made, json!({"group_id": "north", "name": "North yard", "description": "", "members": 0}));
    let change = json!({"description": "behind the hall"});
    let changed = house.operator().patch("/api/v1/groups/north", change).await.ok(200);
    assert_eq!(
        (text(&changed["name"]), text(&changed["description"])),
        ("North yard".into(), "behind the hall".into())
    );
    assert_eq!(house.viewer().get("/api/v1/groups").await.ok(200)["items"], json!([changed]));
}

#[tokio::test]
async fn without_an_id_a_group_gets_one() {
    let house = House::open().await;
    let mut made =
        house.operator().post("/api/v1/groups", json!({"name": "North", "description": null})).await.ok(201);
    take_id(&mut made, "group_id");
}

#[tokio::test]
async fn what_is_taken_or_not_accepted_is_refused_with_the_member() {
    let house = House::open().await;
    group(house.operator(), "north", "North").await;
    group(house.operator(), "south", "South").await;
    let post = async |body: Value| house.operator().post("/api/v1/groups", body).await;
    assert!(
        post(json!({"group_id": "north", "name": "Other"}))
            .await
            .refused(409, "exists_already")
            .contains("north")
    );
    assert!(post(json!({"name": "North"})).await.refused(409, "exists_already").contains("group name North"));
    assert!(
        post(json!({"group_id": "no/rth", "name": "N"}))
            .await
            .refused(400, "invalid_id")
            .contains("`group_id`")
    );
    for name in ["", "  ", &"x".repeat(257)] {
        assert!(post(json!({"name": name})).await.refused(400, "invalid").contains("`name`"), "{name:?}");
    }
    let long = "x".repeat(1025);
    assert!(
        post(json!({"name": "N", "description": long}))
            .await
            .refused(400, "invalid")
            .contains("`description`")
    );
    let taken = house.operator().patch("/api/v1/groups/south", json!({"name": "North"})).await;
    taken.refused(409, "exists_already");
    house.operator().patch("/api/v1/groups/none", json!({"name": "N"})).await.refused(404, "not_found");
    house.viewer().get("/api/v1/groups/none").await.refused(404, "not_found");
    house.viewer().post("/api/v1/groups", json!({"name": "N"})).await.refused(403, "role_too_low");
}

#[tokio::test]
async fn groups_are_listed_page_by_page_and_by_name() {
    let house = House::open().await;
    for id in ["a", "b", "c", "d", "e"] {
        group(house.operator(), id, &format!("Hall {}", id.to_uppercase())).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/api/v1/groups?limit=2".to_owned());
    loop {
        let page = house.viewer().get(&path).await.ok(200);
        seen.extend(ids(&page, "group_id"));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/groups?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    let named = house.viewer().get("/api/v1/groups?name=hall%20c").await.ok(200);
    assert_eq!(ids(&named, "group_id"), ["c"]);
    house.viewer().get("/api/v1/groups?nmae=x").await.refused(400, "invalid_parameter");
}

#[tokio::test]
async fn devices_join_and_leave_and_unknown_ones_do_not_disturb_the_others() {
    let house = House::open().await;
    house.furnish().await;
    house.operator().device("lamp", "2").await;
    group(house.operator(), "north", "North").await;
    let add = async |devices: Value| {
        house.operator().post("/api/v1/groups/north/devices/add", json!({"device_ids": devices})).await
    };
    let moved = add(json!(["lamp_1", "ghost", "lamp_2", "no/id", "lamp_1"])).await.ok(200);
    assert_eq!(moved, json!({"changed": 2, "unchanged": 0, "unknown": ["ghost", "no/id"]}));
    assert_eq!(add(json!(["lamp_2"])).await.ok(200), json!({"changed": 0, "unchanged": 1, "unknown": []}));
    assert_eq!(house.viewer().get("/api/v1/groups/north").await.ok(200)["members"], 2);
    let members = house.viewer().get("/api/v1/devices?group_id=north").await.ok(200);
    assert_eq!(ids(&members, "device_id"), ["lamp_1", "lamp_2"]);
    let shown = house.viewer().get("/api/v1/devices/lamp_1").await.ok(200);
    assert_eq!(shown["group_ids"], json!(["north"]));
    let none = house.viewer().get("/api/v1/devices?group_id=none").await.ok(200);
    assert_eq!(ids(&none, "device_id"), Vec::<String>::new());
    let leave = json!({"device_ids": ["lamp_1", "ghost"]});
    let moved = house.operator().post("/api/v1/groups/north/devices/remove", leave.clone()).await.ok(200);
    assert_eq!(moved, json!({"changed": 1, "unchanged": 0, "unknown": ["ghost"]}));
    let members = house.viewer().get("/api/v1/devices?group_id=north").await.ok(200);
    assert_eq!(ids(&members, "device_id"), ["lamp_2"]);
    house.operator().post("/api/v1/groups/none/devices/remove", leave).await.refused(404, "not_found");
    assert!(add(json!([])).await.refused(400, "invalid").contains("`device_ids`"));
    let many: Vec<String> = (0..30_001).map(|n| format!("d{n}")).collect();
    assert!(add(json!(many)).await.refused(400, "too_many_devices").contains("30001"));
}

#[tokio::test]
async fn a_group_is_deleted_and_its_devices_stay() {
    let house = House::open().await;
    house.furnish().await;
    group(house.operator(), "north", "North").await;
    let members = json!({"device_ids": ["lamp_1"]});
    house.operator().post("/api/v1/groups/north/devices/add", members).await.ok(200);
    house.operator().delete("/api/v1/groups/north").await.ok(204);
    house.operator().delete("/api/v1/groups/north").await.refused(404, "not_found");
    let shown = house.viewer().get("/api/v1/devices/lamp_1").await.ok(200);
    assert_eq!(shown["group_ids"], json!([]));
    assert_eq!(house.viewer().get("/api/v1/groups").await.ok(200)["items"], json!([]));
}

#[tokio::test]
async fn a_campaign_is_for_the_devices_of_its_groups() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    house.operator().device("lamp", "2").await;
    for (group_id, devices) in
        [("north", json!(["lamp_1", "lamp_2"])), ("south", json!(["lamp_2"])), ("nobody", json!([]))]
    {
        group(house.operator(), group_id, group_id).await;
        if devices != json!([]) {
            let path = format!("/api/v1/groups/{group_id}/devices/add");
            house.operator().post(&path, json!({"device_ids": devices})).await.ok(200);
        }
    }
    let campaign = |groups: Value| json!({"name": "c", "package_ids": [lamp.package_id], "devices": {"group_ids": groups}, "start": true});
    let made = house
        .operator()
        .post("/api/v1/campaigns", campaign(json!(["south", "north", "south"])))
        .await
        .ok(201);
    let id = text(&made["campaign_id"]);
    campaign_when(house.viewer(), &id, |shown| shown["state"] == "running").await;
    let deployments = house.viewer().get(&format!("/api/v1/campaigns/{id}/deployments")).await.ok(200);
    assert_eq!(ids(&deployments, "device_id"), ["lamp_1", "lamp_2"]);
    let made = house.operator().post("/api/v1/campaigns", campaign(json!(["nobody"]))).await.ok(201);
    let ended =
        campaign_when(house.viewer(), &text(&made["campaign_id"]), |shown| shown["state"] == "finished")
            .await;
    assert_eq!(ended["counts"]["total"], 0);
    let refused = async |groups: Value, code: &str| {
        house.operator().post("/api/v1/campaigns", campaign(groups)).await.refused(400, code)
    };
    assert!(refused(json!(["none"]), "unknown_group").await.contains("none"));
    assert!(refused(json!([]), "invalid").await.contains("`devices.group_ids`"));
    let eleven: Vec<String> = (0..11).map(|n| format!("g{n}")).collect();
    assert!(refused(json!(eleven), "invalid").await.contains("11"));
}

async fn group(caller: Caller<'_>, group_id: &str, name: &str) -> Value {
    caller.post("/api/v1/groups", json!({"group_id": group_id, "name": name})).await.ok(201)
}

fn ids(page: &Value, member: &str) -> Vec<String> {
    page["items"].as_array().expect("a page has items").iter().map(|item| text(&item[member])).collect()
}
