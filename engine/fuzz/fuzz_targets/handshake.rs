#![no_main]
//! See `ringway::transport_sockets::tls::fuzz` for what is checked.

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ringway::transport_sockets::tls::fuzz::handshake(data);
});
