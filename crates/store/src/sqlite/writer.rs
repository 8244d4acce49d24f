//! The thread that writes: jobs in, one commit for several, answers after the commit.
//!
//! Always true:
//! - A job is answered `Ok` only after its rows were committed.
//! - A job that fails leaves nothing, and does not disturb the jobs that share its commit.
//! - After an error of the disk nothing is answered `Ok` until the file was opened anew.
//! - At most one large job is in a commit, so that a small one waits for one of them, not for a queue.
//!
//! Not here: what is written.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::checkpoint::{Checkpointer, Log};
use super::columns::Cache;
use super::{SqliteOptions, before, connection};
use crate::error::StoreError;
use crate::rules::panic_text;

/// Small jobs that share a commit. Each is some tens of microseconds, so that a group stays near a millisecond.
const GROUP_MAX: usize = 64;

/// How much a job writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// A few rows: shares its commit.
    Small,
    /// A batch of its own.
    Large,
}

/// An open write transaction, as jobs see it.
pub(crate) struct Tx<'a> {
    pub(super) conn: &'a Connection,
    pub(super) cache: &'a mut Cache,
    pub(super) places: &'a mut Places,
}

/// The next place in the tables that only grow at their end. Skipping some is harmless.
pub(super) struct Places {
    pub(super) report: i64,
    pub(super) outbox: i64,
}

/// Hands jobs to the thread. Dropped, it lets the thread finish what it was given and waits for its end.
pub(super) struct Writer {
    jobs: Option<Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

/// A job on its way: work, then its result, then the answer.
trait Job: Send {
    fn weight(&self) -> Weight;
    /// Does the work. On an error the caller takes back what was written.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Failed>;
    /// Answers with what the work gave.
    fn answer(self: Box<Self>);
    /// Answers that nothing was written, because of something beyond the job.
    fn refuse(self: Box<Self>, why: &str);
}

/// What to do about a job that failed.
enum Failed {
    /// Take back its rows.
    Alone,
    /// The connection is not to be trusted: take back everything.
    WithAll(String),
}

struct OneJob<F, R> {
    weight: Weight,
    work: Option<F>,
    result: Option<Result<R, StoreError>>,
    reply: oneshot::Sender<Result<R, StoreError>>,
}

impl<F, R> Job for OneJob<F, R>
where
    F: FnOnce(&mut Tx<'_>) -> Result<R, StoreError> + Send,
    R: Send,
{
    fn weight(&self) -> Weight {
        self.weight
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Failed> {
        let Some(work) = self.work.take() else { return Err(Failed::Alone) };
        let result = catch_unwind(AssertUnwindSafe(|| work(tx)))
            .unwrap_or_else(|panic| Err(StoreError::DecisionPanicked(panic_text(panic.as_ref()))));
        let verdict = match &result {
            Ok(_) => Ok(()),
            Err(error) if connection::is_lasting(error) => Err(Failed::WithAll(error.to_string())),
            Err(_) => Err(Failed::Alone),
        };
        self.result = Some(result);
        verdict
    }

    fn answer(self: Box<Self>) {
        let result = self.result.unwrap_or_else(|| Err(StoreError::Unavailable("it was not run".to_owned())));
        // Whoever asked may have stopped waiting.
        let _ = self.reply.send(result);
    }

    fn refuse(self: Box<Self>, why: &str) {
        let answer = match self.result {
            // It has its own reason, and that one says more.
            Some(Err(own)) => Err(own),
            Some(Ok(_)) | None => Err(StoreError::Unavailable(why.to_owned())),
        };
        let _ = self.reply.send(answer);
    }
}

impl Writer {
    /// Opens the file, brings its schema up to date, and starts the threads that write and checkpoint.
    pub(super) fn start(file: &Path, options: &SqliteOptions) -> Result<Writer, StoreError> {
        let log = Log::new(options.wal_limit_bytes);
        let open = Open::new(file, options, &log)?;
        let checkpointer = Checkpointer::start(file, &log)?;
        let (jobs, queue) = channel();
        let mut writing = Writing {
            file: file.to_owned(),
            options: options.clone(),
            open: Some(open),
            queue,
            waiting: VecDeque::new(),
            log,
            checkpointer,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writing.go_on())
            .map_err(|cause| StoreError::Unavailable(format!("no thread for writing: {cause}")))?;
        Ok(Writer { jobs: Some(jobs), thread: Some(thread) })
    }

    pub(super) async fn run<R: Send + 'static>(
        &self,
        weight: Weight,
        work: impl FnOnce(&mut Tx<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(OneJob { weight, work: Some(work), result: None, reply });
        let stopped = || StoreError::Unavailable("the thread that writes has ended".to_owned());
        self.jobs.as_ref().ok_or_else(stopped)?.send(job).map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        join(self.thread.take());
    }
}

/// Waits for a thread that was told to end, unless it is the one that asks.
pub(super) fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread
        && thread.thread().id() != std::thread::current().id()
        && thread.join().is_err()
    {
        tracing::error!("a thread of the store panicked");
    }
}

/// The thread's own state.
struct Writing {
    file: PathBuf,
    options: SqliteOptions,
    /// `None` after an error of the disk, until it opens again.
    open: Option<Open>,
    queue: Receiver<Box<dyn Job>>,
    /// Taken from the queue and not run yet.
    waiting: VecDeque<Box<dyn Job>>,
    log: Log,
    checkpointer: Checkpointer,
}

struct Open {
    conn: Connection,
    cache: Cache,
    places: Places,
}

impl Open {
    fn new(file: &Path, options: &SqliteOptions, log: &Log) -> Result<Open, StoreError> {
        let mut conn = connection::open_writer(file, options)?;
        before::bring_up_to_date(&mut conn, file)?;
        log.listen_to(&mut conn)?;
        let next = |table: &str| -> rusqlite::Result<i64> {
            conn.query_row(&format!("SELECT coalesce(max(seq), 0) + 1 FROM {table}"), [], |row| row.get(0))
        };
        let places = Places { report: next("report")?, outbox: next("outbox")? };
        Ok(Open { conn, cache: Cache::default(), places })
    }
}

impl Writing {
    fn go_on(&mut self) {
        while let Some(group) = self.next_group() {
            self.run_group(group);
            if let Some(open) = &self.open {
                self.checkpointer.after_commit(&open.conn, &self.log);
            }
        }
    }

    /// Waits for a job and takes what else is there: one large job, which goes first, and small ones.
    fn next_group(&mut self) -> Option<VecDeque<Box<dyn Job>>> {
        let first = match self.waiting.pop_front() {
            Some(job) => job,
            None => self.queue.recv().ok()?,
        };
        let mut has_large = first.weight() == Weight::Large;
        let mut group = VecDeque::from([first]);
        while group.len() < GROUP_MAX {
            let Ok(job) = self.queue.try_recv() else { break };
            match job.weight() {
                Weight::Small => group.push_back(job),
                Weight::Large if has_large => {
                    self.waiting.push_back(job);
                    break;
                }
                Weight::Large => {
                    has_large = true;
                    group.push_front(job);
                }
            }
        }
        Some(group)
    }

    fn run_group(&mut self, group: VecDeque<Box<dyn Job>>) {
        if self.open.is_none() {
            match Open::new(&self.file, &self.options, &self.log) {
                Ok(open) => {
                    tracing::info!("the store is open again");
                    self.open = Some(open);
                }
                Err(error) => return refuse_all(group, &error.reason()),
            }
        }
        let Some(open) = &mut self.open else { return };
        let mut ran = Vec::with_capacity(group.len());
        match open.run_and_commit(group, &mut ran) {
            Ok(()) => ran.into_iter().for_each(Job::answer),
            Err((why, not_run)) => {
                tracing::warn!(error = why, "the store gave up a transaction and opens its file anew");
                self.open = None;
                refuse_all(ran, &why);
                refuse_all(not_run, &why);
            }
        }
    }
}

fn refuse_all(jobs: impl IntoIterator<Item = Box<dyn Job>>, why: &str) {
    for job in jobs {
        job.refuse(why);
    }
}

/// Why a group as a whole failed, and the jobs whose turn had not come.
type GroupFailed = (String, VecDeque<Box<dyn Job>>);

impl Open {
    /// Runs the jobs in one transaction and commits it. The first needs no savepoint: if it fails, the
    /// transaction begins again without it.
    fn run_and_commit(
        &mut self,
        mut group: VecDeque<Box<dyn Job>>,
        ran: &mut Vec<Box<dyn Job>>,
    ) -> Result<(), GroupFailed> {
        let mut rows_so_far = false;
        if let Err(error) = self.say("BEGIN IMMEDIATE") {
            return Err((error.reason(), group));
        }
        while let Some(mut job) = group.pop_front() {
            let step = self.run_one(job.as_mut(), rows_so_far);
            ran.push(job);
            match step {
                Ok(kept) => rows_so_far |= kept,
                Err(why) => return Err((why, group)),
            }
        }
        self.say("COMMIT").map_err(|error| (error.reason(), group))
    }

    /// Runs one job; whether its rows stay. An error is one of the whole transaction.
    fn run_one(&mut self, job: &mut dyn Job, others_before: bool) -> Result<bool, String> {
        if others_before {
            self.say("SAVEPOINT job").map_err(|error| error.reason())?;
        }
        let mut tx = Tx { conn: &self.conn, cache: &mut self.cache, places: &mut self.places };
        let undo = match job.run(&mut tx) {
            Ok(()) if others_before => "RELEASE job",
            Ok(()) => return Ok(true),
            Err(Failed::WithAll(why)) => return Err(why),
            Err(Failed::Alone) => {
                // What the cache learned meanwhile may be what is being taken back.
                self.cache.clear();
                if self.conn.is_autocommit() {
                    return Err("SQLite took back the transaction".to_owned());
                }
                if others_before { "ROLLBACK TO job; RELEASE job" } else { "ROLLBACK; BEGIN IMMEDIATE" }
            }
        };
        for statement in undo.split(';') {
            self.say(statement.trim()).map_err(|error| error.reason())?;
        }
        Ok(others_before && undo == "RELEASE job")
    }

    fn say(&self, statement: &str) -> Result<(), StoreError> {
        Ok(self.conn.prepare_cached(statement)?.execute([]).map(|_| ())?)
    }
}
