//! Deployments: single ones, and lists of them.

use otaru_core::ServiceTime;
use rusqlite::{Connection, Row};

use super::Reading;
use super::columns::{Columns, Statements};
use super::lists::deployment_keys;
use crate::error::StoreError;
use crate::rows::*;

/// The columns that `deployment_row` reads, in its order.
macro_rules! deployment_columns {
    () => {
        "t.key, t.campaign, t.device, t.run, t.wave, t.body, t.created_at, t.updated_at"
    };
}
pub(super) use deployment_columns;

pub(super) fn deployment_row(row: &Row<'_>) -> rusqlite::Result<DeploymentRow> {
    Ok(DeploymentRow {
        key: row.get(0)?,
        campaign: row.get(1)?,
        device: row.get(2)?,
        run: row.get(3)?,
        wave: row.get(4)?,
        deployment: row.json(5)?,
        created_at: row.wall(6)?,
        updated_at: row.wall(7)?,
    })
}

/// The deployment with this key.
pub(super) fn deployment_by_key(
    conn: &Connection,
    key: DeploymentKey,
) -> Result<Option<DeploymentRow>, StoreError> {
    conn.one(
        concat!("SELECT ", deployment_columns!(), " FROM deployment t WHERE t.key = ?1"),
        [key],
        deployment_row,
    )
}

pub(super) const NEXT_WAKE: &str =
    "SELECT wake_at FROM deployment WHERE wake_at IS NOT NULL ORDER BY wake_at LIMIT 1";

/// The earliest deadline there is.
pub(super) fn next_wake(conn: &Connection) -> Result<Option<ServiceTime>, StoreError> {
    conn.one(NEXT_WAKE, [], |row| row.service(0))
}

impl Reading<'_> {
    pub(crate) fn next_wake(&self) -> Result<Option<ServiceTime>, StoreError> {
        next_wake(self.conn)
    }

    pub(crate) fn deployments(
        &self,
        campaign: CampaignKey,
        filter: &DeploymentFilter,
        page: Page<DeploymentKey>,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        let keys = deployment_keys(self.conn, campaign, filter, page)?;
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            records.extend(self.deployment(key)?);
        }
        Ok(records)
    }

    pub(crate) fn deployment(&self, key: DeploymentKey) -> Result<Option<DeploymentRecord>, StoreError> {
        self.conn.one(&records_where("t.key = ?1"), [key], deployment_record)
    }

    pub(crate) fn deployment_of(
        &self,
        campaign: CampaignKey,
        device: DeviceKey,
    ) -> Result<Option<DeploymentRecord>, StoreError> {
        let sql = records_where("t.device = ?1 AND t.campaign = ?2 ORDER BY t.run DESC LIMIT 1");
        self.conn.one(&sql, (device, campaign), deployment_record)
    }

    pub(crate) fn runs(
        &self,
        campaign: CampaignKey,
        device: DeviceKey,
        limit: u32,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        let sql = records_where("t.device = ?1 AND t.campaign = ?2 ORDER BY t.run DESC LIMIT ?3");
        self.conn.all(&sql, (device, campaign, limit), deployment_record)
    }

    pub(crate) fn deployments_of_device(
        &self,
        device: DeviceKey,
        limit: u32,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        let sql = records_where("t.device = ?1 ORDER BY t.key DESC LIMIT ?2");
        self.conn.all(&sql, (device, limit), deployment_record)
    }
}

fn records_where(condition: &str) -> String {
    format!(
        "SELECT {}, d.device_id, c.campaign_id FROM deployment t CROSS JOIN device d ON d.key = t.device
         CROSS JOIN campaign c ON c.key = t.campaign WHERE {condition}",
        deployment_columns!()
    )
}

fn deployment_record(row: &Row<'_>) -> rusqlite::Result<DeploymentRecord> {
    Ok(DeploymentRecord { row: deployment_row(row)?, device_id: row.device_id(8)?, campaign_id: row.get(9)? })
}
