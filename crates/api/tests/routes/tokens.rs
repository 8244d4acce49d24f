use serde_json::json;

use crate::house::{House, take_id, take_moment, text};

#[tokio::test]
async fn a_token_is_shown_once_and_works() {
    let house = House::open().await;
    let mut made =
        house.admin().post("/api/v1/tokens", json!({"name": "ci", "role": "viewer"})).await.ok(201);
    let token = text(&made["token"]);
    house.with_token(&token).get("/api/v1/products").await.ok(200);
    let listed = house.admin().get("/api/v1/tokens").await.ok(200);
    let ours =
        listed["items"].as_array().unwrap().iter().find(|t| t["token_id"] == made["token_id"]).unwrap();
    assert_eq!(ours.get("token"), None, "never again");
    assert!(!listed.to_string().contains(&token));
    take_moment(&mut made, "created_at");
    take_id(&mut made, "token_id");
    assert_eq!(made, json!({"name": "ci", "role": "viewer", "token": token}));
}

#[tokio::test]
async fn a_revoked_token_is_unknown_from_then_on() {
    let house = House::open().await;
    let made = house.admin().post("/api/v1/tokens", json!({"name": "ci", "role": "operator"})).await.ok(201);
    let path = format!("/api/v1/tokens/{}", text(&made["token_id"]));
    house.admin().delete(&path).await.ok(204);
    house.with_token(&text(&made["token"])).get("/api/v1/products").await.refused(401, "unauthorized");
    house.admin().delete(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn only_admins_see_or_make_tokens() {
    let house = House::open().await;
    for caller in [house.viewer(), house.operator()] {
        let made = caller.post("/api/v1/tokens", json!({"name": "ci", "role": "viewer"})).await;
        assert!(made.refused(403, "role_too_low").contains("`admin`"));
        caller.get("/api/v1/tokens").await.refused(403, "role_too_low");
        caller.delete("/api/v1/tokens/x").await.refused(403, "role_too_low");
    }
}

#[tokio::test]
async fn an_unknown_role_is_refused_with_the_known_ones() {
    let house = House::open().await;
    let refused = house.admin().post("/api/v1/tokens", json!({"name": "ci", "role": "king"})).await;
    let message = refused.refused(400, "invalid_member");
    for word in ["`role`", "`king`", "`viewer`", "`admin`"] {
        assert!(message.contains(word), "{message}");
    }
}

#[tokio::test]
async fn a_token_needs_a_name() {
    let house = House::open().await;
    let refused = house.admin().post("/api/v1/tokens", json!({"name": " ", "role": "viewer"})).await;
    assert!(refused.refused(400, "invalid").contains("`name`"));
}
