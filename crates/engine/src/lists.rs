//! What operators read of campaigns: lists of them, lists of their deployments, and one device's part in one.
//!
//! Always true:
//! - A list is read page by page, and a page costs what it holds.
//! - What is counted comes from counters, or counting stops and says so.

use std::sync::Arc;

use otaru_core::campaign::PackageFacts;
use otaru_core::deployment::Label;
use otaru_proto::DeviceId;
use otaru_store::{
    CampaignFilter, CampaignKey, CampaignRow, Counts, DeploymentFilter, DeploymentKey, DeploymentRecord,
    DeviceKey, Failures, PackageRow, Page, ReportSeq, StoreError, Total,
};

use crate::batch::facts_of;
use crate::campaigns::CampaignError;
use crate::driver::Engine;
use crate::limits::{GONE_LOOKED_AT, RUNS_SHOWN};
use crate::views::{CodeSays, DeploymentView, FailuresView, ReportView};

impl Engine {
    /// Campaigns that `filter` takes, the newest first, and how many there are.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn campaigns(
        &self,
        filter: CampaignFilter,
        page: Page<CampaignKey>,
    ) -> Result<(Vec<(CampaignRow, Counts)>, Total), StoreError> {
        let store = &self.shared.store;
        let total = store.count_campaigns(filter.clone()).await?;
        Ok((store.campaigns(filter, page).await?, total))
    }

    /// A campaign's deployments that `filter` takes, the oldest first, of each device the latest run; and how many there
    /// are in all.
    ///
    /// # Errors
    ///
    /// `Unknown`: there is no such campaign.
    pub async fn deployments(
        &self,
        campaign_id: &str,
        filter: DeploymentFilter,
        page: Page<DeploymentKey>,
    ) -> Result<(Vec<DeploymentView>, u64), CampaignError> {
        let (row, counts) = self.existing(campaign_id).await?;
        let total = match filter.codes {
            None => filter.taken().map(|label| counts.of(label)).sum(),
            Some(_) => self.shared.store.count_failures(row.key, filter.clone()).await?,
        };
        let records = self.shared.store.deployments(row.key, filter, page).await?;
        Ok((self.views(&row.packages, records), total))
    }

    /// How a campaign's failures ended, the most frequent first, at most `ways`, each with at most `examples` of its
    /// devices; and how many failures there are in all.
    ///
    /// # Errors
    ///
    /// `Unknown`: there is no such campaign.
    pub async fn failures(
        &self,
        campaign_id: &str,
        ways: u32,
        examples: u32,
    ) -> Result<(Vec<FailuresView>, u64), CampaignError> {
        let (row, counts) = self.existing(campaign_id).await?;
        let total =
            Label::ALL.into_iter().filter(|label| label.is_failure()).map(|label| counts.of(label)).sum();
        let groups = self.shared.store.failures(row.key, ways, examples).await?;
        let view = |group: Failures| FailuresView {
            outcome: group.label.name(),
            result_code: group.code,
            says: CodeSays::of(group.code),
            n: group.n,
            examples: self.views(&row.packages, group.examples),
        };
        Ok((groups.into_iter().map(view).collect(), total))
    }

    /// A campaign on one device: the latest run first, then those before, the newest first, at most
    /// [`RUNS_SHOWN`] in all. Never empty.
    ///
    /// # Errors
    ///
    /// `Unknown`: there is no such campaign. `NotOn`: it has no deployment on that device.
    pub async fn deployment_runs(
        &self,
        campaign_id: &str,
        device_id: &str,
    ) -> Result<Vec<DeploymentView>, CampaignError> {
        let (row, device) = self.part_of(campaign_id, device_id).await?;
        let runs = self.shared.store.runs(row.key, device, RUNS_SHOWN).await?;
        Ok(self.views(&row.packages, runs))
    }

    /// What a device said that belonged to a campaign, the newest first, and where to go on, if there may be more.
    /// A page may hold less than `limit`, also nothing, and not be the last.
    ///
    /// # Errors
    ///
    /// `Unknown`: there is no such campaign. `NotOn`: it has no deployment on that device.
    pub async fn deployment_reports(
        &self,
        campaign_id: &str,
        device_id: &str,
        before: Option<ReportSeq>,
        limit: u32,
    ) -> Result<(Vec<ReportView>, Option<ReportSeq>), CampaignError> {
        let (row, device) = self.part_of(campaign_id, device_id).await?;
        let page = self.shared.store.campaign_reports(row.key, device, before, limit).await?;
        Ok((page.reports.into_iter().map(ReportView::of).collect(), page.before))
    }

    /// A campaign and one of its devices.
    ///
    /// One that was deleted is found as well, unless the campaign is too large to be walked over for it.
    async fn part_of(
        &self,
        campaign_id: &str,
        device_id: &str,
    ) -> Result<(CampaignRow, DeviceKey), CampaignError> {
        let (row, counts) = self.existing(campaign_id).await?;
        let not_on = || CampaignError::NotOn {
            campaign_id: campaign_id.to_owned(),
            device_id: device_id.chars().take(256).collect(),
        };
        let id = DeviceId::parse(device_id).map_err(|_| not_on())?;
        let store = &self.shared.store;
        if let Some(device) = store.device(&id).await?
            && store.deployment_of(row.key, device.row.key).await?.is_some()
        {
            return Ok((row, device.row.key));
        }
        if counts.total() > GONE_LOOKED_AT {
            return Err(not_on());
        }
        let gone = store.deployment_of_gone(row.key, &id).await?.ok_or_else(not_on)?;
        Ok((row, gone.row.device))
    }

    pub(crate) fn views(
        &self,
        packages: &[Arc<PackageRow>],
        records: Vec<DeploymentRecord>,
    ) -> Vec<DeploymentView> {
        let facts: Vec<PackageFacts> = packages.iter().map(|package| facts_of(package)).collect();
        let view = |record| DeploymentView::of(record, packages, &facts, &self.shared.downloads);
        records.into_iter().map(view).collect()
    }
}
