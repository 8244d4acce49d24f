//! Whose fault an error is, said once for every operation's error; the edges map it.

use otaru_store::{Fault, StoreError};

/// What an edge needs to know of an error.
pub trait Faulty: std::error::Error {
    /// Stable, snake_case; listed in `docs/errors.md`.
    fn code(&self) -> &'static str;
    /// What kind of no it is.
    fn kind(&self) -> Kind;
    /// Whose fault.
    fn fault(&self) -> Fault {
        match self.kind() {
            Kind::Unavailable => Fault::Unavailable,
            Kind::Internal => Fault::Bug,
            Kind::Invalid
            | Kind::Unauthorized
            | Kind::Forbidden
            | Kind::NotFound
            | Kind::Conflict
            | Kind::TooLarge => Fault::Caller,
        }
    }
}

/// What kind of no an error is. HTTP has a status for each; other edges have their own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value that is not accepted. 400.
    Invalid,
    /// Who are you? 401.
    Unauthorized,
    /// Not you, or not any more. 403.
    Forbidden,
    /// There is no such thing. 404.
    NotFound,
    /// Not in its present state. 409.
    Conflict,
    /// More than is accepted. 413.
    TooLarge,
    /// Try again later. 503.
    Unavailable,
    /// Ours. 500.
    Internal,
}

impl Faulty for StoreError {
    fn code(&self) -> &'static str {
        match self {
            StoreError::Exists { .. } => "exists_already",
            StoreError::Missing { .. } => "not_found",
            StoreError::InUse { .. } => "in_use",
            StoreError::Full { .. } => "limit_reached",
            StoreError::ChildAsGateway { .. } => "invalid",
            StoreError::Unavailable(_) | StoreError::Locked { .. } | StoreError::TooNew { .. } => {
                "unavailable"
            }
            StoreError::Constraint(_) | StoreError::DecisionPanicked(_) | StoreError::Corrupt { .. } => {
                "internal"
            }
        }
    }

    fn kind(&self) -> Kind {
        match self {
            StoreError::Exists { .. } | StoreError::InUse { .. } | StoreError::Full { .. } => Kind::Conflict,
            StoreError::Missing { .. } => Kind::NotFound,
            StoreError::ChildAsGateway { .. } => Kind::Invalid,
            StoreError::Unavailable(_) | StoreError::Locked { .. } | StoreError::TooNew { .. } => {
                Kind::Unavailable
            }
            StoreError::Constraint(_) | StoreError::DecisionPanicked(_) | StoreError::Corrupt { .. } => {
                Kind::Internal
            }
        }
    }
}
