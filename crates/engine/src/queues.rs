//! Who waits for a place: for a slot of a campaign, or for a gateway to answer.
//!
//! Always true:
//! - A device stands in a queue at most once, and leaves it in the order in which it came.
//! - Everything here is made again by devices that connect; losing it costs time, never correctness.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use otaru_store::{CampaignKey, DeploymentKey, DeviceKey};

use crate::sessions::{Reach, Sessions};

/// Devices in the order in which they came; each once.
#[derive(Default)]
struct Queue {
    order: VecDeque<DeviceKey>,
    members: BTreeSet<DeviceKey>,
}

impl Queue {
    fn add(&mut self, device: DeviceKey) {
        if self.members.insert(device) {
            self.order.push_back(device);
        }
    }

    fn take(&mut self, most: usize) -> Vec<DeviceKey> {
        let count = self.order.len().min(most);
        let taken: Vec<DeviceKey> = self.order.drain(..count).collect();
        for device in &taken {
            self.members.remove(device);
        }
        taken
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// Devices that could go but for a slot, by campaign.
#[derive(Default)]
pub(crate) struct Slots {
    by_campaign: Mutex<BTreeMap<CampaignKey, Queue>>,
}

impl Slots {
    /// Adds who waits, and takes as many from the front as there are free slots.
    ///
    /// One that cannot go any more leaves its slot free; the batch that finds this out hands it to the next one.
    pub(crate) fn hand_out(
        &self,
        waiting: &[(CampaignKey, DeviceKey)],
        free: &BTreeMap<CampaignKey, usize>,
    ) -> Vec<DeviceKey> {
        if waiting.is_empty() && free.is_empty() {
            return Vec::new();
        }
        let mut queues = lock(&self.by_campaign);
        for (campaign, device) in waiting {
            queues.entry(*campaign).or_default().add(*device);
        }
        let mut next = Vec::new();
        for (campaign, free) in free {
            if let Some(queue) = queues.get_mut(campaign) {
                next.extend(queue.take(*free));
                if queue.is_empty() {
                    queues.remove(campaign);
                }
            }
        }
        next
    }

    /// The first of every queue, in case the one that was looked at last is gone.
    pub(crate) fn first_of_each(&self) -> Vec<DeviceKey> {
        let mut queues = lock(&self.by_campaign);
        let first = queues.values_mut().flat_map(|queue| queue.take(1)).collect();
        queues.retain(|_, queue| !queue.is_empty());
        first
    }
}

/// Questions to children that are open, and children that wait for one to be answered, by their gateway's session.
#[derive(Default)]
pub(crate) struct Questions {
    by_session: Mutex<BTreeMap<Reach, Through>>,
}

#[derive(Default)]
struct Through {
    open: BTreeSet<DeploymentKey>,
    waiting: Queue,
}

impl Questions {
    /// How many children are being asked through this session.
    pub(crate) fn open(&self, reach: Reach) -> usize {
        lock(&self.by_session).get(&reach).map_or(0, |through| through.open.len())
    }

    /// Notes what a batch asked and heard, and who has to wait; takes as many of those as may be asked now.
    pub(crate) fn note(
        &self,
        changed: &[(Reach, DeploymentKey, bool)],
        waiting: &[(Reach, DeviceKey)],
        most: usize,
    ) -> Vec<DeviceKey> {
        if changed.is_empty() && waiting.is_empty() {
            return Vec::new();
        }
        let mut sessions = lock(&self.by_session);
        for (reach, device) in waiting {
            sessions.entry(*reach).or_default().waiting.add(*device);
        }
        let mut touched = BTreeSet::new();
        for (reach, deployment, is_open) in changed {
            let through = sessions.entry(*reach).or_default();
            if *is_open {
                through.open.insert(*deployment);
            } else {
                through.open.remove(deployment);
                touched.insert(*reach);
            }
        }
        let mut next = Vec::new();
        for reach in touched {
            if let Some(through) = sessions.get_mut(&reach) {
                let room = most.saturating_sub(through.open.len());
                next.extend(through.waiting.take(room));
                if through.open.is_empty() && through.waiting.is_empty() {
                    sessions.remove(&reach);
                }
            }
        }
        next
    }

    /// These deployments have ended, in whatever way: nobody waits for their answers.
    pub(crate) fn ended(&self, deployments: impl Iterator<Item = DeploymentKey>) {
        let mut sessions = lock(&self.by_session);
        if sessions.is_empty() {
            return;
        }
        for deployment in deployments {
            sessions.values_mut().for_each(|through| {
                through.open.remove(&deployment);
            });
        }
    }

    /// Drops what belongs to sessions that are gone; takes who may be asked now, in case those that were looked at
    /// last had nothing to be asked.
    pub(crate) fn tidy(&self, connected: &Sessions, most: usize) -> Vec<DeviceKey> {
        let mut sessions = lock(&self.by_session);
        sessions.retain(|reach, _| connected.current(reach.via, reach.epoch).is_some());
        let room = |through: &Through| most.saturating_sub(through.open.len());
        sessions.values_mut().flat_map(|through| through.waiting.take(room(through))).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
