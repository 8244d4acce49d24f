use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use hmac::{Hmac, KeyInit, Mac};
use otaru_api::{Api, ApiConfig, Limits, PushLimits};
use otaru_engine::{PushBecame, PushSettled};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::oneshot;

use crate::client::{Stage, refused};
use crate::house::{Gadget, Registered, eventually};

/// An application that is told, with what it answers.
#[derive(Clone)]
struct Receiver {
    url: String,
    heard: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<StatusCode>>,
}

impl Receiver {
    async fn open() -> Receiver {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Receiver {
            url: format!("http://{}/iotda", listener.local_addr().unwrap()),
            heard: Arc::default(),
            answers: Arc::new(Mutex::new(StatusCode::OK)),
        };
        let hears = async |State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes| {
            let answer = *receiver.answers.lock().unwrap();
            receiver.heard.lock().unwrap().push((headers, body));
            answer
        };
        let app = Router::new().route("/iotda", axum::routing::post(hears)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        receiver
    }

    fn answers(&self, status: StatusCode) {
        *self.answers.lock().unwrap() = status;
    }

    fn bodies(&self) -> Vec<Value> {
        let heard = self.heard.lock().unwrap();
        heard.iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }

    /// Waits until it has heard something that `wanted` takes.
    async fn hears(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(async || self.bodies().into_iter().find(|body| wanted(body))).await
    }
}

/// The HTTP side with its teller of applications, until it is dropped.
struct Telling {
    _end: oneshot::Sender<()>,
}

impl Telling {
    async fn begin(stage: &Stage) -> Telling {
        let push = PushLimits {
            pause: Duration::from_millis(10),
            pause_max: Duration::from_millis(40),
            look_every: Duration::from_millis(5),
            ..PushLimits::default()
        };
        let config = ApiConfig {
            plain: Some("127.0.0.1:0".parse().unwrap()),
            tls: None,
            device_tls: None,
            limits: Limits { push, ..Limits::default() },
            metrics: Arc::new(String::new),
        };
        let api = Api::bind(stage.house.engine.clone(), config).await.unwrap();
        let (end, ended) = oneshot::channel::<()>();
        tokio::spawn(api.serve(async { drop(ended.await) }));
        Telling { _end: end }
    }
}

async fn rule(stage: &Stage, resource: &str, more: Value) -> String {
    let mut body = json!({"rule_name": "r", "subject": {"resource": resource, "event": "update"}});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = stage.post("/routing-rule/rules", body).await.ok(201);
    made["rule_id"].as_str().unwrap().to_owned()
}

fn action(rule: &str, url: &str) -> Value {
    let http = json!({"url": url});
    json!({"rule_id": rule, "channel": "HTTP_FORWARDING", "channel_detail": {"http_forwarding": http}})
}

/// A rule in force that tells the receiver.
async fn telling(stage: &Stage, receiver: &Receiver, resource: &str, more: Value) -> String {
    let rule = rule(stage, resource, more).await;
    stage.post("/routing-rule/actions", action(&rule, &receiver.url)).await.ok(201);
    stage.put(&format!("/routing-rule/rules/{rule}"), json!({"active": true})).await.ok(200);
    rule
}

async fn task(stage: &Stage, package: &str, targets: &[&str]) -> String {
    let body = json!({
        "task_name": "t", "task_type": "firmwareUpgrade", "targets": targets, "document": {"package_ids": [package]},
    });
    stage.post("/batchtasks", body).await.ok(201)["task_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_rule_is_made_switched_on_changed_listed_and_deleted() {
    let stage = Stage::open().await;
    let body = json!({
        "rule_name": "ota_tasks", "description": "campaign state",
        "subject": {"resource": "batchtask", "event": "update"}, "app_type": "GLOBAL",
    });
    let made = stage.post("/routing-rule/rules", body.clone()).await.ok(201);
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    assert_eq!((&made["active"], made["rule_id"].as_str().unwrap().len()), (&json!(false), 36));
    let path = format!("/routing-rule/rules/{}", made["rule_id"].as_str().unwrap());
    assert_eq!(stage.get(&path).await.ok(200), made);
    let on = stage.put(&path, json!({"active": true, "rule_name": "tasks"})).await.ok(200);
    assert_eq!(
        (&on["active"], &on["rule_name"], &on["description"]),
        (&json!(true), &json!("tasks"), &json!("campaign state"))
    );
    let with = json!({"description": "d", "where": "resource='batchtask'", "select": "*"});
    let changed = stage.put(&path, with).await.ok(200);
    assert_eq!((&changed["where"], &changed["select"]), (&json!("resource='batchtask'"), &json!("*")));
    let named = json!({"rule_name": "tasks", "subject": {"resource": "batchtask"}});
    assert_eq!(stage.put(&path, named).await.ok(200), changed, "nothing is cleared by not being there");
    let nothing = json!({"description": "", "where": "", "select": "", "rule_name": ""});
    let cleared = stage.put(&path, nothing).await.ok(200);
    for name in ["description", "where", "select"] {
        assert!(cleared.get(name).is_none(), "{name}: {cleared}");
    }
    assert_eq!(cleared["rule_name"], "tasks");
    for (subject, named) in [
        (json!({"resource": "device"}), "`subject.resource`"),
        (json!({"resource": "batchtask", "event": "create"}), "`subject.event`"),
    ] {
        let answer = stage.put(&path, json!({"subject": subject, "active": false})).await;
        let message = refused(&answer, 400, "IOTDA.000006");
        assert!(message.contains(named), "{message}");
    }
    let on = stage.put(&path, json!({"description": "campaign state"})).await.ok(200);
    assert_eq!(on["active"], true, "what was refused has changed nothing");
    rule(&stage, "device", json!({"app_type": "APP", "app_id": stage.project, "select": "*"})).await;
    let all = stage.get("/routing-rule/rules").await.ok(200);
    assert_eq!((&all["count"], all["rules"].as_array().unwrap().len()), (&json!(2), 2));
    assert_eq!(
        stage.get("/routing-rule/rules?resource=batchtask&event=update&limit=50").await.ok(200)["rules"],
        json!([on])
    );
    let second = stage.get("/routing-rule/rules?limit=1&offset=1&active=true").await.ok(200);
    assert_eq!(
        (&second["rules"], &second["count"], &second["marker"]),
        (&json!([]), &json!(1), &json!(null))
    );
    let first = stage.get("/routing-rule/rules?limit=1").await.ok(200);
    let next = format!("/routing-rule/rules?limit=1&marker={}", first["marker"].as_str().unwrap());
    assert_eq!(stage.get(&next).await.ok(200)["rules"], json!([on]));

    let rule_id = made["rule_id"].as_str().unwrap();
    let mut asked = action(rule_id, "https://ops.example.org:8443/iotda");
    asked["channel_detail"]["http_forwarding"]["sni_enable"] = json!(false);
    let made = stage.post("/routing-rule/actions", asked.clone()).await.ok(201);
    assert_eq!((&made["channel"], &made["channel_detail"]), (&asked["channel"], &asked["channel_detail"]));
    let action_path = format!("/routing-rule/actions/{}", made["action_id"].as_str().unwrap());
    assert_eq!(stage.get(&action_path).await.ok(200), made);
    let listed = stage.get(&format!("/routing-rule/actions?rule_id={rule_id}")).await.ok(200);
    assert_eq!((&listed["actions"], &listed["count"]), (&json!([made]), &json!(1)));
    for (asked, count) in [("app_type=GLOBAL", 1), ("app_type=APP", 0), ("channel=AMQP_FORWARDING", 0)] {
        let listed = stage.get(&format!("/routing-rule/actions?{asked}")).await.ok(200);
        assert_eq!(listed["count"], count, "{asked}");
    }
    for wrong in ["rules?active=maybe", "rules?app_type=ALL", "actions?app_type=ALL"] {
        refused(&stage.get(&format!("/routing-rule/{wrong}")).await, 400, "IOTDA.000006");
    }
    let moved = stage.put(&action_path, action(rule_id, "http://127.0.0.1:9/x")).await.ok(200);
    assert_eq!(moved["channel_detail"]["http_forwarding"]["url"], "http://127.0.0.1:9/x");
    let elsewhere = stage.put(&action_path, action("another", "http://127.0.0.1:9/y")).await;
    assert!(refused(&elsewhere, 400, "IOTDA.000006").contains("`rule_id`"));
    assert_eq!(stage.delete(&path).await.status, 204);
    for gone in [&path, &action_path] {
        refused(&stage.get(gone).await, 404, "IOTDA.010002");
        refused(&stage.delete(gone).await, 404, "IOTDA.010002");
    }
}

#[tokio::test]
async fn what_is_not_offered_or_not_understood_is_refused() {
    let stage = Stage::open().await;
    let with = |name: &str, value: Value| {
        let mut body = json!({"subject": {"resource": "device", "event": "update"}});
        body[name] = value;
        body
    };
    for wrong in [
        json!({}),
        with("subject", json!({"resource": "device", "event": "delete"})),
        with("subject", json!({"resource": "device.property", "event": "report"})),
        with("app_type", json!("APP")),
        with("app_type", json!("X")),
        with("select", json!("resource")),
        with("where", json!("x > 1")),
        with("rule_name", json!("x".repeat(257))),
    ] {
        refused(&stage.post("/routing-rule/rules", wrong).await, 400, "IOTDA.000006");
    }
    let rule = rule(&stage, "device", json!({})).await;
    for (channel, http) in [
        ("AMQP_FORWARDING", json!({"url": "http://h/"})),
        ("", json!({"url": "http://h/"})),
        ("HTTP_FORWARDING", json!(null)),
        ("HTTP_FORWARDING", json!({})),
        ("HTTP_FORWARDING", json!({"url": "ftp://h/"})),
        ("HTTP_FORWARDING", json!({"url": "/path"})),
        ("HTTP_FORWARDING", json!({"url": "http://h/", "token": "a b"})),
        ("HTTP_FORWARDING", json!({"url": "http://h/", "token": "ab"})),
        ("HTTP_FORWARDING", json!({"url": "http://h/", "signature_enable": true})),
    ] {
        let body = json!({"rule_id": rule, "channel": channel, "channel_detail": {"http_forwarding": http}});
        refused(&stage.post("/routing-rule/actions", body).await, 400, "IOTDA.000006");
    }
    refused(&stage.post("/routing-rule/actions", action("none", "http://h/")).await, 404, "IOTDA.010002");
    for _ in 0..10 {
        stage.post("/routing-rule/actions", action(&rule, "http://h/")).await.ok(201);
    }
    refused(&stage.post("/routing-rule/actions", action(&rule, "http://h/")).await, 403, "IOTDA.000108");
}

#[tokio::test]
async fn an_application_is_told_of_tasks_devices_and_deployments() {
    let stage = Stage::open().await;
    let package = stage.furnish(&["n1", "n2"]).await;
    let _telling = Telling::begin(&stage).await;
    let receiver = Receiver::open().await;
    for resource in ["batchtask", "device", "deployment"] {
        telling(&stage, &receiver, resource, json!({})).await;
    }
    let task = task(&stage, &package, &["pump_n1"]).await;
    let of = |resource: &'static str| move |body: &Value| body["resource"] == resource;
    let told = receiver.hears(of("batchtask")).await;
    assert_eq!((&told["event"], told.get("notify_data").unwrap().get("header")), (&json!("update"), None));
    receiver.hears(|body| body["notify_data"]["body"]["status"] == "Processing").await;
    stage.post(&format!("/batchtasks/{task}/stop"), json!({})).await.ok(200);
    let stopped =
        receiver.hears(|body| of("batchtask")(body) && body["notify_data"]["body"]["status"] == "Stopped");
    let expected = json!({
        "app_id": stage.project, "task_id": task, "task_type": "firmwareUpgrade", "status": "Stopped", "status_desc": "",
    });
    assert_eq!(stopped.await["notify_data"]["body"], expected);
    let ended = receiver
        .hears(|body| of("deployment")(body) && body["notify_data"]["body"]["outcome"] == "cancelled")
        .await;
    let about = &ended["notify_data"];
    assert_eq!((&about["header"]["device_id"], &about["body"]["task_id"]), (&json!("pump_n1"), &json!(task)));
    assert_eq!(
        (&about["body"]["status"], &about["body"]["device_id"]),
        (&json!("Stopped"), &json!("pump_n1"))
    );

    stage.put("/devices/pump_n2", json!({"device_name": "north"})).await.ok(200);
    let changed = receiver
        .hears(|body| of("device")(body) && body["notify_data"]["body"]["device_name"] == "north")
        .await;
    let header = json!({
        "app_id": stage.project, "device_id": "pump_n2", "node_id": "n2", "product_id": "pump", "gateway_id": "pump_n2",
    });
    assert_eq!(changed["notify_data"]["header"], header);
    assert!(changed["notify_data"]["body"].get("auth_info").is_none(), "nothing that proves a device leaves");
    assert_eq!(changed["event_time"].as_str().unwrap().len(), "20260131T094512Z".len());
    assert_eq!(changed["request_id"].as_str().unwrap().len(), 36);
}

#[tokio::test]
async fn a_condition_is_held_against_each_notification() {
    let stage = Stage::open().await;
    stage.furnish(&["n1", "n2"]).await;
    let _telling = Telling::begin(&stage).await;
    let receiver = Receiver::open().await;
    let condition = json!({"where": "notify_data.header.device_id='pump_n2'"});
    telling(&stage, &receiver, "device", condition).await;
    for node in ["n1", "n2"] {
        stage.put(&format!("/devices/pump_{node}"), json!({"device_name": "x"})).await.ok(200);
    }
    receiver.hears(|_| true).await;
    let rule = stage.house.viewer();
    eventually(async || {
        let rules = rule.get("/api/v1/rules").await.ok(200);
        (rules["items"][0]["actions"][0]["due"] == 0).then_some(())
    })
    .await;
    let heard: Vec<Value> =
        receiver.bodies().iter().map(|b| b["notify_data"]["header"]["device_id"].clone()).collect();
    assert!(heard.iter().all(|device| device == "pump_n2"), "{heard:?}");
}

#[tokio::test]
async fn a_rule_of_a_resource_space_tells_of_what_is_in_it() {
    let stage = Stage::open().await;
    stage.furnish(&["n1"]).await;
    let north = stage.space("North").await;
    stage.product_in("lamp", &north).await;
    stage.post("/devices", json!({"product_id": "lamp", "node_id": "n1"})).await.ok(201);
    let _telling = Telling::begin(&stage).await;
    let receiver = Receiver::open().await;
    let of_north = telling(&stage, &receiver, "device", json!({"app_type": "APP", "app_id": north})).await;
    for device in ["pump_n1", "lamp_n1"] {
        stage.put(&format!("/devices/{device}"), json!({"device_name": "x"})).await.ok(200);
    }
    let heard = receiver.hears(|_| true).await;
    assert_eq!(heard["notify_data"]["header"]["app_id"], json!(north));
    assert_eq!(heard["notify_data"]["body"]["app_id"], json!(north));
    let rules = stage.house.viewer();
    eventually(async || {
        let rule = rules.get("/api/v1/rules").await.ok(200)["items"][0].clone();
        assert_eq!(rule["rule_id"], json!(of_north));
        (rule["actions"][0]["due"] == 0).then_some(())
    })
    .await;
    let heard: Vec<Value> =
        receiver.bodies().iter().map(|b| b["notify_data"]["header"]["device_id"].clone()).collect();
    assert!(heard.iter().all(|device| device == "lamp_n1"), "{heard:?}");
}

#[tokio::test]
async fn nothing_is_lost_while_an_application_is_away_and_it_hears_how_things_are_then() {
    let stage = Stage::open().await;
    stage.furnish(&["n1"]).await;
    let receiver = Receiver::open().await;
    receiver.answers(StatusCode::SERVICE_UNAVAILABLE);
    let rule = telling(&stage, &receiver, "device", json!({})).await;
    stage.put("/devices/pump_n1", json!({"device_name": "one"})).await.ok(200);
    {
        let _telling = Telling::begin(&stage).await;
        receiver.hears(|body| body["notify_data"]["body"]["device_name"] == "one").await;
        eventually(async || (receiver.bodies().len() >= 3).then_some(())).await;
    }
    // Nobody tells for a while, as after a crash.
    stage.put("/devices/pump_n1", json!({"device_name": "two"})).await.ok(200);
    let list = stage.house.viewer().get("/api/v1/rules").await.ok(200);
    assert_eq!(
        (&list["items"][0]["rule_id"], &list["items"][0]["actions"][0]["due"]),
        (&json!(rule), &json!(1))
    );
    receiver.answers(StatusCode::OK);
    let _telling = Telling::begin(&stage).await;
    receiver.hears(|body| body["notify_data"]["body"]["device_name"] == "two").await;
    eventually(async || {
        let list = stage.house.viewer().get("/api/v1/rules").await.ok(200);
        (list["items"][0]["actions"][0]["due"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_an_application_refuses_is_kept_aside_with_the_reason() {
    let stage = Stage::open().await;
    stage.furnish(&["n1"]).await;
    let _telling = Telling::begin(&stage).await;
    let receiver = Receiver::open().await;
    receiver.answers(StatusCode::GONE);
    let rule = telling(&stage, &receiver, "device", json!({})).await;
    stage.put("/devices/pump_n1", json!({"device_name": "one"})).await.ok(200);
    let path = format!("/api/v1/rules/{rule}/dead-letters");
    let letters = eventually(async || {
        let letters = stage.house.viewer().get(&path).await.ok(200);
        (!letters["items"].as_array().unwrap().is_empty()).then_some(letters)
    })
    .await;
    let letter = &letters["items"][0];
    assert_eq!(letter["error"], "it was answered with 410");
    assert!(letter["body"].as_str().unwrap().contains("\"one\""));
    assert_eq!(receiver.bodies().len(), 3);
    stage.house.viewer().get("/api/v1/rules/none/dead-letters").await.refused(404, "not_found");
}

#[tokio::test]
async fn after_a_long_outage_it_is_still_the_third_refusal_that_is_final() {
    let stage = Stage::open().await;
    stage.furnish(&["n1"]).await;
    let receiver = Receiver::open().await;
    receiver.answers(StatusCode::GONE);
    let rule = telling(&stage, &receiver, "device", json!({})).await;
    stage.put("/devices/pump_n1", json!({"device_name": "one"})).await.ok(200);
    // As after nearly a day without an answer.
    let engine = &stage.house.engine;
    let action = engine.push_actions(None).await.unwrap()[0].key;
    let due = engine.pushes_due(action, 1).await.unwrap()[0];
    let settled = PushSettled { due, became: PushBecame::Failed { weight: 479 } };
    engine.settle_pushes(action, vec![settled]).await.unwrap();
    let _telling = Telling::begin(&stage).await;
    let path = format!("/api/v1/rules/{rule}/dead-letters");
    eventually(async || {
        let letters = stage.house.viewer().get(&path).await.ok(200);
        (letters["items"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    assert_eq!(receiver.bodies().len(), 3);
}

#[tokio::test]
async fn a_task_that_stops_is_told_again_when_its_last_device_has_ended() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    let device = stage.device("n1").await;
    let secret = device["auth_info"]["secret"].as_str().unwrap().to_owned();
    let package = stage.package("2.0").await;
    let _telling = Telling::begin(&stage).await;
    let receiver = Receiver::open().await;
    telling(&stage, &receiver, "batchtask", json!({})).await;
    let mut gadget =
        Gadget::connect(&stage.house, &Registered { device_id: "pump_n1".to_owned(), secret }).await;
    let task = task(&stage, &package, &["pump_n1"]).await;
    gadget.runs("1.0").await;
    gadget.told_by("upgrade_v2").await;
    let is = |status: &'static str| move |body: &Value| body["notify_data"]["body"]["status"] == status;
    receiver.hears(is("Processing")).await;
    stage.post(&format!("/batchtasks/{task}/stop"), json!({})).await.ok(200);
    receiver.hears(is("Stopped")).await;
}

#[tokio::test]
async fn a_test_tells_whether_it_was_taken_and_a_token_signs() {
    let stage = Stage::open().await;
    let receiver = Receiver::open().await;
    let rule = rule(&stage, "deployment", json!({})).await;
    let mut signed = action(&rule, &receiver.url);
    signed["channel_detail"]["http_forwarding"]["token"] = json!("s3cret");
    signed["channel_detail"]["http_forwarding"]["signature_enable"] = json!(true);
    let made = stage.post("/routing-rule/actions", signed).await.ok(201);
    assert!(!made.to_string().contains("s3cret"), "a token is not shown");
    let path = format!("/api/v1/rules/{rule}/test");
    let tested = stage.house.operator().post(&path, json!({})).await.ok(200);
    assert_eq!((&tested["items"][0]["taken"], &tested["items"][0]["status"]), (&json!(true), &json!(200)));
    let (headers, body) = receiver.heard.lock().unwrap()[0].clone();
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&told["resource"], &told["event"]), (&json!("deployment"), &json!("test")));
    let header = headers["x-otaru-signature"].to_str().unwrap();
    let (time, hex) = header.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret").unwrap();
    mac.update(format!("{time}.").as_bytes());
    mac.update(&body);
    let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected);

    receiver.answers(StatusCode::NOT_FOUND);
    let tested = stage.house.operator().post(&path, json!({})).await.ok(200);
    assert_eq!((&tested["items"][0]["taken"], &tested["items"][0]["status"]), (&json!(false), &json!(404)));
    stage
        .put(
            &format!("/routing-rule/actions/{}", made["action_id"].as_str().unwrap()),
            action(&rule, "http://127.0.0.1:1/"),
        )
        .await
        .ok(200);
    let tested = stage.house.operator().post(&path, json!({})).await.ok(200);
    assert_eq!((&tested["items"][0]["taken"], &tested["items"][0]["status"]), (&json!(false), &json!(null)));
    // What is never shown stays, and goes when it is switched off.
    let signed = async || {
        let rules = stage.house.viewer().get("/api/v1/rules").await.ok(200);
        rules["items"][0]["actions"][0]["signed"].clone()
    };
    assert_eq!(signed().await, json!(true));
    let mut off = action(&rule, &receiver.url);
    off["channel_detail"]["http_forwarding"]["signature_enable"] = json!(false);
    let path_of_action = format!("/routing-rule/actions/{}", made["action_id"].as_str().unwrap());
    stage.put(&path_of_action, off).await.ok(200);
    assert_eq!(signed().await, json!(false));
    let mut named = action(&rule, "http://user:word@127.0.0.1/");
    named["channel_detail"]["http_forwarding"]["token"] = json!("s3cret");
    refused(&stage.put(&path_of_action, named).await, 400, "IOTDA.000006");
    stage.house.viewer().post(&path, json!({})).await.refused(403, "role_too_low");
}
