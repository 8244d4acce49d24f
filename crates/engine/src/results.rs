//! All results of a campaign, read chunk by chunk while they are sent.
//!
//! Always true:
//! - Each chunk is a read of its own: however slowly somebody takes them, no view of the store is held meanwhile.
//! - Memory holds one chunk.
//! - Each device that is in the campaign from the first chunk to the last comes. One that gets a further run meanwhile may
//!   come twice; then the later row is the newer one.

use std::sync::Arc;

use otaru_store::{CampaignRow, DeploymentFilter, DeploymentKey, Page, StoreError};

use crate::batch::facts_of;
use crate::campaigns::CampaignError;
use crate::driver::{Engine, Shared};
use crate::limits::RESULTS_CHUNK;
use crate::views::{CodeSays, DeploymentView};

/// How a campaign went on one device.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultView {
    /// The device's number as its maker gave it.
    pub node_id: String,
    /// The latest run.
    pub deployment: DeploymentView,
    /// What its result code says.
    pub says: CodeSays,
}

/// The results of a campaign, the oldest deployment first.
pub struct Results {
    shared: Arc<Shared>,
    campaign: CampaignRow,
    filter: DeploymentFilter,
    after: Option<DeploymentKey>,
    is_last: bool,
}

impl Engine {
    /// The results of a campaign that `filter` takes; nothing has been read of them yet.
    ///
    /// # Errors
    ///
    /// `Unknown`: there is no such campaign.
    pub async fn results(
        &self,
        campaign_id: &str,
        filter: DeploymentFilter,
    ) -> Result<Results, CampaignError> {
        let (campaign, _) = self.existing(campaign_id).await?;
        Ok(Results { shared: Arc::clone(&self.shared), campaign, filter, after: None, is_last: false })
    }
}

impl Results {
    /// Whose.
    #[must_use]
    pub fn campaign_id(&self) -> &str {
        &self.campaign.campaign_id
    }

    /// The next chunk; empty when there are no more, and after that as well.
    ///
    /// # Errors
    ///
    /// The store could not be read. Asking again goes on where it was.
    pub async fn next(&mut self) -> Result<Vec<ResultView>, StoreError> {
        if self.is_last {
            return Ok(Vec::new());
        }
        let page = Page { after: self.after, limit: RESULTS_CHUNK };
        let found = self.shared.store.results(self.campaign.key, self.filter.clone(), page).await?;
        self.is_last = found.len() < RESULTS_CHUNK as usize;
        self.after = found.last().map(|last| last.record.row.key).or(self.after);
        let packages = &self.campaign.packages;
        let facts: Vec<_> = packages.iter().map(|package| facts_of(package)).collect();
        let view = |result: otaru_store::ResultRecord| {
            let deployment = DeploymentView::of(result.record, packages, &facts, &self.shared.downloads);
            ResultView { node_id: result.node_id, says: CodeSays::of(deployment.result_code), deployment }
        };
        Ok(found.into_iter().map(view).collect())
    }
}
