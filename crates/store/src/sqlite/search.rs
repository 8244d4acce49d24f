//! Devices that are searched for by what holds for them.
//!
//! Always true:
//! - What is found comes in the order of the keys, and a page begins right after the last one seen.
//! - Values are bound, never part of a statement.
//!
//! A search with one alternative that names a group, or a tag by key and value, walks their index; every other one walks what
//! SQLite thinks narrowest. Either way each device is looked at in full: an index saves work and decides nothing.

use std::ops::Range;

use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::Reading;
use super::columns::Statements;
use crate::error::StoreError;
use crate::limits::{ALTERNATIVES_MAX, COUNTED_MAX};
use crate::rows::*;

/// A search as parts of a statement.
struct Question {
    /// Which alternatives hold.
    which: String,
    /// What the keys are called.
    key: &'static str,
    /// `FROM … WHERE …`, with what is looked for.
    rest: String,
    said: Said,
}

/// What a statement binds.
#[derive(Default)]
struct Said {
    values: Vec<Value>,
}

impl Said {
    /// The place of a value.
    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    /// A text that is so; NULL where there is none.
    fn text(&mut self, column: &str, is: &TextIs) -> String {
        match is {
            TextIs::OneOf(texts) => self.one_of(column, texts.iter().cloned()),
            TextIs::Begins(start) => {
                let start = self.bind(start.clone());
                format!("substr({column}, 1, length({start})) = {start}")
            }
        }
    }

    fn one_of<V: Into<Value>>(&mut self, column: &str, values: impl Iterator<Item = V>) -> String {
        let places: Vec<String> = values.map(|value| self.bind(value)).collect();
        match places.as_slice() {
            [place] => format!("{column} = {place}"),
            _ => format!("{column} IN ({})", places.join(", ")),
        }
    }

    fn ranges(&mut self, column: &str, ranges: &[Range<i64>]) -> String {
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            let (start, end) = (self.bind(range.start), self.bind(range.end));
            parts.push(format!("{column} >= {start} AND {column} < {end}"));
        }
        any_of(&parts)
    }
}

fn any_of(parts: &[String]) -> String {
    if parts.is_empty() { "0".to_owned() } else { format!("({})", parts.join(" OR ")) }
}

impl Reading<'_> {
    pub(crate) fn search_devices(
        &self,
        search: &DeviceSearch,
        page: SearchPage,
    ) -> Result<Vec<(DeviceRecord, u8)>, StoreError> {
        let Some(question) = self.question(search)? else { return Ok(Vec::new()) };
        let Question { which, key, rest, mut said } = question;
        let (after, order) = if search.oldest_first { (">", "ASC") } else { ("<", "DESC") };
        let start = page.after.map_or(if search.oldest_first { i64::MIN } else { i64::MAX }, |key| key.0);
        let start = said.bind(start);
        let (limit, skip) = (said.bind(i64::from(page.limit)), said.bind(i64::from(page.skip)));
        let sql = format!(
            "SELECT {key}, {which} AS holds {rest} AND {key} {after} {start} ORDER BY {key} {order}
             LIMIT {limit} OFFSET {skip}"
        );
        let found: Vec<(DeviceKey, u8)> =
            self.conn.all(&sql, params_from_iter(said.values), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut devices = Vec::with_capacity(found.len());
        for (key, which) in found {
            devices.extend(self.device_by_key(key)?.map(|record| (record, which)));
        }
        Ok(devices)
    }

    pub(crate) fn count_found_devices(&self, search: &DeviceSearch) -> Result<Total, StoreError> {
        let Some(question) = self.question(search)? else { return Ok(Total::default()) };
        let Question { key, rest, said, .. } = question;
        let sql = format!("SELECT count(*) FROM (SELECT {key} AS holds {rest} LIMIT {})", COUNTED_MAX + 1);
        // What holds binds nothing that the rest does not bind as well.
        let n: Option<i64> = self.conn.one(&sql, params_from_iter(said.values), |row| row.get(0))?;
        let (n, most) = (n.unwrap_or(0).unsigned_abs(), u64::from(COUNTED_MAX));
        Ok(Total { n: n.min(most), is_capped: n > most })
    }

    /// `None`: nothing can be found.
    fn question(&self, search: &DeviceSearch) -> Result<Option<Question>, StoreError> {
        let mut said = Said::default();
        let (mut bits, mut alternatives) = (Vec::new(), Vec::new());
        for (at, all) in search.any.iter().take(ALTERNATIVES_MAX).enumerate() {
            let mut parts = Vec::with_capacity(all.len());
            for condition in all {
                let fact = self.fact(&mut said, &condition.fact)?;
                parts.push(if condition.is_not { format!("NOT ifnull(({fact}), 0)") } else { fact });
            }
            let all = if parts.is_empty() { "1".to_owned() } else { format!("({})", parts.join(" AND ")) };
            bits.push(format!("ifnull({all}, 0) * {}", 1_u16 << at));
            alternatives.push(all);
        }
        if alternatives.is_empty() {
            return Ok(None);
        }
        let which = bits.join(" + ");
        let (key, from) = match search.any.as_slice() {
            [only] => self.narrowest(&mut said, only)?,
            _ => ("d.key", format!("FROM device d {STATE}")),
        };
        let rest = format!("{from} AND {}", any_of(&alternatives));
        Ok(Some(Question { which, key, rest, said }))
    }

    /// Where a walk for one alternative goes.
    fn narrowest(
        &self,
        said: &mut Said,
        all: &[DeviceCondition],
    ) -> Result<(&'static str, String), StoreError> {
        for condition in all.iter().filter(|condition| !condition.is_not) {
            if let DeviceFact::Group(groups) = &condition.fact
                && let [group] = groups.as_slice()
                && let Some(group) = self.group(group)?
            {
                let group = said.bind(group.key.0);
                return Ok((
                    "m.device",
                    format!(
                        "FROM device_group_member m CROSS JOIN device d ON d.key = m.device {STATE} AND m.grp = {group}"
                    ),
                ));
            }
            if let DeviceFact::Tag(conditions) = &condition.fact
                && let (Some(tag), Some(value)) = (exactly(conditions, true), exactly(conditions, false))
            {
                let (tag, value) = (said.bind(tag.to_owned()), said.bind(value.to_owned()));
                return Ok((
                    "t.device",
                    format!(
                        "FROM device_tag t CROSS JOIN device d ON d.key = t.device {STATE} AND t.tag = {tag} AND t.value = {value}"
                    ),
                ));
            }
        }
        Ok(("d.key", format!("FROM device d {STATE}")))
    }

    fn fact(&self, said: &mut Said, fact: &DeviceFact) -> Result<String, StoreError> {
        Ok(match fact {
            DeviceFact::Text(text, is) => said.text(column(*text), is),
            DeviceFact::Product(ids) => {
                let mut keys = Vec::with_capacity(ids.len());
                for id in ids {
                    keys.extend(self.product(id)?.map(|product| product.key.0));
                }
                said.one_of("d.product", keys.into_iter())
            }
            DeviceFact::Space(spaces) => {
                let keys = spaces.iter().map(|space| space.map_or(0, |key| key.0));
                said.one_of("(SELECT coalesce(p.space, 0) FROM product p WHERE p.key = d.product)", keys)
            }
            DeviceFact::Gateway(ids) => {
                let mut parts = Vec::with_capacity(ids.len());
                for id in ids {
                    if let Some(gateway) = self.device(id)? {
                        let key = said.bind(gateway.row.key.0);
                        parts.push(format!("d.gateway = {key} OR (d.key = {key} AND d.gateway IS NULL)"));
                    }
                }
                any_of(&parts)
            }
            DeviceFact::Group(ids) => {
                let mut keys = Vec::with_capacity(ids.len());
                for id in ids {
                    keys.extend(self.group(id)?.map(|group| group.key.0));
                }
                let is_one = said.one_of("o.grp", keys.into_iter());
                format!("EXISTS (SELECT 1 FROM device_group_member o WHERE o.device = d.key AND {is_one})")
            }
            DeviceFact::Tag(conditions) => {
                let mut parts = vec!["1".to_owned()];
                for condition in conditions {
                    let is = said.text(if condition.of_key { "j.key" } else { "j.value" }, &condition.is);
                    parts.push(if condition.is_not { format!("NOT ({is})") } else { is });
                }
                format!("EXISTS (SELECT 1 FROM json_each(d.tags) j WHERE {})", parts.join(" AND "))
            }
            DeviceFact::Key(ranges) => said.ranges("d.key", ranges),
            DeviceFact::Created(ranges) => said.ranges("d.created_at", ranges),
            DeviceFact::Frozen => "d.frozen".to_owned(),
            DeviceFact::Child => "d.gateway IS NOT NULL".to_owned(),
        })
    }
}

/// What every walk has to it.
const STATE: &str = "CROSS JOIN device_state s ON s.device = d.key WHERE d.deleted_at IS NULL";

const fn column(text: DeviceText) -> &'static str {
    match text {
        DeviceText::Id => "d.device_id",
        DeviceText::Node => "d.node_id",
        DeviceText::Name => "d.name",
        DeviceText::Firmware => "s.firmware_version",
        DeviceText::Software => "s.software_version",
    }
}

/// The text that the key or the value of a tag has to be.
fn exactly(conditions: &[TagCondition], of_key: bool) -> Option<&str> {
    conditions.iter().filter(|condition| condition.of_key == of_key && !condition.is_not).find_map(
        |condition| match &condition.is {
            TextIs::OneOf(texts) => match texts.as_slice() {
                [text] => Some(text.as_str()),
                _ => None,
            },
            TextIs::Begins(_) => None,
        },
    )
}
