//! The runs of the platform on this store, and how far its time has come.

use otaru_core::{ServiceTime, WallTime};
use ring::rand::{SecureRandom, SystemRandom};

use super::Tx;
use super::columns::{Columns, Statements};
use crate::error::StoreError;
use crate::rows::*;
use crate::rules;

impl Tx<'_> {
    pub(crate) fn boot(&mut self, now: WallTime) -> Result<Boot, StoreError> {
        let (number, service_time, last_seen) = self
            .conn
            .one("UPDATE life SET boots = boots + 1 RETURNING boots, service_time, last_seen", [], |row| {
                Ok((row.get(0)?, row.service(1)?, row.wall_or_none(2)?))
            })?
            .ok_or_else(|| StoreError::Corrupt { what: "life", problem: "its one row is gone".to_owned() })?;
        self.conn.run("DELETE FROM outbox", [])?;
        let project =
            match self.conn.one("SELECT key, project_id FROM project ORDER BY key LIMIT 1", [], |row| {
                Ok(ProjectRow { key: row.get(0)?, project_id: row.get(1)? })
            })? {
                Some(project) => project,
                None => self.make_default_project(now)?,
            };
        Ok(Boot { number, service_time, last_seen, project })
    }

    fn make_default_project(&mut self, now: WallTime) -> Result<ProjectRow, StoreError> {
        let mut entropy = [0; 6];
        SystemRandom::new()
            .fill(&mut entropy)
            .map_err(|_| StoreError::Unavailable("the system gives no random bytes".to_owned()))?;
        let project_id = rules::project_id(now, entropy);
        self.conn
            .run("INSERT INTO project (project_id, created_at) VALUES (?1, ?2)", (&project_id, now.0))?;
        Ok(ProjectRow { key: ProjectKey(self.conn.last_insert_rowid()), project_id })
    }

    pub(crate) fn heartbeat(&mut self, service: ServiceTime, wall: WallTime) -> Result<(), StoreError> {
        self.conn.run("UPDATE life SET service_time = ?1, last_seen = ?2", (service.0, wall.0))?;
        Ok(())
    }
}
