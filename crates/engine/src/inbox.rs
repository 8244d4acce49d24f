//! What waits for the next batch.
//!
//! Always true:
//! - What concerns one device leaves in the order in which it came.
//! - Within one batch nothing of a device follows its change of who its children are; the others do not wait for that.
//! - The bytes that wait are bounded: past the limit, [`Inbox::room`] makes readers of sockets wait. What was
//!   already read is always taken.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use otaru_core::{Epoch, WallTime};
use otaru_store::{DeploymentKey, DeviceKey, OutboxSeq};
use tokio::sync::Notify;

use crate::limits::{CHILDREN_CHANGED_PER_BATCH, INBOX_BYTES_MAX};
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
    /// How many children come or go with it.
    fn children_changed(&self) -> usize {
        match self {
            Input::Uplink { uplink: Uplink { reading: UplinkReading::Event(Ok(message)), .. }, .. } => {
                crate::batch::children_changed(message)
            }
            Input::Uplink { .. }
            | Input::Opened { .. }
            | Input::Reachable { .. }
            | Input::Lost { .. }
            | Input::Consider { .. }
            | Input::Due { .. }
            | Input::Fetched { .. }
            | Input::Said(_) => 0,
        }
    }

    /// Whose it is: who said it, or whom it concerns.
    fn device(&self) -> Option<DeviceKey> {
        match self {
            Input::Uplink { session, .. } => Some(session.device),
            Input::Opened { device, .. }
            | Input::Reachable { device, .. }
            | Input::Lost { device }
            | Input::Consider { device }
            | Input::Due { device }
            | Input::Fetched { device, .. } => Some(*device),
            Input::Said(_) => None,
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

    /// Takes of the `most` oldest inputs those that one batch can decide.
    ///
    /// After a message that changes who is whose child, what is loaded for a batch is not true any more for its sender:
    /// what that device says next stays for the next batch, and so do changes beyond what one batch may hold. The oldest
    /// input is always taken.
    pub(crate) fn take(&self, most: usize) -> Vec<Input> {
        let (taken, bytes) = {
            let mut waiting = self.lock();
            let oldest = waiting.len().min(most);
            let mut taken = Vec::with_capacity(oldest);
            let mut left = Vec::new();
            let mut waits = BTreeSet::new();
            let mut changed = 0_usize;
            for input in waiting.drain(..oldest) {
                let device = input.device();
                if !waits.is_empty() && device.is_some_and(|device| waits.contains(&device)) {
                    left.push(input);
                    continue;
                }
                let changes = input.children_changed();
                if changes > 0 {
                    waits.extend(device);
                    if changed > 0 && changed + changes > CHILDREN_CHANGED_PER_BATCH {
                        left.push(input);
                        continue;
                    }
                    changed += changes;
                }
                taken.push(input);
            }
            for input in left.into_iter().rev() {
                waiting.push_front(input);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::SessionInner;

    fn says(device: i64, payload: &str) -> Input {
        let device_id = otaru_proto::DeviceId::parse(&format!("d{device}")).unwrap();
        let session = SessionInner::new(DeviceKey(device), device_id, Epoch(1));
        let reading = UplinkReading::Event(otaru_proto::decode_uplink(payload.as_bytes()));
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        Input::Uplink { session, uplink: Uplink { ticket: None, payload, reading }, received_at: WallTime(0) }
    }

    fn adds(device: i64, children: usize) -> Input {
        let event = |from: usize| {
            let few: Vec<String> = (from..children.min(from + 50))
                .map(|n| format!(r#"{{"node_id":"n{n}","product_id":"p"}}"#))
                .collect();
            format!(
                r#"{{"service_id":"$sub_device_manager","event_type":"add_sub_device_request","paras":{{"devices":[{}]}}}}"#,
                few.join(",")
            )
        };
        let events: Vec<String> = (0..children).step_by(50).map(event).collect();
        says(device, &format!(r#"{{"services":[{}]}}"#, events.join(",")))
    }

    fn devices(inputs: &[Input]) -> Vec<i64> {
        inputs.iter().map(|input| input.device().unwrap().0).collect()
    }

    #[test]
    fn who_changes_its_children_waits_for_the_next_batch_and_nobody_else_does() {
        let inbox = Inbox::default();
        inbox.push_all([
            says(1, "{}"),
            says(2, "{}"),
            adds(1, 1),
            says(1, "{}"),
            adds(2, 2),
            adds(1, 1),
            Input::Lost { device: DeviceKey(1) },
            says(3, "{}"),
        ]);
        assert_eq!(devices(&inbox.take(100)), [1, 2, 1, 2, 3]);
        assert_eq!(devices(&inbox.take(100)), [1, 1], "in their order");
        assert_eq!(devices(&inbox.take(100)), [1]);
        assert!(inbox.is_empty());
        assert_eq!(inbox.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn more_changes_than_a_batch_may_hold_wait_and_the_oldest_is_always_taken() {
        let inbox = Inbox::default();
        let most = CHILDREN_CHANGED_PER_BATCH;
        inbox.push_all([adds(1, most), adds(2, 1), says(2, "{}"), says(3, "{}"), adds(4, 1)]);
        assert_eq!(devices(&inbox.take(100)), [1, 3]);
        assert_eq!(devices(&inbox.take(100)), [2, 4]);
        assert_eq!(devices(&inbox.take(100)), [2]);
    }
}
