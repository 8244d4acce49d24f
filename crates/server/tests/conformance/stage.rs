//! What most tests begin with: a product, a package, a device in the middle of an upgrade.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use otaru_fleet::Endpoint;
use serde_json::{Value, json};

use crate::device::{Device, Line};
use crate::fetch::{Answer, exchange, parts};
use crate::platform::{Platform, word};
use crate::running::PATIENCE;

pub const OLD: &str = "v1.0.0";
pub const NEW: &str = "v2.0.0";
pub const PACKAGE: &[u8] = b"the bytes of a package, which are no firmware at all\n";

/// A product of its own, on a server that others may share.
pub struct Stage {
    pub platform: Arc<Platform>,
    pub product: String,
}

impl Stage {
    pub async fn new() -> Stage {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let product = format!("p{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Stage::on(Platform::usual(), &product).await
    }

    pub async fn on(platform: Arc<Platform>, product: &str) -> Stage {
        platform.post("/products", json!({ "product_id": product, "name": "a product" })).await;
        Stage { platform, product: product.to_owned() }
    }

    /// A server of one's own with the device whose bytes were captured.
    pub async fn captured(settings: &[&str]) -> (Stage, Device) {
        let stage = Stage::on(Platform::with(settings), "prod1").await;
        let device = stage.registers(json!({ "node_id": "dev1", "secret": "s3cr3t-s3cr3t" })).await;
        assert_eq!(device.id, "prod1_dev1");
        (stage, device)
    }

    pub async fn device(&self, node: &str) -> Device {
        self.registers(json!({ "node_id": node, "secret": "12345678" })).await
    }

    pub async fn child(&self, node: &str, gateway: &Device) -> Device {
        self.registers(json!({ "node_id": node, "secret": "12345678", "gateway_id": gateway.id })).await
    }

    async fn registers(&self, mut device: Value) -> Device {
        device["product_id"] = json!(self.product);
        let secret = word(&device, "secret");
        let made = self.platform.post("/devices", device).await;
        Device { id: word(&made, "device_id"), secret, platform: self.platform.clone() }
    }

    /// A package of the new firmware.
    pub async fn package(&self) -> String {
        self.package_with(json!({})).await
    }

    /// A package, with members that differ.
    pub async fn package_with(&self, more: Value) -> String {
        let artifact = self.platform.artifact(PACKAGE).await;
        let package = json!({
            "product_id": self.product, "kind": "firmware", "version": NEW, "artifact_id": artifact,
            "file_name": "app.bin",
        });
        word(&self.platform.post("/packages", with(package, more)).await, "package_id")
    }

    /// A campaign that runs, of the usual package.
    pub async fn campaign(&self, devices: &[&Device], more: Value) -> Campaign {
        let package = self.package().await;
        self.campaign_of(&package, devices, more).await
    }

    pub async fn campaign_of(&self, package: &str, devices: &[&Device], more: Value) -> Campaign {
        let ids: Vec<&str> = devices.iter().map(|device| device.id.as_str()).collect();
        let campaign = json!({
            "name": "a campaign", "package_ids": [package], "devices": { "ids": ids }, "start": true,
        });
        let made = self.platform.post("/campaigns", with(campaign, more)).await;
        Campaign { id: word(&made, "campaign_id"), platform: self.platform.clone() }
    }

    /// A device that was told to upgrade from the old to the new firmware.
    pub async fn upgrade(self) -> Upgrade {
        self.upgrade_with(json!({})).await
    }

    /// The same in a campaign that differs in some members.
    pub async fn upgrade_with(self, more: Value) -> Upgrade {
        let device = self.device("dev1").await;
        self.upgrade_of(device, more).await
    }

    pub async fn upgrade_of(self, device: Device, more: Value) -> Upgrade {
        let package = self.package().await;
        let line = device.connects().await;
        self.upgrade_on(line, device, &package, more).await
    }

    pub async fn upgrade_on(self, mut line: Line, device: Device, package: &str, more: Value) -> Upgrade {
        let campaign = self.campaign_of(package, &[&device], more).await;
        line.is_asked().await;
        line.runs(OLD).await;
        let notice = line.is_told("firmware_upgrade").await;
        Upgrade { stage: self, device, line, campaign, notice }
    }
}

/// A gateway whose child was told.
pub struct ChildUpgrade {
    pub gateway: Device,
    pub child: Device,
    /// The gateway's.
    pub line: Line,
    pub campaign: Campaign,
    /// The `paras` of the notice.
    pub notice: Value,
}

impl ChildUpgrade {
    pub async fn new() -> ChildUpgrade {
        let stage = Stage::new().await;
        let gateway = stage.device("gw").await;
        let child = stage.child("child1", &gateway).await;
        let mut line = gateway.connects().await;
        line.brings(&child).await;
        let campaign = stage.campaign(&[&child], json!({})).await;
        line.is_asked_about(&child.id).await;
        line.event_of(&child.id, "version_report", json!({ "fw_version": OLD })).await;
        let notice = line.is_told_about(&child.id, "firmware_upgrade").await;
        ChildUpgrade { gateway, child, line, campaign, notice }
    }
}

/// A device that was told.
pub struct Upgrade {
    pub stage: Stage,
    pub device: Device,
    pub line: Line,
    pub campaign: Campaign,
    /// The `paras` of the notice.
    pub notice: Value,
}

impl Upgrade {
    pub async fn new() -> Upgrade {
        Stage::new().await.upgrade().await
    }

    pub async fn deployment(&self) -> Value {
        self.campaign.deployment(&self.device).await
    }

    pub async fn is(&self, state: &str) {
        let deployment = self.deployment().await;
        assert_eq!(deployment["state"], state, "{deployment}");
    }

    pub async fn ended(&self, outcome: &str) {
        self.campaign.ended(&self.device, outcome).await;
    }

    /// The link is lost without a word, the server knows, and the device connects again.
    pub async fn reconnects(&mut self) {
        let before = self.device.shown().await["connected_at"].clone();
        self.line = self.device.connects().await;
        self.device.until(|shown| shown["connected_at"] != before).await;
    }

    /// Fetches the package as the documents have it.
    pub async fn fetches(&self) -> Answer {
        fetch(&self.device.platform, &self.notice).await
    }
}

/// So many bytes that no download of them ends unless they are read: more than the sockets between hold.
pub async fn large_package(stage: &Stage) -> String {
    let artifact = stage.platform.artifact(&vec![7; 24 << 20]).await;
    stage.package_with(json!({ "artifact_id": artifact })).await
}

/// Fetches what a notice names, as the documents have it.
pub async fn fetch(platform: &Platform, notice: &Value) -> Answer {
    let (endpoint, path, token) = download_of(platform, notice);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}\r\n\r\n",
        endpoint.host, endpoint.port
    );
    exchange(&endpoint, request.as_bytes()).await
}

/// Where to fetch what a notice names: address, path and token.
pub fn download_of(platform: &Platform, notice: &Value) -> (Endpoint, String, String) {
    let url = word(notice, "url");
    let (scheme, host, port, path) = parts(&url);
    let endpoint = if scheme == "https" { platform.https() } else { platform.http() };
    assert_eq!((host, port), (endpoint.host.as_str(), endpoint.port));
    let token = notice["access_token"].as_str().unwrap_or_default().to_owned();
    (endpoint, path.to_owned(), token)
}

impl Device {
    /// Waits until the device is shown as wanted.
    pub async fn until(&self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        waited(async || self.shown().await, is_wanted).await
    }
}

/// A campaign that runs.
pub struct Campaign {
    pub id: String,
    platform: Arc<Platform>,
}

impl Campaign {
    pub async fn deployment(&self, device: &Device) -> Value {
        self.find(device).await.unwrap_or_else(|| panic!("no deployment of {}", device.id))
    }

    async fn find(&self, device: &Device) -> Option<Value> {
        let listed = self.platform.get(&format!("/campaigns/{}/deployments", self.id)).await;
        let found = listed["items"].as_array().unwrap().iter().find(|item| item["device_id"] == device.id);
        found.cloned()
    }

    /// Waits until the deployment is as wanted.
    pub async fn until(&self, device: &Device, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let look = async || self.find(device).await.unwrap_or(Value::Null);
        waited(look, |found| !found.is_null() && is_wanted(found)).await
    }

    /// Waits until the deployment is in this state.
    pub async fn comes_to(&self, device: &Device, state: &str) -> Value {
        self.until(device, |deployment| deployment["state"] == state).await
    }

    /// Waits for the end, which is to be this one.
    pub async fn ended(&self, device: &Device, outcome: &str) -> Value {
        let ended = self.comes_to(device, "finished").await;
        assert_eq!(ended["outcome"], outcome, "{ended}");
        ended
    }

    pub async fn does(&self, what: &str) {
        self.platform.post(&format!("/campaigns/{}/{what}", self.id), json!({})).await;
    }
}

/// Looks until it is as wanted.
pub async fn waited(look: impl AsyncFn() -> Value, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let looking = async {
        loop {
            last = look().await;
            if is_wanted(&last) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, looking).await;
    assert!(waited.is_ok(), "not as wanted: {last}");
    last
}

fn with(mut value: Value, more: Value) -> Value {
    for (member, given) in more.as_object().unwrap() {
        value[member] = given.clone();
    }
    value
}
