//! The OpenAPI document of the native API: made from the routes and the shapes themselves.
//!
//! How a new route gets into it:
//!
//! 1. Its shapes derive `ToSchema`, with `#[schema(as = Name)]` if the type's own name is not the one that a client
//!    should have. A member of an answer that is an `Option` and always there has `#[schema(required)]`; one that is
//!    skipped when it is `None` has `#[schema(value_type = …, required = false)]`.
//!    What another crate's enum can be is in [`words`].
//! 2. Its function has `#[utoipa::path(…)]`: method, path below `/api/v1`, `tag` (the resource), `operation_id`
//!    (`verb_noun`), `security(("token" = ["viewer"]))` with the role that [`May`](crate::caller::May) asks for,
//!    parameters, body, the answer for success, and in
//!    `extensions(("x-codes" = json!(["not_found"])))` the codes that are its own.
//!    The first line of its comment is the summary.
//! 3. It is registered with `.routes(routes!(function))`; plain `.route(…)` is refused by a test.
//! 4. `OTARU_RENEW=1 cargo test -p otaru-api --test routes openapi` writes `docs/openapi.json` anew.
//!
//! The codes that follow from what a route takes (a token, a path, a query, a body) are added here, see [`implied`].
//! Every answer that a test of this crate gets is held against the document, so that a forgotten code or member fails.
//!
//! Not here: what the codes mean for people (`docs/errors.md`); the application API, whose document is another one
//! (`iotda/described.rs`).

pub(crate) mod codes;
pub(crate) mod words;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, Required, SchemaFormat};
use utoipa::{IntoParams, OpenApi, PartialSchema, ToSchema};

use crate::limits::{PAGE_DEFAULT, PAGE_MAX};

/// What stands at the head.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Otaru",
        description = "The native API: JSON, with an API token as `Authorization: Bearer TOKEN`.\n\n\
            Every answer outside 2xx is a `Problem` with a stable `code`; `docs/errors.md` explains each. \
            Times are RFC 3339 in UTC with milliseconds. Lists are read page by page: send `next_cursor` of one page as \
            `cursor` of the next, until it is null. Members that are not described are refused in requests, and may be \
            added to answers.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "The server that this document came from")),
    tags(
        (name = "products", description = "The models that devices are instances of"),
        (name = "devices", description = "What can be updated"),
        (name = "groups", description = "Devices put together by hand"),
        (name = "artifacts", description = "Immutable bytes, known by their SHA-256"),
        (name = "packages", description = "Artifacts offered as firmware or software of a version for a product"),
        (name = "campaigns", description = "These devices to one of these packages, under this policy"),
        (name = "deployments", description = "A campaign on each of its devices"),
        (name = "events", description = "What changes, told while it does"),
        (name = "tokens", description = "Who may use the API"),
        (name = "access keys", description = "With which applications sign requests of the application API"),
        (name = "rules", description = "How telling applications of changes goes"),
        (name = "server", description = "The server itself: health, metrics, this document"),
    )
)]
struct Head;

/// The empty document that routes are added to.
pub(crate) fn head() -> utoipa::openapi::OpenApi {
    let mut head = Head::openapi();
    // What the document describes is the API, whose members are only added: it has no version but its path's.
    head.info.version = "1".to_owned();
    // The crate's manifest names no person, and the generator would put an empty one.
    head.info.contact = None;
    head
}

/// A body of any bytes.
pub(crate) enum Bytes {}

impl PartialSchema for Bytes {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
            .into()
    }
}

impl ToSchema for Bytes {}

/// `cursor` and `limit`, for a list that comes in pages.
pub(crate) struct Pages;

impl IntoParams for Pages {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let cursor = ObjectBuilder::new().schema_type(Type::String).build();
        let limit = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
            .minimum(Some(1))
            .maximum(Some(PAGE_MAX))
            .default(Some(json!(PAGE_DEFAULT)))
            .build();
        let query = |name: &str, description: &str, schema: utoipa::openapi::schema::Object| {
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(description))
                .schema(Some(schema))
                .build()
        };
        vec![
            query(
                "cursor",
                "`next_cursor` of the page before; without it the list begins at the start",
                cursor,
            ),
            query("limit", "How many entries at most", limit),
        ]
    }
}

/// The whole document: what the routes say, and what follows from it.
pub(crate) fn document(collected: &utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(collected).expect("the document is JSON");
    tidy(&mut document);
    rename_pages(&mut document);
    name_entries(&mut document);
    if let Some(components) = member(&mut document, "components") {
        components.insert("securitySchemes".to_owned(), json!({
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "An API token. The words beside it at an operation are the role that it needs; each role \
                    includes the ones before it: viewer, operator, approver, admin.",
            }
        }));
        let shared =
            SHARED.iter().map(|(name, status, codes)| ((*name).to_owned(), problem_response(*status, codes)));
        components.insert("responses".to_owned(), Value::Object(shared.collect()));
        if let Some(schemas) = components.get_mut("schemas").and_then(Value::as_object_mut) {
            schemas.insert("Problem".to_owned(), problem_schema());
        }
    }
    for (_, item) in member(&mut document, "paths").into_iter().flat_map(Map::iter_mut) {
        for (_, operation) in item.as_object_mut().into_iter().flat_map(Map::iter_mut) {
            if let Some(operation) = operation.as_object_mut() {
                for parameter in
                    operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
                {
                    never_null(&mut parameter["schema"]);
                }
                add_problems(operation);
                share_problems(operation);
            }
        }
    }
    document
}

/// What most operations refuse in the same way: under which name, with which status, and the codes.
const SHARED: &[(&str, u16, &[&str])] = &[
    ("Unauthorized", 401, &["token_missing", "unauthorized"]),
    ("Forbidden", 403, &["role_too_low"]),
    ("NotFound", 404, &["not_found"]),
    ("BodyTooLarge", 413, &["body_too_large"]),
    ("BodyNotJson", 415, &["body_not_json"]),
    ("Internal", 500, &["internal"]),
    ("Unavailable", 503, &["unavailable"]),
];

/// Names what is the same in many operations instead of repeating it.
fn share_problems(operation: &mut Map<String, Value>) {
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (name, status, codes) in SHARED {
        if let Some(response) = responses.get_mut(&status.to_string())
            && *response == problem_response(*status, codes)
        {
            *response = json!({"$ref": format!("#/components/responses/{name}")});
        }
    }
}

fn member<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Map<String, Value>> {
    value.get_mut(name)?.as_object_mut()
}

/// The form of every refusal.
fn problem_schema() -> Value {
    let mut listed = String::from("Stable. One of:");
    for code in codes::ALL {
        listed.push_str(&format!("\n- `{}` ({}): {}", code.name, code.status, code.says));
    }
    json!({
        "type": "object",
        "description": "Why a request was not done.",
        "required": ["code", "message", "request_id"],
        "properties": {
            "code": {"type": "string", "description": listed},
            "message": {"type": "string", "description": "For people; may change."},
            "request_id": {"type": "string", "description": "Also in the header `X-Request-Id`, and in the server's log."},
        },
    })
}

/// The codes that a route has because of what it takes.
fn implied(operation: &Map<String, Value>) -> Vec<&'static str> {
    let mut implied = Vec::new();
    let is_open = operation.get("security").is_none_or(|asked| asked == &json!([{}]));
    if !is_open {
        implied.extend(["token_missing", "unauthorized", "role_too_low", "unavailable"]);
    }
    for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        match (parameter["in"].as_str(), parameter["name"].as_str()) {
            (Some("path"), _) => implied.push("invalid_path"),
            (Some("query"), Some("cursor")) => implied.extend(["invalid_parameter", "invalid_cursor"]),
            (Some("query"), _) => implied.push("invalid_parameter"),
            _ => {}
        }
    }
    if let Some(body) = operation.get("requestBody") {
        implied.push("body_incomplete");
        if body["content"].get("application/json").is_some() {
            implied.extend(["body_not_json", "invalid_json", "invalid_member", "body_too_large"]);
        }
    }
    implied
}

/// Describes what an operation answers when it refuses: its own codes and the implied ones, by status.
fn add_problems(operation: &mut Map<String, Value>) {
    let own = operation.remove("x-codes").unwrap_or_default();
    let own = own.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let names: Vec<String> = own.chain(implied(operation).into_iter().map(str::to_owned)).collect();
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for code in codes::ALL {
        // Everything may break.
        if code.name == "internal" || names.iter().any(|name| name == code.name) {
            by_status.entry(code.status).or_default().push(code.name);
        }
    }
    for (status, codes) in by_status {
        responses.entry(status.to_string()).or_insert_with(|| problem_response(status, &codes));
    }
}

/// A refusal with one of these codes.
fn problem_response(status: u16, names: &[&str]) -> Value {
    let says = |name: &&str| {
        let known = codes::ALL.iter().find(|code| code.name == *name);
        format!("`{name}`: {}", known.map_or("", |code| code.says))
    };
    let mut response = json!({
        "description": names.iter().map(says).collect::<Vec<_>>().join("; "),
        // Beside a reference, so that a client has one type for all of them.
        "content": {"application/json": {"schema": {
            "$ref": "#/components/schemas/Problem",
            "properties": {"code": {"enum": names}},
        }}},
    });
    if status == 503 {
        response["headers"] = json!({"Retry-After": {
            "description": "After how many seconds to try again",
            "schema": {"type": "integer", "minimum": 0},
        }});
    }
    response
}

/// A parameter may be left out, but nothing in an address is null.
fn never_null(schema: &mut Value) {
    if let Some(kinds) = schema["type"].as_array_mut() {
        kinds.retain(|kind| kind != "null");
        if let [only] = &kinds[..] {
            schema["type"] = only.clone();
        }
    }
    let some =
        schema["oneOf"].as_array().and_then(|both| both.iter().find(|one| **one != json!({"type": "null"})));
    if let Some(some) = some.cloned() {
        *schema = some;
    }
}

/// The entries of a page are named, as they are elsewhere.
fn name_entries(document: &mut Value) {
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else { return };
    let names: Vec<String> = schemas.keys().cloned().collect();
    for name in names {
        if let Some(entry) = name.strip_suffix("Page")
            && schemas.contains_key(entry)
        {
            schemas[&name]["properties"]["items"]["items"] =
                json!({"$ref": format!("#/components/schemas/{entry}")});
        }
    }
}

/// Says things as clients read them best: a time where it is used, and one list of types instead of an alternative of
/// nothing and something.
fn tidy(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(members) => {
            members.values_mut().for_each(tidy);
            if members.get("$ref").is_some_and(|to| to == "#/components/schemas/Moment") {
                members.remove("$ref");
                members.insert("type".to_owned(), json!("string"));
                members.insert("format".to_owned(), json!("date-time"));
            }
            let nullable = members.get("oneOf").and_then(Value::as_array).and_then(|both| match &both[..] {
                [nothing, Value::Object(some)] if nothing == &json!({"type": "null"}) => Some(some.clone()),
                [Value::Object(some), nothing] if nothing == &json!({"type": "null"}) => Some(some.clone()),
                _ => None,
            });
            if let Some(mut some) = nullable
                && let Some(kind) = some.get("type").and_then(Value::as_str)
            {
                some.insert("type".to_owned(), json!([kind, "null"]));
                members.remove("oneOf");
                for (name, value) in some {
                    members.entry(name).or_insert(value);
                }
            }
            if let Some(Value::Object(schemas)) = members.get_mut("schemas") {
                schemas.remove("Moment");
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// How the generator names pages.
const PAGES: [&str; 2] = ["Listed_", "Counted_"];

/// A page of devices is a `DevicePage`.
fn rename_pages(value: &mut Value) {
    let renamed = |name: &str| {
        let (before, entry) = PAGES.iter().find_map(|page| name.split_once(page))?;
        Some(format!("{before}{entry}Page"))
    };
    match value {
        Value::Array(items) => items.iter_mut().for_each(rename_pages),
        Value::Object(members) => {
            members.values_mut().for_each(rename_pages);
            let old: Vec<String> = members
                .keys()
                .filter(|name| PAGES.iter().any(|page| name.starts_with(page)))
                .cloned()
                .collect();
            for name in old {
                if let (Some(to), Some(value)) = (renamed(&name), members.remove(&name)) {
                    members.insert(to, value);
                }
            }
            if let Some(Value::String(to)) = members.get_mut("$ref")
                && let Some(name) = renamed(to)
            {
                *to = name;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
