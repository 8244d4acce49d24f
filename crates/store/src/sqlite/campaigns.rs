//! Campaigns: making them, moving them, and how many of their deployments are where.

use std::sync::Arc;

use otaru_core::WallTime;
use otaru_core::campaign::CampaignState;
use otaru_core::deployment::Label;
use rusqlite::{Connection, Row};

use super::columns::{Columns, Statements, to_integer, to_json};
use super::packages::package_by_key;
use super::{Reading, Tx};
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, action};

macro_rules! campaign_with {
    ($targets:literal) => {
        concat!(
            "SELECT c.key, c.campaign_id, c.name, c.state, c.started, c.filled, p.product_id, c.policy, ",
            $targets,
            ", c.created_at, c.started_at, c.finished_at, c.created_by, c.ext_info, c.start_at
             FROM campaign c CROSS JOIN product p ON p.key = c.product WHERE c.key = ?1"
        )
    };
}

const CAMPAIGN: &str = campaign_with!("c.targets");

/// Without the list of its devices, if it has one.
const CAMPAIGN_SHOWN: &str = campaign_with!(
    "CASE WHEN substr(c.targets, 1, 11) = '{\"devices\":' THEN '{\"devices\":[]}' ELSE c.targets END"
);

/// The condition of the index `campaign_scheduled`, word for word; SQLite would rather take the one by state and sort.
macro_rules! scheduled {
    () => {
        "start_at IS NOT NULL AND started = 0 AND state IN ('preparing', 'scheduled')"
    };
}

/// The campaigns whose time has come, the first first.
pub(super) const START_DUE: &str = concat!(
    "SELECT key FROM campaign INDEXED BY campaign_scheduled WHERE ",
    scheduled!(),
    " AND start_at <= ?1 ORDER BY start_at LIMIT ?2"
);

pub(super) const NEXT_START: &str = concat!(
    "SELECT start_at FROM campaign INDEXED BY campaign_scheduled WHERE ",
    scheduled!(),
    " ORDER BY start_at LIMIT 1"
);

/// The campaign with its packages still missing.
fn campaign(row: &Row<'_>) -> rusqlite::Result<CampaignRow> {
    Ok(CampaignRow {
        key: row.get(0)?,
        campaign_id: row.get(1)?,
        name: row.get(2)?,
        state: row.campaign_state(3)?,
        started: row.get(4)?,
        filled: row.get(5)?,
        product_id: row.get(6)?,
        packages: Vec::new(),
        policy: row.json(7)?,
        targets: row.json(8)?,
        created_at: row.wall(9)?,
        started_at: row.wall_or_none(10)?,
        finished_at: row.wall_or_none(11)?,
        created_by: row.get(12)?,
        ext_info: row.get(13)?,
        start_at: row.wall_or_none(14)?,
    })
}

/// The campaign with this key, by `CAMPAIGN` or `CAMPAIGN_SHOWN`.
fn campaign_row(conn: &Connection, sql: &str, key: CampaignKey) -> Result<Option<CampaignRow>, StoreError> {
    let Some(mut row) = conn.one(sql, [key], campaign)? else {
        return Ok(None);
    };
    let packages: Vec<PackageKey> = conn.all(
        "SELECT package FROM campaign_package WHERE campaign = ?1 ORDER BY position",
        [key],
        |row| row.get(0),
    )?;
    for package in packages {
        row.packages.extend(package_by_key(conn, package)?.map(Arc::new));
    }
    Ok(Some(row))
}

/// What the counters of a campaign say.
pub(super) fn counts(conn: &Connection, key: CampaignKey) -> Result<Counts, StoreError> {
    let counts =
        conn.all("SELECT label, n FROM campaign_count WHERE campaign = ?1 AND n > 0", [key], |row| {
            Ok((row.label(0)?, row.unsigned(1)?))
        })?;
    Ok(Counts(counts.into_iter().collect()))
}

impl Tx<'_> {
    pub(crate) fn create_campaign(
        &mut self,
        actor: &Actor,
        new: &NewCampaign,
        now: WallTime,
    ) -> Result<CampaignRow, StoreError> {
        let product = self.product_of(actor, &new.product_id)?;
        let added = self.conn.run(
            "INSERT INTO campaign (product, campaign_id, name, state, started, filled, policy, targets, created_at,
                 started_at, created_by, ext_info, start_at)
             VALUES (?1, ?2, ?3, ?4, ?5, FALSE, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT (campaign_id) DO NOTHING",
            (
                product,
                &new.campaign_id,
                &new.name,
                CampaignState::Preparing.name(),
                new.started,
                to_json(&new.policy)?,
                to_json(&new.targets)?,
                now.0,
                new.started.then_some(now.0),
                &actor.name,
                &new.ext_info,
                new.start_at.map(|at| at.0),
            ),
        )?;
        if added == 0 {
            return Err(StoreError::Exists { what: "campaign", id: new.campaign_id.clone() });
        }
        let key = CampaignKey(self.conn.last_insert_rowid());
        for (package, position) in new.packages.iter().zip(0_i64..) {
            if package_by_key(self.conn, *package)?.is_none() {
                return Err(StoreError::Missing { what: "package", id: format!("with key {}", package.0) });
            }
            self.conn.run(
                "INSERT INTO campaign_package (campaign, position, package) VALUES (?1, ?2, ?3)",
                (key, position, package),
            )?;
        }
        if let Targets::Groups(groups) = &new.targets {
            for group in groups {
                let there =
                    self.conn.one("SELECT 1 FROM device_group WHERE key = ?1", [group], |_| Ok(()))?;
                let id = format!("with key {}", group.0);
                there.ok_or(StoreError::Missing { what: "group", id })?;
            }
        }
        self.note(actor, action::CAMPAIGN_CREATED, &new.campaign_id, now)?;
        self.stored_campaign(key)
    }

    pub(crate) fn move_campaign(
        &mut self,
        actor: &Actor,
        key: CampaignKey,
        from: &[CampaignState],
        to: CampaignState,
        started: Option<bool>,
        now: WallTime,
    ) -> Result<Option<CampaignRow>, StoreError> {
        let mut row = self.stored_campaign(key)?;
        if !from.contains(&row.state) {
            return Ok(None);
        }
        let action = rules::move_row(&mut row, to, started, now);
        self.write_campaign(&row)?;
        self.note(actor, action, &row.campaign_id, now)?;
        Ok(Some(row))
    }

    pub(crate) fn schedule_campaign(
        &mut self,
        actor: &Actor,
        key: CampaignKey,
        start_at: Option<WallTime>,
        now: WallTime,
    ) -> Result<Option<CampaignRow>, StoreError> {
        let mut row = self.stored_campaign(key)?;
        let Some(action) = rules::schedule_row(&mut row, start_at) else { return Ok(None) };
        self.write_campaign(&row)?;
        self.note(actor, action, &row.campaign_id, now)?;
        Ok(Some(row))
    }

    pub(crate) fn start_due(
        &mut self,
        actor: &Actor,
        limit: u32,
        now: WallTime,
    ) -> Result<Vec<CampaignRow>, StoreError> {
        let due: Vec<CampaignKey> = self.conn.all(START_DUE, (now.0, limit), |row| row.get(0))?;
        let mut started = Vec::with_capacity(due.len());
        for key in due {
            let mut row = self.stored_campaign(key)?;
            if let Some(action) = rules::start_row_if_due(&mut row, now) {
                self.write_campaign(&row)?;
                self.note(actor, action, &row.campaign_id, now)?;
                started.push(row);
            }
        }
        Ok(started)
    }

    /// Ends a campaign as finished unless it has ended already.
    pub(super) fn end_campaign(&mut self, key: CampaignKey, now: WallTime) -> Result<(), StoreError> {
        let missing = || StoreError::Constraint(format!("there is no campaign with key {}", key.0));
        let row = self.campaign_for_batch(key)?.ok_or_else(missing)?;
        if !rules::is_over(row.state) {
            let mut row = CampaignRow::clone(&row);
            rules::move_row(&mut row, CampaignState::Finished, None, now);
            self.write_campaign(&row)?;
        }
        Ok(())
    }

    pub(super) fn write_campaign(&mut self, row: &CampaignRow) -> Result<(), StoreError> {
        self.conn.run(
            "UPDATE campaign SET state = ?2, started = ?3, started_at = ?4, finished_at = ?5, start_at = ?6
             WHERE key = ?1",
            (
                row.key,
                row.state.name(),
                row.started,
                row.started_at.map(|at| at.0),
                row.finished_at.map(|at| at.0),
                row.start_at.map(|at| at.0),
            ),
        )?;
        self.cache.campaign_changed(row.key);
        Ok(())
    }

    pub(super) fn stored_campaign(&self, key: CampaignKey) -> Result<CampaignRow, StoreError> {
        campaign_row(self.conn, CAMPAIGN, key)?
            .ok_or_else(|| StoreError::Missing { what: "campaign", id: format!("with key {}", key.0) })
    }

    /// The campaign as batches see it: kept between them.
    pub(super) fn campaign_for_batch(
        &mut self,
        key: CampaignKey,
    ) -> Result<Option<Arc<CampaignRow>>, StoreError> {
        if let Some(kept) = self.cache.campaign(key) {
            return Ok(Some(kept));
        }
        let row = campaign_row(self.conn, CAMPAIGN, key)?.map(Arc::new);
        if let Some(row) = &row {
            self.cache.keep_campaign(Arc::clone(row));
        }
        Ok(row)
    }

    /// Moves one counter.
    pub(super) fn count(&mut self, key: CampaignKey, label: Label, by: i64) -> Result<(), StoreError> {
        let known = self.conn.run(
            "UPDATE campaign_count SET n = n + ?3 WHERE campaign = ?1 AND label = ?2",
            (key, label.name(), by),
        )?;
        if known == 0 {
            self.conn.run(
                "INSERT INTO campaign_count (campaign, label, n) VALUES (?1, ?2, ?3)",
                (key, label.name(), by),
            )?;
        }
        Ok(())
    }

    /// Moves one counter of failures.
    pub(super) fn count_failure(
        &mut self,
        key: CampaignKey,
        label: Label,
        code: Option<i64>,
        by: i64,
    ) -> Result<(), StoreError> {
        let (has_code, number) = (code.is_some(), code.unwrap_or(0));
        let known = self.conn.run(
            "UPDATE campaign_failure SET n = n + ?5
             WHERE campaign = ?1 AND label = ?2 AND has_code = ?3 AND code = ?4",
            (key, label.name(), has_code, number, by),
        )?;
        if known == 0 {
            self.conn.run(
                "INSERT INTO campaign_failure (campaign, label, has_code, code, n) VALUES (?1, ?2, ?3, ?4, ?5)",
                (key, label.name(), has_code, number, by),
            )?;
        }
        Ok(())
    }

    /// Adds to one counter.
    pub(super) fn count_up(&mut self, key: CampaignKey, label: Label, by: usize) -> Result<(), StoreError> {
        self.count(key, label, to_integer(by as u64)?)
    }
}

impl Reading<'_> {
    pub(crate) fn campaign(&self, campaign_id: &str) -> Result<Option<(CampaignRow, Counts)>, StoreError> {
        let key = self
            .conn
            .one("SELECT key FROM campaign WHERE campaign_id = ?1", [campaign_id], |row| row.get(0))?;
        match key {
            Some(key) => self.campaign_by_key(key),
            None => Ok(None),
        }
    }

    pub(crate) fn campaign_by_key(
        &self,
        key: CampaignKey,
    ) -> Result<Option<(CampaignRow, Counts)>, StoreError> {
        match campaign_row(self.conn, CAMPAIGN_SHOWN, key)? {
            Some(row) => Ok(Some((row, counts(self.conn, key)?))),
            None => Ok(None),
        }
    }

    pub(crate) fn next_start(&self) -> Result<Option<WallTime>, StoreError> {
        self.conn.one(NEXT_START, [], |row| row.wall(0))
    }

    pub(crate) fn unfilled_campaigns(&self) -> Result<Vec<CampaignKey>, StoreError> {
        self.conn.all("SELECT key FROM campaign WHERE filled = 0 ORDER BY key", [], |row| row.get(0))
    }

    pub(crate) fn recount(&self, campaign: CampaignKey) -> Result<Counts, StoreError> {
        let counts = self.conn.all(
            "SELECT t.label, count(*) FROM deployment t WHERE t.campaign = ?1
             AND NOT EXISTS (SELECT 1 FROM deployment later WHERE later.device = t.device
                 AND later.campaign = t.campaign AND later.run > t.run)
             GROUP BY t.label",
            [campaign],
            |row| Ok((row.label(0)?, row.unsigned(1)?)),
        )?;
        Ok(Counts(counts.into_iter().collect()))
    }
}
