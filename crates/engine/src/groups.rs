//! Groups of devices: made, changed, and who is in them.
//!
//! Always true:
//! - A long list of members is moved chunk by chunk, between the batches of reports. Each chunk is stored whole or not at
//!   all; said again, the list does what is left.
//!
//! Not here: a campaign for groups (`campaigns`).

use std::collections::BTreeSet;

use otaru_core::WallTime;
use otaru_proto::DeviceId;
use otaru_store::{GroupKey, GroupPatch, GroupRow, NewGroup, Page, StoreError};

use crate::campaign_work::Work;
use crate::devices::{DeviceError, check_length, id_of};
use crate::driver::Engine;
use crate::errors::{Faulty, Kind};
use crate::limits::{DESCRIPTION_CHARS_MAX, FILL_CHUNK, LISTED_DEVICES_MAX, NAME_CHARS_MAX};
use crate::tokens::Operator;

/// A group that an operator asks for.
#[derive(Clone, Debug)]
pub struct GroupRequest {
    /// Without one it gets 24 hex digits.
    pub group_id: Option<String>,
    /// For people; unique.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
}

/// What became of a list of devices that were to join or leave a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembersMoved {
    /// How many joined, or left.
    pub changed: u64,
    /// How many were in it already, or were not in it.
    pub unchanged: u64,
    /// Those that are not registered, in their order.
    pub unknown: Vec<String>,
}

/// Why a group was not made, changed or found.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// There is none.
    #[error("there is no group {0}")]
    Unknown(String),
    /// No device at all.
    #[error("`device_ids` is empty; name at least one device")]
    NoDevices,
    /// A list that is too long.
    #[error("`device_ids` has {0} entries; up to 30000 are accepted, and further ones in another request")]
    TooManyDevices(usize),
    /// A member that is not accepted.
    #[error(transparent)]
    Request(#[from] DeviceError),
    /// Taken, in use, full; or try again later; or ours.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for GroupError {
    fn from(error: StoreError) -> GroupError {
        if let StoreError::Missing { what: "group", id } = error {
            GroupError::Unknown(id)
        } else {
            GroupError::Store(error)
        }
    }
}

impl Faulty for GroupError {
    fn code(&self) -> &'static str {
        match self {
            GroupError::Unknown(_) => "not_found",
            GroupError::NoDevices => "invalid",
            GroupError::TooManyDevices(_) => "too_many_devices",
            GroupError::Request(error) => error.code(),
            GroupError::Store(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            GroupError::Unknown(_) => Kind::NotFound,
            GroupError::NoDevices | GroupError::TooManyDevices(_) => Kind::Invalid,
            GroupError::Request(error) => error.kind(),
            GroupError::Store(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Makes a group with nobody in it. Without an id it gets 24 hex digits.
    ///
    /// # Errors
    ///
    /// `Request`: a member is not accepted. `Store`: `Exists`, the id or the name is taken; `Full`, there are enough.
    pub async fn create_group(&self, by: &Operator, request: GroupRequest) -> Result<GroupRow, GroupError> {
        let (group, now) = self.check_group(request)?;
        Ok(self.shared.store.create_group(&by.actor, group, now).await?)
    }

    /// A group that may be made, as far as can be said without the store; and the time.
    pub(crate) fn check_group(&self, request: GroupRequest) -> Result<(NewGroup, WallTime), GroupError> {
        let now = self.shared.clock.wall();
        let group_id = match request.group_id {
            Some(id) => id_of("group_id", &id)?.to_string(),
            None => self.shared.ids.make(now),
        };
        let (name, description) = (name_of(&request.name)?, description_of(&request.description)?);
        Ok((NewGroup { group_id, name, description }, now))
    }

    /// A group.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn group(&self, group_id: &str) -> Result<Option<GroupRow>, StoreError> {
        self.shared.store.group(group_id).await
    }

    /// Groups whose name contains `name_part`, the oldest first.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn groups(
        &self,
        name_part: Option<String>,
        page: Page<GroupKey>,
    ) -> Result<Vec<GroupRow>, StoreError> {
        self.shared.store.groups(name_part, page).await
    }

    /// Changes a group's name or description. Said again, nothing changes.
    ///
    /// # Errors
    ///
    /// `Unknown`; `Request`: a member is not accepted; `Store(Exists)`: the name is taken.
    pub async fn patch_group(
        &self,
        by: &Operator,
        group_id: &str,
        name: Option<String>,
        description: Option<String>,
    ) -> Result<GroupRow, GroupError> {
        let patch = GroupPatch {
            name: name.as_deref().map(name_of).transpose()?,
            description: description.as_deref().map(description_of).transpose()?,
        };
        let now = self.shared.clock.wall();
        Ok(self.shared.store.patch_group(&by.actor, group_id, patch, now).await?)
    }

    /// Deletes a group. Its devices stay, and so do the campaigns that were made for it.
    ///
    /// # Errors
    ///
    /// `Unknown`; `Store(InUse)`: the deployments of a campaign for it are being made.
    pub async fn delete_group(&self, by: &Operator, group_id: &str) -> Result<(), GroupError> {
        let shared = &self.shared;
        let key = shared.store.delete_group(&by.actor, group_id, shared.clock.wall()).await?;
        shared.campaign_work.add(Work::ForgetGroup(key));
        Ok(())
    }

    /// Puts devices into a group, up to [`LISTED_DEVICES_MAX`]; those that are not registered are named in the answer and
    /// do not disturb the others. May be said again.
    ///
    /// # Errors
    ///
    /// `Unknown`; `NoDevices`, `TooManyDevices`; `Store(Full)`: the group, or a device, has enough. Chunks of the list
    /// before that are stored.
    pub async fn add_members(
        &self,
        by: &Operator,
        group_id: &str,
        device_ids: &[String],
    ) -> Result<MembersMoved, GroupError> {
        self.move_members(by, group_id, device_ids, true).await
    }

    /// Takes devices out of a group, likewise.
    ///
    /// # Errors
    ///
    /// `Unknown`; `NoDevices`, `TooManyDevices`.
    pub async fn remove_members(
        &self,
        by: &Operator,
        group_id: &str,
        device_ids: &[String],
    ) -> Result<MembersMoved, GroupError> {
        self.move_members(by, group_id, device_ids, false).await
    }

    async fn move_members(
        &self,
        by: &Operator,
        group_id: &str,
        device_ids: &[String],
        join: bool,
    ) -> Result<MembersMoved, GroupError> {
        let store = &self.shared.store;
        if device_ids.is_empty() {
            return Err(GroupError::NoDevices);
        }
        if device_ids.len() > LISTED_DEVICES_MAX {
            return Err(GroupError::TooManyDevices(device_ids.len()));
        }
        if store.group(group_id).await?.is_none() {
            return Err(GroupError::Unknown(group_id.to_owned()));
        }
        let mut moved = MembersMoved { changed: 0, unchanged: 0, unknown: Vec::new() };
        let mut seen = BTreeSet::new();
        for chunk in device_ids.chunks(FILL_CHUNK as usize) {
            let parsed: Vec<Option<DeviceId>> = chunk.iter().map(|id| DeviceId::parse(id).ok()).collect();
            let usable: Vec<DeviceId> = parsed.iter().flatten().cloned().collect();
            let mut known = store.keys_of(&usable).await?.into_iter();
            let mut keys = Vec::with_capacity(chunk.len());
            for (id, parsed) in chunk.iter().zip(&parsed) {
                match parsed.as_ref().and_then(|_| known.next().flatten()) {
                    None => moved.unknown.push(id.clone()),
                    Some(device) if seen.insert(device.key) => keys.push(device.key),
                    Some(_) => {}
                }
            }
            let (asked, now) = (keys.len() as u64, self.shared.clock.wall());
            let changed = if join {
                store.add_members(&by.actor, group_id, keys, now).await?
            } else {
                store.remove_members(&by.actor, group_id, keys, now).await?
            };
            moved.changed += changed;
            moved.unchanged += asked - changed;
        }
        Ok(moved)
    }
}

fn name_of(name: &str) -> Result<String, DeviceError> {
    let name = name.trim().to_owned();
    check_length("name", &name, 1, NAME_CHARS_MAX, "1 to 256 beside spaces")?;
    Ok(name)
}

fn description_of(description: &str) -> Result<String, DeviceError> {
    let description = description.trim().to_owned();
    check_length("description", &description, 0, DESCRIPTION_CHARS_MAX, "up to 1024")?;
    Ok(description)
}
