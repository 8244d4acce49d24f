//! Devices that are searched for by what holds for them.

use super::Tables;
use super::tables::Device;
use crate::error::StoreError;
use crate::limits::{ALTERNATIVES_MAX, COUNTED_MAX};
use crate::rows::*;

impl Tables {
    pub(crate) fn search_devices(
        &self,
        search: &DeviceSearch,
        page: SearchPage,
    ) -> Result<Vec<(DeviceRecord, u8)>, StoreError> {
        let found = |device: &Device| {
            Some((device.row.key, self.which(search, device))).filter(|(_, which)| *which > 0)
        };
        let (skip, limit) = (page.skip as usize, page.limit as usize);
        let all = self.devices.values();
        let found: Vec<(DeviceKey, u8)> = if search.oldest_first {
            let rest = all.filter_map(found).filter(|(key, _)| page.after.is_none_or(|after| *key > after));
            rest.skip(skip).take(limit).collect()
        } else {
            let rest =
                all.rev().filter_map(found).filter(|(key, _)| page.after.is_none_or(|after| *key < after));
            rest.skip(skip).take(limit).collect()
        };
        let mut devices = Vec::with_capacity(found.len());
        for (key, which) in found {
            devices.extend(self.device_by_key(key)?.map(|record| (record, which)));
        }
        Ok(devices)
    }

    pub(crate) fn count_found_devices(&self, search: &DeviceSearch) -> Result<Total, StoreError> {
        let found = self.devices.values().filter(|device| self.which(search, device) > 0);
        let (n, most) = (found.take(COUNTED_MAX as usize + 1).count() as u64, u64::from(COUNTED_MAX));
        Ok(Total { n: n.min(most), is_capped: n > most })
    }

    /// Which alternatives hold, the first in the lowest bit.
    fn which(&self, search: &DeviceSearch, device: &Device) -> u8 {
        if device.deleted {
            return 0;
        }
        let holds = |all: &Vec<DeviceCondition>| {
            all.iter().all(|condition| self.is_so(device, &condition.fact) != condition.is_not)
        };
        let any = search.any.iter().take(ALTERNATIVES_MAX).enumerate();
        any.filter(|(_, all)| holds(all)).fold(0, |which, (at, _)| which | 1 << at)
    }

    fn is_so(&self, device: &Device, fact: &DeviceFact) -> bool {
        let row = &device.row;
        match fact {
            DeviceFact::Text(text, is) => match text {
                DeviceText::Id => Some(row.device_id.as_str()),
                DeviceText::Node => Some(row.node_id.as_str()),
                DeviceText::Name => row.name.as_deref(),
                DeviceText::Firmware => device.state.firmware_version.as_deref(),
                DeviceText::Software => device.state.software_version.as_deref(),
            }
            .is_some_and(|text| is.holds(text)),
            DeviceFact::Product(products) => products.contains(&row.product_id),
            DeviceFact::Space(spaces) => {
                spaces.iter().any(|space| self.is_in(Spaces::of(*space), &row.product_id))
            }
            DeviceFact::Gateway(gateways) => {
                let key = row.gateway.unwrap_or(row.key);
                gateways.iter().any(|gateway| self.devices_by_id.get(gateway) == Some(&key))
            }
            DeviceFact::Group(groups) => groups
                .iter()
                .any(|group| self.group_by_id(group).is_some_and(|group| group.members.contains(&row.key))),
            DeviceFact::Tag(conditions) => row.tags.iter().any(|(key, value)| {
                conditions.iter().all(|condition| {
                    condition.is.holds(if condition.of_key { key } else { value }) != condition.is_not
                })
            }),
            DeviceFact::Key(ranges) => ranges.iter().any(|range| range.contains(&row.key.0)),
            DeviceFact::Created(ranges) => ranges.iter().any(|range| range.contains(&row.created_at.0)),
            DeviceFact::Frozen => row.frozen,
            DeviceFact::Child => row.gateway.is_some(),
        }
    }
}
