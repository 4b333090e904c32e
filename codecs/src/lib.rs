#![forbid(unsafe_code)]
//! Ringway's wire formats: bytes in, values out.
//!
//! Nothing here does I/O, reads a clock, starts a thread or uses `unsafe`; the
//! engine feeds bytes and owns every buffer. A peer can send anything: what
//! is wrong becomes a value of a small error enum and never a panic.
//!
//! - [`base64`]: bytes in headers.
//! - [`client_hello`]: what a TLS client asks for.
//! - [`grpc`]: the frames of gRPC's messages.
//! - [`header`]: the ordered header list that all protocols share.
//! - [`http1`]: HTTP/1 heads, bodies and their encoders.
//! - [`http2`]: the frames of HTTP/2 as they pass by.
//! - [`orca`]: what hosts say of their load.
//! - [`proxy_protocol`]: the header that tells where a connection comes from.
//! - [`thrift`]: a call without arguments, and what its answer is.

pub mod base64;
pub mod client_hello;
pub mod grpc;
pub mod header;
pub mod http1;
pub mod http2;
pub mod md5;
pub mod orca;
pub mod proxy_protocol;
pub mod thrift;
