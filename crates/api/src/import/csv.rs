//! Rows of CSV: the first names the columns, each further one is a device.
//!
//! Always true:
//! - A row is one line. A quoted cell with a line break is refused, so that a quote that is never closed costs its own
//!   row and not the rest of the file.
//! - An empty cell is a member that was left out.

use std::collections::BTreeMap;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

/// What stands before the key in the name of a column of tags.
const TAG_PREFIX: &str = "tag:";

/// The columns that a file may have beside those of tags.
const COLUMNS: [&str; 8] =
    ["device_id", "node_id", "product_id", "auth", "secret", "fingerprint", "gateway_id", "name"];

/// Without these there is no device.
const NEEDED: [&str; 2] = ["node_id", "product_id"];

/// A file whose columns are known.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<String>,
    cells: Cells,
}

/// A row by the names of its columns, without those whose cells are empty.
#[derive(Debug, Default)]
pub(crate) struct Row {
    members: BTreeMap<String, String>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Row {
    pub(crate) fn take(&mut self, column: &str) -> Option<String> {
        self.members.remove(column)
    }
}

impl Table {
    /// A file that begins with this row.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn begin(header: &str) -> Result<Table, String> {
        let mut cells = Cells::new();
        let mut columns: Vec<String> = Vec::new();
        for name in cells.of(header)? {
            let name = name.trim();
            let is_tag = name.strip_prefix(TAG_PREFIX).is_some_and(|key| !key.is_empty());
            if !is_tag && !COLUMNS.contains(&name) {
                return Err(format!(
                    "the first row names the column {name:?}; accepted are {}, and `tag:KEY` for each tag",
                    COLUMNS.join(", ")
                ));
            }
            if columns.iter().any(|known| known == name) {
                return Err(format!("the first row names the column {name:?} twice"));
            }
            columns.push(name.to_owned());
        }
        match NEEDED.iter().find(|needed| !columns.iter().any(|column| column == *needed)) {
            Some(needed) => {
                Err(format!("the first row names the columns, and `{needed}` is needed among them"))
            }
            None => Ok(Table { columns, cells }),
        }
    }

    /// The row that a line is.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn row(&mut self, line: &str) -> Result<Row, String> {
        let cells = self.cells.of(line)?;
        if cells.len() != self.columns.len() {
            return Err(format!(
                "the row has {} cells; the first row names {} columns",
                cells.len(),
                self.columns.len()
            ));
        }
        let mut row = Row::default();
        for (column, cell) in self.columns.iter().zip(cells) {
            if cell.is_empty() {
                continue;
            }
            match column.strip_prefix(TAG_PREFIX) {
                Some(key) => row.tags.insert(key.to_owned(), cell),
                None => row.members.insert(column.clone(), cell),
            };
        }
        Ok(row)
    }
}

/// Cuts a line into cells.
#[derive(Debug)]
struct Cells {
    reader: Reader,
    input: Vec<u8>,
    output: Vec<u8>,
    ends: Vec<usize>,
}

impl Cells {
    fn new() -> Cells {
        let reader = ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
        Cells { reader, input: Vec::new(), output: Vec::new(), ends: Vec::new() }
    }

    fn of(&mut self, line: &str) -> Result<Vec<String>, String> {
        self.input.clear();
        self.input.extend_from_slice(line.as_bytes());
        self.input.push(b'\n');
        // Neither can be too small: no cell is longer than it is quoted, and between two cells is a comma.
        self.output.resize(self.input.len(), 0);
        let commas = self.input.iter().filter(|byte| **byte == b',').count();
        self.ends.resize(commas + 1, 0);
        self.reader.reset();
        let (came, _, _, count) = self.reader.read_record(&self.input, &mut self.output, &mut self.ends);
        if !matches!(came, ReadRecordResult::Record) {
            return Err("a quoted cell has no end; close it with `\"`, and write a quote inside as `\"\"`. \
                        A cell may not hold a line break"
                .to_owned());
        }
        let mut begin = 0;
        let mut cells = Vec::with_capacity(count);
        for end in &self.ends[..count] {
            let cell = String::from_utf8(self.output[begin..*end].to_vec());
            cells.push(cell.map_err(|error| format!("a cell is no UTF-8: {error}"))?);
            begin = *end;
        }
        Ok(cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_known_by_the_names_in_the_first_row() {
        let mut table = Table::begin("product_id, node_id,name,tag:site,tag:floor").unwrap();
        let mut row = table.row("lamp,7,\"Hall, \"\"north\"\"\",n,").unwrap();
        assert_eq!(row.take("product_id").as_deref(), Some("lamp"));
        assert_eq!(row.take("node_id").as_deref(), Some("7"));
        assert_eq!(row.take("name").as_deref(), Some("Hall, \"north\""));
        assert_eq!(row.take("secret"), None);
        assert_eq!(row.tags, BTreeMap::from([("site".to_owned(), "n".to_owned())]), "an empty cell is none");
    }

    #[test]
    fn a_broken_row_costs_itself_only() {
        let mut table = Table::begin("product_id,node_id").unwrap();
        assert!(table.row("lamp,\"7").unwrap_err().contains("no end"));
        assert!(table.row("lamp").unwrap_err().contains("1 cells"));
        assert!(table.row("lamp,7,8").unwrap_err().contains("3 cells"));
        assert_eq!(table.row("lamp,7").unwrap().take("node_id").as_deref(), Some("7"));
    }

    #[test]
    fn a_first_row_that_names_no_columns_is_refused() {
        for (header, says) in [
            ("product_id,node_id,colour", "colour"),
            ("product_id,node_id,tag:", "tag:"),
            ("product_id,product_id,node_id", "twice"),
            ("product_id,name", "`node_id` is needed"),
            ("lamp,7", "lamp"),
            ("\"product_id,node_id", "no end"),
        ] {
            let refused = Table::begin(header).unwrap_err();
            assert!(refused.contains(says), "{header}: {refused}");
        }
    }
}
