#![no_main]
//! See `ringway_codecs::orca::fuzz` for what is checked.

libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(ringway_codecs::orca::fuzz::report(data)));
