//! The application API of IoTDA, for applications that exist: its paths, words and codes, translated onto the same calls
//! of the engine as the native API.
//!
//! Always true:
//! - No rule of the product lives here: what this layer decides is how something is said.
//! - Lists are never null, errors have both of their members, and nothing is redirected: clients stumble over all three.
//! - What is not offered is 404 with a message that says so.
//!
//! `docs/decisions/0011-application-api.md` has what the published pages leave open.

mod apps;
mod call;
mod described;
mod devices;
mod filter;
mod groups;
mod input;
mod members;
mod modules;
mod packages;
mod paging;
mod products;
mod projects;
pub(crate) mod push;
mod refusal;
pub(crate) mod rules;
mod search;
mod search_sql;
mod signature;
mod tags;
mod tasks;
mod tokens;
mod words;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;

use crate::problem::Problem;
use crate::router::Shared;

/// What its paths begin with.
const ROOTS: [&str; 2] = ["/v5/iot/", "/v3/"];

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .merge(apps::routes())
        .merge(products::routes())
        .merge(devices::routes())
        .merge(groups::routes())
        .merge(tags::routes())
        .merge(packages::routes())
        .merge(modules::routes())
        .merge(tasks::routes())
        .merge(projects::routes())
        .merge(rules::routes())
        .route("/v5/openapi.json", get(described::show))
        .merge(search::routes())
        .merge(tokens::routes())
}

/// The answer to a call that is not offered; `None`: it is not for this API.
pub(crate) fn not_offered(request: &Request) -> Option<Problem> {
    let path = request.uri().path();
    let is_ours = ROOTS.iter().any(|root| path.starts_with(root));
    is_ours.then(|| refusal::NOT_OFFERED.because(format!("{} {path}", request.method())))
}

/// A random id in the form that groups have.
fn new_uuid() -> Result<String, Problem> {
    let mut bytes = [0_u8; 16];
    otaru_engine::random(&mut bytes).map_err(|error| refusal::of_engine(error, refusal::INVALID))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&at) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    Ok(text)
}
