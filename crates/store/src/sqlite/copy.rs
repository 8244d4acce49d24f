//! Copying the store into another file, while it is written or before its schema changes.
//!
//! SQLite's backup, page by page under one read transaction. `VACUUM INTO` would hold that transaction for
//! longer, since it makes every index anew; a copy without it would begin again with every commit. What the
//! transaction costs is the write-ahead log, which cannot start over meanwhile: so whoever asks for a copy says when
//! to give it up. No commit waits for a copy.
//!
//! Always true:
//! - The copy is one state of the store: everything that was answered before it began, and of a transaction all or
//!   nothing.
//! - When it is done it survives the loss of power, except for its name in the directory.
//! - It is one file, readable by its owner only, without a log beside it.

use std::fs::File;
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::connection::LOCK_WAIT;
use crate::error::StoreError;
use crate::limits::COPY_PAGES;
use crate::private_files;

/// Copies what `source` sees into the new file `to`. `may_go_on` is asked after each step.
pub(super) fn copy(
    source: &Connection,
    to: &Path,
    mut may_go_on: impl FnMut() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let unusable = |cause: std::io::Error| StoreError::Unavailable(format!("{}: {cause}", to.display()));
    let file = private_files::make_file(to).map_err(unusable)?;
    let mut target = open_alone(to)?;
    source.busy_timeout(LOCK_WAIT)?;
    source.execute_batch("BEGIN")?;
    // A transaction sees what there is when it first reads.
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let copied = copy_pages(source, &mut target, &mut may_go_on);
    source.execute_batch("ROLLBACK")?;
    copied?;
    // With the pages came the mark of a store that has a log.
    target.pragma_update(None, "journal_mode", "delete")?;
    target.close().map_err(|(_, error)| error)?;
    file.sync_all().map_err(unusable)
}

fn copy_pages(
    source: &Connection,
    target: &mut Connection,
    may_go_on: &mut impl FnMut() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let backup = Backup::new(source, target)?;
    loop {
        match backup.step(COPY_PAGES)? {
            StepResult::Done => return Ok(()),
            StepResult::More => may_go_on()?,
            StepResult::Busy | StepResult::Locked | _ => {
                return Err(StoreError::Unavailable("the store could not be read for a copy".to_owned()));
            }
        }
    }
}

/// A file that nobody else has open and that is worth nothing until it is whole: it is made durable once, at the end.
fn open_alone(file: &Path) -> Result<Connection, StoreError> {
    let conn = Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.pragma_update(None, "synchronous", "off")?;
    Ok(conn)
}

/// What is known of a copy.
pub(crate) struct Copied {
    conn: Connection,
}

impl Copied {
    /// Opens a copy without changing it.
    pub(crate) fn open(file: &Path) -> Result<Copied, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Ok(Copied { conn: Connection::open_with_flags(file, flags)? })
    }

    /// The version of its schema.
    pub(crate) fn schema(&self) -> Result<i64, StoreError> {
        Ok(self.conn.query_row("SELECT user_version FROM pragma_user_version", [], |row| row.get(0))?)
    }

    /// Hands each artifact that has a row to `each`: its id and its size in bytes.
    pub(crate) fn each_artifact<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(&str, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let wrong = |error: rusqlite::Error| E::from(StoreError::from(error));
        let mut statement =
            self.conn.prepare("SELECT artifact_id, size_bytes FROM artifact").map_err(wrong)?;
        let mut rows = statement.query([]).map_err(wrong)?;
        while let Some(row) = rows.next().map_err(wrong)? {
            let (id, size): (String, i64) = (row.get(0).map_err(wrong)?, row.get(1).map_err(wrong)?);
            each(&id, u64::try_from(size).unwrap_or(0))?;
        }
        Ok(())
    }
}

/// Makes a copy the beginning of a further life: the number of its runs goes on after any that there was since the copy
/// was made, if `seconds` have gone by. Durable when this answers.
pub(crate) fn begin_again(file: &Path, seconds: i64) -> Result<(), StoreError> {
    let conn = Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.execute("UPDATE life SET boots = boots + 1 + ?1", [seconds])?;
    conn.close().map_err(|(_, error)| error)?;
    File::open(file)
        .and_then(|file| file.sync_all())
        .map_err(|cause| StoreError::Unavailable(format!("{}: {cause}", file.display())))
}
