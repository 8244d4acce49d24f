//! What happens to every request: it gets a name, it is timed and counted, and its problem is written down.
//!
//! A panic in a route ends that request with a 500 and is logged under its id; the connection lives on.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use otaru_engine::Fault;
use serde::Serialize;
use tokio::time::Instant;

use crate::problem::{Problem, Reported, Voice};
use crate::request_id::{self, RequestId};
use crate::routes::download;

/// Wraps a whole request.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let began = Instant::now();

    let outcome = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = outcome.unwrap_or_else(|panic| {
        let cause = format!("the route panicked: {}", panic_text(panic.as_ref()));
        Problem::internal(cause).into_response()
    });

    if let Some(Reported(problem)) = response.extensions_mut().remove() {
        log(&problem, &id, &method, &route, response.status());
        *response.body_mut() = written(&problem, &id);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(request_id::HEADER, id.header());
    } else if route != download::PATH {
        // A download's head stays as short as devices need it.
        response.headers_mut().insert(request_id::HEADER, id.header());
    }
    count(&method, route, response.status(), began);
    response
}

#[derive(Serialize)]
struct Written<'a> {
    code: &'a str,
    message: &'a str,
    request_id: &'a str,
}

#[derive(Serialize)]
struct WrittenAsPublished<'a> {
    error_code: &'a str,
    error_msg: &'a str,
}

fn written(problem: &Problem, id: &RequestId) -> Body {
    let (code, message, request_id) = (problem.code(), problem.message(), id.as_str());
    let written = match problem.voice {
        Voice::Native => serde_json::to_vec(&Written { code, message, request_id }),
        Voice::Published => serde_json::to_vec(&WrittenAsPublished { error_code: code, error_msg: message }),
    };
    Body::from(written.expect("a few strings are JSON"))
}

fn log(problem: &Problem, id: &RequestId, method: &Method, route: &str, status: StatusCode) {
    let (request_id, status, code) = (id.as_str(), status.as_u16(), problem.code());
    // Not `message`: that is the line's own.
    let (detail, cause) = (problem.message(), problem.cause().unwrap_or("none"));
    match problem.fault() {
        Fault::Caller => {
            tracing::debug!(request_id, %method, route, status, code, detail, "request refused")
        }
        Fault::Unavailable => {
            tracing::warn!(request_id, %method, route, status, code, cause, "request put off")
        }
        Fault::Bug => tracing::error!(request_id, %method, route, status, code, cause, "request failed"),
    }
}

/// Says what is counted on this side. Names begin with `otaru_http_`.
pub(crate) fn describe_metrics() {
    metrics::describe_counter!(
        "otaru_http_requests_total",
        "Requests answered, by method, route and status."
    );
    metrics::describe_histogram!(
        "otaru_http_request_seconds",
        metrics::Unit::Seconds,
        "From the head of a request to the head of its answer."
    );
    metrics::describe_counter!("otaru_http_download_bytes_total", "Bytes of packages that sockets took.");
    metrics::describe_gauge!("otaru_http_connections", "Connections held, with and without a request.");
    metrics::describe_counter!(
        "otaru_http_connections_crowded_out_total",
        "Connections closed while they were idle, because others waited for a place."
    );
    metrics::counter!("otaru_http_download_bytes_total").increment(0);
    metrics::counter!("otaru_http_connections_crowded_out_total").increment(0);
}

fn count(method: &Method, route: String, status: StatusCode, began: Instant) {
    let method = known(method);
    let status = status.as_u16().to_string();
    metrics::counter!("otaru_http_requests_total", "method" => method, "route" => route.clone(), "status" => status)
        .increment(1);
    metrics::histogram!("otaru_http_request_seconds", "method" => method, "route" => route)
        .record(began.elapsed().as_secs_f64());
}

/// A method as a label; whatever a caller invents is one word, so that it cannot fill the metrics.
fn known(method: &Method) -> &'static str {
    [Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE, Method::PUT, Method::OPTIONS]
        .iter()
        .zip(["GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"])
        .find_map(|(candidate, name)| (candidate == method).then_some(name))
        .unwrap_or("other")
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "not a text",
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_ends_one_request_and_says_nothing_of_its_cause() {
        let router = Router::new()
            .route(
                "/",
                get(|| async {
                    if true {
                        panic!("the secret is 42")
                    }
                }),
            )
            .layer(axum::middleware::from_fn(observe));
        let request = Request::builder().header("x-request-id", "ours").uri("/").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["code"], &body["request_id"]), (&"internal".into(), &"ours".into()));
        assert!(!body.to_string().contains("42"), "{body}");
    }

    #[test]
    fn an_invented_method_is_one_word_in_the_metrics() {
        assert_eq!(known(&Method::PATCH), "PATCH");
        assert_eq!(known(&Method::from_bytes(b"FROBNICATE").unwrap()), "other");
    }
}
