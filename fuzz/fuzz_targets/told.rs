#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| otaru_engine::fuzzing::check_told(bytes));
