//! `/campaigns/{id}/deployments`: the campaign on each of its devices.

use axum::Json as Answer;
use axum::extract::State;
use otaru_core::deployment::Label;
use otaru_engine::{DeploymentView, DownloadView, Engine};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use crate::caller::{Look, May};
use crate::openapi::{Pages, words};
use crate::problem::Problem;
use crate::query::{Asked, Listed, bad, listed};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Deployment)]
struct Shown {
    deployment_id: String,
    device_id: String,
    campaign_id: String,
    #[schema(value_type = words::DeploymentStateWord)]
    state: &'static str,
    #[schema(value_type = Option<words::OutcomeWord>, required)]
    outcome: Option<&'static str>,
    /// Of the last report.
    #[schema(required)]
    result_code: Option<i64>,
    /// The furthest of this attempt, in percent.
    #[schema(required, minimum = 0, maximum = 100)]
    progress: Option<u8>,
    /// Which try of this run.
    attempt: u32,
    /// An operator's retry adds one.
    run: u32,
    #[schema(required)]
    reported_version: Option<String>,
    /// The device's own words.
    #[schema(required)]
    description: Option<String>,
    /// The wanted version was announced after the end.
    late_success: bool,
    #[schema(required)]
    download: Option<Fetching>,
    /// It is installed though the package was never fetched whole from here.
    unfetched_success: bool,
    explanation: String,
    updated_at: Moment,
    created_at: Moment,
}

/// How far a device came with its package, wherever a deployment is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = DownloadProgress)]
pub(super) struct Fetching {
    bytes: u64,
    size_bytes: u64,
    #[schema(minimum = 0, maximum = 100)]
    percent: u8,
    in_flight: bool,
    #[schema(required)]
    last_at: Option<Moment>,
}

impl From<DownloadView> for Fetching {
    fn from(view: DownloadView) -> Fetching {
        let DownloadView { bytes, size_bytes, percent, in_flight, last_at, is_stored: _ } = view;
        Fetching { bytes, size_bytes, percent, in_flight, last_at: last_at.map(Moment) }
    }
}

impl From<DeploymentView> for Shown {
    fn from(view: DeploymentView) -> Shown {
        Shown {
            deployment_id: view.deployment_id,
            device_id: view.device_id,
            campaign_id: view.campaign_id,
            state: view.state,
            outcome: view.outcome,
            result_code: view.result_code,
            progress: view.progress,
            attempt: view.attempt,
            run: view.run,
            reported_version: view.reported_version,
            description: view.description,
            late_success: view.late_success,
            download: view.download.map(Fetching::from),
            unfetched_success: view.unfetched_success,
            explanation: view.explanation,
            updated_at: Moment(view.updated_at),
            created_at: Moment(view.created_at),
        }
    }
}

/// Lists a campaign's deployments, the oldest first.
#[utoipa::path(
    get, path = "/campaigns/{id}/deployments", tag = "deployments", operation_id = "list_deployments",
    security(("token" = ["viewer"])),
    params(
        ("id" = String, Path, description = "A `campaign_id`"),
        ("state" = Option<words::DeploymentStateWord>, Query, description = "Only those in this state"),
        ("outcome" = Option<words::OutcomeWord>, Query, description = "Only those that ended so; with `state`, that must be `finished`"),
        Pages,
    ),
    responses((status = 200, description = "A page", body = Listed<Shown>)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn list(
    State(engine): State<Engine>,
    _: May<Look>,
    Id(id): Id,
    asked: Asked,
) -> Result<Answer<Listed<Shown>>, Problem> {
    let asked = asked.only(&["state", "outcome", "cursor", "limit"])?;
    let part = asked.part()?;
    let labels = wanted(asked.one("state")?, asked.one("outcome")?)?;
    let views = engine.deployments(&id, labels, part.page()).await?;
    Ok(Answer(part.listed(views, |view| view.key, Shown::from)))
}

/// The labels that `state` and `outcome` stand for; `None` is all of them.
fn wanted(state: Option<&str>, outcome: Option<&str>) -> Result<Option<Vec<Label>>, Problem> {
    if let Some(word) = outcome {
        let label = Label::ALL.into_iter().find(|label| label.is_finished() && label.name() == word);
        let label =
            label.ok_or_else(|| bad("outcome", word, &format!("{} accepted", listed(&outcomes()))))?;
        return match state {
            None | Some("finished") => Ok(Some(vec![label])),
            Some(other) => {
                Err(bad("state", other, "with `outcome` only `finished` fits, or leave `state` out"))
            }
        };
    }
    let Some(word) = state else { return Ok(None) };
    let labels: Vec<Label> = Label::ALL.into_iter().filter(|label| label.state_name() == word).collect();
    if labels.is_empty() {
        return Err(bad("state", word, &format!("{} accepted", listed(&states()))));
    }
    Ok(Some(labels))
}

fn states() -> Vec<&'static str> {
    let mut states: Vec<_> = Label::ALL.iter().map(|label| label.state_name()).collect();
    states.dedup();
    states
}

fn outcomes() -> Vec<&'static str> {
    Label::ALL.iter().filter(|label| label.is_finished()).map(|label| label.name()).collect()
}

#[cfg(test)]
mod tests {
    use otaru_core::deployment::OutcomeKind;

    use super::*;

    #[test]
    fn finished_means_every_outcome() {
        let all = wanted(Some("finished"), None).unwrap().unwrap();
        assert_eq!(all.len(), outcomes().len());
        assert!(all.iter().all(|label| label.is_finished()));
    }

    #[test]
    fn an_outcome_may_stand_beside_finished_and_beside_nothing_else() {
        let failed = Some(vec![Label::Finished(OutcomeKind::Failed)]);
        assert_eq!(wanted(None, Some("failed")).unwrap(), failed);
        assert_eq!(wanted(Some("finished"), Some("failed")).unwrap(), failed);
        assert!(wanted(Some("running"), Some("failed")).is_err());
    }

    #[test]
    fn an_outcome_is_not_a_state_nor_the_other_way() {
        assert!(wanted(Some("failed"), None).is_err());
        assert!(wanted(None, Some("running")).is_err());
        assert_eq!(wanted(None, None).unwrap(), None);
    }
}
