//! Campaigns and their deployments, but for the batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use otaru_core::WallTime;
use otaru_core::campaign::CampaignState;
use otaru_core::deployment::{Deployment, Label};
use otaru_proto::DeviceId;

use super::devices::has_tags;
use super::packages::after;
use super::tables::{Campaign, Device, Tables};
use crate::error::StoreError;
use crate::limits::{CODES_MAX, COUNTED_MAX};
use crate::rows::*;
use crate::rules::{self, action};

pub(super) fn no_campaign(key: CampaignKey) -> StoreError {
    StoreError::Missing { what: "campaign", id: format!("with key {}", key.0) }
}

impl Tables {
    pub(crate) fn create_campaign(
        &mut self,
        actor: &Actor,
        new: &NewCampaign,
        now: WallTime,
    ) -> Result<CampaignRow, StoreError> {
        let product = self.product_of(actor, &new.product_id)?;
        if self.campaigns_by_id.contains_key(&new.campaign_id) {
            return Err(StoreError::Exists { what: "campaign", id: new.campaign_id.clone() });
        }
        let mut packages = Vec::with_capacity(new.packages.len());
        for key in &new.packages {
            let missing = || StoreError::Missing { what: "package", id: format!("with key {}", key.0) };
            packages.push(Arc::clone(self.packages.get(key).ok_or_else(missing)?));
        }
        if let Targets::Groups(groups) = &new.targets
            && let Some(key) = groups.iter().find(|group| !self.groups.contains_key(group))
        {
            return Err(StoreError::Missing { what: "group", id: format!("with key {}", key.0) });
        }
        self.last_campaign += 1;
        let key = CampaignKey(self.last_campaign);
        let row = CampaignRow {
            key,
            campaign_id: new.campaign_id.clone(),
            name: new.name.clone(),
            state: CampaignState::Preparing,
            started: new.started,
            filled: false,
            product_id: new.product_id.clone(),
            packages,
            policy: new.policy.clone(),
            targets: new.targets.clone(),
            created_at: now,
            start_at: new.start_at,
            started_at: new.started.then_some(now),
            finished_at: None,
            created_by: actor.name.clone(),
            ext_info: new.ext_info.clone(),
        };
        let campaign = Campaign {
            row: Arc::new(row.clone()),
            product,
            counts: Counts::default(),
            failures: BTreeMap::new(),
            fill_position: 0,
            children: BTreeMap::new(),
        };
        self.campaigns.insert(key, campaign);
        self.campaigns_by_id.insert(new.campaign_id.clone(), key);
        self.note(&actor.name, action::CAMPAIGN_CREATED, &new.campaign_id, now);
        Ok(row)
    }

    pub(crate) fn move_campaign(
        &mut self,
        actor: &Actor,
        key: CampaignKey,
        from: &[CampaignState],
        to: CampaignState,
        started: Option<bool>,
        now: WallTime,
    ) -> Result<Option<CampaignRow>, StoreError> {
        let campaign = self.campaigns.get_mut(&key).ok_or_else(|| no_campaign(key))?;
        if !from.contains(&campaign.row.state) {
            return Ok(None);
        }
        let row = Arc::make_mut(&mut campaign.row);
        let action = rules::move_row(row, to, started, now);
        let row = row.clone();
        self.note(&actor.name, action, &row.campaign_id, now);
        Ok(Some(row))
    }

    pub(crate) fn schedule_campaign(
        &mut self,
        actor: &Actor,
        key: CampaignKey,
        start_at: Option<WallTime>,
        now: WallTime,
    ) -> Result<Option<CampaignRow>, StoreError> {
        let campaign = self.campaigns.get_mut(&key).ok_or_else(|| no_campaign(key))?;
        let row = Arc::make_mut(&mut campaign.row);
        let Some(action) = rules::schedule_row(row, start_at) else { return Ok(None) };
        let row = row.clone();
        self.note(&actor.name, action, &row.campaign_id, now);
        Ok(Some(row))
    }

    pub(crate) fn start_due(
        &mut self,
        actor: &Actor,
        limit: u32,
        now: WallTime,
    ) -> Result<Vec<CampaignRow>, StoreError> {
        let scheduled = self.campaigns.iter().filter_map(|(key, one)| Some((one.row.start_at?, *key)));
        let mut due: Vec<(WallTime, CampaignKey)> = scheduled.filter(|(at, _)| *at <= now).collect();
        due.sort_unstable();
        let mut started = Vec::new();
        for (_, key) in due {
            if started.len() == limit as usize {
                break;
            }
            let Some(campaign) = self.campaigns.get_mut(&key) else { continue };
            if let Some(action) = rules::start_row_if_due(Arc::make_mut(&mut campaign.row), now) {
                let row = CampaignRow::clone(&campaign.row);
                self.note(&actor.name, action, &row.campaign_id, now);
                started.push(row);
            }
        }
        Ok(started)
    }

    pub(crate) fn next_start(&self) -> Result<Option<WallTime>, StoreError> {
        let waits = |campaign: &&Campaign| {
            let row = &campaign.row;
            !row.started && matches!(row.state, CampaignState::Preparing | CampaignState::Scheduled)
        };
        Ok(self.campaigns.values().filter(waits).filter_map(|campaign| campaign.row.start_at).min())
    }

    pub(crate) fn fill_campaign(
        &mut self,
        key: CampaignKey,
        chunk: u32,
        now: WallTime,
        initial: &Deployment,
        prefer: &[DeviceKey],
    ) -> Result<Filled, StoreError> {
        let campaign = self.campaigns.get_mut(&key).ok_or_else(|| no_campaign(key))?;
        if campaign.row.filled || rules::is_over(campaign.row.state) {
            Arc::make_mut(&mut campaign.row).filled = true;
            return Ok(Filled { added: Vec::new(), done: true });
        }
        let (targets, position) = (campaign.row.targets.clone(), campaign.fill_position);
        let mut added = Vec::new();
        let prefer = &prefer[..prefer.len().min(chunk as usize)];
        for device in prefer {
            if is_among(&targets, *device) && self.deploy(key, *device, initial, now) {
                added.push(*device);
            }
        }
        let left = (chunk as usize).saturating_sub(added.len());
        let (next, position, is_last) = self.next_targets(key, &targets, position, left);
        for device in next {
            if self.deploy(key, device, initial, now) {
                added.push(device);
            }
        }
        let gateways: Vec<DeviceKey> =
            added.iter().filter_map(|device| self.devices.get(device)?.row.gateway).collect();
        if let Some(campaign) = self.campaigns.get_mut(&key) {
            if campaign.row.policy.gateway_mode {
                for gateway in gateways {
                    *campaign.children.entry(gateway).or_default() += 1;
                }
            }
            campaign.fill_position = position;
            count(&mut campaign.counts, initial.label(), added.len() as i64);
            if is_last {
                Arc::make_mut(&mut campaign.row).filled = true;
            }
        }
        Ok(Filled { added, done: is_last })
    }

    /// The next devices that the campaign is for, where to go on, and whether there are no more.
    fn next_targets(
        &self,
        key: CampaignKey,
        targets: &Targets,
        position: i64,
        limit: usize,
    ) -> (Vec<DeviceKey>, i64, bool) {
        if let Targets::Devices(list) = targets {
            let begin = usize::try_from(position).unwrap_or(usize::MAX).min(list.len());
            let end = begin.saturating_add(limit).min(list.len());
            return (list[begin..end].to_vec(), end as i64, end == list.len());
        }
        let devices = self.devices.range(after(Some(DeviceKey(position))));
        let mut next: Vec<DeviceKey> = devices
            .map(|(device, _)| *device)
            .filter(|device| self.is_target(key, *device))
            .take(limit.saturating_add(1))
            .collect();
        let is_last = next.len() <= limit;
        next.truncate(limit);
        let position = next.last().map_or(position, |last| last.0);
        (next, position, is_last)
    }

    /// Whether a device is registered, of the campaign's product, and has the tags it asks for.
    fn is_target(&self, key: CampaignKey, device: DeviceKey) -> bool {
        let (Some(campaign), Some(device)) = (self.campaigns.get(&key), self.live(device)) else {
            return false;
        };
        let tagged = match &campaign.row.targets {
            Targets::Tags(tags) => has_tags(&device.row, tags),
            Targets::Groups(groups) => groups
                .iter()
                .any(|group| self.groups.get(group).is_some_and(|g| g.members.contains(&device.row.key))),
            Targets::Product | Targets::Devices(_) => true,
        };
        tagged && device.row.product == campaign.product
    }

    /// Makes a device's deployment; whether it is new.
    fn deploy(&mut self, key: CampaignKey, device: DeviceKey, initial: &Deployment, now: WallTime) -> bool {
        if !self.is_target(key, device) || self.deployments_by_device.contains_key(&(device, key, 1)) {
            return false;
        }
        let row = DeploymentRow {
            key: DeploymentKey(self.last_deployment + 1),
            campaign: key,
            device,
            run: 1,
            wave: 0,
            deployment: initial.clone(),
            created_at: now,
            updated_at: now,
        };
        self.put_deployment(row);
        true
    }

    /// Stores a deployment and keeps the indexes true; counters are the caller's.
    pub(super) fn put_deployment(&mut self, row: DeploymentRow) {
        let key = row.key;
        self.last_deployment = self.last_deployment.max(key.0);
        if let Some(old) = self.deployments.get(&key) {
            let label = old.deployment.label();
            self.deployments_by_label.remove(&(old.campaign, label, key));
            self.unfinished_by_device.remove(&(old.device, key));
            if label.holds_slot() {
                self.at_work_by_device.remove(&old.device);
            }
            if let Some(at) = old.deployment.wake_at() {
                self.due_by_time.remove(&(at, key));
            }
        }
        let label = row.deployment.label();
        let (device, campaign, run) = (row.device, row.campaign, row.run);
        self.deployments_by_device.insert((device, campaign, run), key);
        // Of a device's runs only the latest is in lists.
        let earlier = self.deployments_by_device.get(&(device, campaign, run.saturating_sub(1)));
        if let Some(replaced) = earlier.and_then(|key| self.deployments.get(key)) {
            let label = replaced.deployment.label();
            self.deployments_by_label.remove(&(campaign, label, replaced.key));
        }
        if !self.deployments_by_device.contains_key(&(device, campaign, run.saturating_add(1))) {
            self.deployments_by_label.insert((campaign, label, key));
        }
        if !label.is_finished() {
            self.unfinished_by_device.insert((row.device, key));
        }
        if label.holds_slot() {
            self.at_work_by_device.insert(row.device, key);
        }
        if let Some(at) = row.deployment.wake_at() {
            self.due_by_time.insert((at, key));
        }
        self.deployments.insert(key, row);
    }

    pub(crate) fn release_chunk(
        &mut self,
        key: CampaignKey,
        limit: u32,
        now: WallTime,
        released: &Deployment,
    ) -> Result<Released, StoreError> {
        if !self.campaigns.contains_key(&key) {
            return Err(no_campaign(key));
        }
        let moving: Vec<DeploymentKey> =
            self.labelled(key, Label::Queued, None).take(limit as usize).collect();
        let mut moved = Vec::with_capacity(moving.len());
        for deployment in &moving {
            if let Some(mut row) = self.deployments.get(deployment).cloned() {
                row.deployment = released.clone();
                row.updated_at = now;
                moved.push(row.device);
                self.put_deployment(row);
            }
        }
        if let Some(campaign) = self.campaigns.get_mut(&key) {
            count(&mut campaign.counts, Label::Queued, -(moved.len() as i64));
            count(&mut campaign.counts, released.label(), moved.len() as i64);
        }
        let done = self.labelled(key, Label::Queued, None).next().is_none();
        Ok(Released { moved, done })
    }

    fn labelled(
        &self,
        campaign: CampaignKey,
        label: Label,
        after: Option<DeploymentKey>,
    ) -> impl Iterator<Item = DeploymentKey> {
        let first = after.map_or(i64::MIN, |after| after.0.saturating_add(1));
        let all = (campaign, label, DeploymentKey(first))..=(campaign, label, DeploymentKey(i64::MAX));
        self.deployments_by_label.range(all).map(|(_, _, key)| *key)
    }

    /// A campaign's deployments that the filter takes, after `page.after`, at most `page.limit`, oldest first.
    pub(super) fn listed(
        &self,
        campaign: CampaignKey,
        filter: &DeploymentFilter,
        page: Page<DeploymentKey>,
    ) -> Vec<DeploymentKey> {
        let has_code = |key: &DeploymentKey| match &filter.codes {
            Some(codes) => self.deployments.get(key).is_some_and(|row| codes.contains(&rules::code_of(row))),
            None => true,
        };
        let limit = page.limit as usize;
        let mut keys = BTreeSet::new();
        for label in filter.taken() {
            keys.extend(self.labelled(campaign, label, page.after).filter(has_code).take(limit));
        }
        keys.into_iter().take(limit).collect()
    }

    pub(super) fn unfinished_of(&self, device: DeviceKey) -> impl Iterator<Item = &DeploymentRow> {
        let all = (device, DeploymentKey(i64::MIN))..=(device, DeploymentKey(i64::MAX));
        self.unfinished_by_device.range(all).filter_map(|(_, key)| self.deployments.get(key))
    }

    pub(crate) fn campaign(&self, campaign_id: &str) -> Result<Option<(CampaignRow, Counts)>, StoreError> {
        match self.campaigns_by_id.get(campaign_id) {
            Some(key) => self.campaign_by_key(*key),
            None => Ok(None),
        }
    }

    pub(crate) fn campaign_by_key(
        &self,
        key: CampaignKey,
    ) -> Result<Option<(CampaignRow, Counts)>, StoreError> {
        let found = self.campaigns.get(&key);
        Ok(found.map(shown))
    }

    pub(crate) fn campaigns(
        &self,
        filter: &CampaignFilter,
        page: Page<CampaignKey>,
    ) -> Result<Vec<(CampaignRow, Counts)>, StoreError> {
        let older = page.after.unwrap_or(CampaignKey(i64::MAX));
        let rows =
            self.campaigns.range(..older).rev().filter(|(_, campaign)| is_wanted(&campaign.row, filter));
        let page = rows.take(page.limit as usize);
        Ok(page.map(|(_, campaign)| shown(campaign)).collect())
    }

    pub(crate) fn count_campaigns(&self, filter: &CampaignFilter) -> Result<Total, StoreError> {
        let n = self.campaigns.values().filter(|campaign| is_wanted(&campaign.row, filter)).count() as u64;
        let most = u64::from(COUNTED_MAX);
        let is_capped = filter.name_part.is_some() && n > most;
        Ok(Total { n: if is_capped { most } else { n }, is_capped })
    }

    pub(crate) fn unfilled_campaigns(&self) -> Result<Vec<CampaignKey>, StoreError> {
        let unfilled = self.campaigns.iter().filter(|(_, campaign)| !campaign.row.filled);
        Ok(unfilled.map(|(key, _)| *key).collect())
    }

    pub(crate) fn recount(&self, campaign: CampaignKey) -> Result<Counts, StoreError> {
        let mut latest: BTreeMap<DeviceKey, (u32, Label)> = BTreeMap::new();
        for row in self.deployments.values().filter(|row| row.campaign == campaign) {
            let seen = latest.entry(row.device).or_insert((row.run, row.deployment.label()));
            if row.run > seen.0 {
                *seen = (row.run, row.deployment.label());
            }
        }
        let mut counts = Counts::default();
        for (_, label) in latest.into_values() {
            count(&mut counts, label, 1);
        }
        Ok(counts)
    }

    pub(crate) fn deployments(
        &self,
        campaign: CampaignKey,
        filter: &DeploymentFilter,
        page: Page<DeploymentKey>,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        if filter.codes.as_ref().is_some_and(|codes| codes.len() > CODES_MAX) {
            return Err(StoreError::Constraint(format!(
                "more than {CODES_MAX} result codes in one question"
            )));
        }
        let keys = self.listed(campaign, filter, page);
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            records.extend(self.deployment(key)?);
        }
        Ok(records)
    }

    pub(crate) fn results(
        &self,
        campaign: CampaignKey,
        filter: &DeploymentFilter,
        page: Page<DeploymentKey>,
    ) -> Result<Vec<ResultRecord>, StoreError> {
        let records = self.deployments(campaign, filter, page)?;
        let with_node = |record: DeploymentRecord| {
            let node_id = self.devices.get(&record.row.device)?.row.node_id.clone();
            Some(ResultRecord { record, node_id })
        };
        Ok(records.into_iter().filter_map(with_node).collect())
    }

    pub(crate) fn failures(
        &self,
        campaign: CampaignKey,
        limit: u32,
        examples: u32,
    ) -> Result<Vec<Failures>, StoreError> {
        let Some(found) = self.campaigns.get(&campaign) else { return Ok(Vec::new()) };
        let mut ways: Vec<_> = found.failures.iter().map(|((label, code), n)| (*label, *code, *n)).collect();
        ways.sort_by_key(|(label, code, n)| (std::cmp::Reverse(*n), label.name(), code.is_some(), *code));
        let mut groups = Vec::new();
        for (label, code, n) in ways.into_iter().take(limit as usize) {
            let has_code = |key: &DeploymentKey| {
                self.deployments.get(key).is_some_and(|row| rules::code_of(row) == code)
            };
            let keys: Vec<DeploymentKey> = self.labelled(campaign, label, None).filter(has_code).collect();
            let mut group = Failures { label, code, n, examples: Vec::new() };
            for key in keys.into_iter().rev().take(examples as usize) {
                group.examples.extend(self.deployment(key)?);
            }
            groups.push(group);
        }
        Ok(groups)
    }

    pub(crate) fn count_failures(
        &self,
        campaign: CampaignKey,
        filter: &DeploymentFilter,
    ) -> Result<u64, StoreError> {
        let Some(found) = self.campaigns.get(&campaign) else { return Ok(0) };
        let codes = filter.codes.iter().flatten();
        let of = |code: &Option<i64>| -> u64 {
            filter.taken().filter_map(|label| found.failures.get(&(label, *code))).sum()
        };
        Ok(codes.map(of).sum())
    }

    pub(crate) fn deployment(&self, key: DeploymentKey) -> Result<Option<DeploymentRecord>, StoreError> {
        let Some(row) = self.deployments.get(&key) else { return Ok(None) };
        let (Some(device), Some(campaign)) =
            (self.devices.get(&row.device), self.campaigns.get(&row.campaign))
        else {
            return Ok(None);
        };
        Ok(Some(DeploymentRecord {
            row: row.clone(),
            device_id: device.row.device_id.clone(),
            campaign_id: campaign.row.campaign_id.clone(),
        }))
    }

    pub(crate) fn deployment_of(
        &self,
        campaign: CampaignKey,
        device: DeviceKey,
    ) -> Result<Option<DeploymentRecord>, StoreError> {
        match self.latest_run(campaign, device) {
            Some(key) => self.deployment(key),
            None => Ok(None),
        }
    }

    pub(crate) fn runs(
        &self,
        campaign: CampaignKey,
        device: DeviceKey,
        limit: u32,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        let runs = (device, campaign, 0)..=(device, campaign, u32::MAX);
        let mut records = Vec::new();
        for (_, key) in self.deployments_by_device.range(runs).rev().take(limit as usize) {
            records.extend(self.deployment(*key)?);
        }
        Ok(records)
    }

    pub(crate) fn deployment_of_gone(
        &self,
        campaign: CampaignKey,
        device_id: &DeviceId,
    ) -> Result<Option<DeploymentRecord>, StoreError> {
        let was_called = |device: &Device| device.deleted && device.row.device_id == *device_id;
        let gone = self.devices.iter().filter(|(_, device)| was_called(device));
        let latest = gone.filter_map(|(key, _)| self.latest_run(campaign, *key)).max();
        latest.map_or(Ok(None), |key| self.deployment(key))
    }

    pub(crate) fn deployments_of_device(
        &self,
        device: DeviceKey,
        limit: u32,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        let all = (device, CampaignKey(i64::MIN), 0)..=(device, CampaignKey(i64::MAX), u32::MAX);
        let keys: BTreeSet<DeploymentKey> =
            self.deployments_by_device.range(all).map(|(_, key)| *key).collect();
        let mut records = Vec::new();
        for key in keys.into_iter().rev().take(limit as usize) {
            records.extend(self.deployment(key)?);
        }
        Ok(records)
    }
}

/// As it is read: without the list of its devices, if it has one.
fn shown(campaign: &Campaign) -> (CampaignRow, Counts) {
    let mut row = CampaignRow::clone(&campaign.row);
    if let Targets::Devices(list) = &mut row.targets {
        list.clear();
    }
    (row, campaign.counts.clone())
}

/// Whether everything that the filter asks for holds.
fn is_wanted(row: &CampaignRow, filter: &CampaignFilter) -> bool {
    filter.states.as_ref().is_none_or(|states| states.contains(&row.state))
        && filter.product_id.as_ref().is_none_or(|product_id| *product_id == row.product_id)
        && filter
            .name_part
            .as_ref()
            .is_none_or(|part| row.name.to_ascii_lowercase().contains(&part.to_ascii_lowercase()))
}

/// Moves one counter of failures; one that is zero is not there.
pub(super) fn count_failure(
    failures: &mut BTreeMap<(Label, Option<i64>), u64>,
    which: (Label, Option<i64>),
    by: i64,
) {
    let n = failures.get(&which).copied().unwrap_or(0).saturating_add_signed(by);
    if n == 0 {
        failures.remove(&which);
    } else {
        failures.insert(which, n);
    }
}

/// Moves one counter; a counter that is zero is not there.
pub(super) fn count(counts: &mut Counts, label: Label, by: i64) {
    let n = counts.of(label).saturating_add_signed(by);
    if n == 0 {
        counts.0.remove(&label);
    } else {
        counts.0.insert(label, n);
    }
}

/// Whether a device is on the list, where there is one; the rest is looked at with the device.
fn is_among(targets: &Targets, device: DeviceKey) -> bool {
    match targets {
        Targets::Devices(list) => list.contains(&device),
        Targets::Product | Targets::Tags(_) | Targets::Groups(_) => true,
    }
}
