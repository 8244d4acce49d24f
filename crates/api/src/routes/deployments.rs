//! `/campaigns/{id}/deployments`: the campaign on each of its devices.

use axum::extract::State;
use axum::routing::get;
use axum::{Json as Answer, Router};
use otaru_core::deployment::Label;
use otaru_engine::{DeploymentView, DownloadView, Engine};
use serde::Serialize;

use super::Id;
use crate::caller::{Look, May};
use crate::problem::Problem;
use crate::query::{Asked, Listed, bad, listed};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/campaigns/{id}/deployments", get(list))
}

#[derive(Serialize)]
struct Shown {
    deployment_id: String,
    device_id: String,
    campaign_id: String,
    state: &'static str,
    outcome: Option<&'static str>,
    result_code: Option<i64>,
    progress: Option<u8>,
    attempt: u32,
    run: u32,
    reported_version: Option<String>,
    description: Option<String>,
    late_success: bool,
    download: Option<Fetching>,
    unfetched_success: bool,
    explanation: String,
    updated_at: Moment,
    created_at: Moment,
}

/// How far a device came with its package, wherever a deployment is shown.
#[derive(Serialize)]
pub(super) struct Fetching {
    bytes: u64,
    size_bytes: u64,
    percent: u8,
    in_flight: bool,
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
