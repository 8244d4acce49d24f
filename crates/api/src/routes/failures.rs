//! `/campaigns/{id}/failures`: what went wrong, how often, and on which devices.

use axum::Json as Answer;
use axum::extract::State;
use otaru_engine::{DeploymentView, Engine, FailuresView};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use crate::caller::{Look, May};
use crate::limits::{EXAMPLES_DEFAULT, EXAMPLES_MAX, FAILURES_DEFAULT, FAILURES_MAX};
use crate::openapi::words;
use crate::problem::Problem;
use crate::query::Asked;
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list))
}

/// What went wrong in a campaign.
#[derive(Serialize, ToSchema)]
#[schema(as = Failures)]
struct Overview {
    /// How many failures there are in all. Of the latest run of each device.
    total: u64,
    /// The most frequent first.
    items: Vec<Failure>,
    /// There are further ways in which devices failed: ask for more with `limit`.
    has_more: bool,
}

/// Devices that failed in the same way.
#[derive(Serialize, ToSchema)]
struct Failure {
    #[schema(value_type = words::OutcomeWord)]
    outcome: &'static str,
    /// Of their last report; null if they sent none.
    #[schema(required)]
    result_code: Option<i64>,
    /// What the code is called: `vendor` for one outside the published table, `on_track` for 0, `none` without a report.
    result: &'static str,
    /// What that means, for people.
    meaning: &'static str,
    count: u64,
    /// Some of them, the last made first.
    devices: Vec<FailedDevice>,
}

/// One of them.
#[derive(Serialize, ToSchema)]
struct FailedDevice {
    device_id: String,
    deployment_id: String,
    /// The device's own words.
    #[schema(required)]
    description: Option<String>,
    #[schema(required)]
    reported_version: Option<String>,
    explanation: String,
    updated_at: Moment,
}

impl From<FailuresView> for Failure {
    fn from(view: FailuresView) -> Failure {
        Failure {
            outcome: view.outcome,
            result_code: view.result_code,
            result: view.says.name,
            meaning: view.says.phrase,
            count: view.n,
            devices: view.examples.into_iter().map(FailedDevice::from).collect(),
        }
    }
}

impl From<DeploymentView> for FailedDevice {
    fn from(view: DeploymentView) -> FailedDevice {
        FailedDevice {
            device_id: view.device_id,
            deployment_id: view.deployment_id,
            description: view.description,
            reported_version: view.reported_version,
            explanation: view.explanation,
            updated_at: Moment(view.updated_at),
        }
    }
}

/// Shows what went wrong in a campaign, by outcome and result code, with example devices.
///
/// A failure is any outcome but `installed`, `already_installed` and `cancelled`. All devices of one kind are listed by
/// `/campaigns/{id}/deployments?outcome=…&code=…`.
#[utoipa::path(
    get, path = "/campaigns/{id}/failures", tag = "campaigns", operation_id = "list_failures",
    security(("token" = ["viewer"])),
    params(
        ("id" = String, Path, description = "A `campaign_id`"),
        (
            "limit" = Option<u32>, Query, minimum = 1, maximum = 100,
            description = "How many ways to fail at most, 50 if it is left out"
        ),
        (
            "examples" = Option<u32>, Query, minimum = 0, maximum = 20,
            description = "How many devices of each at most, 5 if it is left out"
        ),
    ),
    responses((status = 200, description = "What went wrong", body = Overview)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn list(
    State(engine): State<Engine>,
    _: May<Look>,
    Id(id): Id,
    asked: Asked,
) -> Result<Answer<Overview>, Problem> {
    let asked = asked.only(&["limit", "examples"])?;
    let limit = asked.number("limit", 1..=FAILURES_MAX, FAILURES_DEFAULT)?;
    let examples = asked.number("examples", 0..=EXAMPLES_MAX, EXAMPLES_DEFAULT)?;
    // One more than wanted tells whether there are more.
    let (mut groups, total) = engine.failures(&id, limit + 1, examples).await?;
    let has_more = groups.len() > limit as usize;
    groups.truncate(limit as usize);
    Ok(Answer(Overview { total, items: groups.into_iter().map(Failure::from).collect(), has_more }))
}
