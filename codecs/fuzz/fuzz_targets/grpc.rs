#![no_main]
//! See `ringway_codecs::grpc::fuzz` for what is checked.

libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(ringway_codecs::grpc::fuzz::stream(data)));
