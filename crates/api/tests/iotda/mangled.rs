//! Requests as no client sends them: whatever comes, the answer is not our failure, and nothing of another project.

use axum::http::Method;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::client::Stage;

/// Every path, with a place for an id.
const PATHS: &[(&str, &str)] = &[
    ("GET", "/apps"),
    ("GET", "/apps/{}"),
    ("GET", "/products"),
    ("POST", "/products"),
    ("GET", "/products/{}"),
    ("PUT", "/products/{}"),
    ("GET", "/devices"),
    ("POST", "/devices"),
    ("GET", "/devices/{}"),
    ("PUT", "/devices/{}"),
    ("POST", "/devices/{}/freeze"),
    ("POST", "/devices/{}/unfreeze"),
    ("POST", "/devices/{}/action"),
    ("POST", "/devices/{}/reset-fingerprint"),
    ("POST", "/devices/{}/list-device-group"),
    ("GET", "/device-group"),
    ("POST", "/device-group"),
    ("GET", "/device-group/{}"),
    ("PUT", "/device-group/{}"),
    ("GET", "/device-group/{}/devices"),
    ("POST", "/device-group/{}/action"),
    ("POST", "/tags/bind-resource"),
    ("POST", "/tags/unbind-resource"),
    ("POST", "/tags/query-resources"),
    ("POST", "/search/query-devices"),
    ("GET", "/ota-upgrades/packages"),
    ("POST", "/ota-upgrades/packages"),
    ("GET", "/ota-upgrades/packages/{}"),
    ("GET", "/routing-rule/rules"),
    ("POST", "/routing-rule/rules"),
    ("PUT", "/routing-rule/rules/{}"),
    ("GET", "/routing-rule/actions"),
    ("POST", "/routing-rule/actions"),
    ("GET", "/batchtasks"),
    ("POST", "/batchtasks"),
    ("GET", "/batchtasks/{}"),
    ("POST", "/batchtasks/{}/stop"),
    ("POST", "/batchtasks/{}/retry"),
    ("POST", "/batchtasks/{}/confirm"),
];

/// Names that some call knows.
const NAMES: &[&str] = &[
    "limit",
    "marker",
    "offset",
    "app_id",
    "product_id",
    "device_id",
    "node_id",
    "gateway_id",
    "name",
    "targets",
    "targets_filter",
    "group_ids",
    "document",
    "package_ids",
    "package_id",
    "task_name",
    "task_type",
    "task_policy",
    "retry_count",
    "retry_interval",
    "schedule_time",
    "need_confirm",
    "task_ext_info",
    "auth_info",
    "auth_type",
    "secret",
    "fingerprint",
    "timeout",
    "service_capabilities",
    "file_location",
    "obs_location",
    "region_name",
    "bucket_name",
    "object_key",
    "sign",
    "version",
    "support_source_versions",
    "tags",
    "tag_key",
    "tag_value",
    "tag_keys",
    "resource_type",
    "resource_id",
    "package_type",
    "device_name",
    "action_id",
    "extension_info",
    "status",
    "task_detail_status",
    "target",
    "protocol_type",
    "device_type",
    "data_format",
    "sql",
    "subject",
    "resource",
    "event",
    "rule_id",
    "active",
    "where",
    "channel",
    "channel_detail",
    "http_forwarding",
    "url",
];

/// Values that some call takes somewhere, and others.
const TEXTS: &[&str] = &[
    "",
    "pump",
    "pump_n1",
    "firmwareUpgrade",
    "firmwarePackage",
    "device",
    "addDevice",
    "resetSecret",
    "SECRET",
    "batchtask",
    "update",
    "HTTP_FORWARDING",
    "notify_data.header.product_id='pump' AND resource = 'device'",
    "CERTIFICATES",
    "MQTT",
    "json",
    "20260131T091000Z",
    "99999999T999999Z",
    "firmware",
    "pump/fw.bin",
    "../x.bin",
    "ffffffffffffffffffffffff",
    "0",
    "-1",
    "50",
    "500",
    "501",
    "99999999999999999999",
    "Success",
    "Processing",
    "设备",
    "\u{0}",
    "a\u{202e}b",
    "%",
    "'",
    "\"",
    "\\",
    "select * from device where status != 'ONLINE' or tag_key like 'ring%' limit 500,50",
    "select count(*) from device where marker > 'ffffffffffffffffffffffff' and group_id in ('x', '')",
    "select * from device where create_time < '00000101T000000Z'",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(TEXTS).prop_map(str::to_owned),
        1 => "\\PC{0,40}",
        1 => (0_usize..5_000).prop_map(|n| "x".repeat(n)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(NAMES), inner), 0..8)
                .prop_map(|pairs| pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |escaped, byte| {
        if byte.is_ascii_alphanumeric() {
            escaped + &char::from(byte).to_string()
        } else {
            format!("{escaped}%{byte:02X}")
        }
    })
}

#[test]
fn no_request_however_mangled_is_our_failure() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stage = runtime.block_on(async {
        let stage = Stage::open().await;
        let package = stage.furnish(&["n1"]).await;
        let task = json!({
            "task_name": "t", "task_type": "firmwareUpgrade", "targets": ["pump_n1", "none"],
            "document": {"package_ids": [package]},
        });
        stage.post("/batchtasks", task).await.ok(201);
        stage
    });
    let members = prop::collection::vec((prop::sample::select(NAMES), value()), 0..10);
    let body = members
        .prop_map(|pairs| pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Value>());
    let query = prop::collection::vec((prop::sample::select(NAMES), text()), 0..4);
    let request = (prop::sample::select(PATHS), text(), query, body, any::<bool>());
    let mut runner = TestRunner::new(Config { cases: 1_500, failure_persistence: None, ..Config::default() });
    let ran = runner.run(&request, |((method, path), id, query, body, is_ours)| {
        let id = escaped(if id.is_empty() { "x" } else { &id });
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let path = format!("{}?{}", path.replace("{}", &id), query.join("&"));
        // With our token: how it is signed is another test's.
        let project = if is_ours { stage.project.as_str() } else { "0123456789abcdef" };
        let request = axum::http::Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("/v5/iot/{project}{path}"))
            .header("x-auth-token", stage.house.operator().token())
            .body(axum::body::Body::from(body.to_string()))
            .unwrap();
        let answer = runtime.block_on(stage.send(request));
        let status = answer.status;
        prop_assert!(status < 500, "{method} {path} {body}: {status} {:?}", answer.body);
        prop_assert!(!(300..400).contains(&status), "{method} {path}: {status}");
        if !is_ours {
            prop_assert_eq!(status, 403, "{} {}", method, path);
        }
        if status >= 400 {
            let told: Value = serde_json::from_slice(&answer.body).unwrap();
            prop_assert!(told["error_code"].is_string() && told["error_msg"].is_string(), "{told}");
        }
        Ok(())
    });
    ran.unwrap();
}
