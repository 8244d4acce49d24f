//! What a device gets, apart from the bytes on the wire (`sockets`).

use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use otaru_engine::Settings;
use serde_json::json;

use crate::house::{Answer, Furniture, Gadget, House, IMAGE, IMAGE_SHA256, Notice, Registered};

#[tokio::test]
async fn the_notice_leads_to_the_bytes() {
    let told = Told::open().await;
    assert_eq!(told.notice.sha256, IMAGE_SHA256);
    assert!(told.notice.url.starts_with("http://127.0.0.1:8080/download/"), "{}", told.notice.url);
    let answer = told.get(&[]).await;
    assert_eq!((answer.status, &answer.body[..]), (200, IMAGE));
    for (name, value) in [
        ("content-length", "36"),
        ("content-type", "application/octet-stream"),
        ("content-disposition", "attachment;filename=lamp.bin"),
        ("accept-ranges", "bytes"),
        ("etag", &format!("\"{IMAGE_SHA256}\"")),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert_eq!(answer.headers.len(), 5, "few headers: {:?}", answer.headers);
}

#[tokio::test]
async fn what_sdks_ask_for_besides_is_ignored() {
    let told = Told::open().await;
    let answer = told
        .get(&[
            ("content-type", "application/json"),
            ("accept-encoding", "gzip, deflate"),
            ("if-none-match", "*"),
        ])
        .await;
    assert_eq!((answer.status, &answer.body[..]), (200, IMAGE));
    assert!(answer.headers.get("content-encoding").is_none());
}

#[tokio::test]
async fn head_has_the_same_head_and_no_body() {
    let told = Told::open().await;
    let get = told.get(&[]).await;
    let head = told.ask(Method::HEAD, &told.notice.path, &told.authorization(), &[]).await;
    assert_eq!((head.status, head.headers, head.body.len()), (200, get.headers, 0));
}

#[tokio::test]
async fn a_range_means_nothing_to_head() {
    let told = Told::open().await;
    let head =
        told.ask(Method::HEAD, &told.notice.path, &told.authorization(), &[("range", "bytes=0-1")]).await;
    assert_eq!((head.status, head.header("content-length")), (200, "36"));
}

#[tokio::test]
async fn the_token_may_come_in_the_address() {
    let told = Told::open().await;
    let path = format!("{}?access_token={}", told.notice.path, told.notice.token);
    assert_eq!(told.ask(Method::GET, &path, "", &[]).await.body, IMAGE);
    let scheme = format!("BEARER {}", told.notice.token);
    assert_eq!(told.ask(Method::GET, &told.notice.path, &scheme, &[]).await.body, IMAGE);
}

#[tokio::test]
async fn a_single_range_is_206() {
    let told = Told::open().await;
    for (range, wanted, said) in [
        ("bytes=0-9", &IMAGE[..10], "bytes 0-9/36"),
        ("bytes=10-", &IMAGE[10..], "bytes 10-35/36"),
        ("bytes=-6", &IMAGE[30..], "bytes 30-35/36"),
        ("bytes=30-4000", &IMAGE[30..], "bytes 30-35/36"),
    ] {
        let part = told.get(&[("range", range)]).await;
        assert_eq!((part.status, &part.body[..]), (206, wanted), "{range}");
        assert_eq!(part.header("content-range"), said);
        assert_eq!(part.header("content-length"), wanted.len().to_string());
    }
}

#[tokio::test]
async fn several_ranges_are_the_whole_file() {
    let told = Told::open().await;
    let whole = told.get(&[("range", "bytes=0-1,4-5")]).await;
    assert_eq!((whole.status, &whole.body[..]), (200, IMAGE));
    assert!(whole.headers.get("content-range").is_none());
}

#[tokio::test]
async fn a_range_beyond_the_end_is_416_with_the_size() {
    let told = Told::open().await;
    for range in ["bytes=36-", "bytes=100-200"] {
        let refused = told.get(&[("range", range)]).await;
        refused.refused(416, "range_unsatisfiable");
        assert_eq!(refused.header("content-range"), "bytes */36");
    }
}

#[tokio::test]
async fn if_range_resumes_the_same_file_and_begins_another_anew() {
    let told = Told::open().await;
    let etag = format!("\"{IMAGE_SHA256}\"");
    let same = told.get(&[("range", "bytes=30-"), ("if-range", &etag)]).await;
    assert_eq!((same.status, &same.body[..]), (206, &IMAGE[30..]));
    let other = told.get(&[("range", "bytes=30-"), ("if-range", "\"another\"")]).await;
    assert_eq!((other.status, &other.body[..]), (200, IMAGE));
}

#[tokio::test]
async fn without_a_token_or_with_a_wrong_one_it_is_401() {
    let told = Told::open().await;
    let path = &told.notice.path;
    tiny(&told.ask(Method::GET, path, "", &[]).await).refused(401, "download_token_missing");
    let api_token = told.house.ask_api_token().await;
    for wrong in ["nonsense", &format!("{}0", told.notice.token), &api_token] {
        let refused = told.ask(Method::GET, path, &format!("Bearer {wrong}"), &[]).await;
        tiny(&refused).refused(401, "download_token_invalid");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn an_expired_token_is_403() {
    let settings =
        Settings { token_life: Duration::ZERO, settle: Duration::from_millis(1), ..Settings::default() };
    let told = Told::with(House::with(settings).await).await;
    tiny(&told.get(&[]).await).refused(403, "download_token_expired");
}

#[tokio::test]
async fn once_the_device_is_done_it_is_403() {
    let mut told = Told::open().await;
    assert_eq!(told.get(&[]).await.status, 200);
    told.gadget.runs("v2").await;
    tiny(&told.get(&[]).await).refused(403, "download_over");
}

#[tokio::test]
async fn an_unknown_download_is_404() {
    let told = Told::open().await;
    for id in ["nonsense", "000000000000000000000001", &"0".repeat(24)] {
        let refused =
            told.ask(Method::GET, &format!("/download/{id}/lamp.bin"), &told.authorization(), &[]).await;
        tiny(&refused).refused(404, "not_found");
    }
}

#[tokio::test]
async fn another_deployments_token_is_401() {
    let told = Told::open().await;
    let house = &told.house;
    let second = house.operator().device("lamp", "2").await;
    let mut gadget = Gadget::connect(house, &second).await;
    house.operator().campaign(&told.package_id, &["lamp_2"]).await;
    let other = gadget.told_when_running("v1").await;
    let refused = told.ask(Method::GET, &told.notice.path, &format!("Bearer {}", other.token), &[]).await;
    refused.refused(401, "download_token_invalid");
}

#[tokio::test]
async fn the_name_in_the_path_is_decoration() {
    let told = Told::open().await;
    let path = told.notice.path.replace("lamp.bin", "anything-else");
    assert_eq!(told.ask(Method::GET, &path, &told.authorization(), &[]).await.body, IMAGE);
}

#[tokio::test]
async fn nothing_is_posted_here() {
    let told = Told::open().await;
    let refused = told.ask(Method::POST, &told.notice.path, &told.authorization(), &[]).await;
    refused.refused(405, "method_not_allowed");
    assert_eq!(refused.header("allow"), "GET,HEAD");
}

/// A device that was told to fetch its package.
pub struct Told {
    pub house: House,
    pub notice: Notice,
    pub gadget: Gadget,
    package_id: String,
    pub campaign_id: String,
}

impl Told {
    pub async fn open() -> Told {
        Told::with(House::open().await).await
    }

    pub async fn with(house: House) -> Told {
        let Furniture { device, package_id } = house.furnish().await;
        Told::of(house, &device, package_id).await
    }

    /// Told to fetch this package.
    pub async fn of(house: House, device: &Registered, package_id: String) -> Told {
        let mut gadget = Gadget::connect(&house, device).await;
        let campaign_id = house.operator().campaign(&package_id, &[&device.device_id]).await;
        let notice = gadget.told_when_running("v1").await;
        Told { house, notice, gadget, package_id, campaign_id }
    }

    /// As it stands on the wire, with these further lines.
    pub fn request(&self, lines: &str) -> String {
        let Notice { path, token, .. } = &self.notice;
        format!("GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n{lines}\r\n")
    }

    fn authorization(&self) -> String {
        format!("Bearer {}", self.notice.token)
    }

    pub async fn get(&self, headers: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, &self.notice.path, &self.authorization(), headers).await
    }

    async fn ask(&self, method: Method, path: &str, authorization: &str, headers: &[(&str, &str)]) -> Answer {
        let mut all = headers.to_vec();
        if !authorization.is_empty() {
            all.push(("authorization", authorization));
        }
        self.house.stranger().send(method, path, &all, Body::empty()).await
    }
}

impl House {
    async fn ask_api_token(&self) -> String {
        let made = self.admin().post("/api/v1/tokens", json!({"name": "ci", "role": "admin"})).await.ok(201);
        crate::house::text(&made["token"])
    }
}

/// One SDK keeps the body of an error as the package.
#[track_caller]
fn tiny(answer: &Answer) -> &Answer {
    assert!(
        answer.body.len() < 200,
        "{} bytes: {}",
        answer.body.len(),
        String::from_utf8_lossy(&answer.body)
    );
    answer
}
