//! What can be asked for applications: access keys, members that only they use, and lists that have the newest first.

use std::collections::BTreeMap;

use otaru_core::WallTime;
use otaru_core::campaign::CampaignState;
use otaru_proto::{DeviceId, PackageKind};

use super::Store;
use crate::error::StoreError;
use crate::rows::*;

/// Access keys.
impl Store {
    /// Keeps an access key.
    ///
    /// *Retry*: answers `Exists`.
    ///
    /// # Errors
    ///
    /// - `Exists`: the key is taken.
    pub async fn add_access_key(&self, actor: &Actor, row: AccessKeyRow) -> Result<(), StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| t.add_access_key(&actor, &row))
    }

    /// The access key with this name.
    pub async fn access_key(&self, access_key: &str) -> Result<Option<AccessKeyRow>, StoreError> {
        let access_key = access_key.to_owned();
        read!(self, |t| t.access_key(&access_key))
    }

    /// All access keys, oldest first.
    pub async fn access_keys(&self) -> Result<Vec<AccessKeyRow>, StoreError> {
        read!(self, |t| t.access_keys())
    }

    /// Forgets an access key of the actor's project.
    ///
    /// *Retry*: answers `Missing`.
    ///
    /// # Errors
    ///
    /// - `Missing`: there is none.
    pub async fn revoke_access_key(
        &self,
        actor: &Actor,
        access_key: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let (actor, access_key) = (actor.clone(), access_key.to_owned());
        write!(self, Small, |t| t.revoke_access_key(&actor, &access_key, now))
    }
}

/// Things with the members that applications gave them. Without members, each is as the operation of the same name.
impl Store {
    /// Makes a product in a resource space; see [`create_product`](Store::create_product).
    ///
    /// # Errors
    ///
    /// As there. `Missing`: the space.
    pub async fn create_product_with(
        &self,
        actor: &Actor,
        product_id: &str,
        name: &str,
        space: Option<SpaceKey>,
        members: String,
        now: WallTime,
    ) -> Result<ProductRow, StoreError> {
        let (actor, product_id, name) = (actor.clone(), product_id.to_owned(), name.to_owned());
        write!(self, Small, |t| {
            t.check_space(space)?;
            let row = t.create_product(&actor, &product_id, &name, now)?;
            t.put_members(Thing::Product(row.key), &members)?;
            t.place_product(row, space)
        })
    }

    /// Gives a product another name if given, and each member of the JSON object `members` in place of the one with the same
    /// name. The audit log has it if anything is another then.
    ///
    /// *Retry*: safe.
    ///
    /// # Errors
    ///
    /// - `Missing`: there is no such product.
    pub async fn patch_product(
        &self,
        actor: &Actor,
        product_id: &str,
        name: Option<&str>,
        members: Option<String>,
        now: WallTime,
    ) -> Result<ProductRow, StoreError> {
        let (actor, product_id, name) = (actor.clone(), product_id.to_owned(), name.map(str::to_owned));
        write!(self, Small, |t| {
            t.patch_product(&actor, &product_id, name.as_deref(), members.as_deref(), now)
        })
    }

    /// Deletes a product that no device, package or campaign has. Its id is free again.
    ///
    /// *Retry*: answers `Missing`.
    ///
    /// # Errors
    ///
    /// - `Missing`: there is no such product.
    /// - `InUse`: says by what.
    pub async fn delete_product(
        &self,
        actor: &Actor,
        product_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let (actor, product_id) = (actor.clone(), product_id.to_owned());
        write!(self, Small, |t| t.delete_product(&actor, &product_id, now))
    }

    /// Registers a device; see [`create_device`](Store::create_device).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn create_device_with(
        &self,
        actor: &Actor,
        device: NewDevice,
        members: String,
        now: WallTime,
    ) -> Result<DeviceRecord, StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| {
            let record = t.create_device(&actor, &device, now)?;
            t.put_members(Thing::Device(record.row.key), &members)?;
            Ok(record)
        })
    }

    /// Moves a child from its gateway to another one, as if it had left there and come here. Its deployments go on; what was
    /// heard of whether it is there is forgotten.
    ///
    /// *Retry*: safe; nothing is changed when it is there already.
    ///
    /// # Errors
    ///
    /// - `Missing`: `device`; `gateway`; `child`, the device is no child.
    /// - `ChildAsGateway`: the other one is itself a child.
    /// - `InUse`: it is at work in a campaign.
    pub async fn move_child(
        &self,
        actor: &Actor,
        device_id: &DeviceId,
        gateway_id: &DeviceId,
        now: WallTime,
    ) -> Result<Moved, StoreError> {
        let (actor, device_id, gateway_id) = (actor.clone(), device_id.clone(), gateway_id.clone());
        write!(self, Small, |t| t.move_child(&actor, &device_id, &gateway_id, now))
    }

    /// Makes a package; see [`create_package`](Store::create_package).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn create_package_with(
        &self,
        actor: &Actor,
        package: NewPackage,
        members: String,
        now: WallTime,
    ) -> Result<PackageRow, StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| {
            let row = t.create_package(&actor, &package, now)?;
            t.put_members(Thing::Package(row.key), &members)?;
            Ok(row)
        })
    }

    /// Makes a group in a resource space; see [`create_group`](Store::create_group).
    ///
    /// # Errors
    ///
    /// As there. `Missing`: the space.
    pub async fn create_group_with(
        &self,
        actor: &Actor,
        group: NewGroup,
        space: Option<SpaceKey>,
        members: String,
        now: WallTime,
    ) -> Result<GroupRow, StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| {
            t.check_space(space)?;
            let row = t.create_group(&actor, &group, now)?;
            t.put_members(Thing::Group(row.key), &members)?;
            t.place_group(row, space)
        })
    }

    /// Makes a campaign; see [`create_campaign`](Store::create_campaign).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn create_campaign_with(
        &self,
        actor: &Actor,
        campaign: NewCampaign,
        members: String,
        now: WallTime,
    ) -> Result<CampaignRow, StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| {
            let row = t.create_campaign(&actor, &campaign, now)?;
            t.put_members(Thing::Campaign(row.key), &members)?;
            Ok(row)
        })
    }

    /// What applications said about these; nothing where they said nothing.
    pub async fn members(&self, things: Vec<Thing>) -> Result<BTreeMap<Thing, String>, StoreError> {
        read!(self, |t| t.members(&things))
    }
}

/// Lists that have the newest first, each with how many there are in all; counting stops at
/// [`COUNTED_MAX`](crate::limits::COUNTED_MAX).
impl Store {
    /// Products, of this name if given.
    pub async fn newest_products(
        &self,
        spaces: Spaces,
        name: Option<String>,
        page: Newest<ProductKey>,
    ) -> Result<(Vec<ProductRow>, Total), StoreError> {
        read!(self, |t| t.newest_products(spaces, name.as_deref(), page))
    }

    /// Packages that `filter` takes.
    pub async fn newest_packages(
        &self,
        filter: NewestPackages,
        page: Newest<PackageKey>,
    ) -> Result<(Vec<PackageRow>, Total), StoreError> {
        read!(self, |t| t.newest_packages(&filter, page))
    }

    /// Groups, with this in their name if given.
    pub async fn newest_groups(
        &self,
        spaces: Spaces,
        name: Option<String>,
        page: Newest<GroupKey>,
    ) -> Result<(Vec<GroupRow>, Total), StoreError> {
        read!(self, |t| t.newest_groups(spaces, name.as_deref(), page))
    }

    /// Devices that `filter` takes.
    pub async fn newest_devices(
        &self,
        filter: NewestDevices,
        page: Newest<DeviceKey>,
    ) -> Result<(Vec<DeviceRecord>, Total), StoreError> {
        read!(self, |t| t.newest_devices(&filter, page))
    }

    /// Devices that `search` finds, each with which of its alternatives hold, the first in the lowest bit.
    ///
    /// An alternative that names a group, or a tag by key and value, costs what those have, where it is the only one; others
    /// may look at every device between those found, within the time limit of a reader.
    pub async fn search_devices(
        &self,
        search: DeviceSearch,
        page: SearchPage,
    ) -> Result<Vec<(DeviceRecord, u8)>, StoreError> {
        read!(self, |t| t.search_devices(&search, page))
    }

    /// How many devices `search` finds.
    pub async fn count_found_devices(&self, search: DeviceSearch) -> Result<Total, StoreError> {
        read!(self, |t| t.count_found_devices(&search))
    }

    /// Campaigns with packages of this kind, in one of these states if given.
    pub async fn newest_campaigns(
        &self,
        spaces: Spaces,
        kind: PackageKind,
        states: Option<Vec<CampaignState>>,
        page: Newest<CampaignKey>,
    ) -> Result<(Vec<(CampaignRow, Counts)>, Total), StoreError> {
        read!(self, |t| t.newest_campaigns(spaces, kind, states.as_deref(), page))
    }

    /// The newest campaign whose id is smaller than this one.
    pub async fn campaign_before(&self, campaign_id: &str) -> Result<Option<CampaignKey>, StoreError> {
        let campaign_id = campaign_id.to_owned();
        read!(self, |t| t.campaign_before(&campaign_id))
    }

    /// A campaign's deployments that `filter` takes by their labels; of each device the latest run. Costs what the page
    /// holds and what it skips, at any depth.
    pub async fn newest_deployments(
        &self,
        campaign: CampaignKey,
        filter: DeploymentFilter,
        page: Newest<DeploymentKey>,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        read!(self, |t| t.newest_deployments(campaign, &filter, page))
    }
}
