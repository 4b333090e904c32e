//! The harness of the end-to-end tests: real processes, real sockets.
//!
//! - `programs.rs`: where the binaries are, and what happens when one is absent.
//! - `process.rs`: a running proxy that ends with its owner.
//! - `admin.rs`: asking a running proxy's admin server.
//! - `bootstrap.rs`: configuration files from short descriptions of listeners.
//! - `origin.rs`: an upstream that follows a script and remembers what it saw.
//! - `fleet.rs`: many hosts of a cluster, which can be killed and revived.
//! - `name_server.rs`: a DNS server whose table the test changes.
//! - `client.rs`: a raw client that sends exactly the bytes it is given.
//! - `http2.rs`, `hpack.rs`: its frames and headers where it speaks HTTP/2.
//! - `message.rs`: a tolerant reader of HTTP/1 messages, for what came back.
//! - `comparison.rs`: a suite of cases on Envoy and on Ringway.
//! - `case.rs`, `observation.rs`: one exchange, and everything seen of it.
//! - `logs.rs`: the lines of its logs.
//! - `patience.rs`: reading with a time limit.
//! - `ports.rs`: ports where nobody answers.
//! - `stop.rs`: the end of threads that run beside a test.
//! - `tries.rs`: what a busy machine may spoil is measured again.
//! - `intended_differences.rs`: where we differ from Envoy on purpose.
//!
//! Start reading at [`case::Case`]. Nothing here leaves loopback.

pub mod admin;
pub mod bootstrap;
pub mod case;
pub mod client;
pub mod comparison;
pub mod fleet;
pub mod hpack;
pub mod http2;
pub mod intended_differences;
pub mod logs;
pub mod message;
pub mod name_server;
pub mod observation;
pub mod origin;
pub mod patience;
pub mod ports;
pub mod process;
pub mod programs;
pub mod stop;
pub mod tries;
