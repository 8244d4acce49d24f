//! What the operator does: everything through the public HTTP API.

use bytes::Bytes;
use serde_json::json;

use super::cast::{Cast, NEW_VERSION, OLD_VERSION, PRODUCT, Player};
use crate::client::ApiClient;
use crate::operator::{Taken, id, post_all};

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

async fn register(operator: &ApiClient, cast: &Cast) -> anyhow::Result<()> {
    let device = |player: &Player| {
        json!({
            "node_id": player.node_id,
            "product_id": PRODUCT,
            "secret": player.device.secret,
            "tags": { "script": player.device.script.to_string().replace(' ', "-") },
        })
    };
    post_all(operator, "/api/v1/devices", cast.players.iter().map(device), Taken::IsWrong).await?;
    Ok(())
}
