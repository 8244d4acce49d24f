use serde_json::json;

use crate::house::{House, take_id, take_moment};

#[tokio::test]
async fn a_product_is_made_and_read_back() {
    let house = House::open().await;
    let mut made = house
        .operator()
        .post("/api/v1/products", json!({"product_id": "lamp", "name": "Lamp"}))
        .await
        .ok(201);
    assert_eq!(house.viewer().get("/api/v1/products/lamp").await.ok(200), made);
    take_moment(&mut made, "created_at");
    assert_eq!(made, json!({"product_id": "lamp", "name": "Lamp"}));
}

#[tokio::test]
async fn without_an_id_it_gets_one() {
    let house = House::open().await;
    let mut made = house.operator().post("/api/v1/products", json!({"name": "Lamp"})).await.ok(201);
    take_id(&mut made, "product_id");
}

#[tokio::test]
async fn an_id_that_is_taken_is_a_conflict() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let again =
        house.operator().post("/api/v1/products", json!({"product_id": "lamp", "name": "Other"})).await;
    assert!(again.refused(409, "exists_already").contains("lamp"));
}

#[tokio::test]
async fn an_id_that_cannot_stand_in_a_device_id_is_refused() {
    let house = House::open().await;
    for bad in ["", "with blank", "sl/ash", &"x".repeat(300)] {
        let refused =
            house.operator().post("/api/v1/products", json!({"product_id": bad, "name": "n"})).await;
        assert!(refused.refused(400, "invalid_id").contains("`product_id`"), "{bad:?}");
    }
}

#[tokio::test]
async fn an_unknown_one_is_not_found() {
    let house = House::open().await;
    let refused = house.viewer().get("/api/v1/products/lamp").await;
    assert_eq!(refused.refused(404, "not_found"), "there is no product lamp");
}

#[tokio::test]
async fn they_are_listed_page_by_page_without_gaps() {
    let house = House::open().await;
    for id in ["a", "b", "c", "d", "e"] {
        house.operator().product(id).await;
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/products?limit=2".to_owned();
    loop {
        let page = house.viewer().get(&path).await.ok(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|p| p["product_id"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/products?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
}
