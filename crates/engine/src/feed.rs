//! The live feed: what has changed, for whoever looks on.
//!
//! Always true:
//! - It tells of what is stored, and costs a batch of reports no more than a mark on the campaigns whose counts moved.
//! - Changes are put together: a campaign is told of once in [`FEED_EVERY`], with the counts it has then.
//! - A listener holds nothing but its place. Whoever falls behind further than is remembered is told to look anew.
//!
//! Not here: how it looks on the wire (`otaru-api`).

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use otaru_core::WallTime;
use otaru_core::campaign::CampaignState;
use otaru_store::{CampaignKey, Counts};
use tokio::sync::{Notify, watch};

use crate::driver::{Engine, Shared};
use crate::limits::{FEED_EVERY, FEED_REMEMBERED, FEED_UNHEARD_FOR, LISTENERS_MAX, LISTENERS_RETRY};

/// Something that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveChange {
    /// A campaign moved, or devices in it did.
    Campaign(LiveCampaign),
    /// A campaign was deleted.
    CampaignDeleted {
        /// Its public id.
        campaign_id: String,
    },
    /// Devices came or went.
    Fleet {
        /// So many are connected to this server.
        connected: u64,
    },
}

/// What a campaign has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveCampaign {
    /// Its public id.
    pub campaign_id: String,
    /// For people.
    pub name: String,
    /// Where it is.
    pub state: CampaignState,
    /// Exact, as of one moment.
    pub counts: Counts,
    /// When it began.
    pub started_at: Option<WallTime>,
    /// When it ended.
    pub finished_at: Option<WallTime>,
}

/// The place of an event: which run of the platform, and which event in it. As text, `5-17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    run: i64,
    number: u64,
}

impl EventId {
    /// Reads what [`Display`](std::fmt::Display) wrote. `None`: it is no event of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<EventId> {
        let (run, number) = text.split_once('-')?;
        Some(EventId { run: run.parse().ok()?, number: number.parse().ok()? })
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.run, self.number)
    }
}

/// An event of the feed, shared by all listeners.
#[derive(Debug)]
pub struct LiveEvent {
    /// Its place.
    pub id: EventId,
    /// What has changed.
    pub change: LiveChange,
    written: OnceLock<Bytes>,
}

impl LiveEvent {
    /// Its bytes as `write` makes them, made once for all listeners.
    pub fn written(&self, write: impl FnOnce(&LiveEvent) -> Bytes) -> Bytes {
        self.written.get_or_init(|| write(self)).clone()
    }

    fn is_about(&self, campaigns: &BTreeSet<String>) -> bool {
        match &self.change {
            LiveChange::Campaign(campaign) => campaigns.contains(&campaign.campaign_id),
            LiveChange::CampaignDeleted { campaign_id } => campaigns.contains(campaign_id),
            LiveChange::Fleet { .. } => false,
        }
    }
}

/// What a listener hears next.
#[derive(Debug)]
pub enum Heard {
    /// Something has changed.
    Event(Arc<LiveEvent>),
    /// What came between is not remembered: look at the state anew, and go on from here.
    Resync(EventId),
    /// The platform stops.
    End,
}

/// As many as may listen do already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{LISTENERS_MAX} listeners are connected already; close one, or try again in {secs} s", secs = LISTENERS_RETRY.as_secs())]
pub struct TooManyListeners;

/// What is remembered of the feed.
pub(crate) struct Feed {
    state: Mutex<State>,
    /// Devices have come or gone.
    fleet_moved: AtomicBool,
    /// There is something to be told.
    moved: Notify,
    /// The number of the next event, for those who wait for it.
    told: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    moved: BTreeSet<CampaignKey>,
    deleted: Vec<String>,
    /// The last events, without gaps in their numbers.
    events: VecDeque<Arc<LiveEvent>>,
    /// The number of the next event; numbers below `next - events.len()` are forgotten.
    next: u64,
    listeners: usize,
    /// When the last listener went.
    unheard_since: Duration,
}

impl Default for Feed {
    fn default() -> Feed {
        let (fleet_moved, moved) = Default::default();
        // The first event is number 1, so that there is a place before it.
        let state = Mutex::new(State { next: 1, ..State::default() });
        Feed { state, fleet_moved, moved, told: watch::Sender::new(1) }
    }
}

impl Feed {
    /// Notes that these campaigns or their counts have changed and are stored.
    pub(crate) fn campaigns_moved(&self, campaigns: impl IntoIterator<Item = CampaignKey>) {
        let mut campaigns = campaigns.into_iter().peekable();
        if campaigns.peek().is_none() {
            return;
        }
        let mut state = self.lock();
        let is_first = state.moved.is_empty();
        state.moved.extend(campaigns);
        if is_first {
            self.moved.notify_one();
        }
    }

    pub(crate) fn campaign_deleted(&self, campaign_id: &str) {
        self.lock().deleted.push(campaign_id.to_owned());
        self.moved.notify_one();
    }

    /// Notes that a device came or went.
    pub(crate) fn fleet_moved(&self) {
        if !self.fleet_moved.swap(true, Ordering::Relaxed) {
            self.moved.notify_one();
        }
    }

    /// Wakes everybody who waits.
    pub(crate) fn wake(&self) {
        self.moved.notify_one();
        self.told.send_modify(|_| {});
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells what has changed, until the engine stops.
pub(crate) async fn tell(shared: Arc<Shared>) {
    while !shared.is_stopping() {
        shared.feed.moved.notified().await;
        if shared.is_stopping() {
            return;
        }
        // What follows within this time is told together.
        tokio::time::sleep(FEED_EVERY).await;
        shared.tell_what_moved().await;
    }
}

impl Shared {
    async fn tell_what_moved(&self) {
        let fleet_moved = self.feed.fleet_moved.swap(false, Ordering::Relaxed);
        let (moved, deleted) = {
            let mut state = self.feed.lock();
            let taken = (std::mem::take(&mut state.moved), std::mem::take(&mut state.deleted));
            if state.listeners == 0
                && self.clock.elapsed().saturating_sub(state.unheard_since) > FEED_UNHEARD_FOR
            {
                // Nobody listens. Who comes back later has missed something.
                state.events.clear();
                state.next += 1;
                return;
            }
            taken
        };
        let mut changes = Vec::with_capacity(moved.len() + 1);
        for key in moved {
            match self.store.campaign_by_key(key).await {
                Ok(Some((row, counts))) => changes.push(LiveChange::Campaign(LiveCampaign {
                    campaign_id: row.campaign_id,
                    name: row.name,
                    state: row.state,
                    counts,
                    started_at: row.started_at,
                    finished_at: row.finished_at,
                })),
                Ok(None) => {} // it is among the deleted
                Err(error) => {
                    tracing::debug!(%error, "the live feed could not read a campaign");
                    self.feed.lock().moved.insert(key);
                    self.feed.moved.notify_one();
                }
            }
        }
        changes.extend(deleted.into_iter().map(|campaign_id| LiveChange::CampaignDeleted { campaign_id }));
        if fleet_moved {
            changes.push(LiveChange::Fleet { connected: self.sessions.count() });
        }
        let next = {
            let mut state = self.feed.lock();
            for change in changes {
                let id = EventId { run: self.run(), number: state.next };
                state.next += 1;
                state.events.push_back(Arc::new(LiveEvent { id, change, written: OnceLock::new() }));
                if state.events.len() > FEED_REMEMBERED {
                    state.events.pop_front();
                }
            }
            state.next
        };
        self.feed.told.send_replace(next);
    }
}

impl Engine {
    /// Listens to what changes from now on, or from after an event that was heard before. With `campaigns`, only to
    /// those, by public id.
    ///
    /// # Errors
    ///
    /// As many listen already as may.
    pub fn listen(
        &self,
        campaigns: Option<BTreeSet<String>>,
        after: Option<EventId>,
    ) -> Result<Listener, TooManyListeners> {
        let shared = self.shared.clone();
        let told = shared.feed.told.subscribe();
        let mut state = shared.feed.lock();
        if state.listeners >= LISTENERS_MAX {
            return Err(TooManyListeners);
        }
        state.listeners += 1;
        let here = state.next;
        drop(state);
        metrics::gauge!("otaru_live_listeners").increment(1);
        // An event of another run, or of one that is to come, was not told here.
        let next = match after {
            Some(id) if id.run == shared.run() && id.number < here => Some(id.number + 1),
            Some(_) => None,
            None => Some(here),
        };
        Ok(Listener { shared, told, campaigns, next })
    }
}

/// One who listens. Dropping it ends it.
pub struct Listener {
    shared: Arc<Shared>,
    told: watch::Receiver<u64>,
    campaigns: Option<BTreeSet<String>>,
    /// The number of the event to hear next; `None`: it is lost.
    next: Option<u64>,
}

impl Listener {
    /// The place that it has reached: whoever comes again with it misses nothing.
    #[must_use]
    pub fn place(&self) -> EventId {
        let next = self.next.unwrap_or_else(|| self.shared.feed.lock().next);
        EventId { run: self.shared.run(), number: next - 1 }
    }

    /// Waits for what is to be heard next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Heard {
        loop {
            if self.shared.is_stopping() {
                return Heard::End;
            }
            self.told.mark_unchanged();
            if let Some(heard) = self.heard() {
                return heard;
            }
            if self.told.changed().await.is_err() {
                return Heard::End;
            }
        }
    }

    /// What is there already.
    fn heard(&mut self) -> Option<Heard> {
        let state = self.shared.feed.lock();
        let oldest = state.next - state.events.len() as u64;
        let Some(from) = self.next.filter(|next| *next >= oldest) else {
            self.next = Some(state.next);
            drop(state);
            return Some(Heard::Resync(self.place()));
        };
        let skipped = usize::try_from(from - oldest).unwrap_or(usize::MAX);
        let wanted = |event: &&Arc<LiveEvent>| self.campaigns.as_ref().is_none_or(|of| event.is_about(of));
        let event = state.events.iter().skip(skipped).find(wanted).cloned();
        self.next = Some(event.as_ref().map_or(state.next, |event| event.id.number + 1));
        event.map(Heard::Event)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        metrics::gauge!("otaru_live_listeners").decrement(1);
        let mut state = self.shared.feed.lock();
        state.listeners -= 1;
        state.unheard_since = self.shared.clock.elapsed();
    }
}

pub(crate) fn describe_metrics() {
    metrics::describe_gauge!("otaru_live_listeners", "Who listens to the live events.");
    metrics::gauge!("otaru_live_listeners").set(0.0);
}
