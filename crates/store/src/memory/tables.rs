//! The tables and their indexes, and what is simple about them: the run, tokens, logs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use otaru_core::deployment::Label;
use otaru_core::{ServiceTime, WallTime};
use otaru_proto::DeviceId;

use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, action};
use crate::transact::{NewReport, OutboxLine, QuarantinedEvent};

/// Everything that is remembered. What is called `by_…` is an index of what stands above it.
#[derive(Default)]
pub(crate) struct Tables {
    boots: i64,
    service_time: ServiceTime,
    last_seen: Option<WallTime>,
    project: Option<ProjectRow>,
    pub(super) key_mark: Option<KeyMark>,

    pub(super) products: BTreeMap<ProductKey, ProductRow>,
    pub(super) products_by_id: BTreeMap<String, ProductKey>,

    pub(super) devices: BTreeMap<DeviceKey, Device>,
    pub(super) devices_by_id: BTreeMap<DeviceId, DeviceKey>,
    pub(super) devices_by_node: BTreeMap<(ProductKey, String), DeviceKey>,
    pub(super) devices_by_gateway: BTreeSet<(DeviceKey, DeviceKey)>,

    pub(super) groups: BTreeMap<GroupKey, Group>,
    pub(super) last_group: i64,
    /// Deleted ones that still have members.
    pub(super) groups_leaving: BTreeMap<GroupKey, BTreeSet<DeviceKey>>,

    pub(super) artifacts: BTreeMap<String, ArtifactRow>,
    /// Since when each is out of use, unless a package has it.
    pub(super) artifacts_idle: BTreeMap<String, WallTime>,
    pub(super) packages: BTreeMap<PackageKey, Arc<PackageRow>>,
    /// Where the bytes of packages are that were not uploaded.
    pub(super) package_places: BTreeMap<PackageKey, ObjectPlace>,
    pub(super) last_package: i64,

    pub(super) spaces: BTreeMap<SpaceKey, SpaceRow>,
    pub(super) last_space: i64,

    pub(super) modules: BTreeMap<ModuleKey, ModuleRow>,
    pub(super) last_module: i64,

    pub(super) campaigns: BTreeMap<CampaignKey, Campaign>,
    pub(super) campaigns_by_id: BTreeMap<String, CampaignKey>,
    pub(super) last_campaign: i64,
    /// Deleted ones that still have deployments.
    pub(super) campaigns_leaving: BTreeSet<CampaignKey>,

    pub(super) deployments: BTreeMap<DeploymentKey, DeploymentRow>,
    pub(super) deployments_by_device: BTreeMap<(DeviceKey, CampaignKey, u32), DeploymentKey>,
    pub(super) deployments_by_label: BTreeSet<(CampaignKey, Label, DeploymentKey)>,
    pub(super) unfinished_by_device: BTreeSet<(DeviceKey, DeploymentKey)>,
    pub(super) at_work_by_device: BTreeMap<DeviceKey, DeploymentKey>,
    pub(super) last_deployment: i64,
    pub(super) due_by_time: BTreeSet<(ServiceTime, DeploymentKey)>,

    pub(super) actions: BTreeMap<ActionKey, ActionRow>,
    pub(super) last_action: i64,

    pub(super) reports: BTreeMap<ReportSeq, Report>,
    pub(super) outbox: BTreeMap<OutboxSeq, OutboxLine>,
    pub(super) last_outbox: i64,

    pub(super) sdk_versions: BTreeMap<DeviceKey, String>,
    pub(super) properties: BTreeMap<DeviceKey, BTreeMap<String, PropertyRow>>,
    pub(super) logs: BTreeMap<DeviceKey, BTreeMap<i64, LogRow>>,
    pub(super) last_log: i64,

    tokens: Vec<TokenRow>,
    pub(super) access_keys: Vec<AccessKeyRow>,
    pub(super) members: BTreeMap<Thing, String>,
    pub(super) pushes: super::pushes::Pushes,
    pub(super) audit: BTreeMap<i64, AuditRow>,
    last_audit: i64,
    pub(super) quarantine: BTreeMap<i64, QuarantinedEvent>,
    last_quarantined: i64,
}

/// A group; `row.members` is filled in where it is shown.
pub(super) struct Group {
    pub(super) row: GroupRow,
    pub(super) members: BTreeSet<DeviceKey>,
}

/// A device; a deleted one stays, so that its deployments keep its id.
pub(super) struct Device {
    pub(super) row: Arc<DeviceRow>,
    pub(super) state: DeviceState,
    pub(super) deleted: bool,
    /// As a gateway: grows with every child that comes or goes.
    pub(super) topology: i64,
    /// As a child: its gateway's topology version when it went.
    pub(super) departed: Option<i64>,
}

pub(super) struct Campaign {
    pub(super) row: Arc<CampaignRow>,
    pub(super) product: ProductKey,
    pub(super) counts: Counts,
    /// Its failures, by outcome and the code of the last report.
    pub(super) failures: BTreeMap<(Label, Option<i64>), u64>,
    /// How far its deployments are made: a place in the list of targets, or the last device's key.
    pub(super) fill_position: i64,
    /// How many children of a gateway it has.
    pub(super) children: BTreeMap<DeviceKey, u32>,
}

pub(super) struct Report {
    pub(super) report: NewReport,
    pub(super) previous: Option<ReportSeq>,
}

/// The key after the last of a table that nothing is deleted from.
pub(super) fn next_key<K: Copy + Ord, V>(table: &BTreeMap<K, V>, number: impl Fn(K) -> i64) -> i64 {
    table.last_key_value().map_or(1, |(last, _)| number(*last) + 1)
}

impl Tables {
    pub(crate) fn boot(&mut self, now: WallTime) -> Result<Boot, StoreError> {
        self.boots += 1;
        self.outbox.clear();
        // Without randomness, so that a seed replays.
        let project = self.project.get_or_insert_with(|| ProjectRow {
            key: ProjectKey(1),
            project_id: rules::project_id(now, [0; 6]),
        });
        Ok(Boot {
            number: self.boots,
            service_time: self.service_time,
            last_seen: self.last_seen,
            project: project.clone(),
        })
    }

    pub(crate) fn heartbeat(&mut self, service: ServiceTime, wall: WallTime) -> Result<(), StoreError> {
        self.service_time = service;
        self.last_seen = Some(wall);
        Ok(())
    }

    /// There is one project; whoever names another names nothing.
    pub(super) fn is_of(&self, actor: &Actor) -> bool {
        self.project.as_ref().is_some_and(|project| project.key == actor.project)
    }

    pub(super) fn check_project(&self, actor: &Actor) -> Result<(), StoreError> {
        if self.is_of(actor) {
            Ok(())
        } else {
            Err(StoreError::Constraint(format!("there is no project with key {}", actor.project.0)))
        }
    }

    pub(super) fn note(&mut self, actor: &str, action: &str, subject: &str, at: WallTime) {
        self.last_audit += 1;
        let row = AuditRow {
            seq: self.last_audit,
            at,
            actor: actor.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
        };
        self.audit.insert(row.seq, row);
    }

    pub(super) fn keep_aside(&mut self, event: QuarantinedEvent) {
        self.last_quarantined += 1;
        self.quarantine.insert(self.last_quarantined, event);
    }

    /// What the platform does by itself is noted in the default project.
    pub(super) fn has_project(&self) -> bool {
        self.project.is_some()
    }

    pub(crate) fn add_token(&mut self, actor: &Actor, token: &TokenRow) -> Result<(), StoreError> {
        self.check_project(actor)?;
        if self.tokens.iter().any(|known| known.token_id == token.token_id || known.hash == token.hash) {
            return Err(StoreError::Exists { what: "token", id: token.token_id.clone() });
        }
        self.tokens.push(token.clone());
        self.note(&actor.name, action::TOKEN_ADDED, &token.token_id, token.created_at);
        Ok(())
    }

    pub(crate) fn add_access_key(&mut self, actor: &Actor, new: &AccessKeyRow) -> Result<(), StoreError> {
        self.check_project(actor)?;
        if self.access_keys.iter().any(|known| known.access_key == new.access_key) {
            return Err(StoreError::Exists { what: "access key", id: new.access_key.clone() });
        }
        self.access_keys.push(new.clone());
        self.note(&actor.name, action::ACCESS_KEY_ADDED, &new.access_key, new.created_at);
        Ok(())
    }

    pub(crate) fn revoke_access_key(
        &mut self,
        actor: &Actor,
        access_key: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let at = self
            .access_keys
            .iter()
            .position(|row| row.access_key == access_key && row.project == actor.project)
            .ok_or_else(|| StoreError::Missing { what: "access key", id: access_key.to_owned() })?;
        self.access_keys.remove(at);
        self.note(&actor.name, action::ACCESS_KEY_REVOKED, access_key, now);
        Ok(())
    }

    pub(crate) fn access_key(&self, access_key: &str) -> Result<Option<AccessKeyRow>, StoreError> {
        Ok(self.access_keys.iter().find(|row| row.access_key == access_key).cloned())
    }

    pub(crate) fn access_keys(&self) -> Result<Vec<AccessKeyRow>, StoreError> {
        Ok(self.access_keys.clone())
    }

    pub(crate) fn revoke_token(
        &mut self,
        actor: &Actor,
        token_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let at = self
            .tokens
            .iter()
            .position(|token| token.token_id == token_id && token.project == actor.project)
            .ok_or_else(|| StoreError::Missing { what: "token", id: token_id.to_owned() })?;
        self.tokens.remove(at);
        self.note(&actor.name, action::TOKEN_REVOKED, token_id, now);
        Ok(())
    }

    pub(crate) fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        Ok(self.tokens.clone())
    }

    pub(crate) fn token_by_hash(&self, hash: &str) -> Result<Option<TokenRow>, StoreError> {
        Ok(self.tokens.iter().find(|token| token.hash == hash).cloned())
    }

    pub(crate) fn audit(&self, page: Page<i64>) -> Result<Vec<AuditRow>, StoreError> {
        let after = page.after.unwrap_or(i64::MAX);
        Ok(self.audit.range(..after).rev().take(page.limit as usize).map(|(_, row)| row.clone()).collect())
    }

    pub(crate) fn quarantined(&self, limit: u32) -> Result<Vec<QuarantinedRow>, StoreError> {
        let rows = self.quarantine.iter().rev().map(|(seq, event)| QuarantinedRow {
            seq: *seq,
            device_id: event
                .device
                .and_then(|key| self.devices.get(&key))
                .map(|device| device.row.device_id.clone()),
            at: event.at,
            payload: event.payload.to_vec(),
            error: event.error.clone(),
        });
        Ok(rows.take(limit as usize).collect())
    }

    pub(crate) fn outbox(&self, limit: u32) -> Result<Vec<(OutboxSeq, OutboxLine)>, StoreError> {
        Ok(self.outbox.iter().take(limit as usize).map(|(seq, line)| (*seq, line.clone())).collect())
    }

    pub(crate) fn next_wake(&self) -> Result<Option<ServiceTime>, StoreError> {
        Ok(self.due_by_time.first().map(|(at, _)| *at))
    }
}
