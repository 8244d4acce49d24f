use serde_json::json;

use crate::house::{House, take_moment, text};

#[tokio::test]
async fn a_device_that_could_not_connect_is_listed_with_what_to_do() {
    let house = House::open().await;
    for _ in 0..2 {
        house.knock("ghost").await;
    }
    let mut listed = house.viewer().get("/api/v1/refused-connections").await.ok(200);
    let ghost = &mut listed["items"][0];
    assert!(text(&ghost["first_at"]) <= text(&ghost["last_at"]), "{ghost}");
    take_moment(ghost, "first_at");
    take_moment(ghost, "last_at");
    let message = ghost.as_object_mut().unwrap().remove("message").unwrap();
    assert!(message.as_str().unwrap().contains("POST /api/v1/devices"), "{message}");
    assert_eq!(
        listed,
        json!({"items": [{
            "name": "ghost", "client_id": "ghost_0_0_2026112300", "peer": "192.0.2.7:4711",
            "code": "unknown_device", "times": 2,
        }], "next_cursor": null})
    );
}
