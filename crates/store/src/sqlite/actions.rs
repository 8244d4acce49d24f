//! What operators do to deployments: which of them are meant, further runs, and what is not done yet.

use otaru_core::WallTime;
use otaru_core::campaign::{Act, CampaignState, Selection};
use otaru_proto::ResultCode;
use rusqlite::{Connection, Row};

use super::columns::{Columns, Statements, to_json};
use super::deployments::{deployment_by_key, deployment_columns, deployment_row};
use super::lists::deployment_keys;
use super::{Reading, Tx};
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, Writes};
use crate::transact::{Latest, Progress, Which};

/// The latest run of a campaign on a device.
pub(super) const LATEST_OF: &str = concat!(
    "SELECT ",
    deployment_columns!(),
    " FROM deployment t WHERE t.device = ?1 AND t.campaign = ?2 ORDER BY t.run DESC LIMIT 1"
);

/// The deployments that are asked for, by key.
pub(super) fn latest_runs(conn: &Connection, latest: &Latest) -> Result<Vec<DeploymentRow>, StoreError> {
    let campaign = latest.campaign;
    let mut rows = Vec::new();
    match &latest.which {
        Which::Devices(devices) => {
            for device in devices {
                rows.extend(conn.one(LATEST_OF, (device, campaign), deployment_row)?);
            }
            rows.sort_by_key(|row| row.key);
            rows.dedup_by_key(|row| row.key);
        }
        Which::Page { filter, page, until } => {
            let keys = deployment_keys(conn, campaign, filter, *page)?;
            for key in keys.into_iter().filter(|key| until.is_none_or(|until| *key <= until)) {
                rows.extend(deployment_by_key(conn, key)?);
            }
        }
    }
    Ok(rows)
}

const ACTION: &str =
    "SELECT seq, campaign, act, selection, until, position, actor, created_at FROM campaign_action";

fn action(row: &Row<'_>) -> rusqlite::Result<ActionRow> {
    Ok(ActionRow {
        key: row.get(0)?,
        campaign: row.get(1)?,
        act: row.word(2)?,
        selection: row.json(3)?,
        until: row.get(4)?,
        position: Some(row.get(5)?).filter(|position: &DeploymentKey| position.0 > 0),
        actor: row.get(6)?,
        created_at: row.wall(7)?,
    })
}

/// How many wishes wait for a campaign.
fn action_count(conn: &Connection, campaign: CampaignKey) -> Result<usize, StoreError> {
    let all: Vec<ActionKey> =
        conn.all("SELECT seq FROM campaign_action WHERE campaign = ?1", [campaign], |row| row.get(0))?;
    Ok(all.len())
}

impl Tx<'_> {
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
        let campaign = self.stored_campaign(key)?;
        if !from.contains(&campaign.state) {
            return Ok(Asked::WrongState(campaign.state));
        }
        let waiting = action_count(self.conn, key)?;
        if waiting >= most {
            return Ok(Asked::TooMany(waiting));
        }
        self.conn.run(
            "INSERT INTO campaign_action (campaign, act, selection, until, actor, created_at)
             VALUES (?1, ?2, ?3, (SELECT coalesce(max(key), 0) FROM deployment), ?4, ?5)",
            (key, act.name(), to_json(selection)?, &actor.name, now.0),
        )?;
        let seq = self.conn.last_insert_rowid();
        self.note(actor, rules::acted(act), &campaign.campaign_id, now)?;
        let noted = self.conn.one(&format!("{ACTION} WHERE seq = ?1"), [seq], action)?;
        noted
            .map(Asked::Noted)
            .ok_or_else(|| StoreError::Constraint("what was noted is not there".to_owned()))
    }

    /// Makes further runs; their keys, in order.
    pub(super) fn write_runs(
        &mut self,
        writes: &Writes,
        now: WallTime,
    ) -> Result<Vec<DeploymentKey>, StoreError> {
        let mut made = Vec::with_capacity(writes.runs.len());
        for write in &writes.runs {
            self.conn.run(
                "INSERT INTO deployment (campaign, device, run, wave, label, wake_at, result_code, body, created_at,
                     updated_at)
                 SELECT campaign, device, ?2, wave, ?3, ?4, ?5, ?6, ?7, ?7 FROM deployment WHERE key = ?1",
                (
                    write.previous,
                    write.run,
                    write.deployment.label().name(),
                    write.deployment.wake_at().map(|at| at.0),
                    write.deployment.result_code.map(ResultCode::to_wire),
                    to_json(&write.deployment)?,
                    now.0,
                ),
            )?;
            made.push(DeploymentKey(self.conn.last_insert_rowid()));
        }
        Ok(made)
    }

    /// Lets a campaign that has finished go on.
    pub(super) fn reopen_campaign(&mut self, key: CampaignKey) -> Result<(), StoreError> {
        let missing = || StoreError::Constraint(format!("there is no campaign with key {}", key.0));
        let mut row = CampaignRow::clone(&*self.campaign_for_batch(key)?.ok_or_else(missing)?);
        if rules::reopen_row(&mut row) {
            self.write_campaign(&row)?;
        }
        Ok(())
    }

    pub(super) fn note_progress(&mut self, action: ActionKey, progress: Progress) -> Result<(), StoreError> {
        match progress {
            Progress::UpTo(position) => self
                .conn
                .run("UPDATE campaign_action SET position = ?2 WHERE seq = ?1", (action, position))?,
            Progress::Done => self.conn.run("DELETE FROM campaign_action WHERE seq = ?1", [action])?,
        };
        Ok(())
    }
}

impl Reading<'_> {
    pub(crate) fn actions(&self, campaign: Option<CampaignKey>) -> Result<Vec<ActionRow>, StoreError> {
        match campaign {
            Some(key) => self.conn.all(&format!("{ACTION} WHERE campaign = ?1 ORDER BY seq"), [key], action),
            None => self.conn.all(&format!("{ACTION} ORDER BY seq"), [], action),
        }
    }
}
