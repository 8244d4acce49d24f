use crate::house::{House, METRICS, eventually};
use serde_json::json;

#[tokio::test]
async fn the_process_is_alive_as_long_as_it_answers() {
    let house = House::open().await;
    assert_eq!(house.stranger().get("/healthz").await.ok(200), json!({"alive": true}));
    house.engine.stop().await;
    house.stranger().get("/healthz").await.ok(200);
}

#[tokio::test]
async fn readiness_names_its_reasons() {
    let house = House::open().await;
    assert_eq!(house.stranger().get("/readyz").await.ok(200), json!({"ready": true, "reasons": []}));
    house.engine.stop().await;
    let answer = eventually(async || {
        let answer = house.stranger().get("/readyz").await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(answer.ok(503), json!({"ready": false, "reasons": ["shutting down"]}));
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let house = House::open().await;
    let answer = house.stranger().get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(answer.body, METRICS);
}
