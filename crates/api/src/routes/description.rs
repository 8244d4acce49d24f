//! `/openapi.json`: what can be asked for here, for programs. Without a token: it tells nothing about anybody.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::router::{Description, Shared};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(show))
}

/// Shows this document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "server", operation_id = "get_openapi", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json")),
)]
async fn show(State(Description(document)): State<Description>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document)
}
