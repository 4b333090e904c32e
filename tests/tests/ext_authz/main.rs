//! The network filter `ext_authz`, with an authorization server of the library that
//! people use: what it is asked, what becomes of connections, what is logged and
//! counted must be as with Envoy.

mod checks;
mod client;
mod conversation;
mod crowd;
#[expect(dead_code, reason = "the tests of TLS use all of it")]
#[path = "../tls/files.rs"]
mod files;
mod listener;
mod scene;
#[path = "../grpc/script.rs"]
mod script;
mod servers;
