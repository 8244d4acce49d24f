//! JSON as devices write it: reading one value without knowing its type, and writing ours in one form.
//!
//! Always true:
//! - Nothing is copied that can be borrowed: a text without escapes stays where it was received.
//! - Nesting is bounded before parsing begins, whatever the parser itself would allow.
//!
//! Not here: what any member means.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::limits::{DEPTH_MAX, FOUND_CHARS_MAX};
use crate::text;

/// Why bytes are no JSON object that we read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    Empty,
    TooLarge { bytes: usize },
    NotUtf8 { at: usize },
    NotJson { line: usize, column: usize, problem: String },
    NotAnObject { found: &'static str },
    TooDeep,
}

/// Reads `bytes` as one JSON object of type `T`, which has to take an object whatever its members are.
pub(crate) fn read_object<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
    bytes_max: usize,
) -> Result<T, Unreadable> {
    read_object_of(text_of(bytes, bytes_max)?)
}

/// The text that `bytes` are, if it is not too long.
pub(crate) fn text_of(bytes: &[u8], bytes_max: usize) -> Result<&str, Unreadable> {
    if bytes.len() > bytes_max {
        return Err(Unreadable::TooLarge { bytes: bytes.len() });
    }
    core::str::from_utf8(bytes).map_err(|error| Unreadable::NotUtf8 { at: error.valid_up_to() })
}

/// Reads `text` as [`read_object`] does.
pub(crate) fn read_object_of<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Unreadable> {
    let Some(first) = text.bytes().find(|byte| !is_white(*byte)) else {
        return Err(Unreadable::Empty);
    };
    if is_too_deep(text) {
        return Err(Unreadable::TooDeep);
    }
    if first != b'{' {
        let found = serde_json::from_str::<Scalar<'_>>(text).map_err(not_json)?;
        return Err(Unreadable::NotAnObject { found: found.kind() });
    }
    serde_json::from_str(text).map_err(not_json)
}

/// Reads `bytes` as one JSON value of bounded depth, whatever it is. `None` if it is none.
pub(crate) fn tree(bytes: &[u8]) -> Option<serde_json::Value> {
    let text = core::str::from_utf8(bytes).ok().filter(|text| !is_too_deep(text))?;
    serde_json::from_str(text).ok()
}

fn not_json(error: serde_json::Error) -> Unreadable {
    let message = error.to_string();
    // The parser ends its messages with the position, which we name apart.
    let problem = message.rsplit_once(" at line ").map_or(message.as_str(), |(problem, _)| problem);
    Unreadable::NotJson {
        line: error.line(),
        column: error.column(),
        problem: text::bounded(problem, FOUND_CHARS_MAX),
    }
}

/// Whether `text` has more than [`DEPTH_MAX`] brackets open at once.
pub(crate) fn is_too_deep(text: &str) -> bool {
    // No more brackets than levels: true of nearly every message, and a count is quick.
    if openers(text.as_bytes()) <= DEPTH_MAX {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// How many brackets open, inside texts or outside. Counted in blocks of bytes, which the compiler does many at a time.
fn openers(bytes: &[u8]) -> usize {
    const BLOCK: usize = 128; // a count of them fits into a byte
    // `{` and `[` differ in one bit.
    let count = |block: &[u8]| block.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    bytes.chunks(BLOCK).map(|block| usize::from(count(block))).sum()
}

/// RFC 8259, 2.
pub(crate) fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// One value of any type; of lists and objects only that they were there.
#[derive(Debug, Default)]
pub(crate) enum Scalar<'de> {
    #[default]
    Absent,
    Null,
    Bool(bool),
    Int(i64),
    /// Above `i64`.
    Huge(u64),
    Float(f64),
    Text(Cow<'de, str>),
    List,
    Object,
}

impl Scalar<'_> {
    /// The JSON type, for an error message.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Scalar::Absent => "missing",
            Scalar::Null => "null",
            Scalar::Bool(_) => "a boolean",
            Scalar::Int(_) | Scalar::Huge(_) | Scalar::Float(_) => "a number",
            Scalar::Text(_) => "a text",
            Scalar::List => "a list",
            Scalar::Object => "an object",
        }
    }

    /// The value for an error message, cut; of lists and objects only the type.
    pub(crate) fn found(&self) -> String {
        let found = match self {
            Scalar::Bool(value) => value.to_string(),
            Scalar::Int(value) => value.to_string(),
            Scalar::Huge(value) => value.to_string(),
            Scalar::Float(value) => format!("{value:?}"),
            // Cut before quoting: the text may be as long as the message.
            Scalar::Text(value) => format!("{:?}", text::cut(value, FOUND_CHARS_MAX).0),
            Scalar::Absent | Scalar::Null | Scalar::List | Scalar::Object => String::from(self.kind()),
        };
        text::bounded(&found, FOUND_CHARS_MAX)
    }

    /// The text, if it is one and not empty.
    pub(crate) fn non_empty(&self) -> Option<&str> {
        match self {
            Scalar::Text(text) if !text.is_empty() => Some(text),
            Scalar::Text(_)
            | Scalar::Absent
            | Scalar::Null
            | Scalar::Bool(_)
            | Scalar::Int(_)
            | Scalar::Huge(_)
            | Scalar::Float(_)
            | Scalar::List
            | Scalar::Object => None,
        }
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar<'de>, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON value")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Null)
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Bool(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Int(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar<'de>, E> {
                Ok(i64::try_from(value).map_or(Scalar::Huge(value), Scalar::Int))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Float(value))
            }

            fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Cow::Borrowed(value)))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Cow::Owned(String::from(value))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Scalar<'de>, A::Error> {
                skip_list(list).map(|()| Scalar::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Scalar<'de>, A::Error> {
                skip_object(object).map(|()| Scalar::Object)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// Reads a list to its end and keeps nothing.
pub(crate) fn skip_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Reads an object to its end and keeps nothing.
pub(crate) fn skip_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<(), A::Error> {
    while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// The name of a member, borrowed unless it was written with escapes.
pub(crate) struct Name<'de>(pub(crate) Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name<'de>, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }

            fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(String::from(name))))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Implements the visits of everything that is neither object nor list, as `$self.scalar(Scalar)`.
macro_rules! visit_scalars {
    ($value:ty) => {
        fn visit_unit<E: serde::de::Error>(self) -> Result<$value, E> {
            Ok(self.scalar($crate::json::Scalar::Null))
        }
        fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<$value, E> {
            Ok(self.scalar($crate::json::Scalar::Bool(value)))
        }
        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<$value, E> {
            Ok(self.scalar($crate::json::Scalar::Int(value)))
        }
        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<$value, E> {
            Ok(self.scalar($crate::json::Scalar::Huge(value)))
        }
        fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<$value, E> {
            Ok(self.scalar($crate::json::Scalar::Float(value)))
        }
        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<$value, E> {
            Ok(self.scalar($crate::json::Scalar::Text(alloc::borrow::Cow::Borrowed(value))))
        }
    };
}
pub(crate) use visit_scalars;

/// `text` as compact JSON, if it is an object nested no deeper than we read.
///
/// Members keep their order, integers their digits. Compacting twice changes nothing more, except in the
/// last digit of a float.
pub(crate) fn compact_object(text: &str) -> Option<String> {
    if !text.trim_start().starts_with('{') || is_too_deep(text) {
        return None;
    }
    serde_json::from_str::<Compact>(text).ok().map(|compact| compact.0)
}

/// Any value, as compact JSON text.
pub(crate) struct Compact(pub(crate) String);

impl<'de> Deserialize<'de> for Compact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Compact, D::Error> {
        let mut writer = Writer::default();
        Rewrite(&mut writer).deserialize(deserializer)?;
        Ok(Compact(writer.finish()))
    }
}

/// Writes what it reads. Recursive, so only for text whose depth is known.
struct Rewrite<'w>(&'w mut Writer);

impl<'de> DeserializeSeed<'de> for Rewrite<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Rewrite<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.0.literal("null");
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.0.literal(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.0.literal(&value.to_string());
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.0.literal(&value.to_string());
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        let number = serde_json::Number::from_f64(value).map(|number| number.to_string());
        self.0.literal(number.as_deref().unwrap_or("null"));
        Ok(())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.0.text(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.open('[');
        while list.next_element_seed(Rewrite(self.0))?.is_some() {}
        self.0.close(']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        self.0.open('{');
        while let Some(name) = object.next_key::<Name<'de>>()? {
            self.0.key(&name.0);
            object.next_value_seed(Rewrite(self.0))?;
        }
        self.0.close('}');
        Ok(())
    }
}

/// Writes compact JSON, one call per token; commas come by themselves.
#[derive(Default)]
pub(crate) struct Writer {
    out: String,
    /// Whether the next value or name follows one in the same list or object.
    follows: bool,
}

impl Writer {
    pub(crate) fn open(&mut self, bracket: char) {
        self.separate();
        self.out.push(bracket);
        self.follows = false;
    }

    pub(crate) fn close(&mut self, bracket: char) {
        self.out.push(bracket);
        self.follows = true;
    }

    pub(crate) fn key(&mut self, name: &str) {
        self.separate();
        self.quote(name);
        self.out.push(':');
        self.follows = false;
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.separate();
        self.quote(value);
        self.follows = true;
    }

    /// A value that is JSON already.
    pub(crate) fn literal(&mut self, json: &str) {
        self.separate();
        self.out.push_str(json);
        self.follows = true;
    }

    pub(crate) fn text_member(&mut self, name: &str, value: &str) {
        self.key(name);
        self.text(value);
    }

    pub(crate) fn literal_member(&mut self, name: &str, json: &str) {
        self.key(name);
        self.literal(json);
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }

    fn separate(&mut self) {
        if self.follows {
            self.out.push(',');
        }
    }

    fn quote(&mut self, text: &str) {
        self.out.push('"');
        let mut rest = text;
        // RFC 8259, 7: these must be escaped. They are single bytes, so that the text may be cut at them.
        while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
            let (plain, after) = rest.split_at(at);
            self.out.push_str(plain);
            let (escaped, after) = after.split_at(1);
            match escaped.as_bytes()[0] {
                b'"' => self.out.push_str("\\\""),
                b'\\' => self.out.push_str("\\\\"),
                b'\n' => self.out.push_str("\\n"),
                b'\r' => self.out.push_str("\\r"),
                b'\t' => self.out.push_str("\\t"),
                other => self.out.push_str(&format!("\\u{other:04x}")),
            }
            rest = after;
        }
        self.out.push_str(rest);
        self.out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn brackets_inside_texts_are_not_levels() {
        let list = |inner: &str| format!("[{inner}]");
        assert!(!is_too_deep(&"[".repeat(32)));
        assert!(is_too_deep(&"[".repeat(33)));
        assert!(!is_too_deep(&list(&format!("\"{}\"", "{".repeat(500)))));
        assert!(!is_too_deep(&list(&format!("\"\\\"{}\"", "{".repeat(500)))));
        assert!(!is_too_deep(&"[],".repeat(500)));
        assert!(is_too_deep(&format!("[\"\\\\\",{}", "{".repeat(500))));
    }

    #[test]
    fn compacting_keeps_order_and_integers() {
        let compact = |text| compact_object(text);
        assert_eq!(
            compact(" { \"b\" : [ 1 , -2.5, 18446744073709551615 ],\n\"a\":{\"x\":null,\"y\":true} } "),
            Some(String::from("{\"b\":[1,-2.5,18446744073709551615],\"a\":{\"x\":null,\"y\":true}}"))
        );
        for wrong in ["", "[]", "7", "{", "{} {}", "{\"a\":}", "\"{}\""] {
            assert_eq!(compact(wrong), None, "{wrong}");
        }
        assert_eq!(compact(&format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40))), None);
    }

    proptest! {
        #[test]
        fn opening_brackets_are_counted_and_nothing_else(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let one_by_one = bytes.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
            prop_assert_eq!(openers(&bytes), one_by_one);
            prop_assert_eq!(openers(&[b'['; 300][..bytes.len() % 300]), bytes.len() % 300);
        }

        #[test]
        fn what_we_write_reads_back(text in any::<String>()) {
            let mut writer = Writer::default();
            writer.text(&text);
            let written = writer.finish();
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}
