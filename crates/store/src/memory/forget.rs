//! Forgetting: what has become old, and campaigns that were deleted.

use otaru_core::WallTime;

use super::packages::after;
use super::tables::Tables;
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, action};

impl Tables {
    pub(crate) fn forget(
        &mut self,
        kind: Aging,
        before: WallTime,
        from: i64,
        chunk: u32,
    ) -> Result<Forgotten, StoreError> {
        let mut rows: Vec<(i64, WallTime)> = match kind {
            Aging::Reports => self
                .reports
                .range(after(Some(ReportSeq(from))))
                .map(|(seq, kept)| (seq.0, kept.report.received_at))
                .collect(),
            Aging::DeviceLogs => {
                let lines = self.logs.values().flatten().filter(|(seq, _)| **seq > from);
                lines.map(|(seq, row)| (*seq, row.received_at)).collect()
            }
            Aging::Audit => self.audit.range(after(Some(from))).map(|(seq, row)| (*seq, row.at)).collect(),
            Aging::Quarantine => {
                self.quarantine.range(after(Some(from))).map(|(seq, event)| (*seq, event.at)).collect()
            }
        };
        rows.sort_unstable();
        rows.truncate(chunk as usize);
        let newest = match kind {
            Aging::Reports => self.reports.last_key_value().map_or(0, |(seq, _)| seq.0),
            Aging::DeviceLogs | Aging::Audit | Aging::Quarantine => 0,
        };
        let (places, next) = rules::forgettable(&rows, before, chunk, newest);
        for place in &places {
            match kind {
                Aging::Reports => drop(self.reports.remove(&ReportSeq(*place))),
                Aging::DeviceLogs => self.logs.values_mut().for_each(|lines| drop(lines.remove(place))),
                Aging::Audit => drop(self.audit.remove(place)),
                Aging::Quarantine => drop(self.quarantine.remove(place)),
            }
        }
        Ok(Forgotten { rows: u32::try_from(places.len()).unwrap_or(u32::MAX), next })
    }

    /// Notes that an artifact was in use until now.
    pub(super) fn idle_from(&mut self, artifact_id: &str, now: WallTime) {
        let since = self.artifacts_idle.entry(artifact_id.to_owned()).or_insert(now);
        *since = now.max(*since);
    }

    pub(crate) fn unused_artifacts(
        &self,
        before: WallTime,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ArtifactRow>, StoreError> {
        let unused = self.artifacts.values().filter(|row| {
            let is_idle = self.artifacts_idle.get(&row.artifact_id).is_some_and(|since| *since < before);
            let is_later = after.is_none_or(|after| row.artifact_id.as_str() > after);
            is_idle && is_later && self.user_of(&row.artifact_id).is_none()
        });
        Ok(unused.take(limit as usize).cloned().collect())
    }

    /// A package that has an artifact.
    fn user_of(&self, artifact_id: &str) -> Option<&str> {
        let user = self
            .packages
            .values()
            .find(|package| package.content.artifact().is_some_and(|(id, _)| id == artifact_id));
        user.map(|package| package.package_id.as_str())
    }

    pub(crate) fn delete_artifact(
        &mut self,
        actor: &Actor,
        artifact_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        if let Some(package_id) = self.user_of(artifact_id) {
            let by = format!("package {package_id}");
            return Err(StoreError::InUse { what: "artifact", id: artifact_id.to_owned(), by });
        }
        if !self.is_of(actor) || self.artifacts.remove(artifact_id).is_none() {
            return Err(StoreError::Missing { what: "artifact", id: artifact_id.to_owned() });
        }
        self.artifacts_idle.remove(artifact_id);
        self.note(&actor.name, action::ARTIFACT_DELETED, artifact_id, now);
        Ok(())
    }

    pub(crate) fn delete_campaign(
        &mut self,
        actor: &Actor,
        campaign_id: &str,
        now: WallTime,
    ) -> Result<Option<CampaignKey>, StoreError> {
        let missing = || StoreError::Missing { what: "campaign", id: campaign_id.to_owned() };
        let key = *self.campaigns_by_id.get(campaign_id).filter(|_| self.is_of(actor)).ok_or_else(missing)?;
        let campaign = self.campaigns.get(&key).ok_or_else(missing)?;
        let acts = self.actions.values().any(|row| row.campaign == key);
        if !rules::is_over(campaign.row.state) || campaign.counts.unfinished() > 0 || acts {
            return Ok(None);
        }
        let kept = campaign.row.packages.iter().filter_map(|package| package.content.artifact());
        let artifacts: Vec<String> = kept.map(|(artifact_id, _)| artifact_id.to_owned()).collect();
        self.campaigns.remove(&key);
        self.campaigns_by_id.remove(campaign_id);
        self.campaigns_leaving.insert(key);
        for artifact_id in artifacts {
            self.idle_from(&artifact_id, now);
        }
        self.note(&actor.name, action::CAMPAIGN_DELETED, campaign_id, now);
        Ok(Some(key))
    }

    pub(crate) fn forget_deployments(&mut self, key: CampaignKey, chunk: u32) -> Result<bool, StoreError> {
        if !self.campaigns_leaving.contains(&key) {
            return Ok(true);
        }
        let mut all = self.deployments.values().filter(|row| row.campaign == key);
        let some: Vec<DeploymentRow> = all.by_ref().take(chunk as usize).cloned().collect();
        let done = all.next().is_none();
        for row in some {
            self.deployments.remove(&row.key);
            self.deployments_by_device.remove(&(row.device, row.campaign, row.run));
            self.deployments_by_label.remove(&(key, row.deployment.label(), row.key));
        }
        if done {
            self.campaigns_leaving.remove(&key);
        }
        Ok(done)
    }

    pub(crate) fn leaving_campaigns(&self) -> Result<Vec<CampaignKey>, StoreError> {
        Ok(self.campaigns_leaving.iter().copied().collect())
    }

    pub(crate) fn ended_campaigns(&self, before: WallTime, limit: u32) -> Result<Vec<String>, StoreError> {
        let mut ended: Vec<(WallTime, &str)> = self
            .campaigns
            .values()
            .filter_map(|campaign| Some((campaign.row.finished_at?, campaign.row.campaign_id.as_str())))
            .filter(|(at, _)| *at < before)
            .collect();
        ended.sort_unstable();
        Ok(ended.into_iter().take(limit as usize).map(|(_, id)| id.to_owned()).collect())
    }
}
