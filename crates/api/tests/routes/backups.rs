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
