//! OTA modules.

use otaru_core::WallTime;

use super::Tables;
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, action};

impl Tables {
    pub(crate) fn create_module(
        &mut self,
        actor: &Actor,
        new: &NewModule,
        now: WallTime,
    ) -> Result<ModuleRow, StoreError> {
        self.product_of(actor, &new.product_id)?;
        let of_product = self.modules.values().filter(|row| row.product_id == new.product_id);
        rules::module::check_new(of_product.map(|row| row.name.as_str()), &new.name)?;
        self.last_module += 1;
        let row = ModuleRow {
            key: ModuleKey(self.last_module),
            module_id: new.module_id.clone(),
            product_id: new.product_id.clone(),
            name: new.name.clone(),
            alias: new.alias.clone(),
            description: new.description.clone(),
            created_at: now,
        };
        self.modules.insert(row.key, row.clone());
        self.note(&actor.name, action::MODULE_CREATED, &new.module_id, now);
        Ok(row)
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
            self.modules.insert(after.key, after.clone());
            self.note(&actor.name, action::MODULE_CHANGED, module_id, now);
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
        self.modules.remove(&row.key);
        self.note(&actor.name, action::MODULE_DELETED, module_id, now);
        Ok(())
    }

    fn module_of(&self, module_id: &str) -> Result<ModuleRow, StoreError> {
        self.module(module_id)?.ok_or_else(|| rules::module::missing(module_id))
    }

    pub(crate) fn module(&self, module_id: &str) -> Result<Option<ModuleRow>, StoreError> {
        Ok(self.modules.values().find(|row| row.module_id == module_id).cloned())
    }
}
