//! `docs/protocol.md` makes claims about names and fixtures; here they are checked.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use otaru_proto::{FailureCode, Tolerance};

#[test]
fn every_tolerance_has_a_row_and_a_fixture_in_which_it_occurs() {
    let mut described = BTreeSet::new();
    for row in rows("## What we tolerate") {
        let name = ticked(&row[0]).next().expect("a row begins with the name of a tolerance");
        for fixture in ticked(row.last().expect("a row has cells")) {
            let text = read(&crate_dir().join(format!("tests/wire/uplink/{fixture}.txt")));
            let tolerances = text.lines().find_map(|line| line.strip_prefix("tolerances:"));
            let occurs = tolerances.is_some_and(|names| names.split_whitespace().any(|found| found == name));
            assert!(occurs, "{fixture} is no fixture of {name}");
        }
        described.insert(name);
    }
    let known: BTreeSet<String> = Tolerance::ALL.iter().map(|tolerance| tolerance.to_string()).collect();
    assert_eq!(described, known);
}

#[test]
fn every_refusal_has_a_row_and_a_fixture_in_which_it_occurs() {
    for row in rows("## What we refuse") {
        let name = ticked(&row[0]).next().expect("a row begins with the name of an error");
        for fixture in ticked(row.last().expect("a row has cells")) {
            let text = read(&crate_dir().join(format!("tests/wire/uplink_refused/{fixture}.txt")));
            assert!(text.contains(&format!("\ncode: {name}\n")), "{fixture} is no fixture of {name}");
        }
    }
}

#[test]
fn every_result_code_has_its_row() {
    let codes: Vec<Vec<String>> =
        rows("## Progress report").into_iter().filter(|row| row[0].parse::<i64>().is_ok()).collect();
    assert_eq!(codes.len(), 12);
    for row in codes {
        let code: i64 = row[0].parse().expect("kept only if it is a number");
        match FailureCode::from_wire(code) {
            None => assert_eq!(row[1], "on track"),
            Some(failure) => {
                assert_eq!(row[1], format!("`{}`", failure.as_str()));
                assert_eq!(row[2] == "yes", failure.is_transient());
            }
        }
    }
}

/// The cells of the rows of all tables under a heading, without the heads.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = read(&crate_dir().join("../../docs/protocol.md"));
    let (_, section) = page.split_once(&format!("\n{heading}\n")).expect("the page has this heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut rows = Vec::new();
    for line in section.lines() {
        match line.strip_prefix('|') {
            Some(line) if line.starts_with("---") => {
                rows.pop();
            }
            Some(line) => {
                rows.push(line.trim_end_matches('|').split('|').map(|c| c.trim().to_owned()).collect())
            }
            None => {}
        }
    }
    assert!(!rows.is_empty(), "{heading} has no table");
    rows
}

/// What stands between backticks.
fn ticked(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn crate_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
