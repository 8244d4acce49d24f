//! Replays a corpus on the stable toolchain: what exploring once found stays found.
//!
//! Included by the tests of every crate that has a target, one of which is `no_std`.

use std::borrow::ToOwned as _;
use std::vec::Vec;

/// Hands every file of `fuzz/corpus/{target}` to the check of that target, in the order of their names.
pub(crate) fn replay(target: &str, check: fn(&[u8])) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/").to_owned() + target;
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a folder that can be listed").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} is empty");
    for file in files {
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        // Shown by the test runner if the check fails, and only then.
        std::eprintln!("{}", file.display());
        check(&bytes);
    }
}
