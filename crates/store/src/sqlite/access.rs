//! Tokens, the audit log, and what was kept aside.

use otaru_core::WallTime;
use rusqlite::Row;

use super::columns::{Columns, Statements, to_word};
use super::{Reading, Tx};
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::action;
use crate::transact::QuarantinedEvent;

const TOKEN: &str = "SELECT token_id, name, role, hash, project, created_at FROM token";

fn token(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    Ok(TokenRow {
        token_id: row.get(0)?,
        name: row.get(1)?,
        role: row.word(2)?,
        hash: row.get(3)?,
        project: row.get(4)?,
        created_at: row.wall(5)?,
    })
}

const ACCESS_KEY: &str = "SELECT access_key, name, role, sealed_secret, project, created_at FROM access_key";

fn access_key_row(row: &Row<'_>) -> rusqlite::Result<AccessKeyRow> {
    Ok(AccessKeyRow {
        access_key: row.get(0)?,
        name: row.get(1)?,
        role: row.word(2)?,
        sealed_secret: row.get(3)?,
        project: row.get(4)?,
        created_at: row.wall(5)?,
    })
}

impl Tx<'_> {
    pub(crate) fn add_token(&mut self, actor: &Actor, token: &TokenRow) -> Result<(), StoreError> {
        let added = self.conn.run(
            "INSERT INTO token (project, token_id, name, role, hash, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO NOTHING",
            (
                token.project,
                &token.token_id,
                &token.name,
                to_word(&token.role)?,
                &token.hash,
                token.created_at.0,
            ),
        )?;
        if added == 0 {
            return Err(StoreError::Exists { what: "token", id: token.token_id.clone() });
        }
        self.note(actor, action::TOKEN_ADDED, &token.token_id, token.created_at)
    }

    pub(crate) fn revoke_token(
        &mut self,
        actor: &Actor,
        token_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let gone = self
            .conn
            .run("DELETE FROM token WHERE token_id = ?1 AND project = ?2", (token_id, actor.project))?;
        if gone == 0 {
            return Err(StoreError::Missing { what: "token", id: token_id.to_owned() });
        }
        self.note(actor, action::TOKEN_REVOKED, token_id, now)
    }

    pub(crate) fn add_access_key(&mut self, actor: &Actor, new: &AccessKeyRow) -> Result<(), StoreError> {
        let added = self.conn.run(
            "INSERT INTO access_key (project, access_key, name, role, sealed_secret, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            (
                new.project,
                &new.access_key,
                &new.name,
                to_word(&new.role)?,
                &new.sealed_secret,
                new.created_at.0,
            ),
        )?;
        if added == 0 {
            return Err(StoreError::Exists { what: "access key", id: new.access_key.clone() });
        }
        self.note(actor, action::ACCESS_KEY_ADDED, &new.access_key, new.created_at)
    }

    pub(crate) fn revoke_access_key(
        &mut self,
        actor: &Actor,
        access_key: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let gone = self.conn.run(
            "DELETE FROM access_key WHERE access_key = ?1 AND project = ?2",
            (access_key, actor.project),
        )?;
        if gone == 0 {
            return Err(StoreError::Missing { what: "access key", id: access_key.to_owned() });
        }
        self.note(actor, action::ACCESS_KEY_REVOKED, access_key, now)
    }

    /// Writes a line of the audit log.
    pub(super) fn note(
        &mut self,
        actor: &Actor,
        action: &str,
        subject: &str,
        at: WallTime,
    ) -> Result<(), StoreError> {
        self.conn.run(
            "INSERT INTO audit (project, at, actor, action, subject) VALUES (?1, ?2, ?3, ?4, ?5)",
            (actor.project, at.0, &actor.name, action, subject),
        )?;
        Ok(())
    }

    pub(super) fn keep_aside(
        &mut self,
        project: ProjectKey,
        event: &QuarantinedEvent,
    ) -> Result<(), StoreError> {
        self.conn.run(
            "INSERT INTO quarantine (project, device, at, payload, error) VALUES (?1, ?2, ?3, ?4, ?5)",
            (project, event.device, event.at.0, &event.payload[..], &event.error),
        )?;
        Ok(())
    }
}

impl Reading<'_> {
    pub(crate) fn access_key(&self, access_key: &str) -> Result<Option<AccessKeyRow>, StoreError> {
        self.conn.one(&format!("{ACCESS_KEY} WHERE access_key = ?1"), [access_key], access_key_row)
    }

    pub(crate) fn access_keys(&self) -> Result<Vec<AccessKeyRow>, StoreError> {
        self.conn.all(&format!("{ACCESS_KEY} ORDER BY key"), [], access_key_row)
    }

    pub(crate) fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        self.conn.all(&format!("{TOKEN} ORDER BY seq"), [], token)
    }

    pub(crate) fn token_by_hash(&self, hash: &str) -> Result<Option<TokenRow>, StoreError> {
        self.conn.one(&format!("{TOKEN} WHERE hash = ?1"), [hash], token)
    }

    pub(crate) fn audit(&self, page: Page<i64>) -> Result<Vec<AuditRow>, StoreError> {
        self.conn.all(
            "SELECT seq, at, actor, action, subject FROM audit WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
            (page.after.unwrap_or(i64::MAX), page.limit),
            |row| {
                Ok(AuditRow {
                    seq: row.get(0)?,
                    at: row.wall(1)?,
                    actor: row.get(2)?,
                    action: row.get(3)?,
                    subject: row.get(4)?,
                })
            },
        )
    }

    pub(crate) fn quarantined(&self, limit: u32) -> Result<Vec<QuarantinedRow>, StoreError> {
        self.conn.all(
            "SELECT q.seq, d.device_id, q.at, q.payload, q.error
             FROM quarantine q LEFT JOIN device d ON d.key = q.device ORDER BY q.seq DESC LIMIT ?1",
            [limit],
            |row| {
                Ok(QuarantinedRow {
                    seq: row.get(0)?,
                    device_id: row.device_id_or_none(1)?,
                    at: row.wall(2)?,
                    payload: row.get(3)?,
                    error: row.get(4)?,
                })
            },
        )
    }
}
