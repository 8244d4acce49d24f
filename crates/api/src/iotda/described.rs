//! The OpenAPI document of the application API: written beside the routes, one file per resource.
//!
//! How a new route gets into it: an [`Operation`] in the file of its resource here, with the refusals that are its own, and
//! the shapes that it names in `shapes` of the same file. Ranges are those that the code checks, by the same constants.
//! `OTARU_RENEW=1 cargo test -p otaru-api --test iotda document` writes `docs/openapi-applications.json` anew.
//!
//! What follows from what a route takes (a proof, a project, a query, a body) is added here.
//! Every answer that a test of `tests/iotda` gets is held against the document, so that a forgotten code or member fails.

mod apps;
mod devices;
mod groups;
mod modules;
mod operation;
mod packages;
mod products;
mod rules;
mod search;
mod shape;
mod tags;
mod tasks;
mod tokens;

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use self::operation::{Operation, SHARED, response};
use self::shape::{nullable, object, whole};

/// Where it is handed out, without a token: it tells nothing about anybody.
const PATH: &str = "/v5/openapi.json";

pub(super) async fn show() -> impl IntoResponse {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| {
        let text = serde_json::to_vec_pretty(&document()).expect("the document is JSON");
        text.into()
    });
    ([(header::CONTENT_TYPE, "application/json")], TEXT.clone())
}

const ABOUT: &str = "The published REST API of IoTDA, as far as it is offered here; everything else below `/v5/iot/` and `/v3/` is \
404 `IOTDA.000029`.\n\n\
A call carries a token of this server, in `X-Auth-Token` or as `Authorization: Bearer TOKEN`, or is signed with an access key \
as the published clients do it (`SDK-HMAC-SHA256` and `V11-HMAC-SHA256`); a signature decides before a token does. A header \
`X-Project-Id` has to be the project of the path.\n\n\
Members and parameters that are absent, null or empty text mean the same; those that nobody knows are passed over. Bodies are \
read as JSON whatever their type is said to be. Every answer outside 2xx is a `Refusal`.";

/// Resources, as operations are put together.
const TAGS: &[(&str, &str)] = &[
    ("resource spaces", "What an application keeps apart; the default one has the id of the project"),
    ("products", "The models that devices are instances of"),
    ("devices", "What can be upgraded"),
    ("groups", "Devices put together by hand"),
    ("tags", "Keys and values of devices"),
    ("packages", "Firmware and software of a version for a product"),
    ("modules", "Parts of a product with versions of their own: registered, and not upgraded"),
    ("batch tasks", "Upgrades of many devices: campaigns of the native API"),
    ("routing rules", "What applications are told, and where to"),
    ("search", "Devices by what holds for them"),
    ("tokens", "Tokens in place of signatures"),
    ("server", "The server itself"),
];

fn operations() -> Vec<Operation> {
    let about_itself = Operation::open("get", PATH, "show_openapi", "Shows this document.").answers(
        200,
        "OpenAPI 3.1",
        json!({"type": "object"}),
    );
    [
        apps::operations(),
        products::operations(),
        devices::operations(),
        groups::operations(),
        tags::operations(),
        packages::operations(),
        modules::operations(),
        tasks::operations(),
        rules::operations(),
        search::operations(),
        tokens::operations(),
        vec![about_itself],
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn shapes() -> Map<String, Value> {
    let own = vec![
        ("Page", page()),
        (
            "Refusal",
            object(
                &[
                    ("error_code", json!({"type": "string", "description": "Stable."})),
                    ("error_msg", json!({"type": "string", "description": "For people; may change."})),
                ],
                &[],
            ),
        ),
    ];
    let all = [
        own,
        apps::shapes(),
        products::shapes(),
        devices::shapes(),
        groups::shapes(),
        tags::shapes(),
        packages::shapes(),
        modules::shapes(),
        tasks::shapes(),
        rules::shapes(),
        search::shapes(),
        tokens::shapes(),
    ];
    all.into_iter().flatten().map(|(name, shape)| (name.to_owned(), shape)).collect()
}

fn page() -> Value {
    let marker = json!({"type": "string", "description": "The last record of the page; the next one begins after it."});
    let mut count = whole(0, None);
    count["description"] = "How many there are in all; beyond 10000 it may stay there.".into();
    object(&[("count", count), ("marker", nullable(marker))], &[])
}

/// The whole document.
fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations() {
        let item = paths.entry(operation.path).or_insert_with(|| json!({}));
        item[operation.method] = operation.says;
    }
    let responses = SHARED.iter().map(|(name, whys)| ((*name).to_owned(), response(whys)));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Otaru for applications",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "version": "5",
        },
        "servers": [{"url": "/", "description": "The server that this document came from"}],
        "tags": TAGS.iter().map(|(name, says)| json!({"name": name, "description": says})).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": shapes(),
            "responses": responses.collect::<Map<_, _>>(),
            "securitySchemes": {
                "token": {
                    "type": "apiKey", "in": "header", "name": "X-Auth-Token",
                    "description": "A token. The word beside it at an operation is the role that it needs; each role \
                        includes the ones before it: viewer, operator, approver, admin.",
                },
                "bearer": {"type": "http", "scheme": "bearer", "description": "The same token."},
            },
        },
    })
}
