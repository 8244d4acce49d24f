//! The name of one request, in its answer and in the log.
//!
//! A caller may bring its own in `X-Request-Id`; otherwise it is 24 lower-case hex digits, distinct within this
//! process and, with overwhelming probability, between processes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::limits::REQUEST_ID_BYTES_MAX;

/// Under this name the id comes and goes.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The first half of the ids of this process. Randomly keyed by the system; needs no secrecy.
static PROCESS: LazyLock<u64> =
    LazyLock::new(|| RandomState::new().build_hasher().finish() & 0xffff_ffff_ffff);
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// The name of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// The caller's own, if it is one that can stand in a log line, or a new one.
    pub(crate) fn of(headers: &HeaderMap) -> RequestId {
        let own = headers.get(HEADER).and_then(|value| value.to_str().ok());
        match own {
            Some(id) if is_plain(id) => RequestId(id.to_owned()),
            Some(_) | None => RequestId::fresh(),
        }
    }

    fn fresh() -> RequestId {
        let nth = COUNTER.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff_ffff;
        RequestId(format!("{:012x}{nth:012x}", *PROCESS))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("a request id is letters, digits and . _ -")
    }
}

fn is_plain(id: &str) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_own_id_is_kept_when_it_can_stand_in_a_log_line() {
        assert_eq!(brought("deploy-42.a_b").as_str(), "deploy-42.a_b");
        for unfit in ["", "two words", "quote\"", &"x".repeat(65)] {
            assert_ne!(brought(unfit).as_str(), unfit);
        }
    }

    #[test]
    fn ours_are_24_hex_digits_and_never_the_same() {
        let (one, other) = (RequestId::fresh(), RequestId::fresh());
        assert_ne!(one, other);
        for id in [one, other] {
            assert_eq!(id.as_str().len(), 24);
            assert!(id.as_str().bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{id:?}");
        }
    }

    fn brought(id: &str) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_str(id).unwrap());
        RequestId::of(&headers)
    }
}
