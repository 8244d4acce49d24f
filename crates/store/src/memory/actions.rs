//! What operators do to deployments: which of them are meant, further runs, and what is not done yet.

use otaru_core::WallTime;
use otaru_core::campaign::{Act, CampaignState, Selection};

use super::campaigns::no_campaign;
use super::tables::Tables;
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, RunWrite};
use crate::transact::{Latest, Progress, Which};

impl Tables {
    /// The deployments that are asked for, by key.
    pub(super) fn latest_runs(&self, latest: &Latest) -> Vec<DeploymentRow> {
        let campaign = latest.campaign;
        let mut keys: Vec<DeploymentKey> = match &latest.which {
            Which::Devices(devices) => {
                devices.iter().filter_map(|device| self.latest_run(campaign, *device)).collect()
            }
            Which::Page { filter, page, until } => {
                let mut keys = self.listed(campaign, filter, *page);
                keys.retain(|key| until.is_none_or(|until| *key <= until));
                keys
            }
        };
        keys.sort_unstable();
        keys.dedup();
        keys.iter().filter_map(|key| self.deployments.get(key)).cloned().collect()
    }

    /// The latest run of a campaign on a device.
    pub(super) fn latest_run(&self, campaign: CampaignKey, device: DeviceKey) -> Option<DeploymentKey> {
        let runs = (device, campaign, 0)..=(device, campaign, u32::MAX);
        self.deployments_by_device.range(runs).next_back().map(|(_, key)| *key)
    }

    /// Makes a further run; counters are the caller's.
    pub(super) fn put_run(&mut self, write: RunWrite, now: WallTime) -> DeploymentKey {
        let RunWrite { previous, before, run, deployment } = write;
        let key = DeploymentKey(self.last_deployment + 1);
        let wave = self.deployments.get(&previous).map_or(0, |row| row.wave);
        self.put_deployment(DeploymentRow {
            key,
            campaign: before.campaign,
            device: before.device,
            run,
            wave,
            deployment,
            created_at: now,
            updated_at: now,
        });
        key
    }

    #[expect(clippy::too_many_arguments, reason = "each is a part of the wish")]
    pub(crate) fn ask_action(
        &mut self,
        actor: &Actor,
        key: CampaignKey,
        from: &[CampaignState],
        act: Act,
        selection: &Selection,
        most: usize,
        now: WallTime,
    ) -> Result<Asked, StoreError> {
        let campaign = &self.campaigns.get(&key).ok_or_else(|| no_campaign(key))?.row;
        if !from.contains(&campaign.state) {
            return Ok(Asked::WrongState(campaign.state));
        }
        let waiting = self.actions.values().filter(|row| row.campaign == key).count();
        if waiting >= most {
            return Ok(Asked::TooMany(waiting));
        }
        let campaign_id = campaign.campaign_id.clone();
        self.last_action += 1;
        let row = ActionRow {
            key: ActionKey(self.last_action),
            campaign: key,
            act,
            selection: selection.clone(),
            until: self.deployments.last_key_value().map_or(DeploymentKey(0), |(last, _)| *last),
            position: None,
            actor: actor.name.clone(),
            created_at: now,
        };
        self.actions.insert(row.key, row.clone());
        self.note(&actor.name, rules::acted(act), &campaign_id, now);
        Ok(Asked::Noted(row))
    }

    pub(super) fn note_progress(&mut self, action: ActionKey, progress: Progress) {
        match progress {
            Progress::UpTo(position) => {
                if let Some(row) = self.actions.get_mut(&action) {
                    row.position = Some(position);
                }
            }
            Progress::Done => {
                self.actions.remove(&action);
            }
        }
    }

    pub(crate) fn actions(&self, campaign: Option<CampaignKey>) -> Result<Vec<ActionRow>, StoreError> {
        let meant = |row: &&ActionRow| campaign.is_none_or(|key| row.campaign == key);
        Ok(self.actions.values().filter(meant).cloned().collect())
    }
}
