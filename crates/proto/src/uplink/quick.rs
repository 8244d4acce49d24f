//! The shape that nearly every report has, read without the general reader and at less than half of its cost.
//!
//! Usual is: one event in a list; texts without escapes; integers of at most 18 digits; nothing nested but the event
//! and its `paras`; any order, any white space, nulls, and members nobody knows.
//!
//! Always true:
//! - What is read here, the general reader reads the same: `fuzzing::check_uplink` compares them.
//! - Everything else is left to it, so that nothing here is an error: `None` says nothing about the message.
//!
//! Not here: what any member means.

use alloc::borrow::Cow;

use super::decode::ReportParas;
use crate::envelope::{Paras, Service};
use crate::json::{Scalar, is_white};

/// A message of the usual shape.
#[derive(Default)]
pub(super) struct Usual<'de> {
    pub(super) subject: Scalar<'de>,
    /// The one element of `services`.
    pub(super) service: Service<'de, ReportParas<'de>>,
}

/// Reads a message of the usual shape. `None` if it has another one, or is no JSON at all.
pub(super) fn read(text: &str) -> Option<Usual<'_>> {
    let mut cursor = Cursor { text, at: 0 };
    let mut usual = Usual::default();
    let mut has_service = false;
    cursor.members(|cursor, name| match name {
        "object_device_id" => cursor.scalar(&mut usual.subject),
        // Of two lists the last one counts; that is left to the general reader.
        "services" if !has_service => {
            has_service = true;
            cursor.eat(b'[')?;
            cursor.service(&mut usual.service)?;
            cursor.eat(b']')
        }
        "services" => None,
        _ => cursor.skip(),
    })?;
    (has_service && cursor.peek().is_none()).then_some(usual)
}

/// A place in a text, up to which it has the usual shape.
struct Cursor<'de> {
    text: &'de str,
    at: usize,
}

impl<'de> Cursor<'de> {
    fn service(&mut self, service: &mut Service<'de, ReportParas<'de>>) -> Option<()> {
        self.members(|cursor, name| match service.scalar(name) {
            Some(slot) => cursor.scalar(slot),
            None if name == "paras" => cursor.paras().map(|paras| service.paras = paras),
            None => cursor.skip(),
        })
    }

    fn paras(&mut self) -> Option<Paras<ReportParas<'de>>> {
        if self.peek()? != b'{' {
            let mut value = Scalar::Absent;
            self.scalar(&mut value)?;
            return matches!(value, Scalar::Null).then_some(Paras::Null);
        }
        let mut paras = ReportParas::default();
        self.members(|cursor, name| match paras.scalar(name) {
            Some(slot) => cursor.scalar(slot),
            // A list, or a departure that has to be named.
            None if name == "modules" => None,
            None => cursor.skip(),
        })?;
        Some(Paras::Object(paras))
    }

    /// Goes through an object; `take` is called with the name of each member and has to read the value.
    fn members(&mut self, mut take: impl FnMut(&mut Self, &'de str) -> Option<()>) -> Option<()> {
        self.eat(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.eat(b'"')?;
            let name = self.text()?;
            self.eat(b':')?;
            take(self, name)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// Puts a value into `slot` that is neither list nor object.
    fn scalar(&mut self, slot: &mut Scalar<'de>) -> Option<()> {
        *slot = match self.peek()? {
            b'"' => {
                self.at += 1;
                Scalar::Text(Cow::Borrowed(self.text()?))
            }
            b'-' | b'0'..=b'9' => Scalar::Int(self.integer()?),
            b'n' => self.word("null").map(|()| Scalar::Null)?,
            b't' => self.word("true").map(|()| Scalar::Bool(true))?,
            b'f' => self.word("false").map(|()| Scalar::Bool(false))?,
            _ => return None,
        };
        Some(())
    }

    /// Goes past a value that is neither list nor object.
    fn skip(&mut self) -> Option<()> {
        self.scalar(&mut Scalar::Absent)
    }

    /// What follows an opening quote, up to the closing one.
    #[inline(always)] // where most of the time goes: it is worth its four copies
    fn text(&mut self) -> Option<&'de str> {
        let begin = self.at;
        let mut at = begin;
        // Eight bytes at a time, in one word, in which the first is the lowest.
        for word in self.rest().as_chunks::<8>().0 {
            let word = u64::from_le_bytes(*word);
            let special = special_bytes(word);
            if special != 0 {
                let bits_before = special.trailing_zeros() & !7;
                at += bits_before as usize / 8;
                return (word >> bits_before & 0xff == u64::from(b'"')).then(|| self.cut(begin, at))?;
            }
            at += 8;
        }
        self.text_at_the_end(begin, at)
    }

    /// What remains of a text for whose quote less than eight bytes are left. The brackets behind make that rare.
    #[cold]
    fn text_at_the_end(&mut self, begin: usize, from: usize) -> Option<&'de str> {
        let rest = self.text.as_bytes().get(from..)?;
        let at = from + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
        (self.text.as_bytes()[at] == b'"').then(|| self.cut(begin, at))?
    }

    /// The text from `begin` to the quote at `end`, which is behind us then.
    fn cut(&mut self, begin: usize, end: usize) -> Option<&'de str> {
        self.at = end + 1;
        self.text.get(begin..end)
    }

    fn integer(&mut self) -> Option<i64> {
        /// So many nines are an `i64`.
        const DIGITS_MAX: usize = 18;

        let is_negative = self.rest().first() == Some(&b'-');
        self.at += usize::from(is_negative);
        let rest = self.rest();
        let mut number = 0i64;
        let mut digits = 0;
        while let Some(byte @ b'0'..=b'9') = rest.get(digits)
            && digits < DIGITS_MAX
        {
            number = number * 10 + i64::from(byte - b'0');
            digits += 1;
        }
        // Zeros in front are no JSON, and `-0` is a float.
        let is_plain = digits > 0 && (rest[0] != b'0' || digits == 1 && !is_negative);
        // A digit too many, a fraction or an exponent.
        let goes_on = matches!(rest.get(digits), Some(b'0'..=b'9' | b'.' | b'e' | b'E'));
        self.at += digits;
        (is_plain && !goes_on).then_some(if is_negative { -number } else { number })
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.rest().starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    /// Goes past `byte`, if that comes next.
    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// The next byte that is not white space, where the cursor is then.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !is_white(byte) {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn rest(&self) -> &'de [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }
}

/// The lowest bit of the answer is the highest of the first byte in `word` that is a quote, a backslash or a control
/// character; no bit, if none is. Bits above the lowest say nothing: a subtraction borrows from the byte above.
fn special_bytes(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // A byte below 0x80 becomes negative where it is below what is subtracted. With one bit turned over, the quote (0x22)
    // takes the place of the space (0x20) behind the control characters.
    let quotes_and_controls = (word ^ (EACH * 0x02)).wrapping_sub(EACH * 0x21);
    let backslashes = (word ^ (EACH * 0x5c)).wrapping_sub(EACH);
    (quotes_and_controls | backslashes) & !word & (EACH * 0x80)
}

#[cfg(test)]
mod tests;
