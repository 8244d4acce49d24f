//! The store in one SQLite file.
//!
//! ```text
//!  callers ──jobs──► writer thread ──► one connection, group commit, WAL, synchronous=FULL
//!                        │ "the log has grown"        ▲ "start it over"
//!                        ▼                            │
//!                    checkpoint thread ── PASSIVE checkpoints, off the commit path
//!  callers ──jobs──► reader threads ──► read-only connections with a time limit
//! ```
//!
//! Always true:
//! - One thread writes; what it answers was committed before.
//! - Nobody else has the directory open: `otaru.lock` is held from opening to closing.
//! - After an error of the disk the connection is opened anew before anything else is written.
//!
//! Not here: the rules that both stores share (`rules`).

/// The condition of the index `deployment_unfinished`, word for word: only then does SQLite use it. A chain of OR, because a
/// list of words would be made into a table each time a row is written.
macro_rules! unfinished {
    () => {
        "(label = 'queued' OR label = 'released' OR label = 'asked' OR label = 'offered' OR label = 'running'
             OR label = 'confirming' OR label = 'waiting')"
    };
}

/// The condition of the index `deployment_failed`, likewise.
macro_rules! failure {
    () => {
        "(label = 'failed' OR label = 'timed_out' OR label = 'version_mismatch' OR label = 'not_eligible'
             OR label = 'conflict' OR label = 'superseded' OR label = 'removed')"
    };
}

mod access;
mod actions;
mod batch;
mod before;
mod campaigns;
mod checkpoint;
mod chosen;
mod columns;
mod connection;
pub(crate) mod copy;
mod deployments;
mod devices;
mod failures;
mod fill;
mod forget;
mod groups;
mod history;
mod import;
mod keys;
mod life;
mod lists;
mod members;
mod migrate;
mod modules;
mod newest;
mod notes;
mod packages;
#[cfg(test)]
mod plans;
mod products;
mod pushes;
mod readers;
mod search;
mod spaces;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::backup::refuse_half_restored;
use crate::error::StoreError;
use crate::limits::COPY_LOG_FACTOR;
use crate::private_files;

pub(crate) use self::migrate::known_schema;
pub(crate) use self::readers::Reading;
pub(crate) use self::writer::{Tx, Weight};

use self::readers::Readers;
use self::writer::Writer;

/// How a SQLite store is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// When a commit counts as done.
    pub synchronous: Synchronous,
    /// Memory for pages of the file, in bytes: this much for writing, and a quarter of it for each reader.
    pub cache_bytes: u64,
    /// How long the write-ahead log may become, in bytes. At a quarter of it the log is started over as soon as
    /// no reader needs it; at the whole, it is also cut.
    pub wal_limit_bytes: u64,
    /// Threads that read, each with its own connection; at least 1.
    pub readers: usize,
    /// How long one read may take before it is stopped and answers `Unavailable`.
    pub read_limit: Duration,
}

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// When the disk has it: it survives the loss of power.
    #[default]
    Full,
    /// When the system has it: it survives the end of the process. For trying things out.
    Normal,
}

impl Default for SqliteOptions {
    fn default() -> SqliteOptions {
        SqliteOptions {
            synchronous: Synchronous::Full,
            // The rows that a million devices touch are about 250 MB; a quarter of them serves a fleet whose
            // active part is small, and leaves a 1 GB machine room.
            cache_bytes: 64 << 20,
            // A batch over a thousand devices at random writes about 8 MiB; 32 of them between two restarts keep
            // the copying of pages that change again small.
            wal_limit_bytes: 256 << 20,
            // One for lists that take long, one for everything else.
            readers: 2,
            // Longer than any list of the API takes over a million devices; short enough for the log, which
            // cannot start over while a read goes on.
            read_limit: Duration::from_secs(5),
        }
    }
}

/// A store in one SQLite file.
#[derive(Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

/// Closed in this order: readers, then the writer and its checkpoints, which leaves no log behind; then the lock.
struct Inner {
    readers: Readers,
    writer: Writer,
    dir: PathBuf,
    options: SqliteOptions,
    _lock: File,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqliteStore").field(&self.inner.dir).finish()
    }
}

/// Takes the data directory for this process, making it at first. It is free again when the file is dropped.
pub(crate) fn lock(dir: &Path) -> Result<File, StoreError> {
    private_files::make_dir(dir).map_err(unusable(dir))?;
    let path = dir.join("otaru.lock");
    let lock = private_files::open_or_make(&path).map_err(unusable(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: dir.display().to_string() }),
        Err(TryLockError::Error(cause)) => Err(unusable(&path)(cause)),
    }
}

fn unusable(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |cause| StoreError::Unavailable(format!("{} cannot be opened: {cause}", path.display()))
}

impl SqliteStore {
    pub(crate) async fn open(dir: &Path, options: SqliteOptions) -> Result<SqliteStore, StoreError> {
        let dir = dir.to_owned();
        tokio::task::spawn_blocking(move || SqliteStore::open_blocking(dir, options))
            .await
            .unwrap_or_else(|stopped| Err(StoreError::Unavailable(stopped.to_string())))
    }

    fn open_blocking(dir: PathBuf, options: SqliteOptions) -> Result<SqliteStore, StoreError> {
        let lock = lock(&dir)?;
        refuse_half_restored(&dir)?;
        let file = dir.join("otaru.db");
        drop(private_files::open_or_make(&file).map_err(unusable(&file))?);
        let writer = Writer::start(&file, &options)?;
        let readers = Readers::start(&file, &options)?;
        Ok(SqliteStore { inner: Arc::new(Inner { readers, writer, dir, options, _lock: lock }) })
    }

    /// The data directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Copies the store into a new file, as it is when this is called. Blocks for as long as the disk takes.
    pub(crate) fn copy_to(&self, to: &Path) -> Result<(), StoreError> {
        let file = self.inner.dir.join("otaru.db");
        let source = connection::open_reader(&file, &self.inner.options)?;
        let log = self.inner.dir.join("otaru.db-wal");
        let most = self.inner.options.wal_limit_bytes.saturating_mul(COPY_LOG_FACTOR);
        copy::copy(&source, to, || {
            let length = std::fs::metadata(&log).map_or(0, |meta| meta.len());
            if length <= most {
                return Ok(());
            }
            Err(StoreError::Unavailable(format!(
                "while it was copied, its log has grown to {length} bytes, and {most} are accepted; copy it when \
                 less is written"
            )))
        })
    }

    /// Runs `work` in a write transaction and answers after its commit.
    pub(crate) async fn write<R: Send + 'static>(
        &self,
        weight: Weight,
        work: impl FnOnce(&mut Tx<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.inner.writer.run(weight, work).await
    }

    /// Runs `work` on a reader's connection, in one read transaction.
    pub(crate) async fn read<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Reading<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.inner.readers.run(work).await
    }
}
