//! The rules that every store keeps, as pure functions: what a batch writes, how counters move, what the audit
//! log calls things.
//!
//! Always true:
//! - The difference of the counters that a batch makes is the sum of what its deployments do.
//! - A deployment that is finished keeps its label.
//! - Whatever gives a device free is written before whatever takes it.
//!
//! Not here: how any of it is stored.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use otaru_core::campaign::{Act, CampaignState};
use otaru_core::deployment::{Deployment, Label, OutcomeKind};
use otaru_core::{ServiceTime, WallTime};
use otaru_proto::{DeviceId, ResultCode};

use crate::error::{Fault, StoreError};
use crate::limits::{PROPERTY_BYTES_KEPT, PROPERTY_SERVICES_KEPT};
use crate::rows::*;
use crate::transact::{Changes, FurtherRun, Loaded, NewReport, Note};

/// The tags of a device after a change.
pub(crate) fn tags_after(
    device_id: &DeviceId,
    before: &BTreeMap<String, String>,
    change: &TagsChange,
) -> Result<BTreeMap<String, String>, StoreError> {
    match change {
        TagsChange::Replaced(tags) => Ok(tags.clone()),
        TagsChange::Added { tags, most } => {
            let mut all = before.clone();
            all.extend(tags.clone());
            if all.len() <= *most {
                return Ok(all);
            }
            Err(StoreError::Full {
                what: format!("device {device_id} would have {} tags", all.len()),
                most: *most as u64,
                instead: "remove tags that are not needed",
            })
        }
        TagsChange::Removed(keys) => {
            Ok(before.clone().into_iter().filter(|(key, _)| !keys.contains(key)).collect())
        }
    }
}

/// What applications said before, with each of these members in place of the one with the same name.
pub(crate) fn merged(before: Option<&str>, members: &str) -> String {
    // Nothing but objects is ever kept.
    let read = |text: &str| serde_json::from_str::<serde_json::Map<_, _>>(text).unwrap_or_default();
    let mut all = before.map(read).unwrap_or_default();
    all.extend(read(members));
    serde_json::Value::Object(all).to_string()
}

/// What is stored of a deployment, as far as a change to it is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Before {
    pub(crate) campaign: CampaignKey,
    pub(crate) device: DeviceKey,
    pub(crate) run: u32,
    pub(crate) label: Label,
    pub(crate) wake_at: Option<ServiceTime>,
    /// Of its last report.
    pub(crate) code: Option<i64>,
}

impl Before {
    pub(crate) fn of(row: &DeploymentRow) -> Before {
        Before {
            campaign: row.campaign,
            device: row.device,
            run: row.run,
            label: row.deployment.label(),
            wake_at: row.deployment.wake_at(),
            code: code_of(row),
        }
    }
}

/// The result code of its last report, as on the wire.
pub(crate) fn code_of(row: &DeploymentRow) -> Option<i64> {
    row.deployment.result_code.map(ResultCode::to_wire)
}

/// What is stored, as the rules ask for it.
pub(crate) trait Stored {
    /// The deployment with this key.
    fn deployment(&mut self, key: DeploymentKey) -> Result<Option<Before>, StoreError>;
    /// The last report of a device; the outer `None` when there is no such device, or it was deleted.
    fn last_report(&mut self, device: DeviceKey) -> Result<Option<Option<ReportSeq>>, StoreError>;
}

/// What was loaded for a batch answers most questions; the rest is asked of `beyond`.
pub(crate) struct Remembered<B> {
    deployments: BTreeMap<DeploymentKey, Before>,
    last_reports: BTreeMap<DeviceKey, Option<ReportSeq>>,
    pub(crate) beyond: B,
}

impl<B> Remembered<B> {
    pub(crate) fn of(loaded: &Loaded, beyond: B) -> Remembered<B> {
        let mut deployments = BTreeMap::new();
        let mut last_reports = BTreeMap::new();
        for (key, view) in &loaded.devices {
            last_reports.insert(*key, view.state.last_report);
            for row in view.unfinished.iter().chain(&view.last_finished) {
                deployments.insert(row.key, Before::of(row));
            }
        }
        deployments.extend(loaded.latest.iter().map(|row| (row.key, Before::of(row))));
        Remembered { deployments, last_reports, beyond }
    }
}

impl<B: Stored> Stored for Remembered<B> {
    fn deployment(&mut self, key: DeploymentKey) -> Result<Option<Before>, StoreError> {
        match self.deployments.get(&key) {
            Some(before) => Ok(Some(*before)),
            None => self.beyond.deployment(key),
        }
    }
    fn last_report(&mut self, device: DeviceKey) -> Result<Option<Option<ReportSeq>>, StoreError> {
        match self.last_reports.get(&device) {
            Some(last) => Ok(Some(*last)),
            None => self.beyond.last_report(device),
        }
    }
}

/// What a batch writes about devices and their deployments, ready to be written in this order.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// Finished and free ones first, so that a device is given free before it is taken.
    pub(crate) deployments: Vec<DeploymentWrite>,
    /// In the caller's order.
    pub(crate) runs: Vec<RunWrite>,
    /// By how much each counter moves; none is zero.
    pub(crate) counters: BTreeMap<(CampaignKey, Label), i64>,
    /// The same for failures, by the code of the last report.
    pub(crate) failures: BTreeMap<(CampaignKey, Label, Option<i64>), i64>,
    /// In the order in which they were received, each with the one it hangs on.
    pub(crate) reports: Vec<(ReportSeq, Option<ReportSeq>, NewReport)>,
    /// By key.
    pub(crate) devices: BTreeMap<DeviceKey, DeviceWrite>,
}

impl Writes {
    /// Moves what a deployment counts for: `by` is 1 for where it is now, and -1 for where it was.
    fn count(&mut self, campaign: CampaignKey, label: Label, code: Option<i64>, by: i64) {
        *self.counters.entry((campaign, label)).or_default() += by;
        if label.is_failure() {
            *self.failures.entry((campaign, label, code)).or_default() += by;
        }
    }
}

/// A deployment that is to be written.
#[derive(Debug)]
pub(crate) struct DeploymentWrite {
    pub(crate) row: DeploymentRow,
    pub(crate) before: Before,
    pub(crate) label: Label,
    pub(crate) wake_at: Option<ServiceTime>,
    pub(crate) code: Option<i64>,
}

impl DeploymentWrite {
    /// Whether anything changes that lists and timers look at. The code of the last report counts once it has ended.
    pub(crate) fn moves(&self) -> bool {
        self.label != self.before.label
            || self.wake_at != self.before.wake_at
            || (self.label.is_finished() && self.code != self.before.code)
    }
}

/// A further run that is to be made.
#[derive(Debug)]
pub(crate) struct RunWrite {
    pub(crate) previous: DeploymentKey,
    pub(crate) before: Before,
    pub(crate) run: u32,
    pub(crate) deployment: Deployment,
}

/// What is written about one device. What is `None` stays.
#[derive(Debug, Default)]
pub(crate) struct DeviceWrite {
    /// Everything but what follows.
    pub(crate) state: Option<DeviceState>,
    /// The last of its reports, and when it was received.
    pub(crate) last_report: Option<(ReportSeq, WallTime)>,
    /// The deployment that finished last, of those whose device was asked and has a package.
    pub(crate) last_finished: Option<DeploymentKey>,
}

/// Works out what a batch writes; takes deployments, reports and devices out of `changes`. The first report gets
/// `next_report`, the others follow.
///
/// # Errors
///
/// `Constraint` when a change names what does not exist, or breaks a rule; says which.
pub(crate) fn fold(
    changes: &mut Changes,
    stored: &mut impl Stored,
    next_report: ReportSeq,
) -> Result<Writes, StoreError> {
    let mut writes = Writes::default();
    fold_devices(changes, stored, &mut writes)?;
    fold_deployments(changes, stored, &mut writes)?;
    fold_runs(changes, stored, &mut writes)?;
    writes.counters.retain(|_, difference| *difference != 0);
    writes.failures.retain(|_, difference| *difference != 0);
    fold_reports(changes, stored, next_report, &mut writes)?;
    Ok(writes)
}

fn fold_devices(
    changes: &mut Changes,
    stored: &mut impl Stored,
    writes: &mut Writes,
) -> Result<(), StoreError> {
    for (key, state) in changes.devices.drain(..) {
        if stored.last_report(key)?.is_none() {
            return Err(StoreError::Constraint(format!("there is no device with key {}", key.0)));
        }
        let write = DeviceWrite { state: Some(state), ..DeviceWrite::default() };
        if writes.devices.insert(key, write).is_some() {
            return Err(StoreError::Constraint(format!("the device with key {} is named twice", key.0)));
        }
    }
    Ok(())
}

fn fold_deployments(
    changes: &mut Changes,
    stored: &mut impl Stored,
    writes: &mut Writes,
) -> Result<(), StoreError> {
    let mut named = BTreeSet::new();
    for row in changes.deployments.drain(..) {
        let key = row.key;
        let broken = |rule: &str| StoreError::Constraint(format!("deployment {}: {rule}", key.0));
        let before = stored.deployment(key)?.ok_or_else(|| broken("there is none"))?;
        if (before.campaign, before.device, before.run) != (row.campaign, row.device, row.run) {
            return Err(broken("its campaign, device or run differ from what is stored"));
        }
        if !named.insert(key) {
            return Err(broken("it is named twice"));
        }
        let (label, code) = (row.deployment.label(), code_of(&row));
        if before.label.is_finished() && label != before.label {
            return Err(broken("it is finished and would be something else"));
        }
        if label != before.label || (label.is_failure() && code != before.code) {
            writes.count(before.campaign, before.label, before.code, -1);
            writes.count(before.campaign, label, code, 1);
        }
        if label != before.label {
            // Late truth belongs to the one whose notice the device may still be carrying out.
            let was_told =
                row.deployment.package.is_some() && label != Label::Finished(OutcomeKind::AlreadyInstalled);
            if label.is_finished() && was_told {
                writes.devices.entry(row.device).or_default().last_finished = Some(key);
            }
        }
        let wake_at = row.deployment.wake_at();
        writes.deployments.push(DeploymentWrite { row, before, label, wake_at, code });
    }
    // Stable: otherwise the order is the caller's.
    writes.deployments.sort_by_key(|write| write.label.holds_slot());
    Ok(())
}

fn fold_runs(changes: &mut Changes, stored: &mut impl Stored, writes: &mut Writes) -> Result<(), StoreError> {
    let mut named = BTreeSet::new();
    for FurtherRun { previous, deployment } in changes.runs.drain(..) {
        let broken =
            |rule: &str| StoreError::Constraint(format!("a run after deployment {}: {rule}", previous.0));
        let before = stored.deployment(previous)?.ok_or_else(|| broken("there is none"))?;
        let label = deployment.label();
        if !before.label.is_finished() {
            return Err(broken("that one is not finished"));
        }
        if !matches!(label, Label::Queued | Label::Released) {
            return Err(broken("it would begin in the middle"));
        }
        if !named.insert(previous) {
            return Err(broken("it is named twice"));
        }
        if stored.last_report(before.device)?.is_none() {
            return Err(broken("its device is not there any more"));
        }
        writes.count(before.campaign, before.label, before.code, -1);
        writes.count(before.campaign, label, None, 1);
        writes.runs.push(RunWrite { previous, before, run: before.run + 1, deployment });
    }
    Ok(())
}

fn fold_reports(
    changes: &mut Changes,
    stored: &mut impl Stored,
    next_report: ReportSeq,
    writes: &mut Writes,
) -> Result<(), StoreError> {
    let mut seq = next_report;
    for report in changes.reports.drain(..) {
        let write = writes.devices.entry(report.device).or_default();
        let previous = match write.last_report {
            Some((last, _)) => Some(last),
            None => stored.last_report(report.device)?.ok_or_else(|| {
                let key = report.device.0;
                StoreError::Constraint(format!("a report of a device with key {key}, which there is not"))
            })?,
        };
        write.last_report = Some((seq, report.received_at));
        writes.reports.push((seq, previous, report));
        seq = ReportSeq(seq.0 + 1);
    }
    Ok(())
}

/// What a decision could have known from what was loaded for it: trying again would not help.
pub(crate) fn broken_promise(error: StoreError) -> StoreError {
    match error.fault() {
        Fault::Unavailable => error,
        Fault::Caller | Fault::Bug => StoreError::Constraint(error.to_string()),
    }
}

/// Runs the pure part of a batch; a panic in it is an error like another.
pub(crate) fn decide_or_say_why<R>(
    decide: impl FnOnce(Loaded) -> (Changes, R),
    loaded: Loaded,
) -> Result<(Changes, R), StoreError> {
    catch_unwind(AssertUnwindSafe(|| decide(loaded)))
        .map_err(|panic| StoreError::DecisionPanicked(panic_text(panic.as_ref())))
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

/// Whether a campaign in this state has ended.
pub(crate) fn is_over(state: CampaignState) -> bool {
    match state {
        CampaignState::Finished | CampaignState::Cancelled => true,
        CampaignState::Draft
        | CampaignState::Preparing
        | CampaignState::Scheduled
        | CampaignState::Running
        | CampaignState::Paused => false,
    }
}

/// The state of a campaign that is whole and was not started.
const fn resting(start_at: Option<WallTime>) -> CampaignState {
    if start_at.is_some() { CampaignState::Scheduled } else { CampaignState::Draft }
}

/// Sets or takes away when a campaign starts by itself. `None` when it was started or has ended; otherwise what the audit
/// log calls it.
pub(crate) fn schedule_row(row: &mut CampaignRow, start_at: Option<WallTime>) -> Option<&'static str> {
    if row.started {
        return None;
    }
    match row.state {
        CampaignState::Preparing => {}
        CampaignState::Draft | CampaignState::Scheduled => row.state = resting(start_at),
        CampaignState::Running
        | CampaignState::Paused
        | CampaignState::Finished
        | CampaignState::Cancelled => return None,
    }
    row.start_at = start_at;
    Some(if start_at.is_some() { "campaign_scheduled" } else { "campaign_unscheduled" })
}

/// Starts a campaign whose time has come: at once if it is whole, otherwise as soon as its first devices are prepared.
/// `None` when it is not to be started now; otherwise what the audit log calls it.
pub(crate) fn start_row_if_due(row: &mut CampaignRow, now: WallTime) -> Option<&'static str> {
    let is_due = !row.started && row.start_at.is_some_and(|at| at <= now);
    let to = match row.state {
        CampaignState::Scheduled => CampaignState::Running,
        CampaignState::Preparing => CampaignState::Preparing,
        CampaignState::Draft
        | CampaignState::Running
        | CampaignState::Paused
        | CampaignState::Finished
        | CampaignState::Cancelled => return None,
    };
    is_due.then(|| move_row(row, to, Some(true), now))
}

/// Lets a campaign that has finished go on; whether it did.
pub(crate) fn reopen_row(row: &mut CampaignRow) -> bool {
    if row.state != CampaignState::Finished {
        return false;
    }
    row.state = CampaignState::Running;
    row.finished_at = None;
    true
}

/// Moves a campaign's row, with its times; what the audit log calls that.
pub(crate) fn move_row(
    row: &mut CampaignRow,
    to: CampaignState,
    started: Option<bool>,
    now: WallTime,
) -> &'static str {
    let (from, was_started) = (row.state, row.started);
    // A draft that starts by itself is scheduled, whoever makes it one.
    let to = match to {
        CampaignState::Draft | CampaignState::Scheduled => {
            resting(row.start_at.filter(|_| !started.unwrap_or(was_started)))
        }
        CampaignState::Preparing
        | CampaignState::Running
        | CampaignState::Paused
        | CampaignState::Finished
        | CampaignState::Cancelled => to,
    };
    row.state = to;
    row.started = started.unwrap_or(was_started);
    if row.started && !was_started {
        // Started before its time, it has none any more.
        row.start_at = row.start_at.filter(|at| *at <= now);
    }
    if row.started || to == CampaignState::Running {
        row.started_at.get_or_insert(now);
    }
    if is_over(to) {
        row.finished_at.get_or_insert(now);
    }
    if row.started && !was_started {
        return "campaign_started";
    }
    match to {
        CampaignState::Draft => "campaign_drafted",
        CampaignState::Preparing => "campaign_preparing",
        CampaignState::Scheduled => "campaign_scheduled",
        CampaignState::Running if from == CampaignState::Paused => "campaign_resumed",
        CampaignState::Running => "campaign_running",
        CampaignState::Paused => "campaign_paused",
        CampaignState::Finished => "campaign_finished",
        CampaignState::Cancelled => "campaign_cancelled",
    }
}

/// The id of the default project: the time it was made, and what tells two servers apart. 24 hex digits.
pub(crate) fn project_id(now: WallTime, entropy: [u8; 6]) -> String {
    let mut id = format!("{:012x}", now.0.max(0) & 0xffff_ffff_ffff);
    for byte in entropy {
        id.push_str(&format!("{byte:02x}"));
    }
    id
}

/// What the audit log calls an act on deployments.
#[must_use]
pub const fn acted(act: Act) -> &'static str {
    match act {
        Act::Stop => action::DEPLOYMENTS_STOPPED,
        Act::Retry => action::DEPLOYMENTS_RETRIED,
        Act::Confirm => action::DEPLOYMENTS_CONFIRMED,
    }
}

/// What a group cannot have more of.
pub(crate) mod push {
    use crate::error::StoreError;

    /// Whether there may be one more beside `count`.
    pub(crate) fn check_room(what: &str, count: u64, most: u64) -> Result<(), StoreError> {
        if count < most {
            return Ok(());
        }
        let what = format!("there are {count} {what} and cannot be one more");
        Err(StoreError::Full { what, most, instead: "delete what is not needed" })
    }

    pub(crate) fn no_rule(rule_id: &str) -> StoreError {
        StoreError::Missing { what: "rule", id: rule_id.to_owned() }
    }

    pub(crate) fn no_action(action_id: &str) -> StoreError {
        StoreError::Missing { what: "rule action", id: action_id.to_owned() }
    }
}

pub(crate) mod group {
    use crate::error::StoreError;
    use crate::limits::{GROUP_MEMBERS_MAX, GROUPS_MAX, GROUPS_OF_DEVICE_MAX};

    /// Whether there may be one more group beside `count`.
    pub(crate) fn check_room(count: u64) -> Result<(), StoreError> {
        let full = || StoreError::Full {
            what: format!("a project with {count} groups cannot have one more"),
            most: GROUPS_MAX,
            instead: "delete groups that are not needed, or use tags",
        };
        if count < GROUPS_MAX { Ok(()) } else { Err(full()) }
    }

    /// Whether the group may have `members`.
    pub(crate) fn check_members(group_id: &str, members: u64) -> Result<(), StoreError> {
        let full = || StoreError::Full {
            what: format!("group {group_id} would have {members} members"),
            most: GROUP_MEMBERS_MAX,
            instead: "use several groups, or a campaign for a product or for tags",
        };
        if members <= GROUP_MEMBERS_MAX { Ok(()) } else { Err(full()) }
    }

    /// The device would be in more groups than [`GROUPS_OF_DEVICE_MAX`].
    pub(crate) fn in_too_many(device_id: &str, groups: u64) -> StoreError {
        StoreError::Full {
            what: format!("device {device_id} would be in {groups} groups"),
            most: GROUPS_OF_DEVICE_MAX,
            instead: "take it out of another group first",
        }
    }

    /// The line of the audit log for devices that came or went.
    pub(crate) fn moved(group_id: &str, devices: u64) -> String {
        format!("{group_id}: {devices} devices")
    }
}

/// What the audit log calls things, in one word each. The names are part of the API.
/// What the secret of an access key is sealed for. A device's secret is sealed for its id, which has no `/`.
#[must_use]
pub fn access_key_context(access_key: &str) -> String {
    format!("access-key/{access_key}")
}

/// What the token of a rule action is sealed for.
#[must_use]
pub fn push_token_context(action_id: &str) -> String {
    format!("rule-action/{action_id}")
}

/// Only children move from one gateway to another.
pub(crate) fn no_child(device_id: &otaru_proto::DeviceId) -> StoreError {
    StoreError::Missing { what: "child", id: device_id.to_string() }
}

/// OTA modules.
pub(crate) mod module {
    use crate::error::StoreError;
    use crate::limits::MODULES_MAX;
    use crate::rows::{ModulePatch, ModuleRow};

    /// Whether a product with modules of these names may have one more, with this one.
    pub(crate) fn check_new<'a>(names: impl Iterator<Item = &'a str>, name: &str) -> Result<(), StoreError> {
        let mut count = 0;
        for known in names {
            if known == name {
                return Err(StoreError::Exists { what: "module", id: name.to_owned() });
            }
            count += 1;
        }
        super::push::check_room("modules of the product", count, MODULES_MAX)
    }

    pub(crate) fn patched(row: &ModuleRow, patch: &ModulePatch) -> ModuleRow {
        ModuleRow {
            alias: patch.alias.clone().unwrap_or_else(|| row.alias.clone()),
            description: patch.description.clone().unwrap_or_else(|| row.description.clone()),
            ..row.clone()
        }
    }

    pub(crate) fn missing(module_id: &str) -> StoreError {
        StoreError::Missing { what: "module", id: module_id.to_owned() }
    }
}

/// Resource spaces.
pub(crate) mod space {
    use crate::error::StoreError;
    use crate::limits::SPACES_MAX;
    use crate::rows::{PushRule, SpaceKey, SpaceRow};

    /// Whether there may be one more beside `all`, with this id and name.
    pub(crate) fn check_new(all: &[SpaceRow], space_id: &str, name: &str) -> Result<(), StoreError> {
        // The default one has no row.
        super::push::check_room("resource spaces", all.len() as u64 + 1, SPACES_MAX)?;
        if all.iter().any(|row| row.space_id == space_id) {
            return Err(StoreError::Exists { what: "resource space", id: space_id.to_owned() });
        }
        check_name(all, name)
    }

    /// Whether none of `all` has this name.
    pub(crate) fn check_name(all: &[SpaceRow], name: &str) -> Result<(), StoreError> {
        if all.iter().any(|row| row.name == name) {
            return Err(StoreError::Exists { what: "resource space with the name", id: name.to_owned() });
        }
        Ok(())
    }

    pub(crate) fn find(all: &[SpaceRow], space_id: &str) -> Result<SpaceRow, StoreError> {
        let missing = || StoreError::Missing { what: "resource space", id: space_id.to_owned() };
        all.iter().find(|row| row.space_id == space_id).cloned().ok_or_else(missing)
    }

    /// Whether something may be put into it.
    pub(crate) fn check_there(all: &[SpaceRow], space: Option<SpaceKey>) -> Result<(), StoreError> {
        match space {
            Some(key) if !all.iter().any(|row| row.key == key) => {
                Err(StoreError::Missing { what: "resource space", id: format!("with key {}", key.0) })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a rule names this space among its members.
    pub(crate) fn is_of_rule(rule: &PushRule, space_id: &str) -> bool {
        let members: serde_json::Value = serde_json::from_str(&rule.members).unwrap_or_default();
        members["app_id"] == space_id
    }
}

pub(crate) mod action {
    pub(crate) const PRODUCT_CREATED: &str = "product_created";
    pub(crate) const PRODUCT_CHANGED: &str = "product_changed";
    pub(crate) const PRODUCT_DELETED: &str = "product_deleted";
    pub(crate) const ACCESS_KEY_ADDED: &str = "access_key_added";
    pub(crate) const ACCESS_KEY_REVOKED: &str = "access_key_revoked";
    pub(crate) const DEVICE_CREATED: &str = "device_created";
    pub(crate) const DEVICES_IMPORTED: &str = "devices_imported";
    pub(crate) const DEVICE_CHANGED: &str = "device_changed";
    pub(crate) const RULE_CREATED: &str = "rule_created";
    pub(crate) const RULE_CHANGED: &str = "rule_changed";
    pub(crate) const RULE_DELETED: &str = "rule_deleted";
    pub(crate) const RULE_ACTION_CREATED: &str = "rule_action_created";
    pub(crate) const RULE_ACTION_CHANGED: &str = "rule_action_changed";
    pub(crate) const RULE_ACTION_DELETED: &str = "rule_action_deleted";
    pub(crate) const DEVICE_MOVED: &str = "device_moved";
    pub(crate) const DEVICE_DELETED: &str = "device_deleted";
    pub(crate) const ARTIFACT_KEPT: &str = "artifact_kept";
    pub(crate) const ARTIFACT_DELETED: &str = "artifact_deleted";
    pub(crate) const PACKAGE_CREATED: &str = "package_created";
    pub(crate) const PACKAGE_DELETED: &str = "package_deleted";
    pub(crate) const PACKAGE_READY: &str = "package_ready";
    pub(crate) const PACKAGE_INVALID: &str = "package_invalid";
    pub(crate) const PACKAGE_RETRIED: &str = "package_retried";
    pub(crate) const CAMPAIGN_CREATED: &str = "campaign_created";
    pub(crate) const DEPLOYMENTS_STOPPED: &str = "deployments_stopped";
    pub(crate) const DEPLOYMENTS_RETRIED: &str = "deployments_retried";
    pub(crate) const DEPLOYMENTS_CONFIRMED: &str = "deployments_confirmed";
    pub(crate) const CAMPAIGN_DELETED: &str = "campaign_deleted";
    pub(crate) const GROUP_CREATED: &str = "group_created";
    pub(crate) const GROUP_CHANGED: &str = "group_changed";
    pub(crate) const GROUP_DELETED: &str = "group_deleted";
    pub(crate) const GROUP_MEMBERS_ADDED: &str = "group_members_added";
    pub(crate) const GROUP_MEMBERS_REMOVED: &str = "group_members_removed";
    pub(crate) const MODULE_CREATED: &str = "module_created";
    pub(crate) const MODULE_CHANGED: &str = "module_changed";
    pub(crate) const MODULE_DELETED: &str = "module_deleted";
    pub(crate) const SPACE_CREATED: &str = "space_created";
    pub(crate) const SPACE_CHANGED: &str = "space_changed";
    pub(crate) const SPACE_DELETED: &str = "space_deleted";
    pub(crate) const TOKEN_ADDED: &str = "token_added";
    pub(crate) const TOKEN_REVOKED: &str = "token_revoked";
}

/// What is known of the bytes of a package once it was tried to read them, and what the audit log says of it; nothing where
/// it only has to be tried again.
pub(crate) fn read_content(
    outcome: &ReadOutcome,
    artifact: Option<&ArtifactRow>,
) -> Result<(Content, Option<&'static str>), StoreError> {
    Ok(match outcome {
        ReadOutcome::Kept(artifact_id) => {
            let artifact =
                artifact.ok_or_else(|| StoreError::Missing { what: "artifact", id: artifact_id.clone() })?;
            let (artifact_id, size_bytes) = (artifact.artifact_id.clone(), artifact.size_bytes);
            (Content::Ready { artifact_id, size_bytes }, Some(action::PACKAGE_READY))
        }
        ReadOutcome::Delayed(problem) => (Content::Pending { problem: Some(problem.clone()) }, None),
        ReadOutcome::Refused(problem) => {
            (Content::Invalid { problem: problem.clone() }, Some(action::PACKAGE_INVALID))
        }
    })
}

/// Of rows in the order in which they were written, each with its time: the places of those to be forgotten, and where to
/// go on. `newest` stays: a table that was emptied would give its places again.
///
/// Times can jump, so that a younger row may come before an older one; where none of a whole chunk is old, the end is
/// reached.
pub(crate) fn forgettable(
    rows: &[(i64, WallTime)],
    before: WallTime,
    chunk: u32,
    newest: i64,
) -> (Vec<i64>, Option<i64>) {
    let old = |(place, at): &&(i64, WallTime)| *at < before && *place != newest;
    let places: Vec<i64> = rows.iter().filter(old).map(|(place, _)| *place).collect();
    let goes_on = !places.is_empty() && rows.len() >= chunk as usize;
    (places, rows.last().map(|(place, _)| *place).filter(|_| goes_on))
}

/// The subject of the line in the audit log about one chunk of an import; `None` if it made nothing.
pub(crate) fn import_subject(devices: &[NewDevice], became: &[Imported]) -> Option<String> {
    let made = devices.iter().zip(became).filter(|(_, became)| matches!(became, Imported::Created { .. }));
    let mut made = made.map(|(device, _)| &device.device_id);
    let first = made.next()?;
    Some(match made.next_back() {
        None => format!("1 device: {first}"),
        Some(last) => {
            let count = 2 + made.count();
            format!("{count} devices: {first} to {last}")
        }
    })
}

/// Whether a device that is there is the one that an import would make.
pub(crate) fn is_same_device(there: &DeviceRow, new: &NewDevice, gateway: Option<DeviceKey>) -> bool {
    there.node_id == new.node_id
        && there.product_id == new.product_id
        && there.gateway == gateway
        && there.auth == new.auth
}

/// What became of a device whose id is taken by `there`.
///
/// Each seal is another one: with the same bytes it is the device that an attempt made whose answer was lost.
pub(crate) fn found_there(there: &DeviceRow, new: &NewDevice, gateway: Option<DeviceKey>) -> Imported {
    if !is_same_device(there, new, gateway) {
        return Imported::Refused(StoreError::Exists { what: "device", id: new.device_id.to_string() });
    }
    if new.sealed_secret.is_some() && there.sealed_secret == new.sealed_secret {
        return Imported::Created { key: there.key, joined: there.gateway.zip(there.joined) };
    }
    Imported::Exists
}

/// Leaves of the notes about one device and service, and about its SDK, the last; lines of logs all stay.
pub(crate) fn fold_notes(notes: Vec<Note>) -> Vec<Note> {
    let mut seen = std::collections::BTreeSet::new();
    let mut folded: Vec<Note> = notes
        .into_iter()
        .rev()
        .filter(|note| match note {
            Note::Sdk { device, .. } => seen.insert((*device, None)),
            Note::Property { device, row } => seen.insert((*device, Some(row.service_id.clone()))),
            Note::Log { .. } => true,
        })
        .collect();
    folded.reverse();
    folded
}

/// Whether a device's row of properties can be kept beside `others`, each a service of it with its bytes.
pub(crate) fn has_room_for_property(others: impl Iterator<Item = usize>, row: &PropertyRow) -> bool {
    let (count, bytes) = others.fold((0_u32, 0_usize), |(count, all), bytes| (count + 1, all + bytes));
    count < PROPERTY_SERVICES_KEPT && bytes + property_bytes(row) <= PROPERTY_BYTES_KEPT
}

/// What a row of properties counts for.
pub(crate) fn property_bytes(row: &PropertyRow) -> usize {
    row.service_id.len() + row.properties.len()
}
