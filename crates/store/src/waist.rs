//! The waist: everything the rest of the program can ask of what is remembered.

use std::path::Path;

use otaru_core::campaign::CampaignState;
use otaru_core::deployment::{Deployment, Label};
use otaru_core::{ServiceTime, WallTime};
use otaru_proto::DeviceId;

use crate::error::StoreError;
use crate::memory::{Faults, MemoryStore};
use crate::rows::*;
use crate::sqlite::{SqliteOptions, SqliteStore};
use crate::transact::{Changes, Decide, Loaded, OutboxLine, Wanted};

/// What is remembered. Cheap to clone; all clones are the same store.
#[derive(Clone, Debug)]
pub enum Store {
    /// One file, one writer.
    Sqlite(SqliteStore),
    /// Gone when the process is; for tests and simulations.
    Memory(MemoryStore),
}
