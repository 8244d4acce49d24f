//! The load generator against a server that acknowledges.

use std::time::Duration;

use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use otaru_fleet::load::{self, ConnectionError, Identity, Length, LoadConfig, LoadError};

use crate::stage::{Manners, Platform};

fn config(platform: &Platform) -> LoadConfig {
    LoadConfig {
        target: platform.address.to_string(),
        allow_remote: false,
        connections: 3,
        in_flight: 8,
        every: None,
        identity: Identity::Devices { prefix: "load_".into(), secret: "s3cret".into() },
        warm_up: Duration::ZERO,
        length: Length::Reports(500),
        payload_bytes: 330,
        version: "1.0.0".into(),
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_counted_and_in_order() {
    let mut platform = Platform::open(Manners::Acknowledges).await;
    let measured = load::run(&config(&platform)).await.unwrap();
    assert!(measured.reports >= 500, "{measured:?}");
    assert_eq!((measured.out_of_order, measured.payload_bytes), (0, 330));
    assert_eq!(measured.latency.count, measured.reports);
    assert!(measured.per_sec > 0.0 && measured.latency.p50 <= measured.latency.p99, "{measured:?}");

    let mut connected = Vec::new();
    let mut reports = 0;
    let mut gone = 0;
    while gone < 3 {
        let heard = platform.next().await;
        if heard.starts_with("connected") {
            connected.push(heard);
        } else if heard == "gone" {
            gone += 1;
        } else {
            assert!(heard.starts_with("0/") && heard.ends_with(" 1.0.0"), "{heard}");
            reports += 1;
        }
    }
    connected.sort();
    assert_eq!(connected, ["connected load_0", "connected load_1", "connected load_2"]);
    assert!(reports >= measured.reports);
}

#[tokio::test]
async fn a_span_of_time_is_measured_without_the_warm_up() {
    let platform = Platform::open(Manners::Acknowledges).await;
    let mut config = config(&platform);
    config.warm_up = Duration::from_millis(100);
    config.length = Length::For(Duration::from_millis(200));
    config.identity = Identity::Anonymous { prefix: "anyone_".into() };
    let measured = load::run(&config).await.unwrap();
    assert_eq!(measured.measured, Duration::from_millis(200));
    assert!(measured.reports > 0);
}

#[tokio::test]
async fn a_refusal_ends_the_run_and_says_why() {
    let platform = Platform::with(Manners::Acknowledges, ConnectReturnCode::NotAuthorized, None).await;
    let error = load::run(&config(&platform)).await.unwrap_err();
    assert!(matches!(error, LoadError::Connect { cause: ConnectionError::Refused(5), .. }), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_is_lost_ends_the_run() {
    let platform = Platform::open(Manners::HangsUpOnce).await;
    let error = load::run(&config(&platform)).await.unwrap_err();
    assert!(matches!(error, LoadError::Ended { .. }), "{error:?}");
}

/// Runs the command with these arguments and `--target` beside the others that every run needs.
async fn otaru_load(platform: &Platform, more: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_otaru-load"));
    command.env_remove("OTARU_LOAD_SECRET").args(["--target", &platform.address.to_string()]);
    command.args(["--connections", "2", "--in-flight", "4", "--reports", "100", "--warm-up", "0"]).args(more);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_command_prints_what_it_measured_for_people_and_for_scripts() {
    let platform = Platform::open(Manners::Acknowledges).await;
    let ended = otaru_load(&platform, &["--anonymous", "--json"]).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let measured: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&measured["connections"], &measured["in_flight"]), (&2.into(), &4.into()));
    assert!(measured["reports"].as_u64().unwrap() >= 100, "{measured}");
    assert!(measured["reports_per_sec"].as_f64().unwrap() > 0.0, "{measured}");

    let ended = otaru_load(&platform, &["--secret", "s3cret"]).await;
    let shown = String::from_utf8(ended.stdout).unwrap();
    assert!(shown.starts_with("2 connections x 4 in flight, 330 bytes a report"), "{shown}");
    assert!(shown.contains("latency p99"), "{shown}");
}

#[tokio::test]
async fn the_command_says_why_it_measured_nothing() {
    let platform =
        Platform::with(Manners::Acknowledges, ConnectReturnCode::BadUserNameOrPassword, None).await;
    let ended = otaru_load(&platform, &["--secret", "wrong"]).await;
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("refused with CONNACK 4"), "{said}");
    assert_eq!(otaru_load(&platform, &[]).await.status.code(), Some(2), "neither a secret nor --anonymous");
}
