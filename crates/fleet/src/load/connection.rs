//! One connection of the load generator.

use std::collections::VecDeque;
use std::time::Duration;

use std::sync::atomic::Ordering;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::frames::{self, Packet};
use super::{ConnectionError, Run, Speaker};

/// How long nothing at all may come while something is in flight. A server that stalls longer is not measured.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A read takes 4 096 acknowledgements; more than fit between two wake-ups.
const READ_BYTES: usize = 16 * 1024;

/// A connection after CONNACK.
pub(super) struct Connection {
    socket: TcpStream,
    speaker: Speaker,
    next_id: u16,
    /// What is not acknowledged yet, oldest first.
    sent: VecDeque<Sent>,
    output: Vec<u8>,
    /// When the next report is due, if they go by the clock.
    due: Instant,
}

struct Sent {
    id: u16,
    at: Instant,
    /// Whether it is a report that counts, and not an answer.
    is_report: bool,
}

/// What one connection did.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) acknowledged: u64,
    pub(super) out_of_order: u64,
    pub(super) questions: u64,
    pub(super) last_counted: Option<Instant>,
}

impl Connection {
    pub(super) fn new(socket: TcpStream, speaker: Speaker) -> Connection {
        let (sent, output, due) = (VecDeque::new(), Vec::new(), Instant::now());
        Connection { socket, speaker, next_id: 1, sent, output, due }
    }

    /// Reports until the run is over and everything that was sent is acknowledged.
    pub(super) async fn report(
        mut self,
        run: &Run,
        first_due: Instant,
    ) -> (Part, Result<(), ConnectionError>) {
        let mut part = Part::default();
        self.due = first_due;
        let ended = self.converse(run, &mut part).await;
        (part, ended)
    }

    async fn converse(&mut self, run: &Run, part: &mut Part) -> Result<(), ConnectionError> {
        let mut input = Vec::with_capacity(READ_BYTES);
        let mut written = 0;
        loop {
            let now = Instant::now();
            if !run.is_over(now) {
                self.fill_up(run, now);
            } else if self.sent.is_empty() {
                return Ok(());
            }
            let may_report = run.every.is_some() && self.sent.len() < run.in_flight && !run.is_over(now);
            let due = self.due;
            let (mut reader, mut writer) = self.socket.split();
            let moved = timeout(SILENCE_MAX, async {
                tokio::select! {
                    wrote = writer.write(&self.output[written..]), if written < self.output.len() => {
                        wrote.map(Moved::Wrote)
                    }
                    read = reader.read_buf(&mut input) => read.map(Moved::Read),
                    () = sleep_until(due), if may_report => Ok(Moved::Due),
                }
            });
            match moved.await.map_err(|_elapsed| ConnectionError::Silent)?? {
                Moved::Wrote(bytes) => {
                    written += bytes;
                    if written == self.output.len() {
                        self.output.clear();
                        written = 0;
                    }
                }
                Moved::Due => {}
                Moved::Read(0) => return Err(ConnectionError::Closed),
                Moved::Read(_) => {
                    let taken = self.take(&input, run, part)?;
                    input.drain(..taken);
                    input.reserve(READ_BYTES);
                }
            }
        }
    }

    fn fill_up(&mut self, run: &Run, now: Instant) {
        while self.sent.len() < run.in_flight && (run.every.is_none() || self.due <= now) {
            let id = self.acquire_id();
            self.speaker.report.write(&mut self.output, id);
            let at = run.every.map_or(now, |_| self.due);
            self.sent.push_back(Sent { id, at, is_report: true });
            if let Some(every) = run.every {
                self.due += every;
            }
        }
    }

    /// Ids go round; the one that comes is free, because fewer than half of them are ever in flight.
    fn acquire_id(&mut self) -> u16 {
        let id = self.next_id;
        self.next_id = id.checked_add(1).unwrap_or(1);
        id
    }

    /// Takes all complete packets of `input`; returns how many bytes they have.
    fn take(&mut self, input: &[u8], run: &Run, part: &mut Part) -> Result<usize, ConnectionError> {
        let now = Instant::now();
        let counts = run.counts(now);
        let mut counted = 0;
        let mut taken = 0;
        while let Some((packet, len)) = frames::first(&input[taken..]) {
            taken += len;
            match packet {
                Packet::Puback(id) => {
                    let oldest = self.sent.iter().position(|sent| sent.id == id);
                    part.out_of_order += u64::from(oldest != Some(0));
                    let Some(sent) = oldest.and_then(|place| self.sent.remove(place)) else { continue };
                    part.acknowledged += u64::from(sent.is_report);
                    if sent.is_report && counts {
                        counted += 1;
                        run.latency.count(now - sent.at);
                    }
                }
                Packet::Publish { id, payload } => {
                    if let Some(id) = id {
                        frames::puback(&mut self.output, id);
                    }
                    if payload.windows(15).any(|part| part == b"\"version_query\"") {
                        part.questions += 1;
                        let id = self.acquire_id();
                        frames::publish(
                            &mut self.output,
                            &self.speaker.topic,
                            id,
                            &self.speaker.version_report,
                        );
                        self.sent.push_back(Sent { id, at: now, is_report: false });
                    }
                }
                Packet::Quiet => {}
                Packet::Connack(_) => return Err(ConnectionError::Unexpected(2)),
                Packet::Unexpected(kind) => return Err(ConnectionError::Unexpected(kind)),
            }
        }
        if counted > 0 {
            run.counted.fetch_add(counted, Ordering::Relaxed);
            part.last_counted = Some(now);
        }
        Ok(taken)
    }
}

enum Moved {
    Wrote(usize),
    Read(usize),
    Due,
}
