#![no_main]
//! See `ringway_codecs::http1::fuzz` for what is checked.

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringway_codecs::http1::fuzz::http1_request(data));
