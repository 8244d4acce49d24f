//! OTA modules: parts of a product that have versions of their own, as applications register them.
//!
//! Not here: upgrading them. No message to a device is published for it.

use otaru_store::{ModuleKey, ModulePatch, ModuleRow, NewModule, Newest, NewestModules, StoreError, Total};

use crate::driver::Engine;
use crate::errors::{Faulty, Kind};
use crate::limits::{MODULE_ALIAS_CHARS_MAX, MODULE_DESCRIPTION_CHARS_MAX, MODULE_NAME_CHARS_MAX};
use crate::tokens::Operator;

/// A module to be made.
#[derive(Clone, Debug, Default)]
pub struct ModuleRequest {
    /// Of which product.
    pub product_id: String,
    /// Its name on the device.
    pub name: String,
    /// For people.
    pub alias: String,
    /// For people.
    pub description: String,
}

/// Why a module was not made, changed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// There is none.
    #[error("there is no module {0}")]
    Unknown(String),
    /// Not a name.
    #[error("`module_name` is {0:?}; 1 to 64 characters of A-Z a-z 0-9 . _ - are accepted")]
    Name(String),
    /// Too long.
    #[error("`{field}` has {chars} characters; up to {most} are accepted")]
    Length {
        /// Which member.
        field: &'static str,
        /// How many it has.
        chars: usize,
        /// How many are accepted.
        most: usize,
    },
    /// Taken, enough of them, no such product; or try again later; or ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Faulty for ModuleError {
    fn code(&self) -> &'static str {
        match self {
            ModuleError::Unknown(_) => "not_found",
            ModuleError::Name(_) | ModuleError::Length { .. } => "invalid",
            ModuleError::Store(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            ModuleError::Unknown(_) => Kind::NotFound,
            ModuleError::Name(_) | ModuleError::Length { .. } => Kind::Invalid,
            ModuleError::Store(error) => error.kind(),
        }
    }
}

fn of_store(module_id: &str, error: StoreError) -> ModuleError {
    if matches!(error, StoreError::Missing { what: "module", .. }) {
        ModuleError::Unknown(module_id.to_owned())
    } else {
        error.into()
    }
}

fn check_texts(alias: Option<&str>, description: Option<&str>) -> Result<(), ModuleError> {
    let texts = [
        ("alias_name", alias, MODULE_ALIAS_CHARS_MAX),
        ("description", description, MODULE_DESCRIPTION_CHARS_MAX),
    ];
    for (field, text, most) in texts {
        let chars = text.map_or(0, |text| text.chars().count());
        if chars > most {
            return Err(ModuleError::Length { field, chars, most });
        }
    }
    Ok(())
}

impl Engine {
    /// Registers a module of a product.
    ///
    /// # Errors
    ///
    /// `Name`; `Length`; `Store`: `Missing`, there is no such product; `Exists`, it has one of this name; `Full`, it has enough.
    pub async fn create_module(
        &self,
        by: &Operator,
        request: ModuleRequest,
    ) -> Result<ModuleRow, ModuleError> {
        let ModuleRequest { product_id, name, alias, description } = request;
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if !(1..=MODULE_NAME_CHARS_MAX).contains(&name.len()) || !name.bytes().all(is_plain) {
            return Err(ModuleError::Name(name.chars().take(MODULE_NAME_CHARS_MAX).collect()));
        }
        check_texts(Some(&alias), Some(&description))?;
        let now = self.shared.clock.wall();
        let module_id = self.shared.ids.make(now);
        let module = NewModule { module_id, product_id, name, alias, description };
        Ok(self.shared.store.create_module(&by.actor, module, now).await?)
    }

    /// Changes what people read of a module. May be said again.
    ///
    /// # Errors
    ///
    /// `Unknown`; `Length`.
    pub async fn patch_module(
        &self,
        by: &Operator,
        module_id: &str,
        patch: ModulePatch,
    ) -> Result<ModuleRow, ModuleError> {
        check_texts(patch.alias.as_deref(), patch.description.as_deref())?;
        let changed =
            self.shared.store.patch_module(&by.actor, module_id, patch, self.shared.clock.wall()).await;
        changed.map_err(|error| of_store(module_id, error))
    }

    /// Deletes a module.
    ///
    /// # Errors
    ///
    /// `Unknown`.
    pub async fn delete_module(&self, by: &Operator, module_id: &str) -> Result<(), ModuleError> {
        let deleted = self.shared.store.delete_module(&by.actor, module_id, self.shared.clock.wall()).await;
        deleted.map_err(|error| of_store(module_id, error))
    }

    /// A module.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn module(&self, module_id: &str) -> Result<Option<ModuleRow>, StoreError> {
        self.shared.store.module(module_id).await
    }

    /// Modules, the newest first, and how many there are.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn newest_modules(
        &self,
        filter: NewestModules,
        page: Newest<ModuleKey>,
    ) -> Result<(Vec<ModuleRow>, Total), StoreError> {
        self.shared.store.newest_modules(filter, page).await
    }
}
