//! `/batchtasks`: a view of campaigns, and of their deployments as sub-tasks.
//!
//! ```text
//! targets that are devices of the packages' product  ──► deployments of a campaign
//! the others                                         ──► `refused`, kept with the task and shown as sub-tasks that failed
//! ```

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use otaru_core::campaign::{Act, CampaignState, OnConflict, Policy, Retry, Selection};
use otaru_core::deployment::Label;
use otaru_engine::{
    ActAnswer, ActResult, CampaignError, CampaignKey, CampaignRequest, CampaignRow, Counts, DeploymentFilter,
    DeploymentKey, DeploymentSelection, DeploymentView, DeviceKey, DeviceSelection, Newest, Spaces, Thing,
};
use otaru_proto::PackageKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::call::Call;
use super::input::{self, DEVICE_ID, Fields, ID, Rule, TASK_NAME, seconds};
use super::members::{self, Members};
use super::modules::NOT_UPGRADED;
use super::paging::Paging;
use super::refusal::{INVALID, NO_GROUP, NO_PACKAGE, NO_TASK, NOT_NOW, of_engine, of_store};
use super::words::{
    OTHER_TASKS, Progress, SubError, SubStatus, TaskStatus, error_of, has_begun, kind_of_task, not_done,
    output, refused_target, task_type,
};
use crate::problem::Problem;
use crate::router::Shared;

/// Devices that one task may name.
pub(super) const TARGETS_MAX: usize = 30_000;
/// Devices that one stop, retry or confirmation may name.
pub(super) const ACTED_MAX: usize = 100;
/// Targets that are kept and shown as they were sent; more would be read with every look at the task.
pub(super) const SHOWN_MAX: usize = 1_000;
/// The same for rows of a list, of which there are fifty.
pub(super) const SHOWN_IN_ROWS_MAX: usize = 100;
/// Groups that one task may name.
pub(super) const GROUPS_MAX: usize = 10;
/// Packages that one task may name.
pub(super) const PACKAGES_MAX: usize = 10;
/// A task starts within a week.
const SCHEDULED_WITHIN_MS: i64 = 7 * 86_400 * 1_000;
/// Campaigns that are looked at for a list by status, which depends on their counts.
const LOOKED_AT_MAX: usize = 2_000;
/// Records of deployments come after those of targets that were refused.
const DEPLOYMENTS_FROM: u128 = 1 << 64;

/// Ids of packages in `document`.
pub(super) const PACKAGE_ID: Rule = ID;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v5/iot/{project_id}/batchtasks", get(list).post(create))
        .route("/v5/iot/{project_id}/batchtasks/{task_id}", get(show).delete(delete))
        .route("/v5/iot/{project_id}/batchtasks/{task_id}/stop", post(stop))
        .route("/v5/iot/{project_id}/batchtasks/{task_id}/retry", post(retry))
        .route("/v5/iot/{project_id}/batchtasks/{task_id}/confirm", post(confirm))
}

/// A target that is no device of the packages' product.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Refused {
    target: String,
    /// The product that it is of; `None`: it is not registered.
    #[serde(default)]
    product: Option<String>,
}

/// What is kept of a task beside its campaign.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    /// Members as they were sent.
    #[serde(default)]
    sent: Members,
    #[serde(default)]
    refused: Vec<Refused>,
    /// How many devices the campaign was made for, where the task named them.
    #[serde(default)]
    expected: Option<u64>,
}

impl Kept {
    fn of(members: Members) -> Kept {
        serde_json::from_value(Value::Object(members)).unwrap_or_default()
    }

    fn text(&self) -> String {
        serde_json::to_string(self).expect("it is JSON")
    }
}

/// What is kept of a task that counts: targets that were refused, and devices that were named.
pub(super) fn beside(members: Members) -> (u64, Option<u64>) {
    let kept = Kept::of(members);
    (kept.refused.len() as u64, kept.expected)
}

/// A task as it is: its campaign, and what is kept beside.
struct Task {
    row: CampaignRow,
    progress: Progress,
    status: TaskStatus,
    kept: Kept,
}

impl Task {
    fn new(row: CampaignRow, counts: &Counts, kept: Kept) -> Task {
        let progress = Progress::of(&row, counts, kept.refused.len() as u64, kept.expected);
        let status = TaskStatus::of(&row, &progress);
        Task { row, progress, status, kept }
    }

    async fn found(call: &Call) -> Result<Task, Problem> {
        let found = call.engine.campaign(call.id()).await.map_err(of_store)?;
        let (row, counts) = found.ok_or_else(|| NO_TASK.plain())?;
        let kept = members::of(&call.engine, Thing::Campaign(row.key)).await?;
        Ok(Task::new(row, &counts, Kept::of(kept)))
    }

    fn kind(&self) -> PackageKind {
        self.row.packages.first().map_or(PackageKind::Firmware, |package| package.kind)
    }

    fn view(&self, targets_max: usize) -> Value {
        let mut shown = self.kept.sent.clone();
        let is_long = |targets: &Value| targets.as_array().is_some_and(|all| all.len() > targets_max);
        if shown.get("targets").is_some_and(is_long) {
            shown.remove("targets");
        }
        // What was made through the native API has nothing that was sent.
        shown.entry("document").or_insert_with(|| {
            let ids: Vec<&str> =
                self.row.packages.iter().map(|package| package.package_id.as_str()).collect();
            json!({ "package_ids": ids })
        });
        shown.insert("task_id".to_owned(), self.row.campaign_id.clone().into());
        shown.insert("task_name".to_owned(), self.row.name.clone().into());
        shown.insert("task_type".to_owned(), task_type(self.kind()).into());
        shown.insert("status".to_owned(), self.status.name().into());
        shown.insert("status_desc".to_owned(), status_desc(&self.row).into());
        shown.insert("task_progress".to_owned(), json!(self.progress));
        shown.insert("create_time".to_owned(), seconds(self.row.created_at).into());
        Value::Object(shown)
    }
}

/// What keeps a task from going on that somebody has to do something about: the bytes of its package are not to be had.
/// Otherwise empty, also while they are being read.
pub(super) fn status_desc(row: &CampaignRow) -> String {
    if row.packages.iter().all(|package| package.content.problem().is_none()) {
        return String::new();
    }
    match row.state {
        CampaignState::Finished | CampaignState::Cancelled => String::new(),
        CampaignState::Draft
        | CampaignState::Preparing
        | CampaignState::Scheduled
        | CampaignState::Running
        | CampaignState::Paused => otaru_engine::why_not_ready(&row.packages).unwrap_or_default(),
    }
}

async fn create(call: Call) -> Result<(StatusCode, Json<Value>), Problem> {
    let by = call.change()?;
    let mut fields = call.fields()?;
    let (apps, app_id) = (call.apps().await?, fields.text("app_id", ID)?);
    apps.asked(app_id.as_deref())?;
    let name = fields.needed("task_name", TASK_NAME)?;
    let kind = task_kind(&mut fields)?;
    let mut sent = Map::new();
    let mut policy = Policy {
        timers: call.engine.settings().timers,
        // The published platform lets the sub-task of a busy device fail.
        on_conflict: OnConflict::Fail,
        ..Policy::default()
    };
    if let Some(mode) = fields.word("task_mode", &["GATEWAY"])? {
        policy.gateway_mode = true;
        sent.insert("task_mode".to_owned(), mode.into());
    }
    if let Some(confirm) = fields.truth("need_confirm")? {
        policy.need_confirm = confirm;
        sent.insert("need_confirm".to_owned(), confirm.into());
    }
    let ext_info = match fields.any("task_ext_info") {
        None => None,
        Some(Value::Object(info)) => {
            sent.insert("task_ext_info".to_owned(), Value::Object(info.clone()));
            Some(info)
        }
        Some(other) => return Err(fields.wrong("task_ext_info", "an object", &other)),
    };
    let start_at = policy_of(&call, &mut fields, &mut policy, &mut sent)?;
    let package_ids = package_ids(&mut fields, &mut sent)?;
    let product = check_packages(&call, &package_ids, kind).await?;
    if let Some(product) = call.engine.product(&product).await.map_err(of_store)? {
        apps.check(app_id.as_deref(), &product)?;
    }
    let (devices, refused, expected) = targets(&call, &mut fields, &product, &mut sent).await?;
    let shown = sent.clone();
    if sent.get("targets").and_then(Value::as_array).is_some_and(|targets| targets.len() > SHOWN_MAX) {
        sent.remove("targets");
    }
    let kept = Kept { sent, refused, expected };
    let request =
        CampaignRequest { name, package_ids, devices, policy, ext_info, start: start_at.is_none(), start_at };
    let made = call.engine.create_campaign_with(by, request, kept.text()).await;
    let row = made.map_err(|error| {
        if let CampaignError::UnknownGroup(_) = &error {
            NO_GROUP.because(error.to_string())
        } else {
            // Gone since it was looked at.
            of_engine(error, NO_PACKAGE)
        }
    })?;
    let task = Task::new(row, &Counts::default(), Kept { sent: shown, ..kept });
    Ok((StatusCode::CREATED, Json(task.view(usize::MAX))))
}

fn task_kind(fields: &mut Fields) -> Result<PackageKind, Problem> {
    let word = fields.needed("task_type", input::prose(64))?;
    if let Some(kind) = kind_of_task(&word) {
        return Ok(kind);
    }
    let accepted = "firmwareUpgrade and softwareUpgrade are accepted.";
    Err(INVALID.because(if word == "moduleUpgrade" {
        format!("`task_type` {word} is not offered: {NOT_UPGRADED}; {accepted}")
    } else if OTHER_TASKS.contains(&word.as_str()) {
        format!("`task_type` {word} is not offered by this server; {accepted}")
    } else {
        format!("`task_type` is {word:?}; {accepted}")
    }))
}

/// When the task starts, if it is scheduled, and how it retries.
fn policy_of(
    call: &Call,
    fields: &mut Fields,
    policy: &mut Policy,
    sent: &mut Members,
) -> Result<Option<otaru_core::WallTime>, Problem> {
    let Some(mut asked) = fields.object("task_policy")? else { return Ok(None) };
    let mut shown = Map::new();
    let mut start_at = None;
    if let Some(text) = asked.text("schedule_time", input::prose(64))? {
        let at = input::time("task_policy.schedule_time", &text)?;
        let ahead = at.0 - call.engine.wall().0;
        if !(0..=SCHEDULED_WITHIN_MS).contains(&ahead) {
            return Err(INVALID.because(format!(
                "`task_policy.schedule_time` is {text}; a time within the next 7 days is accepted."
            )));
        }
        shown.insert("schedule_time".to_owned(), text.into());
        start_at = Some(at);
    }
    let (count, minutes) = (asked.number("retry_count", 0..=5)?, asked.number("retry_interval", 0..=1_440)?);
    match (count, minutes) {
        (None, None) => {}
        (Some(count), Some(minutes)) => {
            policy.retry = Retry { count, interval_secs: u64::from(minutes) * 60 };
            shown.insert("retry_count".to_owned(), count.into());
            shown.insert("retry_interval".to_owned(), minutes.into());
        }
        (Some(_), None) | (None, Some(_)) => {
            return Err(INVALID.because("retry_count and retry_interval must be given together."));
        }
    }
    sent.insert("task_policy".to_owned(), Value::Object(shown));
    Ok(start_at)
}

/// `package_ids`, or `package_id` of older clients.
fn package_ids(fields: &mut Fields, sent: &mut Members) -> Result<Vec<String>, Problem> {
    let needed = "`document.package_ids` is required.";
    let mut document = fields.object("document")?.ok_or_else(|| INVALID.because(needed))?;
    if let Some(ids) = document.texts("package_ids", PACKAGES_MAX, PACKAGE_ID)?.filter(|ids| !ids.is_empty())
    {
        sent.insert("document".to_owned(), json!({ "package_ids": ids }));
        return Ok(ids);
    }
    let id = document.text("package_id", PACKAGE_ID)?.ok_or_else(|| INVALID.because(needed))?;
    sent.insert("document".to_owned(), json!({ "package_id": id }));
    Ok(vec![id])
}

/// The product of the packages; every one has to be of the task's kind.
async fn check_packages(call: &Call, ids: &[String], kind: PackageKind) -> Result<String, Problem> {
    let mut product = String::new();
    for id in ids {
        let package = call.engine.package(id).await.map_err(of_store)?;
        let package = package.ok_or_else(|| NO_PACKAGE.because(format!("`document` names {id:?}.")))?;
        if package.kind != kind {
            return Err(INVALID.because(format!(
                "The package {id} is {} and the task is a {}.",
                super::words::package_type(package.kind),
                task_type(kind)
            )));
        }
        product = package.product_id;
    }
    Ok(product)
}

/// The first of `targets`, `targets_filter` and `document_source` that says something.
async fn targets(
    call: &Call,
    fields: &mut Fields,
    product: &str,
    sent: &mut Members,
) -> Result<(DeviceSelection, Vec<Refused>, Option<u64>), Problem> {
    let named = fields.texts("targets", TARGETS_MAX, DEVICE_ID)?.filter(|targets| !targets.is_empty());
    if let Some(targets) = named {
        let (keys, refused) = sorted(call, &targets, product).await?;
        sent.insert("targets".to_owned(), targets.into());
        let expected = Some(keys.len() as u64);
        return Ok((DeviceSelection::Known(keys), refused, expected));
    }
    if let Some(mut filter) = fields.object("targets_filter")? {
        let groups = filter.texts("group_ids", GROUPS_MAX, ID)?.filter(|groups| !groups.is_empty());
        let groups = groups.ok_or_else(|| INVALID.because("`targets_filter.group_ids` is required."))?;
        sent.insert("targets_filter".to_owned(), json!({ "group_ids": groups }));
        return Ok((DeviceSelection::Groups(groups), Vec::new(), None));
    }
    Err(INVALID.because(match fields.text("document_source", input::prose(256))? {
        Some(_) => "`document_source` is not for upgrades; `targets` or `targets_filter` is accepted.",
        None => "`targets` or `targets_filter` is required, with at least one target.",
    }))
}

/// Those that are devices of the product, each once, and the others.
async fn sorted(
    call: &Call,
    targets: &[String],
    product: &str,
) -> Result<(Vec<DeviceKey>, Vec<Refused>), Problem> {
    let known = call.engine.known_devices(targets).await.map_err(of_store)?;
    let (mut keys, mut refused, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (target, known) in targets.iter().zip(known) {
        if !seen.insert(target) {
            continue;
        }
        match known {
            Some(device) if device.product_id == product => keys.push(device.key),
            other => refused
                .push(Refused { target: target.clone(), product: other.map(|device| device.product_id) }),
        }
    }
    Ok((keys, refused))
}

#[derive(Serialize)]
struct Listed {
    batchtasks: Vec<Value>,
    page: TaskPage,
}

#[derive(Serialize)]
struct TaskPage {
    count: u64,
    marker: Option<String>,
}

async fn list(call: Call) -> Result<Json<Listed>, Problem> {
    call.look()?;
    let spaces = call.asked_spaces(&call.apps().await?)?;
    let paging = call.paging()?;
    let word = call.asked_for("task_type")?;
    let Some(kind) = kind_of_task(word) else {
        if OTHER_TASKS.contains(&word) {
            return Ok(Json(Listed { batchtasks: Vec::new(), page: TaskPage { count: 0, marker: None } }));
        }
        let shown: String = word.chars().take(64).collect();
        return Err(INVALID.because(format!(
            "`task_type` is {shown:?}; firmwareUpgrade and softwareUpgrade are accepted."
        )));
    };
    let status = match call.asked("status") {
        None => None,
        Some(word) => {
            Some(TaskStatus::ALL.into_iter().find(|status| status.name() == word).ok_or_else(|| {
                let shown: String = word.chars().take(64).collect();
                INVALID.because(format!("`status` is {shown:?}, which is no status of a task."))
            })?)
        }
    };
    let before = match &paging.marker {
        None => None,
        Some(marker) => match call.engine.campaign(marker).await.map_err(of_store)? {
            Some((row, _)) => Some(row.key),
            // It is gone: those with a smaller id are the ones up to the newest of them.
            None => match call.engine.campaign_before(marker).await.map_err(of_store)? {
                Some(newest) => Some(CampaignKey(newest.0.saturating_add(1))),
                None => Some(CampaignKey(0)),
            },
        },
    };
    let (tasks, count) = match status {
        None => {
            let page = Newest { before, skip: paging.offset, limit: paging.limit };
            let (found, total) =
                call.engine.newest_campaigns(spaces, kind, None, page).await.map_err(of_store)?;
            (with_kept(&call, found).await?, total.n)
        }
        Some(status) => in_status(&call, (spaces, kind), status, before, &paging).await?,
    };
    let marker = tasks.last().map(|task| task.row.campaign_id.clone());
    let batchtasks = tasks.iter().map(|task| task.view(SHOWN_IN_ROWS_MAX)).collect();
    Ok(Json(Listed { batchtasks, page: TaskPage { count, marker } }))
}

async fn with_kept(call: &Call, found: Vec<(CampaignRow, Counts)>) -> Result<Vec<Task>, Problem> {
    let all = found.iter().map(|(row, _)| Thing::Campaign(row.key)).collect();
    let mut kept = members::all(&call.engine, all).await?;
    let task = |(row, counts): (CampaignRow, Counts)| {
        let kept = kept.remove(&Thing::Campaign(row.key)).unwrap_or_default();
        Task::new(row, &counts, Kept::of(kept))
    };
    Ok(found.into_iter().map(task).collect())
}

/// A status depends on counts, so that those are looked at which may have it.
async fn in_status(
    call: &Call,
    (spaces, kind): (Spaces, PackageKind),
    status: TaskStatus,
    before: Option<CampaignKey>,
    paging: &Paging,
) -> Result<(Vec<Task>, u64), Problem> {
    let (mut fitting, mut looked_at, mut last) = (Vec::new(), 0, None);
    while looked_at < LOOKED_AT_MAX {
        let page = Newest { before: last, skip: 0, limit: 100 };
        let found = call
            .engine
            .newest_campaigns(spaces, kind, Some(status.states()), page)
            .await
            .map_err(of_store)?
            .0;
        looked_at += found.len();
        last = found.last().map(|(row, _)| row.key);
        if last.is_none() {
            break;
        }
        let tasks = with_kept(call, found).await?;
        fitting.extend(tasks.into_iter().filter(|task| task.status == status));
    }
    let count = fitting.len() as u64;
    let rest = fitting.into_iter().filter(|task| before.is_none_or(|before| task.row.key < before));
    Ok((rest.skip(paging.offset as usize).take(paging.limit as usize).collect(), count))
}

#[derive(Serialize)]
struct Detail {
    target: String,
    status: &'static str,
    output: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<SubError>,
}

impl Detail {
    fn of(view: &DeploymentView, begun: bool) -> Option<Detail> {
        let word = view.outcome.unwrap_or(view.state);
        let label = Label::ALL.into_iter().find(|label| label.name() == word)?;
        let status = SubStatus::of(label, begun);
        Some(Detail {
            target: view.device_id.clone(),
            status: status.name(),
            output: output(view),
            error: error_of(view, status),
        })
    }

    fn refused(refused: &Refused) -> Detail {
        Detail {
            target: refused.target.clone(),
            status: SubStatus::Fail.name(),
            output: "",
            error: Some(refused_target(refused.product.as_deref())),
        }
    }
}

#[derive(Serialize)]
struct Shown {
    batchtask: Value,
    task_details: Vec<Detail>,
    page: TaskPage,
}

async fn show(call: Call) -> Result<Json<Shown>, Problem> {
    call.look()?;
    let task = Task::found(&call).await?;
    let status = match call.asked("task_detail_status") {
        None => None,
        Some(word) => {
            Some(SubStatus::ALL.into_iter().find(|status| status.name() == word).ok_or_else(|| {
                let shown: String = word.chars().take(64).collect();
                INVALID
                    .because(format!("`task_detail_status` is {shown:?}, which is no status of a sub-task."))
            })?)
        }
    };
    let paging = call.paging()?;
    let (task_details, page) = match call.asked("target") {
        Some(target) => one_detail(&call, &task, target, status, &paging).await?,
        None => details(&call, &task, status, &paging).await?,
    };
    Ok(Json(Shown { batchtask: task.view(SHOWN_MAX), task_details, page }))
}

/// The sub-task of one target.
async fn one_detail(
    call: &Call,
    task: &Task,
    target: &str,
    status: Option<SubStatus>,
    paging: &Paging,
) -> Result<(Vec<Detail>, TaskPage), Problem> {
    let refused = task.kept.refused.iter().position(|refused| refused.target == target);
    let found = match refused {
        Some(at) => Some((Detail::refused(&task.kept.refused[at]), at as u128 + 1)),
        None => match call.engine.deployment_runs(&task.row.campaign_id, target).await {
            Ok(runs) => runs
                .first()
                .and_then(|view| Some((Detail::of(view, has_begun(&task.row))?, record_of(view.key)))),
            Err(CampaignError::NotOn { .. }) => None,
            Err(error) => return Err(of_engine(error, NO_TASK)),
        },
    };
    let found = found.filter(|(detail, _)| status.is_none_or(|status| status.name() == detail.status));
    let count = u64::from(found.is_some());
    let seen = paging.marker.as_deref().and_then(|marker| u128::from_str_radix(marker, 16).ok());
    let is_on_page =
        |(_, record): &(Detail, u128)| paging.offset == 0 && seen.is_none_or(|seen| *record < seen);
    let found = found.filter(is_on_page);
    let marker = found.as_ref().map(|(_, record)| format!("{record:024x}"));
    let details = found.into_iter().map(|(detail, _)| detail).collect();
    Ok((details, TaskPage { count, marker }))
}

fn record_of(key: DeploymentKey) -> u128 {
    DEPLOYMENTS_FROM + u128::from(key.0.unsigned_abs())
}

/// A page of sub-tasks: deployments, the newest first, and then the targets that were refused.
async fn details(
    call: &Call,
    task: &Task,
    status: Option<SubStatus>,
    paging: &Paging,
) -> Result<(Vec<Detail>, TaskPage), Problem> {
    let begun = has_begun(&task.row);
    let labels: BTreeSet<Label> = Label::ALL
        .into_iter()
        .filter(|label| status.is_none_or(|status| SubStatus::of(*label, begun) == status))
        .collect();
    let refused: &[Refused] = match status {
        None | Some(SubStatus::Fail) => &task.kept.refused,
        Some(_) => &[],
    };
    let (_, counts) = call
        .engine
        .campaign(&task.row.campaign_id)
        .await
        .map_err(of_store)?
        .ok_or_else(|| NO_TASK.plain())?;
    let count = labels.iter().map(|label| counts.of(*label)).sum::<u64>() + refused.len() as u64;
    let marker = paging.marker.as_deref().and_then(|marker| u128::from_str_radix(marker, 16).ok());
    let filter = DeploymentFilter { labels: Some(labels), codes: None };
    let (mut details, mut last, mut skip) = (Vec::new(), None, paging.offset as usize);
    let refused_before = match marker {
        Some(record) if record < DEPLOYMENTS_FROM => {
            usize::try_from(record.saturating_sub(1)).unwrap_or(usize::MAX).min(refused.len())
        }
        Some(_) | None => {
            let before = marker
                .map(|record| DeploymentKey(i64::try_from(record - DEPLOYMENTS_FROM).unwrap_or(i64::MAX)));
            let page = Newest { before, skip: paging.offset, limit: paging.limit };
            let views =
                call.engine.newest_deployments(&task.row, filter.clone(), page).await.map_err(of_store)?;
            if views.is_empty() && skip > 0 {
                // What there is before the refused ones was left out.
                let page = Newest { before, skip: 0, limit: paging.offset };
                let left_out =
                    call.engine.newest_deployments(&task.row, filter, page).await.map_err(of_store)?;
                skip -= left_out.len().min(skip);
            } else {
                skip = 0;
            }
            last = views.last().map(|view| record_of(view.key));
            details.extend(views.iter().filter_map(|view| Detail::of(view, begun)));
            refused.len()
        }
    };
    let room = (paging.limit as usize).saturating_sub(details.len());
    for (at, one) in refused[..refused_before].iter().enumerate().rev().skip(skip).take(room) {
        details.push(Detail::refused(one));
        last = Some(at as u128 + 1);
    }
    Ok((details, TaskPage { count, marker: last.map(|record| format!("{record:024x}")) }))
}

#[derive(Serialize)]
struct Acted {
    targets: Vec<ActedTarget>,
}

#[derive(Serialize)]
struct ActedTarget {
    target: String,
    status: &'static str,
    #[serde(flatten)]
    error: Option<SubError>,
}

impl ActedTarget {
    fn done(target: String) -> ActedTarget {
        ActedTarget { target, status: "success", error: None }
    }
}

async fn stop(call: Call) -> Result<Json<Acted>, Problem> {
    act(&call, Act::Stop).await
}

async fn retry(call: Call) -> Result<Json<Acted>, Problem> {
    act(&call, Act::Retry).await
}

async fn confirm(call: Call) -> Result<Json<Acted>, Problem> {
    act(&call, Act::Confirm).await
}

async fn act(call: &Call, act: Act) -> Result<Json<Acted>, Problem> {
    let by = call.change()?;
    let task = Task::found(call).await?;
    let targets = call.fields()?.texts("targets", ACTED_MAX, DEVICE_ID)?;
    if targets.as_ref().is_some_and(Vec::is_empty) {
        // So that an empty selection never becomes everything.
        return Err(INVALID.because("`targets` is empty; name at least one, or leave it out for all."));
    }
    use TaskStatus::{Fail, Initializing, PartialSuccess, Processing, Waitting};
    let (accepted, verb): (&[TaskStatus], _) = match act {
        Act::Stop => (&[Initializing, Waitting, Processing], "stopped"),
        Act::Confirm => (&[Initializing, Waitting, Processing], "confirmed"),
        Act::Retry => (&[Processing, Fail, PartialSuccess], "retried"),
    };
    if !accepted.contains(&task.status) {
        let names: Vec<&str> = accepted.iter().map(|status| status.name()).collect();
        return Err(NOT_NOW.because(format!(
            "The task is {}; one that is {} can be {verb}.",
            task.status.name(),
            names.join(" or ")
        )));
    }
    let Some(targets) = targets else {
        let meant = all_targets(call, &task, act).await?;
        match act {
            Act::Stop => {
                let stopped = call.engine.cancel_campaign(by, &task.row.campaign_id).await;
                stopped.map_err(|error| of_engine(error, NO_TASK))?;
            }
            Act::Retry | Act::Confirm => {
                let all = DeploymentSelection { device_ids: None, selection: Selection::default() };
                let asked = call.engine.act(by, &task.row.campaign_id, act, all).await;
                asked.map_err(|error| of_engine(error, NO_TASK))?;
            }
        }
        return Ok(Json(Acted { targets: meant.into_iter().map(ActedTarget::done).collect() }));
    };
    let chosen = DeploymentSelection { device_ids: Some(targets), selection: Selection::default() };
    let acted = call.engine.act(by, &task.row.campaign_id, act, chosen).await;
    let devices = match acted.map_err(|error| of_engine(error, NO_TASK))? {
        ActAnswer::Done(devices) => devices,
        ActAnswer::Accepted(_) => Vec::new(),
    };
    let told = devices.into_iter().map(|device| match device.result {
        ActResult::Stopped | ActResult::Retried | ActResult::Confirmed => ActedTarget::done(device.device_id),
        ActResult::NotFound | ActResult::WrongState | ActResult::NotSelected => {
            ActedTarget { target: device.device_id, status: "failure", error: Some(not_done(verb)) }
        }
    });
    Ok(Json(Acted { targets: told.collect() }))
}

/// The targets that an act without targets means now, at most as many as a task may name.
async fn all_targets(call: &Call, task: &Task, act: Act) -> Result<Vec<String>, Problem> {
    let labels = act.labels(&Selection::default());
    let filter = DeploymentFilter { labels: Some(labels), codes: None };
    let (mut targets, mut before) = (Vec::new(), None);
    while targets.len() < TARGETS_MAX {
        let page = Newest { before, skip: 0, limit: 1_000 };
        let views =
            call.engine.newest_deployments(&task.row, filter.clone(), page).await.map_err(of_store)?;
        let Some(last) = views.last() else { break };
        before = Some(last.key);
        targets.extend(views.into_iter().map(|view| view.device_id));
    }
    Ok(targets)
}

async fn delete(call: Call) -> Result<StatusCode, Problem> {
    let by = call.change()?;
    let task = Task::found(&call).await?;
    use TaskStatus::{Fail, PartialSuccess, Stopped, Success};
    if !matches!(task.status, Success | Fail | PartialSuccess | Stopped) {
        return Err(NOT_NOW.because(format!("The task is {} and has not finished.", task.status.name())));
    }
    let deleted = call.engine.delete_campaign(by, &task.row.campaign_id).await;
    deleted.map_err(|error| of_engine(error, NO_TASK))?;
    Ok(StatusCode::NO_CONTENT)
}
