//! What is counted, under which names and labels.

use axum::body::Body;
use axum::http::Method;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use otaru_api::Limits;

use crate::download::Told;
use crate::house::House;
use crate::sockets::{Open, ask};

#[tokio::test]
async fn requests_are_counted_by_route_and_status_and_never_by_id() {
    let counted = Counted::begin();
    let house = House::open().await;
    house.viewer().get("/api/v1/products/lamp").await.refused(404, "not_found");
    house.viewer().get("/api/v1/products/door").await.refused(404, "not_found");
    house.viewer().get("/nowhere/at/all").await.refused(404, "path_unknown");
    let invented = Method::from_bytes(b"FROBNICATE").unwrap();
    house.viewer().send(invented, "/healthz", &[], Body::empty()).await.refused(405, "method_not_allowed");
    counted.shows(r#"otaru_http_requests_total{method="GET",route="/api/v1/products/{id}",status="404"} 2"#);
    counted.shows(r#"otaru_http_requests_total{method="GET",route="none",status="404"} 1"#);
    counted.shows(r#"otaru_http_requests_total{method="other",route="/healthz",status="405"} 1"#);
    counted.shows(r#"otaru_http_request_seconds_count{method="GET",route="/api/v1/products/{id}"} 2"#);
}

#[tokio::test]
async fn the_bytes_of_downloads_are_counted() {
    let counted = Counted::begin();
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    let mut stream = open.plain().await;
    assert_eq!(ask(&mut stream, &told.request("Range: bytes=0-9\r\n")).await.body.len(), 10);
    assert_eq!(ask(&mut stream, &told.request("")).await.body.len(), 36);
    counted.shows("otaru_http_download_bytes_total 46");
    counted.shows(r#"route="/download/{deployment_id}/{file_name}",status="206"} 1"#);
}

/// The metrics of this test's thread, on which everything of it runs.
pub struct Counted {
    handle: PrometheusHandle,
    _here: metrics::LocalRecorderGuard<'static>,
}

impl Counted {
    pub fn begin() -> Counted {
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        Counted { handle: recorder.handle(), _here: metrics::set_default_local_recorder(recorder) }
    }

    pub fn render(&self) -> String {
        self.handle.render()
    }

    #[track_caller]
    fn shows(&self, line: &str) {
        let text = self.render();
        assert!(text.contains(line), "{line} in\n{text}");
    }
}
