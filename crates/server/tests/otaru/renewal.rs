//! A renewed certificate is presented without a restart, and nobody who is connected notices.

use std::path::{Path, PathBuf};
use std::time::Duration;

use otaru_fleet::{Login, Socket};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::running::{PATIENCE, Server, TOKEN, ask, ask_for_text, run, secure, text};

const LISTENERS: [&str; 3] = ["mqtts", "https", "device_https"];

#[tokio::test]
async fn new_connections_see_the_new_certificate_and_open_ones_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path());
    let server = files.serve();
    let first = Sort::read(&files, "first");
    assert!(first.is_presented_by(&server).await);
    let http = server.http();
    let product = json!({ "product_id": "lamp", "name": "Lamp" });
    assert_eq!(ask(&http, TOKEN, "POST", "/api/v1/products", Some(product)).await.0, 201);
    let device = json!({ "product_id": "lamp", "node_id": "1", "secret": "s3cret-s3cret" });
    assert_eq!(ask(&http, TOKEN, "POST", "/api/v1/devices", Some(device)).await.0, 201);
    let mut session = connect(secure(server.address("mqtts"), &first.cert).dial().await.unwrap()).await;
    let mut browser = secure(server.address("https"), &first.cert).dial().await.unwrap();
    get_health(&mut browser).await;

    // Nobody sends a signal: as an ACME client would do it, one file after the other.
    let second = Sort::make(dir.path(), "second");
    std::fs::rename(&second.key, &files.key).unwrap();
    std::fs::copy(&second.cert, &files.cert).unwrap();
    eventually(&server, "the new certificate is presented", async || second.is_presented_by(&server).await)
        .await;
    assert!(!first.is_presented_by(&server).await);
    ping(&mut session).await;
    get_health(&mut browser).await;
}

#[tokio::test]
async fn a_broken_file_is_named_and_the_certificate_before_stays() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path());
    let server = files.serve();
    let first = Sort::read(&files, "first");
    let failed = "otaru_tls_reloads_total{of=\"certificate\",outcome=\"failed\"}";
    assert_eq!(value(&server, failed).await, 0.0);

    let whole = std::fs::read_to_string(&files.cert).unwrap();
    std::fs::write(&files.cert, &whole[..whole.len() / 2]).unwrap();
    let warned = format!("cannot be used; the one before stays file={}", files.cert.display());
    eventually(&server, "the half file is warned of", async || server.stderr().contains(&warned)).await;
    assert!(first.is_presented_by(&server).await);
    eventually(&server, "and counted", async || value(&server, failed).await == 1.0).await;

    std::fs::write(&files.cert, &whole).unwrap();
    let other = Sort::make(dir.path(), "other");
    std::fs::copy(&other.key, &files.key).unwrap();
    server.signal("HUP");
    let unfit = "certificate and key do not go together";
    eventually(&server, "another's key is refused", async || server.stderr().contains(unfit)).await;
    assert!(first.is_presented_by(&server).await);
}

#[tokio::test]
async fn hup_reads_the_files_again_and_the_metrics_say_how_long_they_are_good() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path());
    let server = files.serve();
    let expiry = "otaru_tls_certificate_expiry_timestamp_seconds";
    let forever = value(&server, expiry).await;
    server.signal("HUP");
    let read = "new connections are shown this certificate";
    eventually(&server, "unchanged files are read", async || server.stderr().contains(read)).await;

    let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2033, 5, 18);
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    std::fs::write(&files.cert, params.self_signed(&key).unwrap().pem()).unwrap();
    server.signal("HUP");
    let until_2033 = 1_999_987_200.0;
    assert_ne!(forever, until_2033);
    eventually(&server, "the new end", async || value(&server, expiry).await == until_2033).await;
}

#[tokio::test]
async fn hup_ends_no_server_that_has_nothing_to_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    server.signal("HUP");
    eventually(&server, "it says so", async || server.stderr().contains("none is configured")).await;
    assert_eq!(ask_for_text(&server.http(), "", "GET", "/healthz", None).await.0, 200);
}

/// What the server is told to read.
struct Files {
    data: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(dir: &Path) -> Files {
        let first = Sort::make(dir, "live");
        Files { data: dir.join("data"), cert: first.cert, key: first.key }
    }

    fn serve(&self) -> Server {
        let (cert, key) = (self.cert.to_str().unwrap(), self.key.to_str().unwrap());
        let mut more = vec!["--tls-cert", cert, "--tls-key", key];
        for listener in ["--mqtts", "--https", "--device-https"] {
            more.extend([listener, "127.0.0.1:0"]);
        }
        Server::start(&self.data, &more)
    }
}

/// A certificate for this machine that signs itself.
struct Sort {
    cert: PathBuf,
    key: PathBuf,
}

impl Sort {
    fn make(dir: &Path, name: &str) -> Sort {
        let out = dir.join(name);
        let made = run(&["tls", "self-signed", "--out", out.to_str().unwrap(), "--name", "127.0.0.1"]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        Sort { cert: out.join("cert.pem"), key: out.join("key.pem") }
    }

    /// A copy of what is there now, which stays when that is replaced.
    fn read(files: &Files, name: &str) -> Sort {
        let copy = |file: &Path| {
            let to = file.with_extension(name);
            std::fs::copy(file, &to).unwrap();
            to
        };
        Sort { cert: copy(&files.cert), key: copy(&files.key) }
    }

    /// Whether whoever trusts this one alone is served at every door.
    async fn is_presented_by(&self, server: &Server) -> bool {
        for listener in LISTENERS {
            if secure(server.address(listener), &self.cert).dial().await.is_err() {
                return false;
            }
        }
        true
    }
}

async fn eventually(server: &Server, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "not so: {what}\n{}", server.stderr());
}

/// The value of a metric with these labels.
async fn value(server: &Server, name: &str) -> f64 {
    let (_, shown) = ask_for_text(&server.http(), "", "GET", "/metrics", None).await;
    let value = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {shown}"))
}

/// A session of `lamp_1`, over MQTT 3.1.1.
async fn connect(mut socket: Socket) -> Socket {
    let device = otaru_proto::DeviceId::parse("lamp_1").unwrap();
    let login = Login::of_device(&device, "s3cret-s3cret", 1_790_000_000);
    let (user, password) = login.credentials.unwrap();
    let mut body = b"\x00\x04MQTT\x04\xc2\x00\x78".to_vec();
    for word in [&login.client_id, &user, &password] {
        body.extend(u16::try_from(word.len()).unwrap().to_be_bytes());
        body.extend(word.as_bytes());
    }
    // Its length takes two bytes.
    let mut packet = vec![0x10, (body.len() % 128) as u8 | 0x80, (body.len() / 128) as u8];
    packet.extend(body);
    socket.write_all(&packet).await.unwrap();
    assert_eq!(hear(&mut socket).await, (0x20, vec![0, 0]), "CONNACK");
    socket
}

/// PINGREQ, and what is said before its answer.
async fn ping(socket: &mut Socket) {
    socket.write_all(&[0xc0, 0]).await.unwrap();
    while hear(socket).await.0 != 0xd0 {}
}

/// The next packet.
async fn hear(socket: &mut Socket) -> (u8, Vec<u8>) {
    let hearing = async {
        socket.flush().await.unwrap();
        let kind = socket.read_u8().await.unwrap();
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = socket.read_u8().await.unwrap();
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await.unwrap();
        (kind, body)
    };
    tokio::time::timeout(PATIENCE, hearing).await.expect("the session goes on")
}

/// A request on a connection that stays open.
async fn get_health(socket: &mut Socket) {
    let asking = async {
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
        socket.flush().await.unwrap();
        let mut answer = vec![0; 4096];
        let read = socket.read(&mut answer).await.unwrap();
        text(&answer[..read])
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await.expect("the connection goes on");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
}
