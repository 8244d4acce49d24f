//! The two times of the platform, and the number of a session.
//!
//! [`WallTime`] is what people read. [`ServiceTime`] is what deadlines are counted in: it stands still while
//! the platform is down or its store is out, so that our downtime is never held against a device.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC, as the wall clock showed them. Shown to people, never waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub i64);

/// Milliseconds during which the platform was serving, counted since its store was made.
///
/// Never goes back, does not move while the platform is down, and is not touched by jumps of the wall clock.
/// Every deadline is a service time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceTime(pub i64);

impl ServiceTime {
    /// This moment and `span` more; saturates instead of wrapping.
    #[must_use]
    pub fn after(self, span: Duration) -> ServiceTime {
        ServiceTime(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long until `later`; zero when it has passed.
    #[must_use]
    pub fn until(self, later: ServiceTime) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

/// Names one session of one device; a later session has a larger number, also after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_can_be_added_and_found_again_and_never_wraps() {
        let noon = ServiceTime(43_200_000);
        let later = noon.after(Duration::from_secs(60));
        assert_eq!(later, ServiceTime(43_260_000));
        assert_eq!(noon.until(later), Duration::from_secs(60));
        assert_eq!(later.until(noon), Duration::ZERO, "what has passed is not waited for");
        assert_eq!(noon.after(Duration::MAX), ServiceTime(i64::MAX));
        assert_eq!(
            ServiceTime(i64::MIN).until(ServiceTime(i64::MAX)),
            Duration::from_millis(i64::MAX.unsigned_abs())
        );
    }
}
