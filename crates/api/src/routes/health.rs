//! `/healthz`, `/readyz` and `/metrics`: for supervisors, load balancers and Prometheus. Without a token.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use otaru_engine::Engine;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::router::{Metrics, Shared};

pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(alive)).routes(routes!(ready)).routes(routes!(metrics))
}

#[derive(Serialize, ToSchema)]
struct Alive {
    alive: bool,
}

/// Says that the process is alive.
///
/// True as long as the process answers at all: a supervisor that restarts on anything else does harm.
#[utoipa::path(
    get, path = "/healthz", tag = "server", operation_id = "get_liveness", security(()),
    responses((status = 200, description = "It is", body = Alive)),
)]
async fn alive() -> Answer<Alive> {
    Answer(Alive { alive: true })
}

#[derive(Serialize, ToSchema)]
struct Ready {
    ready: bool,
    /// What is wrong, for people.
    reasons: Vec<String>,
}

/// Says whether devices and operators should be sent here now, and if not, why.
#[utoipa::path(
    get, path = "/readyz", tag = "server", operation_id = "get_readiness", security(()),
    responses((status = 200, description = "Yes", body = Ready), (status = 503, description = "No", body = Ready)),
)]
async fn ready(State(engine): State<Engine>) -> (StatusCode, Answer<Ready>) {
    let health = engine.health();
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Answer(Ready { ready: health.ready, reasons: health.reasons }))
}

/// Shows the metrics of this process as Prometheus text.
#[utoipa::path(
    get, path = "/metrics", tag = "server", operation_id = "get_metrics", security(()),
    responses((status = 200, description = "Prometheus text, version 0.0.4", body = String, content_type = "text/plain")),
)]
async fn metrics(State(render): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render())
}
