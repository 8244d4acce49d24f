//! Lists that have the newest first, as applications page them.

use otaru_core::campaign::CampaignState;
use otaru_proto::PackageKind;

use super::Tables;
use super::tables::Device;
use crate::error::StoreError;
use crate::limits::COUNTED_MAX;
use crate::rows::*;

/// A page of what is given newest first, and how much there is in all.
fn paged<K: Copy + Ord, T>(
    all: impl Iterator<Item = (K, T)> + Clone,
    page: Newest<K>,
) -> (Vec<(K, T)>, Total) {
    let n = all.clone().take(COUNTED_MAX as usize + 1).count() as u64;
    let most = u64::from(COUNTED_MAX);
    let rows = all.filter(|(key, _)| page.before.is_none_or(|before| *key < before));
    let rows = rows.skip(page.skip as usize).take(page.limit as usize).collect();
    (rows, Total { n: n.min(most), is_capped: n > most })
}

fn rows<K, T>((found, total): (Vec<(K, T)>, Total)) -> (Vec<T>, Total) {
    (found.into_iter().map(|(_, row)| row).collect(), total)
}

impl Tables {
    pub(crate) fn newest_products(
        &self,
        spaces: Spaces,
        name: Option<&str>,
        page: Newest<ProductKey>,
    ) -> Result<(Vec<ProductRow>, Total), StoreError> {
        let all = self.products.iter().rev().filter(|(_, row)| {
            self.products_by_id.get(&row.product_id) == Some(&row.key)
                && spaces.has(row.space)
                && name.is_none_or(|name| row.name == name)
        });
        Ok(rows(paged(all.map(|(key, row)| (*key, row.clone())), page)))
    }

    pub(crate) fn newest_packages(
        &self,
        filter: &NewestPackages,
        page: Newest<PackageKey>,
    ) -> Result<(Vec<PackageRow>, Total), StoreError> {
        let all = self.packages.iter().rev().filter(|(_, row)| {
            filter.kind.is_none_or(|kind| row.kind == kind)
                && self.is_in(filter.spaces, &row.product_id)
                && filter.product_id.as_ref().is_none_or(|product_id| row.product_id == *product_id)
                && filter.version.as_ref().is_none_or(|version| row.version == *version)
        });
        Ok(rows(paged(all.map(|(key, row)| (*key, PackageRow::clone(row))), page)))
    }

    pub(crate) fn newest_modules(
        &self,
        filter: &NewestModules,
        page: Newest<ModuleKey>,
    ) -> Result<(Vec<ModuleRow>, Total), StoreError> {
        let all = self.modules.iter().rev().filter(|(_, row)| {
            self.is_in(filter.spaces, &row.product_id)
                && filter.product_id.as_ref().is_none_or(|product_id| row.product_id == *product_id)
        });
        Ok(rows(paged(all.map(|(key, row)| (*key, row.clone())), page)))
    }

    pub(crate) fn newest_groups(
        &self,
        spaces: Spaces,
        name: Option<&str>,
        page: Newest<GroupKey>,
    ) -> Result<(Vec<GroupRow>, Total), StoreError> {
        let all = self
            .groups
            .iter()
            .rev()
            .filter(|(_, group)| spaces.has(group.row.space))
            .filter(|(_, group)| name.is_none_or(|name| group.row.name.contains(name)));
        Ok(rows(paged(all.map(|(key, group)| (*key, group.shown())), page)))
    }

    pub(crate) fn newest_devices(
        &self,
        filter: &NewestDevices,
        page: Newest<DeviceKey>,
    ) -> Result<(Vec<DeviceRecord>, Total), StoreError> {
        let gateway = match &filter.gateway_id {
            Some(gateway_id) => match self.devices_by_id.get(gateway_id) {
                Some(key) => Some(*key),
                None => return Ok(Default::default()),
            },
            None => None,
        };
        let group = match &filter.group_id {
            Some(group_id) => match self.group_by_id(group_id) {
                Some(group) => Some(&group.members),
                None => return Ok(Default::default()),
            },
            None => None,
        };
        let wanted = |device: &Device| {
            let row = &device.row;
            let has = |(tag, value): &(String, String)| row.tags.get(tag) == Some(value);
            !device.deleted
                && self.is_in(filter.spaces, &row.product_id)
                && group.is_none_or(|members| members.contains(&row.key))
                && filter.product_id.as_ref().is_none_or(|product_id| row.product_id == *product_id)
                && gateway.is_none_or(|gateway| row.gateway == Some(gateway))
                && filter.node_id.as_ref().is_none_or(|node_id| row.node_id == *node_id)
                && filter
                    .name_part
                    .as_ref()
                    .is_none_or(|part| row.name.as_ref().is_some_and(|name| name.contains(part.as_str())))
                && filter.from.is_none_or(|from| row.created_at >= from)
                && filter.until.is_none_or(|until| row.created_at < until)
                && (filter.any_tag.is_empty() || filter.any_tag.iter().any(has))
        };
        let all = self.devices.iter().rev().filter(|(_, device)| wanted(device));
        let (found, total) = paged(all.map(|(key, _)| (*key, ())), page);
        let mut devices = Vec::with_capacity(found.len());
        for (key, ()) in found {
            devices.extend(self.device_by_key(key)?);
        }
        Ok((devices, total))
    }

    pub(crate) fn newest_campaigns(
        &self,
        spaces: Spaces,
        kind: PackageKind,
        states: Option<&[CampaignState]>,
        page: Newest<CampaignKey>,
    ) -> Result<(Vec<(CampaignRow, Counts)>, Total), StoreError> {
        let all = self.campaigns.iter().rev().filter(|(_, campaign)| {
            campaign.row.packages.iter().any(|package| package.kind == kind)
                && self.is_in(spaces, &campaign.row.product_id)
                && states.is_none_or(|states| states.contains(&campaign.row.state))
        });
        let (found, total) = paged(all.map(|(key, _)| (*key, ())), page);
        let mut campaigns = Vec::with_capacity(found.len());
        for (key, ()) in found {
            campaigns.extend(self.campaign_by_key(key)?);
        }
        Ok((campaigns, total))
    }

    /// The campaign with the largest id that is smaller than this.
    pub(crate) fn campaign_before(&self, campaign_id: &str) -> Result<Option<CampaignKey>, StoreError> {
        Ok(self.campaigns_by_id.range(..campaign_id.to_owned()).next_back().map(|(_, key)| *key))
    }

    pub(crate) fn newest_deployments(
        &self,
        campaign: CampaignKey,
        filter: &DeploymentFilter,
        page: Newest<DeploymentKey>,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        let whole = Page { after: None, limit: u32::MAX };
        let mut keys = self.listed(campaign, filter, whole);
        keys.reverse();
        let wanted = keys.into_iter().filter(|key| page.before.is_none_or(|before| *key < before));
        let mut records = Vec::new();
        for key in wanted.skip(page.skip as usize).take(page.limit as usize) {
            records.extend(self.deployment(key)?);
        }
        Ok(records)
    }
}
