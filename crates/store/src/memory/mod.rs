//! The store in memory: a real member of the family, for tests and simulations.
//!
//! Always true:
//! - It behaves as the store on disk does, but for durability; one suite says so.
//! - Every operation is done under one lock, at once, on the caller's own thread, so that a seed replays.
//! - An operation that fails has changed nothing: rules are checked before the first change.
//!
//! Not here: the rules that both stores share (`rules`).

mod actions;
mod batch;
mod campaigns;
mod devices;
mod forget;
mod groups;
mod keys;
mod members;
mod modules;
mod newest;
mod notes;
mod packages;
mod pushes;
mod search;
mod spaces;
mod tables;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::StoreError;
use crate::sqlite::Weight;

pub(crate) use self::tables::Tables;

/// A store in memory. Gone when its last clone is.
#[derive(Clone)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    faults: Faults,
    /// Held by the operation that is under way, where it takes time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore")
    }
}

/// Makes a store in memory wait or fail, as a disk does. Cheap to clone; all clones are the same switch.
///
/// Only writing operations are concerned, `transact` among them; reading goes on, but for
/// [`fail_reads_after`](Faults::fail_reads_after).
#[derive(Clone, Debug)]
pub struct Faults {
    switch: Arc<Mutex<Switch>>,
    /// Wakes those that wait in the order in which they came. (A `watch` channel would wake them in any order.)
    resumed: Arc<Notify>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Switch {
    stalled: bool,
    failing: Failing,
    passed: u64,
    /// How many reads are answered before they fail.
    reads_left: Option<u32>,
    /// The longest way to the tables and back, and what decides the next one.
    slow: Option<(Duration, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Failing {
    #[default]
    Not,
    Next(u32),
    UntilHealed,
    /// Only what takes much room.
    Large,
}

impl Faults {
    fn new() -> Faults {
        Faults { switch: Arc::default(), resumed: Arc::default() }
    }

    /// From now on writing operations wait.
    pub fn stall(&self) {
        self.switch().stalled = true;
    }

    /// Lets waiting operations go on. Harmless when nothing waits.
    pub fn resume(&self) {
        self.switch().stalled = false;
        self.resumed.notify_waiters();
    }

    /// The next `n` writing operations answer `Unavailable` and write nothing.
    pub fn fail(&self, n: u32) {
        self.switch().failing = Failing::Next(n);
    }

    /// Writing operations answer `Unavailable` and write nothing, until [`heal`](Faults::heal).
    pub fn fail_until_healed(&self) {
        self.switch().failing = Failing::UntilHealed;
    }

    /// Batches and other large writes answer `Unavailable` and write nothing, until [`heal`](Faults::heal); small ones,
    /// such as the heartbeat, find room, as on a disk that is all but full.
    pub fn fail_large_until_healed(&self) {
        self.switch().failing = Failing::Large;
    }

    /// How many writing operations were let through so far.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.switch().passed
    }

    /// Reading operations answer `Unavailable` after the next `n`, until [`heal`](Faults::heal).
    pub fn fail_reads_after(&self, n: u32) {
        self.switch().reads_left = Some(n);
    }

    /// No more failures.
    pub fn heal(&self) {
        self.switch().failing = Failing::Not;
        self.switch().reads_left = None;
    }

    /// Takes one of the reads that are answered, if they are counted.
    fn pass_read(&self) -> Result<(), StoreError> {
        match &mut self.switch().reads_left {
            Some(0) => Err(StoreError::Unavailable("a fault was injected".to_owned())),
            Some(n) => {
                *n -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// From now on each writing operation takes up to `most` before it is carried out, and up to `most` until it answers;
    /// `seed` decides how long. One at a time, as on a disk. A caller that is gone by then has written all the same.
    pub fn slow(&self, most: Duration, seed: u64) {
        self.switch().slow = (!most.is_zero()).then_some((most, seed));
    }

    /// How long the next operation takes on one way.
    fn way(&self) -> Duration {
        let mut switch = self.switch();
        let Some((most, state)) = &mut switch.slow else { return Duration::ZERO };
        // Knuth's MMIX generator: the high bits are good enough for a delay.
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        most.mul_f64((*state >> 40) as f64 / f64::from(1 << 24))
    }

    fn is_slow(&self) -> bool {
        self.switch().slow.is_some()
    }

    /// Waits while stalled, and takes one failure if there is one to take.
    async fn pass(&self, weight: Weight) -> Result<(), StoreError> {
        loop {
            // Made before looking, so that what resumes in between is not missed.
            let resumed = self.resumed.notified();
            if !self.switch().stalled {
                break;
            }
            resumed.await;
        }
        let mut switch = self.switch();
        let failed = match switch.failing {
            Failing::Not | Failing::Next(0) => false,
            Failing::UntilHealed => true,
            Failing::Large => weight == Weight::Large,
            Failing::Next(n) => {
                switch.failing = Failing::Next(n - 1);
                true
            }
        };
        if failed {
            return Err(StoreError::Unavailable("a fault was injected".to_owned()));
        }
        switch.passed += 1;
        Ok(())
    }

    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryStore {
    pub(crate) fn new() -> (MemoryStore, Faults) {
        let faults = Faults::new();
        (MemoryStore { tables: Arc::default(), faults: faults.clone(), turn: Arc::default() }, faults)
    }

    pub(crate) async fn write<R>(
        &self,
        weight: Weight,
        work: impl FnOnce(&mut Tables) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        self.faults.pass(weight).await?;
        if !self.faults.is_slow() {
            return self.tables().told_of(work);
        }
        let _turn = self.turn.lock().await;
        tokio::time::sleep(self.faults.way()).await;
        let answer = self.tables().told_of(work);
        tokio::time::sleep(self.faults.way()).await;
        answer
    }

    pub(crate) fn read<R>(
        &self,
        work: impl FnOnce(&Tables) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        self.faults.pass_read()?;
        work(&self.tables())
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Changes are made after the last thing that can fail, so that a panic leaves whole tables behind.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
