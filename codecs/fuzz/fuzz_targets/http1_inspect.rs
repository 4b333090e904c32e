#![no_main]
//! See `ringway_codecs::http1::inspect` for what is checked.

libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(ringway_codecs::http1::inspect::check(data)));
