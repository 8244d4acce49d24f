//! The OpenAPI document: whole, true, and the one that is checked in.
//!
//! That answers are as it says is looked at in every test of this folder, by `House::ask`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::errors_page;
use crate::house::House;

const CHECKED_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

#[tokio::test]
async fn the_document_that_is_checked_in_is_the_one_that_is_handed_out() {
    let house = House::open().await;
    let answer = house.stranger().get("/api/v1/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let text = format!("{}\n", std::str::from_utf8(&answer.body).unwrap());
    if std::env::var_os("OTARU_RENEW").is_some() {
        fs::write(CHECKED_IN, &text).unwrap();
    }
    let checked_in = fs::read_to_string(CHECKED_IN).unwrap_or_default();
    assert!(
        checked_in == text,
        "docs/openapi.json is another one; look at the difference after: OTARU_RENEW=1 cargo test -p otaru-api --test routes openapi"
    );
}

/// What is not registered with its description is not in the document.
#[test]
fn every_route_of_the_native_api_is_registered_with_its_description() {
    let routes = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/routes");
    for entry in fs::read_dir(routes).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // These are for devices; their shapes are the published platform's.
        if ["download.rs", "device_http.rs"].contains(&name.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for undescribed in [".route(", ".route_service(", ".nest_service(", "Router::new()", ".fallback"] {
            let used = text.replace("OpenApiRouter::new()", "").contains(undescribed);
            assert!(
                !used,
                "{name} uses {undescribed}: register a route with `.routes(routes!(…))`, see src/openapi.rs"
            );
        }
    }
}

#[tokio::test]
async fn every_operation_has_what_a_client_needs() {
    let house = House::open().await;
    let described = house.described();
    let tags: BTreeSet<&str> =
        described.0["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let mut ids = BTreeSet::new();
    for operation in described.operations() {
        let (says, what) = (operation.says, format!("{} {}", operation.method, operation.path));
        let id = says["operationId"].as_str().unwrap_or_else(|| panic!("{what} has no operation_id"));
        assert!(id.contains('_') && id.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{what}: {id}");
        assert!(ids.insert(id), "{what}: another one is {id} as well");
        let [tag] = &says["tags"].as_array().unwrap_or_else(|| panic!("{what} has no tag"))[..] else {
            panic!("{what} has several tags")
        };
        assert!(tags.contains(tag.as_str().unwrap()), "{what}: {tag} is not at the head in src/openapi.rs");
        assert!(
            says["summary"].as_str().is_some_and(|s| s.ends_with('.')),
            "{what} has no sentence as its comment"
        );
        let success = says["responses"].as_object().unwrap().keys().any(|status| status.starts_with('2'));
        assert!(success, "{what} never succeeds");
        for part in operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let named = says["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|p| p["name"] == part && p["in"] == "path");
            assert!(named, "{what}: {part} is not described");
        }
        let is_open = ["/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"].contains(&operation.path);
        assert_eq!(operation.role().is_none(), is_open, "{what}: which role does it need?");
    }
    assert!(ids.len() > 25, "{ids:?}");
}

#[tokio::test]
async fn every_operation_asks_for_the_role_that_is_described() {
    let house = House::open().await;
    for operation in house.described().operations() {
        let Some(role) = operation.role() else { continue };
        let path = operation.path.replace("{id}", "x").replace("{device_id}", "y");
        let method: Method = operation.method.to_ascii_uppercase().parse().unwrap();
        let ask = async |caller: crate::house::Caller<'_>| {
            caller.send(method.clone(), &path, &[], Body::empty()).await
        };
        ask(house.stranger()).await.refused(401, "token_missing");
        let (enough, too_little) = match role {
            "viewer" => (house.viewer(), None),
            "operator" => (house.operator(), Some(house.viewer())),
            "admin" => (house.admin(), Some(house.operator())),
            other => panic!("{method} {path}: the tests have no caller that is {other}"),
        };
        if let Some(caller) = too_little {
            let message = ask(caller).await.refused(403, "role_too_low");
            assert!(message.contains(&format!("`{role}`")), "{method} {path}: {message}");
        }
        let answer = ask(enough).await;
        assert!(![401, 403].contains(&answer.status), "{method} {path} as {role}: {answer:?}");
    }
}

#[tokio::test]
async fn every_stable_code_is_in_the_document() {
    let house = House::open().await;
    let described = house.described();
    let problem = described.0["components"]["schemas"]["Problem"]["properties"]["code"]["description"]
        .as_str()
        .unwrap();
    let refusals = described.0["components"]["schemas"]["Refusal"]["enum"].as_array().unwrap();
    let listed = |code: &str| problem.contains(&format!("\n- `{code}` ("));
    let missing: Vec<String> = errors_page::produced()
        .into_iter()
        .filter(|code| !listed(code) && !refusals.contains(&json!(code)))
        .collect();
    assert!(missing.is_empty(), "src/openapi/codes.rs knows nothing of {missing:?}");
    let explained = errors_page::explained();
    let known = problem.lines().filter_map(|line| line.strip_prefix("- `")?.split('`').next());
    let stale: Vec<&str> = known.filter(|code| !explained.contains(*code)).collect();
    assert!(stale.is_empty(), "src/openapi/codes.rs has {stale:?}, which nothing produces");
}

#[tokio::test]
async fn every_code_that_an_operation_names_is_known() {
    let house = House::open().await;
    for operation in house.described().operations() {
        assert!(operation.says.get("x-codes").is_none(), "x-codes is for the generator only");
    }
    // A misspelled one would have left no trace in the document.
    let routes = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/routes");
    let known = errors_page::produced();
    let mut named = BTreeSet::new();
    for entry in fs::read_dir(routes).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for codes in text.split("\"x-codes\" = json!([").skip(1) {
            let codes = &codes[..codes.find(']').unwrap()];
            named.extend(codes.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?} are named in src/routes and nothing produces them");
    assert!(named.len() > 10, "{named:?}");
}

#[tokio::test]
async fn requests_have_no_members_beside_those_described() {
    let house = House::open().await;
    let described = house.described();
    for operation in described.operations() {
        let schema = &operation.says["requestBody"]["content"]["application/json"]["schema"];
        if !schema.is_null() {
            closed(&described.0, schema, operation.path);
        }
    }
}

/// Looks at an object of a request and at the objects in it.
fn closed(document: &Value, schema: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str().and_then(|to| to.strip_prefix("#/components/schemas/")) {
        return closed(document, &document["components"]["schemas"][name], name);
    }
    for each in schema["oneOf"].as_array().into_iter().flatten() {
        closed(document, each, at);
    }
    if let Some(properties) = schema["properties"].as_object() {
        assert_eq!(
            schema["additionalProperties"],
            json!(false),
            "{at}: is #[serde(deny_unknown_fields)] missing?"
        );
        for (name, member) in properties {
            closed(document, member, &format!("{at}.{name}"));
        }
    }
}

#[test]
fn the_tests_reader_of_schemas_sees_what_does_not_fit() {
    let described = crate::described::Described(json!({"components": {"schemas": {"Lamp": {
        "type": "object", "required": ["on"],
        "properties": {"on": {"type": "boolean"}, "watts": {"type": ["integer", "null"], "maximum": 100}},
    }}}}));
    let lamp = json!({"$ref": "#/components/schemas/Lamp"});
    let fits = |value: Value| described.fits(&value, &lamp, "").is_ok();
    assert!(fits(json!({"on": true, "watts": 7, "more": 1})));
    let short = json!({"type": "array", "minItems": 1, "items": {"type": "string", "maxLength": 2}});
    let is_short = |value: Value| described.fits(&value, &short, "").is_ok();
    assert!(is_short(json!(["设备"])) && !is_short(json!([])) && !is_short(json!(["lamp"])));
    for unfit in [
        json!({}),
        json!({"on": 1}),
        json!({"on": true, "watts": 101}),
        json!({"on": true, "watts": null}),
        json!([]),
    ] {
        assert!(!fits(unfit.clone()), "{unfit}");
    }
    let mut found = Vec::new();
    described.undescribed(&json!({"on": true, "more": 1}), &lamp, "", &mut found);
    assert_eq!(found, [".more"]);
}
