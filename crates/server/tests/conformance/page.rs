//! `docs/protocol.md` and this suite name the same rows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What the name of a test that shows a row begins with.
const PREFIXES: [&str; 6] =
    ["table_3_7_", "flow_3_8_", "quirk_", "malformed_8_1_", "minimum_8_3_", "capture_"];

/// One row of one of the tables.
struct Row {
    table: String,
    name: String,
    /// The tests it names.
    tests: Vec<String>,
    /// It says that there is none.
    is_open: bool,
}

fn rows() -> Vec<Row> {
    let page = read(&root().join("docs/protocol.md"));
    let (_, section) = page.split_once("\n## Quirks and their tests\n").expect("the page has the tables");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut rows = Vec::new();
    let mut table = String::new();
    for line in section.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            heading.clone_into(&mut table);
        } else if line.starts_with("|---") {
            rows.pop(); // the head
        } else if let Some(cells) = line.strip_prefix('|') {
            let cells: Vec<&str> = cells.trim_end_matches('|').split('|').map(str::trim).collect();
            let [name, _, tests] = cells[..] else { panic!("three cells: {line}") };
            let named: Vec<String> = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            let is_open = tests == "—";
            rows.push(Row { table: table.clone(), name: name.to_owned(), tests: named, is_open });
        }
    }
    rows
}

/// The functions of these files.
fn functions(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(functions(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = read(&path);
            let names = text.lines().filter_map(|line| {
                let line = line.trim_start().trim_start_matches("async ");
                line.strip_prefix("fn ")?.split_once('(').map(|(name, _)| name.to_owned())
            });
            found.extend(names);
        }
    }
    found
}

#[test]
fn every_test_that_a_row_names_exists() {
    let all = functions(&root().join("crates"));
    for row in rows() {
        assert!(row.is_open == row.tests.is_empty(), "{}, row {:?}: tests or a dash", row.table, row.name);
        for test in &row.tests {
            assert!(all.contains(test), "{}, row {:?}: there is no test {test}", row.table, row.name);
        }
    }
}

#[test]
fn every_test_of_a_row_is_in_a_table() {
    let named: BTreeSet<String> = rows().into_iter().flat_map(|row| row.tests).collect();
    let here = functions(&root().join("crates/server/tests/conformance"));
    let of_rows = here.iter().filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    let unnamed: Vec<&String> = of_rows.filter(|name| !named.contains(*name)).collect();
    assert!(unnamed.is_empty(), "docs/protocol.md has no row for {unnamed:?}");
}

#[test]
fn no_number_is_left_out_and_each_numbered_test_is_in_its_own_row() {
    let rows = rows();
    let here = functions(&root().join("crates/server/tests/conformance"));
    for (table, prefix, last) in [
        ("A report, row by row", "table_3_7_row_", 9),
        ("Quirks", "quirk_", 41),
        ("The minimum", "minimum_8_3_line_", 6),
        ("Captured facts", "capture_fact_", 13),
    ] {
        let of_table: Vec<&Row> = rows.iter().filter(|row| row.table == table).collect();
        for number in 1..=last {
            let row = of_table.iter().find(|row| row.name == number.to_string());
            let row = row.unwrap_or_else(|| panic!("{table} has no row {number}"));
            let own = format!("{prefix}{number}_");
            for test in here.iter().filter(|test| test.starts_with(&own)) {
                assert!(row.tests.contains(test), "{table}, row {number} does not name {test}");
            }
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
