//! What the operator does: everything through the public HTTP API.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::cast::{Cast, NEW_VERSION, OLD_VERSION, PRODUCT};
use crate::client::ApiClient;

/// Requests at once while registering: enough for the store to make batches of them.
const REQUESTS_AT_ONCE: usize = 32;

/// A page of deployments; the API's largest.
const PAGE: usize = 1000;

/// One deployment as the API shows it.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) device_id: String,
    pub(super) state: String,
    pub(super) outcome: Option<String>,
    pub(super) result_code: Option<i64>,
    pub(super) explanation: String,
}

/// Registers the cast and uploads what it will run. Returns the package's id.
pub(super) async fn prepare(operator: &ApiClient, cast: &Cast) -> anyhow::Result<String> {
    operator.post("/api/v1/products", &json!({ "product_id": PRODUCT, "name": "Demo lamp" })).await?;
    register(operator, cast).await?;
    let artifact = operator.upload("/api/v1/artifacts", Bytes::from(cast.package.clone())).await?;
    let package = json!({
        "product_id": PRODUCT,
        "kind": "firmware",
        "version": NEW_VERSION,
        "artifact_id": artifact["artifact_id"],
        "file_name": format!("lamp-{NEW_VERSION}.bin"),
    });
    id(&operator.post("/api/v1/packages", &package).await?, "package_id")
}

/// Makes the campaign over all devices and lets it go. Returns its id.
pub(super) async fn start(operator: &ApiClient, package_id: &str) -> anyhow::Result<String> {
    let campaign = json!({
        "name": format!("Lamps from {OLD_VERSION} to {NEW_VERSION}"),
        "package_ids": [package_id],
        "devices": { "product_id": PRODUCT },
        "start": true,
    });
    id(&operator.post("/api/v1/campaigns", &campaign).await?, "campaign_id")
}

fn id(made: &Value, member: &str) -> anyhow::Result<String> {
    made[member].as_str().map(str::to_owned).with_context(|| format!("the answer has no {member}: {made}"))
}

async fn register(operator: &ApiClient, cast: &Cast) -> anyhow::Result<()> {
    let at_once = Arc::new(Semaphore::new(REQUESTS_AT_ONCE));
    let mut requests = JoinSet::new();
    for player in &cast.players {
        let (operator, at_once) = (operator.clone(), Arc::clone(&at_once));
        let device = json!({
            "node_id": player.node_id,
            "product_id": PRODUCT,
            "secret": player.device.secret,
            "tags": { "script": player.device.script.to_string().replace(' ', "-") },
        });
        requests.spawn(async move {
            let _turn = at_once.acquire_owned().await;
            operator.post("/api/v1/devices", &device).await
        });
    }
    while let Some(registered) = requests.join_next().await {
        registered??;
    }
    Ok(())
}

/// The campaign as it is now.
pub(super) async fn campaign(operator: &ApiClient, campaign_id: &str) -> anyhow::Result<Value> {
    operator.get(&format!("/api/v1/campaigns/{campaign_id}")).await
}

/// All its deployments.
pub(super) async fn deployments(operator: &ApiClient, campaign_id: &str) -> anyhow::Result<Vec<Shown>> {
    let first = format!("/api/v1/campaigns/{campaign_id}/deployments?limit={PAGE}");
    let mut all = Vec::new();
    let mut path = first.clone();
    loop {
        let page = operator.get(&path).await?;
        let items = page["items"].as_array().context("a list has items")?;
        for item in items {
            all.push(shown(item).with_context(|| format!("a deployment misses a member: {item}"))?);
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("{first}&cursor={cursor}"),
            None => return Ok(all),
        }
    }
}

fn shown(item: &Value) -> Option<Shown> {
    Some(Shown {
        device_id: item["device_id"].as_str()?.to_owned(),
        state: item["state"].as_str()?.to_owned(),
        outcome: item["outcome"].as_str().map(str::to_owned),
        result_code: item["result_code"].as_i64(),
        explanation: item["explanation"].as_str()?.to_owned(),
    })
}
