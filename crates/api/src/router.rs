//! The map of paths.
//!
//! ```text
//! /api/v1/…            the native API: JSON, `Authorization: Bearer TOKEN`
//! /download/{id}/{name} packages, for devices
//! /v5/device-auth, /v5/devices/{id}/sys/…  what devices say over HTTP: the published shapes, `access_token: TOKEN`
//! /v5/iot/{project_id}/…  the application API: the published shapes, signed with an access key
//! /healthz /readyz      for supervisors and load balancers, without a token
//! /metrics              for Prometheus, without a token
//! ```

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, Request};
use axum::http::Uri;
use axum::middleware;
use axum::routing::get;
use bytes::Bytes;
use otaru_engine::Engine;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

use crate::iotda;
use crate::iotda::push::{PushLimits, Pusher};
use crate::limits::IMPORTS_MAX;
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
    imports: Imports,
    pusher: Pusher,
}

impl FromRef<Shared> for Pusher {
    fn from_ref(shared: &Shared) -> Pusher {
        shared.pusher.clone()
    }
}

/// A permit for each import that may go on at the same time.
#[derive(Clone)]
pub(crate) struct Imports(pub(crate) Arc<Semaphore>);

impl FromRef<Shared> for Imports {
    fn from_ref(shared: &Shared) -> Imports {
        shared.imports.clone()
    }
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
    let imports = Imports(Arc::new(Semaphore::new(IMPORTS_MAX)));
    let pusher = Pusher::new(engine.clone(), PushLimits::default());
    let router = described
        .merge(routes::download::routes())
        .merge(routes::device_http::routes())
        .merge(iotda::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(not_with_this_method)
        .layer(middleware::from_fn(observe))
        .with_state(Shared { engine, metrics, description: Description(document.into()), imports, pusher });
    with_device_called_import(router)
}

/// A device may be called `import`: but for POST, which imports, its path is that of a device.
fn with_device_called_import(router: Router) -> Router {
    let inner = router.clone();
    let as_device = move |mut request: Request| {
        let inner = inner.clone();
        async move {
            // The same path, spelled so that it is not taken for the one that imports.
            let rest = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
            let spelled = format!("/api/v1/devices/%69mport{rest}");
            *request.uri_mut() = Uri::try_from(spelled).expect("a query that was read is one");
            inner.oneshot(request).await
        }
    };
    router.route(
        routes::import::PATH,
        get(as_device.clone()).patch(as_device.clone()).delete(as_device.clone()).put(as_device),
    )
}

async fn unknown(request: Request) -> Problem {
    if let Some(problem) = iotda::not_offered(&request) {
        return problem;
    }
    Problem::new(
        Code::PathUnknown,
        format!("there is nothing at {}; the API is under /api/v1/", request.uri().path()),
    )
}

async fn not_with_this_method(request: Request) -> Problem {
    if let Some(problem) = iotda::not_offered(&request) {
        return problem;
    }
    Problem::new(
        Code::MethodNotAllowed,
        format!(
            "{} is not possible at {}; the header `Allow` says what is",
            request.method(),
            request.uri().path()
        ),
    )
}
