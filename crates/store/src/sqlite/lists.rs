//! Lists that are narrowed: a range of an index for each thing that is asked for, merged in the order of the keys.
//!
//! Always true:
//! - A page costs what it holds, wherever in the list it is and however few entries fit: each range begins right
//!   after the last key seen, and of each only as much is read as the page takes.
//! - Nothing is sorted and nothing is walked over. The ranges stand side by side in one statement (`UNION ALL`), since
//!   SQLite would read all of `label IN (…)` and sort it.

use otaru_core::campaign::CampaignState;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::Reading;
use super::columns::Statements;
use crate::error::StoreError;
use crate::limits::{CODES_MAX, COUNTED_MAX};
use crate::rows::*;

/// A statement with its values.
pub(super) struct Question {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Question {
    fn ask<K: rusqlite::types::FromSql>(self, conn: &Connection) -> Result<Vec<K>, StoreError> {
        conn.all(&self.sql, params_from_iter(self.values), |row| row.get(0))
    }
}

/// Collects ranges with their values.
struct Ranges {
    parts: Vec<String>,
    values: Vec<Value>,
}

impl Ranges {
    fn new(values: Vec<Value>) -> Ranges {
        Ranges { parts: Vec::new(), values }
    }

    /// The place of a further value.
    fn place(&mut self, value: impl Into<Value>) -> usize {
        self.values.push(value.into());
        self.values.len()
    }

    /// `None` when there is no range, so that nothing fits.
    fn merged(self, order: &str) -> Option<Question> {
        if self.parts.is_empty() {
            return None;
        }
        let sql = format!("{} ORDER BY {order}", self.parts.join(" UNION ALL "));
        Some(Question { sql, values: self.values })
    }
}

/// The keys of a campaign's deployments after `after`, at most `limit`, oldest first. `None`: nothing fits the filter.
pub(super) fn deployments_question(
    campaign: CampaignKey,
    filter: &DeploymentFilter,
    page: Page<DeploymentKey>,
) -> Option<Question> {
    let after = page.after.map_or(0, |key| key.0);
    let mut ranges = Ranges::new(vec![campaign.0.into(), after.into(), i64::from(page.limit).into()]);
    for label in filter.taken() {
        let label = ranges.place(label.name().to_owned());
        let of_label =
            format!("SELECT key FROM deployment WHERE campaign = ?1 AND label = ?{label} AND replaced = 0");
        match &filter.codes {
            None => ranges.parts.push(format!("{of_label} AND key > ?2")),
            Some(codes) => {
                for code in codes {
                    let with_code = match code {
                        Some(code) => format!("= ?{}", ranges.place(*code)),
                        None => "IS NULL".to_owned(),
                    };
                    let failure = failure!();
                    ranges
                        .parts
                        .push(format!("{of_label} AND {failure} AND result_code {with_code} AND key > ?2"));
                }
            }
        }
    }
    ranges.merged("key LIMIT ?3")
}

/// A campaign's deployments that the filter takes, after `page.after`, at most `page.limit`, oldest first.
pub(super) fn deployment_keys(
    conn: &Connection,
    campaign: CampaignKey,
    filter: &DeploymentFilter,
    page: Page<DeploymentKey>,
) -> Result<Vec<DeploymentKey>, StoreError> {
    if filter.codes.as_ref().is_some_and(|codes| codes.len() > CODES_MAX) {
        return Err(StoreError::Constraint(format!("more than {CODES_MAX} result codes in one question")));
    }
    deployments_question(campaign, filter, page).map_or(Ok(Vec::new()), |question| question.ask(conn))
}

/// The keys of campaigns before `after`, at most `limit`, newest first. `None`: nothing fits the filter.
pub(super) fn campaigns_question(
    product: Option<ProductKey>,
    filter: &CampaignFilter,
    page: Page<CampaignKey>,
) -> Option<Question> {
    let before = page.after.map_or(i64::MAX, |key| key.0);
    let mut ranges = Ranges::new(vec![before.into(), i64::from(page.limit).into()]);
    let named = match &filter.name_part {
        Some(part) => format!(" AND instr(lower(name), ?{}) > 0", ranges.place(part.to_ascii_lowercase())),
        None => String::new(),
    };
    let product = product.map(|product| ranges.place(product.0));
    if let (None, None) = (product, &filter.states) {
        ranges.parts.push(format!("SELECT key FROM campaign WHERE key < ?1{named}"));
    } else {
        let of_product = product.map_or(String::new(), |place| format!("product = ?{place} AND "));
        for state in CampaignState::ALL {
            if filter.states.as_ref().is_none_or(|states| states.contains(&state)) {
                let state = ranges.place(state.name().to_owned());
                ranges.parts.push(format!(
                    "SELECT key FROM campaign WHERE {of_product}state = ?{state} AND key < ?1{named}"
                ));
            }
        }
    }
    ranges.merged("key DESC LIMIT ?2")
}

impl Reading<'_> {
    pub(crate) fn campaigns(
        &self,
        filter: &CampaignFilter,
        page: Page<CampaignKey>,
    ) -> Result<Vec<(CampaignRow, Counts)>, StoreError> {
        let keys: Vec<CampaignKey> = match self.campaigns_wanted(filter, page)? {
            Some(question) => question.ask(self.conn)?,
            None => Vec::new(),
        };
        let mut campaigns = Vec::with_capacity(keys.len());
        for key in keys {
            campaigns.extend(self.campaign_by_key(key)?);
        }
        Ok(campaigns)
    }

    pub(crate) fn count_campaigns(&self, filter: &CampaignFilter) -> Result<Total, StoreError> {
        if filter.name_part.is_some() {
            let page = Page { after: None, limit: COUNTED_MAX + 1 };
            let found: Vec<CampaignKey> = match self.campaigns_wanted(filter, page)? {
                Some(question) => question.ask(self.conn)?,
                None => Vec::new(),
            };
            let n = found.len() as u64;
            let most = u64::from(COUNTED_MAX);
            return Ok(Total { n: n.min(most), is_capped: n > most });
        }
        let product = match &filter.product_id {
            Some(product_id) => match self.product(product_id)? {
                Some(product) => product.key,
                None => return Ok(Total::default()),
            },
            None => ProductKey(0),
        };
        let mut total = Total::default();
        for state in CampaignState::ALL {
            if filter.states.as_ref().is_none_or(|states| states.contains(&state)) {
                let n: Option<i64> = self.conn.one(
                    "SELECT n FROM campaign_tally WHERE product = ?1 AND state = ?2",
                    (product, state.name()),
                    |row| row.get(0),
                )?;
                total.n += n.unwrap_or(0).unsigned_abs();
            }
        }
        Ok(total)
    }

    fn campaigns_wanted(
        &self,
        filter: &CampaignFilter,
        page: Page<CampaignKey>,
    ) -> Result<Option<Question>, StoreError> {
        let product = match &filter.product_id {
            Some(product_id) => match self.product(product_id)? {
                Some(product) => Some(product.key),
                None => return Ok(None),
            },
            None => None,
        };
        Ok(campaigns_question(product, filter, page))
    }
}
