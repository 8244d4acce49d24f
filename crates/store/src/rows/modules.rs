//! OTA modules: parts of a product that have versions of their own.

use otaru_core::WallTime;

use super::{ModuleKey, Spaces};

/// An OTA module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleRow {
    /// Inside the store.
    pub key: ModuleKey,
    /// 24 lower-case hex digits.
    pub module_id: String,
    /// Of which product, by public id.
    pub product_id: String,
    /// Unique within the product; it stays.
    pub name: String,
    /// For people; may be empty.
    pub alias: String,
    /// For people; may be empty.
    pub description: String,
    /// When it was made.
    pub created_at: WallTime,
}

/// A module to be made. Key and time are the store's to give.
#[derive(Clone, Debug)]
pub struct NewModule {
    /// Already made.
    pub module_id: String,
    /// Of which product, by public id.
    pub product_id: String,
    /// Unique within the product.
    pub name: String,
    /// For people.
    pub alias: String,
    /// For people.
    pub description: String,
}

/// What is to be changed about a module; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModulePatch {
    /// The new alias.
    pub alias: Option<String>,
    /// The new description.
    pub description: Option<String>,
}

/// Which modules of a list that has the newest first are wanted; everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct NewestModules {
    /// Only of this product, by public id.
    pub product_id: Option<String>,
    /// Only of products in these resource spaces.
    pub spaces: Spaces,
}
