#![no_main]
//! See `ringway_config::fuzz::regex` for what is checked.

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ringway_config::fuzz::regex(data);
});
