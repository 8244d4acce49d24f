//! One batch: what is loaded for it, and what follows from it.
//!
//! Always true:
//! - Events of one device are decided in the order in which they came, each on the result of the one before.
//! - What a batch says to a device is still true at the end of the batch; what is not is not said.
//! - Nothing here writes, sends or waits: everything is in the answer.

mod acts;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use otaru_core::campaign::{CampaignFacts, CampaignState, Candidate, HeldBack, PackageFacts, plan};
use otaru_core::deployment::{
    Circumstances, Event, Label, Outcome, OutcomeKind, Say as Word, State, Step, step,
};
use otaru_core::{Epoch, ServiceTime, WallTime};
use otaru_proto::{DeviceId, EventBody, PackageKind, Subject, Uplink, VersionReport};
use otaru_store::{
    CampaignKey, CampaignRow, Changes, Counts, DeploymentKey, DeploymentRow, DeviceKey, DeviceView, Loaded,
    NewReport, OutboxLine, Registering, Registrable, Say, Wanted,
};

use crate::downloads::DownloadActivity;
use crate::ids::deployment_id;
use crate::inbox::{Input, UplinkReading};
use crate::limits::{CHILDREN_ASKED_MAX, DUE_PER_BATCH, REJECTED_PAYLOAD_BYTES_MAX};
use crate::queues::Questions;
use crate::reading::{Reading, is_kept};
use crate::sessions::{Reach, SessionInner, SessionRef, Sessions};
use crate::settings::Settings;
use crate::told::ShadowAsked;

pub(crate) use acts::{ActedOn, By, Treated, Wish, act, end_all};
pub(crate) use services::{Answered, child_info, children_changed};

/// What is known around a batch.
pub(crate) struct Around<'a> {
    pub(crate) now: ServiceTime,
    pub(crate) wall: WallTime,
    pub(crate) sessions: &'a Sessions,
    pub(crate) downloads: &'a DownloadActivity,
    pub(crate) questions: &'a Questions,
    pub(crate) settings: &'a Settings,
}

/// What the driver needs to know once the batch is stored.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// For each line of the outbox, in order, what its message is made of.
    pub(crate) spoken: Vec<Spoken>,
    /// Devices that could go but for a slot of this campaign.
    pub(crate) held_for_slot: Vec<(CampaignKey, DeviceKey)>,
    /// Children that could go but for a question that is open through their gateway.
    pub(crate) held_for_answer: Vec<(Reach, DeviceKey)>,
    /// Questions to children that changed: about which deployment, and through whose session it is open now.
    pub(crate) questions: Vec<(DeploymentKey, Option<Reach>)>,
    /// How many slots each limited campaign that was looked at has free now.
    pub(crate) free_slots: BTreeMap<CampaignKey, usize>,
    /// Gateways that ask what changed about their children after a version.
    pub(crate) syncs: Vec<(SessionRef, i64)>,
    /// Questions for shadows, to be answered from what is stored now.
    pub(crate) shadows: Vec<ShadowAsked>,
    /// Devices that are not registered any more.
    pub(crate) deleted: Vec<DeviceKey>,
    /// Gateways that can be reached now: their children with work are to be looked at.
    pub(crate) gateways: Vec<(DeviceKey, Epoch)>,
    /// Whether a deployment of the device is at work, by the device whose session is concerned.
    pub(crate) at_work: Vec<(DeviceKey, bool)>,
    /// What is answered to events of other services, in order.
    pub(crate) answered: Vec<Answered>,
    /// Deployments that ended: their downloads are history.
    pub(crate) finished: Vec<(DeploymentKey, OutcomeKind)>,
    /// Campaigns whose counts have moved, or that have ended.
    pub(crate) moved: BTreeSet<CampaignKey>,
    /// Messages by what became of them.
    pub(crate) tally: Tally,
}

/// Messages by what became of them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kept: u64,
    pub(crate) rejected: u64,
    pub(crate) not_ours: u64,
    /// About other services than upgrades, and of use.
    pub(crate) served: u64,
    pub(crate) ignored: u64,
}

/// What a message to a device is made of.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    pub(crate) device_id: DeviceId,
    pub(crate) campaign: Arc<CampaignRow>,
    pub(crate) deployment_id: String,
    /// For a child, in a campaign that counts them: how many of its gateway's children are in it.
    pub(crate) siblings: Option<u32>,
}

/// What has to be loaded for these inputs.
pub(crate) fn wanted(inputs: &[Input], due: Option<ServiceTime>) -> Wanted {
    let mut devices = BTreeSet::new();
    let mut device_ids = BTreeSet::new();
    let mut registering = BTreeSet::new();
    for input in inputs {
        match input {
            Input::Uplink { session, uplink, .. } => {
                devices.insert(session.device);
                if let UplinkReading::Told(told) = &uplink.reading {
                    services::wanted_for(told, &mut device_ids);
                }
                if let UplinkReading::Event(Ok(message)) = &uplink.reading {
                    if let Subject::Named(named) = &message.subject
                        && *named != session.device_id
                    {
                        device_ids.insert(named.clone());
                    }
                    services::wanted(message, &mut device_ids, &mut registering);
                }
            }
            Input::Opened { device, .. }
            | Input::Reachable { device, .. }
            | Input::Lost { device }
            | Input::Consider { device }
            | Input::Fetched { device, .. }
            | Input::Due { device } => {
                devices.insert(*device);
            }
            Input::Said(_) => {}
        }
    }
    Wanted {
        devices: devices.into_iter().collect(),
        device_ids: device_ids.into_iter().collect(),
        registering: registering.into_iter().collect(),
        due: due.map(|now| (now, DUE_PER_BATCH)),
        latest: None,
    }
}

/// What follows from these inputs. May be called again with the same arguments.
pub(crate) fn decide(loaded: Loaded, inputs: &[Input], around: &Around<'_>) -> (Changes, Answer) {
    let mut desk = Desk::new(loaded, around);
    for input in inputs {
        desk.take_in(input);
    }
    desk.wake();
    desk.let_go();
    desk.finish()
}

/// A device on the desk.
struct Folder {
    view: DeviceView,
    reach: Option<Reach>,
    /// `view.unfinished`, changed in place; what finishes stays until the end of the batch.
    rows: Vec<DeploymentRow>,
    last_finished: Option<DeploymentRow>,
    changed: BTreeSet<DeploymentKey>,
    state_changed: bool,
    /// Something happened that may let the device go.
    consider: bool,
}

/// A campaign on the desk.
struct Binder {
    row: Arc<CampaignRow>,
    facts: Vec<PackageFacts>,
    counts: Counts,
}

struct Desk<'a> {
    around: &'a Around<'a>,
    folders: BTreeMap<DeviceKey, Folder>,
    /// Devices that were deleted in this batch: nothing happens to them any more.
    gone: BTreeMap<DeviceKey, Folder>,
    by_id: BTreeMap<DeviceId, DeviceKey>,
    registrable: BTreeMap<Registering, Registrable>,
    siblings: BTreeMap<(CampaignKey, DeviceKey), u32>,
    binders: BTreeMap<CampaignKey, Binder>,
    due: Vec<DeploymentKey>,
    /// Where the questions to children that changed in this batch are open now.
    asked_through: BTreeMap<DeploymentKey, Option<Reach>>,
    /// How many more, or fewer, are open through a session than before the batch.
    asked_more: BTreeMap<Reach, isize>,
    changes: Changes,
    answer: Answer,
}

impl<'a> Desk<'a> {
    fn new(loaded: Loaded, around: &'a Around<'a>) -> Desk<'a> {
        let folders = loaded.devices.into_iter().map(|(key, mut view)| {
            let rows = std::mem::take(&mut view.unfinished);
            let last_finished = view.last_finished.take();
            let reach = around.sessions.reach(&view.row, &view.state);
            let folder = Folder {
                view,
                reach,
                rows,
                last_finished,
                changed: BTreeSet::new(),
                state_changed: false,
                consider: false,
            };
            (key, folder)
        });
        let binders = loaded.campaigns.into_iter().map(|(key, (row, counts))| {
            let facts = row.packages.iter().map(|p| facts_of(p)).collect();
            (key, Binder { row, facts, counts })
        });
        Desk {
            around,
            folders: folders.collect(),
            gone: BTreeMap::new(),
            by_id: loaded.by_id,
            registrable: loaded.registrable,
            siblings: loaded.siblings,
            binders: binders.collect(),
            due: loaded.due,
            asked_through: BTreeMap::new(),
            asked_more: BTreeMap::new(),
            changes: Changes::default(),
            answer: Answer::default(),
        }
    }

    fn take_in(&mut self, input: &Input) {
        match input {
            Input::Uplink { session, uplink, received_at } => match &uplink.reading {
                UplinkReading::Event(Ok(message)) => {
                    self.hear(session, message, &uplink.payload, *received_at);
                }
                UplinkReading::Event(Err(error)) => {
                    self.answer.tally.rejected += 1;
                    let reading = Reading::unreadable(error);
                    self.keep_rejected(session.device, &uplink.payload, *received_at, reading);
                }
                UplinkReading::Told(told) => self.told(session, told, *received_at),
                UplinkReading::Ignored => self.answer.tally.ignored += 1,
                UplinkReading::ForeignTopic(topic) => {
                    self.answer.tally.not_ours += 1;
                    self.audit(session, "foreign_topic_refused", topic);
                }
            },
            Input::Opened { device, epoch, at } => {
                if let Some(folder) = self.folders.get_mut(device) {
                    folder.view.state.epoch = Some(*epoch);
                    folder.view.state.connected_at = Some(*at);
                    folder.state_changed = true;
                    self.changes.silenced.push((*device, *epoch));
                }
            }
            Input::Reachable { device, epoch } => self.reachable(*device, *epoch),
            Input::Lost { device } => self.lost(*device),
            Input::Consider { device } => {
                if let Some(folder) = self.folders.get_mut(device) {
                    folder.consider = true;
                }
            }
            Input::Due { device } => {
                if let Some(folder) = self.folders.get_mut(device) {
                    folder.consider = true;
                }
                for index in 0..self.folders.get(device).map_or(0, |folder| folder.rows.len()) {
                    self.apply(*device, index, Event::Woken);
                }
            }
            Input::Fetched { device, deployment, attempt } => {
                self.fetched(*device, *deployment, Event::Fetched { attempt: *attempt });
            }
            Input::Said(line) => self.changes.said.push(*line),
        }
    }

    /// The device's package was served whole. The device may have been faster, and have ended the deployment.
    fn fetched(&mut self, device: DeviceKey, deployment: DeploymentKey, event: Event<'_>) {
        let Some(folder) = self.folders.get(&device) else { return };
        if let Some(index) = folder.rows.iter().position(|row| row.key == deployment) {
            self.apply(device, index, event);
        } else if folder.last_finished.as_ref().is_some_and(|row| row.key == deployment) {
            self.late(device, event);
        }
    }

    // --- What a device says ---------------------------------------------------------------------------------

    /// One message from a session, about its device or about a child of it.
    fn hear(&mut self, session: &SessionRef, message: &Uplink, payload: &bytes::Bytes, at: WallTime) {
        let (sender, sender_id) = (session.device, &session.device_id);
        let subject = match self.subject(sender, sender_id, message) {
            Ok(subject) => subject,
            Err(why) => {
                self.answer.tally.not_ours += 1;
                if let Subject::Named(named) = &message.subject {
                    self.audit(session, "foreign_child_refused", named.as_str());
                }
                if is_kept(message) {
                    self.keep_rejected(sender, payload, at, Reading::refused(message, why));
                }
                return;
            }
        };
        if subject != sender && message.events.iter().any(|event| is_about_upgrades(&event.body)) {
            // Whatever was said of it before: it speaks.
            self.note_there(subject, true);
        }
        let served = self.serve(session, subject, message, at);
        if !is_kept(message) {
            let tally = &mut self.answer.tally;
            *(if served { &mut tally.served } else { &mut tally.ignored }) += 1;
            return;
        }
        let mut reading = Reading::of(message);
        let mut about = None;
        for event in &message.events {
            let then = match &event.body {
                EventBody::VersionReport(report) => Some(self.version_reported(subject, report, &mut about)),
                EventBody::ProgressReport(report) => Some(self.progressed(subject, report, &mut about)),
                EventBody::OtherService { .. }
                | EventBody::UnknownOta { .. }
                | EventBody::Nameless
                | EventBody::Rejected { .. } => None,
            };
            reading.event(event, then);
        }
        self.answer.tally.kept += 1;
        self.keep(subject, about, payload, at, reading.into_json());
    }

    /// Whom the message is about, or why it may not be about that device.
    fn subject(
        &self,
        sender: DeviceKey,
        sender_id: &DeviceId,
        message: &Uplink,
    ) -> Result<DeviceKey, String> {
        match &message.subject {
            Subject::Connected => Ok(sender),
            Subject::Named(named) if named == sender_id => Ok(sender),
            Subject::Named(named) => {
                let child = self.by_id.get(named).filter(|key| {
                    self.folders.get(*key).is_some_and(|folder| folder.view.row.gateway == Some(sender))
                });
                child.copied().ok_or_else(|| {
                    format!("object_device_id {named} is neither {sender_id} nor a child of it; nothing was changed")
                })
            }
            Subject::Unusable(found) => {
                Err(format!("object_device_id {found} is no device id; nothing was changed"))
            }
        }
    }

    fn version_reported(
        &mut self,
        device: DeviceKey,
        report: &VersionReport,
        about: &mut Option<DeploymentKey>,
    ) -> &'static str {
        let Some(folder) = self.folders.get_mut(&device) else { return "device_gone" };
        for (slot, version) in [
            (&mut folder.view.state.firmware_version, &report.fw_version),
            (&mut folder.view.state.software_version, &report.sw_version),
        ] {
            if let Some(version) = version
                && slot.as_deref() != Some(version.as_str())
            {
                *slot = Some(version.as_str().to_owned());
                folder.state_changed = true;
            }
        }
        let at_work = folder.at_work();
        for index in 0..folder.rows.len() {
            self.apply(device, index, Event::VersionReported(report));
        }
        self.late(device, Event::VersionReported(report));
        match at_work.and_then(|index| self.folders.get(&device).map(|f| &f.rows[index])) {
            Some(row) => {
                *about = Some(row.key);
                row.deployment.label().name()
            }
            None => "noted",
        }
    }

    fn progressed(
        &mut self,
        device: DeviceKey,
        report: &otaru_proto::ProgressReport,
        about: &mut Option<DeploymentKey>,
    ) -> &'static str {
        let Some(folder) = self.folders.get(&device) else { return "device_gone" };
        let Some(index) = folder.at_work().or_else(|| folder.between_attempts()) else {
            // After the end it is kept as a note beside what is finished.
            *about = folder.rows.last().filter(|r| r.deployment.label().is_finished()).map(|r| r.key);
            *about = about.or(folder.last_finished.as_ref().map(|r| r.key));
            return if about.is_some() { "after_the_end" } else { "no_deployment" };
        };
        self.apply(device, index, Event::Progressed(report));
        let row = &self.folders[&device].rows[index];
        *about = Some(row.key);
        row.deployment.label().name()
    }

    /// Keeps a message word for word.
    fn keep(
        &mut self,
        device: DeviceKey,
        deployment: Option<DeploymentKey>,
        payload: &bytes::Bytes,
        received_at: WallTime,
        reading: String,
    ) {
        // A device may have been deleted while its session was still open.
        if self.folders.contains_key(&device) || self.gone.contains_key(&device) {
            let payload = payload.clone();
            self.changes.reports.push(NewReport { device, deployment, received_at, payload, reading });
        }
    }

    /// Keeps the beginning of a message that changed nothing, with its length if it was longer.
    fn keep_rejected(
        &mut self,
        device: DeviceKey,
        payload: &bytes::Bytes,
        at: WallTime,
        reading: Reading<'_>,
    ) {
        let kept = payload.slice(..payload.len().min(REJECTED_PAYLOAD_BYTES_MAX));
        let reading = if kept.len() < payload.len() { reading.cut_from(payload.len()) } else { reading };
        self.keep(device, None, &kept, at, reading.into_json());
    }

    /// Records who tried what. Bounded per session, for it costs a device nothing to try again.
    fn audit(&mut self, session: &SessionInner, action: &str, subject: &str) {
        if session.may_be_audited() {
            self.changes.audit.push((session.device_id.to_string(), action.to_owned(), subject.to_owned()));
        }
    }

    // --- What becomes of a link -----------------------------------------------------------------------------

    fn reachable(&mut self, device: DeviceKey, epoch: Epoch) {
        let Some(folder) = self.folders.get_mut(&device) else { return };
        if folder.reach.is_none_or(|reach| reach.epoch != epoch) {
            return; // that session is gone; a newer one settles by itself
        }
        folder.consider = true;
        if folder.view.children > 0 {
            self.answer.gateways.push((device, epoch));
        }
        for index in 0..self.folders[&device].rows.len() {
            self.apply(device, index, Event::Reconnected { epoch });
        }
    }

    fn lost(&mut self, device: DeviceKey) {
        let Some(folder) = self.folders.get(&device) else { return };
        if folder.reach.is_some() {
            return; // it is back already
        }
        for index in 0..folder.rows.len() {
            self.apply(device, index, Event::LinkLost);
        }
    }

    /// Looks at the deployments whose deadline has come.
    fn wake(&mut self) {
        let due: BTreeSet<DeploymentKey> = std::mem::take(&mut self.due).into_iter().collect();
        if due.is_empty() {
            return;
        }
        let mut found = Vec::with_capacity(due.len());
        for (device, folder) in &mut self.folders {
            for (index, row) in folder.rows.iter().enumerate() {
                if due.contains(&row.key) {
                    found.push((*device, index));
                    folder.consider = true;
                }
            }
        }
        for (device, index) in found {
            self.apply(device, index, Event::Woken);
        }
    }

    // --- Who goes next --------------------------------------------------------------------------------------

    /// Lets devices go that can be reached and are not at work.
    fn let_go(&mut self) {
        let devices: Vec<DeviceKey> = self
            .folders
            .iter()
            .filter(|(_, f)| f.consider && f.reach.is_some())
            .map(|(key, _)| *key)
            .collect();
        for device in devices {
            for index in 0..self.folders[&device].rows.len() {
                self.consider(device, index);
            }
        }
    }

    fn consider(&mut self, device: DeviceKey, index: usize) {
        let folder = &self.folders[&device];
        let row = &folder.rows[index];
        if row.deployment.label() != Label::Released {
            return;
        }
        let (campaign, Some(reach)) = (row.campaign, folder.reach) else { return };
        let Some(binder) = self.binders.get(&campaign) else { return };
        let busy = folder.at_work();
        let busy_with = busy
            .and_then(|at| self.binders.get(&folder.rows[at].campaign))
            .map(|binder| binder.row.campaign_id.clone());
        let facts = CampaignFacts {
            state: binder.row.state,
            started: binder.row.started,
            start_at: binder.row.start_at,
            policy: &binder.row.policy,
            slots_held: binder.counts.slots_held(),
            packages_ready: are_ready(&binder.row),
        };
        let candidate = Candidate { device, state: &row.deployment.state, reachable: true, busy_with };
        let plan = plan(&facts, &[candidate]);
        if !plan.start.is_empty() && reach.via != device && !self.may_ask_through(reach) {
            self.answer.held_for_answer.push((reach, device));
            return;
        }
        if plan.held_back.iter().any(|(_, why)| matches!(why, HeldBack::TooManyAtOnce { .. })) {
            self.answer.held_for_slot.push((campaign, device));
        }
        if !plan.conflict.is_empty() {
            self.apply(device, index, Event::Conflicted);
        }
        if !plan.supersede.is_empty()
            && let Some(busy) = busy
        {
            self.apply(device, busy, Event::Superseded);
        }
        if !plan.start.is_empty() {
            self.apply(device, index, Event::Start { epoch: reach.epoch });
        }
    }

    /// Whether one more child may be asked through this gateway now.
    fn may_ask_through(&self, reach: Reach) -> bool {
        let more = self.asked_more.get(&reach).copied().unwrap_or(0);
        self.around.questions.open(reach).saturating_add_signed(more) < CHILDREN_ASKED_MAX
    }

    // --- One step -------------------------------------------------------------------------------------------

    fn apply(&mut self, device: DeviceKey, index: usize, event: Event<'_>) {
        let reach = self.folders.get(&device).and_then(|folder| folder.reach);
        let may_ask = reach.is_none_or(|reach| reach.via == device || self.may_ask_through(reach));
        let Some(folder) = self.folders.get_mut(&device) else { return };
        let row = &mut folder.rows[index];
        let Some(binder) = self.binders.get_mut(&row.campaign) else { return };
        let served = self.around.downloads.seen(row.key, self.around.now);
        let seen = Circumstances {
            now: self.around.now,
            reachable: folder.reach.map(|reach| reach.epoch),
            packages: &binder.facts,
            policy: &binder.row.policy,
            open: is_open(&binder.row) && are_ready(&binder.row),
            cancelled: binder.row.state == CampaignState::Cancelled,
            may_ask,
            last_download: served.last,
            watched_since: served.watched_since,
        };
        let Step { deployment, say } = step(&row.deployment, event, &seen);
        if deployment != row.deployment {
            let (before, after) = (row.deployment.label(), deployment.label());
            let asked = (question_epoch(&row.deployment.state), question_epoch(&deployment.state));
            if folder.view.row.gateway.is_some() && asked.0 != asked.1 {
                let through =
                    folder.reach.filter(|reach| reach.via != device && Some(reach.epoch) == asked.1);
                let known = self.asked_through.get(&row.key).copied();
                let was = known.unwrap_or_else(|| self.around.questions.reach_of(row.key));
                for (reach, by) in [(was, -1), (through, 1)] {
                    if let Some(reach) = reach {
                        *self.asked_more.entry(reach).or_default() += by;
                    }
                }
                self.asked_through.insert(row.key, through);
                self.answer.questions.push((row.key, through));
            }
            row.deployment = deployment;
            row.updated_at = self.around.wall;
            folder.changed.insert(row.key);
            if before != after {
                self.answer.moved.insert(row.campaign);
                moved(binder, before, after);
                if before.holds_slot() && !after.holds_slot() {
                    folder.consider = true; // the device is free for another campaign
                }
                if let State::Finished(outcome) = &row.deployment.state {
                    self.answer.finished.push((row.key, outcome.kind));
                    let state = (&mut folder.view.state, &mut folder.state_changed);
                    note_version(state, outcome, row, &binder.facts);
                }
            }
        }
        if let (Some(word), Some(reach)) = (say, folder.reach) {
            let say = match word {
                Word::AskVersion => Say::AskVersion,
                Word::Notice(package) => Say::Notice { package, attempt: row.deployment.attempt },
            };
            let line = OutboxLine { device, via: reach.via, epoch: reach.epoch, deployment: row.key, say };
            self.changes.outbox.push(line);
        }
    }

    /// What arrives after the end, for the deployment that finished last: the truth, or the end of a download.
    fn late(&mut self, device: DeviceKey, event: Event<'_>) {
        let Some(folder) = self.folders.get_mut(&device) else { return };
        let Some(row) = &mut folder.last_finished else { return };
        let Some(binder) = self.binders.get(&row.campaign) else { return };
        let seen = Circumstances {
            now: self.around.now,
            reachable: None,
            packages: &binder.facts,
            policy: &binder.row.policy,
            open: is_open(&binder.row),
            cancelled: false, // what is finished is not cancelled
            last_download: None,
            may_ask: false,
            watched_since: None,
        };
        let after = step(&row.deployment, event, &seen).deployment;
        if after != row.deployment {
            row.deployment = after;
            row.updated_at = self.around.wall;
            self.changes.deployments.retain(|before| before.key != row.key); // the truth and a download, at once
            self.changes.deployments.push(row.clone());
        }
    }

    // --- The end of the batch -------------------------------------------------------------------------------

    fn finish(mut self) -> (Changes, Answer) {
        self.keep_what_is_still_true();
        for (key, folder) in self.folders.iter().chain(&self.gone) {
            if folder.state_changed {
                self.changes.devices.push((*key, folder.view.state.clone()));
            }
            let at_work = folder.at_work().is_some();
            let via = folder.reach.map_or(*key, |reach| reach.via);
            // A gateway stays at work when one of its children is done: others may not be.
            if (folder.consider || !folder.changed.is_empty()) && (at_work || via == *key) {
                self.answer.at_work.push((via, at_work));
            }
            self.changes
                .deployments
                .extend(folder.rows.iter().filter(|r| folder.changed.contains(&r.key)).cloned());
        }
        for (key, binder) in &self.binders {
            if let Some(limit) = binder.row.policy.slots.concurrency {
                let free = u64::from(limit).saturating_sub(binder.counts.slots_held());
                self.answer.free_slots.insert(*key, usize::try_from(free).unwrap_or(usize::MAX));
            }
            let runs = matches!(binder.row.state, CampaignState::Running | CampaignState::Paused);
            if runs && binder.row.filled && binder.counts.unfinished() == 0 {
                self.changes.ended.push(*key);
                self.answer.moved.insert(*key);
            }
        }
        (self.changes, self.answer)
    }

    /// Drops words that later events of the batch made untrue, and gathers what the others are made of.
    fn keep_what_is_still_true(&mut self) {
        let lines = std::mem::take(&mut self.changes.outbox);
        for line in lines {
            let Some(row) =
                self.folders.get(&line.device).and_then(|f| f.rows.iter().find(|r| r.key == line.deployment))
            else {
                continue;
            };
            if !is_still_true(&line, row) {
                continue;
            }
            let (Some(folder), Some(binder)) =
                (self.folders.get(&line.device), self.binders.get(&row.campaign))
            else {
                continue;
            };
            let siblings =
                folder.view.row.gateway.and_then(|gateway| self.siblings.get(&(row.campaign, gateway)));
            self.answer.spoken.push(Spoken {
                siblings: siblings.copied(),
                device_id: folder.view.row.device_id.clone(),
                campaign: binder.row.clone(),
                deployment_id: deployment_id(row.created_at, row.key),
            });
            self.changes.outbox.push(line);
        }
    }
}

impl Folder {
    /// The one deployment that is at work on the device.
    fn at_work(&self) -> Option<usize> {
        self.rows.iter().position(|row| row.deployment.label().holds_slot())
    }

    /// The deployment that is between two attempts: a report of the last one may still arrive.
    fn between_attempts(&self) -> Option<usize> {
        self.rows.iter().position(|row| match row.deployment.label() {
            Label::Waiting => true,
            Label::Released => row.deployment.attempt > 1,
            Label::Queued
            | Label::Asked
            | Label::Offered
            | Label::Running
            | Label::Confirming
            | Label::Finished(_) => false,
        })
    }
}

/// Whether an event is one that only something that is there can say.
fn is_about_upgrades(body: &EventBody) -> bool {
    matches!(body, EventBody::VersionReport(_) | EventBody::ProgressReport(_))
}

/// What deciding needs to know of a package.
pub(crate) fn facts_of(package: &otaru_store::PackageRow) -> PackageFacts {
    PackageFacts {
        package_id: package.package_id.clone(),
        product_id: package.product_id.clone(),
        kind: package.kind,
        version: package.version.clone(),
        source_versions: package.source_versions.clone(),
    }
}

/// The session in which a deployment's open question was asked.
fn question_epoch(state: &State) -> Option<Epoch> {
    match state {
        State::Asked { question, .. } => Some(question.epoch),
        State::Offered(underway) | State::Running(underway) | State::Confirming { underway, .. } => {
            underway.question.map(|question| question.epoch)
        }
        State::Queued | State::Released { .. } | State::Waiting { .. } | State::Finished(_) => None,
    }
}

/// Whether the bytes of all its packages are kept.
pub(crate) fn are_ready(campaign: &CampaignRow) -> bool {
    campaign.packages.iter().all(|package| package.content.is_ready())
}

/// Whether the campaign lets devices go now.
fn is_open(campaign: &CampaignRow) -> bool {
    match campaign.state {
        CampaignState::Running => true,
        CampaignState::Preparing => campaign.started,
        CampaignState::Draft
        | CampaignState::Scheduled
        | CampaignState::Paused
        | CampaignState::Finished
        | CampaignState::Cancelled => false,
    }
}

fn moved(binder: &mut Binder, before: Label, after: Label) {
    if let Some(count) = binder.counts.0.get_mut(&before) {
        *count = count.saturating_sub(1);
    }
    *binder.counts.0.entry(after).or_default() += 1;
}

/// A device that proved the wanted version by a report runs it. A failure's version is never taken.
fn note_version(
    (state, changed): (&mut otaru_store::DeviceState, &mut bool),
    outcome: &Outcome,
    row: &DeploymentRow,
    packages: &[PackageFacts],
) {
    if outcome.kind != OutcomeKind::Installed {
        return;
    }
    let package = row.deployment.package.and_then(|index| packages.get(usize::from(index)));
    if let Some(package) = package {
        let slot = match package.kind {
            PackageKind::Firmware => &mut state.firmware_version,
            PackageKind::Software => &mut state.software_version,
        };
        *slot = Some(package.version.clone());
        *changed = true;
    }
}

/// Whether a line of the outbox still says what the deployment, as it is now, wants said.
fn is_still_true(line: &OutboxLine, row: &DeploymentRow) -> bool {
    match line.say {
        Say::AskVersion => question_epoch(&row.deployment.state) == Some(line.epoch),
        Say::Notice { attempt, .. } => {
            row.deployment.attempt == attempt
                && row.deployment.underway().is_some_and(|underway| underway.told_in == line.epoch)
        }
    }
}
