//! `/v3/projects`: which project a client belongs to that was configured with a region and keys only.
//!
//! Every region is the one project of this server.

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::call::Call;
use crate::problem::Problem;
use crate::router::Shared;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/v3/projects", get(list))
}

async fn list(call: Call) -> Result<Json<Value>, Problem> {
    call.look()?;
    let name = call.asked("name").unwrap_or("default");
    let project = json!({"id": call.engine.project_id(), "name": name, "enabled": true, "is_domain": false});
    Ok(Json(json!({ "projects": [project], "links": {"next": null, "previous": null} })))
}
