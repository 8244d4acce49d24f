//! Who waits for a place: for a slot of a campaign, or for a gateway to answer.
//!
//! Always true:
//! - A device stands in a queue at most once, and leaves it in the order in which it came.
//! - Everything here is made again by devices that connect; losing it costs time, never correctness.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use otaru_store::{CampaignKey, DeploymentKey, DeviceKey};

use crate::limits::{CHILDREN_ASKED_MAX, QUESTION_LIFE};
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
    inner: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    /// Through whose session a child is being asked, by deployment, and since when.
    open: BTreeMap<DeploymentKey, (Reach, Duration)>,
    by_session: BTreeMap<Reach, Through>,
}

#[derive(Default)]
struct Through {
    open: usize,
    waiting: Queue,
}

impl Questions {
    /// How many children are being asked through this session.
    pub(crate) fn open(&self, reach: Reach) -> usize {
        lock(&self.inner).by_session.get(&reach).map_or(0, |through| through.open)
    }

    /// Through whose session this deployment's question is open.
    pub(crate) fn reach_of(&self, deployment: DeploymentKey) -> Option<Reach> {
        lock(&self.inner).open.get(&deployment).map(|(reach, _)| *reach)
    }

    /// Notes where questions are open since a batch, and who has to wait; takes as many of those as may be asked now.
    pub(crate) fn note(
        &self,
        questions: &[(DeploymentKey, Option<Reach>)],
        waiting: &[(Reach, DeviceKey)],
        now: Duration,
    ) -> Vec<DeviceKey> {
        if questions.is_empty() && waiting.is_empty() {
            return Vec::new();
        }
        let mut asked = lock(&self.inner);
        for (reach, device) in waiting {
            asked.by_session.entry(*reach).or_default().waiting.add(*device);
        }
        let mut touched = BTreeSet::new();
        for (deployment, reach) in questions {
            touched.extend(asked.close(*deployment));
            if let Some(reach) = reach {
                asked.open.insert(*deployment, (*reach, now));
                asked.by_session.entry(*reach).or_default().open += 1;
            }
        }
        asked.next_of(touched)
    }

    /// These deployments have ended, in whatever way: nobody waits for their answers. Takes who may be asked instead.
    pub(crate) fn ended(&self, deployments: impl Iterator<Item = DeploymentKey>) -> Vec<DeviceKey> {
        let mut asked = lock(&self.inner);
        if asked.open.is_empty() {
            return Vec::new();
        }
        let touched = deployments.filter_map(|deployment| asked.close(deployment)).collect();
        asked.next_of(touched)
    }

    /// Drops what belongs to sessions that are gone, and questions so old that their end must have been missed;
    /// takes who may be asked now, in case those that were looked at last had nothing to be asked.
    pub(crate) fn tidy(&self, connected: &Sessions, now: Duration) -> Vec<DeviceKey> {
        let mut asked = lock(&self.inner);
        let old: Vec<DeploymentKey> = asked
            .open
            .iter()
            .filter(|(_, (reach, since))| {
                now.saturating_sub(*since) > QUESTION_LIFE
                    || connected.current(reach.via, reach.epoch).is_none()
            })
            .map(|(deployment, _)| *deployment)
            .collect();
        for deployment in old {
            asked.close(deployment);
        }
        asked.by_session.retain(|reach, _| connected.current(reach.via, reach.epoch).is_some());
        let sessions = asked.by_session.keys().copied().collect();
        asked.next_of(sessions)
    }
}

impl Asked {
    fn close(&mut self, deployment: DeploymentKey) -> Option<Reach> {
        let (reach, _) = self.open.remove(&deployment)?;
        if let Some(through) = self.by_session.get_mut(&reach) {
            through.open = through.open.saturating_sub(1);
        }
        Some(reach)
    }

    /// Those who may be asked now through these sessions, from the front of their queues.
    fn next_of(&mut self, sessions: BTreeSet<Reach>) -> Vec<DeviceKey> {
        let mut next = Vec::new();
        for reach in sessions {
            if let Some(through) = self.by_session.get_mut(&reach) {
                next.extend(through.waiting.take(CHILDREN_ASKED_MAX.saturating_sub(through.open)));
                if through.open == 0 && through.waiting.is_empty() {
                    self.by_session.remove(&reach);
                }
            }
        }
        next
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
