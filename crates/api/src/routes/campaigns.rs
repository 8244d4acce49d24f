//! `/campaigns`: these devices to one of these packages, under this policy.
//!
//! A campaign is made as a draft unless `start` is true: what changes devices is said explicitly.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use otaru_core::campaign::{CampaignState, OnConflict, Policy, Retry, Slots, Timers};
use otaru_core::deployment::Label;
use otaru_engine::limits::NAME_CHARS_MAX;
use otaru_engine::{CampaignFilter, CampaignRequest, CampaignRow, Counts, DeviceSelection, Engine};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use crate::body::{Json, object, object_or_default, or_default};
use crate::caller::{Change, Look, May};
use crate::openapi::{Pages, words};
use crate::problem::{Code, Problem};
use crate::query::{Asked, Counted, bad};
use crate::router::Shared;
use crate::times::{AskedMoment, Moment};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(one, delete))
        .routes(routes!(start))
        .routes(routes!(schedule))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(cancel))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCampaign {
    /// For people; blanks around it are taken away.
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    /// Of one product and kind, with source versions that do not overlap.
    #[schema(min_items = 1, max_items = 10)]
    package_ids: Vec<String>,
    #[serde(deserialize_with = "object")]
    devices: Devices,
    #[serde(default, deserialize_with = "object_or_default")]
    #[schema(value_type = Option<AskedRetry>)]
    retry: AskedRetry,
    #[serde(default, deserialize_with = "object_or_default")]
    #[schema(value_type = Option<AskedLimits>)]
    limits: AskedLimits,
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<words::OnConflictWord>)]
    on_conflict: OnConflict,
    #[serde(default, deserialize_with = "object_or_default")]
    #[schema(value_type = Option<AskedTimers>)]
    timers: AskedTimers,
    /// Whether gateways are told which campaign it is and how many of their children it has.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<bool>)]
    gateway_mode: bool,
    /// Whether each deployment waits until it is confirmed.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<bool>)]
    need_confirm: bool,
    /// Passed on to devices with every word about the campaign; at most 512 characters of JSON.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    ext_info: Option<serde_json::Map<String, serde_json::Value>>,
    /// Whether it starts as soon as its first devices are prepared.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<bool>)]
    start: bool,
    /// Starts by itself then, by the server's clock; not together with `start`. From a minute ago to 366 days ahead.
    #[serde(default)]
    #[schema(value_type = Option<Moment>)]
    start_at: Option<AskedMoment>,
}

/// Which devices: exactly one of the members.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeviceSelection)]
struct Devices {
    /// These, at most 30 000.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 30000)]
    ids: Option<Vec<String>>,
    /// All of this product, which must be the packages'.
    #[serde(default)]
    product_id: Option<String>,
    /// All of the packages' product that have all of these tags.
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
    /// All of the packages' product that are in one of these groups while the deployments are made.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 10)]
    group_ids: Option<Vec<String>>,
}

impl Devices {
    fn selection(self) -> Result<DeviceSelection, Problem> {
        let Devices { ids, product_id, tags, group_ids } = self;
        let given = [
            ids.map(DeviceSelection::Ids),
            product_id.map(DeviceSelection::Product),
            tags.map(DeviceSelection::Tags),
            group_ids.map(DeviceSelection::Groups),
        ];
        let mut given: Vec<DeviceSelection> = given.into_iter().flatten().collect();
        match (given.pop(), given.len()) {
            (Some(selection), 0) => Ok(selection),
            (last, others) => Err(Problem::new(
                Code::InvalidMember,
                format!(
                    "`devices` has {} of `ids`, `product_id`, `tags` and `group_ids`; exactly one is accepted",
                    others + usize::from(last.is_some())
                ),
            )),
        }
    }
}

/// What happens after a failure.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRetry)]
struct AskedRetry {
    /// Further attempts.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 5)]
    count: u32,
    /// Between a failure and the next attempt.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 86400)]
    interval_secs: u64,
}

/// How many devices may be at work at once.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewLimits)]
struct AskedLimits {
    /// None is no limit.
    #[serde(default)]
    #[schema(minimum = 1)]
    concurrency: Option<u32>,
}

/// Seconds, fractions allowed; what is left out is the server's default.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTimers)]
struct AskedTimers {
    /// For a device to come online.
    #[serde(default)]
    #[schema(minimum = 0.001, maximum = 31622400)]
    online_secs: Option<f64>,
    /// For the answer to a version question.
    #[serde(default)]
    #[schema(minimum = 0.001, maximum = 31622400)]
    answer_secs: Option<f64>,
    /// From the notice to the final report.
    #[serde(default)]
    #[schema(minimum = 0.001, maximum = 31622400)]
    result_secs: Option<f64>,
    /// From "done" with another version to the question.
    #[serde(default)]
    #[schema(minimum = 0.001, maximum = 31622400)]
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

#[derive(Serialize, ToSchema)]
#[schema(as = Campaign)]
struct CampaignView {
    campaign_id: String,
    name: String,
    #[schema(value_type = words::CampaignStateWord)]
    state: &'static str,
    counts: CountsView,
    product_id: String,
    package_ids: Vec<String>,
    #[schema(value_type = RetryView)]
    retry: Retry,
    #[schema(value_type = LimitsView)]
    limits: Slots,
    #[schema(value_type = words::OnConflictWord)]
    on_conflict: OnConflict,
    timers: TimersView,
    gateway_mode: bool,
    need_confirm: bool,
    #[schema(value_type = Option<Object>, required)]
    ext_info: Option<serde_json::Value>,
    /// The name of the token that it was made with.
    created_by: String,
    created_at: Moment,
    /// When it starts by itself, or did.
    #[schema(required)]
    start_at: Option<Moment>,
    #[schema(required)]
    started_at: Option<Moment>,
    #[schema(required)]
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
            need_confirm: row.policy.need_confirm,
            ext_info: row.ext_info.and_then(|text| serde_json::from_str(&text).ok()),
            created_by: row.created_by,
            created_at: Moment(row.created_at),
            start_at: row.start_at.map(Moment),
            started_at: row.started_at.map(Moment),
            finished_at: row.finished_at.map(Moment),
        }
    }
}

/// How [`Retry`] is shown.
#[derive(ToSchema)]
#[schema(as = Retry)]
#[expect(dead_code, reason = "describes")]
struct RetryView {
    count: u32,
    interval_secs: u64,
}

/// How [`Slots`] is shown.
#[derive(ToSchema)]
#[schema(as = Limits)]
#[expect(dead_code, reason = "describes")]
struct LimitsView {
    /// None is no limit.
    #[schema(required)]
    concurrency: Option<u32>,
}

/// Seconds.
#[derive(Serialize, ToSchema)]
#[schema(as = Timers)]
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
pub(super) struct CountsView(pub(super) Counts);

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

impl PartialSchema for CountsView {
    fn schema() -> RefOr<Schema> {
        let int64 = SchemaFormat::KnownFormat(KnownFormat::Int64);
        let count =
            || ObjectBuilder::new().schema_type(Type::Integer).format(Some(int64.clone())).minimum(Some(0));
        let names = std::iter::once("total").chain(Label::ALL.iter().map(|label| label.name()));
        let described = ObjectBuilder::new().schema_type(Type::Object).description(Some(
            "How many deployments there are, and in which state or with which outcome. Of the latest run of each device.",
        ));
        names.fold(described, |object, name| object.property(name, count()).required(name)).into()
    }
}

impl ToSchema for CountsView {
    fn name() -> std::borrow::Cow<'static, str> {
        "Counts".into()
    }
}

/// Makes a campaign.
///
/// It is a draft unless `start` is true, or it is `scheduled` to start by itself at `start_at`. Its deployments are made after this answer; `state` says `preparing` until
/// they are. Calling it again makes another one.
#[utoipa::path(
    post, path = "/campaigns", tag = "campaigns", operation_id = "create_campaign",
    security(("token" = ["operator"])),
    request_body = NewCampaign,
    responses((status = 201, description = "Made", body = CampaignView)),
    extensions(("x-codes" = json!([
        "invalid", "invalid_policy", "unknown_package", "unknown_group", "packages_do_not_fit", "unknown_devices", "too_many_devices",
        "wrong_product"
    ]))),
)]
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
        need_confirm: asked.need_confirm,
        ..Policy::default()
    };
    let request = CampaignRequest {
        name: asked.name,
        package_ids: asked.package_ids,
        devices: asked.devices.selection()?,
        policy,
        ext_info: asked.ext_info,
        start: asked.start,
        start_at: asked.start_at.map(|at| at.0),
    };
    let row = engine.create_campaign(&may.by, request).await?;
    // Its deployments are made after this answer; `state` says `preparing` until they are.
    Ok((StatusCode::CREATED, Answer(CampaignView::of((row, Counts::default())))))
}

/// Lists campaigns, the newest first.
#[utoipa::path(
    get, path = "/campaigns", tag = "campaigns", operation_id = "list_campaigns",
    security(("token" = ["viewer"])),
    params(
        ("state" = Option<Vec<words::CampaignStateWord>>, Query, description = "Only those in this state; may be given often"),
        ("product_id" = Option<String>, Query, description = "Only those of this product"),
        (
            "name" = Option<String>, Query, min_length = 1, max_length = 256,
            description = "Only those with this in their name; A to Z are taken for a to z"
        ),
        Pages,
    ),
    responses((status = 200, description = "A page", body = Counted<CampaignView>)),
)]
async fn list(
    State(engine): State<Engine>,
    _: May<Look>,
    asked: Asked,
) -> Result<Answer<Counted<CampaignView>>, Problem> {
    let asked = asked.only(&["state", "product_id", "name", "cursor", "limit"])?;
    let part = asked.part()?;
    let states = asked.words("state", &CampaignState::ALL.map(CampaignState::name))?;
    let states: BTreeSet<_> = states.into_iter().filter_map(CampaignState::from_name).collect();
    let name_part = asked.one("name")?;
    if let Some(name) = name_part
        && !(1..=NAME_CHARS_MAX).contains(&name.chars().count())
    {
        return Err(bad("name", name, &format!("1 to {NAME_CHARS_MAX} characters are accepted")));
    }
    let filter = CampaignFilter {
        states: Some(states).filter(|states| !states.is_empty()),
        product_id: asked.one("product_id")?.map(str::to_owned),
        name_part: name_part.map(str::to_owned),
    };
    let (rows, total) = engine.campaigns(filter, part.page()).await?;
    let page = part.listed(rows, |(row, _)| row.key, CampaignView::of);
    Ok(Answer(page.counted(total.n, total.is_capped)))
}

/// Shows a campaign with its counts.
#[utoipa::path(
    get, path = "/campaigns/{id}", tag = "campaigns", operation_id = "get_campaign",
    security(("token" = ["viewer"])),
    params(("id" = String, Path, description = "A `campaign_id`")),
    responses((status = 200, description = "The campaign", body = CampaignView)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
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

/// Lets the devices of a draft go.
///
/// One that is there already stays as it is, so that it can be said again.
#[utoipa::path(
    post, path = "/campaigns/{id}/start", tag = "campaigns", operation_id = "start_campaign",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `campaign_id`")),
    responses((status = 200, description = "As it is now", body = CampaignView)),
    extensions(("x-codes" = json!(["not_found", "wrong_state"]))),
)]
async fn start(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
) -> Result<Answer<CampaignView>, Problem> {
    Ok(Answer(CampaignView::of(engine.start_campaign(&may.by, &id).await?)))
}

/// When a campaign starts by itself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Schedule {
    /// By the server's clock, from a minute ago to 366 days ahead; null takes the schedule away.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<Moment>, required)]
    start_at: Option<AskedMoment>,
}

/// A member that may be null and must be there.
fn given<'de, D: serde::Deserializer<'de>>(member: D) -> Result<Option<AskedMoment>, D::Error> {
    Option::deserialize(member)
}

/// Sets when a campaign that was not started starts by itself, or takes that away.
///
/// It is `scheduled` then, and a draft again without a time. It starts once, when the server's clock shows that time or,
/// if the server was down then, as soon as it is back. `POST …/start` starts it before.
#[utoipa::path(
    post, path = "/campaigns/{id}/schedule", tag = "campaigns", operation_id = "schedule_campaign",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `campaign_id`")),
    request_body = Schedule,
    responses((status = 200, description = "As it is now", body = CampaignView)),
    extensions(("x-codes" = json!(["not_found", "wrong_state", "invalid"]))),
)]
async fn schedule(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
    Json(asked): Json<Schedule>,
) -> Result<Answer<CampaignView>, Problem> {
    let start_at = asked.start_at.map(|at| at.0);
    Ok(Answer(CampaignView::of(engine.schedule_campaign(&may.by, &id, start_at).await?)))
}

/// Lets no further device go; those at work go on.
///
/// One that is there already stays as it is, so that it can be said again.
#[utoipa::path(
    post, path = "/campaigns/{id}/pause", tag = "campaigns", operation_id = "pause_campaign",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `campaign_id`")),
    responses((status = 200, description = "As it is now", body = CampaignView)),
    extensions(("x-codes" = json!(["not_found", "wrong_state"]))),
)]
async fn pause(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
) -> Result<Answer<CampaignView>, Problem> {
    Ok(Answer(CampaignView::of(engine.pause_campaign(&may.by, &id).await?)))
}

/// Lets devices of a paused campaign go again.
///
/// One that is there already stays as it is, so that it can be said again.
#[utoipa::path(
    post, path = "/campaigns/{id}/resume", tag = "campaigns", operation_id = "resume_campaign",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `campaign_id`")),
    responses((status = 200, description = "As it is now", body = CampaignView)),
    extensions(("x-codes" = json!(["not_found", "wrong_state"]))),
)]
async fn resume(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
) -> Result<Answer<CampaignView>, Problem> {
    Ok(Answer(CampaignView::of(engine.resume_campaign(&may.by, &id).await?)))
}

/// Ends a campaign; what is not finished ends as `cancelled`.
///
/// One that is there already stays as it is, so that it can be said again.
#[utoipa::path(
    post, path = "/campaigns/{id}/cancel", tag = "campaigns", operation_id = "cancel_campaign",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `campaign_id`")),
    responses((status = 200, description = "As it is now", body = CampaignView)),
    extensions(("x-codes" = json!(["not_found", "wrong_state"]))),
)]
async fn cancel(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
) -> Result<Answer<CampaignView>, Problem> {
    Ok(Answer(CampaignView::of(engine.cancel_campaign(&may.by, &id).await?)))
}

/// Deletes a campaign that has ended, with its deployments.
///
/// It is in no list from now on; its deployments are taken away in the background. What its devices reported stays in
/// their histories, and its packages can be deleted. One that has not ended is cancelled first.
#[utoipa::path(
    delete, path = "/campaigns/{id}", tag = "campaigns", operation_id = "delete_campaign",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `campaign_id`")),
    responses((status = 204, description = "It is gone")),
    extensions(("x-codes" = json!(["not_found", "wrong_state"]))),
)]
async fn delete(State(engine): State<Engine>, may: May<Change>, Id(id): Id) -> Result<StatusCode, Problem> {
    engine.delete_campaign(&may.by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
