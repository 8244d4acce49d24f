//! Large steps over a campaign: making its deployments, and releasing them.
//!
//! Always true:
//! - How far the making has come, the deployments and their counter change together.
//! - A device gets one deployment of a campaign, however often it is come by.

use std::collections::BTreeSet;

use otaru_core::WallTime;
use otaru_core::deployment::{Deployment, Label};

use super::Tx;
use super::chosen::Chosen;
use super::columns::{Statements, to_integer, to_json};
use crate::error::StoreError;
use crate::limits::LEAPS_MAX;
use crate::rows::*;
use crate::rules;

/// Makes the deployments of a list of devices.
pub(super) const DEPLOY: &str =
    "INSERT INTO deployment (campaign, device, run, wave, label, wake_at, result_code, body,
        created_at, updated_at)
    SELECT ?1, d.key, 1, 0, ?4, ?5, ?6, ?7, ?8, ?8
    FROM json_each(?3) wanted CROSS JOIN device d ON d.key = wanted.value
    WHERE d.product = ?2 AND d.deleted_at IS NULL ORDER BY wanted.key
    ON CONFLICT (device, campaign, run) DO NOTHING RETURNING device";

impl Tx<'_> {
    pub(crate) fn fill_campaign(
        &mut self,
        key: CampaignKey,
        chunk: u32,
        now: WallTime,
        initial: &Deployment,
        prefer: &[DeviceKey],
    ) -> Result<Filled, StoreError> {
        let campaign = self
            .campaign_for_batch(key)?
            .ok_or_else(|| StoreError::Missing { what: "campaign", id: format!("with key {}", key.0) })?;
        if campaign.filled {
            return Ok(Filled { added: Vec::new(), done: true });
        }
        if rules::is_over(campaign.state) {
            self.note_filled(key)?;
            return Ok(Filled { added: Vec::new(), done: true });
        }
        let (product, position): (ProductKey, i64) = self
            .conn
            .one("SELECT product, fill_position FROM campaign WHERE key = ?1", [key], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .ok_or_else(|| StoreError::Missing { what: "campaign", id: campaign.campaign_id.clone() })?;

        let prefer = &prefer[..prefer.len().min(chunk as usize)];
        let prefer = self.among_targets(&campaign.targets, prefer)?;
        let mut added = self.deploy(key, product, now, initial, &prefer)?;
        let left = chunk.saturating_sub(u32::try_from(added.len()).unwrap_or(u32::MAX));
        let next = self.next_targets(&campaign.targets, product, position, left)?;
        added.extend(self.deploy(key, product, now, initial, &next.devices)?);

        if campaign.policy.gateway_mode {
            self.count_children(key, &added)?;
        }
        self.count_up(key, initial.label(), added.len())?;
        self.conn.run("UPDATE campaign SET fill_position = ?2 WHERE key = ?1", (key, next.position))?;
        if next.is_last {
            self.note_filled(key)?;
        }
        Ok(Filled { added, done: next.is_last })
    }

    /// Adds these devices to what their gateways are told of the campaign.
    fn count_children(&self, key: CampaignKey, added: &[DeviceKey]) -> Result<(), StoreError> {
        self.conn.run(
            "INSERT INTO campaign_gateway (campaign, gateway, children)
             SELECT ?1, d.gateway, count(*) FROM json_each(?2) added CROSS JOIN device d ON d.key = added.value
             WHERE d.gateway IS NOT NULL GROUP BY d.gateway
             ON CONFLICT (campaign, gateway) DO UPDATE SET children = children + excluded.children",
            (key, to_json(&added)?),
        )?;
        Ok(())
    }

    fn note_filled(&mut self, key: CampaignKey) -> Result<(), StoreError> {
        self.conn.run("UPDATE campaign SET filled = TRUE WHERE key = ?1", [key])?;
        self.cache.campaign_changed(key);
        Ok(())
    }

    /// Those of `devices` that the campaign is for, as far as `deploy` does not look itself.
    fn among_targets(&self, targets: &Targets, devices: &[DeviceKey]) -> Result<Vec<DeviceKey>, StoreError> {
        if devices.is_empty() {
            return Ok(Vec::new());
        }
        match targets {
            Targets::Product => Ok(devices.to_vec()),
            Targets::Devices(list) => {
                // The list may have thirty thousand, and `devices` are one chunk.
                let wanted: BTreeSet<DeviceKey> = devices.iter().copied().collect();
                let listed: BTreeSet<DeviceKey> =
                    list.iter().copied().filter(|d| wanted.contains(d)).collect();
                Ok(devices.iter().copied().filter(|device| listed.contains(device)).collect())
            }
            Targets::Tags(tags) => {
                Chosen { product: None, gateway: None, groups: None, tags }.tagged(self.conn, devices)
            }
            Targets::Groups(groups) => Chosen::grouped(self.conn, groups, devices),
        }
    }

    fn next_targets(
        &self,
        targets: &Targets,
        product: ProductKey,
        position: i64,
        limit: u32,
    ) -> Result<NextTargets, StoreError> {
        if let Targets::Devices(list) = targets {
            let begin = usize::try_from(position).unwrap_or(usize::MAX).min(list.len());
            let end = begin.saturating_add(limit as usize).min(list.len());
            return Ok(NextTargets {
                devices: list[begin..end].to_vec(),
                position: to_integer(end as u64)?,
                is_last: end == list.len(),
            });
        }
        let none = std::collections::BTreeMap::new();
        let (groups, tags) = match targets {
            Targets::Tags(tags) => (None, tags),
            Targets::Groups(groups) => (Some(&groups[..]), &none),
            Targets::Product | Targets::Devices(_) => (None, &none),
        };
        let chosen = Chosen { product: Some(product), gateway: None, groups, tags };
        // One more than wanted tells whether there is more.
        let mut found = chosen.find(self.conn, position, limit.saturating_add(1), LEAPS_MAX)?;
        if found.keys.len() <= limit as usize {
            return Ok(NextTargets {
                devices: found.keys,
                position: found.looked_to,
                is_last: found.is_last,
            });
        }
        found.keys.truncate(limit as usize);
        let position = found.keys.last().map_or(position, |last| last.0);
        Ok(NextTargets { devices: found.keys, position, is_last: false })
    }

    /// Gives each of `devices` that is registered, of this product and without one a deployment; who got one.
    fn deploy(
        &mut self,
        campaign: CampaignKey,
        product: ProductKey,
        now: WallTime,
        initial: &Deployment,
        devices: &[DeviceKey],
    ) -> Result<Vec<DeviceKey>, StoreError> {
        if devices.is_empty() {
            return Ok(Vec::new());
        }
        self.conn.all(
            DEPLOY,
            (
                campaign,
                product,
                to_json(&devices)?,
                initial.label().name(),
                initial.wake_at().map(|at| at.0),
                initial.result_code.map(otaru_proto::ResultCode::to_wire),
                to_json(initial)?,
                now.0,
            ),
            |row| row.get(0),
        )
    }

    pub(crate) fn release_chunk(
        &mut self,
        key: CampaignKey,
        limit: u32,
        now: WallTime,
        released: &Deployment,
    ) -> Result<Released, StoreError> {
        if self.campaign_for_batch(key)?.is_none() {
            return Err(StoreError::Missing { what: "campaign", id: format!("with key {}", key.0) });
        }
        let mut moved: Vec<(DeploymentKey, DeviceKey)> = self.conn.all(
            "UPDATE deployment SET label = ?3, wake_at = ?4, result_code = ?5, body = ?6, updated_at = ?7
             WHERE key IN (SELECT key FROM deployment WHERE campaign = ?1 AND label = 'queued'
                 AND replaced = 0 ORDER BY key LIMIT ?2)
             RETURNING key, device",
            (
                key,
                limit,
                released.label().name(),
                released.wake_at().map(|at| at.0),
                released.result_code.map(otaru_proto::ResultCode::to_wire),
                to_json(released)?,
                now.0,
            ),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        moved.sort_unstable();
        let n = to_integer(moved.len() as u64)?;
        if n > 0 && released.label() != Label::Queued {
            self.count(key, Label::Queued, -n)?;
            self.count(key, released.label(), n)?;
        }
        let more: bool = self
            .conn
            .one(
                "SELECT EXISTS (SELECT 1 FROM deployment WHERE campaign = ?1 AND label = 'queued' AND replaced = 0)",
                [key],
                |row| row.get(0),
            )?
            .unwrap_or(false);
        Ok(Released { moved: moved.into_iter().map(|(_, device)| device).collect(), done: !more })
    }
}

/// The next devices that a campaign is for.
struct NextTargets {
    devices: Vec<DeviceKey>,
    /// Where to go on.
    position: i64,
    /// There are no more.
    is_last: bool,
}
