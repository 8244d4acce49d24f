//! The threads that read, each with its own connection.
//!
//! Always true:
//! - A read sees one state of the store, at least as new as anything answered before it was asked for.
//! - A read ends: when its time is up it is stopped, since the write-ahead log cannot start over under it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::writer::join;
use super::{SqliteOptions, connection};
use crate::error::StoreError;
use crate::rules::panic_text;

/// Steps of SQLite's machine between two looks at the clock: some tens of microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 1_000;

/// A view of the store, as reads see it.
pub(crate) struct Reading<'a> {
    pub(super) conn: &'a Connection,
}

type Job = Box<dyn FnOnce(&mut Reader) + Send>;

/// Hands reads to the threads. Dropped, it lets them finish and waits for their end.
pub(super) struct Readers {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(super) fn start(file: &Path, options: &SqliteOptions) -> Result<Readers, StoreError> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let mut readers = Readers { jobs: Some(jobs), threads: Vec::new() };
        for number in 1..=options.readers.max(1) {
            let mut reader = Reader::new(file, options);
            let queue = Arc::clone(&queue);
            let thread = std::thread::Builder::new()
                .name(format!("store-reader-{number}"))
                .spawn(move || {
                    while let Some(job) = next(&queue) {
                        job(&mut reader);
                    }
                })
                .map_err(|cause| StoreError::Unavailable(format!("no thread for reading: {cause}")))?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    pub(super) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Reading<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |reader| {
            // Whoever asked may have stopped waiting: then there is nothing to read.
            if !reply.is_closed() {
                let _ = reply.send(reader.read(work));
            }
        });
        let stopped = || StoreError::Unavailable("the threads that read have ended".to_owned());
        self.jobs.as_ref().ok_or_else(stopped)?.send(job).map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            join(Some(thread));
        }
    }
}

/// One idle thread waits for the next job; the others wait for their turn to wait.
fn next(queue: &Mutex<Receiver<Job>>) -> Option<Job> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// One thread's own state.
struct Reader {
    file: std::path::PathBuf,
    options: SqliteOptions,
    /// Opened at the first read, and again after an error.
    conn: Option<Connection>,
    limit: TimeLimit,
}

impl Reader {
    fn new(file: &Path, options: &SqliteOptions) -> Reader {
        Reader { file: file.to_owned(), options: options.clone(), conn: None, limit: TimeLimit::new() }
    }

    fn read<R>(&mut self, work: impl FnOnce(&Reading<'_>) -> Result<R, StoreError>) -> Result<R, StoreError> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.open()?,
        };
        self.limit.begin(self.options.read_limit);
        let result = catch_unwind(AssertUnwindSafe(|| in_one_view(&conn, work)))
            .unwrap_or_else(|panic| Err(StoreError::DecisionPanicked(panic_text(panic.as_ref()))));
        let result = match result {
            Err(StoreError::Unavailable(_)) if self.limit.is_over() => Err(StoreError::Unavailable(format!(
                "a read was stopped after {} ms; ask for less at once",
                self.options.read_limit.as_millis()
            ))),
            other => other,
        };
        // A connection with an open transaction or an error behind it is not used again.
        let is_clean = conn.is_autocommit() && !result.as_ref().is_err_and(connection::is_lasting);
        self.conn = is_clean.then_some(conn);
        result
    }

    fn open(&self) -> Result<Connection, StoreError> {
        let mut conn = connection::open_reader(&self.file, &self.options)?;
        let limit = self.limit.clone();
        conn.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || limit.is_over()))?;
        Ok(conn)
    }
}

fn in_one_view<R>(
    conn: &Connection,
    work: impl FnOnce(&Reading<'_>) -> Result<R, StoreError>,
) -> Result<R, StoreError> {
    conn.prepare_cached("BEGIN")?.execute([])?;
    let result = work(&Reading { conn });
    // An error may have ended the transaction already.
    if !conn.is_autocommit() {
        conn.prepare_cached("ROLLBACK")?.execute([])?;
    }
    result
}

/// When the present read is to be stopped.
///
/// It is no decision of the product and nothing that a simulation would wind, but a bound on the machine: so it
/// looks at the machine's clock.
#[derive(Clone)]
struct TimeLimit {
    started: Instant,
    until_micros: Arc<AtomicU64>,
}

impl TimeLimit {
    #[expect(clippy::disallowed_methods, reason = "bounds the machine's work; no simulation uses this store")]
    fn new() -> TimeLimit {
        TimeLimit { started: Instant::now(), until_micros: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    fn begin(&self, limit: Duration) {
        let until = (self.started.elapsed() + limit).as_micros();
        self.until_micros.store(u64::try_from(until).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.started.elapsed().as_micros() > u128::from(self.until_micros.load(Ordering::Relaxed))
    }
}
