//! From `otaru tls self-signed` to devices and operators that trust it.

use std::os::unix::fs::PermissionsExt as _;

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
