//! `/campaigns/{id}/deployments/stop`, `…/retry` and `…/confirm`: what operators do to some of a campaign's deployments, or to all.
//!
//! Named devices are answered one by one; everything else is accepted and done in the background.

use std::collections::BTreeSet;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use otaru_core::campaign::{Act, Selection};
use otaru_core::deployment::Label;
use otaru_engine::limits::CODES_MAX;
use otaru_engine::{ActAnswer, ActedDevice, DeploymentSelection, Engine};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use crate::body::{Json, or_default};
use crate::caller::{Change, May};
use crate::openapi::words;
use crate::problem::{Code, Problem};
use crate::query::listed;
use crate::router::Shared;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(stop)).routes(routes!(retry)).routes(routes!(confirm))
}

/// Which deployments: `all` alone, or any of the others, of which everything that is given has to hold.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StopDeployments {
    /// Whatever is not finished.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<bool>)]
    all: bool,
    /// On these devices, at most 30 000; each is answered.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 30000)]
    device_ids: Option<Vec<String>>,
    /// In one of these states; `finished` is none of them.
    #[serde(default)]
    #[schema(value_type = Option<Vec<words::DeploymentStateWord>>, min_items = 1)]
    states: Option<Vec<String>>,
    /// Whose last report carried one of these result codes.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 16)]
    codes: Option<Vec<i64>>,
}

/// Which deployments: `all` alone, or any of the others, of which everything that is given has to hold.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RetryDeployments {
    /// Whatever ended without success, also what was stopped.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<bool>)]
    all: bool,
    /// On these devices, at most 30 000; each is answered.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 30000)]
    device_ids: Option<Vec<String>>,
    /// That ended so; successes and `removed` are none of them.
    #[serde(default)]
    #[schema(value_type = Option<Vec<words::OutcomeWord>>, min_items = 1)]
    outcomes: Option<Vec<String>>,
    /// Failures whose last report carried one of these result codes; what was stopped is none.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 16)]
    codes: Option<Vec<i64>>,
}

/// Which deployments: one of the members.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConfirmDeployments {
    /// Whatever waits.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<bool>)]
    all: bool,
    /// On these devices, at most 30 000; each is answered.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 30000)]
    device_ids: Option<Vec<String>>,
}

/// What is given of a selection, with the name that its labels have there.
struct Given {
    act: Act,
    all: bool,
    device_ids: Option<Vec<String>>,
    labels: Option<(&'static str, Option<Vec<String>>)>,
    codes: Option<Vec<i64>>,
}

impl Given {
    fn selection(self) -> Result<DeploymentSelection, Problem> {
        let Given { act, all, device_ids, labels, codes } = self;
        let (others_are, name, labels) = match labels {
            Some((name, labels)) => (format!("any of `device_ids`, `{name}` and `codes`"), name, labels),
            None => ("`device_ids`".to_owned(), "", None),
        };
        let others = device_ids.is_some() || labels.is_some() || codes.is_some();
        if all == others {
            let given = if all { "`all` and something else" } else { "nothing" };
            return Err(Problem::new(
                Code::InvalidMember,
                format!("the body says {given}; `\"all\": true` alone is accepted, or {others_are}"),
            ));
        }
        let labels = labels.map(|words| labels_of(act, name, &words)).transpose()?;
        let codes = codes.map(codes_of).transpose()?;
        Ok(DeploymentSelection { device_ids, selection: Selection { labels, codes } })
    }
}

fn labels_of(act: Act, name: &str, words: &[String]) -> Result<BTreeSet<Label>, Problem> {
    // What waits for another attempt has no outcome; it is meant by everything that names none.
    let named = |label: &Label| act.fits(*label) && (act != Act::Retry || label.is_finished());
    let accepted: Vec<Label> = Label::ALL.into_iter().filter(named).collect();
    let names: Vec<&str> = accepted.iter().map(|label| label.name()).collect();
    let refused = |found: String| {
        let message = format!("`{name}` {found}; {} accepted", listed(&names));
        Problem::new(Code::InvalidMember, message)
    };
    if words.is_empty() {
        return Err(refused("is empty".to_owned()));
    }
    let label_of = |word: &String| {
        let shown: String = word.chars().take(64).collect();
        accepted
            .iter()
            .copied()
            .find(|label| label.name() == word)
            .ok_or_else(|| refused(format!("names {shown}")))
    };
    words.iter().map(label_of).collect()
}

fn codes_of(codes: Vec<i64>) -> Result<BTreeSet<i64>, Problem> {
    if (1..=CODES_MAX).contains(&codes.len()) {
        return Ok(codes.into_iter().collect());
    }
    let message = format!("`codes` has {} entries; 1 to {CODES_MAX} are accepted", codes.len());
    Err(Problem::new(Code::InvalidMember, message))
}

/// What became of the devices that were named.
#[derive(Serialize, ToSchema)]
struct ActedDevices {
    /// In the order in which they were named.
    results: Vec<ActedDeviceView>,
}

/// What became of one device that was named.
#[derive(Serialize, ToSchema)]
#[schema(as = ActedDevice)]
struct ActedDeviceView {
    device_id: String,
    #[schema(value_type = words::ActResultWord)]
    result: &'static str,
    /// The latest run of the campaign on the device, as it is now.
    #[schema(required)]
    deployment_id: Option<String>,
    #[schema(required)]
    run: Option<u32>,
    #[schema(value_type = Option<words::DeploymentStateWord>, required)]
    state: Option<&'static str>,
    #[schema(value_type = Option<words::OutcomeWord>, required)]
    outcome: Option<&'static str>,
}

impl From<ActedDevice> for ActedDeviceView {
    fn from(one: ActedDevice) -> ActedDeviceView {
        let label = one.deployment.as_ref().map(|deployment| deployment.label);
        ActedDeviceView {
            device_id: one.device_id,
            result: one.result.name(),
            run: one.deployment.as_ref().map(|deployment| deployment.run),
            deployment_id: one.deployment.map(|deployment| deployment.deployment_id),
            state: label.map(Label::state_name),
            outcome: label.filter(|label| label.is_finished()).map(Label::name),
        }
    }
}

/// What was accepted, and is done after the answer.
#[derive(Serialize, ToSchema)]
struct AcceptedAct {
    campaign_id: String,
    /// How many deployments are meant now, at most: codes are not counted.
    meant: u64,
}

async fn act(
    engine: &Engine,
    may: &May<Change>,
    campaign_id: String,
    given: Given,
) -> Result<Response, Problem> {
    let (act, selection) = (given.act, given.selection()?);
    Ok(match engine.act(&may.by, &campaign_id, act, selection).await? {
        ActAnswer::Done(devices) => {
            let results = devices.into_iter().map(ActedDeviceView::from).collect();
            Answer(ActedDevices { results }).into_response()
        }
        ActAnswer::Accepted(meant) => {
            (StatusCode::ACCEPTED, Answer(AcceptedAct { campaign_id, meant })).into_response()
        }
    })
}

/// Ends deployments that are not finished, as `cancelled`; the campaign goes on.
///
/// Devices that were told are not called back, but their download tokens are worth nothing from then on.
/// Can be said again: what is stopped is finished.
#[utoipa::path(
    post, path = "/campaigns/{id}/deployments/stop", tag = "deployments", operation_id = "stop_deployments",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `campaign_id`")),
    request_body = StopDeployments,
    responses(
        (status = 200, description = "Done, for each device that was named", body = ActedDevices),
        (status = 202, description = "Stored, and done after this answer", body = AcceptedAct),
    ),
    extensions(("x-codes" = json!(["not_found", "wrong_state", "invalid", "too_many_devices", "too_many_actions"]))),
)]
async fn stop(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
    Json(asked): Json<StopDeployments>,
) -> Result<Response, Problem> {
    let StopDeployments { all, device_ids, states, codes } = asked;
    act(&engine, &may, id, Given { act: Act::Stop, all, device_ids, labels: Some(("states", states)), codes })
        .await
}

/// Gives deployments that ended without success a further run.
///
/// Each further run has an id of its own and takes the place of the one before in counts and lists; what ended stays as it
/// is. A campaign that had finished runs again; one that was cancelled is left alone.
/// Can be said again: a further run that is not finished gets no other.
#[utoipa::path(
    post, path = "/campaigns/{id}/deployments/retry", tag = "deployments", operation_id = "retry_deployments",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `campaign_id`")),
    request_body = RetryDeployments,
    responses(
        (status = 200, description = "Done, for each device that was named", body = ActedDevices),
        (status = 202, description = "Stored, and done after this answer", body = AcceptedAct),
    ),
    extensions(("x-codes" = json!(["not_found", "wrong_state", "invalid", "too_many_devices", "too_many_actions"]))),
)]
async fn retry(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
    Json(asked): Json<RetryDeployments>,
) -> Result<Response, Problem> {
    let RetryDeployments { all, device_ids, outcomes, codes } = asked;
    act(
        &engine,
        &may,
        id,
        Given { act: Act::Retry, all, device_ids, labels: Some(("outcomes", outcomes)), codes },
    )
    .await
}

/// Lets deployments go that wait until they are confirmed, because the campaign has `need_confirm`.
///
/// Only once the campaign was started: from then on a device is waited for. Can be said again: what was confirmed waits no
/// more.
#[utoipa::path(
    post, path = "/campaigns/{id}/deployments/confirm", tag = "deployments", operation_id = "confirm_deployments",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `campaign_id`")),
    request_body = ConfirmDeployments,
    responses(
        (status = 200, description = "Done, for each device that was named", body = ActedDevices),
        (status = 202, description = "Stored, and done after this answer", body = AcceptedAct),
    ),
    extensions(("x-codes" = json!(["not_found", "wrong_state", "invalid", "too_many_devices", "too_many_actions"]))),
)]
async fn confirm(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
    Json(asked): Json<ConfirmDeployments>,
) -> Result<Response, Problem> {
    let ConfirmDeployments { all, device_ids } = asked;
    act(&engine, &may, id, Given { act: Act::Confirm, all, device_ids, labels: None, codes: None }).await
}
