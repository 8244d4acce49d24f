//! Bytes as they come, lines as they are whole.
//!
//! Always true:
//! - Every line is handed out once, with its number from 1; empty ones are counted and not handed out.
//! - No more is held than one line of the accepted length and the part that came last.

use std::str::Utf8Error;

use bytes::{Buf, Bytes, BytesMut};

/// A line that is not empty.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u64,
    pub(crate) content: Result<Bytes, TooLong>,
}

/// A line is longer than is accepted. Nothing of it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Cuts bytes into lines, which end with `\n` or `\r\n`, or where the bytes do.
#[derive(Debug)]
pub(crate) struct Lines {
    waiting: BytesMut,
    /// How much of `waiting` has been looked at and holds no end of a line.
    looked_at: usize,
    /// The line at the front is too long and is being skipped.
    skipping: bool,
    number: u64,
    bytes_max: usize,
}

impl Lines {
    pub(crate) fn new(bytes_max: usize) -> Lines {
        Lines { waiting: BytesMut::new(), looked_at: 0, skipping: false, number: 0, bytes_max }
    }

    /// Takes what came. Take out every line before the next part.
    pub(crate) fn push(&mut self, part: &[u8]) {
        self.waiting.extend_from_slice(part);
    }

    /// The next whole line.
    pub(crate) fn next(&mut self) -> Option<Line> {
        loop {
            let Some(at) = self.waiting[self.looked_at..].iter().position(|byte| *byte == b'\n') else {
                self.looked_at = self.waiting.len();
                // One more for a carriage return that may turn out to belong to the end.
                if self.skipping || self.waiting.len() > self.bytes_max + 1 {
                    self.skipping = true;
                    self.waiting.clear();
                    self.looked_at = 0;
                }
                return None;
            };
            let line = self.waiting.split_to(self.looked_at + at).freeze();
            self.waiting.advance(1);
            self.looked_at = 0;
            if let Some(line) = self.whole(line) {
                return Some(line);
            }
        }
    }

    /// What is left when no more comes: a last line without an end.
    pub(crate) fn last(&mut self) -> Option<Line> {
        let line = self.waiting.split().freeze();
        self.looked_at = 0;
        if line.is_empty() && !self.skipping {
            return None;
        }
        self.whole(line)
    }

    /// How many lines have begun.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    fn whole(&mut self, mut line: Bytes) -> Option<Line> {
        self.number += 1;
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        if self.number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.advance(BYTE_ORDER_MARK.len());
        }
        let is_too_long = std::mem::take(&mut self.skipping) || line.len() > self.bytes_max;
        if is_too_long {
            return Some(Line { number: self.number, content: Err(TooLong) });
        }
        let is_blank = line.iter().all(u8::is_ascii_whitespace);
        (!is_blank).then_some(Line { number: self.number, content: Ok(line) })
    }
}

/// What spreadsheets put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line as text.
pub(crate) fn text(line: &[u8]) -> Result<&str, Utf8Error> {
    std::str::from_utf8(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_their_bytes_are_cut() {
        let all = b"\xef\xbb\xbfone\r\n\n  \ntwo\nlonger than ten\n0123456789\r\n0123456789a\nlast";
        let expected = "1:one 4:two 5:! 6:0123456789 7:! 8:last";
        for size in 1..=all.len() {
            let mut lines = Lines::new(10);
            let mut came = Vec::new();
            for part in all.chunks(size) {
                lines.push(part);
                came.extend(std::iter::from_fn(|| lines.next()));
                assert!(lines.waiting.len() <= 11, "{size}");
            }
            came.extend(lines.last());
            assert_eq!(shown(&came), expected, "in parts of {size}");
            assert_eq!(lines.number(), 8);
        }
    }

    #[test]
    fn an_end_of_the_last_line_begins_no_further_one() {
        for (all, expected) in [("", ""), ("\n", ""), ("a\n", "1:a"), ("a", "1:a"), ("0123456789a", "1:!")] {
            let mut lines = Lines::new(10);
            lines.push(all.as_bytes());
            let mut came: Vec<Line> = std::iter::from_fn(|| lines.next()).collect();
            came.extend(lines.last());
            assert_eq!(shown(&came), expected, "{all:?}");
            assert_eq!(lines.last(), None);
        }
    }

    fn shown(lines: &[Line]) -> String {
        let shown = lines.iter().map(|line| match &line.content {
            Ok(content) => format!("{}:{}", line.number, text(content).unwrap()),
            Err(TooLong) => format!("{}:!", line.number),
        });
        shown.collect::<Vec<_>>().join(" ")
    }
}
