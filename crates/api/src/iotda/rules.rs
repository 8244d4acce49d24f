//! `/routing-rule`: by which rules applications are told, and where to. HTTP is the one channel.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use otaru_engine::{Engine, PushAction, PushActionKey, PushRule, PushRuleKey, PushSubject, StoreError};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::apps::Apps;
use super::call::Call;
use super::filter::Filter;
use super::input::{Fields, Rule, prose};
use super::members::{self, Members};
use super::paging::{Paging, record_id};
use super::refusal::{INVALID, NO_RULE, of_engine, of_store};
use crate::problem::Problem;
use crate::router::Shared;

const CHANNELS: &[&str] = &[
    "HTTP_FORWARDING",
    "AMQP_FORWARDING",
    "OBS_FORWARDING",
    "DIS_FORWARDING",
    "DMS_KAFKA_FORWARDING",
    "ROMA_FORWARDING",
    "MYSQL_FORWARDING",
    "INFLUXDB_FORWARDING",
    "FUNCTIONGRAPH_FORWARDING",
    "DMS_ROCKETMQ_FORWARDING",
    "DEVICE_FORWARDING",
];
/// What signs notifications.
pub(super) const TOKEN: Rule =
    Rule::of(32, |c| c.is_ascii_alphanumeric(), "letters and digits").at_least(3).like("[A-Za-z0-9]");
/// Where to.
pub(super) const URL: Rule = prose(1_024);
pub(super) const APP_TYPES: &[&str] = &["GLOBAL", "APP"];
/// What can be told, and what it is here.
pub(super) const SUBJECTS: &[(&str, &str, PushSubject)] = &[
    ("batchtask", "update", PushSubject::Campaign),
    ("device", "update", PushSubject::Device),
    ("deployment", "update", PushSubject::Deployment),
];

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v5/iot/{project_id}/routing-rule/rules", get(list).post(create))
        .route("/v5/iot/{project_id}/routing-rule/rules/{rule_id}", get(show).put(update).delete(delete))
        .route("/v5/iot/{project_id}/routing-rule/actions", get(list_actions).post(create_action))
        .route(
            "/v5/iot/{project_id}/routing-rule/actions/{action_id}",
            get(show_action).put(update_action).delete(delete_action),
        )
}

fn read(text: &str) -> Members {
    serde_json::from_str(text).unwrap_or_default()
}

fn rule_view(rule: &PushRule) -> Value {
    let mut shown = read(&rule.members);
    shown.insert("rule_id".to_owned(), rule.rule_id.clone().into());
    shown.insert("active".to_owned(), rule.active.into());
    Value::Object(shown)
}

fn action_view(action: &PushAction) -> Value {
    let mut shown = read(&action.members);
    shown.insert("action_id".to_owned(), action.action_id.clone().into());
    shown.insert("rule_id".to_owned(), action.rule_id.clone().into());
    Value::Object(shown)
}

/// What the subject of a rule is here.
fn subject_of(resource: &str, event: &str) -> Option<PushSubject> {
    let known = SUBJECTS.iter().find(|(known, its, _)| *known == resource && *its == event);
    known.map(|(_, _, subject)| *subject)
}

/// Whether a rule tells of things in this space: one of the type APP tells of its own.
pub(super) fn is_told_of(rule: &PushRule, app_id: &Value) -> bool {
    let members = read(&rule.members);
    members.get("app_type").is_none_or(|its| its != "APP") || members.get("app_id") == Some(app_id)
}

/// What an update may clear, with empty text.
const CLEARED: [&str; 3] = ["description", "select", "where"];

/// The members of a rule that may be changed, over those it has.
fn about(apps: &Apps, fields: &mut Fields, shown: &mut Members) -> Result<(), Problem> {
    for name in CLEARED {
        if fields.is_empty_text(name) {
            shown.remove(name);
        }
    }
    for (name, most) in [("rule_name", 256), ("description", 256), ("select", 2500), ("where", 2500)] {
        if let Some(text) = fields.text(name, prose(most))? {
            shown.insert(name.to_owned(), text.into());
        }
    }
    if let Some(app_type) = fields.word("app_type", APP_TYPES)? {
        shown.insert("app_type".to_owned(), app_type.into());
        if app_type == "GLOBAL" {
            shown.remove("app_id");
        }
    }
    if let Some(app_id) = fields.text("app_id", super::input::ID)? {
        apps.named(&app_id)?;
        shown.insert("app_id".to_owned(), app_id.into());
    }
    let text = |name: &str| shown.get(name).and_then(Value::as_str);
    if text("app_type") == Some("APP") && text("app_id").is_none() {
        return Err(INVALID.because("`app_id` is required with `app_type` APP."));
    }
    if text("select").is_some_and(|select| select.trim() != "*") {
        return Err(INVALID.because("`select` other than * is not offered."));
    }
    Filter::parse(text("where").unwrap_or_default())
        .map_err(|why| INVALID.because(format!("`where`: {why}.")))?;
    Ok(())
}

async fn create(call: Call) -> Result<(StatusCode, Json<Value>), Problem> {
    let by = call.change()?;
    let mut fields = call.fields()?;
    let mut subject = fields.object("subject")?.ok_or_else(|| INVALID.because("`subject` is required."))?;
    let (resource, event) = (subject.needed("resource", prose(64))?, subject.needed("event", prose(64))?);
    let told = subject_of(&resource, &event).ok_or_else(|| {
        INVALID.because(format!(
            "`subject` {resource} {event} is not offered; batchtask update, device update and deployment update are."
        ))
    })?;
    let mut shown = Map::new();
    shown.insert("subject".to_owned(), json!({"resource": resource, "event": event}));
    shown.insert("app_type".to_owned(), "GLOBAL".into());
    about(&call.apps().await?, &mut fields, &mut shown)?;
    let rule = PushRule {
        key: PushRuleKey(0),
        rule_id: super::new_uuid()?,
        subject: told,
        active: false,
        members: members::text(&shown),
        created_at: call.engine.wall(),
    };
    let made = call.engine.put_push_rule(by, rule).await.map_err(of_store)?;
    Ok((StatusCode::CREATED, Json(rule_view(&made))))
}

async fn found(call: &Call) -> Result<PushRule, Problem> {
    call.engine.push_rule(call.id()).await.map_err(of_store)?.ok_or_else(|| NO_RULE.plain())
}

async fn show(call: Call) -> Result<Json<Value>, Problem> {
    call.look()?;
    Ok(Json(rule_view(&found(&call).await?)))
}

async fn update(call: Call) -> Result<Json<Value>, Problem> {
    let by = call.change()?;
    let rule = found(&call).await?;
    let mut fields = call.fields()?;
    let mut shown = read(&rule.members);
    if let Some(subject) = fields.object("subject")? {
        same(subject, shown.get("subject"))?;
    }
    about(&call.apps().await?, &mut fields, &mut shown)?;
    let active = fields.truth("active")?.unwrap_or(rule.active);
    let rule = PushRule { active, members: members::text(&shown), ..rule };
    Ok(Json(rule_view(&call.engine.put_push_rule(by, rule).await.map_err(missing)?)))
}

/// Whether a rule that is changed is named with the subject it has.
fn same(mut asked: Fields, subject: Option<&Value>) -> Result<(), Problem> {
    for name in ["resource", "event"] {
        let its = subject.and_then(|subject| subject[name].as_str()).unwrap_or_default();
        if asked.text(name, prose(64))?.is_some_and(|asked| asked != its) {
            let named = asked.named(name);
            return Err(
                INVALID.because(format!("`{named}` cannot be changed; it is {its}. Make another rule."))
            );
        }
    }
    Ok(())
}

async fn delete(call: Call) -> Result<StatusCode, Problem> {
    let by = call.change()?;
    call.engine.delete_push_rule(by, call.id()).await.map_err(missing)?;
    Ok(StatusCode::NO_CONTENT)
}

fn missing(error: StoreError) -> Problem {
    of_engine(error, NO_RULE)
}

/// A page of what there are at most a thousand of, with its place beside each: how many, the page, the last one's record.
fn page_of<T>(all: Vec<(i64, T)>, paging: &Paging) -> (u64, Vec<T>, Option<String>) {
    let count = all.len() as u64;
    let before = paging.rows(|row| row).before;
    let rest = all.into_iter().filter(|(row, _)| before.is_none_or(|before| *row < before));
    let page: Vec<(i64, T)> = rest.skip(paging.offset as usize).take(paging.limit as usize).collect();
    let marker = page.last().map(|(row, _)| record_id(*row));
    (count, page.into_iter().map(|(_, one)| one).collect(), marker)
}

#[derive(Serialize)]
struct Listed {
    rules: Vec<Value>,
    count: u64,
    marker: Option<String>,
}

async fn list(call: Call) -> Result<Json<Listed>, Problem> {
    call.look()?;
    call.asked_spaces(&call.apps().await?)?;
    let paging = call.paging()?;
    let app_type = call.asked_word("app_type", APP_TYPES)?;
    let active = call.asked_word("active", &["true", "false"])?;
    let rules = call.engine.push_rules().await.map_err(of_store)?;
    let wanted = |shown: &Value| {
        let is = |asked: Option<&str>, found: &Value| asked.is_none_or(|asked| found.as_str() == Some(asked));
        is(call.asked("resource"), &shown["subject"]["resource"])
            && is(call.asked("event"), &shown["subject"]["event"])
            && is(app_type, &shown["app_type"])
            && is(call.asked("app_id"), &shown["app_id"])
            && call
                .asked("rule_name")
                .is_none_or(|part| shown["rule_name"].as_str().is_some_and(|n| n.contains(part)))
            && active.is_none_or(|active| shown["active"] == (active == "true"))
    };
    let rows = rules.iter().map(|rule| (rule.key.0, rule_view(rule))).filter(|(_, shown)| wanted(shown));
    let (count, rules, marker) = page_of(rows.collect(), &paging);
    Ok(Json(Listed { rules, count, marker }))
}

/// Where to, and the token that signs; the rest of the detail as it is to be shown.
fn detail(fields: &mut Fields, has_token: bool) -> Result<(String, Option<String>, Value), Problem> {
    match fields.word("channel", CHANNELS)? {
        Some("HTTP_FORWARDING") => {}
        Some(other) => {
            return Err(INVALID.because(format!("Channel {other} is not offered by this server.")));
        }
        None => return Err(INVALID.because("`channel` is required; HTTP_FORWARDING is accepted.")),
    }
    let needed = "`channel_detail.http_forwarding` is required.";
    let mut detail = fields.object("channel_detail")?.ok_or_else(|| INVALID.because(needed))?;
    let mut http = detail.object("http_forwarding")?.ok_or_else(|| INVALID.because(needed))?;
    let url = http.needed("url", URL)?;
    let parsed = reqwest::Url::parse(&url).ok();
    let is_usable = parsed.is_some_and(|url| {
        let is_open = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && is_open
    });
    if !is_usable {
        return Err(INVALID.because(format!(
            "`{}` is {url:?}; an address that begins with http:// or https:// and names no user is accepted.",
            http.named("url")
        )));
    }
    let mut shown = json!({"url": url});
    for name in ["cert_id", "cn_name"] {
        if let Some(text) = http.text(name, prose(256))? {
            shown[name] = text.into();
        }
    }
    if let Some(sni) = http.truth("sni_enable")? {
        shown["sni_enable"] = sni.into();
    }
    let token = http.text("token", TOKEN)?;
    let signs = http.truth("signature_enable")?;
    if let Some(signs) = signs {
        shown["signature_enable"] = signs.into();
    }
    if signs == Some(true) && token.is_none() && !has_token {
        return Err(INVALID.because(format!("`{}` is required to sign.", http.named("token"))));
    }
    Ok((url, token.filter(|_| signs != Some(false)), shown))
}

async fn create_action(call: Call) -> Result<(StatusCode, Json<Value>), Problem> {
    let by = call.change()?;
    let mut fields = call.fields()?;
    let rule_id = fields.needed("rule_id", super::input::ID)?;
    let (url, token, shown) = detail(&mut fields, false)?;
    let action = action_of(&call.engine, super::new_uuid()?, rule_id, url, &shown);
    let made = call.engine.put_push_action(by, action, token.as_deref()).await.map_err(missing)?;
    Ok((StatusCode::CREATED, Json(action_view(&made))))
}

fn action_of(engine: &Engine, action_id: String, rule_id: String, url: String, shown: &Value) -> PushAction {
    let shown = json!({"channel": "HTTP_FORWARDING", "channel_detail": {"http_forwarding": shown}});
    PushAction {
        key: PushActionKey(0),
        action_id,
        rule_id,
        url,
        sealed_token: None,
        members: shown.to_string(),
        created_at: engine.wall(),
        // The rule's.
        subject: PushSubject::Campaign,
        active: false,
    }
}

async fn found_action(call: &Call) -> Result<PushAction, Problem> {
    let action = call.engine.push_action(call.id()).await.map_err(of_store)?;
    action.ok_or_else(|| NO_RULE.because("There is no such action."))
}

async fn show_action(call: Call) -> Result<Json<Value>, Problem> {
    call.look()?;
    Ok(Json(action_view(&found_action(&call).await?)))
}

async fn update_action(call: Call) -> Result<Json<Value>, Problem> {
    let by = call.change()?;
    let before = found_action(&call).await?;
    let mut fields = call.fields()?;
    if fields.text("rule_id", super::input::ID)?.is_some_and(|rule_id| rule_id != before.rule_id) {
        let its = &before.rule_id;
        return Err(
            INVALID.because(format!("`rule_id` cannot be changed; it is {its}. Make another action."))
        );
    }
    let (url, token, shown) = detail(&mut fields, before.sealed_token.is_some())?;
    // A token is never shown, so that whoever changes something else cannot send it.
    let sealed_token = before.sealed_token.filter(|_| shown["signature_enable"] != Value::Bool(false));
    let action = PushAction {
        key: before.key,
        sealed_token,
        ..action_of(&call.engine, before.action_id, before.rule_id, url, &shown)
    };
    let made = call.engine.put_push_action(by, action, token.as_deref()).await.map_err(missing)?;
    Ok(Json(action_view(&made)))
}

async fn delete_action(call: Call) -> Result<StatusCode, Problem> {
    let by = call.change()?;
    call.engine.delete_push_action(by, call.id()).await.map_err(missing)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
struct ActionsListed {
    actions: Vec<Value>,
    count: u64,
    marker: Option<String>,
}

async fn list_actions(call: Call) -> Result<Json<ActionsListed>, Problem> {
    call.look()?;
    call.asked_spaces(&call.apps().await?)?;
    let paging = call.paging()?;
    let of_rule = call.asked("rule_id").map(str::to_owned);
    let app_type = call.asked_word("app_type", APP_TYPES)?;
    let actions = call.engine.push_actions(of_rule).await.map_err(of_store)?;
    // Type and space are the rule's.
    let (app_id, narrows) = (call.asked("app_id"), app_type.is_some() || call.asked("app_id").is_some());
    let rules = if narrows { call.engine.push_rules().await.map_err(of_store)? } else { Vec::new() };
    let fits = |rule: &&PushRule| {
        let members = read(&rule.members);
        let is = |name: &str, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| members.get(name).is_some_and(|its| its == wanted))
        };
        is("app_type", app_type) && is("app_id", app_id)
    };
    let rules: BTreeSet<&str> = rules.iter().filter(fits).map(|rule| rule.rule_id.as_str()).collect();
    let is_http = call.asked("channel").is_none_or(|channel| channel == "HTTP_FORWARDING");
    let wanted = |action: &&PushAction| is_http && (!narrows || rules.contains(action.rule_id.as_str()));
    let rows = actions.iter().filter(wanted).map(|action| (action.key.0, action_view(action)));
    let (count, actions, marker) = page_of(rows.collect(), &paging);
    Ok(Json(ActionsListed { actions, count, marker }))
}
