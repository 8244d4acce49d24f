//! What holds for the workspace as a whole: who may depend on whom, and on what under which terms.
//!
//! A new arrow, a new licence or a new source is a deliberate edit here rather than a line in a manifest.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// Who may depend on whom, inside the workspace. A crate missing here fails the test.
const ARROWS: &[(&str, &[&str])] = &[
    ("otaru-proto", &[]),
    ("otaru-core", &["otaru-proto"]),
    ("otaru-fleet", &["otaru-proto"]),
    ("otaru-store", &["otaru-core", "otaru-proto"]),
    ("otaru-engine", &["otaru-store", "otaru-core", "otaru-proto"]),
    ("otaru-places", &[]),
    ("otaru-sim", &["otaru-engine", "otaru-store", "otaru-core", "otaru-proto", "otaru-fleet"]),
    ("otaru-gateway", &["otaru-engine", "otaru-core", "otaru-proto", "otaru-places"]),
    ("otaru-api", &["otaru-engine", "otaru-core", "otaru-proto", "otaru-places"]),
    (
        "otaru-server",
        &[
            "otaru-api",
            "otaru-gateway",
            "otaru-engine",
            "otaru-store",
            "otaru-core",
            "otaru-proto",
            "otaru-fleet",
        ],
    ),
];

/// The crates that decide and say, and do nothing.
const PURE: &[&str] = &["otaru-proto", "otaru-core"];

/// What the pure crates must never see, at any depth, however convenient it looks: runtimes, sockets, databases,
/// clocks, random sources, threads.
const IMPURE: &[&str] = &[
    "async-std",
    "axum",
    "chrono",
    "crossbeam",
    "fastrand",
    "getrandom",
    "hyper",
    "jiff",
    "libc",
    "metrics",
    "mio",
    "parking_lot",
    "rand",
    "rayon",
    "reqwest",
    "ring",
    "rusqlite",
    "rustls",
    "smol",
    "socket2",
    "sqlx",
    "tempfile",
    "time",
    "tokio",
    "tokio-postgres",
    "tracing-subscriber",
    "ureq",
    "uuid",
    "web-time",
];

/// The terms under which we take the work of others.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[test]
fn arrows_point_the_way_they_are_drawn() {
    let metadata = members();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let Some(allowed) = allowed.get(name) else { panic!("{name} has no row in ARROWS") };
        for dependency in ours(package) {
            let (to, is_for_tests) =
                (dependency.name.as_str(), dependency.kind == DependencyKind::Development);
            assert!(to != "otaru-server", "{name} depends on {to}, which is above everything");
            assert!(
                is_for_tests || allowed.contains(&to),
                "{name} depends on {to}; ARROWS does not allow it"
            );
        }
    }
    let found: BTreeSet<&str> =
        metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    for (name, _) in ARROWS {
        assert!(found.contains(name), "{name} has a row in ARROWS and is not in the workspace");
    }
}

#[test]
fn the_two_edges_do_not_know_each_other_and_neither_knows_the_store() {
    for (edge, others) in
        [("otaru-gateway", ["otaru-api", "otaru-store"]), ("otaru-api", ["otaru-gateway", "otaru-store"])]
    {
        let (_, allowed) = ARROWS.iter().find(|(name, _)| *name == edge).unwrap();
        assert!(others.iter().all(|other| !allowed.contains(other)), "{edge}");
    }
}

#[test]
fn what_decides_cannot_ask_the_time_or_open_a_socket() {
    let metadata = everything();
    for pure in PURE {
        let reached = reached_from(&metadata, pure);
        for impure in IMPURE {
            assert!(!reached.contains(*impure), "{pure} reaches {impure}");
        }
    }
}

#[test]
fn everything_we_use_has_permissive_terms_and_comes_from_the_public_registry() {
    for package in everything().packages {
        let (name, version) = (&package.name, &package.version);
        match &package.source {
            None => assert!(name.starts_with("otaru-"), "{name} comes from a path outside the workspace"),
            Some(source) => assert!(source.is_crates_io(), "{name} {version} comes from {source}"),
        }
        let Some(licence) = &package.license else { panic!("{name} {version} names no licence") };
        assert!(is_permissive(licence), "{name} {version} has the licence {licence:?}");
    }
}

#[test]
fn every_workspace_dependency_has_a_reason() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let text = std::fs::read_to_string(manifest).unwrap();
    let section = text.split("[workspace.dependencies]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let mut is_explained = false;
    let mut seen = 0;
    for line in section.lines() {
        if line.starts_with('#') {
            is_explained = true;
        } else if line.is_empty() {
            is_explained = false;
        } else if !line.starts_with("otaru-") {
            seen += 1;
            assert!(is_explained, "no comment says why this is here: {line}");
        }
    }
    assert!(seen > 20, "found only {seen} dependencies; has the manifest another shape now?");
}

#[test]
fn every_fuzz_target_has_a_corpus_that_is_replayed() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let targets = names("fuzz/fuzz_targets");
    assert_eq!(names("fuzz/corpus"), targets);
    let (page, manifest) = (read(&root.join("fuzz/README.md")), read(&root.join("fuzz/Cargo.toml")));
    let checks: String = [
        "proto/src/fuzzing.rs",
        "engine/src/fuzzing.rs",
        "gateway/src/fuzzing.rs",
        "api/src/fuzzing.rs",
        "server/src/config/fuzzing.rs",
    ]
    .map(|file| read(&root.join("crates").join(file)))
    .concat();
    for target in targets {
        assert!(checks.contains(&format!("replay(\"{target}\", check_")), "nobody replays {target}");
        assert!(
            page.contains(&format!("| `{target}` |")),
            "fuzz/README.md does not say what {target} promises"
        );
        assert!(
            manifest.contains(&format!("name = \"{target}\"")),
            "fuzz/Cargo.toml does not build {target}"
        );
    }
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn terms_are_read_as_they_are_meant() {
    for good in [
        "MIT",
        "MIT OR Apache-2.0",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        "Apache-2.0 AND ISC",
    ] {
        assert!(is_permissive(good), "{good}");
    }
    for bad in
        ["GPL-3.0", "MIT AND GPL-3.0", "(GPL-2.0 OR LGPL-2.1) AND MIT", "MPL-2.0", "", "MIT OR", "(MIT"]
    {
        assert!(!is_permissive(bad), "{bad}");
    }
}

/// The workspace's own packages.
fn members() -> Metadata {
    MetadataCommand::new().no_deps().exec().unwrap()
}

/// All packages that a build for this machine uses, and how they depend on one another.
fn everything() -> Metadata {
    let host = concat!("--filter-platform=", env!("OTARU_TARGET"));
    MetadataCommand::new().other_options(vec![host.to_owned()]).exec().unwrap()
}

fn ours(package: &Package) -> impl Iterator<Item = &cargo_metadata::Dependency> {
    package.dependencies.iter().filter(|dependency| dependency.name.starts_with("otaru-"))
}

/// The names of everything that a package needs to run, at any depth.
fn reached_from<'a>(metadata: &'a Metadata, name: &str) -> BTreeSet<&'a str> {
    let nodes = &metadata.resolve.as_ref().unwrap().nodes;
    let names: BTreeMap<&PackageId, &str> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let mut open: Vec<&PackageId> = metadata
        .packages
        .iter()
        .filter(|package| package.name.as_str() == name)
        .map(|package| &package.id)
        .collect();
    assert_eq!(open.len(), 1, "{name}");
    let mut reached = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !reached.insert(id) {
            continue;
        }
        let node = nodes.iter().find(|node| node.id == *id).unwrap();
        let needed = node
            .deps
            .iter()
            .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
        open.extend(needed.map(|dep| &dep.pkg));
    }
    reached.into_iter().map(|id| names[id]).collect()
}

/// Whether an SPDX expression leaves us a choice that is in `LICENCES`. An older `/` means OR.
fn is_permissive(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(&mut rest) == Some(true) && rest.is_empty()
}

fn any_of(words: &mut &[&str]) -> Option<bool> {
    let mut is_good = all_of(words)?;
    while let Some(("OR", rest)) = split(words) {
        *words = rest;
        is_good |= all_of(words)?;
    }
    Some(is_good)
}

fn all_of(words: &mut &[&str]) -> Option<bool> {
    let mut is_good = one(words)?;
    while let Some(("AND", rest)) = split(words) {
        *words = rest;
        is_good &= one(words)?;
    }
    Some(is_good)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    let (word, rest) = split(words)?;
    *words = rest;
    if word == "(" {
        let is_good = any_of(words)?;
        let (")", rest) = split(words)? else { return None };
        *words = rest;
        return Some(is_good);
    }
    if let Some(("WITH", [exception, rest @ ..])) = split(words) {
        *words = rest;
        return Some(LICENCES.contains(&format!("{word} WITH {exception}").as_str()));
    }
    Some(LICENCES.contains(&word))
}

fn split<'a, 'b>(words: &'b [&'a str]) -> Option<(&'a str, &'b [&'a str])> {
    let (first, rest) = words.split_first()?;
    Some((first, rest))
}
