use serde_json::json;

use crate::client::{Stage, refused};

#[tokio::test]
async fn there_is_one_space_with_the_id_of_the_project() {
    let stage = Stage::open().await;
    let all = stage.get("/apps?default_app=true").await.ok(200);
    assert_eq!(all["applications"].as_array().unwrap().len(), 1);
    assert_eq!(all["applications"][0]["app_id"], json!(stage.project));
    assert_eq!(all["applications"][0]["default_app"], json!(true));
    assert_eq!(stage.get("/apps?default_app=false").await.ok(200)["applications"], json!([]));
    let shown = stage.get(&format!("/apps/{}", stage.project)).await.ok(200);
    assert_eq!(shown, all["applications"][0]);
    refused(&stage.get("/apps/none").await, 403, "IOTDA.001000");
}

#[tokio::test]
async fn another_space_does_not_exist_wherever_it_is_named() {
    let stage = Stage::open().await;
    stage.furnish(&[]).await;
    for path in [
        "/products?app_id=none",
        "/devices?app_id=none",
        "/device-group?app_id=none",
        "/batchtasks?task_type=firmwareUpgrade&app_id=none",
        "/ota-upgrades/packages?package_type=firmwarePackage&app_id=none",
    ] {
        refused(&stage.get(path).await, 403, "IOTDA.001000");
    }
    let mut package = stage.package_of("3");
    package["app_id"] = json!("none");
    refused(&stage.post("/ota-upgrades/packages", package).await, 403, "IOTDA.001000");
}
