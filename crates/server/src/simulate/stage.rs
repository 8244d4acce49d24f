//! What an operator does for a crowd: registers it, and lets a campaign over it go.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::json;

use super::cast::Cast;
use super::profile::Profile;
use crate::client::ApiClient;
use crate::operator::{Taken, id, post, post_all};

/// How long the campaign waits.
struct Patience {
    online: Duration,
    answer: Duration,
    result: Duration,
    confirm: Duration,
}

impl Patience {
    /// Above what a healthy device needs at this pace, and short enough for silence to show within a run.
    ///
    /// The slowest script pauses eighteen times and reboots once, each up to half as long again. A hundred devices
    /// more are a second more, and until the last one is switched on it may take as long as the rate says.
    fn with(profile: &Profile, devices: u32) -> Patience {
        let crowd = Duration::from_secs(u64::from(devices / 100));
        let arriving =
            Duration::from_secs(u64::from(devices.checked_div(profile.connects_per_sec).unwrap_or(0)));
        let pace = profile.pace;
        Patience {
            online: Duration::from_secs(15) + crowd + arriving,
            answer: Duration::from_secs(5) + crowd / 5,
            result: Duration::from_secs(15) + crowd + pace.step * 30 + pace.reboot * 3,
            confirm: Duration::from_secs(4) + crowd + pace.step * 2 + pace.reboot * 2,
        }
    }
}

/// Makes the product and registers everybody; whoever is there already stays. Returns how many were new.
pub(super) async fn register(api: &ApiClient, product: &str, cast: &Cast) -> anyhow::Result<u64> {
    let body = json!({ "product_id": product, "name": "Simulated" });
    post(api, "/api/v1/products", &body, Taken::IsFine).await?;
    let devices = post_all(api, "/api/v1/devices", cast.registrations(), Taken::IsFine).await?;
    let children = post_all(api, "/api/v1/devices", cast.child_registrations(), Taken::IsFine).await?;
    Ok(devices + children)
}

/// Uploads what the crowd will run, and starts a campaign over it. Returns the campaign's id.
pub(super) async fn start_campaign(
    api: &ApiClient,
    product: &str,
    profile: &Profile,
    cast: &Cast,
) -> anyhow::Result<String> {
    let package = package(api, product, profile, cast).await?;
    let patience = Patience::with(profile, u32::try_from(cast.devices.len()).unwrap_or(u32::MAX));
    let ids: Vec<&str> = cast.scripts().map(|(id, _)| id.as_str()).collect();
    let campaign = json!({
        "name": format!("simulation to {}", profile.new_version),
        "package_ids": [package],
        "devices": { "ids": ids },
        "timers": {
            "online_secs": patience.online.as_secs_f64(),
            "answer_secs": patience.answer.as_secs_f64(),
            "result_secs": patience.result.as_secs_f64(),
            "confirm_secs": patience.confirm.as_secs_f64(),
        },
        // A campaign of an earlier run that was broken off must not hold this one up.
        "on_conflict": "supersede",
        "start": true,
    });
    id(&api.post("/api/v1/campaigns", &campaign).await?, "campaign_id")
}

/// The package of the new version: a new one, or the one of an earlier run.
async fn package(api: &ApiClient, product: &str, profile: &Profile, cast: &Cast) -> anyhow::Result<String> {
    let artifact = api.upload("/api/v1/artifacts", Bytes::from(cast.package.clone())).await?;
    let version = profile.new_version.as_str();
    let package = json!({
        "product_id": product,
        "kind": "firmware",
        "version": version,
        "artifact_id": artifact["artifact_id"],
        "file_name": "simulated.bin",
    });
    if let Some(made) = post(api, "/api/v1/packages", &package, Taken::IsFine).await? {
        return id(&made, "package_id");
    }
    let first = format!("/api/v1/packages?limit=1000&product_id={product}");
    let mut path = first.clone();
    loop {
        let page = api.get(&path).await?;
        let mut items = page["items"].as_array().context("a list has items")?.iter();
        let is_it = |item: &&serde_json::Value| item["version"] == version && item["kind"] == "firmware";
        if let Some(found) = items.find(is_it) {
            return id(found, "package_id");
        }
        let cursor = page["next_cursor"].as_str();
        let cursor = cursor.with_context(|| format!("firmware {version} is taken and is nowhere"))?;
        path = format!("{first}&cursor={cursor}");
    }
}
