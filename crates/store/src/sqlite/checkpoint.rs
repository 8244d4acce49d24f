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
//! - When it is the writer's turn the thread stands back: two that copy at once keep the log from starting over.
//! - Losing a nudge costs disk space until the next one, nothing else.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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

/// How long it may wait before that for the checkpoint thread. SQLite itself would not wait for another that
/// copies; a disk on which the thread takes longer than this holds up commits as well.
const THREAD_WAIT: Duration = Duration::from_secs(1);

/// How long the write-ahead log is, and what its length asks for.
#[derive(Clone)]
pub(super) struct Log {
    shared: Arc<Shared>,
    pages_max: u32,
}

struct Shared {
    /// After the last commit.
    pages: AtomicU32,
    turn: Mutex<Turn>,
    /// The thread has come to an end with copying.
    thread_is_idle: Condvar,
}

#[derive(Default)]
struct Turn {
    /// The thread is copying.
    thread_works: bool,
    /// The writer is to copy the rest; the thread stands back meanwhile.
    is_writers: bool,
}

impl Log {
    pub(super) fn new(limit_bytes: u64) -> Log {
        // Below 16 pages the parts of the limit would be nothing.
        let pages_max = u32::try_from(limit_bytes / PAGE_BYTES).unwrap_or(u32::MAX).max(16);
        let shared =
            Shared { pages: AtomicU32::new(0), turn: Mutex::default(), thread_is_idle: Condvar::new() };
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

    fn turn(&self) -> MutexGuard<'_, Turn> {
        // Two flags, each valid by itself: a panic elsewhere cannot leave them half changed.
        self.shared.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the turn for the writer and waits a while for the thread to end what it does; whether it has.
    fn take_turn(&self) -> bool {
        let mut turn = self.turn();
        turn.is_writers = true;
        let idle = &self.shared.thread_is_idle;
        let waited = idle.wait_timeout_while(turn, THREAD_WAIT, |turn| turn.thread_works);
        !waited.unwrap_or_else(PoisonError::into_inner).0.thread_works
    }

    /// Begins to copy, for the thread, unless it is the writer's turn; whether it may.
    fn thread_begins(&self) -> bool {
        let mut turn = self.turn();
        turn.thread_works = !turn.is_writers;
        turn.thread_works
    }

    fn thread_ends(&self, pages: u32) {
        let mut turn = self.turn();
        turn.thread_works = false;
        turn.is_writers |= pages >= self.pages_max / 4;
        self.shared.thread_is_idle.notify_all();
    }
}

/// The checkpoint thread, as the writer sees it. Dropped, it ends.
pub(super) struct Checkpointer {
    nudges: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// How long the log was after the commit before.
    seen: u32,
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
        Ok(Checkpointer { nudges: Some(nudges), thread: Some(thread), seen: 0, nudged_at: 0, cut_at: 0 })
    }

    /// To be called by the writer between two transactions.
    pub(super) fn after_commit(&mut self, writer: &Connection, log: &Log) {
        let pages = log.shared.pages.load(Ordering::Relaxed);
        if pages < self.seen {
            // It was started over.
            (self.nudged_at, self.cut_at) = (0, 0);
        }
        self.seen = pages;
        if pages.saturating_sub(self.nudged_at) >= log.pages_max / 16 {
            self.nudged_at = pages;
            if let Some(nudges) = &self.nudges {
                // Full means that it has been nudged and not begun yet.
                let _ = nudges.try_send(());
            }
        }
        if pages >= log.pages_max {
            // When readers keep it from being cut, there is another try after another part of the limit.
            if pages.saturating_sub(self.cut_at) >= log.pages_max / 4 {
                self.cut_at = pages;
                if log.take_turn() {
                    say_how_it_went(cut(writer));
                }
            }
        } else if log.turn().is_writers {
            say_how_it_went(checkpoint(writer, "PASSIVE"));
            log.turn().is_writers = false;
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
        if !log.thread_begins() {
            continue;
        }
        let done = match open.take().map_or_else(|| connection::open_checkpointer(file), Ok) {
            Ok(conn) => checkpoint(&conn, "PASSIVE").inspect(|_| open = Some(conn)),
            Err(error) => Err(error),
        };
        log.thread_ends(*done.as_ref().unwrap_or(&0));
        if let Err(error) = done {
            tracing::warn!(%error, "a checkpoint failed; the next one opens the file anew");
        }
    }
}

/// Runs a checkpoint; how many pages the log has. Pages that a reader still needs stay.
fn checkpoint(conn: &Connection, mode: &str) -> Result<u32, StoreError> {
    let pages: i64 = conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(1))?;
    // -1 when there is no log.
    Ok(u32::try_from(pages).unwrap_or(0))
}
