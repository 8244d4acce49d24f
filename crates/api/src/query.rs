//! Query parameters and pages.
//!
//! A parameter that a list does not know is an error: a mistyped filter that is ignored shows too much.

use std::fmt::Display;
use std::ops::RangeInclusive;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use otaru_engine::{
    CampaignKey, DeploymentKey, DeviceKey, GroupKey, PackageKey, Page, ProductKey, ReportSeq,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::limits::{PAGE_DEFAULT, PAGE_MAX};
use crate::problem::{Code, Problem};

/// The query as asked, before anyone has looked at what it means.
pub(crate) struct Asked(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Asked, Problem> {
        match Query::<Vec<(String, String)>>::try_from_uri(&parts.uri) {
            Ok(Query(pairs)) => Ok(Asked(pairs)),
            Err(error) => {
                Err(Problem::new(Code::InvalidParameter, format!("the query cannot be read: {error}")))
            }
        }
    }
}

impl Asked {
    #[cfg(test)]
    pub(crate) fn from_pairs(pairs: &[(&str, &str)]) -> Asked {
        Asked(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// Refuses every parameter that is not in `accepted`.
    pub(crate) fn only(self, accepted: &[&str]) -> Result<Asked, Problem> {
        match self.0.iter().find(|(name, _)| !accepted.contains(&name.as_str())) {
            None => Ok(self),
            Some((name, _)) => Err(Problem::new(
                Code::InvalidParameter,
                format!("`{name}` is not a parameter here; {} accepted", listed(accepted)),
            )),
        }
    }

    /// The value of a parameter that may be given once.
    pub(crate) fn one(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut values = self.all(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(Problem::new(
                Code::InvalidParameter,
                format!("`{name}` is given more than once; give it once"),
            )),
        }
    }

    /// Every value of a parameter that may be given often.
    pub(crate) fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The values of a parameter that may be given often and has to be one of `accepted`; each once.
    pub(crate) fn words(
        &self,
        name: &'static str,
        accepted: &[&'static str],
    ) -> Result<Vec<&'static str>, Problem> {
        let mut words = Vec::new();
        for value in self.all(name) {
            let known = accepted.iter().find(|word| **word == value);
            let word = known.ok_or_else(|| bad(name, value, &format!("{} accepted", listed(accepted))))?;
            if !words.contains(word) {
                words.push(*word);
            }
        }
        Ok(words)
    }

    /// A number that may be given once.
    pub(crate) fn number(
        &self,
        name: &'static str,
        accepted: RangeInclusive<u32>,
        default: u32,
    ) -> Result<u32, Problem> {
        let Some(text) = self.one(name)? else { return Ok(default) };
        text.parse().ok().filter(|number| accepted.contains(number)).ok_or_else(|| {
            bad(name, text, &format!("{} to {} is accepted", accepted.start(), accepted.end()))
        })
    }

    /// Which part of a list is wanted: `cursor` and `limit`.
    pub(crate) fn part<K: Cursor>(&self) -> Result<Part<K>, Problem> {
        let after = self.one("cursor")?.map(read_cursor).transpose()?;
        Ok(Part { after, limit: self.number("limit", 1..=PAGE_MAX, PAGE_DEFAULT)? })
    }
}

/// A parameter with a value that is not accepted.
pub(crate) fn bad(name: &str, value: &str, accepted: &str) -> Problem {
    Problem::new(Code::InvalidParameter, format!("`{name}` is `{value}`; {accepted}"))
}

/// Words in a sentence: "`a`, `b` and `c` are".
pub(crate) fn listed<T: Display>(words: &[T]) -> String {
    match words {
        [] => "nothing is".to_owned(),
        [only] => format!("only `{only}` is"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|word| format!("`{word}`")).collect();
            format!("{} and `{last}` are", first.join(", "))
        }
    }
}

/// A key that a list can be continued after. What a cursor looks like is ours to change.
pub(crate) trait Cursor: Copy {
    /// Keeps the cursors of one list out of another.
    const KIND: &'static str;
    fn from_number(number: i64) -> Self;
    fn number(self) -> i64;
}

macro_rules! cursors {
    ($($key:ident $kind:literal;)*) => {$(
        impl Cursor for $key {
            const KIND: &'static str = $kind;
            fn from_number(number: i64) -> $key {
                $key(number)
            }
            fn number(self) -> i64 {
                self.0
            }
        }
    )*};
}

/// A line's place in a device's log.
#[derive(Clone, Copy)]
pub(crate) struct LinePlace(pub(crate) i64);

cursors! {
    ProductKey "product";
    GroupKey "group";
    DeviceKey "device";
    PackageKey "package";
    CampaignKey "campaign";
    DeploymentKey "deployment";
    ReportSeq "report";
    LinePlace "line";
}

fn read_cursor<K: Cursor>(text: &str) -> Result<K, Problem> {
    text.strip_prefix(K::KIND)
        .and_then(|rest| rest.strip_prefix('-'))
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .map(K::from_number)
        .ok_or_else(|| {
            Problem::new(
                Code::InvalidCursor,
                format!("`cursor` is `{text}`, which this list never handed out; send `next_cursor` of the page before, or leave it out to begin at the start"),
            )
        })
}

fn write_cursor<K: Cursor>(key: K) -> String {
    format!("{}-{}", K::KIND, key.number())
}

/// The part of a list that was asked for.
#[derive(Clone, Copy)]
pub(crate) struct Part<K> {
    after: Option<K>,
    limit: u32,
}

impl<K: Cursor> Part<K> {
    /// What to ask the engine for: one entry more than wanted, which tells whether there is a next page.
    pub(crate) fn page(self) -> Page<K> {
        Page { after: self.after, limit: self.limit + 1 }
    }

    /// The same for a list that says itself where it goes on.
    pub(crate) fn exactly(self) -> Page<K> {
        Page { after: self.after, limit: self.limit }
    }

    /// The page for the caller, from what the engine gave.
    pub(crate) fn listed<R, V>(
        self,
        mut rows: Vec<R>,
        key: impl Fn(&R) -> K,
        view: impl Fn(R) -> V,
    ) -> Listed<V> {
        let wanted = usize::try_from(self.limit).expect("a page fits in memory");
        let more = rows.len() > wanted;
        rows.truncate(wanted);
        let next_cursor = rows.last().filter(|_| more).map(|row| write_cursor(key(row)));
        Listed { items: rows.into_iter().map(view).collect(), next_cursor }
    }
}

/// A page of a list that says itself where it goes on.
pub(crate) fn listed_until<K: Cursor, V>(items: Vec<V>, next: Option<K>) -> Listed<V> {
    Listed { items, next_cursor: next.map(write_cursor) }
}

/// One page of a list. `next_cursor` is null on the last one.
#[derive(Serialize, ToSchema)]
pub(crate) struct Listed<V> {
    items: Vec<V>,
    #[schema(required)]
    next_cursor: Option<String>,
}

/// One page of a list that also says how many entries it has in all. `next_cursor` is null on the last one.
#[derive(Serialize, ToSchema)]
pub(crate) struct Counted<V> {
    items: Vec<V>,
    #[schema(required)]
    next_cursor: Option<String>,
    /// How many entries the whole list has.
    total: u64,
    /// Counting stopped at `total`: there may be more.
    total_is_capped: bool,
}

impl<V> Listed<V> {
    /// With the number of all entries.
    pub(crate) fn counted(self, total: u64, is_capped: bool) -> Counted<V> {
        Counted { items: self.items, next_cursor: self.next_cursor, total, total_is_capped: is_capped }
    }

    /// A list that is always given whole.
    pub(crate) fn whole(items: Vec<V>) -> Listed<V> {
        Listed { items, next_cursor: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_the_key_it_was() {
        assert_eq!(read_cursor::<DeviceKey>(&write_cursor(DeviceKey(42))).ok(), Some(DeviceKey(42)));
    }

    #[test]
    fn what_was_never_handed_out_is_named() {
        for sent in
            ["", "42", "device-", "device-x", "device--1", "product-42", "device-99999999999999999999"]
        {
            let problem = read_cursor::<DeviceKey>(sent).expect_err(sent);
            assert_eq!(problem.code(), "invalid_cursor");
            assert!(problem.message().contains(&format!("`{sent}`")), "{}", problem.message());
        }
    }

    #[test]
    fn the_entry_too_many_is_the_next_page() {
        let part = Part { after: None, limit: 2 };
        let keys = |n: i64| (1..=n).map(DeviceKey).collect::<Vec<_>>();
        let full = part.listed(keys(3), |key| *key, |key| key.0);
        assert_eq!((full.items, full.next_cursor.as_deref()), (vec![1, 2], Some("device-2")));
        let last = part.listed(keys(2), |key| *key, |key| key.0);
        assert_eq!((last.items, last.next_cursor), (vec![1, 2], None));
    }
}
