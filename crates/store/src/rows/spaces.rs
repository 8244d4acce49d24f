//! Resource spaces: what applications keep apart within a project.

use otaru_core::WallTime;

use super::SpaceKey;

/// A resource space, beside the default one, which has no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceRow {
    /// Inside the store.
    pub key: SpaceKey,
    /// 24 lower-case hex digits.
    pub space_id: String,
    /// For people; unique within the project.
    pub name: String,
    /// When it was made.
    pub created_at: WallTime,
}

/// Which spaces a list is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spaces {
    /// All of them.
    #[default]
    All,
    /// The default one.
    Default,
    /// This one.
    One(SpaceKey),
}

impl Spaces {
    /// The one that a thing is in.
    #[must_use]
    pub fn of(space: Option<SpaceKey>) -> Spaces {
        space.map_or(Spaces::Default, Spaces::One)
    }

    /// Whether a thing in this space is meant.
    #[must_use]
    pub fn has(self, space: Option<SpaceKey>) -> bool {
        self == Spaces::All || self == Spaces::of(space)
    }
}
