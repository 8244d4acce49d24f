//! Who is connected here, and what waits to be written to them.
//!
//! Always true:
//! - A device has at most one live session; a newer one ends the older one.
//! - A session's mailbox keeps the order in which things were put into it.
//! - What is for one session is never given to another one of the same device.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use otaru_core::Epoch;
use otaru_proto::DeviceId;
use otaru_store::{DeviceKey, DeviceRow, DeviceState, OutboxSeq};
use tokio::sync::Notify;

use crate::driver::Shared;
use crate::inbox::{Input, Uplink};
use crate::limits::AUDITS_PER_SESSION_MAX;

/// What a session has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The message with this ticket is stored, with everything that follows from it.
    Acknowledge(u16),
    /// Publish this to the device; afterwards call [`Session::said`].
    Say {
        /// The line of the outbox.
        line: OutboxSeq,
        /// The device's downlink topic.
        topic: Arc<str>,
        /// The message.
        payload: Bytes,
    },
    /// Publish this to the device. It answers something that was asked in this session, so that nothing is kept for
    /// another one: a device that did not hear it asks again.
    Answer {
        /// One of the device's downlink topics.
        topic: Arc<str>,
        /// The message.
        payload: Bytes,
    },
    /// A newer session of the device exists: close.
    TakenOver,
    /// Close.
    Close {
        /// For the log, and for MQTT 5 the device.
        reason: &'static str,
    },
}

/// A device's session, held by the task of its connection. Dropping it ends the session.
pub struct Session {
    shared: Arc<Shared>,
    own: SessionRef,
}

/// What a session is to the rest of the engine.
pub(crate) type SessionRef = Arc<SessionInner>;

pub(crate) struct SessionInner {
    pub(crate) device: DeviceKey,
    pub(crate) device_id: DeviceId,
    pub(crate) epoch: Epoch,
    topic: Arc<str>,
    /// The time after CONNACK in which nothing is said is over.
    settled: AtomicBool,
    /// A deployment of the device, or of a child of it, is at work.
    at_work: AtomicBool,
    /// Lines in the audit log that this session has caused; for HTTP, those of all requests of the device.
    audited: Arc<AtomicU32>,
    /// A shadow is being answered.
    pub(crate) shadow_open: AtomicBool,
    /// From which version on it has to be told about its children.
    pub(crate) children_after: Mutex<ChildrenAfter>,
    mailbox: Mutex<Vec<Delivery>>,
    mail: Notify,
}

/// What a gateway is to be told about its children, and whether somebody is at it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ChildrenAfter {
    /// What changed after this version; `None`: nothing.
    pub(crate) version: Option<i64>,
    pub(crate) is_being_told: bool,
}

impl std::fmt::Debug for SessionInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session {} of {}", self.epoch.0, self.device_id)
    }
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, own: SessionRef) -> Session {
        Session { shared, own }
    }

    /// Whose session it is.
    #[must_use]
    pub fn device_id(&self) -> &DeviceId {
        &self.own.device_id
    }

    /// Which of the device's sessions it is.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.own.epoch
    }

    /// Hands over what was read, in the order in which it was read. Returns at once.
    ///
    /// Every message with a ticket is followed by one `Delivery::Acknowledge`, in the same order, once it is
    /// stored or deliberately not kept. If the session ends before, the device has to send again.
    pub fn submit(&self, uplinks: Vec<Uplink>) {
        let received_at = self.shared.clock.wall();
        let inputs = uplinks.into_iter().map(|uplink| Input::Uplink {
            session: self.own.clone(),
            uplink,
            received_at,
        });
        self.shared.inbox.push_all(inputs);
    }

    /// Waits until there is something to do, and moves all of it into `into`. Cancel safe.
    pub async fn deliveries(&mut self, into: &mut Vec<Delivery>) {
        loop {
            // Registered before looking, so that what is put in between is not missed.
            let mail = self.own.mail.notified();
            {
                let mut mailbox = self.own.lock_mailbox();
                if !mailbox.is_empty() {
                    into.append(&mut mailbox);
                    mailbox.shrink_to(4);
                    return;
                }
            }
            mail.await;
        }
    }

    /// The line was written to the socket.
    pub fn said(&self, line: OutboxSeq) {
        self.shared.inbox.push(Input::Said(line));
    }

    /// The device is being upgraded: it was told and has not finished, or it is downloading.
    ///
    /// Python and C devices send no PINGREQ meanwhile.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        self.own.at_work.load(Ordering::Relaxed)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.shared.sessions.close(&self.own) {
            self.shared.feed.fleet_moved();
            self.shared.inbox.lost(self.own.device);
        }
    }
}

impl SessionInner {
    pub(crate) fn new(device: DeviceKey, device_id: DeviceId, epoch: Epoch) -> SessionRef {
        SessionInner::continuing(device, device_id, epoch, Arc::default())
    }

    /// A session that shares with others what it has caused in the audit log.
    pub(crate) fn continuing(
        device: DeviceKey,
        device_id: DeviceId,
        epoch: Epoch,
        audited: Arc<AtomicU32>,
    ) -> SessionRef {
        let topic = otaru_proto::events_down(&device_id).into();
        Arc::new(SessionInner {
            device,
            device_id,
            epoch,
            topic,
            settled: AtomicBool::new(false),
            at_work: AtomicBool::new(false),
            audited,
            shadow_open: AtomicBool::new(false),
            children_after: Mutex::default(),
            mailbox: Mutex::new(Vec::new()),
            mail: Notify::new(),
        })
    }

    pub(crate) fn deliver(&self, delivery: Delivery) {
        self.lock_mailbox().push(delivery);
        self.mail.notify_one();
    }

    pub(crate) fn deliver_all(&self, deliveries: impl IntoIterator<Item = Delivery>) {
        self.lock_mailbox().extend(deliveries);
        self.mail.notify_one();
    }

    pub(crate) fn say(&self, line: OutboxSeq, payload: Bytes) {
        self.deliver(Delivery::Say { line, topic: self.topic.clone(), payload });
    }

    /// Answers on the device's `events/down`.
    pub(crate) fn answer(&self, payload: Bytes) {
        self.deliver(Delivery::Answer { topic: self.topic.clone(), payload });
    }

    /// Everything that was put into the mailbox was taken out of it.
    pub(crate) fn has_heard_all(&self) -> bool {
        self.lock_mailbox().is_empty()
    }

    /// Whether another misdeed of this session is recorded; after a few, they are only counted.
    pub(crate) fn may_be_audited(&self) -> bool {
        self.audited.fetch_add(1, Ordering::Relaxed) < AUDITS_PER_SESSION_MAX
    }

    pub(crate) fn set_at_work(&self, at_work: bool) {
        self.at_work.store(at_work, Ordering::Relaxed);
    }

    fn lock_mailbox(&self) -> std::sync::MutexGuard<'_, Vec<Delivery>> {
        self.mailbox.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// All sessions held here.
#[derive(Default)]
pub(crate) struct Sessions {
    by_device: Mutex<HashMap<DeviceKey, SessionRef>>,
}

/// How a device is reached now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reach {
    /// Whose session.
    pub(crate) via: DeviceKey,
    /// Which one.
    pub(crate) epoch: Epoch,
}

impl Sessions {
    /// Adds a session; the device's older one is told to go.
    pub(crate) fn open(&self, session: &SessionRef) {
        let older = self.lock().insert(session.device, session.clone());
        if let Some(older) = older {
            older.deliver(Delivery::TakenOver);
        }
    }

    /// Removes a session, unless a newer one took its place. Says whether the device is now without one.
    fn close(&self, session: &SessionRef) -> bool {
        let mut sessions = self.lock();
        match sessions.get(&session.device) {
            Some(current) if current.epoch == session.epoch => {
                sessions.remove(&session.device);
                true
            }
            Some(_) | None => false,
        }
    }

    pub(crate) fn get(&self, device: DeviceKey) -> Option<SessionRef> {
        self.lock().get(&device).cloned()
    }

    pub(crate) fn is_connected(&self, row: &DeviceRow, state: &DeviceState) -> bool {
        let sessions = self.lock();
        let through = gateway_to(row, state);
        sessions.contains_key(&row.key) || through.is_some_and(|gateway| sessions.contains_key(&gateway))
    }

    /// The session that has settled and reaches this device: its own, or its gateway's.
    pub(crate) fn reach(&self, row: &DeviceRow, state: &DeviceState) -> Option<Reach> {
        let sessions = self.lock();
        let settled = |device: DeviceKey| {
            sessions
                .get(&device)
                .filter(|s| s.settled.load(Ordering::Relaxed))
                .map(|s| Reach { via: device, epoch: s.epoch })
        };
        settled(row.key).or_else(|| gateway_to(row, state).and_then(settled))
    }

    /// The time after CONNACK is over; `false` if the session is gone.
    pub(crate) fn settle(&self, device: DeviceKey, epoch: Epoch) -> bool {
        match self.lock().get(&device) {
            Some(session) if session.epoch == epoch => {
                session.settled.store(true, Ordering::Relaxed);
                true
            }
            Some(_) | None => false,
        }
    }

    /// The session, if it is still the device's current one.
    pub(crate) fn current(&self, device: DeviceKey, epoch: Epoch) -> Option<SessionRef> {
        self.get(device).filter(|session| session.epoch == epoch)
    }

    /// Every settled session, by device: to look at all of them once.
    pub(crate) fn settled(&self) -> BTreeMap<DeviceKey, Epoch> {
        let sessions = self.lock();
        #[expect(clippy::disallowed_methods, reason = "collected into an ordered map")]
        let settled = sessions.values().filter(|s| s.settled.load(Ordering::Relaxed));
        settled.map(|s| (s.device, s.epoch)).collect()
    }

    /// How many devices are connected here.
    pub(crate) fn count(&self) -> u64 {
        self.lock().len() as u64
    }

    /// The devices among `devices` that are connected here.
    pub(crate) fn connected_among(&self, devices: &[DeviceKey]) -> Vec<DeviceKey> {
        let sessions = self.lock();
        devices.iter().copied().filter(|device| sessions.contains_key(device)).collect()
    }

    /// Every connected device.
    pub(crate) fn connected(&self) -> Vec<DeviceKey> {
        let sessions = self.lock();
        #[expect(clippy::disallowed_methods, reason = "sorted below")]
        let mut devices: Vec<DeviceKey> = sessions.keys().copied().collect();
        devices.sort_unstable();
        devices
    }

    pub(crate) fn close_all(&self, reason: &'static str) {
        for device in self.connected() {
            self.close_device(device, reason);
        }
    }

    pub(crate) fn close_device(&self, device: DeviceKey, reason: &'static str) {
        if let Some(session) = self.get(device) {
            session.deliver(Delivery::Close { reason });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<DeviceKey, SessionRef>> {
        self.by_device.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The gateway through which a child can be reached while that is connected: its own, unless the child was last said
/// not to be there.
fn gateway_to(row: &DeviceRow, state: &DeviceState) -> Option<DeviceKey> {
    row.gateway.filter(|_| state.there != Some(false))
}

/// When a device may be spoken to after CONNACK. All wait equally long, so that a queue is enough.
#[derive(Default)]
pub(crate) struct Settling {
    queue: Mutex<std::collections::VecDeque<(std::time::Duration, DeviceKey, Epoch)>>,
}

impl Settling {
    pub(crate) fn add(&self, at: std::time::Duration, device: DeviceKey, epoch: Epoch) {
        self.lock().push_back((at, device, epoch));
    }

    pub(crate) fn next(&self) -> Option<std::time::Duration> {
        self.lock().front().map(|(at, _, _)| *at)
    }

    pub(crate) fn due(&self, now: std::time::Duration) -> Vec<(DeviceKey, Epoch)> {
        let mut queue = self.lock();
        let count = queue.iter().take_while(|(at, _, _)| *at <= now).count();
        queue.drain(..count).map(|(_, device, epoch)| (device, epoch)).collect()
    }

    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, std::collections::VecDeque<(std::time::Duration, DeviceKey, Epoch)>> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
