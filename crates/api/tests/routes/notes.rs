use serde_json::json;

use crate::house::House;

#[tokio::test]
async fn the_log_and_the_properties_of_a_device_can_be_read() {
    let house = House::open().await;
    let lamp = house.furnish().await.device;
    let path = format!("/api/v1/devices/{}", lamp.device_id);
    for what in ["log", "properties"] {
        let nothing = house.viewer().get(&format!("{path}/{what}")).await.ok(200);
        assert_eq!(nothing["items"], json!([]), "{what}");
        house.viewer().get(&format!("/api/v1/devices/nobody/{what}")).await.refused(404, "not_found");
    }
    assert_eq!(house.viewer().get(&path).await.ok(200).get("sdk_version"), None);
}
