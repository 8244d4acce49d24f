//! Resource spaces.

use otaru_core::WallTime;

use super::Store;
use crate::error::StoreError;
use crate::rows::*;

impl Store {
    /// Makes a resource space.
    ///
    /// *Retry*: answers `Exists`.
    ///
    /// # Errors
    ///
    /// `Exists`: the id or the name; `Full`: there are [`SPACES_MAX`](crate::limits::SPACES_MAX) with the default one.
    pub async fn create_space(
        &self,
        actor: &Actor,
        space_id: &str,
        name: &str,
        now: WallTime,
    ) -> Result<SpaceRow, StoreError> {
        let (actor, space_id, name) = (actor.clone(), space_id.to_owned(), name.to_owned());
        write!(self, Small, |t| t.create_space(&actor, &space_id, &name, now))
    }

    /// Gives a resource space another name.
    ///
    /// *Retry*: safe.
    ///
    /// # Errors
    ///
    /// `Missing`; `Exists`: another one has the name.
    pub async fn rename_space(
        &self,
        actor: &Actor,
        space_id: &str,
        name: &str,
        now: WallTime,
    ) -> Result<SpaceRow, StoreError> {
        let (actor, space_id, name) = (actor.clone(), space_id.to_owned(), name.to_owned());
        write!(self, Small, |t| t.rename_space(&actor, &space_id, &name, now))
    }

    /// Deletes a resource space that nothing is in.
    ///
    /// *Retry*: answers `Missing`.
    ///
    /// # Errors
    ///
    /// `Missing`; `InUse`: by a product, a group, or a rule by which applications are told.
    pub async fn delete_space(&self, actor: &Actor, space_id: &str, now: WallTime) -> Result<(), StoreError> {
        let (actor, space_id) = (actor.clone(), space_id.to_owned());
        write!(self, Small, |t| t.delete_space(&actor, &space_id, now))
    }

    /// All resource spaces beside the default one, the oldest first.
    pub async fn spaces(&self) -> Result<Vec<SpaceRow>, StoreError> {
        read!(self, |t| t.spaces())
    }
}
