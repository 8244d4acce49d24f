//! Rows of CSV as RFC 4180 has them: CRLF behind each, cells in quotes where they need it.

use csv_core::{Terminator, WriteResult, Writer, WriterBuilder};

/// Rows on their way out.
pub(crate) struct Rows {
    writer: Writer,
    bytes: Vec<u8>,
    is_first: bool,
}

impl Rows {
    pub(crate) fn new() -> Rows {
        let writer = WriterBuilder::new().terminator(Terminator::CRLF).build();
        Rows { writer, bytes: Vec::new(), is_first: true }
    }

    /// A further cell of the row, as it is.
    pub(crate) fn cell(&mut self, text: &str) {
        if !std::mem::take(&mut self.is_first) {
            self.put(Writer::delimiter);
        }
        let mut rest = text.as_bytes();
        let mut room = [0; 256];
        loop {
            let (result, taken, written) = self.writer.field(rest, &mut room);
            self.bytes.extend_from_slice(&room[..written]);
            rest = &rest[taken..];
            if result == WriteResult::InputEmpty {
                break;
            }
        }
    }

    /// A further cell with text that somebody else has written; nothing if there is none.
    ///
    /// A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for something to be computed, also behind a tab
    /// or a line break. An apostrophe before it makes it text.
    pub(crate) fn foreign(&mut self, text: Option<&str>) {
        let text = text.unwrap_or_default();
        if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
            self.cell(&format!("'{text}"));
        } else {
            self.cell(text);
        }
    }

    pub(crate) fn end_row(&mut self) {
        self.put(Writer::terminator);
        self.is_first = true;
    }

    fn put(&mut self, sign: impl Fn(&mut Writer, &mut [u8]) -> (WriteResult, usize)) {
        // A closing quote and two signs at most.
        let mut room = [0; 8];
        let (_, written) = sign(&mut self.writer, &mut room);
        self.bytes.extend_from_slice(&room[..written]);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> String {
        let mut written = Rows::new();
        for row in rows {
            row.iter().for_each(|cell| written.cell(cell));
            written.end_row();
        }
        String::from_utf8(written.into_bytes()).unwrap()
    }

    #[test]
    fn cells_are_quoted_where_they_need_it() {
        assert_eq!(rows(&[&["a", "b c"], &["", "1"]]), "a,b c\r\n,1\r\n");
        assert_eq!(
            rows(&[&["x,y", "say \"hi\"", "two\nlines"]]),
            "\"x,y\",\"say \"\"hi\"\"\",\"two\nlines\"\r\n"
        );
        let long = "\"".repeat(1_000);
        assert_eq!(rows(&[&[&long, "z"]]), format!("\"{}\",z\r\n", "\"".repeat(2_000)));
    }

    #[test]
    fn what_a_spreadsheet_would_compute_becomes_text() {
        for (text, cell) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            let mut written = Rows::new();
            written.cell("x");
            written.foreign(Some(text));
            written.end_row();
            let row = String::from_utf8(written.into_bytes()).unwrap();
            assert_eq!(row, format!("x,{cell}\r\n"), "{text:?}");
        }
    }
}
