#![no_main]
//! See `ringway_codecs::client_hello::fuzz` for what is checked.

libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(ringway_codecs::client_hello::fuzz::check(data)));
