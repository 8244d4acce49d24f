//! Deployments: single ones, and lists of them.

use otaru_core::ServiceTime;
use otaru_proto::DeviceId;
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

/// One deployment with its device.
const RESULT: &str = concat!(
    "SELECT ",
    deployment_columns!(),
    ", d.device_id, c.campaign_id, d.node_id FROM deployment t CROSS JOIN device d ON d.key = t.device
     CROSS JOIN campaign c ON c.key = t.campaign WHERE t.key = ?1"
);

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

    pub(crate) fn results(
        &self,
        campaign: CampaignKey,
        filter: &DeploymentFilter,
        page: Page<DeploymentKey>,
    ) -> Result<Vec<ResultRecord>, StoreError> {
        let keys = deployment_keys(self.conn, campaign, filter, page)?;
        let mut statement = self.conn.statement(RESULT)?;
        let mut results = Vec::with_capacity(keys.len());
        for key in keys {
            let mut rows = statement.query([key])?;
            if let Some(row) = rows.next()? {
                results.push(ResultRecord { record: deployment_record(row)?, node_id: row.get(10)? });
            }
        }
        Ok(results)
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

    pub(crate) fn deployment_of_gone(
        &self,
        campaign: CampaignKey,
        device_id: &DeviceId,
    ) -> Result<Option<DeploymentRecord>, StoreError> {
        let found = self.conn.all(&of_gone(), (campaign, device_id.as_str()), deployment_record)?;
        Ok(found.into_iter().max_by_key(|record| record.row.key))
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

/// Deployments of devices that had an id until they were deleted: a walk over those of the campaign.
pub(super) fn of_gone() -> String {
    records_where("t.campaign = ?1 AND t.replaced = 0 AND d.device_id = ?2 AND d.deleted_at IS NOT NULL")
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
