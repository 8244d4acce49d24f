//! `/devices/{id}/explain`: why a device is where it is, and what it waits for.

use axum::Json as Answer;
use axum::extract::State;
use otaru_engine::{DeploymentExplanation, DeviceExplanation, Engine, HeldBackShown};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use super::connections::Refused;
use super::deployments::Fetching;
use crate::caller::{Look, May};
use crate::openapi::words;
use crate::problem::Problem;
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(explain))
}

#[derive(Serialize, ToSchema)]
#[schema(as = DeviceExplanation)]
struct Explained {
    device_id: String,
    registered: bool,
    online: bool,
    frozen: bool,
    #[schema(required)]
    firmware_version: Option<String>,
    #[schema(required)]
    software_version: Option<String>,
    /// The answer for people, the most important first.
    sentences: Vec<String>,
    /// The newest first, at most 20.
    deployments: Vec<ExplainedDeployment>,
    #[schema(required)]
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

#[derive(Serialize, ToSchema)]
#[schema(as = DeploymentExplanation)]
struct ExplainedDeployment {
    campaign_id: String,
    campaign_name: String,
    #[schema(value_type = words::CampaignStateWord)]
    campaign_state: &'static str,
    deployment_id: String,
    #[schema(value_type = words::DeploymentStateWord)]
    state: &'static str,
    #[schema(value_type = Option<words::OutcomeWord>, required)]
    outcome: Option<&'static str>,
    /// Why its device is not being told now, if it is not.
    #[schema(required)]
    held_back: Option<HeldBack>,
    #[schema(required)]
    looked_at_again: Option<Moment>,
    #[schema(required)]
    download: Option<Fetching>,
    unfetched_success: bool,
    explanation: String,
}

/// Why a deployment is held back.
#[derive(Serialize, ToSchema)]
struct HeldBack {
    #[schema(value_type = words::HeldBackReasonWord)]
    reason: &'static str,
    /// The other campaign, for `busy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    with: Option<String>,
    /// When the campaign starts by itself, for `scheduled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Moment, required = false)]
    start_at: Option<Moment>,
    explanation: String,
}

impl From<HeldBackShown> for HeldBack {
    fn from(shown: HeldBackShown) -> HeldBack {
        let start_at = shown.start_at.map(Moment);
        HeldBack { reason: shown.reason, with: shown.with, start_at, explanation: shown.explanation }
    }
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
            held_back: found.held_back.map(HeldBack::from),
            looked_at_again: found.looked_at_again.map(Moment),
            download: found.download.map(Fetching::from),
            unfetched_success: found.unfetched_success,
            explanation: found.explanation,
        }
    }
}

/// Explains why a device is where it is.
///
/// Also answers for a device that is not registered but tried to connect: then it says how to register it.
#[utoipa::path(
    get, path = "/devices/{id}/explain", tag = "devices", operation_id = "explain_device",
    security(("token" = ["viewer"])),
    params(("id" = String, Path, description = "A `device_id`, or the name under which something tried to connect")),
    responses((status = 200, description = "Why", body = Explained)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn explain(
    State(engine): State<Engine>,
    _: May<Look>,
    Id(id): Id,
) -> Result<Answer<Explained>, Problem> {
    Ok(Answer(engine.explain(&id).await?.into()))
}
