//! The hour of day, which a device needs for its client id and shows in its reports.
//!
//! Pauses and latencies are measured with the runtime's clock, which tests can wind.

use std::time::UNIX_EPOCH;

/// Milliseconds since 1970, UTC.
#[expect(clippy::disallowed_methods, reason = "this is the crate's one look at the wall clock")]
pub(crate) fn unix_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
