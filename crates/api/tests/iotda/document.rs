//! The OpenAPI document of the application API: whole, true, and the one that is checked in.
//!
//! That answers are as it says is looked at in every test of this folder, by `House::ask`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use axum::body::Body;
use axum::http::{Method, Request};
use otaru_engine::Role;
use serde_json::Value;

use crate::client::{Stage, refused};

/// What needs no proof.
const OPEN: [&str; 2] = ["/v5/openapi.json", "/v3/auth/tokens"];

const CHECKED_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi-applications.json");

#[tokio::test]
async fn the_document_that_is_checked_in_is_the_one_that_is_handed_out() {
    let stage = Stage::open().await;
    let answer = stage.send(Request::get("/v5/openapi.json").body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let text = format!("{}\n", std::str::from_utf8(&answer.body).unwrap());
    if std::env::var_os("OTARU_RENEW").is_some() {
        fs::write(CHECKED_IN, &text).unwrap();
    }
    let checked_in = fs::read_to_string(CHECKED_IN).unwrap_or_default();
    assert!(
        checked_in == text,
        "docs/openapi-applications.json is another one; look at the difference after: OTARU_RENEW=1 cargo test -p otaru-api --test iotda document"
    );
}

/// The paths that are registered, each of them written out in one text.
fn registered() -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/iotda")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for way_around in [".route_service(", ".nest", ".fallback"] {
            assert!(!text.contains(way_around), "{name} uses {way_around}");
        }
        for registered in text.split(".route(").skip(1) {
            let literal = registered.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            paths.insert(literal.unwrap_or_else(|| panic!("{name}: write the path out")).to_owned());
        }
    }
    paths
}

#[tokio::test]
async fn every_route_is_in_the_document_and_nothing_else() {
    let stage = Stage::open().await;
    let described = stage.house.described_for_applications();
    let operations: BTreeSet<(&str, &str)> =
        described.operations().iter().map(|operation| (operation.path, operation.method)).collect();
    for path in registered() {
        let asked = path.replace("{project_id}", &stage.project).replace(['{', '}'], "");
        let mut offered = 0;
        for method in ["get", "post", "put", "patch", "delete"] {
            let request = Request::builder()
                .method(Method::from_bytes(method.to_uppercase().as_bytes()).unwrap())
                .uri(&asked)
                .header("x-auth-token", stage.house.admin().token())
                .body(Body::empty())
                .unwrap();
            let answer = stage.send(request).await;
            let code = String::from_utf8_lossy(&answer.body).contains("IOTDA.000029");
            let is_offered = !(answer.status == 405 || answer.status == 404 && code);
            let status = answer.status;
            assert_eq!(operations.contains(&(&path, method)), is_offered, "{method} {path}: {status}");
            offered += usize::from(is_offered);
        }
        assert!(offered > 0, "{path}");
    }
    let registered = registered();
    let unknown: Vec<_> = operations.iter().filter(|(path, _)| !registered.contains(*path)).collect();
    assert!(unknown.is_empty(), "nothing serves {unknown:?}");
    assert!(operations.len() > 48, "{operations:?}");
}

#[tokio::test]
async fn every_operation_has_what_a_client_needs() {
    let stage = Stage::open().await;
    let described = stage.house.described_for_applications();
    let tags: BTreeSet<&str> =
        described.0["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let (mut ids, mut used) = (BTreeSet::new(), BTreeSet::new());
    for operation in described.operations() {
        let (says, what) = (operation.says, format!("{} {}", operation.method, operation.path));
        let id = says["operationId"].as_str().unwrap();
        assert!(id.contains('_') && id.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{what}: {id}");
        assert!(ids.insert(id), "{what}: another one is {id} as well");
        let tag = says["tags"][0].as_str().unwrap();
        assert!(tags.contains(tag), "{what}: {tag} is not at the head");
        used.insert(tag);
        assert!(says["summary"].as_str().is_some_and(|summary| summary.ends_with('.')), "{what}");
        let success = says["responses"].as_object().unwrap().keys().any(|status| status.starts_with('2'));
        assert!(success, "{what} never succeeds");
        assert_eq!(operation.role().is_none(), OPEN.contains(&operation.path), "{what}");
    }
    assert_eq!(tags, used);
    let (shapes, mut named) = (described.0["components"]["schemas"].as_object().unwrap(), BTreeSet::new());
    names(&described.0, &mut named);
    let known: BTreeSet<String> = shapes.keys().cloned().collect();
    assert_eq!(named, known, "every shape that is named is there, and none that is not named");
}

/// The shapes that anything refers to.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        Value::Object(members) => {
            if let Some(name) = members.get("$ref").and_then(Value::as_str) {
                found.extend(name.strip_prefix("#/components/schemas/").map(str::to_owned));
            }
            members.values().for_each(|member| names(member, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn every_operation_asks_for_the_role_that_is_described() {
    let stage = Stage::open().await;
    let viewer = Stage::open().await.with_role(Role::Viewer).await;
    for operation in stage.house.described_for_applications().operations() {
        let Some(role) = operation.role() else { continue };
        let method: Method = operation.method.to_ascii_uppercase().parse().unwrap();
        // The default one is not changed, whoever asks.
        let names_a_space = operation.path.contains("{app_id}");
        let space = if names_a_space { stage.space(operation.method).await } else { String::new() };
        let path = |stage: &Stage, space: &str| {
            operation
                .path
                .replace("{project_id}", &stage.project)
                .replace("{app_id}", space)
                .replace(['{', '}'], "")
        };
        let bare =
            Request::builder().method(method.clone()).uri(path(&stage, &space)).body(Body::empty()).unwrap();
        refused(&stage.send(bare).await, 401, "IOTDA.000002");
        let seen = viewer.send(viewer.signed(method.clone(), &path(&viewer, &viewer.project), "")).await;
        match role {
            "viewer" => assert_ne!(seen.status, 403, "{method} {}: {seen:?}", operation.path),
            "operator" => assert!(refused(&seen, 403, "IOTDA.000022").contains("`operator`")),
            other => panic!("{method} {}: the tests have no caller that is {other}", operation.path),
        }
        let done = stage.send(stage.signed(method.clone(), &path(&stage, &space), "")).await;
        assert!(![401, 403].contains(&done.status), "{method} {} as operator: {done:?}", operation.path);
    }
}
