//! What devices say over HTTP, and what they are answered.

use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use otaru_engine::Settings;
use otaru_proto::{Stamp, device_password};
use serde_json::{Value, json};

use crate::house::{Answer, Gadget, House, Registered, text};

#[tokio::test]
async fn a_device_gets_a_token_and_reports_with_it() {
    let house = House::open().await;
    let lamp = house.furnish().await.device;
    let answer = authenticate(&house, &lamp, "2026112300").await;
    let granted = answer.ok(200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(granted["expires_in"], 86_399);
    assert_eq!(granted.as_object().unwrap().len(), 2);
    let token = text(&granted["access_token"]);
    assert!((32..=256).contains(&token.len()), "{token}");

    let visitor = Visitor { house: &house, device_id: lamp.device_id.clone(), token };
    let answer = visitor.says("events/up", &version_report("v1")).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let shown = house.viewer().get(&format!("/api/v1/devices/{}", lamp.device_id)).await.ok(200);
    assert_eq!((&shown["firmware_version"], &shown["online"]), (&json!("v1"), &json!(false)));
}

#[tokio::test]
async fn every_published_call_is_answered_with_an_empty_200() {
    let house = House::open().await;
    let visitor = Visitor::of(&house).await;
    let properties = json!({"services": [{"service_id": "Battery", "properties": {"level": 80}}]});
    let children = json!({"devices": [{"device_id": "lamp_2", "services": []}]});
    for (call, body) in [
        ("messages/up", "anything at all, \u{e9}".to_owned()),
        ("messages/up", String::new()),
        ("properties/report", properties.to_string()),
        ("gateway/sub-devices/properties/report", children.to_string()),
        ("events/up", json!({"services": []}).to_string()),
    ] {
        let answer = visitor.says(call, &body).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{call} {body}: {answer:?}");
    }
}

#[tokio::test]
async fn a_clients_fixed_timestamp_is_good_with_sign_type_0() {
    let house = House::with(checking_hours()).await;
    let lamp = house.furnish().await.device;
    authenticate(&house, &lamp, "2019120219").await.ok(200);
    let body = credentials(&lamp, 1, "2019120219");
    let message = ask(&house, body.to_string()).await.published(401, "IOTDA.000002");
    assert!(message.starts_with("Authentication failed. `timestamp` 2019120219 is outside"), "{message}");
}

#[tokio::test]
async fn a_client_that_asks_for_a_new_token_on_403_gets_on() {
    let house = House::open().await;
    let lamp = house.furnish().await.device;
    let mut visitor = Visitor { house: &house, device_id: lamp.device_id.clone(), token: "gone".into() };
    let message = visitor.says("events/up", &version_report("v1")).await.published(403, "IOTDA.000004");
    assert!(message.starts_with("Invalid access token."), "{message}");
    visitor.token = text(&authenticate(&house, &lamp, "2019120219").await.ok(200)["access_token"]);
    visitor.says("events/up", &version_report("v1")).await.ok(200);
}

#[tokio::test]
async fn what_a_device_says_beside_upgrades_is_shown() {
    let house = House::open().await;
    let visitor = Visitor::of(&house).await;
    let log = r#"{"services":[
        {"service_id":"$log","event_type":"log_report","paras":{"timestamp":"17","type":"DEVICE_STATUS","content":"one"}},
        {"service_id":"$log","event_type":"log_report","paras":{"content":"two"}},
        {"service_id":"$sdk_info","event_type":"sdk_info_report","paras":{"device_sdk_version":"C_v1.2.0"}}]}"#;
    visitor.says("events/up", log).await.ok(200);
    let properties = r#"{"services":[{"service_id":"Battery","properties":{"level":80},"event_time":"2026-11-25T00:00:00.000Z"}]}"#;
    visitor.says("properties/report", properties).await.ok(200);
    let path = format!("/api/v1/devices/{}", visitor.device_id);
    assert_eq!(house.viewer().get(&path).await.ok(200)["sdk_version"], "C_v1.2.0");
    let shown = house.viewer().get(&format!("{path}/properties")).await.ok(200);
    let battery = &shown["items"][0];
    assert_eq!((&battery["service_id"], &battery["properties"]), (&json!("Battery"), &json!({"level": 80})));
    let newest = house.viewer().get(&format!("{path}/log?limit=1")).await.ok(200);
    assert_eq!(newest["items"][0]["content"], "two");
    let cursor = text(&newest["next_cursor"]);
    let before = house.viewer().get(&format!("{path}/log?cursor={cursor}")).await.ok(200);
    assert_eq!(before["items"][0]["content"], "one");
    assert_eq!(before["items"][0]["type"], "DEVICE_STATUS");
}

#[tokio::test]
async fn a_token_is_good_for_its_own_device_only_and_may_come_as_a_bearer() {
    let house = House::open().await;
    let visitor = Visitor::of(&house).await;
    let other = house.operator().device("lamp", "2").await;
    let path = format!("/v5/devices/{}/sys/messages/up", other.device_id);
    visitor.ask(&path, &[("access_token", &visitor.token)], "").await.published(403, "IOTDA.000004");

    let own = visitor.path("messages/up");
    visitor.ask(&own, &[], "").await.published(403, "IOTDA.000004");
    visitor.ask("/v5/devices/no%20id/sys/messages/up", &[], "").await.published(403, "IOTDA.000004");
    let bearer = format!("Bearer {}", visitor.token);
    visitor.ask(&own, &[("authorization", &bearer)], "").await.ok(200);
    let api_token = house.operator().send(Method::POST, &own, &[], Body::empty()).await;
    api_token.published(403, "IOTDA.000004");
}

#[tokio::test]
async fn credentials_that_are_not_right_are_401() {
    let house = House::open().await;
    let lamp = house.furnish().await.device;
    let wrong = Registered { device_id: lamp.device_id.clone(), secret: "another".into() };
    let message = authenticate(&house, &wrong, "2026112300").await.published(401, "IOTDA.000002");
    assert!(message.starts_with("Authentication failed. device id or password is wrong;"), "{message}");
    let nobody = Registered { device_id: "lamp_9".into(), secret: "x".into() };
    let same = authenticate(&house, &nobody, "2026112300").await.published(401, "IOTDA.000002");
    assert_eq!(same, message, "who guesses does not learn which devices exist");
    let shown = house.viewer().get("/api/v1/refused-connections").await.ok(200);
    assert!(shown.to_string().contains("lamp_9"), "{shown}");

    let path = format!("/api/v1/devices/{}", lamp.device_id);
    house.operator().patch(&path, json!({"frozen": true})).await.ok(200);
    let message = authenticate(&house, &lamp, "2026112300").await.published(401, "IOTDA.000002");
    assert_eq!(
        message,
        "Authentication failed. the device is frozen and is not let in until an operator unfreezes it"
    );
}

#[tokio::test]
async fn what_cannot_be_credentials_is_400_and_names_the_member() {
    let house = House::open().await;
    let lamp = house.furnish().await.device;
    let good = credentials(&lamp, 0, "2026112300");
    for (member, value) in [
        ("device_id", json!("a b")),
        ("device_id", json!(null)),
        ("sign_type", json!(2)),
        ("sign_type", json!(-1)),
        ("sign_type", json!("0")),
        ("timestamp", json!("2026")),
        ("timestamp", json!(2026112300)),
        ("password", json!(["x"])),
    ] {
        let mut body = good.clone();
        body[member] = value;
        let message = ask(&house, body.to_string()).await.published(400, "IOTDA.000006");
        assert!(message.starts_with(&format!("Invalid input data. `{member}`: ")), "{message}");
    }
    for body in ["", "[]", "{", "null", "\u{0}", &"[".repeat(100_000)] {
        ask(&house, body.to_owned()).await.published(400, "IOTDA.000006");
    }
}

#[tokio::test]
async fn what_cannot_be_a_report_is_400_and_says_why() {
    let house = House::open().await;
    let visitor = Visitor::of(&house).await;
    let children = |n: usize| json!({"devices": vec![json!({}); n]}).to_string();
    visitor.says("gateway/sub-devices/properties/report", &children(50)).await.ok(200);
    for (call, body, begins) in [
        ("properties/report", "no json".to_owned(), "the body is not well-formed JSON"),
        ("properties/report", "{}".into(), "the body: missing field `services`"),
        ("properties/report", r#"{"services":5}"#.into(), "`services`: invalid type"),
        ("gateway/sub-devices/properties/report", children(51), "`devices` has 51 entries; at most 50"),
        ("events/up", "[]".into(), ""),
        ("events/up", "".into(), ""),
        ("messages/up", "x".repeat(1024 * 1024 + 1), "the body is larger than 1048576 bytes"),
    ] {
        let message = visitor.says(call, &body).await.published(400, "IOTDA.000006");
        assert!(message.starts_with(&format!("Invalid input data. {begins}")), "{call}: {message}");
    }
    let shown = house.viewer().get(&format!("/api/v1/devices/{}/reports", visitor.device_id)).await.ok(200);
    assert_eq!(shown["items"].as_array().unwrap().len(), 2, "what came as events is shown: {shown}");
}

#[tokio::test]
async fn a_device_that_is_too_fast_is_told_so_and_others_are_not() {
    let house = House::with(Settings { http_rate: (1, 3), ..quick() }).await;
    let visitor = Visitor::of(&house).await;
    let mut passed = 0;
    let refusal = loop {
        let answer = visitor.says("messages/up", "").await;
        if answer.status != 200 {
            break answer;
        }
        passed += 1;
        assert!(passed < 1000, "nobody was held up");
    };
    let message = refusal.published(403, "IOTDA.021101");
    assert!(message.starts_with("Request reached the maximum rate limit."), "{message}");
    let other = house.operator().device("lamp", "2").await;
    authenticate(&house, &other, "2026112300").await.ok(200);
}

#[tokio::test]
async fn a_store_that_is_out_is_503_in_the_published_shape() {
    let house = House::with(Settings { outage_patience: Duration::from_millis(50), ..quick() }).await;
    let visitor = Visitor::of(&house).await;
    house.faults.fail_until_healed();
    let answer = visitor.says("events/up", &version_report("v1")).await;
    answer.published(503, "IOTDA.000001");
    assert_eq!(answer.header("retry-after"), "5");
    house.faults.heal();
    visitor.says("events/up", &version_report("v1")).await.ok(200);
}

#[tokio::test]
async fn the_metrics_know_the_paths_as_templates() {
    let counted = crate::metrics::Counted::begin();
    let house = House::open().await;
    let visitor = Visitor::of(&house).await;
    visitor.says("messages/up", "").await.ok(200);
    let shown = counted.render();
    assert!(shown.contains(r#"route="/v5/devices/{device_id}/sys/messages/up""#), "{shown}");
    assert!(!shown.contains(&visitor.device_id), "{shown}");
}

#[tokio::test]
async fn an_upgrade_that_began_over_mqtt_may_end_over_http() {
    let house = House::open().await;
    let furniture = house.furnish().await;
    let lamp = &furniture.device;
    let campaign_id = house.operator().campaign(&furniture.package_id, &[&lamp.device_id]).await;
    let mut gadget = Gadget::connect(&house, lamp).await;
    gadget.told_when_running("v1").await;
    drop(gadget);
    let visitor = Visitor::with(&house, lamp).await;
    let progress = json!({"services": [{
        "service_id": "$ota", "event_type": "upgrade_progress_report",
        "paras": {"result_code": 0, "progress": 60, "version": "v1"},
    }]});
    let path = format!("/api/v1/campaigns/{campaign_id}/deployments");
    visitor.says("events/up", &progress.to_string()).await.ok(200);
    assert_eq!(house.viewer().get(&path).await.ok(200)["items"][0]["progress"], 60);
    visitor.says("events/up", &version_report("v2")).await.ok(200);
    assert_eq!(house.viewer().get(&path).await.ok(200)["items"][0]["outcome"], "installed");
}

/// A device with a token.
pub struct Visitor<'a> {
    house: &'a House,
    pub device_id: String,
    pub token: String,
}

impl<'a> Visitor<'a> {
    /// The device of [`House::furnish`].
    pub async fn of(house: &'a House) -> Visitor<'a> {
        let lamp = house.furnish().await.device;
        Visitor::with(house, &lamp).await
    }

    async fn with(house: &'a House, registered: &Registered) -> Visitor<'a> {
        let granted = authenticate(house, registered, "2026112300").await.ok(200);
        let token = text(&granted["access_token"]);
        Visitor { house, device_id: registered.device_id.clone(), token }
    }

    fn path(&self, call: &str) -> String {
        format!("/v5/devices/{}/sys/{call}", self.device_id)
    }

    async fn says(&self, call: &str, body: &str) -> Answer {
        self.ask(&self.path(call), &[("access_token", &self.token)], body).await
    }

    async fn ask(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.house.stranger().send(Method::POST, path, headers, Body::from(body.to_owned())).await
    }
}

pub fn version_report(version: &str) -> String {
    let event =
        json!({"service_id": "$ota", "event_type": "version_report", "paras": {"fw_version": version}});
    json!({"services": [event]}).to_string()
}

pub fn credentials(registered: &Registered, sign_type: u8, timestamp: &str) -> Value {
    let password = device_password(registered.secret.as_bytes(), &Stamp::parse(timestamp).unwrap());
    json!({
        "device_id": registered.device_id, "sign_type": sign_type,
        "timestamp": timestamp, "password": password,
    })
}

async fn authenticate(house: &House, registered: &Registered, timestamp: &str) -> Answer {
    ask(house, credentials(registered, 0, timestamp).to_string()).await
}

async fn ask(house: &House, body: String) -> Answer {
    let json = [("content-type", "application/json")];
    house.stranger().send(Method::POST, "/v5/device-auth", &json, Body::from(body)).await
}

fn quick() -> Settings {
    Settings { settle: Duration::from_millis(1), ..Settings::default() }
}

fn checking_hours() -> Settings {
    Settings { sign_window: Some(otaru_proto::SignWindow::default()), ..quick() }
}

impl Answer {
    /// The message of a refusal in the published shape, which must have this status and code.
    #[track_caller]
    fn published(&self, status: u16, code: &str) -> String {
        let body = self.ok(status);
        assert_eq!(body["error_code"], code, "{body}");
        assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
        assert_eq!(self.header("content-type"), "application/json");
        text(&body["error_msg"])
    }
}
