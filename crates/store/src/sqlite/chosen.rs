//! Which devices are chosen: those that are in every range that is asked for, each sorted by device.
//!
//! Always true:
//! - A range is walked alone, or several take turns: each leaps to where the others are. So the cost is that of the
//!   narrowest, not of the widest, and a few devices among a million with a common tag are found at once.
//! - Whoever must not take long says after how many leaps to stop, and goes on from there.

use std::collections::{BTreeMap, VecDeque};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::columns::Statements;
use crate::error::StoreError;
use crate::rows::*;

/// Which devices are wanted, by keys; everything given must hold.
pub(super) struct Chosen<'a> {
    pub(super) product: Option<ProductKey>,
    pub(super) gateway: Option<DeviceKey>,
    /// In one of these; `None` for no matter which.
    pub(super) groups: Option<&'a [GroupKey]>,
    pub(super) tags: &'a BTreeMap<String, String>,
}

/// Devices that were found, by key.
pub(super) struct Found {
    pub(super) keys: Vec<DeviceKey>,
    /// Everything up to this key was looked at.
    pub(super) looked_to: i64,
    /// There are no more after that.
    pub(super) is_last: bool,
}

/// A range of an index: devices that are registered, by key. Or several, of which a device is in at least one.
struct Range {
    /// Asks for those from one on, up to a limit.
    sql: &'static str,
    /// What the question names, for each of the ranges.
    values: Vec<Vec<Value>>,
    /// Read, and not passed yet.
    ahead: VecDeque<DeviceKey>,
    /// How many were read at once the last time, and how many of them were stopped at.
    read: u32,
    stops: u32,
    /// There are none after those.
    is_read: bool,
}

/// Devices read ahead at most, where one range after the other agrees: what is read in vain stays below a millisecond.
const AHEAD_MAX: u32 = 256;

impl Range {
    fn new(sql: &'static str, values: Vec<Value>) -> Range {
        Range::any(sql, vec![values])
    }

    fn any(sql: &'static str, values: Vec<Vec<Value>>) -> Range {
        Range { sql, values, ahead: VecDeque::new(), read: 1, stops: 0, is_read: false }
    }

    fn from(&self, conn: &Connection, from: i64, limit: u32) -> Result<Vec<DeviceKey>, StoreError> {
        let mut found: Vec<DeviceKey> = Vec::new();
        for values in &self.values {
            let values = values.iter().cloned().chain([from.into(), i64::from(limit).into()]);
            found.extend(conn.all(self.sql, params_from_iter(values), |row| row.get::<_, DeviceKey>(0))?);
        }
        if self.values.len() > 1 {
            // Each has its first `limit`, so that the first `limit` of all are among them.
            found.sort_unstable();
            found.dedup();
            found.truncate(limit as usize);
        }
        Ok(found)
    }

    /// The first at or after `at`. Reads further ahead the more of what it read is stopped at.
    fn leap(&mut self, conn: &Connection, at: i64) -> Result<Option<i64>, StoreError> {
        while self.ahead.front().is_some_and(|key| key.0 < at) {
            self.ahead.pop_front();
        }
        if self.ahead.is_empty() && !self.is_read {
            self.read = if self.stops * 2 >= self.read { (self.read * 2).min(AHEAD_MAX) } else { 1 };
            self.stops = 0;
            self.ahead = self.from(conn, at, self.read)?.into();
            self.is_read = self.ahead.len() < self.read as usize;
        }
        self.stops += 1;
        Ok(self.ahead.front().map(|key| key.0))
    }
}

pub(super) const EVERY: &str =
    "SELECT key FROM device WHERE key >= ?1 AND deleted_at IS NULL ORDER BY key LIMIT ?2";
pub(super) const OF_PRODUCT: &str =
    "SELECT key FROM device WHERE product = ?1 AND key >= ?2 AND deleted_at IS NULL ORDER BY key LIMIT ?3";
pub(super) const OF_GATEWAY: &str =
    "SELECT key FROM device WHERE gateway = ?1 AND key >= ?2 AND deleted_at IS NULL ORDER BY key LIMIT ?3";
// A device that is deleted loses its tags.
pub(super) const WITH_TAG: &str =
    "SELECT device FROM device_tag WHERE tag = ?1 AND value = ?2 AND device >= ?3 ORDER BY device LIMIT ?4";

// So does it leave its groups.
pub(super) const IN_GROUP: &str =
    "SELECT device FROM device_group_member WHERE grp = ?1 AND device >= ?2 ORDER BY device LIMIT ?3";

impl Chosen<'_> {
    fn ranges(&self) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        for (tag, value) in self.tags {
            ranges.push(Range::new(WITH_TAG, vec![tag.clone().into(), value.clone().into()]));
        }
        if let Some(groups) = self.groups {
            ranges.push(Range::any(IN_GROUP, groups.iter().map(|group| vec![group.0.into()]).collect()));
        }
        if let Some(gateway) = self.gateway {
            ranges.push(Range::new(OF_GATEWAY, vec![gateway.0.into()]));
        }
        if let Some(product) = self.product {
            ranges.push(Range::new(OF_PRODUCT, vec![product.0.into()]));
        }
        if ranges.is_empty() {
            ranges.push(Range::new(EVERY, Vec::new()));
        }
        ranges
    }

    /// The chosen devices after `after`, at most `limit`; stops after about `leaps` leaps.
    pub(super) fn find(
        &self,
        conn: &Connection,
        after: i64,
        limit: u32,
        leaps: u32,
    ) -> Result<Found, StoreError> {
        let mut ranges = self.ranges();
        let begin = after.saturating_add(1);
        if let [only] = &ranges[..] {
            let keys = only.from(conn, begin, limit)?;
            let is_last = keys.len() < limit as usize;
            let looked_to = keys.last().map_or(after, |last| last.0);
            return Ok(Found { keys, looked_to, is_last });
        }
        let mut found = Found { keys: Vec::new(), looked_to: after, is_last: false };
        // How many ranges in a row have stopped at `at`.
        let (mut at, mut agree) = (begin, 0);
        let (count, mut turn) = (ranges.len(), 0);
        for _ in 0..leaps {
            if found.keys.len() >= limit as usize {
                break;
            }
            let Some(next) = ranges[turn].leap(conn, at)? else {
                found.is_last = true;
                break;
            };
            turn = (turn + 1) % count;
            agree = if next == at { agree + 1 } else { 1 };
            at = next;
            found.looked_to = at - 1;
            if agree == count {
                found.keys.push(DeviceKey(at));
                found.looked_to = at;
                (at, agree) = (at + 1, 0);
            }
        }
        Ok(found)
    }

    /// Those of `devices` that are in one of the groups.
    pub(super) fn grouped(
        conn: &Connection,
        groups: &[GroupKey],
        devices: &[DeviceKey],
    ) -> Result<Vec<DeviceKey>, StoreError> {
        let mut statement =
            conn.statement("SELECT 1 FROM device_group_member WHERE grp = ?1 AND device = ?2")?;
        let mut grouped = Vec::new();
        for device in devices {
            for group in groups {
                if statement.exists((group, device))? {
                    grouped.push(*device);
                    break;
                }
            }
        }
        Ok(grouped)
    }

    /// Those of `devices` that have all of the tags.
    pub(super) fn tagged(
        &self,
        conn: &Connection,
        devices: &[DeviceKey],
    ) -> Result<Vec<DeviceKey>, StoreError> {
        let mut statement =
            conn.statement("SELECT 1 FROM device_tag WHERE tag = ?1 AND value = ?2 AND device = ?3")?;
        let mut tagged = Vec::new();
        for device in devices {
            let mut has_all = true;
            for (tag, value) in self.tags {
                has_all = has_all && statement.exists((tag, value, device))?;
            }
            if has_all {
                tagged.push(*device);
            }
        }
        Ok(tagged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Devices 1 to `count`: `all` has every one of them, `odd` and `even` every other, `rare` three.
    fn devices(count: i64) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(
            "CREATE TABLE device_tag (tag TEXT, value TEXT, device INTEGER, PRIMARY KEY (tag, value, device))
                 WITHOUT ROWID;
             CREATE TABLE device (key INTEGER PRIMARY KEY, product INTEGER, gateway INTEGER, deleted_at INTEGER);
             CREATE INDEX device_by_product ON device (product) WHERE deleted_at IS NULL;",
        )
        .unwrap();
        let tag = |name: &str, which: &str| {
            let rows = format!(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
                 INSERT INTO device_tag SELECT '{name}', 'yes', i FROM n WHERE {which}"
            );
            conn.execute(&rows, []).unwrap();
        };
        tag("all", "TRUE");
        tag("odd", "i % 2 = 1");
        tag("even", "i % 2 = 0");
        tag("rare", &format!("i IN (7, {count} / 2, {count})"));
        conn.execute(
            "INSERT INTO device SELECT device, device % 3, NULL, NULL FROM device_tag WHERE tag = 'all'",
            [],
        )
        .unwrap();
        conn
    }

    /// All that have the tags, walked with so many leaps at once; and how often it was asked.
    fn walk(
        conn: &Connection,
        tags: &[&str],
        product: Option<i64>,
        limit: u32,
        leaps: u32,
    ) -> (Vec<i64>, u32) {
        let tags = tags.iter().map(|tag| ((*tag).to_owned(), "yes".to_owned())).collect();
        let chosen = Chosen { product: product.map(ProductKey), gateway: None, groups: None, tags: &tags };
        let (mut all, mut after, mut times) = (Vec::new(), 0, 0);
        loop {
            let found = chosen.find(conn, after, limit, leaps).unwrap();
            assert!(found.keys.len() <= limit as usize);
            assert!(found.keys.last().is_none_or(|last| last.0 <= found.looked_to));
            assert!(found.is_last || found.looked_to > after, "it comes on");
            all.extend(found.keys.iter().map(|key| key.0));
            (after, times) = (found.looked_to, times + 1);
            if found.is_last {
                return (all, times);
            }
        }
    }

    #[test]
    fn a_few_among_many_are_found_in_a_few_leaps() {
        let conn = devices(20_000);
        assert_eq!(walk(&conn, &["all", "rare"], None, 50, 30), (vec![7, 10_000, 20_000], 1));
        assert_eq!(walk(&conn, &["all", "even", "rare"], None, 50, 40), (vec![10_000, 20_000], 1));
        assert_eq!(walk(&conn, &["rare"], Some(1), 50, 30), (vec![7, 10_000], 1));
        assert_eq!(walk(&conn, &["all", "none"], None, 50, 30), (vec![], 1));
    }

    #[test]
    fn many_that_never_agree_are_looked_at_bit_by_bit() {
        let conn = devices(20_000);
        let (none, times) = walk(&conn, &["even", "odd"], None, 50, 1_000);
        assert_eq!(none, [0; 0]);
        assert!((20..30).contains(&times), "{times} times");
    }

    #[test]
    fn every_one_is_found_once_however_it_is_walked() {
        let conn = devices(1_000);
        for (tags, product, expected) in [
            (&["all"][..], None, (1..=1_000).collect::<Vec<i64>>()),
            (&["all", "odd"], None, (1..=1_000).filter(|key| key % 2 == 1).collect()),
            (&["all", "odd"], Some(2), (1..=1_000).filter(|key| key % 6 == 5).collect()),
            (&[], Some(0), (1..=1_000).filter(|key| key % 3 == 0).collect()),
            (&[], None, (1..=1_000).collect()),
        ] {
            for (limit, leaps) in [(1_001, 10_000), (3, 10_000), (1, 7), (7, 5), (64, 100)] {
                let (found, _) = walk(&conn, tags, product, limit, leaps);
                assert_eq!(found, expected, "{tags:?} {product:?} by {limit}, {leaps} leaps");
            }
        }
    }

    #[test]
    fn those_with_all_of_the_tags_are_told_apart() {
        let conn = devices(20);
        let tags = ["all", "odd"].map(|tag| (tag.to_owned(), "yes".to_owned())).into();
        let chosen = Chosen { product: None, gateway: None, groups: None, tags: &tags };
        let devices = [4, 5, 99, 1].map(DeviceKey);
        assert_eq!(chosen.tagged(&conn, &devices).unwrap(), [5, 1].map(DeviceKey));
    }
}
