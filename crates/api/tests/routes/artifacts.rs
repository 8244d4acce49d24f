use axum::body::Body;
use bytes::Bytes;
use serde_json::json;

use crate::house::{House, IMAGE, IMAGE_SHA256, take_moment};

#[tokio::test]
async fn bytes_are_kept_under_their_digest_and_kept_once() {
    let house = House::open().await;
    let mut made = house.operator().upload(&[], IMAGE).await.ok(201);
    assert_eq!(house.operator().upload(&[], IMAGE).await.ok(200), made, "uploading again is harmless");
    assert_eq!(house.viewer().get(&format!("/api/v1/artifacts/{IMAGE_SHA256}")).await.ok(200), made);
    take_moment(&mut made, "created_at");
    assert_eq!(made, json!({"artifact_id": IMAGE_SHA256, "size_bytes": 36}));
}

#[tokio::test]
async fn a_declared_digest_is_checked() {
    let house = House::open().await;
    house.operator().upload(&[("x-sha256", &IMAGE_SHA256.to_uppercase())], IMAGE).await.ok(201);
}

#[tokio::test]
async fn another_digest_is_told_with_both_and_nothing_is_kept() {
    let house = House::open().await;
    let declared = "0".repeat(64);
    let refused = house.operator().upload(&[("x-sha256", &declared)], IMAGE).await;
    let message = refused.refused(400, "digest_mismatch");
    assert!(message.contains(&declared) && message.contains(IMAGE_SHA256), "{message}");
    house.viewer().get(&format!("/api/v1/artifacts/{IMAGE_SHA256}")).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_digest_that_is_none_is_refused_before_the_body_is_read() {
    let house = House::open().await;
    for bad in ["abc", &"g".repeat(64), ""] {
        let refused = house.operator().upload(&[("x-sha256", bad)], IMAGE).await;
        assert!(refused.refused(400, "invalid").contains("64 hex digits"));
    }
}

#[tokio::test]
async fn a_body_shorter_than_declared_keeps_nothing() {
    let house = House::open().await;
    let refused = house.operator().upload(&[("content-length", "50")], IMAGE).await;
    let message = refused.refused(400, "upload_incomplete");
    assert!(message.contains("36") && message.contains("50"), "{message}");
    house.viewer().get(&format!("/api/v1/artifacts/{IMAGE_SHA256}")).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_body_that_breaks_off_keeps_nothing() {
    let house = House::open().await;
    let parts = [Ok(Bytes::from_static(IMAGE)), Err(std::io::Error::other("gone"))];
    let broken = Body::from_stream(futures_util::stream::iter(parts));
    house.operator().upload(&[], broken).await.refused(400, "upload_incomplete");
    house.viewer().get(&format!("/api/v1/artifacts/{IMAGE_SHA256}")).await.refused(404, "not_found");
}

#[tokio::test]
async fn more_than_is_accepted_is_413() {
    let settings = otaru_engine::Settings { artifact_bytes_max: 35, ..Default::default() };
    let house = House::with(settings).await;
    let refused = house.operator().upload(&[], IMAGE).await;
    assert!(refused.refused(413, "too_large").contains("35"));
    let parts = IMAGE.chunks(10).map(Ok::<_, std::io::Error>);
    let undeclared = Body::from_stream(futures_util::stream::iter(parts));
    house.operator().upload(&[], undeclared).await.refused(413, "too_large");
}

#[tokio::test]
async fn an_empty_body_is_no_artifact() {
    let house = House::open().await;
    assert!(house.operator().upload(&[], "").await.refused(400, "invalid").contains("empty"));
}

#[tokio::test]
async fn many_megabytes_in_parts_arrive_whole() {
    let house = House::open().await;
    let parts = (0..64u8).map(|n| Ok::<_, std::io::Error>(vec![n; 65_536]));
    let made =
        house.operator().upload(&[], Body::from_stream(futures_util::stream::iter(parts))).await.ok(201);
    assert_eq!(made["size_bytes"], 64 * 65_536);
}

#[tokio::test]
async fn an_unknown_one_is_not_found() {
    let house = House::open().await;
    for id in [IMAGE_SHA256, "nonsense"] {
        house.viewer().get(&format!("/api/v1/artifacts/{id}")).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn an_artifact_that_no_package_has_can_be_deleted() {
    let house = House::open().await;
    let lamp = house.furnish().await;
    let path = format!("/api/v1/artifacts/{IMAGE_SHA256}");
    let refused = house.operator().delete(&path).await.refused(409, "in_use");
    assert!(refused.contains(&format!("package {}", lamp.package_id)), "{refused}");
    house.viewer().delete(&path).await.refused(403, "role_too_low");
    house.operator().delete(&format!("/api/v1/packages/{}", lamp.package_id)).await.ok(204);
    house.operator().delete(&path).await.ok(204);
    house.viewer().get(&path).await.refused(404, "not_found");
    house.operator().delete(&path).await.refused(404, "not_found");
    house.operator().upload(&[], IMAGE).await.ok(201);
}
