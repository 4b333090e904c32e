#![no_main]
//! See `ringway::formatter::fuzz` for what is checked.

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringway::formatter::fuzz::cel_expression(data));
