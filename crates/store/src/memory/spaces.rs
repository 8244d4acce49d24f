//! Resource spaces.

use otaru_core::WallTime;

use super::Tables;
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, action};

impl Tables {
    pub(crate) fn create_space(
        &mut self,
        actor: &Actor,
        space_id: &str,
        name: &str,
        now: WallTime,
    ) -> Result<SpaceRow, StoreError> {
        self.check_project(actor)?;
        rules::space::check_new(&self.spaces()?, space_id, name)?;
        self.last_space += 1;
        let key = SpaceKey(self.last_space);
        let row = SpaceRow { key, space_id: space_id.to_owned(), name: name.to_owned(), created_at: now };
        self.spaces.insert(key, row.clone());
        self.note(&actor.name, action::SPACE_CREATED, space_id, now);
        Ok(row)
    }

    pub(crate) fn rename_space(
        &mut self,
        actor: &Actor,
        space_id: &str,
        name: &str,
        now: WallTime,
    ) -> Result<SpaceRow, StoreError> {
        let all = self.spaces()?;
        let row = rules::space::find(&all, space_id)?;
        if row.name == name {
            return Ok(row);
        }
        rules::space::check_name(&all, name)?;
        let row = SpaceRow { name: name.to_owned(), ..row };
        self.spaces.insert(row.key, row.clone());
        self.note(&actor.name, action::SPACE_CHANGED, space_id, now);
        Ok(row)
    }

    pub(crate) fn delete_space(
        &mut self,
        actor: &Actor,
        space_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let row = rules::space::find(&self.spaces()?, space_id)?;
        let rules = self.push_rules()?;
        let rule = rules.iter().find(|rule| rules::space::is_of_rule(rule, space_id));
        let rule = rule.map(|rule| format!("rule {}", rule.rule_id));
        let is_live = |product: &&ProductRow| {
            product.space == Some(row.key)
                && self.products_by_id.get(&product.product_id) == Some(&product.key)
        };
        let product = self.products.values().find(is_live);
        let product = product.map(|product| format!("product {}", product.product_id));
        let group = self.groups.values().find(|group| group.row.space == Some(row.key));
        let group = group.map(|group| format!("group {}", group.row.group_id));
        if let Some(by) = rule.or(product).or(group) {
            return Err(StoreError::InUse { what: "resource space", id: space_id.to_owned(), by });
        }
        self.spaces.remove(&row.key);
        self.note(&actor.name, action::SPACE_DELETED, space_id, now);
        Ok(())
    }

    /// Whether something may be put into it: it may have been deleted since it was looked for.
    pub(crate) fn check_space(&self, space: Option<SpaceKey>) -> Result<(), StoreError> {
        rules::space::check_there(&self.spaces()?, space)
    }

    /// Puts a new product into a space.
    pub(crate) fn place_product(
        &mut self,
        row: ProductRow,
        space: Option<SpaceKey>,
    ) -> Result<ProductRow, StoreError> {
        let row = ProductRow { space, ..row };
        self.products.insert(row.key, row.clone());
        Ok(row)
    }

    /// Puts a new group into a space.
    pub(crate) fn place_group(
        &mut self,
        row: GroupRow,
        space: Option<SpaceKey>,
    ) -> Result<GroupRow, StoreError> {
        if let Some(group) = self.groups.get_mut(&row.key) {
            group.row.space = space;
        }
        Ok(GroupRow { space, ..row })
    }

    pub(crate) fn spaces(&self) -> Result<Vec<SpaceRow>, StoreError> {
        Ok(self.spaces.values().cloned().collect())
    }

    /// Whether a thing of this product is in these spaces.
    pub(super) fn is_in(&self, spaces: Spaces, product_id: &str) -> bool {
        let product = self.products_by_id.get(product_id).and_then(|key| self.products.get(key));
        spaces == Spaces::All || product.is_some_and(|product| spaces.has(product.space))
    }
}
