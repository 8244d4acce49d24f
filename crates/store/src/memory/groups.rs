//! Groups of devices.

use std::collections::BTreeSet;

use otaru_core::WallTime;

use super::packages::after;
use super::tables::{Group, Tables};
use crate::error::StoreError;
use crate::limits::GROUPS_OF_DEVICE_MAX;
use crate::rows::*;
use crate::rules::{self, action};

impl Group {
    pub(super) fn shown(&self) -> GroupRow {
        GroupRow { members: self.members.len() as u64, ..self.row.clone() }
    }
}

impl Tables {
    pub(crate) fn create_group(
        &mut self,
        actor: &Actor,
        new: &NewGroup,
        now: WallTime,
    ) -> Result<GroupRow, StoreError> {
        self.check_project(actor)?;
        rules::group::check_room(self.groups.len() as u64)?;
        self.name_is_free(&new.name)?;
        if self.group_by_id(&new.group_id).is_some() {
            return Err(StoreError::Exists { what: "group", id: new.group_id.clone() });
        }
        self.last_group += 1;
        let row = GroupRow {
            key: GroupKey(self.last_group),
            group_id: new.group_id.clone(),
            name: new.name.clone(),
            description: new.description.clone(),
            members: 0,
            space: None,
            created_at: now,
        };
        self.groups.insert(row.key, Group { row: row.clone(), members: BTreeSet::new() });
        self.note(&actor.name, action::GROUP_CREATED, &new.group_id, now);
        Ok(row)
    }

    pub(crate) fn patch_group(
        &mut self,
        actor: &Actor,
        group_id: &str,
        patch: &GroupPatch,
        now: WallTime,
    ) -> Result<GroupRow, StoreError> {
        let key = self.group_of(actor, group_id)?;
        let before = self.groups[&key].row.clone();
        let name = patch.name.clone().unwrap_or_else(|| before.name.clone());
        let description = patch.description.clone().unwrap_or_else(|| before.description.clone());
        let after = GroupRow { name, description, ..before.clone() };
        if after != before {
            if after.name != before.name {
                self.name_is_free(&after.name)?;
            }
            if let Some(group) = self.groups.get_mut(&key) {
                group.row = after;
            }
            self.note(&actor.name, action::GROUP_CHANGED, group_id, now);
        }
        Ok(self.groups[&key].shown())
    }

    pub(crate) fn delete_group(
        &mut self,
        actor: &Actor,
        group_id: &str,
        now: WallTime,
    ) -> Result<GroupKey, StoreError> {
        let key = self.group_of(actor, group_id)?;
        let names = |targets: &Targets| matches!(targets, Targets::Groups(groups) if groups.contains(&key));
        let unfilled = self.campaigns.values().map(|campaign| &campaign.row);
        if let Some(row) =
            unfilled.filter(|row| !row.filled && !rules::is_over(row.state)).find(|row| names(&row.targets))
        {
            let by = format!("campaign {}, whose deployments are being made", row.campaign_id);
            return Err(StoreError::InUse { what: "group", id: group_id.to_owned(), by });
        }
        if let Some(group) = self.groups.remove(&key) {
            self.groups_leaving.insert(key, group.members);
        }
        self.note(&actor.name, action::GROUP_DELETED, group_id, now);
        Ok(key)
    }

    pub(crate) fn forget_members(&mut self, key: GroupKey, chunk: u32) -> Result<bool, StoreError> {
        let Some(members) = self.groups_leaving.get_mut(&key) else { return Ok(true) };
        let is_last = members.len() < chunk as usize;
        for _ in 0..chunk {
            members.pop_first();
        }
        if is_last {
            self.groups_leaving.remove(&key);
        }
        Ok(is_last)
    }

    pub(crate) fn add_members(
        &mut self,
        actor: &Actor,
        group_id: &str,
        devices: &[DeviceKey],
        now: WallTime,
    ) -> Result<u64, StoreError> {
        let key = self.group_of(actor, group_id)?;
        let members = &self.groups[&key].members;
        let added: BTreeSet<DeviceKey> = devices
            .iter()
            .copied()
            .filter(|device| self.live(*device).is_some() && !members.contains(device))
            .collect();
        rules::group::check_members(group_id, (members.len() + added.len()) as u64)?;
        for device in &added {
            let leaving = self.groups_leaving.values().filter(|members| members.contains(device)).count();
            let groups = (self.groups_with(*device).count() + leaving) as u64 + 1;
            if groups > GROUPS_OF_DEVICE_MAX {
                let device_id = self.live(*device).map(|device| device.row.device_id.to_string());
                return Err(rules::group::in_too_many(&device_id.unwrap_or_default(), groups));
            }
        }
        let count = added.len() as u64;
        if let Some(group) = self.groups.get_mut(&key) {
            group.members.extend(added);
        }
        if count > 0 {
            self.note(&actor.name, action::GROUP_MEMBERS_ADDED, &rules::group::moved(group_id, count), now);
        }
        Ok(count)
    }

    pub(crate) fn remove_members(
        &mut self,
        actor: &Actor,
        group_id: &str,
        devices: &[DeviceKey],
        now: WallTime,
    ) -> Result<u64, StoreError> {
        let key = self.group_of(actor, group_id)?;
        let Some(group) = self.groups.get_mut(&key) else { return Ok(0) };
        let count = devices.iter().filter(|device| group.members.remove(device)).count() as u64;
        if count > 0 {
            self.note(&actor.name, action::GROUP_MEMBERS_REMOVED, &rules::group::moved(group_id, count), now);
        }
        Ok(count)
    }

    /// A device that is deleted leaves its groups.
    pub(super) fn leave_groups(&mut self, device: DeviceKey) {
        let groups = self.groups.values_mut().map(|group| &mut group.members);
        groups.chain(self.groups_leaving.values_mut()).for_each(|members| {
            members.remove(&device);
        });
    }

    pub(super) fn group_by_id(&self, group_id: &str) -> Option<&Group> {
        self.groups.values().find(|group| group.row.group_id == group_id)
    }

    fn group_of(&self, actor: &Actor, group_id: &str) -> Result<GroupKey, StoreError> {
        let group = self.group_by_id(group_id).filter(|_| self.is_of(actor));
        group
            .map(|group| group.row.key)
            .ok_or_else(|| StoreError::Missing { what: "group", id: group_id.to_owned() })
    }

    fn name_is_free(&self, name: &str) -> Result<(), StoreError> {
        if self.groups.values().any(|group| group.row.name == name) {
            return Err(StoreError::Exists { what: "group name", id: name.to_owned() });
        }
        Ok(())
    }

    fn groups_with(&self, device: DeviceKey) -> impl Iterator<Item = &Group> {
        self.groups.values().filter(move |group| group.members.contains(&device))
    }

    pub(crate) fn group(&self, group_id: &str) -> Result<Option<GroupRow>, StoreError> {
        Ok(self.group_by_id(group_id).map(Group::shown))
    }

    pub(crate) fn groups(
        &self,
        name_part: Option<&str>,
        page: Page<GroupKey>,
    ) -> Result<Vec<GroupRow>, StoreError> {
        let part = name_part.map(str::to_ascii_lowercase);
        let named = |group: &&Group| {
            part.as_ref().is_none_or(|part| group.row.name.to_ascii_lowercase().contains(part))
        };
        let rest = self.groups.range(after(page.after)).map(|(_, group)| group);
        Ok(rest.filter(named).take(page.limit as usize).map(Group::shown).collect())
    }

    pub(crate) fn groups_of(&self, device: DeviceKey) -> Result<Vec<GroupRow>, StoreError> {
        Ok(self.groups_with(device).map(Group::shown).collect())
    }

    pub(crate) fn leaving_groups(&self) -> Result<Vec<GroupKey>, StoreError> {
        Ok(self.groups_leaving.keys().copied().collect())
    }
}
