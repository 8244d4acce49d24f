//! Where time comes from, and the time that deadlines are counted in.
//!
//! Always true:
//! - Service time never goes back within a run, and starts again where the last heartbeat left it.
//! - It stands still while the store is out and for a grace after every start and outage, so that devices have
//!   time to come back before their deadlines go on.
//! - Jumps of the wall clock do not touch it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use otaru_core::{ServiceTime, WallTime};

/// The two clocks of a machine. The one place that asks the system is [`SystemClock`].
pub trait Clock: Send + Sync + 'static {
    /// What the wall clock shows.
    fn wall(&self) -> WallTime;
    /// Time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;
}

/// The machine's own clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: std::time::Instant,
}

impl SystemClock {
    /// The machine's own clocks.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one implementation of Clock that reads the system's")]
    pub fn new() -> SystemClock {
        SystemClock { origin: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one implementation of Clock that reads the system's")]
    fn wall(&self) -> WallTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        WallTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// Counts service time.
pub struct ServiceClock {
    clock: Arc<dyn Clock>,
    pace: Mutex<Pace>,
}

/// Service time is `base`, and moves on from `moves_from` unless it is frozen.
#[derive(Clone, Copy)]
struct Pace {
    base: ServiceTime,
    moves_from: Duration,
    frozen: bool,
}

impl ServiceClock {
    /// Goes on where the last run's heartbeat left it, after `grace`.
    pub fn resume(clock: Arc<dyn Clock>, last: ServiceTime, grace: Duration) -> ServiceClock {
        let moves_from = clock.elapsed() + grace;
        ServiceClock { clock, pace: Mutex::new(Pace { base: last, moves_from, frozen: false }) }
    }

    /// Now.
    pub fn now(&self) -> ServiceTime {
        self.at(*self.lock())
    }

    /// How long, in real time, until `when`, if nothing freezes meanwhile.
    pub fn wait_until(&self, when: ServiceTime) -> Duration {
        let pace = *self.lock();
        let grace_left = pace.moves_from.saturating_sub(self.clock.elapsed());
        self.at(pace).until(when) + grace_left
    }

    /// Stands still from now on. Harmless if it does already.
    pub fn freeze(&self) {
        let mut pace = self.lock();
        *pace = Pace { base: self.at(*pace), frozen: true, ..*pace };
    }

    /// Moves again, after `grace`. Harmless if it does already.
    pub fn thaw(&self, grace: Duration) {
        let mut pace = self.lock();
        if pace.frozen {
            *pace = Pace { moves_from: self.clock.elapsed() + grace, frozen: false, ..*pace };
        }
    }

    fn at(&self, pace: Pace) -> ServiceTime {
        if pace.frozen {
            return pace.base;
        }
        pace.base.after(self.clock.elapsed().saturating_sub(pace.moves_from))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A clock that a test winds.
    #[derive(Default)]
    pub(crate) struct WoundClock(Mutex<(i64, Duration)>);

    impl WoundClock {
        pub(crate) fn pass(&self, span: Duration) {
            let mut now = self.0.lock().unwrap();
            now.0 += i64::try_from(span.as_millis()).unwrap();
            now.1 += span;
        }
        pub(crate) fn jump_wall(&self, millis: i64) {
            self.0.lock().unwrap().0 += millis;
        }
    }

    impl Clock for WoundClock {
        fn wall(&self) -> WallTime {
            WallTime(self.0.lock().unwrap().0)
        }
        fn elapsed(&self) -> Duration {
            self.0.lock().unwrap().1
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn our_downtime_and_the_grace_after_it_do_not_count() {
        let clock = Arc::new(WoundClock::default());
        let service = ServiceClock::resume(clock.clone(), ServiceTime(5_000), 10 * SECOND);
        clock.pass(9 * SECOND);
        assert_eq!(service.now(), ServiceTime(5_000), "the grace is not over");
        assert_eq!(service.wait_until(ServiceTime(7_000)), 3 * SECOND);
        clock.pass(3 * SECOND);
        assert_eq!(service.now(), ServiceTime(7_000));
    }

    #[test]
    fn an_outage_of_the_store_freezes_it() {
        let clock = Arc::new(WoundClock::default());
        let service = ServiceClock::resume(clock.clone(), ServiceTime(0), Duration::ZERO);
        clock.pass(4 * SECOND);
        service.freeze();
        clock.pass(3600 * SECOND);
        service.freeze();
        assert_eq!(service.now(), ServiceTime(4_000));
        service.thaw(2 * SECOND);
        service.thaw(50 * SECOND);
        clock.pass(3 * SECOND);
        assert_eq!(service.now(), ServiceTime(5_000));
    }

    #[test]
    fn jumps_of_the_wall_clock_do_not_count() {
        let clock = Arc::new(WoundClock::default());
        let service = ServiceClock::resume(clock.clone(), ServiceTime(0), Duration::ZERO);
        clock.jump_wall(48 * 3_600_000);
        clock.pass(SECOND);
        clock.jump_wall(-96 * 3_600_000);
        assert_eq!(service.now(), ServiceTime(1_000));
    }
}
