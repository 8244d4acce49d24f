//! Tells the tests for which machine they were built; cargo says so only here.

fn main() {
    let target = std::env::var("TARGET").expect("cargo sets TARGET for build scripts");
    println!("cargo::rustc-env=OTARU_TARGET={target}");
    println!("cargo::rerun-if-changed=build.rs");
}
