//! Resource spaces.

use otaru_core::WallTime;
use rusqlite::Row;

use super::columns::{Columns, Statements};
use super::{Reading, Tx};
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, action};

const SPACE: &str = "SELECT key, space_id, name, created_at FROM space";

fn space(row: &Row<'_>) -> rusqlite::Result<SpaceRow> {
    Ok(SpaceRow { key: row.get(0)?, space_id: row.get(1)?, name: row.get(2)?, created_at: row.wall(3)? })
}

impl Tx<'_> {
    pub(crate) fn create_space(
        &mut self,
        actor: &Actor,
        space_id: &str,
        name: &str,
        now: WallTime,
    ) -> Result<SpaceRow, StoreError> {
        let all = Reading { conn: self.conn }.spaces()?;
        rules::space::check_new(&all, space_id, name)?;
        self.conn.run(
            "INSERT INTO space (project, space_id, name, created_at) VALUES (?1, ?2, ?3, ?4)",
            (actor.project, space_id, name, now.0),
        )?;
        let key = SpaceKey(self.conn.last_insert_rowid());
        self.note(actor, action::SPACE_CREATED, space_id, now)?;
        Ok(SpaceRow { key, space_id: space_id.to_owned(), name: name.to_owned(), created_at: now })
    }

    pub(crate) fn rename_space(
        &mut self,
        actor: &Actor,
        space_id: &str,
        name: &str,
        now: WallTime,
    ) -> Result<SpaceRow, StoreError> {
        let all = Reading { conn: self.conn }.spaces()?;
        let row = rules::space::find(&all, space_id)?;
        if row.name == name {
            return Ok(row);
        }
        rules::space::check_name(&all, name)?;
        self.conn.run("UPDATE space SET name = ?2 WHERE key = ?1", (row.key, name))?;
        self.note(actor, action::SPACE_CHANGED, space_id, now)?;
        Ok(SpaceRow { name: name.to_owned(), ..row })
    }

    pub(crate) fn delete_space(
        &mut self,
        actor: &Actor,
        space_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let reading = Reading { conn: self.conn };
        let row = rules::space::find(&reading.spaces()?, space_id)?;
        let rules = reading.push_rules()?;
        let rule = rules.iter().find(|rule| rules::space::is_of_rule(rule, space_id));
        let mut user = rule.map(|rule| format!("rule {}", rule.rule_id));
        for (what, sql) in [
            ("product", "SELECT product_id FROM product WHERE space = ?1 AND deleted_at IS NULL LIMIT 1"),
            ("group", "SELECT group_id FROM device_group WHERE space = ?1 LIMIT 1"),
        ] {
            let found: Option<String> = self.conn.one(sql, [row.key], |row| row.get(0))?;
            user = user.or(found.map(|id| format!("{what} {id}")));
        }
        if let Some(by) = user {
            return Err(StoreError::InUse { what: "resource space", id: space_id.to_owned(), by });
        }
        // Products that were deleted stay as rows.
        self.conn.run("UPDATE product SET space = NULL WHERE space = ?1", [row.key])?;
        self.conn.run("DELETE FROM space WHERE key = ?1", [row.key])?;
        self.note(actor, action::SPACE_DELETED, space_id, now)
    }

    /// Puts a new product into a space.
    pub(crate) fn place_product(
        &mut self,
        row: ProductRow,
        space: Option<SpaceKey>,
    ) -> Result<ProductRow, StoreError> {
        self.conn.run("UPDATE product SET space = ?2 WHERE key = ?1", (row.key, space))?;
        Ok(ProductRow { space, ..row })
    }

    /// Puts a new group into a space.
    pub(crate) fn place_group(
        &mut self,
        row: GroupRow,
        space: Option<SpaceKey>,
    ) -> Result<GroupRow, StoreError> {
        self.conn.run("UPDATE device_group SET space = ?2 WHERE key = ?1", (row.key, space))?;
        Ok(GroupRow { space, ..row })
    }

    /// Whether something may be put into it: it may have been deleted since it was looked for.
    pub(crate) fn check_space(&self, space: Option<SpaceKey>) -> Result<(), StoreError> {
        rules::space::check_there(&Reading { conn: self.conn }.spaces()?, space)
    }
}

impl Reading<'_> {
    pub(crate) fn spaces(&self) -> Result<Vec<SpaceRow>, StoreError> {
        // There are a handful.
        self.conn.all(&format!("{SPACE} ORDER BY key"), [], space)
    }
}
