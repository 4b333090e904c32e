#![no_main]
//! See `ringway_lb::fuzz` for what is checked.

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringway_lb::fuzz::balance(data));
