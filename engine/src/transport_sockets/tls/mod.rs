//! `envoy.transport_sockets.tls`: TLS on both sides of the proxy. The only place
//! that names rustls.
//!
//! What a configuration says becomes a context: `server_context.rs`,
//! `client_context.rs`; requests may ask for more (`asked.rs`). A context is made of
//! - what may be agreed on (`parameters.rs`),
//! - our certificates (`certificate.rs`; `encrypted_key.rs` where a key has a
//!   password, `pem.rs` where there is none), what is said of them (`ocsp.rs`) and
//!   which of them a client gets (`certificate_selector.rs`),
//! - what is asked of the peer's (`verifier.rs`): a chain to somebody who is trusted
//!   (`trust_store.rs`, by the library's own rules, `x509_store.rs`) and names
//!   (`subject_alt_name.rs`),
//! - sessions that are taken up again (`session_ticket.rs`; `session_facts.rs`).
//!
//! Who has a context has it through `shared_context.rs`, because its secrets may
//! change while the proxy runs.
//!
//! A worker's `socket_factory.rs` makes connections with a context: the handshake is
//! rustls's, without its buffers (`exchange.rs`; `opening.rs` before it; on sockets
//! `handshake.rs`, as many in a turn as `budget.rs` has room for). What it agrees on
//! becomes a [`TlsStream`] (`stream.rs`), which opens and seals records itself
//! (`record.rs`). What is agreed on has the names of `names.rs`; what goes wrong, those
//! of `failure.rs`.
//!
//! The control plane has no reactor: it connects with the same contexts through
//! `connector.rs`, on tokio.

mod asked;
mod budget;
mod certificate;
pub mod certificate_facts;
mod certificate_selector;
mod client_context;
mod connector;
mod der;
mod distinguished_name;
mod encrypted_key;
mod exchange;
pub mod failure;
#[doc(hidden)]
pub mod fuzz;
pub mod handshake;
mod key_log;
pub mod names;
mod notes;
mod ocsp;
mod opening;
mod parameters;
mod peer_certificate;
mod pem;
mod record;
mod server_context;
mod session_facts;
mod session_ticket;
mod shared_context;
mod socket_factory;
mod stream;
mod subject_alt_name;
mod trust_store;
mod verifier;
mod verify_failure;
mod x509_store;

#[cfg(test)]
mod context_tests;
#[cfg(test)]
mod exchange_tests;
#[cfg(test)]
mod tests;

pub use asked::Asked;
pub use certificate::{Certificate, Listed};
pub use client_context::ClientContext;
pub use connector::Connector;
pub use notes::Notes;
pub use ocsp::OcspResponse;
pub use server_context::ServerContext;
pub use shared_context::SharedContext;
pub use socket_factory::{ClientSocketFactory, HandshakeCounts, ServerSocketFactory};
pub use stream::TlsStream;
pub use verify_failure::VerifyFailure;
pub use x509_store::ChainError;
