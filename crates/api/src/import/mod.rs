//! An import under way: lines in, devices registered in chunks, answers out, all at the same time.
//!
//! ```text
//!  body ──► read: lines, checks, seals ──► one chunk ──► write: the store, answers ──► waiting answers ──► body
//! ```
//!
//! Always true:
//! - An answer is written after the commit that holds what it says.
//! - Answers come in the order of the lines, one for each line that is not empty.
//! - A line is answered without waiting for further ones: a sender that reads before it goes on gets through, and so does
//!   one that sends everything first.
//! - Both tasks end when the answer is no longer wanted.
//!
//! Not here: what a line looks like (`routes::import`).

pub(crate) mod csv;
pub(crate) mod lines;

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use otaru_engine::limits::IMPORT_CHUNK;
use otaru_engine::{CheckedDevice, DeviceError, Engine, ImportOutcome, Operator};
use otaru_proto::DeviceId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use self::lines::{Line, Lines};
use crate::body::CutShort;
use crate::limits::{IMPORT_ANSWER_BYTES_MAX, IMPORT_CHUNK_BYTES_MAX, IMPORT_TURN_LINES};
use crate::problem::{Code, Problem};

/// How lines are read.
pub(crate) trait Form: Send + 'static {
    /// The device of a line that has been checked, or what is wrong with it.
    fn read(&mut self, engine: &Engine, line: &Line) -> Result<CheckedDevice, LineProblem>;
}

/// Adds a line, with its number, to the answers.
pub(crate) type WriteLine = fn(&mut Vec<u8>, u64, &LineAnswer);

/// What became of a line.
#[derive(Debug)]
pub(crate) enum LineAnswer {
    /// Its device is registered.
    Created { device_id: DeviceId, secret: Option<String> },
    /// Its device was there already.
    Exists { device_id: DeviceId },
    /// It was not done.
    Error(LineProblem),
}

impl From<ImportOutcome> for LineAnswer {
    fn from(outcome: ImportOutcome) -> LineAnswer {
        match outcome {
            ImportOutcome::Created { device_id, secret } => LineAnswer::Created { device_id, secret },
            ImportOutcome::Exists { device_id } => LineAnswer::Exists { device_id },
            ImportOutcome::Refused(error) => LineAnswer::Error(error.into()),
        }
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug)]
pub(crate) struct LineProblem {
    pub(crate) field: Option<String>,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl LineProblem {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> LineProblem {
        LineProblem { field: None, code: code.name(), message: message.into() }
    }

    pub(crate) fn of(problem: &Problem, field: Option<String>) -> LineProblem {
        LineProblem { field, code: problem.code(), message: problem.message().to_owned() }
    }
}

impl From<DeviceError> for LineProblem {
    fn from(error: DeviceError) -> LineProblem {
        let field = error.field().map(str::to_owned);
        LineProblem::of(&Problem::from(error), field)
    }
}

/// A body on its way in, as far as it was read.
pub(crate) struct Source<P> {
    pub(crate) parts: P,
    pub(crate) lines: Lines,
}

/// Lines that are registered in one transaction.
#[derive(Default)]
struct Chunk {
    lines: Vec<(u64, Result<CheckedDevice, LineProblem>)>,
    bytes: usize,
}

impl Chunk {
    fn is_full(&self) -> bool {
        self.lines.len() >= IMPORT_CHUNK || self.bytes >= IMPORT_CHUNK_BYTES_MAX
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// A part of the answers and the room that it takes while it waits.
type Answers = (Bytes, OwnedSemaphorePermit);

/// Begins an import; the answer goes on as long as it does. `place` is held until its end.
pub(crate) fn begin<P, F>(
    engine: Engine,
    by: Operator,
    source: Source<P>,
    form: F,
    write_line: WriteLine,
    place: OwnedSemaphorePermit,
) -> Body
where
    P: Stream<Item = Result<Bytes, CutShort>> + Send + Unpin + 'static,
    F: Form,
{
    // One chunk waits while another one is in the store, and a third one is being read.
    let (to_write, chunks) = mpsc::channel(1);
    let (to_send, answers) = mpsc::unbounded_channel::<Answers>();
    let mut tasks = JoinSet::new();
    tasks.spawn(read::<P, F>(engine.clone(), source, form, to_write));
    tasks.spawn(write(engine, by, write_line, chunks, to_send));
    let under_way = (answers, tasks, place);
    Body::from_stream(stream::unfold(Some(under_way), |under_way| async move {
        let (mut answers, mut tasks, place) = under_way?;
        if let Some((bytes, _room)) = answers.recv().await {
            return Some((Ok(bytes), Some((answers, tasks, place))));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "an import broke off");
                // Whoever reads must not take what came for everything.
                return Some((Err(std::io::Error::other("the import broke off")), None));
            }
        }
        None
    }))
}

async fn read<P, F>(engine: Engine, source: Source<P>, mut form: F, to_write: mpsc::Sender<Chunk>)
where
    P: Stream<Item = Result<Bytes, CutShort>> + Send + Unpin,
    F: Form,
{
    let Source { mut parts, mut lines } = source;
    let mut chunk = Chunk::default();
    loop {
        while let Some(line) = lines.next() {
            take(&engine, &mut form, &mut chunk, &line);
            if chunk.is_full() && to_write.send(std::mem::take(&mut chunk)).await.is_err() {
                return;
            }
            if chunk.lines.len() % IMPORT_TURN_LINES == 0 {
                tokio::task::yield_now().await;
            }
        }
        let part = match parts.next().now_or_never() {
            Some(part) => part,
            None if chunk.is_empty() => parts.next().await,
            // While the store is busy, more may come for the same chunk; once it is not, nobody waits for that.
            None => tokio::select! {
                biased;
                room = to_write.reserve() => {
                    let Ok(room) = room else { return };
                    room.send(std::mem::take(&mut chunk));
                    continue;
                }
                part = parts.next() => part,
            },
        };
        let cut = match part {
            Some(Ok(part)) => {
                lines.push(&part);
                continue;
            }
            Some(Err(cut)) => Some(cut),
            None => None,
        };
        match cut {
            None => {
                if let Some(line) = lines.last() {
                    take(&engine, &mut form, &mut chunk, &line);
                }
            }
            // A last line without an end may be half of one.
            Some(cut) => {
                let problem = LineProblem::new(Code::BodyIncomplete, cut.to_string());
                chunk.lines.push((lines.number() + 1, Err(problem)));
            }
        }
        // A writer that is gone has nobody to answer.
        let _ = to_write.send(chunk).await;
        return;
    }
}

fn take<F: Form>(engine: &Engine, form: &mut F, chunk: &mut Chunk, line: &Line) {
    chunk.bytes += line.content.as_ref().map_or(0, Bytes::len);
    chunk.lines.push((line.number, form.read(engine, line)));
}

async fn write(
    engine: Engine,
    by: Operator,
    write_line: WriteLine,
    mut chunks: mpsc::Receiver<Chunk>,
    to_send: mpsc::UnboundedSender<Answers>,
) {
    let room = Arc::new(Semaphore::new(IMPORT_ANSWER_BYTES_MAX));
    while let Some(chunk) = chunks.recv().await {
        let (text, goes_on) = register(&engine, &by, write_line, chunk).await;
        if text.is_empty() {
            continue;
        }
        let size = u32::try_from(text.len().min(IMPORT_ANSWER_BYTES_MAX)).unwrap_or(u32::MAX);
        let Ok(taken) = Arc::clone(&room).acquire_many_owned(size).await else { return };
        if to_send.send((text.into(), taken)).is_err() || !goes_on {
            return;
        }
    }
}

/// The answers to a chunk, once it is stored, and whether the next one may follow.
async fn register(engine: &Engine, by: &Operator, write_line: WriteLine, chunk: Chunk) -> (Vec<u8>, bool) {
    let mut checked = Vec::with_capacity(chunk.lines.len());
    let mut waiting = Vec::with_capacity(chunk.lines.len());
    for (number, line) in chunk.lines {
        waiting.push((number, line.map(|device| checked.push(device))));
    }
    let (outcomes, given_up) = match engine.import_devices(by, checked).await {
        Ok(outcomes) => (outcomes, None),
        Err(error) => {
            let problem = Problem::from(error);
            tracing::warn!(code = problem.code(), cause = problem.cause(), "an import was given up");
            (Vec::new(), Some(LineProblem::of(&problem, None)))
        }
    };
    let mut outcomes = outcomes.into_iter();
    let mut text = Vec::with_capacity(waiting.len() * ANSWER_BYTES);
    for (number, line) in waiting {
        let answer = match (line, &given_up) {
            (Err(problem), _) => LineAnswer::Error(problem),
            (Ok(()), Some(given_up)) => LineAnswer::Error(given_up.clone()),
            (Ok(()), None) => outcomes.next().expect("there is one for each device").into(),
        };
        write_line(&mut text, number, &answer);
    }
    (text, given_up.is_none())
}

/// An answer with an id and a secret of the usual lengths.
const ANSWER_BYTES: usize = 112;

/// Reads up to the first line that is not empty.
///
/// # Errors
///
/// The body ends early. An empty one is `Ok(None)`.
pub(crate) async fn first_line<P>(source: &mut Source<P>) -> Result<Option<Line>, CutShort>
where
    P: Stream<Item = Result<Bytes, CutShort>> + Unpin,
{
    loop {
        if let Some(line) = source.lines.next() {
            return Ok(Some(line));
        }
        match source.parts.next().await {
            Some(part) => source.lines.push(&part?),
            None => return Ok(source.lines.last()),
        }
    }
}
