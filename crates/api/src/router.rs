//! The map of paths.
//!
//! ```text
//! /api/v1/…            the native API: JSON, `Authorization: Bearer TOKEN`
//! /download/{id}/{name} packages, for devices
//! /v5/device-auth, /v5/devices/{id}/sys/…  what devices say over HTTP: the published shapes, `access_token: TOKEN`
//! /healthz /readyz      for supervisors and load balancers, without a token
//! /metrics              for Prometheus, without a token
//! ```

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, Request};
use axum::middleware;
use bytes::Bytes;
use otaru_engine::Engine;
use utoipa_axum::router::OpenApiRouter;

use crate::observe::observe;
use crate::openapi;
use crate::problem::{Code, Problem};
use crate::routes;

/// Renders the metrics of this process as Prometheus text.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the routes have at hand.
#[derive(Clone)]
pub(crate) struct Shared {
    engine: Engine,
    metrics: Metrics,
    description: Description,
}

/// The OpenAPI document, as text.
#[derive(Clone)]
pub(crate) struct Description(pub(crate) Bytes);

impl FromRef<Shared> for Description {
    fn from_ref(shared: &Shared) -> Description {
        shared.description.clone()
    }
}

impl FromRef<Shared> for Engine {
    fn from_ref(shared: &Shared) -> Engine {
        shared.engine.clone()
    }
}

impl FromRef<Shared> for Metrics {
    fn from_ref(shared: &Shared) -> Metrics {
        Arc::clone(&shared.metrics)
    }
}

/// Everything that is answered, without sockets: for [`crate::Api`] and for tests in the process.
pub fn router(engine: Engine, metrics: Metrics) -> Router {
    let (described, collected) = OpenApiRouter::with_openapi(openapi::head())
        .nest("/api/v1", routes::native())
        .merge(routes::health::routes())
        .split_for_parts();
    let document = serde_json::to_vec_pretty(&openapi::document(&collected)).expect("the document is JSON");
    described
        .merge(routes::download::routes())
        .merge(routes::device_http::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(not_with_this_method)
        .layer(middleware::from_fn(observe))
        .with_state(Shared { engine, metrics, description: Description(document.into()) })
}

async fn unknown(request: Request) -> Problem {
    Problem::new(
        Code::PathUnknown,
        format!("there is nothing at {}; the API is under /api/v1/", request.uri().path()),
    )
}

async fn not_with_this_method(request: Request) -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        format!(
            "{} is not possible at {}; the header `Allow` says what is",
            request.method(),
            request.uri().path()
        ),
    )
}
