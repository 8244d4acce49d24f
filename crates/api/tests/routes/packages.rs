use serde_json::{Value, json};

use crate::house::{House, IMAGE, IMAGE_SHA256, take_id, take_moment, text};

#[tokio::test]
async fn a_package_is_made_and_read_back() {
    let house = House::open().await;
    let mut made = house.operator().post("/api/v1/packages", lamp_package(&house).await).await.ok(201);
    let path = format!("/api/v1/packages/{}", text(&made["package_id"]));
    assert_eq!(house.viewer().get(&path).await.ok(200), made);
    assert_eq!(house.viewer().get("/api/v1/packages").await.ok(200)["items"], json!([made]));
    take_moment(&mut made, "created_at");
    take_id(&mut made, "package_id");
    assert_eq!(
        made,
        json!({
            "product_id": "lamp", "kind": "firmware", "version": "v2", "artifact_id": IMAGE_SHA256,
            "size_bytes": 36, "file_name": "lamp.bin", "source_versions": [], "custom_info": null,
            "delivery": "token", "state": "ready", "problem": null,
        })
    );
}

#[tokio::test]
async fn everything_that_can_be_said_is_kept() {
    let house = House::open().await;
    let said = json!({
        "kind": "software", "source_versions": ["v0", "v1"], "custom_info": "{\"a\":1}", "delivery": "signed_url",
    });
    let made =
        house.operator().post("/api/v1/packages", changed(&lamp_package(&house).await, &said)).await.ok(201);
    for (member, value) in said.as_object().unwrap() {
        assert_eq!(made[member], *value, "{member}");
    }
}

#[tokio::test]
async fn what_cannot_be_a_package_is_refused() {
    let house = House::open().await;
    let package = lamp_package(&house).await;
    for (change, code, named) in [
        (json!({"kind": "hardware"}), "invalid_member", "`hardware`"),
        (json!({"delivery": "pigeon"}), "invalid_member", "`pigeon`"),
        (json!({"colour": "red"}), "invalid_member", "`colour`"),
        (json!({"version": ""}), "invalid_version", "`version`"),
        (json!({"source_versions": ["v1", ""]}), "invalid_version", "`source_versions`"),
        (json!({"file_name": ""}), "invalid_file_name", "`file_name`"),
        (json!({"file_name": "../../etc/passwd"}), "invalid_file_name", "`file_name`"),
        (json!({"file_name": "two words.bin"}), "invalid_file_name", "two words.bin"),
        (json!({"custom_info": "x".repeat(4097)}), "invalid", "`custom_info`"),
        (json!({"product_id": "nobody"}), "unknown_product", "nobody"),
        (json!({"artifact_id": "0".repeat(64)}), "unknown_artifact", "artifact"),
        (json!({"artifact_id": "nonsense"}), "unknown_artifact", "nonsense"),
    ] {
        let refused = house.operator().post("/api/v1/packages", changed(&package, &change)).await;
        let message = refused.refused(400, code);
        assert!(message.contains(named), "{change} gave {message}");
    }
    assert_eq!(house.viewer().get("/api/v1/packages").await.ok(200)["items"], json!([]));
}

#[tokio::test]
async fn one_version_of_a_product_and_kind_exists_once() {
    let house = House::open().await;
    let package = lamp_package(&house).await;
    house.operator().post("/api/v1/packages", package.clone()).await.ok(201);
    house.operator().post("/api/v1/packages", package.clone()).await.refused(409, "exists_already");
    house.operator().post("/api/v1/packages", changed(&package, &json!({"kind": "software"}))).await.ok(201);
}

#[tokio::test]
async fn one_that_a_campaign_needs_cannot_be_deleted() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let path = format!("/api/v1/packages/{}", lamp.package_id);
    let campaign_id = house.operator().campaign(&lamp.package_id, &["lamp_1"]).await;
    let message = house.operator().delete(&path).await.refused(409, "in_use");
    assert!(message.contains(&campaign_id), "{message}");
}

#[tokio::test]
async fn one_that_nobody_needs_can_be_deleted() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let path = format!("/api/v1/packages/{}", lamp.package_id);
    house.operator().delete(&path).await.ok(204);
    house.viewer().get(&path).await.refused(404, "not_found");
    house.operator().delete(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn they_are_listed_by_product() {
    let house = House::open().await;
    house.furnish().await;
    house.operator().product("door").await;
    house.operator().package("door", "v7", IMAGE).await;
    let versions = async |query: &str| {
        let page = house.viewer().get(&format!("/api/v1/packages{query}")).await.ok(200);
        page["items"].as_array().unwrap().iter().map(|p| text(&p["version"])).collect::<Vec<_>>()
    };
    assert_eq!(versions("").await, ["v2", "v7"]);
    assert_eq!(versions("?product_id=door").await, ["v7"]);
    assert_eq!(versions("?product_id=nobody").await, [""; 0]);
}

/// Firmware `v2` of the product `lamp`, whose bytes are kept.
async fn lamp_package(house: &House) -> Value {
    house.operator().product("lamp").await;
    let artifact_id = house.operator().artifact(IMAGE).await;
    json!({
        "product_id": "lamp", "kind": "firmware", "version": "v2",
        "artifact_id": artifact_id, "file_name": "lamp.bin",
    })
}

fn changed(package: &Value, change: &Value) -> Value {
    let mut package = package.clone();
    package.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    package
}
