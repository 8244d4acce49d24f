//! `/rules`: how telling applications goes. Rules are made through the application API.

use axum::Json as Answer;
use axum::extract::State;
use otaru_engine::{Engine, Newest, PushAction};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use crate::body::NoMembers;
use crate::caller::{Change, Look, May};
use crate::iotda::push::{Pusher, Told, resource};
use crate::problem::Problem;
use crate::query::{Asked, Listed};
use crate::router::Shared;
use crate::times::Moment;

/// Dead letters shown of each action: the newest.
const SHOWN: u32 = 100;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(test)).routes(routes!(dead_letters))
}

/// A rule by which applications are told of changes.
#[derive(Serialize, ToSchema)]
#[schema(as = Rule)]
struct RuleView {
    rule_id: String,
    /// `batchtask`, `device` or `deployment`.
    resource: &'static str,
    /// It is in force.
    active: bool,
    actions: Vec<ActionView>,
}

/// Where to a rule tells.
#[derive(Serialize, ToSchema)]
#[schema(as = RuleAction)]
struct ActionView {
    action_id: String,
    url: String,
    /// Notifications are signed.
    signed: bool,
    /// How many things have changed and are to be told; counting stops above 100 000.
    due: u64,
}

/// Lists the rules by which applications are told, with what they have not been told yet.
#[utoipa::path(
    get, path = "/rules", tag = "rules", operation_id = "list_rules",
    security(("token" = ["viewer"])),
    responses((status = 200, description = "All of them", body = Listed<RuleView>)),
    extensions(("x-codes" = json!(["invalid_parameter"]))),
)]
async fn list(
    State(engine): State<Engine>,
    _: May<Look>,
    asked: Asked,
) -> Result<Answer<Listed<RuleView>>, Problem> {
    asked.only(&[])?;
    let mut rules = Vec::new();
    for rule in engine.push_rules().await? {
        let mut actions = Vec::new();
        for action in engine.push_actions(Some(rule.rule_id.clone())).await? {
            let due = engine.count_pushes_due(action.key).await?;
            let signed = action.sealed_token.is_some();
            actions.push(ActionView { action_id: action.action_id, url: action.url, signed, due });
        }
        let (resource, active) = (resource(rule.subject), rule.active);
        rules.push(RuleView { rule_id: rule.rule_id, resource, active, actions });
    }
    Ok(Answer(Listed::whole(rules)))
}

async fn actions_of(engine: &Engine, rule_id: &str) -> Result<Vec<PushAction>, Problem> {
    if engine.push_rule(rule_id).await?.is_none() {
        return Err(Problem::not_found("rule", rule_id));
    }
    Ok(engine.push_actions(Some(rule_id.to_owned())).await?)
}

/// What came of a test of one action.
#[derive(Serialize, ToSchema)]
struct RuleTest {
    action_id: String,
    url: String,
    /// The application took it.
    taken: bool,
    /// What it answered, if it did.
    #[schema(required)]
    status: Option<u16>,
    /// Why it was not taken.
    #[schema(required)]
    error: Option<String>,
}

/// Sends a notification with the event `test` to each action of a rule, whether the rule is in force or not.
#[utoipa::path(
    post, path = "/rules/{id}/test", tag = "rules", operation_id = "test_rule",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `rule_id`")),
    responses((status = 200, description = "What came of it", body = Listed<RuleTest>)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn test(
    State(engine): State<Engine>,
    State(pusher): State<Pusher>,
    _: May<Change>,
    Id(id): Id,
    NoMembers: NoMembers,
) -> Result<Answer<Listed<RuleTest>>, Problem> {
    let mut tests = Vec::new();
    for action in actions_of(&engine, &id).await? {
        let data = json!({"body": {"app_id": engine.project_id(), "rule_id": id}});
        let body = pusher.enveloped(action.subject, "test", data)?.to_string();
        let (taken, status, error) = match pusher.post(&action, body).await {
            Told::Taken { status } => (true, Some(status), None),
            Told::Refused { status } => (false, Some(status), Some(format!("it was answered with {status}"))),
            Told::Failed { why } => (false, None, Some(why)),
        };
        tests.push(RuleTest { action_id: action.action_id, url: action.url, taken, status, error });
    }
    Ok(Answer(Listed::whole(tests)))
}

/// A notification that an application did not take.
#[derive(Serialize, ToSchema)]
struct DeadLetter {
    action_id: String,
    /// When it was given up.
    at: Moment,
    /// What was to be told.
    body: String,
    /// Why it was not taken.
    error: String,
}

/// Lists what the actions of a rule could not tell, the newest first, a hundred of each.
#[utoipa::path(
    get, path = "/rules/{id}/dead-letters", tag = "rules", operation_id = "list_dead_letters",
    security(("token" = ["viewer"])),
    params(("id" = String, Path, description = "A `rule_id`")),
    responses((status = 200, description = "The newest of each action", body = Listed<DeadLetter>)),
    extensions(("x-codes" = json!(["invalid_parameter", "not_found"]))),
)]
async fn dead_letters(
    State(engine): State<Engine>,
    _: May<Look>,
    Id(id): Id,
    asked: Asked,
) -> Result<Answer<Listed<DeadLetter>>, Problem> {
    asked.only(&[])?;
    let mut letters = Vec::new();
    for action in actions_of(&engine, &id).await? {
        let page = Newest { before: None, skip: 0, limit: SHOWN };
        for dead in engine.dead_pushes(action.key, page).await? {
            let action_id = action.action_id.clone();
            letters.push(DeadLetter { action_id, at: Moment(dead.at), body: dead.body, error: dead.error });
        }
    }
    Ok(Answer(Listed::whole(letters)))
}
