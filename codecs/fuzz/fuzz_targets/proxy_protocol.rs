#![no_main]
//! See `ringway_codecs::proxy_protocol::fuzz` for what is checked.

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringway_codecs::proxy_protocol::fuzz::check(data));
