//! OTA modules.

use otaru_core::WallTime;
use rusqlite::Row;

use super::columns::{Columns, Statements};
use super::{Reading, Tx};
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, action};

const MODULE: &str = "SELECT m.key, m.module_id, p.product_id, m.name, m.alias, m.description, m.created_at
    FROM ota_module m CROSS JOIN product p ON p.key = m.product";

fn module(row: &Row<'_>) -> rusqlite::Result<ModuleRow> {
    Ok(ModuleRow {
        key: row.get(0)?,
        module_id: row.get(1)?,
        product_id: row.get(2)?,
        name: row.get(3)?,
        alias: row.get(4)?,
        description: row.get(5)?,
        created_at: row.wall(6)?,
    })
}

impl Tx<'_> {
    pub(crate) fn create_module(
        &mut self,
        actor: &Actor,
        new: &NewModule,
        now: WallTime,
    ) -> Result<ModuleRow, StoreError> {
        let product = self.product_of(actor, &new.product_id)?;
        let names: Vec<String> =
            self.conn.all("SELECT name FROM ota_module WHERE product = ?1", [product], |row| row.get(0))?;
        rules::module::check_new(names.iter().map(String::as_str), &new.name)?;
        self.conn.run(
            "INSERT INTO ota_module (product, module_id, name, alias, description, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (product, &new.module_id, &new.name, &new.alias, &new.description, now.0),
        )?;
        self.note(actor, action::MODULE_CREATED, &new.module_id, now)?;
        self.module_of(&new.module_id)
    }

    pub(crate) fn patch_module(
        &mut self,
        actor: &Actor,
        module_id: &str,
        patch: &ModulePatch,
        now: WallTime,
    ) -> Result<ModuleRow, StoreError> {
        let before = self.module_of(module_id)?;
        let after = rules::module::patched(&before, patch);
        if after != before {
            self.conn.run(
                "UPDATE ota_module SET alias = ?2, description = ?3 WHERE key = ?1",
                (after.key, &after.alias, &after.description),
            )?;
            self.note(actor, action::MODULE_CHANGED, module_id, now)?;
        }
        Ok(after)
    }

    pub(crate) fn delete_module(
        &mut self,
        actor: &Actor,
        module_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let row = self.module_of(module_id)?;
        self.conn.run("DELETE FROM ota_module WHERE key = ?1", [row.key])?;
        self.note(actor, action::MODULE_DELETED, module_id, now)
    }

    fn module_of(&self, module_id: &str) -> Result<ModuleRow, StoreError> {
        let found = Reading { conn: self.conn }.module(module_id)?;
        found.ok_or_else(|| rules::module::missing(module_id))
    }
}

impl Reading<'_> {
    pub(crate) fn module(&self, module_id: &str) -> Result<Option<ModuleRow>, StoreError> {
        self.conn.one(&format!("{MODULE} WHERE m.module_id = ?1"), [module_id], module)
    }

    pub(super) fn module_by_key(&self, key: ModuleKey) -> Result<Option<ModuleRow>, StoreError> {
        self.conn.one(&format!("{MODULE} WHERE m.key = ?1"), [key], module)
    }
}
