//! Resource spaces of applications: what they keep apart within the project.
//!
//! Always true: a product and a group stay in the space that they were made in; devices, packages and campaigns are where
//! their product is.

use otaru_store::{SpaceRow, StoreError};

use crate::driver::Engine;
use crate::errors::{Faulty, Kind};
use crate::limits::SPACE_NAME_CHARS_MAX;
use crate::tokens::Operator;

/// Why a resource space was not made, changed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// There is none.
    #[error("there is no resource space {0}")]
    Unknown(String),
    /// Not a name.
    #[error(
        "the name of a resource space has {0} characters; 1 to 64 are accepted, none of them a control character"
    )]
    Name(usize),
    /// Taken, in use, enough of them; or try again later; or ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SpaceError {
    fn of(space_id: &str, error: StoreError) -> SpaceError {
        if matches!(error, StoreError::Missing { what: "resource space", .. }) {
            SpaceError::Unknown(space_id.to_owned())
        } else {
            error.into()
        }
    }
}

impl Faulty for SpaceError {
    fn code(&self) -> &'static str {
        match self {
            SpaceError::Unknown(_) => "not_found",
            SpaceError::Name(_) => "invalid",
            SpaceError::Store(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            SpaceError::Unknown(_) => Kind::NotFound,
            SpaceError::Name(_) => Kind::Invalid,
            SpaceError::Store(error) => error.kind(),
        }
    }
}

fn check_name(name: &str) -> Result<(), SpaceError> {
    let chars = name.chars().count();
    if (1..=SPACE_NAME_CHARS_MAX).contains(&chars) && !name.contains(char::is_control) {
        return Ok(());
    }
    Err(SpaceError::Name(chars))
}

impl Engine {
    /// Makes a resource space.
    ///
    /// # Errors
    ///
    /// `Name`; `Store(Exists)`: another one has the name; `Store(Full)`: there are enough.
    pub async fn create_space(&self, by: &Operator, name: &str) -> Result<SpaceRow, SpaceError> {
        check_name(name)?;
        let now = self.shared.clock.wall();
        let space_id = self.shared.ids.make(now);
        Ok(self.shared.store.create_space(&by.actor, &space_id, name, now).await?)
    }

    /// Gives a resource space another name. May be said again.
    ///
    /// # Errors
    ///
    /// `Unknown`; `Name`; `Store(Exists)`: another one has the name.
    pub async fn rename_space(
        &self,
        by: &Operator,
        space_id: &str,
        name: &str,
    ) -> Result<SpaceRow, SpaceError> {
        check_name(name)?;
        let renamed =
            self.shared.store.rename_space(&by.actor, space_id, name, self.shared.clock.wall()).await;
        renamed.map_err(|error| SpaceError::of(space_id, error))
    }

    /// Deletes a resource space that nothing is in.
    ///
    /// # Errors
    ///
    /// `Unknown`; `Store(InUse)`: says by what.
    pub async fn delete_space(&self, by: &Operator, space_id: &str) -> Result<(), SpaceError> {
        let deleted = self.shared.store.delete_space(&by.actor, space_id, self.shared.clock.wall()).await;
        deleted.map_err(|error| SpaceError::of(space_id, error))
    }

    /// All resource spaces beside the default one, the oldest first.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn spaces(&self) -> Result<Vec<SpaceRow>, StoreError> {
        self.shared.store.spaces().await
    }
}
