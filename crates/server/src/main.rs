//! The `otaru` binary.
fn main() {}
