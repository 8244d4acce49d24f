//! Products.

use otaru_core::WallTime;
use rusqlite::Row;

use super::columns::{Columns, Statements};
use super::{Reading, Tx};
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::action;

const PRODUCT: &str = "SELECT key, product_id, name, created_at, space FROM product";

fn product(row: &Row<'_>) -> rusqlite::Result<ProductRow> {
    Ok(ProductRow {
        key: row.get(0)?,
        product_id: row.get(1)?,
        name: row.get(2)?,
        created_at: row.wall(3)?,
        space: row.get(4)?,
    })
}

impl Tx<'_> {
    pub(crate) fn create_product(
        &mut self,
        actor: &Actor,
        product_id: &str,
        name: &str,
        now: WallTime,
    ) -> Result<ProductRow, StoreError> {
        let added = self.conn.run(
            "INSERT INTO product (project, product_id, name, created_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
            (actor.project, product_id, name, now.0),
        )?;
        if added == 0 {
            return Err(StoreError::Exists { what: "product", id: product_id.to_owned() });
        }
        let key = ProductKey(self.conn.last_insert_rowid());
        self.note(actor, action::PRODUCT_CREATED, product_id, now)?;
        Ok(ProductRow {
            key,
            product_id: product_id.to_owned(),
            name: name.to_owned(),
            space: None,
            created_at: now,
        })
    }

    pub(crate) fn patch_product(
        &mut self,
        actor: &Actor,
        product_id: &str,
        name: Option<&str>,
        members: Option<&str>,
        now: WallTime,
    ) -> Result<ProductRow, StoreError> {
        let key = self.product_of(actor, product_id)?;
        let mut is_new = false;
        if let Some(name) = name {
            let renamed = "UPDATE product SET name = ?2 WHERE key = ?1 AND name <> ?2";
            is_new |= self.conn.run(renamed, (key, name))? > 0;
        }
        if let Some(members) = members {
            is_new |= self.merge_members(Thing::Product(key), members)?;
        }
        if is_new {
            self.note(actor, action::PRODUCT_CHANGED, product_id, now)?;
        }
        self.conn
            .one(&format!("{PRODUCT} WHERE key = ?1"), [key], product)?
            .ok_or_else(|| StoreError::Missing { what: "product", id: product_id.to_owned() })
    }

    pub(crate) fn delete_product(
        &mut self,
        actor: &Actor,
        product_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let key = self.product_of(actor, product_id)?;
        for (by, sql) in [
            ("device", "SELECT device_id FROM device WHERE product = ?1 AND deleted_at IS NULL LIMIT 1"),
            ("package", "SELECT package_id FROM package WHERE product = ?1 LIMIT 1"),
            ("campaign", "SELECT campaign_id FROM campaign WHERE product = ?1 LIMIT 1"),
        ] {
            let user: Option<String> = self.conn.one(sql, [key], |row| row.get(0))?;
            if let Some(user) = user {
                let by = format!("{by} {user}");
                return Err(StoreError::InUse { what: "product", id: product_id.to_owned(), by });
            }
        }
        // No id has this character, so that nobody finds it under the new one.
        self.conn.run(
            "UPDATE product SET product_id = product_id || '#' || key, deleted_at = ?2 WHERE key = ?1",
            (key, now.0),
        )?;
        self.cache.clear();
        self.note(actor, action::PRODUCT_DELETED, product_id, now)
    }

    /// The product that an actor names; those of other projects do not exist for it.
    pub(super) fn product_of(&self, actor: &Actor, product_id: &str) -> Result<ProductKey, StoreError> {
        self.conn
            .one(
                "SELECT key FROM product WHERE product_id = ?1 AND project = ?2",
                (product_id, actor.project),
                |row| row.get(0),
            )?
            .ok_or_else(|| StoreError::Missing { what: "product", id: product_id.to_owned() })
    }
}

impl Reading<'_> {
    pub(crate) fn product(&self, product_id: &str) -> Result<Option<ProductRow>, StoreError> {
        self.conn.one(&format!("{PRODUCT} WHERE product_id = ?1"), [product_id], product)
    }

    pub(super) fn product_by_key(&self, key: ProductKey) -> Result<Option<ProductRow>, StoreError> {
        self.conn.one(&format!("{PRODUCT} WHERE key = ?1"), [key], product)
    }

    pub(crate) fn products(&self, page: Page<ProductKey>) -> Result<Vec<ProductRow>, StoreError> {
        self.conn.all(
            &format!("{PRODUCT} WHERE key > ?1 AND deleted_at IS NULL ORDER BY key LIMIT ?2"),
            (page.after.map_or(0, |key| key.0), page.limit),
            product,
        )
    }
}
