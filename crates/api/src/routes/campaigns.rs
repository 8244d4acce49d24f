//! `/campaigns`: these devices to one of these packages, under this policy.
//!
//! A campaign is made as a draft unless `start` is true: what changes devices is said explicitly.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json as Answer, Router};
use otaru_core::campaign::{OnConflict, Policy, Retry, Slots, Timers};
use otaru_core::deployment::Label;
use otaru_engine::{CampaignRequest, CampaignRow, Counts, DeviceSelection, Engine};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::Id;
use crate::body::{Json, object, object_or_default, or_default};
use crate::caller::{Change, Look, May};
use crate::problem::{Code, Problem};
use crate::query::{Asked, Listed};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/campaigns", get(list).post(create))
        .route("/campaigns/{id}", get(one))
        .route("/campaigns/{id}/start", post(start))
        .route("/campaigns/{id}/pause", post(pause))
        .route("/campaigns/{id}/resume", post(resume))
        .route("/campaigns/{id}/cancel", post(cancel))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCampaign {
    name: String,
    package_ids: Vec<String>,
    #[serde(deserialize_with = "object")]
    devices: Devices,
    #[serde(default, deserialize_with = "object_or_default")]
    retry: AskedRetry,
    #[serde(default, deserialize_with = "object_or_default")]
    limits: AskedLimits,
    #[serde(default, deserialize_with = "or_default")]
    on_conflict: OnConflict,
    #[serde(default, deserialize_with = "object_or_default")]
    timers: AskedTimers,
    /// Whether gateways are told which campaign it is and how many of their children it has.
    #[serde(default, deserialize_with = "or_default")]
    gateway_mode: bool,
    /// Passed on to devices with every word about the campaign.
    #[serde(default)]
    ext_info: Option<serde_json::Map<String, serde_json::Value>>,
    /// Whether it starts as soon as its first devices are prepared.
    #[serde(default, deserialize_with = "or_default")]
    start: bool,
}

/// Which devices: exactly one of the members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Devices {
    #[serde(default)]
    ids: Option<Vec<String>>,
    #[serde(default)]
    product_id: Option<String>,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
}

impl Devices {
    fn selection(self) -> Result<DeviceSelection, Problem> {
        match self {
            Devices { ids: Some(ids), product_id: None, tags: None } => Ok(DeviceSelection::Ids(ids)),
            Devices { ids: None, product_id: Some(id), tags: None } => Ok(DeviceSelection::Product(id)),
            Devices { ids: None, product_id: None, tags: Some(tags) } => Ok(DeviceSelection::Tags(tags)),
            Devices { ids, product_id, tags } => {
                let given = [ids.is_some(), product_id.is_some(), tags.is_some()]
                    .iter()
                    .filter(|given| **given)
                    .count();
                Err(Problem::new(
                    Code::InvalidMember,
                    format!(
                        "`devices` has {given} of `ids`, `product_id` and `tags`; exactly one is accepted"
                    ),
                ))
            }
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedRetry {
    #[serde(default, deserialize_with = "or_default")]
    count: u32,
    #[serde(default, deserialize_with = "or_default")]
    interval_secs: u64,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedLimits {
    #[serde(default)]
    concurrency: Option<u32>,
}

/// Seconds, fractions allowed; what is left out is the server's default.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedTimers {
    #[serde(default)]
    online_secs: Option<f64>,
    #[serde(default)]
    answer_secs: Option<f64>,
    #[serde(default)]
    result_secs: Option<f64>,
    #[serde(default)]
    confirm_secs: Option<f64>,
}

impl AskedTimers {
    fn over(self, defaults: Timers) -> Result<Timers, Problem> {
        Ok(Timers {
            online_ms: millis("online_secs", self.online_secs, defaults.online_ms)?,
            answer_ms: millis("answer_secs", self.answer_secs, defaults.answer_ms)?,
            result_ms: millis("result_secs", self.result_secs, defaults.result_ms)?,
            confirm_ms: millis("confirm_secs", self.confirm_secs, defaults.confirm_ms)?,
            ..defaults
        })
    }
}

/// The longest a timer may run: a year. Beyond it a device is not waited for, it is lost.
const TIMER_SECS_MAX: f64 = 366.0 * 86_400.0;

fn millis(name: &str, asked: Option<f64>, default: u64) -> Result<u64, Problem> {
    match asked {
        None => Ok(default),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and 3.2e10 after the guard"
        )]
        Some(secs) if (0.001..=TIMER_SECS_MAX).contains(&secs) => Ok((secs * 1000.0).round() as u64),
        Some(secs) => Err(Problem::new(
            Code::InvalidMember,
            format!("`timers.{name}` is {secs}; 0.001 to {TIMER_SECS_MAX} seconds are accepted"),
        )),
    }
}

#[derive(Serialize)]
struct CampaignView {
    campaign_id: String,
    name: String,
    state: &'static str,
    counts: CountsView,
    product_id: String,
    package_ids: Vec<String>,
    retry: Retry,
    limits: Slots,
    on_conflict: OnConflict,
    timers: TimersView,
    gateway_mode: bool,
    ext_info: Option<serde_json::Value>,
    created_by: String,
    created_at: Moment,
    started_at: Option<Moment>,
    finished_at: Option<Moment>,
}

impl CampaignView {
    fn of((row, counts): (CampaignRow, Counts)) -> CampaignView {
        CampaignView {
            campaign_id: row.campaign_id,
            name: row.name,
            state: row.state.name(),
            counts: CountsView(counts),
            product_id: row.product_id,
            package_ids: row.packages.iter().map(|package| package.package_id.clone()).collect(),
            retry: row.policy.retry,
            limits: row.policy.slots,
            on_conflict: row.policy.on_conflict,
            timers: TimersView::from(row.policy.timers),
            gateway_mode: row.policy.gateway_mode,
            ext_info: row.ext_info.and_then(|text| serde_json::from_str(&text).ok()),
            created_by: row.created_by,
            created_at: Moment(row.created_at),
            started_at: row.started_at.map(Moment),
            finished_at: row.finished_at.map(Moment),
        }
    }
}

#[derive(Serialize)]
struct TimersView {
    online_secs: f64,
    answer_secs: f64,
    result_secs: f64,
    confirm_secs: f64,
}

impl From<Timers> for TimersView {
    fn from(timers: Timers) -> TimersView {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 285 000 years")]
        let secs = |ms: u64| ms as f64 / 1000.0;
        TimersView {
            online_secs: secs(timers.online_ms),
            answer_secs: secs(timers.answer_ms),
            result_secs: secs(timers.result_ms),
            confirm_secs: secs(timers.confirm_ms),
        }
    }
}

/// `total`, then every state and outcome, also those with nobody in them.
struct CountsView(Counts);

impl Serialize for CountsView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + Label::ALL.len()))?;
        map.serialize_entry("total", &self.0.total())?;
        for label in Label::ALL {
            map.serialize_entry(label.name(), &self.0.of(label))?;
        }
        map.end()
    }
}

async fn create(
    State(engine): State<Engine>,
    may: May<Change>,
    Json(asked): Json<NewCampaign>,
) -> Result<(StatusCode, Answer<CampaignView>), Problem> {
    let policy = Policy {
        retry: Retry { count: asked.retry.count, interval_secs: asked.retry.interval_secs },
        slots: Slots { concurrency: asked.limits.concurrency },
        on_conflict: asked.on_conflict,
        timers: asked.timers.over(engine.settings().timers)?,
        gateway_mode: asked.gateway_mode,
        ..Policy::default()
    };
    let request = CampaignRequest {
        name: asked.name,
        package_ids: asked.package_ids,
        devices: asked.devices.selection()?,
        policy,
        ext_info: asked.ext_info,
        start: asked.start,
    };
    let row = engine.create_campaign(&may.by, request).await?;
    // Its deployments are made after this answer; `state` says `preparing` until they are.
    Ok((StatusCode::CREATED, Answer(CampaignView::of((row, Counts::default())))))
}

async fn list(
    State(engine): State<Engine>,
    _: May<Look>,
    asked: Asked,
) -> Result<Answer<Listed<CampaignView>>, Problem> {
    let part = asked.only(&["cursor", "limit"])?.part()?;
    let rows = engine.campaigns(part.page()).await?;
    Ok(Answer(part.listed(rows, |(row, _)| row.key, CampaignView::of)))
}

async fn one(
    State(engine): State<Engine>,
    _: May<Look>,
    Id(id): Id,
) -> Result<Answer<CampaignView>, Problem> {
    match engine.campaign(&id).await? {
        Some(found) => Ok(Answer(CampaignView::of(found))),
        None => Err(Problem::not_found("campaign", &id)),
    }
}

async fn start(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
) -> Result<Answer<CampaignView>, Problem> {
    Ok(Answer(CampaignView::of(engine.start_campaign(&may.by, &id).await?)))
}

async fn pause(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
) -> Result<Answer<CampaignView>, Problem> {
    Ok(Answer(CampaignView::of(engine.pause_campaign(&may.by, &id).await?)))
}

async fn resume(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
) -> Result<Answer<CampaignView>, Problem> {
    Ok(Answer(CampaignView::of(engine.resume_campaign(&may.by, &id).await?)))
}

async fn cancel(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
) -> Result<Answer<CampaignView>, Problem> {
    Ok(Answer(CampaignView::of(engine.cancel_campaign(&may.by, &id).await?)))
}
