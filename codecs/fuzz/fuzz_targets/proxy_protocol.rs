//! The header of PROXY protocol that a connection may begin with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringway_codecs::proxy_protocol::fuzz::check(data));
