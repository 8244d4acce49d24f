//! How far a download is, seen from the server, and a success without one.

use axum::body::Body;
use axum::http::Method;
use otaru_api::Limits;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::download::Told;
use crate::house::{House, IMAGE, eventually, take_moment};
use crate::sockets::{Open, ask, read_once, read_to_end};

#[tokio::test]
async fn what_was_served_shows_at_the_deployment_and_in_its_explanation() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    let mut stream = open.plain().await;
    let head = told.request("Connection: close\r\n").replacen("GET", "HEAD", 1);
    stream.write_all(head.as_bytes()).await.unwrap();
    read_to_end(&mut stream).await;
    assert_eq!(told.shown().await["download"], Value::Null, "a head is no download");

    let mut stream = open.plain().await;
    ask(&mut stream, &told.request("Range: bytes=0-9\r\n")).await;
    ask(&mut stream, &told.request("Range: bytes=5-9\r\n")).await;
    let mut part = quiet(&told).await;
    take_moment(&mut part, "last_at");
    assert_eq!(part, json!({"bytes": 10, "size_bytes": 36, "percent": 27, "in_flight": false}));
    let explained = told.house.viewer().get("/api/v1/devices/lamp_1/explain").await.ok(200);
    assert_eq!(explained["deployments"][0]["download"]["bytes"], 10);

    ask(&mut stream, &told.request("")).await;
    let whole = quiet(&told).await;
    assert_eq!((&whole["bytes"], &whole["percent"]), (&json!(36), &json!(100)), "repeated bytes count once");
}

#[tokio::test]
async fn bytes_that_the_device_did_not_take_do_not_count() {
    const SIZE: usize = 48 * 1024 * 1024; // more than the buffers of both sockets hold
    let house = House::open().await;
    let lamp = house.furnish().await.device;
    let large = house.operator().package("lamp", "v3", vec![7; SIZE].leak()).await;
    let told = Told::of(house, &lamp, large).await;
    let open = Open::start(&told.house, Limits::default()).await;
    let mut stream = open.plain().await;
    stream.write_all(told.request("").as_bytes()).await.unwrap();
    let taken = read_once(&mut stream).await.len();
    assert_eq!(told.shown().await["download"]["in_flight"], true);
    drop(stream);
    let shown = quiet(&told).await;
    let bytes = shown["bytes"].as_u64().unwrap();
    assert!(bytes + 4_095 > taken as u64 && bytes < SIZE as u64, "{shown}");
    assert!(shown["percent"].as_u64().unwrap() < 100, "{shown}");
}

/// Protocol quirk 28; in capture, Go saves the body of the 401 as its package and says that all is well.
#[tokio::test]
async fn a_success_after_a_saved_error_page_is_installed_with_a_warning() {
    let mut told = Told::open().await;
    let path = told.notice.path.clone();
    let refused = told.house.stranger().send(Method::GET, &path, &[], Body::empty()).await;
    refused.refused(401, "download_token_missing");
    told.gadget.runs("v2").await;
    let shown = told.shown().await;
    assert_eq!((&shown["outcome"], &shown["unfetched_success"]), (&json!("installed"), &json!(true)));
    let explained = told.house.viewer().get("/api/v1/devices/lamp_1/explain").await.ok(200);
    assert_eq!(explained["deployments"][0]["unfetched_success"], true);
    assert!(
        explained["sentences"].to_string().contains("a success without a complete download"),
        "{explained}"
    );
}

#[tokio::test]
async fn a_success_after_a_complete_download_is_installed_without_one() {
    let mut told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    assert_eq!(ask(&mut open.plain().await, &told.request("")).await.body, IMAGE);
    told.gadget.runs("v2").await;
    let shown = told.shown().await;
    assert_eq!((&shown["outcome"], &shown["unfetched_success"]), (&json!("installed"), &json!(false)));
    let fetched = json!({"bytes": 36, "size_bytes": 36, "percent": 100, "in_flight": false, "last_at": null});
    assert_eq!(shown["download"], fetched);
}

/// The download once no request for it is being answered any more.
async fn quiet(told: &Told) -> Value {
    eventually(async || {
        let download = told.shown().await["download"].take();
        (download["in_flight"] == false).then_some(download)
    })
    .await
}

impl Told {
    /// The deployment as the list has it.
    async fn shown(&self) -> Value {
        let path = format!("/api/v1/campaigns/{}/deployments", self.campaign_id);
        self.house.viewer().get(&path).await.ok(200)["items"][0].take()
    }
}
