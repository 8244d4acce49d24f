//! Who fails to be let in again and again is answered later, so that guessing is slow and costs the others nothing.
//!
//! Always true:
//! - Nobody is refused here: it is only the answer "no" that waits, and never the answer "yes".
//! - What is remembered is bounded, and forgotten with its window.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::admission::network;
use crate::limits::{
    REFUSAL_PAUSE, REFUSAL_PAUSE_MAX, REFUSALS_FREE, REFUSALS_REMEMBERED_MAX, REFUSALS_WINDOW,
};

/// Counts refusals by address, in windows.
#[derive(Default)]
pub(crate) struct Failures {
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    began: Option<Instant>,
    by_address: BTreeMap<IpAddr, u32>,
}

impl Failures {
    /// One more from this address; how long its answer is to wait, if at all.
    pub(crate) fn note(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began.is_none_or(|began| now.duration_since(began) >= REFUSALS_WINDOW) {
            *window = Window { began: Some(now), by_address: BTreeMap::new() };
        }
        let network = network(address);
        if window.by_address.len() >= REFUSALS_REMEMBERED_MAX && !window.by_address.contains_key(&network) {
            // So many at once are no mistake of a few devices.
            return Some(REFUSAL_PAUSE_MAX);
        }
        let so_far = window.by_address.entry(network).or_default();
        *so_far = so_far.saturating_add(1);
        let times = so_far.saturating_sub(1) / REFUSALS_FREE;
        (times > 0).then(|| REFUSAL_PAUSE.saturating_mul(times).min(REFUSAL_PAUSE_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_few_mistakes_are_answered_at_once_and_many_later_until_the_window_is_over() {
        let (failures, start) = (Failures::default(), Instant::now());
        for _ in 0..REFUSALS_FREE {
            assert_eq!(failures.note(address("10.0.0.1"), start), None);
        }
        assert_eq!(failures.note(address("10.0.0.1"), start), Some(REFUSAL_PAUSE));
        for _ in 1..REFUSALS_FREE {
            failures.note(address("10.0.0.1"), start);
        }
        assert_eq!(failures.note(address("10.0.0.1"), start), Some(REFUSAL_PAUSE * 2));
        for _ in 0..REFUSALS_FREE * 100 {
            failures.note(address("10.0.0.1"), start);
        }
        assert_eq!(failures.note(address("10.0.0.1"), start), Some(REFUSAL_PAUSE_MAX));
        assert_eq!(failures.note(address("10.0.0.2"), start), None, "somebody else");
        assert_eq!(failures.note(address("10.0.0.1"), start + REFUSALS_WINDOW), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (failures, start) = (Failures::default(), Instant::now());
        for number in 0..u32::try_from(REFUSALS_REMEMBERED_MAX).unwrap() {
            assert_eq!(failures.note(IpAddr::V4(number.into()), start), None);
        }
        assert_eq!(failures.note(address("200.0.0.1"), start), Some(REFUSAL_PAUSE_MAX));
        assert_eq!(failures.window.lock().unwrap().by_address.len(), REFUSALS_REMEMBERED_MAX);
    }
}
