#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| otaru_gateway::fuzzing::check_connect(bytes));
