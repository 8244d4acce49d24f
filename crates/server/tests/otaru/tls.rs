//! From `otaru tls self-signed` to devices and operators that trust it.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use otaru_fleet::{Crowd, DeviceConfig, Downloader, Pace, Script, Site};
use otaru_proto::{DeviceId, Version};
use serde_json::json;

use crate::running::{PATIENCE, Server, TOKEN, ask, run, secure, text};

#[tokio::test]
async fn a_self_made_certificate_serves_operators_and_devices() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("tls");
    let made = run(&[
        "tls",
        "self-signed",
        "--out",
        out.to_str().unwrap(),
        "--name",
        "127.0.0.1",
        "--name",
        "ota.example.com",
    ]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(text(&made.stdout).contains("otaru serve"), "it says what to do next");
    let (cert, key) = (out.join("cert.pem"), out.join("key.pem"));
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

    let again = run(&["tls", "self-signed", "--out", out.to_str().unwrap(), "--name", "other"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("nothing is overwritten"), "{}", text(&again.stderr));

    let server = Server::start(
        &dir.path().join("data"),
        &[
            "--mqtts",
            "127.0.0.1:0",
            "--https",
            "127.0.0.1:0",
            "--device-https",
            "127.0.0.1:0",
            "--tls-cert",
            cert.to_str().unwrap(),
            "--tls-key",
            key.to_str().unwrap(),
        ],
    );
    let words: Vec<&str> = server.ready.split(' ').map(|word| word.split('=').next().unwrap()).collect();
    assert_eq!(words, ["otaru", "ready", "mqtt", "http", "mqtts", "https", "device_https"]);

    let https = secure(server.address("https"), &cert);
    let product = json!({ "product_id": "lamp", "name": "Lamp" });
    assert_eq!(ask(&https, TOKEN, "POST", "/api/v1/products", Some(product)).await.0, 201);
    let device = json!({ "product_id": "lamp", "node_id": "1", "secret": "s3cret-s3cret" });
    assert_eq!(ask(&https, TOKEN, "POST", "/api/v1/devices", Some(device)).await.0, 201);

    let for_devices = secure(server.address("device_https"), &cert);
    assert_eq!(ask(&for_devices, TOKEN, "GET", "/api/v1/products/lamp", None).await.0, 200, "the same house");
    let told = format!("public_url=https://{}", server.address("device_https"));
    assert!(server.stderr().contains(&told), "what devices are told: {}", server.stderr());

    let mut crowd = Crowd::at(Site::new(secure(server.address("mqtts"), &cert), Downloader::default(), 0));
    crowd.add(DeviceConfig {
        device_id: DeviceId::parse("lamp_1").unwrap(),
        secret: "s3cret-s3cret".into(),
        firmware: Version::parse_target("1.4.0").unwrap(),
        software: None,
        script: Script::Slow,
        pace: Pace::default(),
        subscribes: false,
        seed: 1,
        children: Vec::new(),
    });
    let online = async {
        loop {
            let (_, device) = ask(&https, TOKEN, "GET", "/api/v1/devices/lamp_1", None).await;
            if device["online"] == true && device["firmware_version"] == "1.4.0" {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, online).await;
    assert!(waited.is_ok(), "{:?}\n{}", crowd.tallies().now(), server.stderr());

    let listed = run(&[
        "token",
        "list",
        "--url",
        &format!("https://{}", server.address("https")),
        "--ca",
        cert.to_str().unwrap(),
        "--token",
        TOKEN,
    ]);
    assert!(listed.status.success(), "{}", text(&listed.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_ca_lets_its_devices_in_and_https_asks_nobody_for_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let [ca, other_ca] = ["ca.pem", "other_ca.pem"].map(|name| Ca::make(&file(name)));
    let own = ca.issue("lamp_1", &file("own.pem"));
    let strange = other_ca.issue("lamp_1", &file("strange.pem"));
    let made = run(&["tls", "self-signed", "--out", &file("tls"), "--name", "127.0.0.1"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let server = Server::start(
        &dir.path().join("data"),
        &[
            "--mqtts",
            "127.0.0.1:0",
            "--https",
            "127.0.0.1:0",
            "--tls-cert",
            &file("tls/cert.pem"),
            "--tls-key",
            &file("tls/key.pem"),
            "--set",
            &format!("device_ca={}", file("ca.pem")),
        ],
    );
    let http = server.http();
    let product = json!({ "product_id": "lamp", "name": "Lamp" });
    assert_eq!(ask(&http, TOKEN, "POST", "/api/v1/products", Some(product)).await.0, 201);
    let device = json!({ "product_id": "lamp", "node_id": "1", "auth": "x509" });
    assert_eq!(ask(&http, TOKEN, "POST", "/api/v1/devices", Some(device)).await.0, 201);

    let mqtts = server.address("mqtts");
    assert_eq!(connack(mqtts, &own).await, [0x20, 2, 0, 0]);
    assert_eq!(connack(mqtts, &strange).await, [0x20, 2, 0, 4]);
    let (_, explained) = ask(&http, TOKEN, "GET", "/api/v1/devices/lamp_1/explain", None).await;
    assert_eq!(explained["refused_connection"]["code"], "certificate_not_issued", "{explained}");

    // OpenSSL says which signatures a server would take, if it asks for a certificate at all.
    assert!(shaken_with(mqtts).contains("Requested Signature Algorithms"));
    assert!(!shaken_with(server.address("https")).contains("Requested Signature Algorithms"));
}

/// Who issues certificates to devices.
struct Ca(rcgen::Issuer<'static, rcgen::KeyPair>);

impl Ca {
    /// Its certificate is in `file` then.
    fn make(file: &str) -> Ca {
        let (mut params, key) = (named("a device CA"), rcgen::KeyPair::generate().unwrap());
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        std::fs::write(file, params.self_signed(&key).unwrap().pem()).unwrap();
        Ca(rcgen::Issuer::new(params, key))
    }

    /// Certificate and key are in `file` then.
    fn issue(&self, name: &str, file: &str) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = named(name).signed_by(&key, &self.0).unwrap();
        std::fs::write(file, certificate.pem() + &key.serialize_pem()).unwrap();
        file.to_owned()
    }
}

fn named(name: &str) -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}

/// What is answered to the CONNECT of `lamp_1` with the certificate and key in this file.
async fn connack(address: SocketAddr, identity: &str) -> [u8; 4] {
    let mut openssl = openssl(address);
    openssl.args(["-quiet", "-nocommands", "-cert", identity, "-key", identity]);
    let talking = move || {
        let mut child = openssl.spawn().expect("openssl is installed (Debian: openssl)");
        // 3.1.1, clean, with a user name and no password.
        let connect = b"\x10\x29\x00\x04MQTT\x04\x82\x00\x78\x00\x15lamp_1_0_0_2026112500\x00\x06lamp_1";
        child.stdin.as_mut().unwrap().write_all(connect).unwrap();
        let mut answer = [0; 4];
        let heard = child.stdout.as_mut().unwrap().read_exact(&mut answer);
        child.kill().unwrap();
        child.wait().unwrap();
        heard.unwrap();
        answer
    };
    tokio::task::spawn_blocking(talking).await.unwrap()
}

/// What OpenSSL says about a handshake with this listener.
fn shaken_with(address: SocketAddr) -> String {
    let ended = openssl(address).stdin(Stdio::null()).output().expect("openssl is installed");
    text(&ended.stdout)
}

fn openssl(address: SocketAddr) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}
