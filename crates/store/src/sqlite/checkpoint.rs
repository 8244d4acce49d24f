//! Copying the write-ahead log into the file, off the commit path.
//!
//! ```text
//! log grows by a sixteenth of its limit   the checkpoint thread copies what no reader needs (PASSIVE)
//! … is a quarter of its limit or more     the writer copies the rest between two commits, so that the next one
//!                                         starts the log over; waits for nobody
//! … is over its limit                     the writer also cuts it (TRUNCATE), waiting a little for readers and
//!                                         for the checkpoint thread
//! ```
//!
//! Always true:
//! - A commit waits for the checkpoint thread only when the log is over its limit.
//! - Losing a nudge costs disk space until the next one, nothing else.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::connection::{self, LOCK_WAIT};
use super::writer::join;
use crate::error::StoreError;

/// Bytes of a page, SQLite's default.
const PAGE_BYTES: u64 = 4096;

/// How long cutting the log may wait for readers: about as long as a slow commit.
const CUT_WAIT: Duration = Duration::from_millis(100);

/// How long the write-ahead log is, and what its length asks for.
#[derive(Clone)]
pub(super) struct Log {
    shared: Arc<Shared>,
    pages_max: u32,
}

struct Shared {
    /// After the last commit.
    pages: AtomicU32,
    /// The checkpoint thread asks the writer to copy the rest.
    start_over: AtomicBool,
}

impl Log {
    pub(super) fn new(limit_bytes: u64) -> Log {
        // Below 16 pages the parts of the limit would be nothing.
        let pages_max = u32::try_from(limit_bytes / PAGE_BYTES).unwrap_or(u32::MAX).max(16);
        let shared = Shared { pages: AtomicU32::new(0), start_over: AtomicBool::new(false) };
        Log { shared: Arc::new(shared), pages_max }
    }

    /// Hears from the writer's connection after each commit how long the log is.
    pub(super) fn listen_to(&self, conn: &mut Connection) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            shared.pages.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(())
    }
}

/// The checkpoint thread, as the writer sees it. Dropped, it ends.
pub(super) struct Checkpointer {
    nudges: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// How long the log was when the thread was last nudged.
    nudged_at: u32,
    /// How long the log was when it was last to be cut.
    cut_at: u32,
}

impl Checkpointer {
    pub(super) fn start(file: &Path, log: &Log) -> Result<Checkpointer, StoreError> {
        let (nudges, queue) = sync_channel(1);
        let (file, log) = (file.to_owned(), log.clone());
        let thread = std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || checkpoint_when_nudged(&file, &log, &queue))
            .map_err(|cause| StoreError::Unavailable(format!("no thread for checkpoints: {cause}")))?;
        Ok(Checkpointer { nudges: Some(nudges), thread: Some(thread), nudged_at: 0, cut_at: 0 })
    }

    /// To be called by the writer between two transactions.
    pub(super) fn after_commit(&mut self, writer: &Connection, log: &Log) {
        let pages = log.shared.pages.load(Ordering::Relaxed);
        if pages < self.nudged_at {
            // It was started over.
            (self.nudged_at, self.cut_at) = (0, 0);
        }
        if pages - self.nudged_at >= log.pages_max / 16 {
            self.nudged_at = pages;
            if let Some(nudges) = &self.nudges {
                // Full means that it has been nudged and not begun yet.
                let _ = nudges.try_send(());
            }
        }
        // When readers keep it from being cut, there is another try after another part of the limit.
        if pages >= log.pages_max && pages - self.cut_at >= log.pages_max / 4 {
            self.cut_at = pages;
            say_how_it_went(cut(writer));
        } else if log.shared.start_over.swap(false, Ordering::Relaxed) {
            say_how_it_went(checkpoint(writer, "PASSIVE"));
        }
    }
}

/// Copies everything and cuts the log.
fn cut(writer: &Connection) -> Result<u32, StoreError> {
    writer.busy_timeout(CUT_WAIT)?;
    let done = checkpoint(writer, "TRUNCATE");
    writer.busy_timeout(LOCK_WAIT)?;
    done
}

fn say_how_it_went(done: Result<u32, StoreError>) {
    if let Err(error) = done {
        tracing::warn!(%error, "the write-ahead log could not be copied; it grows until it can");
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.nudges.take());
        join(self.thread.take());
    }
}

fn checkpoint_when_nudged(file: &Path, log: &Log, nudges: &Receiver<()>) {
    let mut open = None;
    while nudges.recv().is_ok() {
        let done = match open.take().map_or_else(|| connection::open_checkpointer(file), Ok) {
            Ok(conn) => {
                let pages = checkpoint(&conn, "PASSIVE");
                open = Some(conn);
                pages
            }
            Err(error) => Err(error),
        };
        match done {
            Ok(pages) if pages >= log.pages_max / 4 => log.shared.start_over.store(true, Ordering::Relaxed),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed; the next one opens the file anew");
                open = None;
            }
        }
    }
}

/// Runs a checkpoint; how many pages the log has. Pages that a reader still needs stay.
fn checkpoint(conn: &Connection, mode: &str) -> Result<u32, StoreError> {
    let pages: i64 = conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(1))?;
    // -1 when there is no log.
    Ok(u32::try_from(pages).unwrap_or(0))
}
