//! The batch: load, decide, check, and only then change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use otaru_core::WallTime;
use otaru_core::campaign::CampaignState;
use otaru_proto::DeviceId;

use super::campaigns::{count, count_failure};
use super::tables::{Report, Tables, next_key};
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, Before, Remembered, RunWrite, Stored, Writes};
use crate::transact::{Changes, Committed, DeviceView, Loaded, Wanted};

impl Tables {
    pub(crate) fn transact<R>(
        &mut self,
        now: WallTime,
        wanted: &Wanted,
        decide: impl FnOnce(Loaded) -> (Changes, R),
    ) -> Result<Committed<R>, StoreError> {
        let loaded = self.load(wanted);
        let mut remembered = Remembered::of(&loaded, &*self);
        let (mut changes, answer) = rules::decide_or_say_why(decide, loaded)?;
        let next_report = ReportSeq(next_key(&self.reports, |seq| seq.0));
        let writes = rules::fold(&mut changes, &mut remembered, next_report)?;
        self.check(&writes, &changes)?;

        let runs = self.write(writes, now);
        let mut outbox = Vec::with_capacity(changes.outbox.len());
        for line in changes.outbox {
            self.last_outbox += 1;
            let seq = OutboxSeq(self.last_outbox);
            self.outbox.insert(seq, line.clone());
            outbox.push((seq, line));
        }
        for seq in changes.said {
            self.outbox.remove(&seq);
        }
        for (via, before) in changes.silenced {
            self.outbox.retain(|_, line| line.via != via || line.epoch >= before);
        }
        for event in changes.quarantined {
            self.keep_aside(event);
        }
        for (actor, action, subject) in changes.audit {
            self.note(&actor, &action, &subject, now);
        }
        for key in changes.reopened {
            if let Some(campaign) = self.campaigns.get_mut(&key) {
                rules::reopen_row(Arc::make_mut(&mut campaign.row));
            }
        }
        if let Some((action, progress)) = changes.action {
            self.note_progress(action, progress);
        }
        for key in changes.ended {
            if let Some(campaign) = self.campaigns.get_mut(&key)
                && !rules::is_over(campaign.row.state)
            {
                rules::move_row(Arc::make_mut(&mut campaign.row), CampaignState::Finished, None, now);
            }
        }
        self.write_notes(changes.notes);
        self.change_children(now, &changes.registered, &changes.deleted)?;
        Ok(Committed { answer, outbox, runs, next_wake: self.next_wake()? })
    }

    fn load(&self, wanted: &Wanted) -> Loaded {
        let mut loaded = Loaded::default();
        let mut keys: BTreeSet<DeviceKey> = wanted.devices.iter().copied().collect();
        for device_id in &wanted.device_ids {
            if let Some(key) = self.devices_by_id.get(device_id) {
                loaded.by_id.insert(device_id.clone(), *key);
                keys.insert(*key);
            }
        }
        for registering in &wanted.registering {
            loaded.registrable.insert(registering.clone(), self.registrable(registering));
        }
        if let Some((until, limit)) = wanted.due {
            let due = self.due_by_time.iter().take_while(|(at, _)| *at <= until);
            loaded.due = due.take(limit as usize).map(|(_, key)| *key).collect();
        }
        for key in &loaded.due {
            keys.extend(self.deployments.get(key).map(|row| row.device));
        }
        if let Some(latest) = &wanted.latest {
            loaded.latest = self.latest_runs(latest);
            keys.extend(loaded.latest.iter().map(|row| row.device));
            if let Some(campaign) = self.campaigns.get(&latest.campaign) {
                let seen = (Arc::clone(&campaign.row), campaign.counts.clone());
                loaded.campaigns.insert(latest.campaign, seen);
            }
        }
        for key in keys {
            let Some(device) = self.live(key) else { continue };
            // Of a campaign that was deleted, it is nobody's.
            let last_finished = device.state.last_finished.and_then(|key| self.deployments.get(&key));
            let last_finished = last_finished.filter(|row| self.campaigns.contains_key(&row.campaign));
            let view = DeviceView {
                row: Arc::clone(&device.row),
                state: device.state.clone(),
                unfinished: self.unfinished_of(key).cloned().collect(),
                last_finished: last_finished.cloned(),
                children: self.children_of(key).count() as u64,
                topology: device.topology.unsigned_abs(),
            };
            for row in view.unfinished.iter().chain(&view.last_finished) {
                if let Some(campaign) = self.campaigns.get(&row.campaign) {
                    let seen = || (Arc::clone(&campaign.row), campaign.counts.clone());
                    loaded.campaigns.entry(row.campaign).or_insert_with(seen);
                    if let Some(gateway) = view.row.gateway.filter(|_| campaign.row.policy.gateway_mode) {
                        let children = campaign.children.get(&gateway).copied().unwrap_or(0);
                        loaded.siblings.insert((row.campaign, gateway), children);
                    }
                }
            }
            loaded.devices.insert(key, view);
        }
        loaded
    }

    /// The rules that a database keeps by its indexes.
    fn check(&self, writes: &Writes, changes: &Changes) -> Result<(), StoreError> {
        let broken = |rule: String| Err(StoreError::Constraint(rule));
        let mut at_work: BTreeMap<DeviceKey, Option<DeploymentKey>> = BTreeMap::new();
        for write in &writes.deployments {
            let (device, key) = (write.row.device, write.row.key);
            let holder =
                at_work.entry(device).or_insert_with(|| self.at_work_by_device.get(&device).copied());
            match (write.label.holds_slot(), *holder) {
                (true, Some(other)) if other != key => {
                    return broken(format!("the device with key {} has two deployments at work", device.0));
                }
                (true, _) => *holder = Some(key),
                (false, Some(other)) if other == key => *holder = None,
                (false, _) => {}
            }
        }
        for ((campaign, label), by) in &writes.counters {
            let has = self.campaigns.get(campaign).map_or(0, |campaign| campaign.counts.of(*label));
            if has.checked_add_signed(*by).is_none() {
                return broken(format!("fewer than none of campaign {} are {}", campaign.0, label.name()));
            }
        }
        let later = |write: &&RunWrite| {
            let before = &write.before;
            self.deployments_by_device.contains_key(&(before.device, before.campaign, write.run))
        };
        if let Some(write) = writes.runs.iter().find(later) {
            return broken(format!("deployment {} has a further run already", write.previous.0));
        }
        let mut named = changes.ended.iter().chain(&changes.reopened);
        if let Some(key) = named.find(|key| !self.campaigns.contains_key(key)) {
            return broken(format!("there is no campaign with key {}", key.0));
        }
        self.check_children(writes, changes)?;
        let notes_nothing = changes.audit.is_empty()
            && changes.quarantined.is_empty()
            && changes.registered.is_empty()
            && changes.deleted.is_empty();
        if !self.has_project() && !notes_nothing {
            return broken("the store was not booted: there is no project".to_owned());
        }
        Ok(())
    }

    /// The rules of what is registered and taken out.
    fn check_children(&self, writes: &Writes, changes: &Changes) -> Result<(), StoreError> {
        let broken = |rule: String| Err(StoreError::Constraint(rule));
        let (mut ids, mut nodes) = (BTreeSet::new(), BTreeSet::new());
        for (_, new) in &changes.registered {
            let registering = Registering {
                device_id: new.device_id.clone(),
                node_id: new.node_id.clone(),
                product_id: new.product_id.clone(),
            };
            let is_new = ids.insert(&new.device_id) && nodes.insert((&new.product_id, &new.node_id));
            let gateway = new.gateway_id.as_ref().map(|gateway| self.device(gateway));
            let has_gateway = match gateway {
                None => true,
                Some(found) => found?.is_some_and(|gateway| gateway.row.gateway.is_none()),
            };
            if !is_new
                || !has_gateway
                || self.devices_by_id.contains_key(&new.device_id)
                || self.registrable(&registering) != Registrable::Free
            {
                return broken(format!("device {} cannot be registered", new.device_id));
            }
        }
        let mut gone = BTreeSet::new();
        for (_, device_id) in &changes.deleted {
            let Some(key) = self.devices_by_id.get(device_id).filter(|key| gone.insert(**key)) else {
                return broken(format!("there is no device {device_id} to be taken out"));
            };
            let ends = |row: &DeploymentRow| {
                writes.deployments.iter().any(|write| write.row.key == row.key && write.label.is_finished())
            };
            if !self.unfinished_of(*key).all(ends) || self.children_of(*key).next().is_some() {
                return broken(format!("device {device_id} is in use"));
            }
        }
        Ok(())
    }

    fn change_children(
        &mut self,
        now: WallTime,
        registered: &[(String, NewDevice)],
        deleted: &[(String, DeviceId)],
    ) -> Result<(), StoreError> {
        // Checked to be there if there is something to do.
        let project = ProjectKey(1);
        for (name, device) in registered {
            let actor = Actor { name: name.clone(), project };
            self.create_device(&actor, device, now).map_err(rules::broken_promise)?;
        }
        for (name, device_id) in deleted {
            let actor = Actor { name: name.clone(), project };
            self.delete_device(&actor, device_id, now).map_err(rules::broken_promise)?;
        }
        Ok(())
    }

    /// The keys of the further runs, in order.
    fn write(&mut self, writes: Writes, now: WallTime) -> Vec<DeploymentKey> {
        for write in writes.deployments {
            self.put_deployment(write.row);
        }
        let runs = writes.runs.into_iter().map(|run| self.put_run(run, now)).collect();
        for ((key, label), by) in writes.counters {
            if let Some(campaign) = self.campaigns.get_mut(&key) {
                count(&mut campaign.counts, label, by);
            }
        }
        for ((key, label, code), by) in writes.failures {
            if let Some(campaign) = self.campaigns.get_mut(&key) {
                count_failure(&mut campaign.failures, (label, code), by);
            }
        }
        for (seq, previous, report) in writes.reports {
            self.reports.insert(seq, Report { report, previous });
        }
        for (key, write) in writes.devices {
            let Some(device) = self.devices.get_mut(&key) else { continue };
            let old = &mut device.state;
            if let Some(new) = write.state {
                old.firmware_version = new.firmware_version;
                old.software_version = new.software_version;
                old.epoch = new.epoch;
                old.connected_at = new.connected_at;
                old.first_connected_at = old.first_connected_at.or(new.connected_at);
                old.there = new.there;
            }
            if let Some((seq, at)) = write.last_report {
                old.last_report = Some(seq);
                old.last_report_at = Some(at);
            }
            old.last_finished = write.last_finished.or(old.last_finished);
        }
        runs
    }
}

/// Answers the rules from the tables.
impl Stored for &Tables {
    fn deployment(&mut self, key: DeploymentKey) -> Result<Option<Before>, StoreError> {
        Ok(self.deployments.get(&key).map(Before::of))
    }
    fn last_report(&mut self, device: DeviceKey) -> Result<Option<Option<ReportSeq>>, StoreError> {
        Ok(self.live(device).map(|device| device.state.last_report))
    }
}
