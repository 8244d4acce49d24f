//! Artifacts and packages.

use otaru_core::WallTime;
use rusqlite::{Connection, Row};

use super::columns::{Columns, Statements, to_integer, to_json, to_word};
use super::{Reading, Tx};
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, action};

const ARTIFACT: &str = "SELECT artifact_id, size_bytes, created_at FROM artifact";

fn artifact(row: &Row<'_>) -> rusqlite::Result<ArtifactRow> {
    Ok(ArtifactRow { artifact_id: row.get(0)?, size_bytes: row.unsigned(1)?, created_at: row.wall(2)? })
}

const PACKAGE: &str = "SELECT k.key, k.package_id, p.product_id, k.kind, k.version, k.source_versions,
    k.artifact_id, a.size_bytes, k.file_name, k.custom_info, k.delivery, k.created_at, k.problem, k.refused
    FROM package k CROSS JOIN product p ON p.key = k.product
    LEFT JOIN artifact a ON a.artifact_id = k.artifact_id";

fn package(row: &Row<'_>) -> rusqlite::Result<PackageRow> {
    Ok(PackageRow {
        key: row.get(0)?,
        package_id: row.get(1)?,
        product_id: row.get(2)?,
        kind: row.kind(3)?,
        version: row.get(4)?,
        source_versions: row.json(5)?,
        content: content(row)?,
        file_name: row.get(8)?,
        custom_info: row.get(9)?,
        delivery: row.word(10)?,
        created_at: row.wall(11)?,
    })
}

fn content(row: &Row<'_>) -> rusqlite::Result<Content> {
    if let Some(artifact_id) = row.get(6)? {
        return Ok(Content::Ready { artifact_id, size_bytes: row.unsigned(7)? });
    }
    let (problem, refused): (Option<String>, bool) = (row.get(12)?, row.get(13)?);
    Ok(match problem {
        Some(problem) if refused => Content::Invalid { problem },
        problem => Content::Pending { problem },
    })
}

/// The package with this key.
pub(super) fn package_by_key(conn: &Connection, key: PackageKey) -> Result<Option<PackageRow>, StoreError> {
    conn.one(&format!("{PACKAGE} WHERE k.key = ?1"), [key], package)
}

impl Tx<'_> {
    pub(crate) fn add_artifact(
        &mut self,
        actor: &Actor,
        added: &ArtifactRow,
    ) -> Result<ArtifactRow, StoreError> {
        let known = Reading { conn: self.conn }.artifact(&added.artifact_id)?;
        if let Some(known) = known {
            self.idle_from(&added.artifact_id, added.created_at)?;
            return Ok(known);
        }
        self.conn.run(
            "INSERT INTO artifact (artifact_id, project, size_bytes, created_at, idle_since)
             VALUES (?1, ?2, ?3, ?4, ?4)",
            (&added.artifact_id, actor.project, to_integer(added.size_bytes)?, added.created_at.0),
        )?;
        self.note(actor, action::ARTIFACT_KEPT, &added.artifact_id, added.created_at)?;
        Ok(added.clone())
    }

    pub(crate) fn create_package(
        &mut self,
        actor: &Actor,
        new: &NewPackage,
        now: WallTime,
    ) -> Result<PackageRow, StoreError> {
        let product = self.product_of(actor, &new.product_id)?;
        let (content, artifact_id, place) = match &new.content {
            NewContent::Kept(artifact_id) => {
                let missing = || StoreError::Missing { what: "artifact", id: artifact_id.clone() };
                let artifact = Reading { conn: self.conn }.artifact(artifact_id)?.ok_or_else(missing)?;
                let size_bytes = artifact.size_bytes;
                (Content::Ready { artifact_id: artifact_id.clone(), size_bytes }, Some(artifact_id), None)
            }
            NewContent::At(place) => (Content::Pending { problem: None }, None, Some(to_json(place)?)),
        };
        let taken =
            self.conn.one("SELECT 1 FROM package WHERE package_id = ?1", [&new.package_id], |_| {
                Ok(StoreError::Exists { what: "package", id: new.package_id.clone() })
            })?;
        if let Some(taken) = taken {
            return Err(taken);
        }
        let added = self.conn.run(
            "INSERT INTO package (product, package_id, kind, version, source_versions, artifact_id, file_name,
                 custom_info, delivery, created_at, place)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (product, kind, version) DO NOTHING",
            (
                product,
                &new.package_id,
                new.kind.as_str(),
                &new.version,
                to_json(&new.source_versions)?,
                artifact_id,
                &new.file_name,
                &new.custom_info,
                to_word(&new.delivery)?,
                now.0,
                place,
            ),
        )?;
        if added == 0 {
            return Err(StoreError::Exists { what: "package version", id: new.version.clone() });
        }
        let key = PackageKey(self.conn.last_insert_rowid());
        self.note(actor, action::PACKAGE_CREATED, &new.package_id, now)?;
        Ok(new.clone().into_row(key, content, now))
    }

    pub(crate) fn settle_package(
        &mut self,
        actor: &Actor,
        key: PackageKey,
        outcome: &ReadOutcome,
        now: WallTime,
    ) -> Result<Option<PackageRow>, StoreError> {
        let Some(mut row) = package_by_key(self.conn, key)? else { return Ok(None) };
        if !matches!(row.content, Content::Pending { .. }) {
            return Ok(None);
        }
        let artifact = match outcome {
            ReadOutcome::Kept(artifact_id) => Reading { conn: self.conn }.artifact(artifact_id)?,
            ReadOutcome::Delayed(_) | ReadOutcome::Refused(_) => None,
        };
        let (content, action) = rules::read_content(outcome, artifact.as_ref())?;
        if content == row.content {
            return Ok(Some(row));
        }
        let (artifact_id, problem, refused) = match &content {
            Content::Ready { artifact_id, .. } => (Some(artifact_id), None, false),
            Content::Pending { problem } => (None, problem.as_ref(), false),
            Content::Invalid { problem } => (None, Some(problem), true),
        };
        self.conn.run(
            "UPDATE package SET artifact_id = ?2, problem = ?3, refused = ?4 WHERE key = ?1",
            (key, artifact_id, problem, refused),
        )?;
        if content.is_ready() {
            // Campaigns are kept with their packages, for whether those are ready.
            self.cache.clear();
        }
        if let Some(action) = action {
            self.note(actor, action, &row.package_id, now)?;
        }
        row.content = content;
        Ok(Some(row))
    }

    pub(crate) fn retry_package(
        &mut self,
        actor: &Actor,
        package_id: &str,
        now: WallTime,
    ) -> Result<PackageRow, StoreError> {
        let missing = || StoreError::Missing { what: "package", id: package_id.to_owned() };
        let key = self.package_of(actor, package_id)?;
        let mut row = package_by_key(self.conn, key)?.ok_or_else(missing)?;
        if matches!(row.content, Content::Invalid { .. }) {
            self.conn.run("UPDATE package SET problem = NULL, refused = 0 WHERE key = ?1", [key])?;
            self.note(actor, action::PACKAGE_RETRIED, package_id, now)?;
            row.content = Content::Pending { problem: None };
        }
        Ok(row)
    }

    /// The package that an actor names; those of other projects do not exist for it.
    fn package_of(&self, actor: &Actor, package_id: &str) -> Result<PackageKey, StoreError> {
        self.conn
            .one(
                "SELECT k.key FROM package k JOIN product p ON p.key = k.product
                 WHERE k.package_id = ?1 AND p.project = ?2",
                (package_id, actor.project),
                |row| row.get(0),
            )?
            .ok_or_else(|| StoreError::Missing { what: "package", id: package_id.to_owned() })
    }

    pub(crate) fn delete_package(
        &mut self,
        actor: &Actor,
        package_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let key = self.package_of(actor, package_id)?;
        let used_by: Option<String> = self.conn.one(
            "SELECT c.campaign_id FROM campaign_package u CROSS JOIN campaign c ON c.key = u.campaign
             WHERE u.package = ?1 ORDER BY u.campaign LIMIT 1",
            [key],
            |row| row.get(0),
        )?;
        if let Some(campaign_id) = used_by {
            let by = format!("campaign {campaign_id}");
            return Err(StoreError::InUse { what: "package", id: package_id.to_owned(), by });
        }
        let artifact_id: Option<String> = self
            .conn
            .one("SELECT artifact_id FROM package WHERE key = ?1", [key], |row| row.get(0))?
            .flatten();
        self.conn.run("DELETE FROM package WHERE key = ?1", [key])?;
        if let Some(artifact_id) = artifact_id {
            self.idle_from(&artifact_id, now)?;
        }
        self.note(actor, action::PACKAGE_DELETED, package_id, now)
    }

    /// Notes that an artifact was in use until now.
    pub(super) fn idle_from(&self, artifact_id: &str, now: WallTime) -> Result<(), StoreError> {
        self.conn.run(
            "UPDATE artifact SET idle_since = max(idle_since, ?2) WHERE artifact_id = ?1",
            (artifact_id, now.0),
        )?;
        Ok(())
    }

    pub(crate) fn delete_artifact(
        &mut self,
        actor: &Actor,
        artifact_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let used_by: Option<String> = self.conn.one(
            "SELECT package_id FROM package WHERE artifact_id = ?1 ORDER BY key LIMIT 1",
            [artifact_id],
            |row| row.get(0),
        )?;
        if let Some(package_id) = used_by {
            let by = format!("package {package_id}");
            return Err(StoreError::InUse { what: "artifact", id: artifact_id.to_owned(), by });
        }
        let gone = self.conn.run(
            "DELETE FROM artifact WHERE artifact_id = ?1 AND project = ?2",
            (artifact_id, actor.project),
        )?;
        if gone == 0 {
            return Err(StoreError::Missing { what: "artifact", id: artifact_id.to_owned() });
        }
        self.note(actor, action::ARTIFACT_DELETED, artifact_id, now)
    }
}

impl Reading<'_> {
    pub(crate) fn artifact(&self, artifact_id: &str) -> Result<Option<ArtifactRow>, StoreError> {
        self.conn.one(&format!("{ARTIFACT} WHERE artifact_id = ?1"), [artifact_id], artifact)
    }

    pub(crate) fn unused_artifacts(
        &self,
        before: WallTime,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ArtifactRow>, StoreError> {
        self.conn.all(
            &format!(
                "{ARTIFACT} a WHERE artifact_id > ?1 AND idle_since < ?2
                 AND NOT EXISTS (SELECT 1 FROM package k WHERE k.artifact_id = a.artifact_id)
                 ORDER BY artifact_id LIMIT ?3"
            ),
            (after.unwrap_or_default(), before.0, limit),
            artifact,
        )
    }

    pub(crate) fn package(&self, package_id: &str) -> Result<Option<PackageRow>, StoreError> {
        self.conn.one(&format!("{PACKAGE} WHERE k.package_id = ?1"), [package_id], package)
    }

    pub(crate) fn package_by_key(&self, key: PackageKey) -> Result<Option<PackageRow>, StoreError> {
        package_by_key(self.conn, key)
    }

    pub(crate) fn pending_packages(
        &self,
        after: Option<PackageKey>,
        limit: u32,
    ) -> Result<Vec<PendingPackage>, StoreError> {
        self.conn.all(
            "SELECT key, place FROM package WHERE artifact_id IS NULL AND refused = 0 AND key > ?1 ORDER BY key LIMIT ?2",
            (after.map_or(0, |key| key.0), limit),
            |row| Ok(PendingPackage { key: row.get(0)?, place: row.json(1)? }),
        )
    }

    pub(crate) fn packages(
        &self,
        product_id: Option<&str>,
        page: Page<PackageKey>,
    ) -> Result<Vec<PackageRow>, StoreError> {
        let after = page.after.map_or(0, |key| key.0);
        match product_id {
            // Packages are few: a handful per product and release.
            Some(product_id) => self.conn.all(
                &format!("{PACKAGE} WHERE k.key > ?1 AND p.product_id = ?2 ORDER BY k.key LIMIT ?3"),
                (after, product_id, page.limit),
                package,
            ),
            None => self.conn.all(
                &format!("{PACKAGE} WHERE k.key > ?1 ORDER BY k.key LIMIT ?2"),
                (after, page.limit),
                package,
            ),
        }
    }
}
