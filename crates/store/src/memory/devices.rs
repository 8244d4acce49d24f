//! Devices, and what they have said.

use std::collections::BTreeMap;
use std::sync::Arc;

use otaru_core::WallTime;
use otaru_proto::DeviceId;

use super::packages::after;
use super::tables::{Device, Report, Tables, next_key};
use crate::error::StoreError;
use crate::limits::REPORTS_LOOKED_AT;
use crate::rows::*;
use crate::rules::{self, action};

impl Tables {
    pub(crate) fn create_device(
        &mut self,
        actor: &Actor,
        new: &NewDevice,
        now: WallTime,
    ) -> Result<DeviceRecord, StoreError> {
        self.add_device(actor, new, now)?;
        self.note(&actor.name, action::DEVICE_CREATED, new.device_id.as_str(), now);
        self.registered(&new.device_id)
    }

    pub(crate) fn import_devices(
        &mut self,
        actor: &Actor,
        devices: &[NewDevice],
        now: WallTime,
    ) -> Result<Vec<Imported>, StoreError> {
        let mut became = Vec::with_capacity(devices.len());
        for new in devices {
            became.push(self.import_device(actor, new, now));
        }
        if let Some(subject) = rules::import_subject(devices, &became) {
            self.note(&actor.name, action::DEVICES_IMPORTED, &subject, now);
        }
        Ok(became)
    }

    fn import_device(&mut self, actor: &Actor, new: &NewDevice, now: WallTime) -> Imported {
        let gateway = match &new.gateway_id {
            Some(gateway_id) => self.gateway(gateway_id).ok(),
            None => None,
        };
        let names_what_is_there = new.gateway_id.is_none() || gateway.is_some();
        match self.devices_by_id.get(&new.device_id).and_then(|key| self.devices.get(key)) {
            Some(there) if names_what_is_there && self.product_of(actor, &new.product_id).is_ok() => {
                rules::found_there(&there.row, new, gateway)
            }
            _ => match self.add_device(actor, new, now) {
                Ok((key, joined)) => Imported::Created { key, joined: gateway.zip(joined) },
                Err(error) => Imported::Refused(error),
            },
        }
    }

    /// A device and all that belongs to it, with the version of its gateway's topology since.
    fn add_device(
        &mut self,
        actor: &Actor,
        new: &NewDevice,
        now: WallTime,
    ) -> Result<(DeviceKey, Option<i64>), StoreError> {
        let product = self.product_of(actor, &new.product_id)?;
        if self.devices_by_id.contains_key(&new.device_id) {
            return Err(StoreError::Exists { what: "device", id: new.device_id.to_string() });
        }
        let gateway = match &new.gateway_id {
            Some(gateway_id) => Some(self.gateway(gateway_id)?),
            None => None,
        };
        let node = (product, new.node_id.clone());
        if self.devices_by_node.contains_key(&node) {
            return Err(StoreError::Exists { what: "node_id", id: new.node_id.clone() });
        }
        let key = DeviceKey(next_key(&self.devices, |key| key.0));
        let joined = gateway.map(|gateway| self.topology_changed(gateway));
        let row = Arc::new(DeviceRow {
            key,
            device_id: new.device_id.clone(),
            node_id: new.node_id.clone(),
            product,
            product_id: new.product_id.clone(),
            gateway,
            name: new.name.clone(),
            tags: new.tags.clone(),
            auth: new.auth,
            sealed_secret: new.sealed_secret.clone(),
            fingerprint: new.fingerprint,
            frozen: false,
            created_at: now,
            joined,
        });
        let device =
            Device { row, state: DeviceState::default(), deleted: false, topology: 0, departed: None };
        self.devices.insert(key, device);
        self.devices_by_id.insert(new.device_id.clone(), key);
        self.devices_by_node.insert(node, key);
        if let Some(gateway) = gateway {
            self.devices_by_gateway.insert((gateway, key));
        }
        Ok((key, joined))
    }

    /// A child comes or goes. Answers with the gateway's topology version since.
    fn topology_changed(&mut self, gateway: DeviceKey) -> i64 {
        self.devices.get_mut(&gateway).map_or(0, |gateway| {
            gateway.topology += 1;
            gateway.topology
        })
    }

    pub(super) fn registrable(&self, registering: &Registering) -> Registrable {
        let Some(product) = self.products_by_id.get(&registering.product_id) else {
            return Registrable::NoProduct;
        };
        let taken = self.devices_by_node.contains_key(&(*product, registering.node_id.clone()));
        if taken { Registrable::NodeTaken } else { Registrable::Free }
    }

    pub(crate) fn topology_after(
        &self,
        gateway: DeviceKey,
        version: i64,
        limit: u32,
    ) -> Result<Topology, StoreError> {
        let now = self.devices.get(&gateway).map_or(0, |device| device.topology);
        let version = if version > now { 0 } else { version };
        let children = self.devices.values().filter(|device| device.row.gateway == Some(gateway));
        let mut changes: Vec<TopologyChange> = children
            .filter_map(|device| {
                let came = !device.deleted;
                let at = if came { device.row.joined } else { device.departed }?;
                let gateway_id = self.devices.get(&gateway).map(|device| device.row.device_id.clone());
                let child = DeviceRecord {
                    row: DeviceRow::clone(&device.row),
                    state: device.state.clone(),
                    gateway_id,
                };
                (at > version).then_some(TopologyChange { version: at, came, child })
            })
            .collect();
        changes.sort_by_key(|change| change.version);
        changes.truncate(limit as usize);
        Ok(Topology { version: now, changes })
    }

    /// The device that is to be a gateway.
    fn gateway(&self, gateway_id: &DeviceId) -> Result<DeviceKey, StoreError> {
        let missing = || StoreError::Missing { what: "gateway", id: gateway_id.to_string() };
        let record = self.device(gateway_id)?.ok_or_else(missing)?;
        match record.gateway_id {
            None => Ok(record.row.key),
            Some(its_gateway) => Err(StoreError::ChildAsGateway {
                gateway: gateway_id.to_string(),
                its_gateway: its_gateway.to_string(),
            }),
        }
    }

    fn registered(&self, device_id: &DeviceId) -> Result<DeviceRecord, StoreError> {
        self.device(device_id)?
            .ok_or_else(|| StoreError::Missing { what: "device", id: device_id.to_string() })
    }

    /// The device that an actor names; those of other projects do not exist for it.
    fn device_of(&self, actor: &Actor, device_id: &DeviceId) -> Result<DeviceRow, StoreError> {
        match self.registered(device_id) {
            Ok(record) if self.is_of(actor) => Ok(record.row),
            Ok(_) => Err(StoreError::Missing { what: "device", id: device_id.to_string() }),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn patch_device(
        &mut self,
        actor: &Actor,
        device_id: &DeviceId,
        patch: &DevicePatch,
        now: WallTime,
    ) -> Result<DeviceRecord, StoreError> {
        let mut row = self.device_of(actor, device_id)?;
        if let Some(change) = &patch.tags {
            row.tags = rules::tags_after(device_id, &row.tags, change)?;
        }
        if let Some(members) = &patch.members {
            self.merge_members(Thing::Device(row.key), members);
        }
        let patch = patch.clone();
        row.name = patch.name.unwrap_or(row.name);
        row.frozen = patch.frozen.unwrap_or(row.frozen);
        row.sealed_secret = patch.sealed_secret.or(row.sealed_secret);
        row.fingerprint = patch.fingerprint.unwrap_or(row.fingerprint);
        if let Some(device) = self.devices.get_mut(&row.key) {
            device.row = Arc::new(row);
        }
        self.note(&actor.name, action::DEVICE_CHANGED, device_id.as_str(), now);
        self.registered(device_id)
    }

    pub(crate) fn move_child(
        &mut self,
        actor: &Actor,
        device_id: &DeviceId,
        gateway_id: &DeviceId,
        now: WallTime,
    ) -> Result<Moved, StoreError> {
        let old = self.device_of(actor, device_id)?;
        let from = old.gateway.ok_or_else(|| rules::no_child(device_id))?;
        let to = self.gateway(gateway_id)?;
        if to == from {
            return Ok(Moved { record: self.registered(device_id)?, left: None, joined: None });
        }
        let at_work = self.at_work_by_device.get(&old.key).and_then(|key| self.deployments.get(key));
        if let Some(campaign) = at_work.and_then(|deployment| self.campaigns.get(&deployment.campaign)) {
            let by = format!("campaign {}", campaign.row.campaign_id);
            return Err(StoreError::InUse { what: "device", id: device_id.to_string(), by });
        }
        self.outbox.retain(|_, line| !(line.via == from && line.device == old.key));
        let left = self.topology_changed(from);
        // What the old gateway is told of: the row of a device that is gone.
        let gone = DeviceKey(next_key(&self.devices, |key| key.0));
        let row = DeviceRow {
            key: gone,
            sealed_secret: None,
            fingerprint: None,
            tags: BTreeMap::new(),
            name: None,
            joined: None,
            ..old.clone()
        };
        let device = Device {
            row: Arc::new(row),
            state: DeviceState::default(),
            deleted: true,
            topology: 0,
            departed: Some(left),
        };
        self.devices.insert(gone, device);
        let joined = self.topology_changed(to);
        self.devices_by_gateway.remove(&(from, old.key));
        self.devices_by_gateway.insert((to, old.key));
        if let Some(device) = self.devices.get_mut(&old.key) {
            device.row = Arc::new(DeviceRow { gateway: Some(to), joined: Some(joined), ..old });
            device.state.there = None;
        }
        self.note(&actor.name, action::DEVICE_MOVED, device_id.as_str(), now);
        let (left, joined) = (Some((from, left)), Some((to, joined)));
        Ok(Moved { record: self.registered(device_id)?, left, joined })
    }

    pub(crate) fn delete_device(
        &mut self,
        actor: &Actor,
        device_id: &DeviceId,
        now: WallTime,
    ) -> Result<Option<i64>, StoreError> {
        let mut row = self.device_of(actor, device_id)?;
        let key = row.key;
        let in_use = |by: String| StoreError::InUse { what: "device", id: device_id.to_string(), by };
        let unfinished = self.unfinished_of(key).next();
        if let Some(campaign) =
            unfinished.and_then(|deployment| self.campaigns.get(&deployment.campaign)).map(|c| &c.row)
        {
            return Err(in_use(format!("campaign {}", campaign.campaign_id)));
        }
        if let Some(child) = self.children_of(key).next().and_then(|child| self.devices.get(&child)) {
            return Err(in_use(format!("its child {}", child.row.device_id)));
        }
        self.devices_by_id.remove(device_id);
        self.devices_by_node.remove(&(row.product, row.node_id.clone()));
        let departed = row.gateway.map(|gateway| self.topology_changed(gateway));
        if let Some(gateway) = row.gateway {
            self.devices_by_gateway.remove(&(gateway, key));
        }
        self.forget_notes(key);
        self.leave_groups(key);
        self.outbox.retain(|_, line| line.via != key && line.device != key);
        row.sealed_secret = None;
        row.fingerprint = None;
        row.tags = BTreeMap::new();
        if let Some(device) = self.devices.get_mut(&key) {
            device.row = Arc::new(row);
            device.deleted = true;
            device.departed = departed;
        }
        self.note(&actor.name, action::DEVICE_DELETED, device_id.as_str(), now);
        Ok(departed)
    }

    pub(super) fn children_of(&self, gateway: DeviceKey) -> impl Iterator<Item = DeviceKey> {
        let all = (gateway, DeviceKey(i64::MIN))..=(gateway, DeviceKey(i64::MAX));
        self.devices_by_gateway.range(all).map(|(_, child)| *child)
    }

    /// A device that is registered and was not deleted.
    pub(super) fn live(&self, key: DeviceKey) -> Option<&Device> {
        self.devices.get(&key).filter(|device| !device.deleted)
    }

    pub(crate) fn device(&self, device_id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        match self.devices_by_id.get(device_id) {
            Some(key) => self.device_by_key(*key),
            None => Ok(None),
        }
    }

    pub(crate) fn device_by_key(&self, key: DeviceKey) -> Result<Option<DeviceRecord>, StoreError> {
        Ok(self.live(key).map(|device| DeviceRecord {
            row: DeviceRow::clone(&device.row),
            state: device.state.clone(),
            gateway_id: device
                .row
                .gateway
                .and_then(|gateway| self.devices.get(&gateway))
                .map(|gateway| gateway.row.device_id.clone()),
        }))
    }

    pub(crate) fn devices(
        &self,
        filter: &DeviceFilter,
        page: Page<DeviceKey>,
    ) -> Result<Vec<DeviceRecord>, StoreError> {
        let gateway = match &filter.gateway_id {
            Some(gateway_id) => match self.devices_by_id.get(gateway_id) {
                Some(key) => Some(*key),
                None => return Ok(Vec::new()),
            },
            None => None,
        };
        let group = match &filter.group_id {
            Some(group_id) => match self.group_by_id(group_id) {
                Some(group) => Some(&group.members),
                None => return Ok(Vec::new()),
            },
            None => None,
        };
        let wanted = |device: &Device| {
            let row = &device.row;
            !device.deleted
                && group.is_none_or(|members| members.contains(&row.key))
                && filter.product_id.as_ref().is_none_or(|product_id| row.product_id == *product_id)
                && gateway.is_none_or(|gateway| row.gateway == Some(gateway))
                && has_tags(row, &filter.tags)
        };
        let keys =
            self.devices.range(after(page.after)).filter(|(_, device)| wanted(device)).map(|(key, _)| *key);
        let mut records = Vec::new();
        for key in keys.take(page.limit as usize) {
            records.extend(self.device_by_key(key)?);
        }
        Ok(records)
    }

    pub(crate) fn connect_facts(&self, device_id: &DeviceId) -> Result<Option<ConnectFacts>, StoreError> {
        Ok(self.device(device_id)?.map(|DeviceRecord { row, .. }| ConnectFacts {
            is_gateway: self.children_of(row.key).next().is_some(),
            key: row.key,
            product_id: row.product_id,
            auth: row.auth,
            sealed_secret: row.sealed_secret,
            fingerprint: row.fingerprint,
            frozen: row.frozen,
            gateway: row.gateway,
        }))
    }

    pub(crate) fn keys_of(&self, device_ids: &[DeviceId]) -> Result<Vec<Option<KnownDevice>>, StoreError> {
        let known = device_ids.iter().map(|device_id| {
            let key = self.devices_by_id.get(device_id)?;
            let device = self.live(*key)?;
            Some(KnownDevice { key: *key, product_id: device.row.product_id.clone() })
        });
        Ok(known.collect())
    }

    pub(crate) fn children_with_work(
        &self,
        gateway: DeviceKey,
        after: Option<DeviceKey>,
        limit: u32,
    ) -> Result<Vec<DeviceKey>, StoreError> {
        let children = self.children_of(gateway).filter(|child| after.is_none_or(|after| *child > after));
        let working = children.filter(|child| self.unfinished_of(*child).next().is_some());
        Ok(working.take(limit as usize).collect())
    }

    pub(crate) fn reports(
        &self,
        device: DeviceKey,
        before: Option<ReportSeq>,
        limit: u32,
    ) -> Result<Vec<ReportRecord>, StoreError> {
        let walked = self.walk(device, before).take(limit as usize);
        Ok(walked.map(|(seq, found)| self.report_record(seq, found)).collect())
    }

    pub(crate) fn campaign_reports(
        &self,
        campaign: CampaignKey,
        device: DeviceKey,
        before: Option<ReportSeq>,
        limit: u32,
    ) -> Result<CampaignReports, StoreError> {
        let mut page = CampaignReports::default();
        for ((seq, found), looked_at) in self.walk(device, before).zip(1..) {
            let deployment = found.report.deployment.and_then(|key| self.deployments.get(&key));
            if deployment.is_some_and(|row| row.campaign == campaign) {
                page.reports.push(self.report_record(seq, found));
            }
            if page.reports.len() >= limit as usize || looked_at >= REPORTS_LOOKED_AT {
                page.before = found.previous.map(|_| seq);
                break;
            }
        }
        Ok(page)
    }

    /// The reports of a device, the newest first.
    fn walk(
        &self,
        device: DeviceKey,
        before: Option<ReportSeq>,
    ) -> impl Iterator<Item = (ReportSeq, &Report)> {
        let kept = move |seq: ReportSeq| {
            self.reports.get(&seq).filter(|kept| kept.report.device == device).map(|kept| (seq, kept))
        };
        let first = match before {
            Some(before) => kept(before).and_then(|(_, kept)| kept.previous),
            None => self.devices.get(&device).and_then(|device| device.state.last_report),
        };
        std::iter::successors(first.and_then(kept), move |(_, last)| last.previous.and_then(kept))
    }

    fn report_record(&self, seq: ReportSeq, found: &Report) -> ReportRecord {
        let deployment = found.report.deployment.and_then(|key| self.deployments.get(&key));
        let campaign = deployment.and_then(|deployment| self.campaigns.get(&deployment.campaign));
        ReportRecord {
            seq,
            received_at: found.report.received_at,
            payload: found.report.payload.to_vec(),
            reading: found.report.reading.clone(),
            campaign_id: campaign.map(|campaign| campaign.row.campaign_id.clone()),
        }
    }
}

pub(super) fn has_tags(row: &DeviceRow, tags: &BTreeMap<String, String>) -> bool {
    tags.iter().all(|(tag, value)| row.tags.get(tag) == Some(value))
}
