//! The batch: load, decide, write, in one transaction.
//!
//! Per device of a batch this costs two look-ups (its state, its unfinished deployments), a third if it has
//! finished one before, and two writes; per report one append. What rarely changes comes from the cache.
//!
//! Not here: the rules of what may be written (`rules::fold`).

use std::collections::BTreeSet;

use otaru_core::WallTime;
use otaru_proto::DeviceId;
use rusqlite::Connection;

use super::Tx;
use super::actions::latest_runs;
use super::campaigns::counts;
use super::columns::{Statements, to_json};
use super::deployments::{deployment_by_key, deployment_columns, deployment_row, next_wake};
use super::devices::{device_state, kept_device, key_of};
use super::history::say_columns;
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, Before, Remembered, Stored, Writes};
use crate::transact::{Changes, Committed, DeviceView, Loaded, OutboxLine, Wanted};

/// Those with a deadline at or before a time, earliest first.
pub(super) const DUE: &str = "SELECT key, device FROM deployment WHERE wake_at IS NOT NULL AND wake_at <= ?1
    ORDER BY wake_at, key LIMIT ?2";

/// What a device has to do, oldest first.
pub(super) const UNFINISHED: &str = concat!(
    "SELECT ",
    deployment_columns!(),
    " FROM deployment t WHERE t.device = ?1 AND ",
    unfinished!(),
    " ORDER BY t.key"
);

/// Writes a deployment that stays where it is: names no indexed column, so that the indexes are left alone.
pub(super) const WRITE_STAYING: &str = "UPDATE deployment SET body = ?2, updated_at = ?3 WHERE key = ?1";

/// Writes a deployment that lists and timers see elsewhere from now on.
pub(super) const WRITE_MOVING: &str =
    "UPDATE deployment SET result_code = ?2, body = ?3, updated_at = ?4, label = ?5,
    wake_at = ?6 WHERE key = ?1";

pub(super) const APPEND_REPORT: &str = "INSERT INTO report
    (seq, device, deployment, received_at, payload, reading, previous) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// Writes the narrow row; what is the store's own changes only when there is something new.
pub(super) const WRITE_STATE: &str = "UPDATE device_state SET firmware_version = ?2, software_version = ?3,
    epoch = ?4, connected_at = ?5, first_connected_at = coalesce(first_connected_at, ?5), last_report = coalesce(?6, last_report),
    last_report_at = coalesce(?7, last_report_at), last_finished = coalesce(?8, last_finished), there = ?9
    WHERE device = ?1";

/// Writes only what is the store's own.
const WRITE_OWN_STATE: &str = "UPDATE device_state SET last_report = coalesce(?2, last_report),
    last_report_at = coalesce(?3, last_report_at), last_finished = coalesce(?4, last_finished) WHERE device = ?1";

pub(super) const SILENCE: &str = "DELETE FROM outbox WHERE via = ?1 AND epoch < ?2";

impl Tx<'_> {
    pub(crate) fn transact<R>(
        &mut self,
        now: WallTime,
        wanted: &Wanted,
        decide: impl FnOnce(Loaded) -> (Changes, R),
    ) -> Result<Committed<R>, StoreError> {
        let loaded = self.load(wanted)?;
        let mut remembered = Remembered::of(&loaded, Table(self.conn));
        let (mut changes, answer) = rules::decide_or_say_why(decide, loaded)?;
        let writes = rules::fold(&mut changes, &mut remembered, ReportSeq(self.places.report))?;
        self.write_deployments(&writes)?;
        let runs = self.write_runs(&writes, now)?;
        self.write_reports(&writes)?;
        self.write_devices(&writes)?;
        let outbox = self.write_outbox(changes.outbox)?;
        self.forget_said(&changes.said, &changes.silenced)?;
        self.write_log(now, &changes.quarantined, &changes.audit)?;
        for campaign in changes.reopened {
            self.reopen_campaign(campaign)?;
        }
        if let Some((action, progress)) = changes.action {
            self.note_progress(action, progress)?;
        }
        for campaign in changes.ended {
            self.end_campaign(campaign, now)?;
        }
        self.write_notes(changes.notes)?;
        self.change_children(now, &changes.registered, &changes.deleted)?;
        Ok(Committed { answer, outbox, runs, next_wake: next_wake(self.conn)? })
    }

    fn load(&mut self, wanted: &Wanted) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        let mut keys: BTreeSet<DeviceKey> = wanted.devices.iter().copied().collect();
        for device_id in &wanted.device_ids {
            if let Some(key) = key_of(self.conn, device_id.as_str())? {
                loaded.by_id.insert(device_id.clone(), key);
                keys.insert(key);
            }
        }
        for registering in &wanted.registering {
            let registrable = self.registrable(registering)?;
            loaded.registrable.insert(registering.clone(), registrable);
        }
        if let Some((until, limit)) = wanted.due {
            let due: Vec<(DeploymentKey, DeviceKey)> =
                self.conn.all(DUE, (until.0, limit), |row| Ok((row.get(0)?, row.get(1)?)))?;
            for (deployment, device) in due {
                loaded.due.push(deployment);
                keys.insert(device);
            }
        }
        let mut campaigns = BTreeSet::new();
        if let Some(latest) = &wanted.latest {
            loaded.latest = latest_runs(self.conn, latest)?;
            keys.extend(loaded.latest.iter().map(|row| row.device));
            campaigns.extend(self.campaign_for_batch(latest.campaign)?.map(|row| row.key));
        }
        for key in keys {
            if let Some(view) = self.load_device(key)? {
                campaigns.extend(view.unfinished.iter().chain(&view.last_finished).map(|row| row.campaign));
                loaded.devices.insert(key, view);
            }
        }
        for key in campaigns {
            let row = self.campaign_for_batch(key)?.ok_or_else(|| StoreError::Corrupt {
                what: "deployment",
                problem: format!("it names campaign {}, which there is not", key.0),
            })?;
            if row.policy.gateway_mode {
                self.load_siblings(key, &mut loaded)?;
            }
            loaded.campaigns.insert(key, (row, counts(self.conn, key)?));
        }
        Ok(loaded)
    }

    /// How many children of the gateways concerned are in a campaign.
    fn load_siblings(&self, campaign: CampaignKey, loaded: &mut Loaded) -> Result<(), StoreError> {
        let gateways: BTreeSet<DeviceKey> = loaded
            .devices
            .values()
            .filter(|view| view.unfinished.iter().any(|row| row.campaign == campaign))
            .filter_map(|view| view.row.gateway)
            .collect();
        for gateway in gateways {
            let children = self.conn.one(
                "SELECT children FROM campaign_gateway WHERE campaign = ?1 AND gateway = ?2",
                (campaign, gateway),
                |row| row.get(0),
            )?;
            loaded.siblings.insert((campaign, gateway), children.unwrap_or(0));
        }
        Ok(())
    }

    fn load_device(&mut self, key: DeviceKey) -> Result<Option<DeviceView>, StoreError> {
        let kept = match self.cache.device(key) {
            Some(kept) => kept,
            None => match kept_device(self.conn, key)? {
                Some(kept) => {
                    self.cache.keep_device(kept.clone());
                    kept
                }
                None => return Ok(None),
            },
        };
        let state = self
            .conn
            .one(
                "SELECT firmware_version, software_version, last_report, last_report_at, epoch, connected_at,
                     last_finished, there, first_connected_at FROM device_state WHERE device = ?1",
                [key],
                |row| device_state(row, 0),
            )?
            .ok_or_else(|| StoreError::Corrupt {
                what: "device",
                problem: format!("the device with key {} has no state", key.0),
            })?;
        let unfinished = self.conn.all(UNFINISHED, [key], deployment_row)?;
        let mut last_finished = match state.last_finished {
            Some(deployment) => deployment_by_key(self.conn, deployment)?,
            None => None,
        };
        // Of a campaign that was deleted, it is nobody's.
        if let Some(row) = &last_finished
            && self.campaign_for_batch(row.campaign)?.is_none()
        {
            last_finished = None;
        }
        let super::columns::KeptDevice { row, children, topology } = kept;
        Ok(Some(DeviceView { row, state, unfinished, last_finished, children, topology }))
    }

    fn write_deployments(&mut self, writes: &Writes) -> Result<(), StoreError> {
        let mut stays = self.conn.statement(WRITE_STAYING)?;
        let mut moves = self.conn.statement(WRITE_MOVING)?;
        for write in &writes.deployments {
            let row = &write.row;
            let body = to_json(&row.deployment)?;
            if write.moves() {
                let wake_at = write.wake_at.map(|at| at.0);
                let code = write.code;
                moves.execute((row.key, code, &body, row.updated_at.0, write.label.name(), wake_at))?;
            } else {
                stays.execute((row.key, &body, row.updated_at.0))?;
            }
        }
        for ((campaign, label), by) in &writes.counters {
            self.count(*campaign, *label, *by)?;
        }
        for ((campaign, label, code), by) in &writes.failures {
            self.count_failure(*campaign, *label, *code, *by)?;
        }
        Ok(())
    }

    fn write_reports(&mut self, writes: &Writes) -> Result<(), StoreError> {
        let mut append = self.conn.statement(APPEND_REPORT)?;
        for (seq, previous, report) in &writes.reports {
            append.execute((
                seq,
                report.device,
                report.deployment,
                report.received_at.0,
                &report.payload[..],
                &report.reading,
                previous,
            ))?;
            self.places.report = seq.0 + 1;
        }
        Ok(())
    }

    fn write_devices(&mut self, writes: &Writes) -> Result<(), StoreError> {
        let mut whole = self.conn.statement(WRITE_STATE)?;
        let mut own = self.conn.statement(WRITE_OWN_STATE)?;
        for (key, write) in &writes.devices {
            let last_report = write.last_report.map(|(seq, _)| seq);
            let last_report_at = write.last_report.map(|(_, at)| at.0);
            match &write.state {
                Some(state) => whole.execute((
                    key,
                    &state.firmware_version,
                    &state.software_version,
                    state.epoch.map(|epoch| epoch.0),
                    state.connected_at.map(|at| at.0),
                    last_report,
                    last_report_at,
                    write.last_finished,
                    state.there,
                ))?,
                None => own.execute((key, last_report, last_report_at, write.last_finished))?,
            };
        }
        Ok(())
    }

    fn write_outbox(&mut self, lines: Vec<OutboxLine>) -> Result<Vec<(OutboxSeq, OutboxLine)>, StoreError> {
        let mut append = self.conn.statement(
            "INSERT INTO outbox (seq, device, via, epoch, deployment, say, package, attempt)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let mut placed = Vec::with_capacity(lines.len());
        for line in lines {
            let seq = OutboxSeq(self.places.outbox);
            let (word, package, attempt) = say_columns(line.say);
            append.execute((
                seq,
                line.device,
                line.via,
                line.epoch.0,
                line.deployment,
                word,
                package,
                attempt,
            ))?;
            self.places.outbox += 1;
            placed.push((seq, line));
        }
        Ok(placed)
    }

    fn forget_said(
        &mut self,
        said: &[OutboxSeq],
        silenced: &[(DeviceKey, otaru_core::Epoch)],
    ) -> Result<(), StoreError> {
        for seq in said {
            self.conn.run("DELETE FROM outbox WHERE seq = ?1", [seq])?;
        }
        for (via, before) in silenced {
            self.conn.run(SILENCE, (via, before.0))?;
        }
        Ok(())
    }

    /// Registers and takes out devices. What stands in the way was looked at in this transaction, so that whatever
    /// refuses here is a mistake of the decision.
    fn change_children(
        &mut self,
        now: WallTime,
        registered: &[(String, NewDevice)],
        deleted: &[(String, DeviceId)],
    ) -> Result<(), StoreError> {
        if registered.is_empty() && deleted.is_empty() {
            return Ok(());
        }
        let project = self.default_project()?;
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

    /// What the platform does by itself is noted in the default project.
    fn default_project(&self) -> Result<ProjectKey, StoreError> {
        self.conn
            .one("SELECT min(key) FROM project", [], |row| row.get::<_, Option<ProjectKey>>(0))?
            .flatten()
            .ok_or_else(|| StoreError::Constraint("the store was not booted: there is no project".to_owned()))
    }

    fn write_log(
        &mut self,
        now: WallTime,
        quarantined: &[crate::transact::QuarantinedEvent],
        audit: &[(String, String, String)],
    ) -> Result<(), StoreError> {
        if quarantined.is_empty() && audit.is_empty() {
            return Ok(());
        }
        let project = self.default_project()?;
        for event in quarantined {
            self.keep_aside(project, event)?;
        }
        for (actor, action, subject) in audit {
            self.note(&Actor { name: actor.clone(), project }, action, subject, now)?;
        }
        Ok(())
    }
}

/// Answers the rules from the tables.
struct Table<'c>(&'c Connection);

impl Stored for Table<'_> {
    fn deployment(&mut self, key: DeploymentKey) -> Result<Option<Before>, StoreError> {
        Ok(deployment_by_key(self.0, key)?.as_ref().map(Before::of))
    }
    fn last_report(&mut self, device: DeviceKey) -> Result<Option<Option<ReportSeq>>, StoreError> {
        self.0.one(
            "SELECT s.last_report FROM device d CROSS JOIN device_state s ON s.device = d.key
             WHERE d.key = ?1 AND d.deleted_at IS NULL",
            [device],
            |row| row.get(0),
        )
    }
}
