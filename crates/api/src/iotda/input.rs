//! What applications send: members of a JSON object and pairs of a query, each held against its documented range.
//!
//! Clients send optional members as `null` or as empty text, and members that nobody knows: the first two are as if they
//! were absent, the last are passed over.

use otaru_core::WallTime;
use serde_json::{Map, Value, json};
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::refusal::{INVALID, NOT_JSON, TIME};
use crate::problem::Problem;

/// The range of a text.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    min: usize,
    max: usize,
    takes: fn(char) -> bool,
    says: &'static str,
    /// The same as the class of a regular expression, for the document; empty where everything is taken.
    class: &'static str,
}

/// Ids of products, spaces and groups.
pub(super) const ID: Rule =
    Rule { min: 1, max: 36, takes: of_id, says: "letters, digits, `_` and `-`", class: "[A-Za-z0-9_-]" };
/// Ids of devices.
pub(super) const DEVICE_ID: Rule = Rule { max: 128, ..ID };
/// Numbers that makers give their devices.
pub(super) const NODE_ID: Rule = Rule { max: 64, ..ID };
/// Versions.
pub(super) const VERSION: Rule =
    Rule::of(256, |c| of_id(c) || c == '.', "letters, digits, `_`, `.` and `-`").like("[A-Za-z0-9_.-]");
/// Names of products and devices. The published list has no blank, and the published examples do.
pub(super) const fn name(max: usize) -> Rule {
    Rule::of(max, of_name, "letters, also Chinese, digits, blanks and `_?'#().,&%@!-`")
        .like(r"[\p{L}\p{N} _?'#().,&%@!-]")
}
/// The name of a batch task.
pub(super) const TASK_NAME: Rule =
    Rule::of(128, |c| c.is_alphanumeric() || c == '_', "letters, also Chinese, digits and `_`")
        .like(r"[\p{L}\p{N}_]");
/// A key or value of a tag.
pub(super) const fn tag(max: usize) -> Rule {
    Rule::of(max, |c| c.is_alphanumeric() || "_.-".contains(c), "letters, also Chinese, digits and `_.-`")
        .like(r"[\p{L}\p{N}_.-]")
}
/// A secret of a device.
pub(super) const SECRET: Rule = Rule { max: 32, ..ID }.at_least(8);
/// Text for people.
pub(super) const fn prose(max: usize) -> Rule {
    Rule::of(max, |c| !c.is_control() || c == '\n' || c == '\t', "text without control characters")
        .like(r"[^\u0000-\u0008\u000B-\u001F\u007F-\u009F]")
}

fn of_id(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn of_name(c: char) -> bool {
    c.is_alphanumeric() || " _?'#().,&%@!-".contains(c)
}

impl Rule {
    pub(super) const fn of(max: usize, takes: fn(char) -> bool, says: &'static str) -> Rule {
        Rule { min: 1, max, takes, says, class: "" }
    }

    pub(super) const fn at_least(self, min: usize) -> Rule {
        Rule { min, ..self }
    }

    /// What it takes, as the class of a regular expression.
    pub(super) const fn like(self, class: &'static str) -> Rule {
        Rule { class, ..self }
    }

    /// The same for the document.
    pub(super) fn schema(self) -> Value {
        let mut schema = json!({"type": "string", "minLength": self.min, "maxLength": self.max});
        if !self.class.is_empty() {
            schema["pattern"] = format!("^{}*$", self.class).into();
        }
        schema
    }

    /// Checks a text that is not empty; `field` names it.
    pub(super) fn check(self, field: &str, text: &str) -> Result<(), Problem> {
        let (chars, Rule { min, max, .. }) = (text.chars().count(), self);
        if !(min..=max).contains(&chars) {
            return Err(
                INVALID.because(format!("`{field}` has {chars} characters; {min} to {max} are accepted."))
            );
        }
        match text.chars().find(|c| !(self.takes)(*c)) {
            None => Ok(()),
            Some(c) => Err(INVALID.because(format!("`{field}` contains {c:?}; {} are accepted.", self.says))),
        }
    }
}

/// The members of an object, taken one by one.
pub(super) struct Fields {
    members: Map<String, Value>,
    /// What the names of members begin with in messages.
    path: String,
}

impl Fields {
    /// The object that a body is; an empty body is one without members.
    pub(super) fn of(body: &[u8]) -> Result<Fields, Problem> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Fields { members: Map::new(), path: String::new() });
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Fields { members, path: String::new() }),
            Ok(_) => Err(NOT_JSON.because("The body is JSON, but no object.")),
            Err(error) => Err(NOT_JSON.because(format!("The body is not valid JSON: {error}."))),
        }
    }

    /// The full name of a member, for messages.
    pub(super) fn named(&self, field: &str) -> String {
        format!("{}{field}", self.path)
    }

    /// A member as it came.
    pub(super) fn any(&mut self, field: &str) -> Option<Value> {
        self.members.remove(field).filter(|value| !value.is_null())
    }

    /// Whether a member is there, and empty: where that is more than its absence.
    pub(super) fn is_empty_text(&self, field: &str) -> bool {
        self.members.get(field).and_then(Value::as_str) == Some("")
    }

    pub(super) fn text(&mut self, field: &str, rule: Rule) -> Result<Option<String>, Problem> {
        match self.any(field) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => rule.check(&self.named(field), &text).map(|()| Some(text)),
            Some(other) => Err(self.wrong(field, "text", &other)),
        }
    }

    pub(super) fn needed(&mut self, field: &str, rule: Rule) -> Result<String, Problem> {
        let text = self.text(field, rule)?;
        text.ok_or_else(|| INVALID.because(format!("`{}` is required.", self.named(field))))
    }

    pub(super) fn truth(&mut self, field: &str) -> Result<Option<bool>, Problem> {
        match self.any(field) {
            None => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(truth)),
            Some(other) => Err(self.wrong(field, "true or false", &other)),
        }
    }

    pub(super) fn number(
        &mut self,
        field: &str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Result<Option<u32>, Problem> {
        let Some(value) = self.any(field) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let accepted = format!("a whole number from {} to {}", range.start(), range.end());
                Err(self.wrong(field, &accepted, &value))
            }
        }
    }

    pub(super) fn object(&mut self, field: &str) -> Result<Option<Fields>, Problem> {
        match self.any(field) {
            None => Ok(None),
            Some(Value::Object(members)) => {
                Ok(Some(Fields { members, path: format!("{}.", self.named(field)) }))
            }
            Some(other) => Err(self.wrong(field, "an object", &other)),
        }
    }

    /// A list of at most `max` texts, none of them empty.
    pub(super) fn texts(
        &mut self,
        field: &str,
        max: usize,
        rule: Rule,
    ) -> Result<Option<Vec<String>>, Problem> {
        let Some(value) = self.any(field) else { return Ok(None) };
        let Value::Array(entries) = value else { return Err(self.wrong(field, "a list of texts", &value)) };
        if entries.len() > max {
            return Err(INVALID.because(format!(
                "`{}` has {} entries; at most {max} are accepted.",
                self.named(field),
                entries.len()
            )));
        }
        let mut texts = Vec::with_capacity(entries.len());
        for (at, entry) in entries.into_iter().enumerate() {
            let Value::String(text) = entry else {
                return Err(self.wrong(&format!("{field}[{at}]"), "text", &entry));
            };
            rule.check(&self.named(&format!("{field}[{at}]")), &text)?;
            texts.push(text);
        }
        Ok(Some(texts))
    }

    /// A list of at most `max` objects.
    pub(super) fn objects(&mut self, field: &str, max: usize) -> Result<Option<Vec<Fields>>, Problem> {
        let Some(value) = self.any(field) else { return Ok(None) };
        let Value::Array(entries) = value else { return Err(self.wrong(field, "a list of objects", &value)) };
        if entries.len() > max {
            return Err(INVALID.because(format!(
                "`{}` has {} entries; at most {max} are accepted.",
                self.named(field),
                entries.len()
            )));
        }
        let mut objects = Vec::with_capacity(entries.len());
        for (at, entry) in entries.into_iter().enumerate() {
            let Value::Object(members) = entry else {
                return Err(self.wrong(&format!("{field}[{at}]"), "an object", &entry));
            };
            objects.push(Fields { members, path: format!("{}[{at}].", self.named(field)) });
        }
        Ok(Some(objects))
    }

    /// One of these words.
    pub(super) fn word(
        &mut self,
        field: &str,
        accepted: &[&'static str],
    ) -> Result<Option<&'static str>, Problem> {
        match self.any(field) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => match accepted.iter().find(|word| **word == text) {
                Some(word) => Ok(Some(word)),
                None => Err(self.wrong(field, &accepted.join(", "), &Value::String(text))),
            },
            Some(other) => Err(self.wrong(field, &accepted.join(", "), &other)),
        }
    }

    pub(super) fn wrong(&self, field: &str, accepted: &str, found: &Value) -> Problem {
        let mut shown: String = found.to_string().chars().take(80).collect();
        if shown.len() < found.to_string().len() {
            shown.push('…');
        }
        INVALID.because(format!("`{}` is {shown}; {accepted} is accepted.", self.named(field)))
    }
}

const SECONDS: &[BorrowedFormatItem<'static>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");
const MICROS: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
const MILLIS: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A time as applications write it: `20260131T091000Z`.
pub(super) fn time(field: &str, text: &str) -> Result<WallTime, Problem> {
    match PrimitiveDateTime::parse(text, SECONDS) {
        Ok(time) => Ok(WallTime(time.assume_utc().unix_timestamp() * 1_000)),
        Err(_) => {
            let shown: String = text.chars().take(64).collect();
            Err(TIME.because(format!("`{field}` is {shown:?}; the form yyyyMMdd'T'HHmmss'Z' is accepted.")))
        }
    }
}

/// The same on its way out.
pub(super) fn seconds(time: WallTime) -> String {
    written(time, SECONDS)
}

/// The longer form that some members have: `2026-01-31T09:10:00.000Z`.
pub(super) fn millis(time: WallTime) -> String {
    written(time, MILLIS)
}

/// The longest, of tokens: `2026-01-31T09:10:00.000000Z`.
pub(super) fn micros(time: WallTime) -> String {
    written(time, MICROS)
}

fn written(time: WallTime, form: &[BorrowedFormatItem<'static>]) -> String {
    // The years 1970 to 9999.
    let ms = time.0.clamp(0, 253_402_300_799_999);
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .expect("clamped to the years 1970 to 9999")
        .format(form)
        .expect("a time of day has all the members of the form")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;

    #[test]
    fn what_a_rule_is_like_is_what_it_takes() {
        for rule in [ID, VERSION, name(64), TASK_NAME, tag(64), prose(64)] {
            proptest!(|(text in string_regex(&format!("{}{{1,32}}", rule.class)).unwrap())| {
                prop_assert!(text.chars().all(rule.takes), "{:?}: {text:?}", rule.class);
            });
        }
    }
}
