//! How connections are opened, and what an error of SQLite means to a caller.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{SqliteOptions, Synchronous};
use crate::error::StoreError;

/// How long a connection waits for a lock of SQLite's. There is one writer, so that only a checkpoint, a
/// recovery after a crash or a copying tool can hold one.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Statements kept prepared per connection: more than there are, since the longest-lived program is this one.
const STATEMENTS_KEPT: usize = 256;

/// The connection that writes.
pub(super) fn open_writer(file: &Path, options: &SqliteOptions) -> Result<Connection, StoreError> {
    let conn = open(file, OpenFlags::SQLITE_OPEN_READ_WRITE, options.cache_bytes)?;
    conn.pragma_update(None, "journal_mode", "wal")?;
    let level = match options.synchronous {
        Synchronous::Full => "full",
        Synchronous::Normal => "normal",
    };
    conn.pragma_update(None, "synchronous", level)?;
    // Checkpoints are run off the commit path; see `checkpoint`.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    Ok(conn)
}

/// The connection that copies the write-ahead log into the file.
pub(super) fn open_checkpointer(file: &Path) -> Result<Connection, StoreError> {
    let conn = open(file, OpenFlags::SQLITE_OPEN_READ_WRITE, 1 << 20)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(conn)
}

/// A connection that cannot write. The writer must have been opened before.
pub(super) fn open_reader(file: &Path, options: &SqliteOptions) -> Result<Connection, StoreError> {
    open(file, OpenFlags::SQLITE_OPEN_READ_ONLY, options.cache_bytes / 4)
}

fn open(file: &Path, mode: OpenFlags, cache_bytes: u64) -> Result<Connection, StoreError> {
    let conn = Connection::open_with_flags(file, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(LOCK_WAIT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // Plans must not depend on the values: otherwise SQLite prepares kept statements anew with every use, which
    // was measured at three quarters of a batch.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Negative means KiB instead of pages.
    let kib = i64::try_from(cache_bytes / 1024).unwrap_or(i64::MAX);
    conn.pragma_update(None, "cache_size", -kib)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    Ok(conn)
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        if let rusqlite::Error::FromSqlConversionFailure(_, _, problem) = &error {
            return StoreError::Corrupt { what: "row", problem: problem.to_string() };
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => StoreError::Constraint(error.to_string()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Corrupt { what: "otaru.db", problem: error.to_string() }
            }
            Some(ErrorCode::DiskFull) => StoreError::Unavailable(
                "the disk is full; free some space and it goes on by itself".to_owned(),
            ),
            // Whatever else SQLite answers is about the disk, the file or memory, not about the rows.
            Some(_) => StoreError::Unavailable(error.to_string()),
            None => StoreError::Corrupt { what: "row", problem: error.to_string() },
        }
    }
}

/// Whether the connection should be given up after this error.
pub(super) fn is_lasting(error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable(_) | StoreError::Corrupt { what: "otaru.db", .. } => true,
        StoreError::Exists { .. }
        | StoreError::Missing { .. }
        | StoreError::InUse { .. }
        | StoreError::Full { .. }
        | StoreError::ChildAsGateway { .. }
        | StoreError::Constraint(_)
        | StoreError::DecisionPanicked(_)
        | StoreError::Corrupt { .. }
        | StoreError::Locked { .. }
        | StoreError::TooNew { .. } => false,
    }
}
