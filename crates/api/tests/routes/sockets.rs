//! What only shows on the wire: exact bytes, odd requests, TLS, limits, and the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use otaru_api::{Api, ApiConfig, Limits};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::device_http::{credentials, version_report};
use crate::download::Told;
use crate::house::{House, IMAGE, IMAGE_SHA256, METRICS, PATIENCE, eventually};
use crate::metrics::Counted;

/// Capture fact 4, protocol quirk 25.
#[tokio::test]
async fn the_head_of_a_download_is_exactly_this() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    let path = &told.notice.path;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\n\r\n", told.notice.token);
    let mut stream = open.plain().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let first_read = read_once(&mut stream).await;
    let (head, _) = split(&first_read).expect("the whole head comes with the first read");
    assert_eq!(
        without_date(head),
        format!(
            "HTTP/1.1 200 OK\r\n\
             Content-Length: 36\r\n\
             Content-Type: application/octet-stream\r\n\
             Content-Disposition: attachment;filename=lamp.bin\r\n\
             Accept-Ranges: bytes\r\n\
             Etag: \"{IMAGE_SHA256}\"\r\n\
             Date: …\r\n\r\n"
        )
    );
}

/// Capture fact 5.
#[tokio::test]
async fn the_c_sdks_line_ends_are_understood() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    let (path, token) = (&told.notice.path, &told.notice.token);
    let with_header = format!(
        "GET {path} HTTP/1.1\nHost: 127.0.0.1\nContent-Type: application/json\nAuthorization:Bearer {token}\r\n\r\n"
    );
    // Without a header line of its own the SDK sends one blank line too many.
    let with_address = format!("GET {path}?access_token={token} HTTP/1.1\nHost: 127.0.0.1\n\r\n\r\n");
    for request in [with_header, with_address] {
        let answer = ask(&mut open.plain().await, &request).await;
        assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\nContent-Length: 36\r\n"), "{}", answer.head);
        assert_eq!(answer.body, IMAGE);
    }
}

#[tokio::test]
async fn a_device_reports_with_the_fewest_bytes() {
    let house = House::open().await;
    let lamp = house.furnish().await.device;
    let open = Open::start(&house, Limits::default()).await;
    let mut stream = open.tls().await;
    let body = credentials(&lamp, 0, "2019120219").to_string();
    let length = body.len();
    let request =
        format!("POST /v5/device-auth HTTP/1.1\nHost: 127.0.0.1\nContent-Length: {length}\r\n\r\n{body}");
    let answer = ask(&mut stream, &request).await;
    assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", answer.head);
    let granted: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let token = crate::house::text(&granted["access_token"]);

    let (id, body) = (&lamp.device_id, version_report("v1"));
    let length = body.len();
    let request = format!(
        "POST /v5/devices/{id}/sys/events/up HTTP/1.1\nHost: 127.0.0.1\naccess_token:{token}\nContent-Length: {length}\r\n\r\n{body}"
    );
    let answer = ask(&mut stream, &request).await;
    assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", answer.head);
    assert!(answer.head.contains("\r\nContent-Length: 0\r\n"), "{}", answer.head);
    let shown = house.viewer().get(&format!("/api/v1/devices/{id}")).await.ok(200);
    assert_eq!(shown["firmware_version"], "v1");
}

#[tokio::test]
async fn a_device_that_is_refused_over_http_is_shown_with_its_address() {
    let house = House::open().await;
    let open = Open::start(&house, Limits::default()).await;
    let nobody = crate::house::Registered { device_id: "lamp_9".into(), secret: "x".into() };
    let body = credentials(&nobody, 0, "2019120219").to_string();
    let request =
        format!("POST /v5/device-auth HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = open.plain().await;
    let from = stream.local_addr().unwrap();
    assert!(ask(&mut stream, &request).await.head.starts_with("HTTP/1.1 401 "));
    assert_eq!(house.engine.refused_connections()[0].peer, from.to_string());
}

#[tokio::test]
async fn over_tls_without_a_server_name_the_head_is_in_the_first_record() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    let (path, token) = (&told.notice.path, &told.notice.token);
    let mut stream = open.tls().await;
    let request = format!("GET {path} HTTP/1.1\nHost: 127.0.0.1\nAuthorization:Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let first_read = read_once(&mut stream).await;
    let (head, body) = split(&first_read).expect("the whole head comes with the first record");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let mut body = body.to_vec();
    while body.len() < IMAGE.len() {
        body.extend(read_once(&mut stream).await);
    }
    assert_eq!(body, IMAGE);
}

#[tokio::test]
async fn an_old_client_without_keep_alive_gets_its_file_and_the_end_of_the_connection() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    let (path, token) = (&told.notice.path, &told.notice.token);
    let mut stream = open.plain().await;
    let request = format!("GET {path} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let all = read_to_end(&mut stream).await;
    let (head, body) = split(&all).unwrap();
    assert!(head.contains(" 200 OK\r\n") && head.contains("\r\nContent-Length: 36\r\n"), "{head}");
    assert_eq!(body, IMAGE);
}

#[tokio::test]
async fn head_ends_with_its_head() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    let (path, token) = (&told.notice.path, &told.notice.token);
    let request = format!(
        "HEAD {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    let mut stream = open.plain().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let all = read_to_end(&mut stream).await;
    let (head, body) = split(&all).unwrap();
    assert!(head.contains("\r\nContent-Length: 36\r\n"), "{head}");
    assert_eq!(body, b"");
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    let (path, token) = (&told.notice.path, &told.notice.token);
    let mut stream = open.plain().await;
    for (range, wanted) in
        [("bytes=0-9", &IMAGE[..10]), ("bytes=10-19", &IMAGE[10..20]), ("bytes=20-", &IMAGE[20..])]
    {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nRange: {range}\r\n\r\n"
        );
        let answer = ask(&mut stream, &request).await;
        assert!(answer.head.starts_with("HTTP/1.1 206 Partial Content\r\n"), "{}", answer.head);
        assert_eq!(answer.body, wanted);
    }
}

#[tokio::test]
async fn the_api_spells_its_headers_in_title_case_too() {
    let house = House::open().await;
    let open = Open::start(&house, Limits::default()).await;
    let answer = ask(&mut open.plain().await, "GET /api/v1/products HTTP/1.1\r\nHost: h\r\n\r\n").await;
    for line in
        ["Content-Type: application/json", "Www-Authenticate: Bearer", "X-Request-Id: ", "Content-Length: "]
    {
        assert!(answer.head.contains(&format!("\r\n{line}")), "{line} in {}", answer.head);
    }
}

#[tokio::test]
async fn an_upload_whose_sender_goes_away_keeps_nothing() {
    let house = House::open().await;
    let open = Open::start(&house, Limits::default()).await;
    let made =
        house.admin().post("/api/v1/tokens", serde_json::json!({"name": "ci", "role": "operator"})).await;
    let token = crate::house::text(&made.ok(201)["token"]);
    let head = format!(
        "POST /api/v1/artifacts HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Length: 72\r\n\r\n"
    );
    let mut stream = open.plain().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(IMAGE).await.unwrap();
    stream.shutdown().await.unwrap();
    let all = read_to_end(&mut stream).await;
    assert!(!String::from_utf8_lossy(&all).contains(" 201 "), "{}", String::from_utf8_lossy(&all));
    house.viewer().get(&format!("/api/v1/artifacts/{IMAGE_SHA256}")).await.refused(404, "not_found");
    // The same bytes whole are new: nothing was left behind under another length.
    house.operator().upload(&[], IMAGE).await.ok(201);
}

#[tokio::test]
async fn an_upload_is_asked_for_when_its_sender_waits_to_be() {
    let house = House::open().await;
    let open = Open::start(&house, Limits::default()).await;
    let made =
        house.admin().post("/api/v1/tokens", serde_json::json!({"name": "ci", "role": "operator"})).await;
    let token = crate::house::text(&made.ok(201)["token"]);
    let head = format!(
        "POST /api/v1/artifacts HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 36\r\nExpect: 100-continue\r\n\r\n"
    );
    let mut stream = open.plain().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_once(&mut stream).await.starts_with(b"HTTP/1.1 100 Continue\r\n"));
    let answer = ask(&mut stream, std::str::from_utf8(IMAGE).unwrap()).await;
    assert!(answer.head.starts_with("HTTP/1.1 201 Created\r\n"), "{}", answer.head);
}

#[tokio::test]
async fn a_head_that_does_not_end_ends_the_connection() {
    let house = House::open().await;
    let limits = Limits { head_patience: Duration::from_millis(50), ..Limits::default() };
    let open = Open::start(&house, limits).await;
    let mut slow = open.plain().await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost:").await.unwrap();
    assert_eq!(read_to_end(&mut slow).await, b"");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let house = House::open().await;
    let open = Open::start(&house, Limits::default()).await;
    let lines = "X-Line: x\r\n".repeat(otaru_api::limits::HEAD_LINES_MAX);
    let line = format!("X-Large: {}\r\n", "x".repeat(otaru_api::limits::HEAD_BYTES_MAX));
    for too_large in [lines, line] {
        let mut stream = open.plain().await;
        stream
            .write_all(format!("GET /healthz HTTP/1.1\r\nHost: h\r\n{too_large}").as_bytes())
            .await
            .unwrap();
        assert!(read_once(&mut stream).await.starts_with(b"HTTP/1.1 431 "));
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_ends_the_connection() {
    let house = House::open().await;
    let limits = Limits { handshake_patience: Duration::from_millis(50), ..Limits::default() };
    let open = Open::start(&house, limits).await;
    let mut silent = TcpStream::connect(open.secure).await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, b"");
}

#[tokio::test]
async fn a_device_that_takes_nothing_of_its_package_is_given_up() {
    let counted = Counted::begin();
    let house = House::open().await;
    let lamp = house.furnish().await.device;
    // More than the buffers of both sockets hold.
    let large = house.operator().package("lamp", "v3", vec![7; 48 * 1024 * 1024].leak()).await;
    let told = Told::of(house, &lamp, large).await;
    let open =
        Open::start(&told.house, Limits { write_patience: Duration::from_millis(50), ..Limits::default() })
            .await;
    let mut stream = open.plain().await;
    let (path, token) = (&told.notice.path, &told.notice.token);
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    // Nothing is read here, and the line appears only once a connection was counted.
    eventually(async || counted.render().contains("\notaru_http_connections 0\n").then_some(())).await;
    let mut rest = Vec::new();
    // The end may be a reset; what matters is how much came.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < 48 * 1024 * 1024, "{} bytes came", rest.len());
}

#[tokio::test]
async fn a_connection_over_the_limit_waits_for_a_place() {
    let house = House::open().await;
    let open = Open::start(&house, Limits { connections_max: 1, ..Limits::default() }).await;
    let alive = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut first = open.plain().await;
    ask(&mut first, alive).await;
    let mut second = open.plain().await;
    second.write_all(alive.as_bytes()).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), second.readable()).await;
    assert!(early.is_err(), "there is no place for a second connection yet");
    drop(first);
    assert!(read_once(&mut second).await.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_crowd_that_never_finishes_its_requests_does_not_keep_others_out() {
    let house = House::open().await;
    let open = Open::start(&house, Limits { connections_max: 3, ..Limits::default() }).await;
    let unfinished = [
        "",
        "GET /healthz HTTP/1.1\r\nHost:",
        "POST /v5/device-auth HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    ];
    let mut crowd = Vec::new();
    for number in 0..12 {
        let mut stream = open.plain().await;
        stream.write_all(unfinished[number % 3].as_bytes()).await.unwrap();
        crowd.push(stream);
    }
    let answer = ask(&mut open.plain().await, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(answer.head.starts_with("HTTP/1.1 200 OK"), "{}", answer.head);
    assert_eq!(read_to_end(&mut crowd[0]).await, b"", "whoever kept the others waiting is closed");
}

#[tokio::test]
async fn an_upload_that_stands_still_keeps_its_place() {
    let house = House::open().await;
    let open = Open::start(&house, Limits { connections_max: 1, ..Limits::default() }).await;
    let made =
        house.admin().post("/api/v1/tokens", serde_json::json!({"name": "ci", "role": "operator"})).await;
    let token = crate::house::text(&made.ok(201)["token"]);
    let mut upload = open.plain().await;
    let head = format!(
        "POST /api/v1/artifacts HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 2\r\n\r\na"
    );
    upload.write_all(head.as_bytes()).await.unwrap();
    let mut second = open.plain().await;
    second.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(otaru_places::SILENCE * 5 / 2, second.readable()).await;
    assert!(early.is_err(), "there is work for the first one");
    upload.write_all(b"b").await.unwrap();
    assert!(read_once(&mut upload).await.starts_with(b"HTTP/1.1 201 Created\r\n"));
    // Now it is idle.
    assert!(read_once(&mut second).await.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn metrics_come_from_whoever_collects_them() {
    let house = House::open().await;
    let open = Open::start(&house, Limits::default()).await;
    let answer = ask(&mut open.plain().await, "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(answer.body, METRICS.as_bytes());
}

#[tokio::test]
async fn a_shutdown_lets_a_request_finish_and_takes_no_further_ones() {
    let house = House::open().await;
    let open = Open::start(&house, Limits::default()).await;
    let made =
        house.admin().post("/api/v1/tokens", serde_json::json!({"name": "ci", "role": "operator"})).await;
    let token = crate::house::text(&made.ok(201)["token"]);
    let mut idle = open.plain().await;
    ask(&mut idle, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut busy = open.plain().await;
    let head = format!(
        "POST /api/v1/artifacts HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 36\r\nExpect: 100-continue\r\n\r\n"
    );
    busy.write_all(head.as_bytes()).await.unwrap();
    assert!(read_once(&mut busy).await.starts_with(b"HTTP/1.1 100 Continue\r\n"), "the request is under way");
    let address = open.plain;
    open.stop.send(()).unwrap();
    assert_eq!(read_to_end(&mut idle).await, b"", "an idle connection is closed");
    eventually(async || TcpStream::connect(address).await.is_err().then_some(())).await;
    let answer = ask(&mut busy, std::str::from_utf8(IMAGE).unwrap()).await;
    assert!(answer.head.starts_with("HTTP/1.1 201 Created\r\n"), "{}", answer.head);
    tokio::time::timeout(PATIENCE, open.serving).await.expect("serving ends").unwrap();
}

#[tokio::test]
async fn a_shutdown_drops_a_request_that_takes_too_long() {
    let house = House::open().await;
    let open =
        Open::start(&house, Limits { drain_patience: Duration::from_millis(50), ..Limits::default() }).await;
    let mut stuck = open.plain().await;
    stuck
        .write_all(b"POST /api/v1/products HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{")
        .await
        .unwrap();
    open.stop.send(()).unwrap();
    tokio::time::timeout(PATIENCE, open.serving).await.expect("serving ends").unwrap();
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let house = House::open().await;
    let open = Open::start(&house, Limits::default()).await;
    let config = ApiConfig {
        plain: Some(open.plain),
        tls: None,
        device_tls: None,
        limits: Limits::default(),
        metrics: no_metrics(),
    };
    let error = Api::bind(house.engine.clone(), config).await.err().expect("the port is taken");
    assert!(error.to_string().contains(&open.plain.to_string()), "{error}");
}

fn no_metrics() -> otaru_api::Metrics {
    Arc::new(|| METRICS.to_owned())
}

/// A house with open doors.
pub struct Open {
    plain: SocketAddr,
    pub secure: SocketAddr,
    pub trust: rustls::RootCertStore,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Open {
    pub async fn start(house: &House, limits: Limits) -> Open {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (tls, trust) = certificate();
        let config = ApiConfig {
            plain: Some(any),
            tls: Some((any, tls)),
            device_tls: None,
            limits,
            metrics: no_metrics(),
        };
        let api = Api::bind(house.engine.clone(), config).await.unwrap();
        let (plain, secure) = (api.local_addr().unwrap(), api.tls_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(api.serve(async {
            // A test that ends without stopping drops its end; that is a stop as well.
            let _ = stopped.await;
        }));
        Open { plain, secure, trust, stop, serving }
    }

    /// Tells it to stop, and waits until it has.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
    }

    pub async fn plain(&self) -> TcpStream {
        TcpStream::connect(self.plain).await.unwrap()
    }

    /// As devices do it: by address, so without a server name, and without ALPN.
    async fn tls(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut config =
            rustls::ClientConfig::builder().with_root_certificates(self.trust.clone()).with_no_client_auth();
        config.enable_sni = false;
        let name = ServerName::IpAddress(self.secure.ip().into());
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(name, TcpStream::connect(self.secure).await.unwrap()).await.unwrap()
    }
}

/// A certificate for 127.0.0.1 that signs itself.
fn certificate() -> (Arc<rustls::ServerConfig>, rustls::RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let certificate = made.cert.der().clone();
    let mut trust = rustls::RootCertStore::empty();
    trust.add(certificate.clone()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    (Arc::new(config), trust)
}

pub struct Wire {
    pub head: String,
    pub body: Vec<u8>,
}

/// Sends a request and reads its answer, as long as `Content-Length` says.
pub async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &str) -> Wire {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    loop {
        if let Some((head, body)) = split(&all) {
            let length = head.split("Content-Length: ").nth(1).unwrap().split("\r\n").next().unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                return Wire { head: head.to_owned(), body: body.to_vec() };
            }
        }
        let more = read_once(stream).await;
        assert!(!more.is_empty(), "the answer ends early: {}", String::from_utf8_lossy(&all));
        all.extend(more);
    }
}

/// What one read of the C SDK's size gives.
pub async fn read_once<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut buffer = [0; 4095];
    let got =
        tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.expect("something comes").unwrap();
    buffer[..got].to_vec()
}

pub async fn read_to_end<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut all = Vec::new();
    let reading = stream.read_to_end(&mut all);
    tokio::time::timeout(PATIENCE, reading).await.expect("the connection ends").unwrap();
    all
}

pub fn split(all: &[u8]) -> Option<(&str, &[u8])> {
    let end = all.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    Some((std::str::from_utf8(&all[..end]).unwrap(), &all[end..]))
}

fn without_date(head: &str) -> String {
    let lines = head.split("\r\n").map(|line| if line.starts_with("Date: ") { "Date: …" } else { line });
    lines.collect::<Vec<_>>().join("\r\n")
}
