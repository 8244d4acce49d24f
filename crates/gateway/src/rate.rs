//! How fast one session may speak.
//!
//! A leaky bucket remembered as one instant: when the packets so far would have been spoken at the permitted rate.
//! A session may be ahead of that by its burst, and is not read while it would be further ahead.
//!
//! Always true: nothing is dropped here. Who is too fast is told when to be read again.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::PACE_BYTES;

/// A rate that may be kept for ever, and how much may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkRate {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl UplinkRate {
    /// `per_second` packets for long, `burst` of them at once. `None`, no limit, if either is 0.
    pub fn new(per_second: u32, burst: u32) -> Option<UplinkRate> {
        Some(UplinkRate { per_second: NonZeroU32::new(per_second)?, burst: NonZeroU32::new(burst)? })
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.per_second.get()
    }

    /// How far ahead of the rate a session may be before its next packet is read.
    fn lead(&self) -> Duration {
        self.interval() * (self.burst.get() - 1)
    }
}

/// How far one session has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// When the packets so far would have been spoken at the permitted rate. `None`: nothing spoken yet.
    due: Option<Instant>,
}

impl Pace {
    /// When the next packet may be read; `None` if at once.
    pub(crate) fn ready_at(&self, rate: &UplinkRate, now: Instant) -> Option<Instant> {
        // `due` is never far from now, so adding and subtracting cannot overflow.
        let ready = self.due?.checked_sub(rate.lead())?;
        (ready > now).then_some(ready)
    }

    /// A packet with so many bytes of payload was read. A large one counts as several.
    pub(crate) fn spend(&mut self, rate: &UplinkRate, now: Instant, payload_bytes: usize) {
        let from = self.due.map_or(now, |due| due.max(now));
        // A packet has fewer than 2^28 bytes, so that this is no large number.
        let packets = 1 + u32::try_from(payload_bytes / PACE_BYTES).unwrap_or(u32::MAX);
        self.due = Some(from + rate.interval().saturating_mul(packets));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_large_message_counts_as_several() {
        let start = Instant::now();
        let rate = UplinkRate::new(50, 1).unwrap();
        let after = |bytes| {
            let mut pace = Pace::default();
            pace.spend(&rate, start, bytes);
            pace.ready_at(&rate, start).unwrap() - start
        };
        assert_eq!(after(330), millis(20));
        assert_eq!(after(PACE_BYTES - 1), millis(20));
        assert_eq!(after(1024 * 1024), millis(20 * 51), "one megabyte a second");
    }

    use super::*;

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_burst_passes_at_once_and_then_the_rate_holds() {
        let start = Instant::now();
        let rate = UplinkRate::new(50, 3).unwrap();
        let mut pace = Pace::default();
        for _ in 0..3 {
            assert_eq!(pace.ready_at(&rate, start), None);
            pace.spend(&rate, start, 0);
        }
        assert_eq!(pace.ready_at(&rate, start), Some(start + millis(20)));
        assert_eq!(pace.ready_at(&rate, start + millis(20)), None);
        pace.spend(&rate, start + millis(20), 0);
        assert_eq!(pace.ready_at(&rate, start + millis(20)), Some(start + millis(40)));
    }

    #[test]
    fn whoever_keeps_the_rate_is_never_held_up() {
        let start = Instant::now();
        let rate = UplinkRate::new(50, 1).unwrap();
        let mut pace = Pace::default();
        for n in 0..1000 {
            let now = start + millis(20 * n);
            assert_eq!(pace.ready_at(&rate, now), None, "packet {n}");
            pace.spend(&rate, now, 0);
        }
    }

    #[test]
    fn silence_gives_the_burst_back_and_no_more() {
        let start = Instant::now();
        let rate = UplinkRate::new(50, 3).unwrap();
        let mut pace = Pace::default();
        for _ in 0..3 {
            pace.spend(&rate, start, 0);
        }
        let later = start + Duration::from_secs(3600);
        let burst = (0..10)
            .take_while(|_| {
                let ready = pace.ready_at(&rate, later).is_none();
                pace.spend(&rate, later, 0);
                ready
            })
            .count();
        assert_eq!(burst, 3);
    }

    #[test]
    fn zero_means_no_limit() {
        assert_eq!(UplinkRate::new(0, 10), None);
        assert_eq!(UplinkRate::new(10, 0), None);
    }
}
