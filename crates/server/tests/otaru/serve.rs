//! `otaru serve` from the first start to the last.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use otaru_fleet::{Crowd, DeviceConfig, Downloader, Endpoint, Pace, Script, Site};
use otaru_proto::{DeviceId, Version};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::running::{PATIENCE, Server, TOKEN, ask, metric, otaru, plain, serve, text};

#[test]
fn one_line_says_that_it_is_ready_and_where() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let (mqtt, http) = (server.address("mqtt"), server.address("http"));
    assert_eq!(server.ready, format!("otaru ready mqtt={mqtt} http={http}"));
    assert!(mqtt.port() != 0 && http.port() != 0 && mqtt != http);
    server.signal("TERM");
    assert_eq!(server.wait(), (Some(0), String::new()), "and that is all there is on stdout");
}

#[tokio::test]
async fn the_first_start_makes_an_admin_token_that_only_its_owner_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::spawn(serve(&data, &[]));
    let file = data.join("admin.token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(server.stderr().contains(file.to_str().unwrap()), "{}", server.stderr());
    let token = std::fs::read_to_string(&file).unwrap();
    assert!(!server.stderr().contains(token.trim()), "the token itself is not shown");
    let (status, _) = ask(&server.http(), token.trim(), "GET", "/api/v1/tokens", None).await;
    assert_eq!(status, 200);
    server.signal("INT");
    assert_eq!(server.wait().0, Some(0));

    // The second start keeps it.
    let server = Server::spawn(serve(&data, &[]));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), token);
    assert!(!server.stderr().contains("made an admin token"), "{}", server.stderr());
    let (status, _) = ask(&server.http(), token.trim(), "GET", "/api/v1/tokens", None).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn an_admin_token_from_the_environment_is_the_admin_token() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let (status, _) = ask(&server.http(), TOKEN, "GET", "/api/v1/tokens", None).await;
    assert_eq!(status, 200);
    let (status, problem) = ask(&server.http(), "some-other-token", "GET", "/api/v1/tokens", None).await;
    assert_eq!(status, 401, "{problem}");
    assert!(!dir.path().join("admin.token").exists());
}

#[tokio::test]
async fn another_admin_token_in_the_environment_replaces_the_one_before() {
    const OTHER: &str = "another-token-that-tests-chose";
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    server.signal("TERM");
    assert_eq!(server.wait().0, Some(0));

    let mut command = serve(dir.path(), &[]);
    command.env("OTARU_ADMIN_TOKEN", OTHER);
    let server = Server::spawn(command);
    assert_eq!(ask(&server.http(), TOKEN, "GET", "/api/v1/tokens", None).await.0, 401);
    let (status, listed) = ask(&server.http(), OTHER, "GET", "/api/v1/tokens", None).await;
    assert_eq!(status, 200);
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|token| &token["name"]).collect();
    assert_eq!(names, ["admin (OTARU_ADMIN_TOKEN)"]);
    let log = server.stderr();
    assert!(log.contains("OTARU_ADMIN_TOKEN is another one"), "{log}");
    assert!(!log.contains(TOKEN) && !log.contains(OTHER), "{log}");
}

#[tokio::test]
async fn a_first_start_that_was_interrupted_leaves_no_admin_that_nobody_knows() {
    let dir = tempfile::tempdir().unwrap();
    // As far as the interrupted one came: the file is there, the store knows nothing of it.
    let (file, token) = (dir.path().join("admin.token"), format!("otaru_{}", "5a".repeat(32)));
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let server = Server::spawn(serve(dir.path(), &[]));
    assert_eq!(ask(&server.http(), &token, "GET", "/api/v1/tokens", None).await.0, 200);
    assert!(server.stderr().contains(file.to_str().unwrap()), "{}", server.stderr());
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), token);
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Server::start(dir.path(), &[]);
    let ended = serve(dir.path(), &[]).output().unwrap();
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(said.contains("in use by another otaru"), "{said}");
    assert!(said.contains(dir.path().to_str().unwrap()), "{said}");
    assert_eq!(text(&ended.stdout), "");
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, other) in [("--http", "--mqtt"), ("--mqtt", "--http")] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().to_str().unwrap();
        let ended = crate::running::run(&["serve", "--data-dir", data, flag, &address, other, "127.0.0.1:0"]);
        assert_eq!(ended.status.code(), Some(1));
        assert!(text(&ended.stderr).contains(&address), "{}", text(&ended.stderr));
    }
}

#[tokio::test]
async fn health_and_metrics_need_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(&server.http(), "", "GET", path, None).await.0, 200, "{path}");
    }
}

#[test]
fn the_log_can_be_json() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--log-format", "json"]);
    let log = server.stderr();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let serving = lines.iter().find(|line| line["message"] == "serving").unwrap_or_else(|| panic!("{log}"));
    assert_eq!(serving["public_url"], format!("http://{}", server.address("http")));
}

const LINES_LOST: &str = "otaru_log_lines_lost_total";

/// A caller without an account, of whom the log has a line.
async fn is_refused(server: &Server) {
    let mut socket = plain(server.address("mqtt")).dial().await.unwrap();
    let connect = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06nobody";
    socket.write_all(connect).await.unwrap();
    let mut connack = [0; 4];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut connack)).await.unwrap().unwrap();
    assert!(connack[0] == 0x20 && connack[3] != 0, "{connack:x?}");
}

/// Takes what a log line costs, and serves.
async fn serves_whatever_becomes_of_its_log(server: Server) {
    for _ in 0..3 {
        is_refused(&server).await;
    }
    assert_eq!(ask(&server.http(), "", "GET", "/healthz", None).await.0, 200);
    let crowd = one_device(&server, plain(server.address("mqtt"))).await;
    assert_eq!(ask(&server.http(), "", "GET", "/readyz", None).await.0, 200);
    assert_eq!(crowd.stop().await, 0);
    server.signal("TERM");
    assert_eq!(server.wait().0, Some(0));
}

fn serve_with_token(dir: &std::path::Path, more: &[&str]) -> Command {
    let mut command = serve(dir, more);
    command.env("OTARU_ADMIN_TOKEN", TOKEN);
    command
}

#[tokio::test]
async fn it_serves_while_nobody_reads_its_log() {
    for format in ["text", "json"] {
        let dir = tempfile::tempdir().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let server =
            Server::spawn_logging_to(serve_with_token(dir.path(), &["--log-format", format]), writer);
        drop(reader);
        let before = metric(&server.http(), LINES_LOST).await;
        is_refused(&server).await;
        assert!(metric(&server.http(), LINES_LOST).await > before, "the line is counted, at least");
        serves_whatever_becomes_of_its_log(server).await;
    }
}

#[tokio::test]
async fn it_starts_and_serves_while_the_disk_of_its_log_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    // Without a token: what is told at the first start goes the same way.
    let server = Server::spawn_logging_to(serve(dir.path(), &[]), full.try_clone().unwrap());
    assert!(dir.path().join("admin.token").exists());
    assert!(metric(&server.http(), LINES_LOST).await > 0);
    server.signal("TERM");
    assert_eq!(server.wait().0, Some(0));

    let server = Server::spawn_logging_to(serve_with_token(dir.path(), &[]), full);
    serves_whatever_becomes_of_its_log(server).await;
}

#[tokio::test]
async fn it_starts_and_serves_without_a_stderr() {
    let dir = tempfile::tempdir().unwrap();
    let serve = serve_with_token(dir.path(), &[]);
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>&-"]).arg(serve.get_program()).args(serve.get_args());
    command.stdin(Stdio::null());
    for (name, value) in serve.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let server = Server::spawn_logging_to(command, Stdio::null());
    serves_whatever_becomes_of_its_log(server).await;
}

#[test]
fn what_was_asked_for_and_cannot_be_printed_is_a_failure() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ended = otaru(&["serve", "--print-config"]).stdout(full).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).starts_with("otaru: cannot write to stdout"), "{}", text(&ended.stderr));
}

/// Registers one device and switches it on.
async fn one_device(server: &Server, mqtt: Endpoint) -> Crowd {
    let http = server.http();
    let product = json!({ "product_id": "lamp", "name": "Lamp" });
    assert_eq!(ask(&http, TOKEN, "POST", "/api/v1/products", Some(product)).await.0, 201);
    let device = json!({ "product_id": "lamp", "node_id": "1", "secret": "s3cret-s3cret" });
    let (status, device) = ask(&http, TOKEN, "POST", "/api/v1/devices", Some(device)).await;
    assert_eq!((status, &device["device_id"]), (201, &json!("lamp_1")), "{device}");
    let mut crowd = Crowd::at(Site::new(mqtt, Downloader::default(), 0));
    crowd.add(DeviceConfig {
        device_id: DeviceId::parse("lamp_1").unwrap(),
        secret: "s3cret-s3cret".into(),
        firmware: Version::parse_target("1.4.0").unwrap(),
        software: None,
        script: Script::Succeeds { reboots: false },
        pace: Pace::default(),
        subscribes: false,
        seed: 1,
        children: Vec::new(),
    });
    let acknowledged = async {
        while crowd.tallies().reports.get() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, acknowledged).await;
    assert!(waited.is_ok(), "no acknowledgement: {:?}\n{}", crowd.tallies().now(), server.stderr());
    crowd
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let _crowd = one_device(&server, plain(server.address("mqtt"))).await;
    server.signal("KILL");
    assert_eq!(server.wait().0, None);

    let server = Server::start(dir.path(), &[]);
    let (status, device) = ask(&server.http(), TOKEN, "GET", "/api/v1/devices/lamp_1", None).await;
    assert_eq!((status, &device["firmware_version"]), (200, &json!("1.4.0")), "{device}");
}

#[tokio::test]
async fn it_stops_in_good_order_with_devices_connected() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let crowd = one_device(&server, plain(server.address("mqtt"))).await;
    server.signal("TERM");
    assert_eq!(server.wait().0, Some(0));
    assert_eq!(crowd.stop().await, 0);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    // An upload that never ends keeps a graceful stop waiting.
    let mut upload = server.http().dial().await.unwrap();
    let head = format!(
        "POST /api/v1/artifacts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\n12"
    );
    upload.write_all(head.as_bytes()).await.unwrap();
    until_begun(&server, &dir.path().join("artifacts/incoming")).await;

    server.signal("TERM");
    let stopping = async {
        while !server.stderr().contains("a second signal ends at once") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stopping).await.unwrap();
    let ending = async {
        while server.is_running() {
            server.signal("TERM");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ending).await.unwrap();
    assert_eq!(server.wait().0, Some(1));
}

/// Waits until the upload has begun: its bytes are on the way into this directory.
async fn until_begun(server: &Server, incoming: &std::path::Path) {
    let begun = async {
        while std::fs::read_dir(incoming).map_or(0, Iterator::count) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, begun).await;
    assert!(waited.is_ok(), "no upload begins\n{}", server.stderr());
}
