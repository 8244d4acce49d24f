//! `docs/errors.md` explains every code that a caller can meet, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use otaru_api::Code;

#[test]
fn every_code_has_its_paragraph() {
    let missing: Vec<_> = produced().difference(&explained()).cloned().collect();
    assert!(missing.is_empty(), "docs/errors.md says nothing about {missing:?}");
}

#[test]
fn the_page_explains_nothing_that_cannot_happen() {
    let stale: Vec<_> = explained().difference(&produced()).cloned().collect();
    assert!(stale.is_empty(), "docs/errors.md explains {stale:?}, which nothing produces");
}

#[test]
fn the_search_for_codes_finds_those_of_every_kind() {
    let found = produced();
    for known in
        ["not_found", "wrong_state", "download_over", "digest_mismatch", "wrong_password", "role_too_low"]
    {
        assert!(found.contains(known), "{known} in {found:?}");
    }
    for match_key in ["product", "gateway", "artifact"] {
        assert!(!found.contains(match_key), "{match_key} is a row, not a code");
    }
}

#[test]
fn every_status_that_is_answered_is_on_the_page() {
    let page = page();
    for status in [400, 401, 403, 404, 405, 409, 413, 415, 416, 431, 500, 503] {
        assert!(page.contains(&format!("\n| {status} ")), "no row for {status}");
    }
}

/// The codes with a heading of their own on the page.
pub fn explained() -> BTreeSet<String> {
    let heading = |line: &str| line.strip_prefix("### `")?.strip_suffix('`').map(str::to_owned);
    page().lines().filter_map(heading).collect()
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    fs::read_to_string(path).unwrap()
}

/// Every code that the source can produce: this crate's by enumeration, the others' from the text of each
/// function called `code`.
pub fn produced() -> BTreeSet<String> {
    let mut codes: BTreeSet<String> = Code::ALL.iter().map(|code| code.name().to_owned()).collect();
    for crate_name in ["engine", "gateway"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(crate_name).join("src");
        for file in sources(&root) {
            let text = fs::read_to_string(file).unwrap();
            for function in text.split("fn code(").skip(1) {
                let end = function.find("\n    }").expect("a function ends");
                codes.extend(results_of_arms(&function[..end]));
            }
        }
    }
    codes
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The texts right after `=>`.
fn results_of_arms(body: &str) -> impl Iterator<Item = String> {
    let after_arrow = body.split("=>").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
    after_arrow.filter_map(|rest| rest.split('"').next()).map(str::to_owned)
}
