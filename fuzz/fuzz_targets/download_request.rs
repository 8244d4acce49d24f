#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| otaru_api::fuzzing::check_download_request(bytes));
