//! Places for so many connections at once, for endpoints that strangers may reach.
//!
//! A connection that says nothing costs its peer nothing. Some thousand of them would keep everybody else out until their
//! time is over, which has to be long enough for the slowest honest link. So whoever keeps us waiting for a second steps
//! aside: it stays connected, and somebody else has its place. There is room for so many aside; the one that is there for
//! longest makes room for the next.
//!
//! Always true:
//! - Nobody takes a place while all are taken by those that speak or are worked for. Who speaks again goes on at once, in a
//!   place or without one; those without one and those aside are together no more than there is room aside, but for those
//!   that speak all at once.
//! - Nobody is sent away while there is room aside, while we work for it, or in its first second.
//!
//! Not here: how long a connection may take; its owner has its own deadlines.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

/// How long a peer must have been silent to step aside.
///
/// A round trip on a bad mobile link. In the crowd of a fleet that returns at once, whose handshakes we are busy with, all
/// have spoken within it as far as we let them.
pub const SILENCE: Duration = Duration::from_secs(1);

/// After so many times [`SILENCE`] without work for it a peer steps aside although it speaks.
///
/// Else a byte now and then would keep the place. Two round trips of TLS and one of CONNECT take three seconds on such a link.
const TURNS: u32 = 4;

/// So many places, and room aside.
#[derive(Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    aside_max: usize,
    guests: Mutex<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    /// How often somebody stepped aside, which is the number of the next one.
    stepped: u64,
    /// Those whose peers keep us waiting, by their number: who is aside for longest first.
    aside: BTreeMap<u64, Arc<Notify>>,
    /// Those that came back from there when all places were taken.
    without_place: usize,
}

/// One place, until this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    stands: Mutex<Stands>,
    leave: Arc<Notify>,
    work: Arc<WorkAtPlace>,
}

#[derive(Debug)]
enum Stands {
    AtPlace { _permit: OwnedSemaphorePermit },
    Aside { number: u64 },
    WithoutPlace,
}

#[derive(Debug, Default)]
struct WorkAtPlace {
    under_way: AtomicUsize,
    /// There was some since this was looked at.
    was_some: AtomicBool,
}

/// Keeps a place, until it is dropped. To be begun and ended by what [`Place::attend`] waits for.
#[derive(Debug)]
pub struct Work(Arc<WorkAtPlace>);

/// There is no more room aside, and this one has kept us waiting for longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentAway;

impl Places {
    /// `most` places and room for `aside_max` aside. More than a semaphore can count are as many as it can.
    #[must_use]
    pub fn new(most: usize, aside_max: usize) -> Arc<Places> {
        let free = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Arc::new(Places { free, aside_max, guests: Mutex::default() })
    }

    /// Takes a place; waits while all are taken, first come, first served. Dropping the future takes none.
    ///
    /// # Panics
    ///
    /// Never: the semaphore is not closed.
    pub async fn take(self: &Arc<Places>) -> Place {
        let permit = Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed");
        Place {
            places: Arc::clone(self),
            stands: Mutex::new(Stands::AtPlace { _permit: permit }),
            leave: Arc::default(),
            work: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits for what goes on at this place. Where it is waited for without an end that is the peer's doing, unless there
    /// is [`Work`].
    ///
    /// # Errors
    ///
    /// `SentAway`: there is no more room. What went on has been dropped.
    pub async fn attend<T>(&self, going_on: impl Future<Output = T>) -> Result<T, SentAway> {
        let mut going_on = pin!(going_on);
        let mut turn_ends_at = Instant::now() + SILENCE;
        let mut turns = 0;
        let mut is_aside = false;
        let mut looks = 0_u32;
        loop {
            // Aside no turn is running, so that a word from the peer has to be noticed here.
            let looked = std::future::poll_fn(|cx| match going_on.as_mut().poll(cx) {
                Poll::Ready(came) => Poll::Ready(Some(came)),
                Poll::Pending => {
                    looks += 1;
                    if is_aside && looks > 1 { Poll::Ready(None) } else { Poll::Pending }
                }
            });
            tokio::select! {
                biased;
                // First: being sent away is no word from the peer.
                () = self.leave.notified() => return Err(SentAway),
                came = looked => match came {
                    Some(came) => return Ok(came),
                    None => {
                        if self.has_worked() {
                            turns = 0;
                        }
                        if turns < TURNS {
                            self.come_back();
                            is_aside = false;
                            turn_ends_at = Instant::now() + SILENCE;
                        }
                        looks = 0;
                    }
                },
                () = sleep_until(turn_ends_at), if !is_aside => {
                    let has_worked = self.has_worked();
                    turns = if has_worked { 0 } else { turns + 1 };
                    // A turn begins with one look and ends with another one; whatever comes from the peer makes more.
                    if !has_worked && (looks <= 2 || turns >= TURNS) {
                        self.step_aside();
                        is_aside = true;
                    }
                    looks = 0;
                    turn_ends_at = Instant::now() + SILENCE;
                }
            }
        }
    }

    /// Says that there is work for this place: whoever waits now does not wait for its peer.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work.under_way.fetch_add(1, Ordering::Relaxed);
        Work(Arc::clone(&self.work))
    }

    /// Whether there is work, or was some since this was asked.
    fn has_worked(&self) -> bool {
        let was_some = self.work.was_some.swap(false, Ordering::Relaxed);
        was_some || self.work.under_way.load(Ordering::Relaxed) > 0
    }

    fn step_aside(&self) {
        let mut guests = self.places.lock();
        let number = guests.stepped;
        guests.stepped += 1;
        guests.aside.insert(number, Arc::clone(&self.leave));
        guests.change(&mut self.stands(), Stands::Aside { number });
        // Those without a place are busy; the room they take is missing here, so that all together are bounded.
        while guests.aside.len() + guests.without_place > self.places.aside_max
            && let Some((_, leave)) = guests.aside.pop_first()
        {
            leave.notify_one();
        }
    }

    fn come_back(&self) {
        let stands = match Arc::clone(&self.places.free).try_acquire_owned() {
            Ok(permit) => Stands::AtPlace { _permit: permit },
            Err(_) => Stands::WithoutPlace,
        };
        self.places.lock().change(&mut self.stands(), stands);
    }

    fn stands(&self) -> MutexGuard<'_, Stands> {
        self.stands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    /// Somebody stands elsewhere now.
    fn change(&mut self, before: &mut Stands, after: Stands) {
        match before {
            Stands::AtPlace { .. } => {}
            Stands::Aside { number } => {
                self.aside.remove(number);
            }
            Stands::WithoutPlace => self.without_place -= 1,
        }
        if let Stands::WithoutPlace = after {
            self.without_place += 1;
        }
        *before = after;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.was_some.store(true, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.places.lock();
        match &*self.stands() {
            Stands::AtPlace { .. } => {}
            Stands::Aside { number } => {
                guests.aside.remove(number);
            }
            Stands::WithoutPlace => guests.without_place -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{sleep, timeout};

    use super::*;

    /// Has a place at once, or none.
    async fn take_now(places: &Arc<Places>) -> Option<Place> {
        timeout(Duration::from_millis(10), places.take()).await.ok()
    }

    /// Somebody whose place this is says nothing.
    fn mute(place: Place) -> tokio::task::JoinHandle<Result<(), SentAway>> {
        tokio::spawn(async move { place.attend(pending()).await })
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_steps_aside_after_a_second_and_stays() {
        let places = Places::new(1, 1);
        let guest = mute(places.take().await);
        assert!(take_now(&places).await.is_none(), "in its first second it keeps the place");
        sleep(SILENCE).await;
        assert!(take_now(&places).await.is_some());
        sleep(SILENCE * 100).await;
        assert!(!guest.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn without_room_aside_the_one_that_came_first_is_sent_away() {
        let places = Places::new(1, 2);
        let mut guests = Vec::new();
        for _ in 0..3 {
            guests.push(mute(places.take().await));
        }
        sleep(SILENCE * 3 / 2).await;
        let left: Vec<bool> = guests.iter().map(|guest| guest.is_finished()).collect();
        assert_eq!(left, [true, false, false]);
        assert_eq!(guests.remove(0).await.unwrap(), Err(SentAway));
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_came_back_without_a_place_take_room_aside() {
        let places = Places::new(1, 3);
        let mut busy = Vec::new();
        for _ in 0..2 {
            let place = Arc::new(places.take().await);
            busy.push(tokio::spawn(async move {
                let speaks = async {
                    sleep(SILENCE * 5 / 2).await;
                    let _work = place.work();
                    pending::<()>().await;
                };
                place.attend(speaks).await
            }));
        }
        let third = mute(places.take().await);
        sleep(SILENCE * 4).await;
        assert!(busy.iter().all(|guest| !guest.is_finished()), "there is work for them");
        // One of the busy ones has the place that was free, the other one is without.
        assert_eq!(places.lock().without_place, 1);
        assert!(!third.is_finished());
        assert!(take_now(&places).await.is_none());
        for guest in busy {
            guest.abort();
            let _ = guest.await;
        }
        assert_eq!(places.lock().without_place, 0);
        let fourth = mute(take_now(&places).await.expect("a place"));
        sleep(SILENCE * 2).await;
        assert!(!third.is_finished() && !fourth.is_finished(), "there is room for three");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_speaks_again_is_back_and_not_sent_away() {
        let places = Places::new(1, 1);
        let place = places.take().await;
        let speaks = tokio::spawn(async move { place.attend(sleep(SILENCE * 3 / 2)).await });
        let second = mute(places.take().await);
        assert_eq!(speaks.await.unwrap(), Ok(()));
        sleep(SILENCE * 2).await;
        assert!(!second.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_we_work_for_stays_however_long_it_takes() {
        let places = Places::new(1, 0);
        let place = Arc::new(places.take().await);
        let guest = tokio::spawn({
            let place = Arc::clone(&place);
            async move { place.attend(pending::<()>()).await }
        });
        let work = place.work();
        drop(place);
        sleep(SILENCE * 10).await;
        assert!(take_now(&places).await.is_none());
        drop(work);
        sleep(SILENCE).await;
        assert!(!guest.is_finished(), "its silence begins when the work is done");
        sleep(SILENCE).await;
        assert_eq!(guest.await.unwrap(), Err(SentAway));
        assert!(take_now(&places).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_keeps_a_place_for_some_seconds_only() {
        let places = Places::new(1, 1);
        let place = places.take().await;
        let guest = tokio::spawn(async move {
            let dribble = async {
                loop {
                    sleep(SILENCE / 3).await;
                }
            };
            place.attend::<()>(dribble).await
        });
        sleep(SILENCE * (TURNS - 1)).await;
        assert!(take_now(&places).await.is_none());
        sleep(SILENCE * 3 / 2).await;
        let second = take_now(&places).await.expect("a place");
        sleep(SILENCE).await;
        assert!(!guest.is_finished(), "aside there is room");
        let _second = mute(second);
        sleep(SILENCE).await;
        assert_eq!(guest.await.unwrap(), Err(SentAway));
    }

    #[tokio::test(start_paused = true)]
    async fn never_are_more_taken_than_there_are_by_those_that_are_quick() {
        let places = Places::new(3, 0);
        let most = Arc::new(AtomicUsize::new(0));
        let taken = Arc::new(AtomicUsize::new(0));
        let guests: Vec<_> = (0..100_u64)
            .map(|n| {
                let (places, most, taken) = (Arc::clone(&places), Arc::clone(&most), Arc::clone(&taken));
                tokio::spawn(async move {
                    let place = places.take().await;
                    most.fetch_max(taken.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    let done = place.attend(sleep(Duration::from_millis(n * 9))).await;
                    taken.fetch_sub(1, Ordering::Relaxed);
                    done
                })
            })
            .collect();
        for guest in guests {
            assert_eq!(guest.await.unwrap(), Ok(()));
        }
        assert_eq!(most.load(Ordering::Relaxed), 3);
        assert!(places.lock().aside.is_empty());
    }
}
