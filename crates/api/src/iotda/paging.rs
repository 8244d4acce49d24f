//! Pages: `limit`, `marker` and `offset`, the same for every list.
//!
//! A list has the newest first. A marker is a record id, 24 hex digits that grow with time: for batch tasks the task id, for
//! everything else the number of the row in the store.

use otaru_engine::Newest;
use serde::Serialize;

use super::refusal::{LIMIT, PAGING};
use crate::problem::Problem;

pub(super) const LIMIT_DEFAULT: u32 = 10;
pub(super) const LIMIT_MAX: u32 = 50;
/// What is left out is walked over, so that there is an end to it.
pub(super) const OFFSET_MAX: u32 = 500;
/// Before the first: everything is older.
pub(super) const FIRST: &str = "ffffffffffffffffffffffff";

/// A page as asked for.
#[derive(Clone, Debug)]
pub(super) struct Paging {
    pub(super) limit: u32,
    pub(super) offset: u32,
    /// The last record seen.
    pub(super) marker: Option<String>,
}

impl Paging {
    pub(super) fn of(query: &[(String, String)]) -> Result<Paging, Problem> {
        let value = |name: &str| {
            query.iter().find(|(found, value)| found == name && !value.is_empty()).map(|(_, value)| value)
        };
        let limit = match value("limit") {
            None => LIMIT_DEFAULT,
            Some(text) => {
                text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(|| {
                    LIMIT.because(format!("It is {:?} and must be between 1 and {LIMIT_MAX}.", clipped(text)))
                })?
            }
        };
        let offset = match value("offset") {
            None => 0,
            Some(text) => text.parse().ok().filter(|offset| *offset <= OFFSET_MAX).ok_or_else(|| {
                PAGING.because(format!(
                    "offset is {:?} and must be between 0 and {OFFSET_MAX}; use marker to go further.",
                    clipped(text)
                ))
            })?,
        };
        let marker = match value("marker") {
            None => None,
            Some(text) if text == FIRST => None,
            Some(text) if text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Some(text.to_ascii_lowercase())
            }
            Some(text) => {
                return Err(PAGING.because(format!(
                    "marker is {:?}; 24 hexadecimal digits are accepted, as the page before says.",
                    clipped(text)
                )));
            }
        };
        Ok(Paging { limit, offset, marker })
    }

    /// For a list whose records are numbers of rows.
    pub(super) fn rows<K>(&self, key: impl FnOnce(i64) -> K) -> Newest<K> {
        // What is larger than any number is before the first.
        let number = self.marker.as_deref().and_then(|marker| i64::from_str_radix(marker, 16).ok());
        Newest { before: number.map(key), skip: self.offset, limit: self.limit }
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(32).collect()
}

/// The record id of a row.
pub(super) fn record_id(row: i64) -> String {
    format!("{:024x}", row.unsigned_abs())
}

/// What is said of a page: how many records there are in all, and the last one of the page.
#[derive(Serialize)]
pub(super) struct PageOf {
    pub(super) count: u64,
    pub(super) marker: Option<String>,
}

impl PageOf {
    pub(super) fn new(count: u64, last: Option<i64>) -> PageOf {
        PageOf { count, marker: last.map(record_id) }
    }
}

#[cfg(test)]
mod tests {
    use otaru_engine::DeviceKey;

    use super::*;

    fn paging(pairs: &[(&str, &str)]) -> Result<Paging, &'static str> {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Paging::of(&pairs).map_err(|problem| problem.code())
    }

    #[test]
    fn without_a_word_it_is_the_first_ten() {
        let Paging { limit, offset, marker } = paging(&[]).unwrap();
        assert_eq!((limit, offset, marker), (10, 0, None));
        assert!(paging(&[("marker", FIRST)]).unwrap().rows(DeviceKey).before.is_none());
    }

    #[test]
    fn ranges_are_held() {
        for limit in ["0", "51", "-1", "x", "1.5", "4294967296"] {
            assert_eq!(paging(&[("limit", limit)]).unwrap_err(), "IOTDA.000017", "{limit}");
        }
        for offset in ["501", "-1", "x"] {
            assert_eq!(paging(&[("offset", offset)]).unwrap_err(), "IOTDA.000018", "{offset}");
        }
        for marker in ["1", "zzzzzzzzzzzzzzzzzzzzzzzz", "0123456789abcdef012345678"] {
            assert_eq!(paging(&[("marker", marker)]).unwrap_err(), "IOTDA.000018", "{marker}");
        }
        let edge = paging(&[("limit", "50"), ("offset", "500")]).unwrap();
        assert_eq!((edge.limit, edge.offset), (50, 500));
    }

    #[test]
    fn the_marker_of_a_page_begins_the_next_one() {
        let marker = record_id(258);
        assert_eq!(marker, "000000000000000000000102");
        let next = paging(&[("marker", &marker)]).unwrap().rows(DeviceKey);
        assert_eq!(next.before, Some(DeviceKey(258)));
        let beyond = paging(&[("marker", "ff0000000000000000000000")]).unwrap().rows(DeviceKey);
        assert_eq!(beyond.before, None);
    }
}
