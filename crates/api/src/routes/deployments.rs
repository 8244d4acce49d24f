//! `/campaigns/{id}/deployments`: the campaign on each of its devices.

use std::collections::BTreeSet;

use axum::Json as Answer;
use axum::extract::State;
use otaru_core::deployment::Label;
use otaru_engine::limits::CODES_MAX;
use otaru_engine::{DeploymentFilter, DeploymentView, DownloadView, Engine, ReportSeq};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::reports::Report;
use super::{Id, Ids};
use crate::caller::{Look, May};
use crate::openapi::{Pages, words};
use crate::problem::Problem;
use crate::query::{Asked, Counted, Listed, Part, bad, listed_until};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(one)).routes(routes!(reports))
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

/// A campaign on one device, with the runs before the latest.
#[derive(Serialize, ToSchema)]
#[schema(as = DeploymentWithRuns)]
struct WithRuns {
    #[serde(flatten)]
    latest: Shown,
    /// What was run before an operator retried it, the newest first, at most 19.
    earlier_runs: Vec<Shown>,
}

/// Lists a campaign's deployments, the oldest first; of each device the latest run.
///
/// `state` and `outcome` add up: `state=released&outcome=failed` has both. `state=finished` stands for every outcome, or
/// for those named beside it. `code` narrows: only failures have one.
#[utoipa::path(
    get, path = "/campaigns/{id}/deployments", tag = "deployments", operation_id = "list_deployments",
    security(("token" = ["viewer"])),
    params(
        ("id" = String, Path, description = "A `campaign_id`"),
        ("state" = Option<Vec<words::DeploymentStateWord>>, Query, description = "Those in this state; may be given often"),
        ("outcome" = Option<Vec<words::OutcomeWord>>, Query, description = "Those that ended so; may be given often"),
        (
            "code" = Option<Vec<String>>, Query,
            description = "Only failures (any outcome but `installed`, `already_installed` and `cancelled`) whose last report \
                had this result code, an integer, or `none` for those without a report; may be given often, up to 16 times"
        ),
        Pages,
    ),
    responses((status = 200, description = "A page", body = Counted<Shown>)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn list(
    State(engine): State<Engine>,
    _: May<Look>,
    Id(id): Id,
    asked: Asked,
) -> Result<Answer<Counted<Shown>>, Problem> {
    let asked = asked.only(&["state", "outcome", "code", "cursor", "limit"])?;
    let part = asked.part()?;
    let filter = DeploymentFilter { labels: labels(&asked)?, codes: codes(&asked)? };
    let (views, total) = engine.deployments(&id, filter, part.page()).await?;
    Ok(Answer(part.listed(views, |view| view.key, Shown::from).counted(total, false)))
}

/// Shows a campaign on one of its devices: the latest run, and those before it.
#[utoipa::path(
    get, path = "/campaigns/{id}/deployments/{device_id}", tag = "deployments", operation_id = "get_deployment",
    security(("token" = ["viewer"])),
    params(
        ("id" = String, Path, description = "A `campaign_id`"),
        ("device_id" = String, Path, description = "One of its devices"),
    ),
    responses((status = 200, description = "The deployment", body = WithRuns)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn one(
    State(engine): State<Engine>,
    _: May<Look>,
    Ids(id, device_id): Ids,
) -> Result<Answer<WithRuns>, Problem> {
    let mut runs = engine.deployment_runs(&id, &device_id).await?.into_iter().map(Shown::from);
    let latest = runs.next().ok_or_else(|| Problem::not_found("deployment on device", &device_id))?;
    Ok(Answer(WithRuns { latest, earlier_runs: runs.collect() }))
}

/// Lists what a device said during a campaign, word for word, the newest first.
///
/// A page may hold fewer entries than `limit`, also none, and not be the last: only `next_cursor` tells.
#[utoipa::path(
    get, path = "/campaigns/{id}/deployments/{device_id}/reports", tag = "deployments",
    operation_id = "list_deployment_reports",
    security(("token" = ["viewer"])),
    params(
        ("id" = String, Path, description = "A `campaign_id`"),
        ("device_id" = String, Path, description = "One of its devices"),
        Pages,
    ),
    responses((status = 200, description = "A page", body = Listed<Report>)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn reports(
    State(engine): State<Engine>,
    _: May<Look>,
    Ids(id, device_id): Ids,
    asked: Asked,
) -> Result<Answer<Listed<Report>>, Problem> {
    let part: Part<ReportSeq> = asked.only(&["cursor", "limit"])?.part()?;
    let page = part.exactly();
    let (reports, before) = engine.deployment_reports(&id, &device_id, page.after, page.limit).await?;
    Ok(Answer(listed_until(reports.into_iter().map(Report::from).collect(), before)))
}

/// The labels that `state` and `outcome` stand for; `None` is all of them.
pub(super) fn labels(asked: &Asked) -> Result<Option<BTreeSet<Label>>, Problem> {
    let states = asked.words("state", &states())?;
    let outcomes = asked.words("outcome", &outcomes())?;
    if states.is_empty() && outcomes.is_empty() {
        return Ok(None);
    }
    let is_wanted = |label: &Label| {
        let by_state = states.contains(&label.state_name());
        let by_outcome = outcomes.contains(&label.name());
        by_outcome || (by_state && (!label.is_finished() || outcomes.is_empty()))
    };
    Ok(Some(Label::ALL.into_iter().filter(is_wanted).collect()))
}

/// The result codes that are asked for; in it, `None` is none at all.
pub(super) fn codes(asked: &Asked) -> Result<Option<BTreeSet<Option<i64>>>, Problem> {
    let mut codes = BTreeSet::new();
    for text in asked.all("code") {
        let code = match text {
            "none" => None,
            number => {
                Some(number.parse().map_err(|_| bad("code", number, "an integer or `none` is accepted"))?)
            }
        };
        codes.insert(code);
        if codes.len() > CODES_MAX {
            return Err(bad("code", text, &format!("up to {CODES_MAX} different ones are accepted at once")));
        }
    }
    Ok(Some(codes).filter(|codes| !codes.is_empty()))
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
    use super::*;

    #[test]
    fn states_and_outcomes_add_up() {
        let names = |query: &[(&str, &str)]| -> Vec<&str> {
            let labels = labels(&Asked::from_pairs(query)).unwrap().expect("something was asked for");
            labels.into_iter().map(Label::name).collect()
        };
        assert_eq!(names(&[("outcome", "failed")]), ["failed"]);
        assert_eq!(names(&[("state", "running"), ("state", "offered")]), ["offered", "running"]);
        assert_eq!(names(&[("state", "released"), ("outcome", "installed")]), ["released", "installed"]);
        assert_eq!(names(&[("state", "finished")]), outcomes());
        assert_eq!(names(&[("state", "finished"), ("outcome", "failed")]), ["failed"], "narrowed");
        assert_eq!(
            names(&[("state", "finished"), ("state", "waiting"), ("outcome", "failed")]),
            ["waiting", "failed"]
        );
        assert!(labels(&Asked::from_pairs(&[("code", "4")])).unwrap().is_none());
    }

    #[test]
    fn an_outcome_is_not_a_state_nor_the_other_way() {
        assert!(labels(&Asked::from_pairs(&[("state", "failed")])).is_err());
        assert!(labels(&Asked::from_pairs(&[("outcome", "running")])).is_err());
    }

    #[test]
    fn a_code_is_an_integer_or_none() {
        let asked = |values: &[&str]| {
            let pairs: Vec<_> = values.iter().map(|value| ("code", *value)).collect();
            codes(&Asked::from_pairs(&pairs))
        };
        assert_eq!(asked(&[]).unwrap(), None);
        assert_eq!(asked(&["4", "none", "-7", "4"]).unwrap(), Some([None, Some(-7), Some(4)].into()));
        for wrong in ["", "four", "4.0", "99999999999999999999"] {
            assert!(asked(&[wrong]).is_err(), "{wrong}");
        }
        let many: Vec<String> = (0..=CODES_MAX).map(|code| code.to_string()).collect();
        assert!(asked(&many.iter().map(String::as_str).collect::<Vec<_>>()).is_err());
    }
}
