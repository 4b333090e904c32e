#![no_main]
//! See `ringway_config::fuzz::json_array` for what is checked.

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ringway_config::fuzz::json_array(data);
});
