//! Public ids: 24 lower-case hex digits that grow with time.
//!
//! Six bytes of milliseconds, two bytes of node, four bytes of sequence. A deployment's sequence is its key in
//! the store, so that its id needs no column of its own.

use std::sync::atomic::{AtomicU32, Ordering};

use otaru_core::WallTime;
use otaru_store::DeploymentKey;

/// Makes ids for products, packages, campaigns and tokens.
pub(crate) struct IdMaker {
    node: u16,
    next: AtomicU32,
}

impl IdMaker {
    /// `start` keeps ids of two runs apart that fall into the same millisecond.
    pub(crate) fn new(node: u16, start: u32) -> IdMaker {
        IdMaker { node, next: AtomicU32::new(start) }
    }

    pub(crate) fn make(&self, now: WallTime) -> String {
        spell(now, self.node, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// The public id of a deployment.
pub(crate) fn deployment_id(created_at: WallTime, key: DeploymentKey) -> String {
    // Four bytes hold 4 294 967 295 deployments; the key of a later one still differs in time.
    spell(created_at, 0, u32::try_from(key.0 & 0xffff_ffff).unwrap_or(0))
}

/// The key in a deployment's public id; the caller compares the whole id with what it finds.
pub(crate) fn deployment_key(id: &str) -> Option<DeploymentKey> {
    if id.len() != 24 || !id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return None;
    }
    u32::from_str_radix(&id[16..], 16).ok().map(|key| DeploymentKey(i64::from(key)))
}

fn spell(time: WallTime, node: u16, sequence: u32) -> String {
    let millis = u64::try_from(time.0).unwrap_or(0) & 0xffff_ffff_ffff;
    format!("{millis:012x}{node:04x}{sequence:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_24_hex_digits_and_grow_with_time() {
        let ids = IdMaker::new(3, 0xffff_fff0);
        let first = ids.make(WallTime(1_795_392_652_356));
        let later = ids.make(WallTime(1_795_392_652_357));
        assert_eq!(first, "01a205bdc4440003fffffff0");
        assert!(later > first, "{later} > {first}");
    }

    #[test]
    fn a_deployment_is_found_by_its_id() {
        let id = deployment_id(WallTime(1_795_392_652_356), DeploymentKey(77));
        assert_eq!(deployment_key(&id), Some(DeploymentKey(77)));
        assert_eq!(deployment_key("77"), None);
        assert_eq!(deployment_key("01A205BDC4440003fffffff0"), None, "lower case only");
    }
}
