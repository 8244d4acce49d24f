use serde_json::json;

use crate::house::House;

#[tokio::test]
async fn only_admins_make_backups() {
    let house = House::open().await;
    for caller in [house.viewer(), house.operator()] {
        let made = caller.post("/api/v1/backups", json!({"directory": "/nowhere"})).await;
        assert!(made.refused(403, "role_too_low").contains("`admin`"));
    }
}

#[tokio::test]
async fn a_backup_is_asked_for_by_its_directory_and_a_store_in_memory_has_none() {
    let house = House::open().await;
    house.admin().post("/api/v1/backups", json!({})).await.refused(400, "invalid_member");
    let refused = house.admin().post("/api/v1/backups", json!({"directory": "/nowhere"})).await;
    assert!(refused.refused(503, "backup_failed").contains("a store in memory"));
}

#[tokio::test]
async fn a_directory_with_control_characters_is_refused_before_anything_is_noted() {
    let house = House::open().await;
    for directory in ["/tmp/b\u{0}", "/tmp/b\nc", "/tmp/\u{1b}[2J"] {
        let refused = house.admin().post("/api/v1/backups", json!({"directory": directory})).await;
        let message = refused.refused(400, "invalid");
        assert!(!message.contains(char::is_control) && message.contains("control characters"), "{message}");
    }
}
