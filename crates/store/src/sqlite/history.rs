//! What devices have said, and what is to be said to them.

use otaru_core::Epoch;
use rusqlite::Row;

use super::Reading;
use super::columns::{Columns, Statements};
use crate::error::StoreError;
use crate::limits::REPORTS_LOOKED_AT;
use crate::rows::*;
use crate::transact::{OutboxLine, Say};

/// How a line of the outbox is stored: the word, and a notice's package and attempt.
pub(super) fn say_columns(say: Say) -> (&'static str, Option<u8>, Option<u32>) {
    match say {
        Say::AskVersion => ("ask_version", None, None),
        Say::Notice { package, attempt } => ("notice", Some(package), Some(attempt)),
    }
}

fn say(row: &Row<'_>, at: usize) -> rusqlite::Result<Say> {
    match row.get_ref(at)?.as_str()? {
        "ask_version" => Ok(Say::AskVersion),
        "notice" => Ok(Say::Notice { package: row.get(at + 1)?, attempt: row.get(at + 2)? }),
        other => Err(rusqlite::Error::FromSqlConversionFailure(
            at,
            rusqlite::types::Type::Text,
            format!("column say: no word {other:?}").into(),
        )),
    }
}

impl Reading<'_> {
    pub(crate) fn outbox(&self, limit: u32) -> Result<Vec<(OutboxSeq, OutboxLine)>, StoreError> {
        self.conn.all(
            "SELECT seq, device, via, epoch, deployment, say, package, attempt FROM outbox ORDER BY seq LIMIT ?1",
            [limit],
            |row| {
                let line = OutboxLine {
                    device: row.get(1)?,
                    via: row.get(2)?,
                    epoch: Epoch(row.get(3)?),
                    deployment: row.get(4)?,
                    say: say(row, 5)?,
                };
                Ok((row.get(0)?, line))
            },
        )
    }

    pub(crate) fn reports(
        &self,
        device: DeviceKey,
        before: Option<ReportSeq>,
        limit: u32,
    ) -> Result<Vec<ReportRecord>, StoreError> {
        let mut reports = Vec::new();
        if limit > 0 {
            self.walk(device, before, |record, _| {
                reports.push(record);
                reports.len() < limit as usize
            })?;
        }
        Ok(reports)
    }

    pub(crate) fn campaign_reports(
        &self,
        campaign: CampaignKey,
        device: DeviceKey,
        before: Option<ReportSeq>,
        limit: u32,
    ) -> Result<CampaignReports, StoreError> {
        let (mut page, mut looked_at) = (CampaignReports::default(), 0);
        let mut last = None;
        let is_cut = self.walk(device, before, |record, of| {
            last = Some(record.seq);
            looked_at += 1;
            if of == Some(campaign) {
                page.reports.push(record);
            }
            page.reports.len() < limit as usize && looked_at < REPORTS_LOOKED_AT
        })?;
        page.before = last.filter(|_| is_cut);
        Ok(page)
    }

    /// Hands the reports of a device over, the newest first, each with its campaign, until `goes_on` says no or there are
    /// none left. Whether there are.
    fn walk(
        &self,
        device: DeviceKey,
        before: Option<ReportSeq>,
        mut goes_on: impl FnMut(ReportRecord, Option<CampaignKey>) -> bool,
    ) -> Result<bool, StoreError> {
        let mut next: Option<ReportSeq> = match before {
            Some(before) => self.conn.one(
                "SELECT previous FROM report WHERE seq = ?1 AND device = ?2",
                (before, device),
                |row| row.get(0),
            )?,
            None => {
                self.conn.one("SELECT last_report FROM device_state WHERE device = ?1", [device], |row| {
                    row.get(0)
                })?
            }
        }
        .flatten();
        let mut statement = self.conn.statement(
            "SELECT r.previous, r.received_at, r.payload, r.reading, c.campaign_id, t.campaign
             FROM report r LEFT JOIN deployment t ON t.key = r.deployment LEFT JOIN campaign c ON c.key = t.campaign
             WHERE r.seq = ?1 AND r.device = ?2",
        )?;
        while let Some(seq) = next {
            let mut rows = statement.query((seq, device))?;
            // The oldest may have been deleted: there the history ends.
            let Some(row) = rows.next()? else { break };
            next = row.get(0)?;
            let record = ReportRecord {
                seq,
                received_at: row.wall(1)?,
                payload: row.get(2)?,
                reading: row.get(3)?,
                campaign_id: row.get(4)?,
            };
            if !goes_on(record, row.get(5)?) {
                return Ok(next.is_some());
            }
        }
        Ok(false)
    }
}
