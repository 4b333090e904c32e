#![no_main]
//! See `ringway_codecs::http2::fuzz` for what is checked.

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for of_client in [false, true] {
        drop(ringway_codecs::http2::fuzz::frames(data, of_client));
    }
});
