#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| otaru_proto::fuzzing::check_uplink(bytes));
