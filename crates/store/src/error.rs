//! What a store operation can fail with, and whose fault it is.

/// Whose fault an error is; the edges map it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller asked for something that cannot be.
    Caller,
    /// Try again later.
    Unavailable,
    /// Ours.
    Bug,
}

/// Why nothing was written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The name is taken: what, and which.
    #[error("{what} {id} exists already")]
    Exists {
        /// `device`, `node_id`, `product`, `package`, `package version`, `campaign` or `token`.
        what: &'static str,
        /// Its public id, or the node id or version that is taken.
        id: String,
    },
    /// There is none: what, and which.
    #[error("there is no {what} {id}")]
    Missing {
        /// `device`, `gateway`, `product`, `artifact`, `package`, `campaign` or `token`.
        what: &'static str,
        /// Its public id, or `with key …` where the caller named it so.
        id: String,
    },
    /// It cannot be deleted while something refers to it.
    #[error("{what} {id} is in use by {by}")]
    InUse {
        /// `device`, `package` or `group`.
        what: &'static str,
        /// Its public id.
        id: String,
        /// What refers to it: `campaign …`, `its child …`.
        by: String,
    },
    /// There would be more than there may be.
    #[error("{what}: at most {most} are accepted; {instead}")]
    Full {
        /// What there would be too many of, and where.
        what: String,
        /// How many there may be.
        most: u64,
        /// What to do.
        instead: &'static str,
    },
    /// The device named as gateway is itself a child; there are two levels, not three.
    #[error(
        "device {gateway} is a child of {its_gateway} and cannot be a gateway; name {its_gateway} instead"
    )]
    ChildAsGateway {
        /// The device that was named as gateway.
        gateway: String,
        /// The gateway of that one.
        its_gateway: String,
    },
    /// A row broke a rule of the schema. In a batch: one of its events is poisoned; nothing was written.
    #[error("a row broke a rule of the store: {0}")]
    Constraint(String),
    /// The deciding closure of a batch panicked; nothing was written.
    #[error("a decision panicked: {0}")]
    DecisionPanicked(String),
    /// The store cannot be written or read now; nothing was written. Trying again may succeed.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// What is stored cannot be understood.
    #[error("stored {what} cannot be understood: {problem}")]
    Corrupt {
        /// Which kind of row.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process has it open.
    #[error("{path} is in use by another otaru; stop that one first, or use its API")]
    Locked {
        /// The data directory.
        path: String,
    },
    /// It was made by a newer release.
    #[error("the store has schema version {found}, this release knows up to {known}; use a newer release")]
    TooNew {
        /// What is stored.
        found: i64,
        /// What we know.
        known: i64,
    },
}

impl StoreError {
    /// What is wrong, to be put into another `Unavailable`, which says the rest.
    pub(crate) fn reason(&self) -> String {
        match self {
            StoreError::Unavailable(why) => why.clone(),
            StoreError::Exists { .. }
            | StoreError::Missing { .. }
            | StoreError::InUse { .. }
            | StoreError::Full { .. }
            | StoreError::ChildAsGateway { .. }
            | StoreError::Constraint(_)
            | StoreError::DecisionPanicked(_)
            | StoreError::Corrupt { .. }
            | StoreError::Locked { .. }
            | StoreError::TooNew { .. } => self.to_string(),
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            StoreError::Exists { .. }
            | StoreError::Missing { .. }
            | StoreError::InUse { .. }
            | StoreError::Full { .. }
            | StoreError::ChildAsGateway { .. } => Fault::Caller,
            StoreError::Unavailable(_) | StoreError::Locked { .. } | StoreError::TooNew { .. } => {
                Fault::Unavailable
            }
            StoreError::Constraint(_) | StoreError::DecisionPanicked(_) | StoreError::Corrupt { .. } => {
                Fault::Bug
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_is_passed_on_is_not_said_twice() {
        let first = StoreError::Unavailable("the disk is full".into());
        let passed_on = StoreError::Unavailable(first.reason());
        assert_eq!(passed_on.to_string(), "the store is not available: the disk is full");
    }
}
