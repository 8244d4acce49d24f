//! The download server profile that the published SDKs need, byte for byte, on plain sockets and over TLS.
//!
//! The requests are what the SDKs were seen to send, with the token and the path of the test.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Method;
use otaru_api::Limits;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::download::Told;
use crate::house::{Gadget, House, IMAGE, Notice};
use crate::sockets::{Open, ask, read_once, split};

/// The largest body of a refused download: the SDK that saves it as the package saves no more than this.
const ERROR_BODY_BYTES_MAX: usize = 256;

/// Capture section 5, capture facts 4 and 5, protocol quirk 25.
#[tokio::test]
async fn every_sdk_gets_the_file_as_it_is_whatever_it_says_it_accepts() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    for request in requests(&told.notice) {
        for (way, mut stream) in each_way(&open).await {
            let answer = ask(&mut stream, &request).await;
            is_what_sdks_read(&answer.head);
            assert_eq!(answer.body, IMAGE, "{way}: {request}");
        }
    }
}

/// Protocol quirk 25: the C SDK reads the head with one read of TLS, which gives one record at most.
#[tokio::test]
async fn the_first_record_holds_the_whole_head_of_a_large_file_with_the_longest_name() {
    const SIZE: usize = 1_000_000;
    let name = format!("{}.bin", "n".repeat(124));
    let (told, bytes) = told_of_a_large_file(SIZE, &name).await;
    let open = Open::start(&told.house, Limits::default()).await;
    for version in [&TLS12, &TLS13] {
        let mut records = Records::open(&open, tls(&open, version, &[])).await;
        records.say(told.request("").as_bytes()).await;
        let first = records.next_plaintext().await;
        let (head, body) = split(&first).expect("the head ends in the first record");
        assert!(head.len() < 4_095, "{} bytes of head", head.len());
        assert!(head.contains(&format!("\r\nContent-Disposition: attachment;filename={name}\r\n")), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {SIZE}\r\n")), "{head}");
        let mut body = body.to_vec();
        while body.len() < SIZE {
            body.extend(records.next_plaintext().await);
        }
        assert!(body == bytes, "the rest of the file is behind it, and nothing else");
    }
}

#[tokio::test]
async fn the_first_read_of_a_plain_socket_holds_the_whole_head_of_a_large_file() {
    let name = format!("{}.bin", "n".repeat(124));
    let (told, _) = told_of_a_large_file(1_000_000, &name).await;
    let open = Open::start(&told.house, Limits::default()).await;
    let mut stream = open.plain().await;
    stream.write_all(told.request("").as_bytes()).await.unwrap();
    let first = read_once(&mut stream).await;
    is_what_sdks_read(split(&first).expect("the head ends in the first read").0);
}

#[tokio::test]
async fn a_client_that_offers_alpn_gets_the_same() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    for offered in [&[&b"http/1.1"[..]][..], &[b"h2", b"http/1.1"]] {
        let connector = tokio_rustls::TlsConnector::from(tls(&open, &TLS13, offered));
        let socket = TcpStream::connect(open.secure).await.unwrap();
        let mut stream = connector.connect(by_address(&open), socket).await.unwrap();
        assert_eq!(ask(&mut stream, &told.request("")).await.body, IMAGE);
    }
}

/// The standard forbids an address as a server name, and there are clients that send one.
#[tokio::test]
async fn an_address_as_the_server_name_is_answered_like_none() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    for version in [&TLS12, &TLS13] {
        // Of the same length, so that only the name has to be replaced.
        let mut config = (*tls(&open, version, &[])).clone();
        config.enable_sni = true;
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let at = hello.windows(9).position(|part| part == b"localhost").expect("the name is sent");
        hello[at..at + 9].copy_from_slice(b"127.0.0.1");
        let mut socket = TcpStream::connect(open.secure).await.unwrap();
        socket.write_all(&hello).await.unwrap();
        let answer = record(&mut socket).await;
        // A handshake record (22) with a ServerHello (2), and no alert (21).
        assert_eq!((answer[0], answer[5]), (22, 2), "{version:?}");
    }
}

/// Capture fact 5: v2 of the C SDK ends its head with one line too many.
#[tokio::test]
async fn the_stray_line_end_of_the_c_sdk_does_not_spoil_the_next_request() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    for (way, mut stream) in each_way(&open).await {
        for request in [c_v2(&told.notice), c_v2(&told.notice), told.request("Range: bytes=30-\r\n")] {
            let answer = ask(&mut stream, &request).await;
            assert_eq!(answer.body, IMAGE[IMAGE.len() - answer.body.len()..], "{way}");
        }
    }
}

#[tokio::test]
async fn the_token_is_taken_with_and_without_a_blank_in_any_case_and_from_the_query() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    let Notice { path, token, .. } = &told.notice;
    for line in
        ["Authorization: Bearer ", "Authorization:Bearer ", "authorization:bearer ", "AUTHORIZATION: BEARER "]
    {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n{line}{token}\r\n\r\n");
        for (way, mut stream) in each_way(&open).await {
            assert_eq!(ask(&mut stream, &request).await.body, IMAGE, "{way}: {line}");
        }
    }
    let request = format!("GET {path}?access_token={token} HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(ask(&mut open.plain().await, &request).await.body, IMAGE);
}

#[tokio::test]
async fn ranges_have_their_exact_heads() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    let etag = format!("\"{}\"", told.notice.sha256);
    for (lines, status, range, body) in [
        ("Range: bytes=5-9\r\n".into(), "206 Partial Content", Some("bytes 5-9/36"), &IMAGE[5..10]),
        (
            format!("Range: bytes=30-\r\nIf-Range: {etag}\r\n"),
            "206 Partial Content",
            Some("bytes 30-35/36"),
            &IMAGE[30..],
        ),
        ("Range: bytes=30-\r\nIf-Range: \"other\"\r\n".into(), "200 OK", None, IMAGE),
        ("Range: bytes=0-1,4-5\r\n".into(), "200 OK", None, IMAGE),
    ] {
        for (way, mut stream) in each_way(&open).await {
            let answer = ask(&mut stream, &told.request(&lines)).await;
            assert!(answer.head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{way}: {}", answer.head);
            let said = answer.head.lines().find_map(|line| line.strip_prefix("Content-Range: "));
            assert_eq!((said, &answer.body[..]), (range, body), "{way}: {lines}");
        }
    }
}

#[tokio::test]
async fn a_head_request_is_answered_with_the_same_head_and_keeps_the_connection() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    for (way, mut stream) in each_way(&open).await {
        stream.write_all(told.request("").replacen("GET", "HEAD", 1).as_bytes()).await.unwrap();
        let all = read_once(&mut stream).await;
        let (head, rest) = split(&all).unwrap();
        is_what_sdks_read(head);
        assert_eq!(rest, b"", "{way}");
        assert_eq!(ask(&mut stream, &told.request("")).await.body, IMAGE, "{way}");
    }
}

/// Protocol quirk 28: one SDK keeps the body of an error as the package.
#[tokio::test]
async fn the_bodies_of_refusals_are_tiny_and_say_what_is_wrong() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    let Notice { path, token, .. } = &told.notice;
    // The longest id that a caller may bring, because it comes back in the body.
    let id = "i".repeat(otaru_api::limits::REQUEST_ID_BYTES_MAX);
    let get = |path: &str, lines: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: h\r\nX-Request-Id: {id}\r\n{lines}\r\n")
    };
    let elsewhere = format!("/download/{}/lamp.bin?access_token={token}", "0".repeat(24));
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for (request, status) in [
        (get(path, ""), 401),
        (get(path, "Authorization: Bearer nonsense\r\n"), 401),
        (get(path, &format!("Authorization: Bearer {}\r\n", "x".repeat(4_000))), 401),
        (get(&elsewhere, ""), 404),
        (get("/download/nonsense", ""), 404),
        (get(&format!("/download/{}/lamp.bin?access_token={token}", "n".repeat(4_000)), ""), 404),
        (get("/download/%ff/lamp.bin", ""), 400),
        (get(path, &format!("{bearer}Range: bytes=99-\r\n")), 416),
        (get(path, &bearer).replacen("GET", "POST", 1), 405),
    ] {
        for (way, mut stream) in each_way(&open).await {
            let answer = ask(&mut stream, &request).await;
            assert!(answer.head.starts_with(&format!("HTTP/1.1 {status} ")), "{way}: {}", answer.head);
            assert!(answer.body.len() <= ERROR_BODY_BYTES_MAX, "{} bytes: {request}", answer.body.len());
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert!(!body["message"].as_str().unwrap().is_empty());
        }
    }
    let mut told = told;
    told.gadget.runs("v2").await;
    let over = ask(&mut open.plain().await, &told.request("")).await;
    assert!(
        over.head.starts_with("HTTP/1.1 403 ") && over.body.len() <= ERROR_BODY_BYTES_MAX,
        "{}",
        over.head
    );
    told.house.faults.fail_until_healed();
    let out = told.house.stranger().send(Method::GET, &told.notice.path, &[], Body::empty()).await;
    assert!(out.body.len() <= ERROR_BODY_BYTES_MAX, "{} bytes", out.body.len());
}

/// All SDKs read 429 and 503 as a plain failure of the upgrade.
#[tokio::test]
async fn nobody_who_asks_often_is_told_to_slow_down() {
    let told = Told::open().await;
    let open = Open::start(&told.house, Limits::default()).await;
    let mut stream = open.plain().await;
    for _ in 0..300 {
        let answer = ask(&mut stream, &told.request("Range: bytes=0-0\r\n")).await;
        assert!(answer.head.starts_with("HTTP/1.1 206 "), "{}", answer.head);
    }
}

/// Protocol quirk 36: Android sends no header for software, so that the address has the token as well.
#[tokio::test]
async fn the_address_of_a_software_notice_is_enough_by_itself() {
    let told = told_of("software", "token").await;
    let (_, query) = told.path.split_once('?').expect("the token is in the query");
    assert_eq!(query, format!("access_token={}", told.token.as_ref().expect("and beside it")));
    told.is_served().await;
}

/// Capture fact 4 and section 5: the C SDK takes the name of the file from what stands before the `?`.
#[tokio::test]
async fn the_address_of_a_second_form_notice_has_a_question_mark_and_needs_no_token_beside_it() {
    for kind in ["firmware", "software"] {
        let told = told_of(kind, "signed_url").await;
        assert_eq!(told.token, None, "{kind}");
        assert!(told.path.contains("/lamp.bin?access_token="), "{}", told.path);
        told.is_served().await;
    }
}

#[tokio::test]
async fn firmware_is_fetched_with_a_header_unless_somebody_chose_otherwise() {
    let told = Told::open().await;
    assert!(!told.notice.path.contains('?'), "{}", told.notice.path);
    let house = &told.house;
    let package = house.viewer().get("/api/v1/packages").await.ok(200)["items"][0].clone();
    assert_eq!(package["delivery"], "token");
}

/// The C SDK reads nine digits of a length.
#[tokio::test]
async fn a_package_with_ten_digits_of_length_is_refused_before_its_bytes_are_sent() {
    let house = House::open().await;
    let open = Open::start(&house, Limits::default()).await;
    let made = house.admin().post("/api/v1/tokens", json!({"name": "ci", "role": "operator"})).await.ok(201);
    let token = crate::house::text(&made["token"]);
    let upload = |bytes: u64| {
        format!(
            "POST /api/v1/artifacts HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {bytes}\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let refused = ask(&mut open.plain().await, &upload(1_000_000_000)).await;
    assert!(refused.head.starts_with("HTTP/1.1 413 "), "{}", refused.head);
    assert!(String::from_utf8_lossy(&refused.body).contains("999999999"));
    let mut stream = open.plain().await;
    stream.write_all(upload(999_999_999).as_bytes()).await.unwrap();
    assert!(read_once(&mut stream).await.starts_with(b"HTTP/1.1 100 Continue\r\n"), "one byte less is taken");
}

// --- Requests ----------------------------------------------------------------------------------------------

/// As captured: Python, C in both forms, Java, Go.
fn requests(notice: &Notice) -> [String; 5] {
    let Notice { path, token, .. } = notice;
    [
        format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:18942\r\nUser-Agent: python-requests/2.32.0\r\n\
             Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        ),
        format!(
            "GET {path} HTTP/1.1\nHost: 127.0.0.1\nContent-Type: application/json\nAuthorization:Bearer {token}\r\n\r\n"
        ),
        c_v2(notice),
        format!(
            "GET {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nHost: 127.0.0.1:18943\r\n\
             Connection: Keep-Alive\r\nAccept-Encoding: gzip\r\nUser-Agent: okhttp/3.13.1\r\n\r\n"
        ),
        format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:18942\r\nUser-Agent: Go-http-client/1.1\r\n\
             Authorization: Bearer {token}\r\nContent-Type: text/plain\r\nAccept-Encoding: gzip\r\n\r\n"
        ),
    ]
}

fn c_v2(notice: &Notice) -> String {
    let Notice { path, token, .. } = notice;
    format!("GET {path}?access_token={token} HTTP/1.1\nHost: 127.0.0.1\n\r\n\r\n")
}

/// Status line, spelling and length as the pickiest reader compares them, and nothing that some reader cannot bear.
#[track_caller]
fn is_what_sdks_read(head: &str) {
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let length = head.split("\r\nContent-Length: ").nth(1).expect(head).split("\r\n").next().unwrap();
    assert!(length.len() <= 9 && length.bytes().all(|byte| byte.is_ascii_digit()), "{head}");
    assert!(head.contains("\r\nContent-Disposition: attachment;filename="), "{head}");
    assert!(head.contains("\r\nAccept-Ranges: bytes\r\n") && head.contains("\r\nEtag: \""), "{head}");
    for unwanted in ["transfer-encoding", "content-encoding", "location", "connection: close", "filename=\""]
    {
        assert!(!head.to_ascii_lowercase().contains(unwanted), "{head}");
    }
    assert!(head.len() < 4_095, "{} bytes", head.len());
}

// --- Packages ----------------------------------------------------------------------------------------------

async fn told_of_a_large_file(size: usize, name: &str) -> (Told, &'static [u8]) {
    let house = House::open().await;
    let lamp = house.furnish().await.device;
    let bytes: &'static [u8] = (0..size).map(|at| (at % 251) as u8).collect::<Vec<u8>>().leak();
    let artifact_id = house.operator().artifact(bytes).await;
    let package = json!({
        "product_id": "lamp", "kind": "firmware", "version": "v3", "artifact_id": artifact_id, "file_name": name,
    });
    let made = house.operator().post("/api/v1/packages", package).await.ok(201);
    (Told::of(house, &lamp, crate::house::text(&made["package_id"])).await, bytes)
}

/// What a notice of another form says.
struct ToldOther {
    house: House,
    path: String,
    token: Option<String>,
    _gadget: Gadget,
}

async fn told_of(kind: &str, delivery: &str) -> ToldOther {
    let house = House::open().await;
    let lamp = house.furnish().await.device;
    let artifact_id = house.operator().artifact(IMAGE).await;
    let package = json!({
        "product_id": "lamp", "kind": kind, "version": "v3", "artifact_id": artifact_id, "file_name": "lamp.bin",
        "delivery": delivery,
    });
    let made = house.operator().post("/api/v1/packages", package).await.ok(201);
    let mut gadget = Gadget::connect(&house, &lamp).await;
    house.operator().campaign(&crate::house::text(&made["package_id"]), &[&lamp.device_id]).await;
    let paras =
        gadget.told_by(&format!("{kind}_upgrade{}", if delivery == "token" { "" } else { "_v2" })).await;
    let url = crate::house::text(&paras["url"]);
    let path = url.strip_prefix("http://127.0.0.1:8080").expect("the public address").to_owned();
    let token = paras["access_token"].as_str().map(str::to_owned);
    ToldOther { house, path, token, _gadget: gadget }
}

impl ToldOther {
    /// With nothing but the address.
    async fn is_served(&self) {
        let open = Open::start(&self.house, Limits::default()).await;
        let request = format!("GET {} HTTP/1.1\nHost: 127.0.0.1\n\r\n\r\n", self.path);
        assert_eq!(ask(&mut open.plain().await, &request).await.body, IMAGE);
    }
}

// --- TLS ---------------------------------------------------------------------------------------------------

/// By address, so without a server name.
fn tls(
    open: &Open,
    version: &'static rustls::SupportedProtocolVersion,
    alpn: &[&[u8]],
) -> Arc<rustls::ClientConfig> {
    let mut config = rustls::ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(open.trust.clone())
        .with_no_client_auth();
    config.enable_sni = false;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// A fresh connection of each kind that a device may make.
async fn each_way(open: &Open) -> Vec<(&'static str, Box<dyn Duplex>)> {
    let mut ways: Vec<(&'static str, Box<dyn Duplex>)> = vec![("plain", Box::new(open.plain().await))];
    for (name, version) in [("TLS 1.2", &TLS12), ("TLS 1.3", &TLS13)] {
        let connector = tokio_rustls::TlsConnector::from(tls(open, version, &[]));
        let socket = TcpStream::connect(open.secure).await.unwrap();
        let stream = connector.connect(by_address(open), socket).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        ways.push((name, Box::new(stream)));
    }
    ways
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

fn by_address(open: &Open) -> ServerName<'static> {
    ServerName::IpAddress(open.secure.ip().into())
}

/// A TLS client that takes one record at a time, as OpenSSL's read does.
struct Records {
    tls: rustls::ClientConnection,
    socket: TcpStream,
}

impl Records {
    async fn open(open: &Open, config: Arc<rustls::ClientConfig>) -> Records {
        let tls = rustls::ClientConnection::new(config, by_address(open)).unwrap();
        let socket = TcpStream::connect(open.secure).await.unwrap();
        let mut records = Records { tls, socket };
        while records.tls.is_handshaking() {
            records.flush().await;
            if records.tls.is_handshaking() {
                assert_eq!(records.take().await, b"");
            }
        }
        records
    }

    async fn say(&mut self, request: &[u8]) {
        std::io::Write::write_all(&mut self.tls.writer(), request).unwrap();
        self.flush().await;
    }

    /// What the next record that holds anything holds; tickets hold nothing.
    async fn next_plaintext(&mut self) -> Vec<u8> {
        loop {
            let taken = self.take().await;
            if !taken.is_empty() {
                return taken;
            }
        }
    }

    async fn take(&mut self) -> Vec<u8> {
        let record = record(&mut self.socket).await;
        let mut unread = &record[..];
        while !unread.is_empty() {
            self.tls.read_tls(&mut unread).unwrap();
        }
        let state = self.tls.process_new_packets().unwrap();
        let mut plaintext = vec![0; state.plaintext_bytes_to_read()];
        std::io::Read::read_exact(&mut self.tls.reader(), &mut plaintext).unwrap();
        plaintext
    }

    async fn flush(&mut self) {
        let mut out = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut out).unwrap();
        }
        self.socket.write_all(&out).await.unwrap();
    }
}

/// One record with its head.
async fn record(socket: &mut TcpStream) -> Vec<u8> {
    let mut record = vec![0; 5];
    let whole = async {
        socket.read_exact(&mut record).await.unwrap();
        let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
        record.resize(5 + length, 0);
        socket.read_exact(&mut record[5..]).await.unwrap();
    };
    tokio::time::timeout(crate::house::PATIENCE, whole).await.expect("a record comes");
    record
}
