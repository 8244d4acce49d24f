//! OTA modules.

use otaru_core::WallTime;

use super::Store;
use crate::error::StoreError;
use crate::rows::*;

impl Store {
    /// Makes an OTA module.
    ///
    /// *Retry*: answers `Exists`.
    ///
    /// # Errors
    ///
    /// `Missing`: the product, in the actor's project; `Exists`: the product has one of this name; `Full`: it has
    /// [`MODULES_MAX`](crate::limits::MODULES_MAX).
    pub async fn create_module(
        &self,
        actor: &Actor,
        module: NewModule,
        now: WallTime,
    ) -> Result<ModuleRow, StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| t.create_module(&actor, &module, now))
    }

    /// Changes what people read of an OTA module.
    ///
    /// *Retry*: safe.
    ///
    /// # Errors
    ///
    /// `Missing`.
    pub async fn patch_module(
        &self,
        actor: &Actor,
        module_id: &str,
        patch: ModulePatch,
        now: WallTime,
    ) -> Result<ModuleRow, StoreError> {
        let (actor, module_id) = (actor.clone(), module_id.to_owned());
        write!(self, Small, |t| t.patch_module(&actor, &module_id, &patch, now))
    }

    /// Deletes an OTA module. Those of a deleted product go with it.
    ///
    /// *Retry*: answers `Missing`.
    ///
    /// # Errors
    ///
    /// `Missing`.
    pub async fn delete_module(
        &self,
        actor: &Actor,
        module_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let (actor, module_id) = (actor.clone(), module_id.to_owned());
        write!(self, Small, |t| t.delete_module(&actor, &module_id, now))
    }

    /// The OTA module with this id.
    pub async fn module(&self, module_id: &str) -> Result<Option<ModuleRow>, StoreError> {
        let module_id = module_id.to_owned();
        read!(self, |t| t.module(&module_id))
    }

    /// OTA modules that `filter` takes, the newest first, and how many there are.
    pub async fn newest_modules(
        &self,
        filter: NewestModules,
        page: Newest<ModuleKey>,
    ) -> Result<(Vec<ModuleRow>, Total), StoreError> {
        read!(self, |t| t.newest_modules(&filter, page))
    }
}
