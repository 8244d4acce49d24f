//! What went wrong in a campaign, how often, and on which devices.

use super::Reading;
use super::columns::{Columns, Statements};
use crate::error::StoreError;
use crate::rows::*;

/// The most frequent first; equally frequent ones by their names.
const GROUPS: &str = "SELECT label, has_code, code, n FROM campaign_failure WHERE campaign = ?1 AND n > 0
    ORDER BY n DESC, label, has_code, code LIMIT ?2";

impl Reading<'_> {
    pub(crate) fn failures(
        &self,
        campaign: CampaignKey,
        limit: u32,
        examples: u32,
    ) -> Result<Vec<Failures>, StoreError> {
        let mut groups = self.conn.all(GROUPS, (campaign, limit), |row| {
            let code = if row.get(1)? { Some(row.get(2)?) } else { None };
            Ok(Failures { label: row.label(0)?, code, n: row.unsigned(3)?, examples: Vec::new() })
        })?;
        for group in &mut groups {
            group.examples = self.last_of(campaign, group, examples)?;
        }
        Ok(groups)
    }

    /// The last made deployments of a group.
    fn last_of(
        &self,
        campaign: CampaignKey,
        group: &Failures,
        limit: u32,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        let name = group.label.name();
        let keys: Vec<DeploymentKey> = match group.code {
            Some(code) => self.conn.all(
                concat!(
                    "SELECT key FROM deployment WHERE campaign = ?1 AND label = ?2 AND result_code = ?4
                     AND replaced = 0 AND ",
                    failure!(),
                    " ORDER BY key DESC LIMIT ?3"
                ),
                (campaign, name, limit, code),
                |row| row.get(0),
            )?,
            None => self.conn.all(
                concat!(
                    "SELECT key FROM deployment WHERE campaign = ?1 AND label = ?2 AND result_code IS NULL
                     AND replaced = 0 AND ",
                    failure!(),
                    " ORDER BY key DESC LIMIT ?3"
                ),
                (campaign, name, limit),
                |row| row.get(0),
            )?,
        };
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            records.extend(self.deployment(key)?);
        }
        Ok(records)
    }

    pub(crate) fn count_failures(
        &self,
        campaign: CampaignKey,
        filter: &DeploymentFilter,
    ) -> Result<u64, StoreError> {
        let mut total = 0;
        for label in filter.taken().filter(|label| label.is_failure()) {
            for code in filter.codes.iter().flatten() {
                let n: Option<u64> = self.conn.one(
                    "SELECT n FROM campaign_failure WHERE campaign = ?1 AND label = ?2 AND has_code = ?3 AND code = ?4",
                    (campaign, label.name(), code.is_some(), code.unwrap_or(0)),
                    |row| row.unsigned(0),
                )?;
                total += n.unwrap_or(0);
            }
        }
        Ok(total)
    }
}
