//! Package requests as SDKs send them, and what each of them needs from the answer.

use std::sync::Arc;

use otaru_fleet::{Endpoint, TlsTrust};
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use crate::fetch::{Answer, exchange, parts};
use crate::platform::{Platform, word};
use crate::recorded;
use crate::stage::{NEW, OLD, PACKAGE, Stage, Upgrade, download_of};

/// A device that was told of a package whose address is signed: the second form of the notice.
async fn told_of_signed() -> Upgrade {
    let stage = Stage::new().await;
    let package = stage.package_with(json!({ "delivery": "signed_url" })).await;
    told_of(stage, &package, "firmware_upgrade_v2").await
}

async fn told_of(stage: Stage, package: &str, event_type: &str) -> Upgrade {
    let device = stage.device("dev1").await;
    let mut line = device.connects().await;
    let campaign = stage.campaign_of(package, &[&device], json!({})).await;
    line.is_asked().await;
    line.event("version_report", json!({ "fw_version": OLD, "sw_version": OLD })).await;
    let notice = line.is_told(event_type).await;
    Upgrade { stage, device, line, campaign, notice }
}

/// Sends what the SDK sends for this notice.
async fn fetched_by(name: &str, platform: &Platform, notice: &Value) -> Answer {
    let (endpoint, path, token) = download_of(platform, notice);
    exchange(&endpoint, &recorded::request(name, &endpoint, &path, &token)).await
}

fn is_the_package(answer: &Answer) {
    assert_eq!((answer.status, answer.body.as_slice()), (200, PACKAGE), "{}", answer.head);
    assert_eq!(answer.header("Content-Length"), Some(PACKAGE.len().to_string().as_str()), "{}", answer.head);
    assert!(answer.is_plain(), "{}", answer.head);
}

/// What the C downloader looks for, byte by byte.
fn suits_c(answer: &Answer) {
    is_the_package(answer);
    assert!(answer.head.starts_with("HTTP/1.1 200"), "{}", answer.head);
    let head_bytes = answer.head.len() + 4;
    assert!(head_bytes < 4096, "the whole head fits into its buffer");
    assert!(answer.first_read >= head_bytes, "and comes with the first read");
    assert_eq!(answer.header("Content-Disposition"), Some("attachment;filename=app.bin"), "{}", answer.head);
    for line in answer.head.split("\r\n").skip(1) {
        let (name, _) = line.split_once(": ").unwrap();
        let is_title = name.split('-').all(|part| part.starts_with(|c: char| c.is_ascii_uppercase()));
        assert!(is_title, "{name}");
    }
}

#[tokio::test]
async fn capture_fact_3_the_address_is_https_with_its_port_and_fits_into_c() {
    for up in [Upgrade::new().await, told_of_signed().await] {
        let url = word(&up.notice, "url");
        let (scheme, host, port, path) = parts(&url);
        assert_eq!(scheme, "https", "the listener with TLS is preferred: C has no other");
        assert!(host.len() <= 49 && host.parse::<std::net::Ipv4Addr>().is_ok(), "{host}");
        assert!(url.contains(&format!(":{port}/")), "the port is written out: {url}");
        assert!(path.starts_with("/download/"), "{url}");
    }
}

#[tokio::test]
async fn capture_fact_4_headers_are_spelled_as_c_compares_them() {
    let up = Upgrade::new().await;
    suits_c(&fetched_by("c", &up.device.platform, &up.notice).await);
}

#[tokio::test]
async fn capture_fact_5_bare_line_feeds_and_no_space_after_the_colon_are_read() {
    let up = Upgrade::new().await;
    let (endpoint, path, token) = download_of(&up.device.platform, &up.notice);
    let request = recorded::request("c", &endpoint, &path, &token);
    let begins = format!(
        "GET {path} HTTP/1.1\nHost: 127.0.0.1\nContent-Type: application/json\nAuthorization:Bearer "
    );
    assert!(request.starts_with(begins.as_bytes()) && request.ends_with(b"\r\n\r\n"));
    is_the_package(&exchange(&endpoint, &request).await);
}

#[tokio::test]
async fn capture_fact_5_the_stray_line_end_after_the_head_of_the_second_form_is_harmless() {
    let up = told_of_signed().await;
    let (endpoint, path, _) = download_of(&up.device.platform, &up.notice);
    let request = recorded::request("c_v2", &endpoint, &path, "");
    assert!(request.ends_with(b"127.0.0.1\n\r\n\r\n"));
    suits_c(&exchange(&endpoint, &request).await);
}

// --- The requests, each as it was seen ---------------------------------------------------------------------

async fn first_form(name: &str) {
    let up = Upgrade::new().await;
    is_the_package(&fetched_by(name, &up.device.platform, &up.notice).await);
}

async fn second_form(name: &str) {
    let up = told_of_signed().await;
    assert_eq!(up.notice.get("access_token"), None);
    is_the_package(&fetched_by(name, &up.device.platform, &up.notice).await);
}

#[tokio::test]
async fn capture_table_5_request_of_python() {
    first_form("python").await;
    second_form("python_v2").await;
}

#[tokio::test]
async fn capture_table_5_request_of_c() {
    first_form("c").await;
}

#[tokio::test]
async fn capture_table_5_request_of_c_in_the_second_form() {
    second_form("c_v2").await;
}

#[tokio::test]
async fn capture_table_5_request_of_java() {
    first_form("java").await;
    second_form("java_v2").await;
}

#[tokio::test]
async fn capture_table_5_request_of_go() {
    first_form("go").await;
    second_form("go_v2").await;
}

// --- What they need ----------------------------------------------------------------------------------------

#[tokio::test]
async fn capture_table_5_schemes_http_serves_the_same_as_https() {
    let up = Upgrade::new().await;
    let (_, path, token) = download_of(&up.device.platform, &up.notice);
    for endpoint in [up.device.platform.http(), up.device.platform.https()] {
        suits_c(&exchange(&endpoint, &recorded::request("c", &endpoint, &path, &token)).await);
    }
}

#[tokio::test]
async fn capture_table_5_certificates_a_device_that_checks_nothing_is_served() {
    let up = Upgrade::new().await;
    let (endpoint, path, token) = download_of(&up.device.platform, &up.notice);
    let anyone = Endpoint { tls: Some(TlsTrust::Anyone.client_config().unwrap()), ..endpoint };
    is_the_package(&exchange(&anyone, &recorded::request("python", &anyone, &path, &token)).await);
}

#[tokio::test]
async fn capture_table_5_tls_1_2_and_1_3_with_and_without_a_name() {
    let up = Upgrade::new().await;
    let (endpoint, path, token) = download_of(&up.device.platform, &up.notice);
    for version in [&TLS12, &TLS13] {
        for sends_name in [true, false] {
            let endpoint = with_tls(&up.device.platform, &endpoint, version, sends_name);
            suits_c(&exchange(&endpoint, &recorded::request("c", &endpoint, &path, &token)).await);
        }
    }
}

/// The endpoint dialled with one TLS version, with or without the server's name.
pub fn with_tls(
    platform: &Platform,
    endpoint: &Endpoint,
    version: &'static rustls::SupportedProtocolVersion,
    sends_name: bool,
) -> Endpoint {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(&platform.cert).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_sni = sends_name;
    Endpoint { tls: Some(Arc::new(config)), ..endpoint.clone() }
}

#[tokio::test]
async fn capture_table_5_ranges_which_no_sdk_asks_for_are_served_to_others() {
    let up = Upgrade::new().await;
    let (endpoint, path, token) = download_of(&up.device.platform, &up.notice);
    let ask = async |method: &str, more: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}:{}\r\nAuthorization: Bearer {token}\r\n{more}\r\n",
            endpoint.host, endpoint.port
        );
        exchange(&endpoint, request.as_bytes()).await
    };
    let whole = ask("HEAD", "").await;
    assert_eq!((whole.status, whole.header("Accept-Ranges")), (200, Some("bytes")), "{}", whole.head);
    assert_eq!(whole.header("Content-Length"), Some(PACKAGE.len().to_string().as_str()));
    let etag = whole.header("Etag").unwrap();
    assert_eq!(etag, format!("\"{}\"", word(&up.notice, "sign")));
    let part = ask("GET", &format!("Range: bytes=10-\r\nIf-Range: {etag}\r\n")).await;
    assert_eq!((part.status, part.body.as_slice()), (206, &PACKAGE[10..]), "{}", part.head);
    let anew = ask("GET", "Range: bytes=10-\r\nIf-Range: \"other\"\r\n").await;
    is_the_package(&anew);
    is_the_package(&ask("GET", "Range: bytes=0-1,4-5\r\n").await);
    assert_eq!(ask("GET", "Range: bytes=4000-\r\n").await.status, 416);
}

#[tokio::test]
async fn capture_table_5_content_length_is_the_size_in_the_notice() {
    let up = Upgrade::new().await;
    for name in ["python", "c", "java", "go"] {
        let answer = fetched_by(name, &up.device.platform, &up.notice).await;
        assert_eq!(
            answer.header("Content-Length"),
            Some(up.notice["file_size"].to_string().as_str()),
            "{name}"
        );
        assert_eq!(
            answer.body.len().to_string(),
            up.notice["file_size"].to_string(),
            "{name}: no gzip, no chunks"
        );
    }
}

#[tokio::test]
async fn capture_table_5_the_name_is_in_a_header_without_quotes_and_in_the_address() {
    let up = told_of_signed().await;
    let answer = fetched_by("c_v2", &up.device.platform, &up.notice).await;
    assert_eq!(answer.header("Content-Disposition"), Some("attachment;filename=app.bin"));
    // In the second form C takes what stands between the last slash and the question mark.
    let url = word(&up.notice, "url");
    let (before, _) = url.split_once('?').expect("C needs a question mark");
    assert!(before.ends_with("/app.bin"), "{url}");
}

#[tokio::test]
async fn capture_table_5_an_error_is_tiny_because_go_keeps_it_as_the_package() {
    let mut up = Upgrade::new().await;
    let (endpoint, path, token) = download_of(&up.device.platform, &up.notice);
    let other = path.replace("/download/", "/download/0");
    up.line.reports(json!({ "result_code": 0, "progress": 100, "version": NEW })).await;
    for (path, token, status) in [
        (&path, "", 401),
        (&path, "nonsense", 401),
        (&path, &token[..token.len() - 1], 401),
        (&path, token.as_str(), 403),
        (&other, token.as_str(), 404),
    ] {
        for name in ["python", "c", "java", "go"] {
            let answer = exchange(&endpoint, &recorded::request(name, &endpoint, path, token)).await;
            assert_eq!(answer.status, status, "{name}: {}", answer.head);
            assert!(answer.body.len() < 256 && answer.is_plain(), "{name}: {}", answer.head);
        }
    }
}

#[tokio::test]
async fn capture_table_5_bytes_are_counted_for_devices_that_report_nothing_while_they_download() {
    let up = Upgrade::new().await;
    assert_eq!(up.deployment().await["download"]["bytes"], Value::Null);
    is_the_package(&fetched_by("python", &up.device.platform, &up.notice).await);
    let counted = up.campaign.until(&up.device, |found| found["download"]["bytes"] == PACKAGE.len()).await;
    assert_eq!(counted["state"], "offered", "a download is no report");
}

#[tokio::test]
async fn capture_table_5_the_sign_is_64_lower_case_digits_of_the_bytes_that_are_served() {
    use std::fmt::Write as _;
    for up in [Upgrade::new().await, told_of_signed().await] {
        let name = if up.notice.get("access_token").is_some() { "c" } else { "c_v2" };
        let answer = fetched_by(name, &up.device.platform, &up.notice).await;
        let digest = ring_sha256(&answer.body);
        let mut sign = String::new();
        for byte in digest {
            write!(sign, "{byte:02x}").unwrap();
        }
        assert_eq!(word(&up.notice, "sign"), sign);
    }
}

/// SHA-256 by the library that TLS uses, which is not the one that made the sign.
fn ring_sha256(bytes: &[u8]) -> Vec<u8> {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    suite.tls13().unwrap().common.hash_provider.hash(bytes).as_ref().to_vec()
}

#[tokio::test]
async fn quirk_25_the_c_downloader_gets_exactly_what_it_can_read() {
    let up = Upgrade::new().await;
    suits_c(&fetched_by("c", &up.device.platform, &up.notice).await);
    let up = told_of_signed().await;
    suits_c(&fetched_by("c_v2", &up.device.platform, &up.notice).await);
}

#[tokio::test]
async fn quirk_36_android_needs_no_header_for_software() {
    let stage = Stage::new().await;
    let package = stage.package_with(json!({ "kind": "software" })).await;
    let up = told_of(stage, &package, "software_upgrade").await;
    is_the_package(&fetched_by("android_software", &up.device.platform, &up.notice).await);
    // Whoever sends the header has it twice, which is fine.
    is_the_package(&fetched_by("java", &up.device.platform, &up.notice).await);
}
