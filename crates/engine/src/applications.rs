//! What the application API needs beside what the native one has: things with members that only applications use, and
//! lists that have the newest first.
//!
//! Always true:
//! - A thing and its members are stored together.
//! - Every rule is that of the operation without members.
//!
//! Not here: how any of it looks (`otaru-api`).

use std::collections::{BTreeMap, BTreeSet};

use otaru_core::campaign::CampaignState;
use otaru_proto::{DeviceId, PackageKind};
use otaru_store::{
    CampaignKey, CampaignRow, Counts, DeploymentFilter, DeploymentKey, DeviceCondition, DeviceFact,
    DeviceKey, DeviceRecord, DeviceSearch, GroupKey, GroupRow, KnownDevice, NewContent, Newest,
    NewestDevices, NewestPackages, ObjectPlace, PackageKey, PackageRow, ProductKey, ProductRow, SearchPage,
    SpaceKey, Spaces, StoreError, Thing, Total,
};

use crate::campaigns::{CampaignError, CampaignRequest};
use crate::devices::{CheckedDevice, DeviceError, DeviceRequest, RegisteredDevice, id_of, unknown_device};
use crate::driver::Engine;
use crate::groups::{GroupError, GroupRequest};
use crate::limits::{SEARCH_CHUNK, SEARCH_LOOKS_MAX};
use crate::objects::{OWN_BUCKET, ObjectError, file_name};
use crate::packages::{PackageError, PackageRequest};
use crate::tokens::Operator;
use crate::views::{DeploymentView, DeviceStatus, DeviceView};

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
        space: Option<SpaceKey>,
        members: String,
    ) -> Result<ProductRow, DeviceError> {
        let now = self.shared.clock.wall();
        let (product_id, name) = self.check_product(product_id, name)?;
        Ok(self.shared.store.create_product_with(&by.actor, &product_id, &name, space, members, now).await?)
    }

    /// Gives a product another name if given, and each of `members`, a JSON object, in place of the one with the same name.
    /// May be said again.
    ///
    /// # Errors
    ///
    /// `UnknownProduct`; `Length`.
    pub async fn patch_product(
        &self,
        by: &Operator,
        product_id: &str,
        name: Option<&str>,
        members: Option<String>,
    ) -> Result<ProductRow, DeviceError> {
        let now = self.shared.clock.wall();
        let name = name.map(|name| self.check_product(None, name)).transpose()?.map(|(_, name)| name);
        let store = &self.shared.store;
        let changed = store.patch_product(&by.actor, product_id, name.as_deref(), members, now).await;
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
        let row = self.shared.store.create_package_with(&by.actor, package, members, now).await?;
        self.shared.contents_changed.notify_one();
        Ok(row)
    }

    /// What a package that is made of an object has: an artifact where it is in the platform's own bucket, otherwise the place
    /// from which it will be read; and the name of its file. The object is there, and its bytes were not looked at.
    ///
    /// # Errors
    ///
    /// `NoBucket`, `Key`, `Missing`, `Forbidden`, `Empty`, `TooLarge`; `Unreadable`: where it is does not answer; `OtherDigest`:
    /// it is in the platform's own bucket and another than `sha256` says.
    pub async fn object_content(&self, place: ObjectPlace) -> Result<(NewContent, String), ObjectError> {
        if place.bucket == OWN_BUCKET {
            let (artifact, name) = self.own_object(&place.key, place.sha256.as_deref()).await?;
            return Ok((NewContent::Kept(artifact.artifact_id), name));
        }
        self.shared.find_object(&place).await?;
        let name = file_name(&place.key);
        Ok((NewContent::At(place), name))
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
        space: Option<SpaceKey>,
        members: String,
    ) -> Result<GroupRow, GroupError> {
        let (group, now) = self.check_group(request)?;
        Ok(self.shared.store.create_group_with(&by.actor, group, space, members, now).await?)
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

/// What devices are searched for.
#[derive(Clone, Debug, Default)]
pub struct DeviceQuery {
    /// Alternatives, at most [`ALTERNATIVES_MAX`](otaru_store::limits::ALTERNATIVES_MAX): one of them has to hold.
    pub any: Vec<DeviceAlternative>,
    /// The order: as registered, or the newest first.
    pub oldest_first: bool,
}

/// What has to hold together.
#[derive(Clone, Debug, Default)]
pub struct DeviceAlternative {
    /// What the store knows.
    pub conditions: Vec<DeviceCondition>,
    /// One of these; `None`: any.
    pub status: Option<BTreeSet<DeviceStatus>>,
}

impl DeviceQuery {
    /// What the store is asked, and for each alternative the statuses that are still to be looked at.
    fn parts(self) -> (DeviceSearch, Vec<Option<BTreeSet<DeviceStatus>>>) {
        let (mut any, mut statuses) = (Vec::new(), Vec::new());
        for DeviceAlternative { mut conditions, status } in self.any {
            let Some(mut status) = status else {
                any.push(conditions);
                statuses.push(None);
                continue;
            };
            if status.is_empty() {
                continue;
            }
            // Whether a device is frozen is stored, and comes before everything else.
            let frozen = status.contains(&DeviceStatus::Frozen);
            status.remove(&DeviceStatus::Frozen);
            let is_any_other = status.len() == DeviceStatus::ALL.len() - 1;
            if !frozen || status.is_empty() {
                conditions.push(DeviceCondition { is_not: !frozen, fact: DeviceFact::Frozen });
            }
            any.push(conditions);
            if is_any_other || status.is_empty() {
                statuses.push(None);
            } else {
                if frozen {
                    status.insert(DeviceStatus::Frozen);
                }
                statuses.push(Some(status));
            }
        }
        (DeviceSearch { any, oldest_first: self.oldest_first }, statuses)
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
        spaces: Spaces,
        name: Option<String>,
        page: Newest<ProductKey>,
    ) -> Result<(Vec<ProductRow>, Total), StoreError> {
        self.shared.store.newest_products(spaces, name, page).await
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
        spaces: Spaces,
        name: Option<String>,
        page: Newest<GroupKey>,
    ) -> Result<(Vec<GroupRow>, Total), StoreError> {
        self.shared.store.newest_groups(spaces, name, page).await
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

    /// A page of the devices that `query` finds, in the order of their registration.
    ///
    /// Where it asks for a status that depends on who is connected now, which no index knows, at most
    /// [`SEARCH_LOOKS_MAX`] devices for which the rest holds are looked at: what is behind them is not found.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn search_devices(
        &self,
        query: DeviceQuery,
        skip: u32,
        limit: u32,
    ) -> Result<Vec<DeviceView>, StoreError> {
        let (search, statuses) = query.parts();
        if statuses.iter().all(Option::is_none) {
            let found =
                self.shared.store.search_devices(search, SearchPage { after: None, skip, limit }).await?;
            return Ok(found.into_iter().map(|(record, _)| self.view_of(record, None)).collect());
        }
        let (mut left_out, mut page) = (skip, Vec::new());
        self.look_through(search, &statuses, |view| {
            if left_out > 0 {
                left_out -= 1;
            } else {
                page.push(view);
            }
            page.len() < limit as usize
        })
        .await?;
        Ok(page)
    }

    /// How many devices `query` finds; counting stops at [`COUNTED_MAX`](otaru_store::limits::COUNTED_MAX).
    ///
    /// Where it asks for a status that depends on who is connected now, the first [`SEARCH_LOOKS_MAX`] devices for which the
    /// rest holds are looked at, and those are counted among them: of a larger fleet it is the number among the first.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn count_devices(&self, query: DeviceQuery) -> Result<u64, StoreError> {
        let (search, statuses) = query.parts();
        if statuses.iter().all(Option::is_none) {
            return Ok(self.shared.store.count_found_devices(search).await?.n);
        }
        let mut n = 0;
        self.look_through(search, &statuses, |_| {
            n += 1;
            true
        })
        .await?;
        Ok(n)
    }

    /// Hands on the devices whose status is right too, as long as `goes_on` says so.
    async fn look_through(
        &self,
        search: DeviceSearch,
        statuses: &[Option<BTreeSet<DeviceStatus>>],
        mut goes_on: impl FnMut(DeviceView) -> bool,
    ) -> Result<(), StoreError> {
        let (mut after, mut looked_at) = (None, 0);
        while looked_at < SEARCH_LOOKS_MAX {
            let limit = SEARCH_CHUNK.min(SEARCH_LOOKS_MAX - looked_at);
            let page = SearchPage { after, skip: 0, limit };
            let found = self.shared.store.search_devices(search.clone(), page).await?;
            let is_last = found.len() < limit as usize;
            looked_at += limit;
            after = found.last().map(|(record, _)| record.row.key);
            for (record, which) in found {
                let view = self.view_of(record, None);
                let status = view.status();
                let is_right = statuses.iter().enumerate().any(|(at, accepted)| {
                    which >> at & 1 == 1
                        && accepted.as_ref().is_none_or(|accepted| accepted.contains(&status))
                });
                if is_right && !goes_on(view) {
                    return Ok(());
                }
            }
            if is_last {
                break;
            }
        }
        Ok(())
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
        spaces: Spaces,
        kind: PackageKind,
        states: Option<Vec<CampaignState>>,
        page: Newest<CampaignKey>,
    ) -> Result<(Vec<(CampaignRow, Counts)>, Total), StoreError> {
        self.shared.store.newest_campaigns(spaces, kind, states, page).await
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
