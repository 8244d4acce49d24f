//! What waits for the next batch.
//!
//! Always true:
//! - What a device says leaves in the order in which it came. That its session began or ended may leave later than what it
//!   said since: who can be reached is known from the sessions themselves, and an end that is not true any more is passed over.
//! - What devices say is not held up by ten thousand that come or go at once, nor by what the platform wants to look at by
//!   itself: both stand aside, and each batch takes a few of them beside everything else.
//! - Within one batch nothing of a device follows its change of who its children are; the others do not wait for that.
//! - The bytes that wait are bounded: past the limit, [`Inbox::room`] makes readers of sockets wait. What was
//!   already read is always taken.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use otaru_core::{Epoch, WallTime};
use otaru_store::{DeploymentKey, DeviceKey, OutboxSeq};
use tokio::sync::Notify;

use crate::limits::{
    CHILDREN_CHANGED_PER_BATCH, COMINGS_PER_LOOK, INBOX_BYTES_MAX, LOOK_TIME, LOOKS_PER_BATCH,
    LOOKS_PER_BATCH_MAX, LOOKS_WAITING_MAX,
};
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

    /// Whether the platform looks at a device by itself.
    pub(crate) fn is_look(&self) -> bool {
        match self {
            Input::Reachable { .. } | Input::Consider { .. } => true,
            Input::Uplink { .. }
            | Input::Opened { .. }
            | Input::Lost { .. }
            | Input::Due { .. }
            | Input::Fetched { .. }
            | Input::Said(_) => false,
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

/// A device that the platform wants to look at by itself; small, because there may be as many as devices.
#[derive(Clone, Copy, Debug)]
enum Look {
    /// [`Input::Consider`].
    Consider(DeviceKey),
    /// [`Input::Reachable`].
    Reachable(DeviceKey, Epoch),
}

impl From<Look> for Input {
    fn from(look: Look) -> Input {
        match look {
            Look::Consider(device) => Input::Consider { device },
            Look::Reachable(device, epoch) => Input::Reachable { device, epoch },
        }
    }
}

/// What stands aside.
#[derive(Default)]
struct Aside {
    /// Sessions that began or ended.
    comings: VecDeque<Coming>,
    /// Devices whose own turn to be looked at has come.
    single: VecDeque<Look>,
    /// A round over all connected devices.
    round: VecDeque<(DeviceKey, Epoch)>,
}

/// A session began or ended; small, as a [`Look`].
#[derive(Clone, Copy, Debug)]
enum Coming {
    /// [`Input::Opened`].
    Opened(DeviceKey, Epoch, WallTime),
    /// [`Input::Lost`].
    Lost(DeviceKey),
}

impl From<Coming> for Input {
    fn from(coming: Coming) -> Input {
        match coming {
            Coming::Opened(device, epoch, at) => Input::Opened { device, epoch, at },
            Coming::Lost(device) => Input::Lost { device },
        }
    }
}

impl Aside {
    fn is_empty(&self) -> bool {
        self.comings.is_empty() && self.single.is_empty() && self.round.is_empty()
    }

    /// Takes so many of each kind at most; of the looks, single ones go first, but for a quarter while there is a round.
    fn take(&mut self, comings: usize, looks: usize, into: &mut Vec<Input>) {
        let comings = self.comings.len().min(comings);
        into.extend(self.comings.drain(..comings).map(Input::from));
        let for_round = self.round.len().min(looks / 4);
        let single = self.single.len().min(looks - for_round);
        into.extend(self.single.drain(..single).map(Input::from));
        let round = self.round.len().min(looks - single);
        into.extend(self.round.drain(..round).map(|(device, epoch)| Input::Reachable { device, epoch }));
    }
}

#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<VecDeque<Input>>,
    bytes: AtomicUsize,
    aside: Mutex<Aside>,
    arrived: Notify,
    drained: Notify,
    looked: Notify,
    /// Looks that the next batch takes; 0 before the first one.
    looks_next: AtomicUsize,
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

    /// A session began.
    pub(crate) fn opened(&self, device: DeviceKey, epoch: Epoch, at: WallTime) {
        self.lock_aside().comings.push_back(Coming::Opened(device, epoch, at));
        self.arrived.notify_one();
    }

    /// A session ended.
    pub(crate) fn lost(&self, device: DeviceKey) {
        self.lock_aside().comings.push_back(Coming::Lost(device));
        self.arrived.notify_one();
    }

    /// Something changed that may let these devices go.
    pub(crate) fn consider_all(&self, devices: impl IntoIterator<Item = DeviceKey>) {
        self.look_at(devices.into_iter().map(Look::Consider));
    }

    /// These devices can be reached now, through their session or their gateway's.
    pub(crate) fn reachable_all(&self, devices: impl IntoIterator<Item = (DeviceKey, Epoch)>) {
        self.look_at(devices.into_iter().map(|(device, epoch)| Look::Reachable(device, epoch)));
    }

    fn look_at(&self, new: impl Iterator<Item = Look>) {
        let mut aside = self.lock_aside();
        aside.single.extend(new);
        // The driver itself comes here with nothing, and would be woken by it for ever.
        let is_any = !aside.single.is_empty();
        drop(aside);
        if is_any {
            self.arrived.notify_one();
        }
    }

    /// Looks at all of these, sorted by device, once. A round that is under way is replaced, and the new one goes on from
    /// where it is: so there is one list however many rounds are asked for, and everybody's turn comes.
    pub(crate) fn begin_round(&self, devices: impl IntoIterator<Item = (DeviceKey, Epoch)>) {
        let devices: VecDeque<(DeviceKey, Epoch)> = devices.into_iter().collect();
        let mut aside = self.lock_aside();
        let at = aside.round.front().copied();
        aside.round = devices;
        if let Some((at, _)) = at {
            let before = aside.round.partition_point(|(device, _)| *device < at);
            aside.round.rotate_left(before);
        }
        drop(aside);
        self.arrived.notify_one();
    }

    /// Whether there are few single looks.
    pub(crate) fn has_few_looks(&self) -> bool {
        self.lock_aside().single.len() < LOOKS_WAITING_MAX
    }

    /// How long a batch took, of which `looks` were looks: the next one takes as many as are done in the time of everything
    /// else, which is mostly the disk's.
    pub(crate) fn note_batch(&self, took: Duration, looks: usize) {
        let looked = LOOK_TIME * u32::try_from(looks).unwrap_or(u32::MAX);
        let others = took.saturating_sub(looked).as_micros() / LOOK_TIME.as_micros();
        let next = usize::try_from(others).unwrap_or(usize::MAX).clamp(LOOKS_PER_BATCH, LOOKS_PER_BATCH_MAX);
        self.looks_next.store(next, Ordering::Relaxed);
    }

    /// Waits until there are few single looks, so that whoever makes many does not run ahead.
    pub(crate) async fn few_looks(&self) {
        loop {
            let looked = self.looked.notified();
            tokio::pin!(looked);
            looked.as_mut().enable();
            if self.has_few_looks() {
                return;
            }
            looked.await;
        }
    }

    /// Drops all looks. At the end of a run, when they are found again at the start of the next one.
    pub(crate) fn forget_looks(&self) {
        {
            let mut aside = self.lock_aside();
            aside.single.clear();
            aside.round.clear();
        }
        self.looked.notify_waiters();
    }

    /// Takes of the `most` oldest inputs those that one batch can decide, and a few of what stands aside; in a `hurry`, when
    /// nobody's reports wait any more, up to `most` of it.
    ///
    /// After a message that changes who is whose child, what is loaded for a batch is not true any more for its sender:
    /// what that device says next stays for the next batch, and so do changes beyond what one batch may hold. The oldest
    /// input is always taken.
    pub(crate) fn take(&self, most: usize, hurry: bool) -> Vec<Input> {
        let (mut taken, bytes) = {
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
        let before = taken.len();
        let looks = self.looks_next.load(Ordering::Relaxed).max(LOOKS_PER_BATCH);
        let (comings, looks) = if hurry { (most, most) } else { (looks * COMINGS_PER_LOOK, looks) };
        self.lock_aside().take(comings, looks, &mut taken);
        if taken.len() > before {
            self.looked.notify_waiters();
        }
        taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty() && self.lock_aside().is_empty()
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

    fn lock_aside(&self) -> std::sync::MutexGuard<'_, Aside> {
        self.aside.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
        assert_eq!(devices(&inbox.take(100, false)), [1, 2, 1, 2, 3]);
        assert_eq!(devices(&inbox.take(100, false)), [1, 1], "in their order");
        assert_eq!(devices(&inbox.take(100, false)), [1]);
        assert!(inbox.is_empty());
        assert_eq!(inbox.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn more_changes_than_a_batch_may_hold_wait_and_the_oldest_is_always_taken() {
        let inbox = Inbox::default();
        let most = CHILDREN_CHANGED_PER_BATCH;
        inbox.push_all([adds(1, most), adds(2, 1), says(2, "{}"), says(3, "{}"), adds(4, 1)]);
        assert_eq!(devices(&inbox.take(100, false)), [1, 3]);
        assert_eq!(devices(&inbox.take(100, false)), [2, 4]);
        assert_eq!(devices(&inbox.take(100, false)), [2]);
    }

    #[tokio::test]
    async fn looks_go_along_a_few_at_a_time_and_hold_nobody_up() {
        let inbox = Inbox::default();
        let many = LOOKS_WAITING_MAX as i64 + 1;
        inbox.consider_all((0..many).map(DeviceKey));
        inbox.push_all([says(-1, "{}"), says(-2, "{}")]);
        let first = inbox.take(100, false);
        assert_eq!(devices(&first[..2]), [-1, -2], "what devices say is in the next batch");
        assert_eq!(first.len(), 2 + LOOKS_PER_BATCH);
        inbox.few_looks().await;
        inbox.push(says(-3, "{}"));
        assert_eq!(devices(&inbox.take(100, false))[..2], [-3, LOOKS_PER_BATCH as i64]);
        inbox.forget_looks();
        assert!(inbox.is_empty());
    }

    #[test]
    fn a_round_that_begins_anew_goes_on_from_where_the_last_one_is() {
        let inbox = Inbox::default();
        let most = LOOKS_PER_BATCH as i64;
        let all = || (0..most * 2 + 1).map(|n| (DeviceKey(n), Epoch(n)));
        inbox.begin_round(all());
        assert_eq!(devices(&inbox.take(100, false)), (0..most).collect::<Vec<_>>());
        inbox.begin_round(all());
        assert_eq!(
            devices(&inbox.take(100, false)),
            (most..most * 2).collect::<Vec<_>>(),
            "not from the beginning"
        );
        let rest = [most * 2].into_iter().chain(0..most - 1).collect::<Vec<_>>();
        assert_eq!(
            devices(&inbox.take(100, false)),
            rest,
            "those that had their turn before have it once more"
        );
        inbox.consider_all([DeviceKey(-1)]);
        assert_eq!(devices(&inbox.take(100, false)), [-1, most - 1], "who is called by name goes first");
        assert!(inbox.is_empty());
        // A round goes on however many are called by name.
        inbox.begin_round([(DeviceKey(7), Epoch(7))]);
        inbox.consider_all((100..200).map(DeviceKey));
        assert!(devices(&inbox.take(100, false)).contains(&7));
    }

    #[test]
    fn on_a_slow_disk_a_batch_takes_as_many_looks_as_fit_beside_the_wait_for_it() {
        let inbox = Inbox::default();
        inbox.consider_all((0..10_000).map(DeviceKey));
        assert_eq!(inbox.take(100, false).len(), LOOKS_PER_BATCH);
        let looked = |looks: u32| LOOK_TIME * looks;
        inbox.note_batch(looked(40) + looked(8), 8);
        assert_eq!(inbox.take(100, false).len(), 40);
        inbox.note_batch(looked(40) + looked(40), 40);
        assert_eq!(inbox.take(100, false).len(), 40, "they do not count for the wait");
        inbox.note_batch(looked(1_000_000), 0);
        assert_eq!(inbox.take(100, false).len(), LOOKS_PER_BATCH_MAX);
        inbox.note_batch(Duration::ZERO, 40);
        assert_eq!(inbox.take(100, false).len(), LOOKS_PER_BATCH);
    }
}
