//! `/healthz`, `/readyz` and `/metrics`: for supervisors, load balancers and Prometheus. Without a token.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json as Answer, Router};
use otaru_engine::Engine;
use serde::Serialize;

use crate::router::{Metrics, Shared};

pub(crate) fn routes() -> Router<Shared> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).route("/metrics", get(metrics))
}

#[derive(Serialize)]
struct Alive {
    alive: bool,
}

/// True as long as the process answers at all: a supervisor that restarts on anything else does harm.
async fn alive() -> Answer<Alive> {
    Answer(Alive { alive: true })
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    reasons: Vec<String>,
}

/// Whether devices and operators should be sent here now, and if not, why.
async fn ready(State(engine): State<Engine>) -> (StatusCode, Answer<Ready>) {
    let health = engine.health();
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Answer(Ready { ready: health.ready, reasons: health.reasons }))
}

async fn metrics(State(render): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render())
}
