//! What the application API needs beside what the native one has: things with members that only applications use, and
//! lists that have the newest first.
//!
//! Always true:
//! - A thing and its members are stored together.
//! - Every rule is that of the operation without members.
//!
//! Not here: how any of it looks (`otaru-api`).

use std::collections::BTreeMap;

use otaru_core::campaign::CampaignState;
use otaru_proto::{DeviceId, PackageKind};
use otaru_store::{
    CampaignKey, CampaignRow, Counts, DeploymentFilter, DeploymentKey, DeviceKey, DeviceRecord, GroupKey,
    GroupRow, KnownDevice, Newest, NewestDevices, NewestPackages, PackageKey, PackageRow, ProductKey,
    ProductRow, StoreError, Thing, Total,
};

use crate::campaigns::{CampaignError, CampaignRequest};
use crate::devices::{CheckedDevice, DeviceError, DeviceRequest, RegisteredDevice, id_of, unknown_device};
use crate::driver::Engine;
use crate::groups::{GroupError, GroupRequest};
use crate::packages::{PackageError, PackageRequest};
use crate::tokens::Operator;
use crate::views::{DeploymentView, DeviceView};

/// Things with members.
impl Engine {
    /// As [`create_product`](Engine::create_product).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn create_product_with(
        &self,
        by: &Operator,
        product_id: Option<String>,
        name: &str,
        members: String,
    ) -> Result<ProductRow, DeviceError> {
        let now = self.shared.clock.wall();
        let (product_id, name) = self.check_product(product_id, name)?;
        Ok(self.shared.store.create_product_with(&by.actor, &product_id, &name, members, now).await?)
    }

    /// Gives a product another name, and other members if given. May be said again.
    ///
    /// # Errors
    ///
    /// `UnknownProduct`; `Length`.
    pub async fn patch_product(
        &self,
        by: &Operator,
        product_id: &str,
        name: &str,
        members: Option<String>,
    ) -> Result<ProductRow, DeviceError> {
        let now = self.shared.clock.wall();
        let (_, name) = self.check_product(None, name)?;
        let changed = self.shared.store.patch_product(&by.actor, product_id, &name, members, now).await;
        changed.map_err(|error| unknown_product(product_id, error))
    }

    /// Deletes a product that no device, package or campaign has.
    ///
    /// # Errors
    ///
    /// `UnknownProduct`. `Store(InUse)`: says by what.
    pub async fn delete_product(&self, by: &Operator, product_id: &str) -> Result<(), DeviceError> {
        let deleted = self.shared.store.delete_product(&by.actor, product_id, self.shared.clock.wall()).await;
        deleted.map_err(|error| unknown_product(product_id, error))
    }

    /// As [`register_device`](Engine::register_device).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn register_device_with(
        &self,
        by: &Operator,
        request: DeviceRequest,
        members: String,
    ) -> Result<RegisteredDevice, DeviceError> {
        let shared = &self.shared;
        let CheckedDevice { device, secret, .. } = self.check_device(request)?;
        let now = shared.clock.wall();
        let record = shared.store.create_device_with(&by.actor, device, members, now).await?;
        self.registered(&record);
        Ok(RegisteredDevice { record, secret })
    }

    /// Moves a child to another gateway; both are told. Said again, nothing happens.
    ///
    /// # Errors
    ///
    /// `Unknown`; `NoChild`; `Store`: `Missing`, there is no such gateway; `ChildAsGateway`; `InUse`, it is at work.
    pub async fn move_child(
        &self,
        by: &Operator,
        device_id: &str,
        gateway_id: &str,
    ) -> Result<DeviceRecord, DeviceError> {
        let shared = &self.shared;
        let id = DeviceId::parse(device_id).map_err(|_| DeviceError::Unknown(device_id.to_owned()))?;
        let to = id_of("gateway_id", gateway_id)?;
        let moved = shared.store.move_child(&by.actor, &id, &to, shared.clock.wall()).await;
        let moved = moved.map_err(|error| {
            if let StoreError::Missing { what: "child", .. } = &error {
                DeviceError::NoChild(device_id.to_owned())
            } else {
                unknown_device(device_id, error)
            }
        })?;
        for (gateway, version) in moved.left.into_iter().chain(moved.joined) {
            shared.children_changed(gateway, version);
        }
        Ok(moved.record)
    }

    /// As [`create_package`](Engine::create_package).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn create_package_with(
        &self,
        by: &Operator,
        request: PackageRequest,
        members: String,
    ) -> Result<PackageRow, PackageError> {
        let (package, now) = self.check_package(request)?;
        Ok(self.shared.store.create_package_with(&by.actor, package, members, now).await?)
    }

    /// As [`create_group`](Engine::create_group).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn create_group_with(
        &self,
        by: &Operator,
        request: GroupRequest,
        members: String,
    ) -> Result<GroupRow, GroupError> {
        let (group, now) = self.check_group(request)?;
        Ok(self.shared.store.create_group_with(&by.actor, group, members, now).await?)
    }

    /// As [`create_campaign`](Engine::create_campaign).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn create_campaign_with(
        &self,
        by: &Operator,
        request: CampaignRequest,
        members: String,
    ) -> Result<CampaignRow, CampaignError> {
        self.make_campaign(by, request, Some(members)).await
    }

    /// Replaces the members of a thing, all of them.
    ///
    /// # Errors
    ///
    /// The store could not be written.
    pub async fn put_members(&self, thing: Thing, members: String) -> Result<(), StoreError> {
        self.shared.store.put_members(thing, members).await
    }

    /// What applications said about these; nothing where they said nothing.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn members(&self, things: Vec<Thing>) -> Result<BTreeMap<Thing, String>, StoreError> {
        self.shared.store.members(things).await
    }
}

/// A product that is what the call is about, and not what a request refers to.
fn unknown_product(product_id: &str, error: StoreError) -> DeviceError {
    if let StoreError::Missing { what: "product", .. } = error {
        DeviceError::UnknownProduct(product_id.to_owned())
    } else {
        error.into()
    }
}

/// Lists.
impl Engine {
    /// Which of these ids are registered devices, in their order.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn known_devices(&self, ids: &[String]) -> Result<Vec<Option<KnownDevice>>, StoreError> {
        let parsed: Vec<Option<DeviceId>> = ids.iter().map(|id| DeviceId::parse(id).ok()).collect();
        let usable: Vec<DeviceId> = parsed.iter().flatten().cloned().collect();
        let mut known = self.shared.store.keys_of(&usable).await?.into_iter();
        Ok(parsed.iter().map(|id| id.as_ref().and_then(|_| known.next().flatten())).collect())
    }

    /// Products, the newest first, and how many there are.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn newest_products(
        &self,
        name: Option<String>,
        page: Newest<ProductKey>,
    ) -> Result<(Vec<ProductRow>, Total), StoreError> {
        self.shared.store.newest_products(name, page).await
    }

    /// Packages, the newest first, and how many there are.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn newest_packages(
        &self,
        filter: NewestPackages,
        page: Newest<PackageKey>,
    ) -> Result<(Vec<PackageRow>, Total), StoreError> {
        self.shared.store.newest_packages(filter, page).await
    }

    /// Groups, the newest first, and how many there are.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn newest_groups(
        &self,
        name: Option<String>,
        page: Newest<GroupKey>,
    ) -> Result<(Vec<GroupRow>, Total), StoreError> {
        self.shared.store.newest_groups(name, page).await
    }

    /// The groups that a device is in.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn groups_of(&self, device: DeviceKey) -> Result<Vec<GroupRow>, StoreError> {
        self.shared.store.groups_of(device).await
    }

    /// Devices, the newest first, without their reports; and how many there are.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn newest_devices(
        &self,
        filter: NewestDevices,
        page: Newest<DeviceKey>,
    ) -> Result<(Vec<DeviceView>, Total), StoreError> {
        let (records, total) = self.shared.store.newest_devices(filter, page).await?;
        Ok((records.into_iter().map(|record| self.view_of(record, None)).collect(), total))
    }

    /// A device as it is shown, without its reports.
    #[must_use]
    pub fn device_view(&self, record: DeviceRecord) -> DeviceView {
        self.view_of(record, None)
    }

    /// Campaigns with packages of this kind, the newest first, in one of these states if given; and how many there are.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn newest_campaigns(
        &self,
        kind: PackageKind,
        states: Option<Vec<CampaignState>>,
        page: Newest<CampaignKey>,
    ) -> Result<(Vec<(CampaignRow, Counts)>, Total), StoreError> {
        self.shared.store.newest_campaigns(kind, states, page).await
    }

    /// The newest campaign whose id is smaller than this one.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn campaign_before(&self, campaign_id: &str) -> Result<Option<CampaignKey>, StoreError> {
        self.shared.store.campaign_before(campaign_id).await
    }

    /// A campaign's deployments that `filter` takes by their labels, the newest first, of each device the latest run.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn newest_deployments(
        &self,
        campaign: &CampaignRow,
        filter: DeploymentFilter,
        page: Newest<DeploymentKey>,
    ) -> Result<Vec<DeploymentView>, StoreError> {
        let records = self.shared.store.newest_deployments(campaign.key, filter, page).await?;
        Ok(self.views(&campaign.packages, records))
    }
}
