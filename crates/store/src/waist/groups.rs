//! What can be asked of groups of devices.

use otaru_core::WallTime;

use super::Store;
use crate::error::StoreError;
use crate::rows::*;

/// Groups of devices.
impl Store {
    /// Makes a group in the actor's project.
    ///
    /// *Retry*: answers `Exists`.
    ///
    /// # Errors
    ///
    /// - `Exists`: `group`, the id is taken; `group name`, another group of the project has it.
    /// - `Full`: there are [`GROUPS_MAX`](crate::limits::GROUPS_MAX) groups.
    pub async fn create_group(
        &self,
        actor: &Actor,
        group: NewGroup,
        now: WallTime,
    ) -> Result<GroupRow, StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| t.create_group(&actor, &group, now))
    }

    /// The group with this id.
    pub async fn group(&self, group_id: &str) -> Result<Option<GroupRow>, StoreError> {
        let group_id = group_id.to_owned();
        read!(self, |t| t.group(&group_id))
    }

    /// A page of the groups whose name contains `name_part`, whatever the case of ASCII letters, oldest first.
    pub async fn groups(
        &self,
        name_part: Option<String>,
        page: Page<GroupKey>,
    ) -> Result<Vec<GroupRow>, StoreError> {
        read!(self, |t| t.groups(name_part.as_deref(), page))
    }

    /// The groups that a device is in, oldest first.
    pub async fn groups_of(&self, device: DeviceKey) -> Result<Vec<GroupRow>, StoreError> {
        read!(self, |t| t.groups_of(device))
    }

    /// Changes a group's name and description. Changing nothing leaves no line in the audit log.
    ///
    /// *Retry*: safe.
    ///
    /// # Errors
    ///
    /// - `Missing`: the group.
    /// - `Exists`: `group name`, another group of the project has it.
    pub async fn patch_group(
        &self,
        actor: &Actor,
        group_id: &str,
        patch: GroupPatch,
        now: WallTime,
    ) -> Result<GroupRow, StoreError> {
        let (actor, group_id) = (actor.clone(), group_id.to_owned());
        write!(self, Small, |t| t.patch_group(&actor, &group_id, &patch, now))
    }

    /// Deletes a group; its devices stay. Its members are taken away afterwards, with
    /// [`forget_members`](Store::forget_members); nobody sees them meanwhile.
    ///
    /// *Retry*: answers `Missing`.
    ///
    /// # Errors
    ///
    /// - `Missing`: the group.
    /// - `InUse`: the deployments of a campaign for it are still being made.
    pub async fn delete_group(
        &self,
        actor: &Actor,
        group_id: &str,
        now: WallTime,
    ) -> Result<GroupKey, StoreError> {
        let (actor, group_id) = (actor.clone(), group_id.to_owned());
        write!(self, Small, |t| t.delete_group(&actor, &group_id, now))
    }

    /// The deleted groups that still have members.
    pub async fn leaving_groups(&self) -> Result<Vec<GroupKey>, StoreError> {
        read!(self, |t| t.leaving_groups())
    }

    /// Takes away up to `chunk` members of a deleted group; `true` once there are none left.
    ///
    /// *Retry*: safe.
    pub async fn forget_members(&self, key: GroupKey, chunk: u32) -> Result<bool, StoreError> {
        write!(self, Large, |t| t.forget_members(key, chunk))
    }

    /// Puts devices into a group, all or none; how many of them were not in it. Those that are deleted are left out.
    ///
    /// *Retry*: safe; answers 0.
    ///
    /// # Errors
    ///
    /// - `Missing`: the group.
    /// - `Full`: the group would have more than [`GROUP_MEMBERS_MAX`](crate::limits::GROUP_MEMBERS_MAX) members, or a
    ///   device would be in more than [`GROUPS_OF_DEVICE_MAX`](crate::limits::GROUPS_OF_DEVICE_MAX) groups.
    pub async fn add_members(
        &self,
        actor: &Actor,
        group_id: &str,
        devices: Vec<DeviceKey>,
        now: WallTime,
    ) -> Result<u64, StoreError> {
        let (actor, group_id) = (actor.clone(), group_id.to_owned());
        write!(self, Large, |t| t.add_members(&actor, &group_id, &devices, now))
    }

    /// Takes devices out of a group; how many of them were in it.
    ///
    /// *Retry*: safe; answers 0.
    ///
    /// # Errors
    ///
    /// `Missing`: the group.
    pub async fn remove_members(
        &self,
        actor: &Actor,
        group_id: &str,
        devices: Vec<DeviceKey>,
        now: WallTime,
    ) -> Result<u64, StoreError> {
        let (actor, group_id) = (actor.clone(), group_id.to_owned());
        write!(self, Large, |t| t.remove_members(&actor, &group_id, &devices, now))
    }
}
