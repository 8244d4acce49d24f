//! What waits for the next batch.
//!
//! Always true:
//! - Inputs leave in the order in which they came.
//! - The bytes that wait are bounded: past the limit, [`Inbox::room`] makes readers of sockets wait. What was
//!   already read is always taken.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use otaru_core::{Epoch, WallTime};
use otaru_store::{DeploymentKey, DeviceKey, OutboxSeq};
use tokio::sync::Notify;

use crate::limits::INBOX_BYTES_MAX;
use crate::sessions::SessionRef;

/// One message that a device published.
#[derive(Clone, Debug)]
pub struct Uplink {
    /// Comes back in `Delivery::Acknowledge` once the message is stored; `None` for QoS 0.
    pub ticket: Option<u16>,
    /// As received.
    pub payload: Bytes,
    /// What the edge made of it.
    pub reading: UplinkReading,
}

/// What the edge made of a message.
#[derive(Clone, Debug)]
pub enum UplinkReading {
    /// It came on the device's own events topic.
    Event(Result<otaru_proto::Uplink, otaru_proto::UplinkError>),
    /// It came on another topic of the device, and is of use.
    Told(crate::told::Told),
    /// It came on another topic of the device, or on one of nobody's: acknowledged in its turn and not kept.
    Ignored,
    /// It came on another device's topic: acknowledged in its turn, not kept, and recorded who tried.
    ForeignTopic(String),
}

/// Something for the next batch.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// A device published.
    Uplink { session: SessionRef, uplink: Uplink, received_at: WallTime },
    /// A session began.
    Opened { device: DeviceKey, epoch: Epoch, at: WallTime },
    /// A device can be reached: its session has settled, or its gateway's has.
    Reachable { device: DeviceKey, epoch: Epoch },
    /// A session ended.
    Lost { device: DeviceKey },
    /// Something changed that may let this device go.
    Consider { device: DeviceKey },
    /// The whole package was served in this attempt.
    Fetched { device: DeviceKey, deployment: DeploymentKey, attempt: u32 },
    /// A deadline of this device has come; only where the deadlines of many cannot be looked at together.
    Due { device: DeviceKey },
    /// A line of the outbox was written to the socket, or its session is gone.
    Said(OutboxSeq),
}

impl Input {
    fn changes_topology(&self) -> bool {
        match self {
            Input::Uplink { uplink: Uplink { reading: UplinkReading::Event(Ok(message)), .. }, .. } => {
                crate::batch::changes_topology(message)
            }
            Input::Uplink { .. }
            | Input::Opened { .. }
            | Input::Reachable { .. }
            | Input::Lost { .. }
            | Input::Consider { .. }
            | Input::Due { .. }
            | Input::Fetched { .. }
            | Input::Said(_) => false,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Input::Uplink { uplink, .. } => match &uplink.reading {
                UplinkReading::ForeignTopic(topic) => topic.len() + uplink.payload.len(),
                UplinkReading::Event(_) | UplinkReading::Told(_) | UplinkReading::Ignored => {
                    uplink.payload.len()
                }
            },
            Input::Opened { .. }
            | Input::Reachable { .. }
            | Input::Lost { .. }
            | Input::Consider { .. }
            | Input::Fetched { .. }
            | Input::Due { .. }
            | Input::Said(_) => 0,
        }
    }
}

#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<VecDeque<Input>>,
    bytes: AtomicUsize,
    arrived: Notify,
    drained: Notify,
}

impl Inbox {
    pub(crate) fn push(&self, input: Input) {
        self.push_all([input]);
    }

    pub(crate) fn push_all(&self, inputs: impl IntoIterator<Item = Input>) {
        {
            let mut waiting = self.lock();
            for input in inputs {
                self.bytes.fetch_add(input.bytes(), Ordering::Relaxed);
                waiting.push_back(input);
            }
        }
        self.arrived.notify_one();
    }

    /// Takes up to `most` inputs, and none after one that changes who is whose child: what is loaded for a batch must
    /// be true for all of it.
    pub(crate) fn take(&self, most: usize) -> Vec<Input> {
        let (taken, bytes) = {
            let mut waiting = self.lock();
            let last = waiting.iter().take(most).position(Input::changes_topology);
            let count = last.map_or(waiting.len().min(most), |last| last + 1);
            let taken: Vec<Input> = waiting.drain(..count).collect();
            let bytes: usize = taken.iter().map(Input::bytes).sum();
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            (taken, bytes)
        };
        if bytes > 0 {
            self.drained.notify_waiters();
        }
        taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Makes the driver look again, though nothing arrived.
    pub(crate) fn wake(&self) {
        self.arrived.notify_one();
    }

    pub(crate) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Waits until less than the limit is waiting.
    pub(crate) async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.bytes.load(Ordering::Relaxed) < INBOX_BYTES_MAX {
                return;
            }
            drained.await;
        }
    }

    /// Drops what came from sessions: they are closed and their devices will send again.
    pub(crate) fn forget_uplinks(&self) {
        let mut waiting = self.lock();
        let before: usize = waiting.iter().map(Input::bytes).sum();
        waiting.retain(|input| !matches!(input, Input::Uplink { .. }));
        self.bytes.fetch_sub(before, Ordering::Relaxed);
        self.drained.notify_waiters();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Input>> {
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
