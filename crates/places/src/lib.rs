//! Places for so many connections at once, for endpoints that strangers may reach.
//!
//! A connection that says nothing costs its peer nothing. Some thousand of them would keep everybody else out until their
//! time is over, which has to be long enough for the slowest honest link. So a place is kept as long as it likes while
//! there are others; when all are taken and somebody waits at the door, the connection that has kept us waiting for longest
//! gives up its place.
//!
//! Always true:
//! - Never are more places taken than there are.
//! - Nobody gives up a place while another one is free, while we work for it, or in its first second.
//! - One gives up its place at a time, for one who waits.
//!
//! Not here: how long a connection may take while there are free places; its owner has its own deadlines.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

/// How long a peer must have been silent before it may be asked to leave.
///
/// A round trip on a bad mobile link. In the crowd of a fleet that returns at once, whose handshakes we are busy with, all
/// have spoken within it as far as we let them.
pub const SILENCE: Duration = Duration::from_secs(1);

/// After so many times [`SILENCE`] without work for it a peer may be asked to leave although it speaks.
///
/// Else a byte now and then would keep the place. Two round trips of TLS and one of CONNECT take three seconds on such a link.
const TURNS: u32 = 4;

/// How long whoever waits for a place waits before it looks again for somebody who has become silent.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// So many places.
#[derive(Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    guests: Mutex<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    next: u64,
    /// In the order in which they came.
    here: BTreeMap<u64, Arc<Guest>>,
}

#[derive(Debug, Default)]
struct Guest {
    /// Its peer keeps us waiting.
    is_idle: AtomicBool,
    /// Things under way for it.
    work: AtomicUsize,
    /// There was work since this was looked at.
    has_worked: AtomicBool,
    was_asked: AtomicBool,
    leave: Notify,
}

/// One place, taken until this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    number: u64,
    guest: Arc<Guest>,
    _permit: OwnedSemaphorePermit,
}

/// Keeps a place from being given up, until it is dropped.
#[derive(Debug)]
pub struct Work(Arc<Guest>);

/// All places were taken, and this one's peer had kept us waiting for longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenUp;

impl Places {
    /// `most` places; more than a semaphore can count are as many as it can.
    #[must_use]
    pub fn new(most: usize) -> Arc<Places> {
        let free = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Arc::new(Places { free, guests: Mutex::default() })
    }

    /// Takes a place; waits for one if all are taken, and asks somebody to leave for it. Dropping the future takes none.
    pub async fn take(self: &Arc<Places>) -> Place {
        loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                return self.seat(permit);
            }
            self.ask_one_to_leave();
            if let Ok(Ok(permit)) = timeout(LOOK_AGAIN, Arc::clone(&self.free).acquire_owned()).await {
                return self.seat(permit);
            }
        }
    }

    fn seat(self: &Arc<Places>, permit: OwnedSemaphorePermit) -> Place {
        let guest = Arc::new(Guest::default());
        let mut guests = self.lock();
        let number = guests.next;
        guests.next += 1;
        guests.here.insert(number, Arc::clone(&guest));
        Place { places: Arc::clone(self), number, guest, _permit: permit }
    }

    fn ask_one_to_leave(&self) {
        let guests = self.lock();
        let mut found = None;
        for guest in guests.here.values() {
            if guest.was_asked.load(Ordering::Relaxed) {
                // Its place will be free in a moment.
                return;
            }
            if found.is_none() && guest.may_be_asked() {
                found = Some(guest);
            }
        }
        if let Some(guest) = found {
            guest.was_asked.store(true, Ordering::Relaxed);
            guest.leave.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    fn may_be_asked(&self) -> bool {
        self.is_idle.load(Ordering::Relaxed) && self.work.load(Ordering::Relaxed) == 0
    }
}

impl Place {
    /// Waits for what goes on at this place. Where it is waited for without an end that is the peer's doing, unless there
    /// is [`Work`].
    ///
    /// # Errors
    ///
    /// `GivenUp`: the place is wanted by another one. What went on has been dropped.
    pub async fn attend<T>(&self, going_on: impl Future<Output = T>) -> Result<T, GivenUp> {
        let mut going_on = pin!(going_on);
        let mut turn_at = Instant::now() + SILENCE;
        let mut turns = 0;
        let mut looks = 0_u32;
        loop {
            let looked = std::future::poll_fn(|cx| {
                looks += 1;
                going_on.as_mut().poll(cx)
            });
            tokio::select! {
                biased;
                came = looked => return Ok(came),
                () = self.guest.leave.notified() => {
                    if self.guest.work.load(Ordering::Relaxed) == 0 {
                        return Err(GivenUp);
                    }
                    // Something came up meanwhile.
                    self.guest.was_asked.store(false, Ordering::Relaxed);
                }
                () = sleep_until(turn_at) => {
                    let is_working = self.guest.work.load(Ordering::Relaxed) > 0;
                    let has_worked = self.guest.has_worked.swap(false, Ordering::Relaxed) || is_working;
                    turns = if has_worked { 0 } else { turns + 1 };
                    // A turn begins with one look and ends with another one; whatever comes from the peer makes more.
                    let is_silent = looks <= 2;
                    self.guest.is_idle.store(!has_worked && (is_silent || turns >= TURNS), Ordering::Relaxed);
                    looks = 0;
                    turn_at = Instant::now() + SILENCE;
                }
            }
        }
    }

    /// Says that there is work for this place: whoever waits now does not wait for its peer.
    #[must_use]
    pub fn work(&self) -> Work {
        self.guest.work.fetch_add(1, Ordering::Relaxed);
        self.guest.has_worked.store(true, Ordering::Relaxed);
        self.guest.is_idle.store(false, Ordering::Relaxed);
        Work(Arc::clone(&self.guest))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.has_worked.store(true, Ordering::Relaxed);
        self.0.work.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().here.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// Sits down at once, or not at all.
    async fn take_now(places: &Arc<Places>) -> Option<Place> {
        timeout(Duration::from_millis(10), places.take()).await.ok()
    }

    /// Somebody whose place this is says nothing.
    fn mute(place: Place) -> tokio::task::JoinHandle<Result<(), GivenUp>> {
        tokio::spawn(async move { place.attend(pending()).await })
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_keeps_a_place_that_nobody_wants() {
        let places = Places::new(2);
        let guest = mute(places.take().await);
        tokio::time::sleep(SILENCE * 100).await;
        assert!(!guest.is_finished());
        assert!(take_now(&places).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_are_taken_the_one_that_was_silent_for_longest_leaves_and_no_other() {
        let places = Places::new(2);
        let first = mute(places.take().await);
        let second = mute(places.take().await);
        assert!(take_now(&places).await.is_none(), "in their first second they stay");
        tokio::time::sleep(SILENCE).await;
        let third = take_now(&places).await.expect("a place");
        assert_eq!(first.await.unwrap(), Err(GivenUp));
        assert!(!second.is_finished());
        let third = mute(third);
        assert!(take_now(&places).await.is_some());
        assert_eq!(second.await.unwrap(), Err(GivenUp));
        assert!(!third.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_has_the_place_of_one_that_falls_silent() {
        let places = Places::new(1);
        let _guest = mute(places.take().await);
        let began = Instant::now();
        places.take().await;
        assert!(began.elapsed() <= SILENCE + LOOK_AGAIN, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_we_work_for_stays_however_long_it_takes() {
        let places = Places::new(1);
        let place = Arc::new(places.take().await);
        let guest = tokio::spawn({
            let place = Arc::clone(&place);
            async move { place.attend(pending::<()>()).await }
        });
        let work = place.work();
        drop(place);
        tokio::time::sleep(SILENCE * 10).await;
        assert!(take_now(&places).await.is_none());
        drop(work);
        tokio::time::sleep(SILENCE).await;
        assert!(take_now(&places).await.is_none(), "its silence begins when the work is done");
        tokio::time::sleep(SILENCE * 2).await;
        assert!(take_now(&places).await.is_some());
        assert_eq!(guest.await.unwrap(), Err(GivenUp));
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_keeps_a_place_for_some_seconds_only() {
        let places = Places::new(1);
        let place = places.take().await;
        let guest = tokio::spawn(async move {
            let dribble = async {
                loop {
                    tokio::time::sleep(SILENCE / 3).await;
                }
            };
            place.attend::<()>(dribble).await
        });
        tokio::time::sleep(SILENCE * (TURNS - 1)).await;
        assert!(take_now(&places).await.is_none());
        tokio::time::sleep(SILENCE).await;
        assert!(take_now(&places).await.is_some());
        assert_eq!(guest.await.unwrap(), Err(GivenUp));
    }

    #[tokio::test(start_paused = true)]
    async fn never_are_more_taken_than_there_are() {
        let places = Places::new(3);
        let most = Arc::new(AtomicUsize::new(0));
        let taken = Arc::new(AtomicUsize::new(0));
        let guests: Vec<_> = (0..100_u64)
            .map(|n| {
                let (places, most, taken) = (Arc::clone(&places), Arc::clone(&most), Arc::clone(&taken));
                tokio::spawn(async move {
                    let place = places.take().await;
                    most.fetch_max(taken.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    let _ = place.attend(tokio::time::sleep(Duration::from_millis(n * 37))).await;
                    taken.fetch_sub(1, Ordering::Relaxed);
                })
            })
            .collect();
        for guest in guests {
            guest.await.unwrap();
        }
        assert_eq!(most.load(Ordering::Relaxed), 3);
        assert_eq!(places.lock().here.len(), 0);
    }
}
