//! gRPC with clients and servers that people use: the same calls through Envoy
//! and through Ringway must lead to the same.

mod calls;
#[expect(dead_code, reason = "the tests of TLS use all of it")]
#[path = "../tls/files.rs"]
mod files;
mod script;
mod transcoding;
