#![no_main]
//! See `ringway_codecs::thrift::fuzz` for what is checked.

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringway_codecs::thrift::fuzz::check(data));
