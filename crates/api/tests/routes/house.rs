//! The machinery of these tests and of those in `tests/iotda`: a house with an API, callers with a role, and devices that speak.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use otaru_api::{Metrics, router};
use otaru_engine::{
    Channel, ConnectRequest, Delivery, Engine, Refusal, Role, Session, Settings, SystemClock, Uplink,
    UplinkReading,
};
use otaru_proto::{Stamp, decode_uplink, device_password};
use otaru_store::{BlobStore, Faults, Store, Vault};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::described::Described;

/// A platform in memory with its HTTP side.
pub struct House {
    pub engine: Engine,
    pub faults: Faults,
    pub router: Router,
    admin: String,
    viewer: String,
    operator: String,
}

/// The same for every house: of the native API, and of the application API.
static DESCRIBED: [OnceLock<Described>; 2] = [OnceLock::new(), OnceLock::new()];

/// What `/metrics` answers here.
pub const METRICS: &str = "# TYPE otaru_up gauge\notaru_up 1\n";

impl House {
    pub async fn open() -> House {
        House::with(Settings { settle: Duration::from_millis(1), ..Settings::default() }).await
    }

    pub async fn with(settings: Settings) -> House {
        let (store, faults) = Store::memory_with_faults();
        let clock = Arc::new(SystemClock::new());
        let engine =
            Engine::open(settings, store, BlobStore::memory(), Vault::for_tests(), clock).await.unwrap();
        let admin = engine.ensure_admin(None).await.unwrap().expect("a new store has no admin");
        let by = engine.operator(&admin).await.unwrap();
        let viewer = engine.create_token(&by, "test", Role::Viewer).await.unwrap().token;
        let operator = engine.create_token(&by, "test", Role::Operator).await.unwrap().token;
        let metrics: Metrics = Arc::new(|| METRICS.to_owned());
        let house =
            House { router: router(engine.clone(), metrics), engine, faults, admin, viewer, operator };
        for (described, path) in DESCRIBED.iter().zip(["/api/v1/openapi.json", "/v5/openapi.json"]) {
            if described.get().is_none() {
                let request = Request::builder().uri(path).body(Body::empty()).unwrap();
                let answer = house.router.clone().oneshot(request).await.unwrap();
                let document = answer.into_body().collect().await.unwrap().to_bytes();
                let _ = described.set(Described(serde_json::from_slice(&document).unwrap()));
            }
        }
        house
    }

    /// The OpenAPI document of the native API.
    #[expect(clippy::unused_self, reason = "there is one once there is a house")]
    pub fn described(&self) -> &'static Described {
        DESCRIBED[0].get().unwrap()
    }

    /// The one of the application API.
    #[expect(clippy::unused_self, reason = "there is one once there is a house")]
    pub fn described_for_applications(&self) -> &'static Described {
        DESCRIBED[1].get().unwrap()
    }

    pub fn admin(&self) -> Caller<'_> {
        Caller { house: self, token: Some(&self.admin) }
    }
    pub fn operator(&self) -> Caller<'_> {
        Caller { house: self, token: Some(&self.operator) }
    }
    pub fn viewer(&self) -> Caller<'_> {
        Caller { house: self, token: Some(&self.viewer) }
    }
    pub fn stranger(&self) -> Caller<'_> {
        Caller { house: self, token: None }
    }
    pub fn with_token<'a>(&'a self, token: &'a str) -> Caller<'a> {
        Caller { house: self, token: Some(token) }
    }

    /// Every answer is held against the OpenAPI document that its path is in.
    pub async fn ask(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let content_type = head.headers.get("content-type").map(|value| value.to_str().unwrap());
        // A stream of events has no end; its head is the answer.
        let body = match content_type {
            Some("text/event-stream") => Bytes::new(),
            Some(_) | None => body.collect().await.unwrap().to_bytes(),
        };
        let is_native = !["/v5/", "/v3/"].iter().any(|root| path.starts_with(root));
        let described = if is_native { self.described() } else { self.described_for_applications() };
        described.allows(&method, &path, head.status.as_u16(), content_type, &body);
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// A device that nobody registered tries to connect.
    pub async fn knock(&self, device_id: &str) {
        let request = ConnectRequest {
            client_id: &format!("{device_id}_0_0_2026112300"),
            username: Some(device_id),
            password: Some(b"whatever"),
            peer: "192.0.2.7:4711".parse().unwrap(),
            channel: Channel::Plain,
            protocol: "MQTT 3.1.1",
        };
        assert!(self.engine.connect(request).await.is_err());
    }

    /// Product `lamp`, its device `lamp_1`, and firmware `v2` for it.
    pub async fn furnish(&self) -> Furniture {
        let operator = self.operator();
        operator.product("lamp").await;
        let device = operator.device("lamp", "1").await;
        let package_id = operator.package("lamp", "v2", IMAGE).await;
        Furniture { device, package_id }
    }
}

/// What the package of [`House::furnish`] holds.
pub const IMAGE: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Its SHA-256.
pub const IMAGE_SHA256: &str = "74e7e5bb9d22d6db26bf76946d40fff3ea9f0346b884fd0694920fccfad15e33";

pub struct Furniture {
    pub device: Registered,
    pub package_id: String,
}

pub struct Registered {
    pub device_id: String,
    pub secret: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The JSON of an answer that must have this status.
    #[track_caller]
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).unwrap() }
    }

    /// The message of a refusal that must have this status and code. Also checks its form.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> String {
        let body = self.ok(status);
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(body["request_id"], self.header("x-request-id"));
        body["message"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers));
        value.to_str().unwrap()
    }
}

/// Somebody with a token, or without one.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    house: &'a House,
    token: Option<&'a str>,
}

impl Caller<'_> {
    pub fn token(&self) -> &str {
        self.token.expect("whoever is asked has one")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], Body::empty()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &JSON, Body::from(body.to_string())).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, &JSON, Body::from(body.to_string())).await
    }

    pub async fn upload(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.send(Method::POST, "/api/v1/artifacts", headers, body.into()).await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.house.ask(request.body(body).unwrap()).await
    }

    // What operators do, in one word each.

    pub async fn product(&self, product_id: &str) {
        self.post("/api/v1/products", json!({"product_id": product_id, "name": product_id})).await.ok(201);
    }

    pub async fn device(&self, product_id: &str, node_id: &str) -> Registered {
        let made =
            self.post("/api/v1/devices", json!({"product_id": product_id, "node_id": node_id})).await.ok(201);
        Registered { device_id: text(&made["device_id"]), secret: text(&made["secret"]) }
    }

    pub async fn artifact(&self, bytes: &'static [u8]) -> String {
        let kept = self.upload(&[], bytes).await;
        assert!(matches!(kept.status, 200 | 201), "{kept:?}");
        text(&kept.ok(kept.status)["artifact_id"])
    }

    pub async fn package(&self, product_id: &str, version: &str, bytes: &'static [u8]) -> String {
        let artifact_id = self.artifact(bytes).await;
        let package = json!({
            "product_id": product_id, "kind": "firmware", "version": version,
            "artifact_id": artifact_id, "file_name": "lamp.bin",
        });
        text(&self.post("/api/v1/packages", package).await.ok(201)["package_id"])
    }

    /// Makes and starts a campaign of this package for these devices.
    pub async fn campaign(&self, package_id: &str, device_ids: &[&str]) -> String {
        let campaign = json!({
            "name": "lights", "package_ids": [package_id], "devices": {"ids": device_ids}, "start": true,
        });
        text(&self.post("/api/v1/campaigns", campaign).await.ok(201)["campaign_id"])
    }
}

pub const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

/// A device with a session, as an SDK would have it.
pub struct Gadget {
    session: Session,
    device_id: String,
    waiting: Vec<Delivery>,
    tickets: u16,
}

/// What a notice says about the download.
#[derive(Debug)]
pub struct Notice {
    pub url: String,
    pub path: String,
    pub token: String,
    pub sha256: String,
}

impl Gadget {
    pub async fn connect(house: &House, registered: &Registered) -> Gadget {
        Gadget::try_to_connect(house, registered).await.unwrap()
    }

    pub async fn try_to_connect(house: &House, registered: &Registered) -> Result<Gadget, Refusal> {
        let device_id = registered.device_id.clone();
        let stamp = Stamp::parse("2026112300").unwrap();
        let password = device_password(registered.secret.as_bytes(), &stamp);
        let request = ConnectRequest {
            client_id: &format!("{device_id}_0_0_2026112300"),
            username: Some(&device_id),
            password: Some(password.as_bytes()),
            peer: "127.0.0.1:50000".parse().unwrap(),
            channel: Channel::Plain,
            protocol: "MQTT 3.1.1",
        };
        let session = house.engine.connect(request).await?;
        Ok(Gadget { session, device_id, waiting: Vec::new(), tickets: 0 })
    }

    /// Waits until its session is told to end.
    pub async fn is_closed(&mut self) {
        self.next(|delivery| matches!(delivery, Delivery::Close { .. }).then_some(())).await;
    }

    /// Says which firmware it runs, and waits until that is stored.
    pub async fn runs(&mut self, version: &str) {
        self.report("version_report", json!({"fw_version": version})).await;
    }

    /// Sends one event, and waits until it is stored.
    pub async fn report(&mut self, event_type: &str, paras: Value) {
        let event = json!({"service_id": "$ota", "event_type": event_type, "paras": paras});
        let payload = json!({"object_device_id": self.device_id, "services": [event]}).to_string();
        self.tickets += 1;
        let reading = UplinkReading::Event(decode_uplink(payload.as_bytes()));
        self.session.submit(vec![Uplink { ticket: Some(self.tickets), payload: payload.into(), reading }]);
        let ticket = Delivery::Acknowledge(self.tickets);
        self.next(|delivery| (*delivery == ticket).then_some(())).await;
    }

    /// Waits to be asked for its version, answers, and waits for the notice.
    pub async fn told_when_running(&mut self, version: &str) -> Notice {
        self.asked_for_version().await;
        self.runs(version).await;
        let paras = self.next(|delivery| said(delivery, "upgrade")).await;
        let url = text(&paras["url"]);
        let after_scheme = url.split_once("://").unwrap().1;
        Notice {
            path: after_scheme[after_scheme.find('/').unwrap()..].to_owned(),
            url: url.clone(),
            token: text(&paras["access_token"]),
            sha256: text(&paras["sign"]),
        }
    }

    /// Waits to be asked for its version.
    pub async fn asked_for_version(&mut self) {
        self.next(|delivery| said(delivery, "version_query")).await;
    }

    /// Waits to be asked for its versions, answers that both are `v1`, and waits for a notice of this type.
    pub async fn told_by(&mut self, event_type: &str) -> Value {
        self.asked_for_version().await;
        self.report("version_report", json!({"fw_version": "v1", "sw_version": "v1"})).await;
        self.next(|delivery| said(delivery, event_type)).await
    }

    /// The next delivery that `wanted` has an answer for; what comes before it is kept for later.
    async fn next<T>(&mut self, wanted: impl Fn(&Delivery) -> Option<T>) -> T {
        let search = async {
            loop {
                let found =
                    self.waiting.iter().enumerate().find_map(|(at, d)| wanted(d).map(|found| (at, found)));
                if let Some((at, found)) = found {
                    if let Delivery::Say { line, .. } = self.waiting.remove(at) {
                        self.session.said(line);
                    }
                    return found;
                }
                self.session.deliveries(&mut self.waiting).await;
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("the platform says what is waited for")
    }
}

/// The `paras` of a message to the device whose event type ends in `event_type`.
fn said(delivery: &Delivery, event_type: &str) -> Option<Value> {
    let Delivery::Say { payload, .. } = delivery else { return None };
    let message: Value = serde_json::from_slice(payload).unwrap();
    let event = &message["services"][0];
    event["event_type"].as_str().unwrap().ends_with(event_type).then(|| event["paras"].clone())
}

/// How long anything that takes real time is waited for before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer.
pub async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it happens in the end")
}

/// The campaign once it satisfies `wanted`.
pub async fn campaign_when(caller: Caller<'_>, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(async || {
        let campaign = caller.get(&format!("/api/v1/campaigns/{id}")).await.ok(200);
        wanted(&campaign).then_some(campaign)
    })
    .await
}

/// Takes out a member that is different each time, after looking at its form.
#[track_caller]
pub fn take_moment(object: &mut Value, member: &str) {
    let moment = text(&object.as_object_mut().unwrap().remove(member).expect(member));
    let form: String = moment.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(form, "0000-00-00T00:00:00.000Z", "{member}");
}

/// Takes out a public id, after looking at its form.
#[track_caller]
pub fn take_id(object: &mut Value, member: &str) -> String {
    let id = text(&object.as_object_mut().unwrap().remove(member).expect(member));
    assert_eq!(id.len(), 24, "{member}: {id}");
    assert!(id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{member}: {id}");
    id
}
