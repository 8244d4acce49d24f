//! The server is a binary and has no library to depend on, so its files are compiled into this one.

#![no_main]
#![allow(dead_code, reason = "what the server does with its configuration is not here")]
#![allow(unused_imports, reason = "the same")]

#[path = "../../crates/server/src/config/mod.rs"]
mod config;
#[path = "../../crates/server/src/exit.rs"]
mod exit;
#[path = "../../crates/server/src/say.rs"]
mod say;
#[path = "../../crates/server/src/tls.rs"]
mod tls;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| config::fuzzing::check_file(bytes));
