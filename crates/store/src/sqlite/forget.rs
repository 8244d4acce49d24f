//! Forgetting: what has become old, and campaigns that were deleted.
//!
//! Always true:
//! - A step looks at as many rows as its chunk says, wherever it begins.
//! - What is unfinished is never touched.

use otaru_core::WallTime;

use super::campaigns::counts;
use super::columns::{Columns, Statements, to_json};
use super::{Reading, Tx};
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, action};

impl Tx<'_> {
    pub(crate) fn forget(
        &mut self,
        kind: Aging,
        before: WallTime,
        from: i64,
        chunk: u32,
    ) -> Result<Forgotten, StoreError> {
        let (look, delete) = match kind {
            Aging::Reports => (
                "SELECT seq, received_at FROM report WHERE seq > ?1 ORDER BY seq LIMIT ?2",
                "DELETE FROM report WHERE seq IN (SELECT value FROM json_each(?1))",
            ),
            Aging::DeviceLogs => (
                "SELECT seq, received_at FROM device_log WHERE seq > ?1 ORDER BY seq LIMIT ?2",
                "DELETE FROM device_log WHERE seq IN (SELECT value FROM json_each(?1))",
            ),
            Aging::Audit => (
                "SELECT seq, at FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2",
                "DELETE FROM audit WHERE seq IN (SELECT value FROM json_each(?1))",
            ),
            Aging::Quarantine => (
                "SELECT seq, at FROM quarantine WHERE seq > ?1 ORDER BY seq LIMIT ?2",
                "DELETE FROM quarantine WHERE seq IN (SELECT value FROM json_each(?1))",
            ),
        };
        let rows = self.conn.all(look, (from, chunk), |row| Ok((row.get(0)?, row.wall(1)?)))?;
        // The others never give a place again.
        let newest = if kind == Aging::Reports { self.places.report - 1 } else { 0 };
        let (places, next) = rules::forgettable(&rows, before, chunk, newest);
        if !places.is_empty() {
            self.conn.run(delete, [to_json(&places)?])?;
        }
        Ok(Forgotten { rows: u32::try_from(places.len()).unwrap_or(u32::MAX), next })
    }

    pub(crate) fn delete_campaign(
        &mut self,
        actor: &Actor,
        campaign_id: &str,
        now: WallTime,
    ) -> Result<Option<CampaignKey>, StoreError> {
        let key: CampaignKey = self
            .conn
            .one(
                "SELECT c.key FROM campaign c CROSS JOIN product p ON p.key = c.product
                 WHERE c.campaign_id = ?1 AND p.project = ?2",
                (campaign_id, actor.project),
                |row| row.get(0),
            )?
            .ok_or_else(|| StoreError::Missing { what: "campaign", id: campaign_id.to_owned() })?;
        let row = self.stored_campaign(key)?;
        let acts =
            self.conn.one("SELECT 1 FROM campaign_action WHERE campaign = ?1 LIMIT 1", [key], |_| Ok(()))?;
        if !rules::is_over(row.state) || counts(self.conn, key)?.unfinished() > 0 || acts.is_some() {
            return Ok(None);
        }
        self.conn.run("INSERT INTO campaign_leaving (campaign) VALUES (?1)", [key])?;
        for package in &row.packages {
            if let Some((artifact_id, _)) = package.content.artifact() {
                self.idle_from(artifact_id, now)?;
            }
        }
        for sql in [
            "DELETE FROM campaign_package WHERE campaign = ?1",
            "DELETE FROM campaign_count WHERE campaign = ?1",
            "DELETE FROM campaign_failure WHERE campaign = ?1",
            "DELETE FROM campaign WHERE key = ?1",
        ] {
            self.conn.run(sql, [key])?;
        }
        self.cache.campaign_changed(key);
        self.note(actor, action::CAMPAIGN_DELETED, campaign_id, now)?;
        Ok(Some(key))
    }

    pub(crate) fn forget_deployments(&mut self, key: CampaignKey, chunk: u32) -> Result<bool, StoreError> {
        let is_leaving =
            self.conn.one("SELECT 1 FROM campaign_leaving WHERE campaign = ?1", [key], |_| Ok(()))?.is_some();
        if !is_leaving {
            return Ok(true);
        }
        let devices: Vec<DeviceKey> = self.conn.all(
            "SELECT device FROM deployment WHERE campaign = ?1 AND replaced = 0 LIMIT ?2",
            (key, chunk),
            |row| row.get(0),
        )?;
        for device in &devices {
            // With its earlier runs.
            self.conn.run("DELETE FROM deployment WHERE device = ?1 AND campaign = ?2", (device, key))?;
        }
        let gateways: Vec<DeviceKey> = self.conn.all(
            "SELECT gateway FROM campaign_gateway WHERE campaign = ?1 LIMIT ?2",
            (key, chunk),
            |row| row.get(0),
        )?;
        for gateway in &gateways {
            self.conn
                .run("DELETE FROM campaign_gateway WHERE campaign = ?1 AND gateway = ?2", (key, gateway))?;
        }
        let done = devices.len().max(gateways.len()) < chunk as usize;
        if done {
            self.conn.run("DELETE FROM campaign_leaving WHERE campaign = ?1", [key])?;
        }
        Ok(done)
    }
}

impl Reading<'_> {
    pub(crate) fn leaving_campaigns(&self) -> Result<Vec<CampaignKey>, StoreError> {
        self.conn.all("SELECT campaign FROM campaign_leaving", [], |row| row.get(0))
    }

    pub(crate) fn ended_campaigns(&self, before: WallTime, limit: u32) -> Result<Vec<String>, StoreError> {
        self.conn.all(
            "SELECT campaign_id FROM campaign WHERE finished_at < ?1 ORDER BY finished_at LIMIT ?2",
            (before.0, limit),
            |row| row.get(0),
        )
    }
}
