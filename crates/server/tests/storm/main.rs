//! A first boot of many devices: a delivery is unpacked, and all of it is switched on in the same moment.
//!
//! A binary of its own, so that nothing else is on the machine's processors meanwhile.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../otaru/running.rs"]
#[allow(dead_code, reason = "the tests of the binary do more with it")]
mod running;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use otaru_fleet::{Crowd, DeviceConfig, Downloader, Endpoint, Pace, Script, Site};
use otaru_proto::{DeviceId, Version};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use running::{Server, TOKEN, ask, ask_for_text, plain};

const DEVICES: usize = 10_000;

/// The whole storm on two busy cores, without optimisation.
const PATIENCE: Duration = Duration::from_secs(240);

const SECRET: &str = "s3cret-s3cret";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_devices_that_are_switched_on_at_once_are_each_told_once() {
    assert!(open_files() > DEVICES + 500, "too few open files are allowed; `ulimit -n 12000` helps");
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let begin = Instant::now();
    register(&server.http()).await;
    let campaign = start_campaign(&server.http()).await;
    let registered = begin.elapsed();

    let begin = Instant::now();
    let site = Site::new(plain(server.address("mqtt")), Downloader::pretending(), 0);
    let mut crowd = Crowd::at(Arc::clone(&site));
    for number in 0..DEVICES {
        crowd.add(device(number));
    }
    let all = DEVICES as u64;
    let path = format!("/api/v1/campaigns/{campaign}");
    let mut connected = None;
    let ended = async {
        loop {
            if crowd.tallies().arrived.get() == all {
                connected.get_or_insert_with(|| begin.elapsed());
            }
            let (status, shown) = ask(&server.http(), TOKEN, "GET", &path, None).await;
            assert_eq!(status, 200, "{shown}");
            if shown["state"] == "finished" {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, ended).await;
    let did = crowd.tallies().now();
    let ended = ended.unwrap_or_else(|_| panic!("the storm does not end: {did:?}\n{}", server.stderr()));
    eprintln!(
        "registered in {registered:.1?}; connected after {connected:.1?}, upgraded after {:.1?}; {did:?}",
        begin.elapsed()
    );

    // What the devices saw: nobody was turned away or let down, and nobody heard anything twice.
    assert_eq!((did.arrived, did.connects, did.connected), (all, all, all), "{did:?}");
    assert_eq!((did.refused, did.links_lost, did.unreadable), (0, 0, 0), "{did:?}");
    assert_eq!((did.questions, did.notices, did.notices_repeated), (all, all, 0), "{did:?}");

    // What the platform says is the same.
    assert_eq!(
        (&ended["counts"]["installed"], &ended["counts"]["total"]),
        (&json!(all), &json!(all)),
        "{ended}"
    );
    let (_, metrics) = ask_for_text(&server.http(), TOKEN, "GET", "/metrics", None).await;
    let connects = labelled(&metrics, "otaru_gateway_connects_total", "outcome");
    assert_eq!(connects, BTreeMap::from([("accepted".to_owned(), all)]), "{metrics}");
    let finished = labelled(&metrics, "otaru_deployments_finished_total", "outcome");
    assert_eq!(finished, BTreeMap::from([("installed".to_owned(), all)]), "{metrics}");
    let messages = labelled(&metrics, "otaru_uplinks_total", "as");
    assert_eq!(messages, BTreeMap::from([("kept".to_owned(), did.reports)]), "{metrics}");
    let answers = labelled(&metrics, "otaru_http_requests_total", "status");
    assert!(answers.keys().all(|status| !status.starts_with('5')), "{answers:?}");
    assert_eq!(labelled(&metrics, "otaru_gateway_sessions", ""), BTreeMap::from([(String::new(), all)]));
    assert_eq!(crowd.stop().await, 0);
}

/// How many files this process may have open; the server inherits it.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    let soft = soft.unwrap_or_else(|| panic!("no limit of open files in {limits}"));
    soft.parse().unwrap_or(usize::MAX)
}

fn device(number: usize) -> DeviceConfig {
    DeviceConfig {
        device_id: DeviceId::parse(&format!("lamp_{number}")).unwrap(),
        secret: SECRET.into(),
        firmware: Version::parse_target("1.0.0").unwrap(),
        software: None,
        script: Script::Succeeds { reboots: false },
        pace: Pace { step: Duration::from_millis(500), reboot: Duration::from_millis(500) },
        subscribes: number.is_multiple_of(2),
        seed: number as u64,
        children: Vec::new(),
    }
}

async fn register(http: &Endpoint) {
    let product = json!({ "product_id": "lamp", "name": "Lamp" });
    assert_eq!(ask(http, TOKEN, "POST", "/api/v1/products", Some(product)).await.0, 201);
    let at_once = Arc::new(Semaphore::new(64));
    let mut requests = JoinSet::new();
    for number in 0..DEVICES {
        let (http, at_once) = (http.clone(), Arc::clone(&at_once));
        requests.spawn(async move {
            let _turn = at_once.acquire_owned().await;
            let device = json!({ "product_id": "lamp", "node_id": number.to_string(), "secret": SECRET });
            ask(&http, TOKEN, "POST", "/api/v1/devices", Some(device)).await
        });
    }
    while let Some(registered) = requests.join_next().await {
        let (status, shown) = registered.unwrap();
        assert_eq!(status, 201, "{shown}");
    }
}

async fn start_campaign(http: &Endpoint) -> String {
    let make = async |path: &str, body: Value, member: &str| {
        let (status, made) = ask(http, TOKEN, "POST", path, Some(body)).await;
        assert_eq!(status, 201, "{made}");
        made[member].as_str().unwrap().to_owned()
    };
    // Whatever the bytes say: the devices pretend to fetch them.
    let artifact = make("/api/v1/artifacts", json!("new firmware"), "artifact_id").await;
    let package = json!({
        "product_id": "lamp",
        "kind": "firmware",
        "version": "2.0.0",
        "artifact_id": artifact,
        "file_name": "lamp.bin",
    });
    let package = make("/api/v1/packages", package, "package_id").await;
    let campaign = json!({
        "name": "storm",
        "package_ids": [package],
        "devices": { "product_id": "lamp" },
        "start": true,
    });
    make("/api/v1/campaigns", campaign, "campaign_id").await
}

/// What a metric says for each value of a label that is not zero; under the empty name if it has none.
fn labelled(metrics: &str, name: &str, label: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix(name) else { continue };
        let Some((labels, value)) = rest.rsplit_once(' ') else { continue };
        if !labels.is_empty() && !labels.starts_with('{') {
            continue; // another metric, whose name begins like this one
        }
        let marked = format!("{label}=\"");
        let value_of_label = labels.split_once(&marked).and_then(|(_, rest)| rest.split('"').next());
        let number: f64 = value.parse().unwrap();
        if number > 0.0 {
            *found.entry(value_of_label.unwrap_or_default().to_owned()).or_insert(0) += number as u64;
        }
    }
    found
}
