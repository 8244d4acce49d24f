//! `/devices/{id}/explain`: why a device is where it is, and what it waits for.

use axum::extract::State;
use axum::routing::get;
use axum::{Json as Answer, Router};
use otaru_engine::{DeploymentExplanation, DeviceExplanation, Engine, HeldBackShown};
use serde::Serialize;

use super::Id;
use super::connections::Refused;
use super::deployments::Fetching;
use crate::caller::{Look, May};
use crate::problem::Problem;
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/devices/{id}/explain", get(explain))
}

#[derive(Serialize)]
struct Explained {
    device_id: String,
    registered: bool,
    online: bool,
    frozen: bool,
    firmware_version: Option<String>,
    software_version: Option<String>,
    /// The answer for people, the most important first.
    sentences: Vec<String>,
    deployments: Vec<ExplainedDeployment>,
    refused_connection: Option<Refused>,
}

impl From<DeviceExplanation> for Explained {
    fn from(found: DeviceExplanation) -> Explained {
        Explained {
            device_id: found.device_id,
            registered: found.registered,
            online: found.online,
            frozen: found.frozen,
            firmware_version: found.firmware_version,
            software_version: found.software_version,
            sentences: found.sentences,
            deployments: found.deployments.into_iter().map(ExplainedDeployment::from).collect(),
            refused_connection: found.refused_connection.map(Refused::from),
        }
    }
}

#[derive(Serialize)]
struct ExplainedDeployment {
    campaign_id: String,
    campaign_name: String,
    campaign_state: &'static str,
    deployment_id: String,
    state: &'static str,
    outcome: Option<&'static str>,
    held_back: Option<HeldBackShown>,
    looked_at_again: Option<Moment>,
    download: Option<Fetching>,
    unfetched_success: bool,
    explanation: String,
}

impl From<DeploymentExplanation> for ExplainedDeployment {
    fn from(found: DeploymentExplanation) -> ExplainedDeployment {
        ExplainedDeployment {
            campaign_id: found.campaign_id,
            campaign_name: found.campaign_name,
            campaign_state: found.campaign_state,
            deployment_id: found.deployment_id,
            state: found.state,
            outcome: found.outcome,
            held_back: found.held_back,
            looked_at_again: found.looked_at_again.map(Moment),
            download: found.download.map(Fetching::from),
            unfetched_success: found.unfetched_success,
            explanation: found.explanation,
        }
    }
}

/// Also answers for a device that is not registered but tried to connect: then it says how to register it.
async fn explain(
    State(engine): State<Engine>,
    _: May<Look>,
    Id(id): Id,
) -> Result<Answer<Explained>, Problem> {
    Ok(Answer(engine.explain(&id).await?.into()))
}
