//! TLS on both sides: the same files and the same clients for Envoy and Ringway.
//! What curl gets, what is counted and what is logged must be alike.
//!
//! `scene.rs` has the proxies, `asking.rs` their clients, `server.rs` a host, and
//! `files.rs` the certificates of all of them.

mod alpn;
mod asking;
mod attacks;
mod auto_sni;
mod bodies;
mod buffers;
mod checks;
mod client_cert_header;
mod clients;
mod expiry;
mod failures;
mod files;
mod filter_chains;
mod fingerprints;
mod first_bytes;
mod host_errors;
mod hostile;
mod hosts;
mod ocsp;
mod rotation;
mod scene;
mod sds;
mod sds_refusals;
mod server;
mod sessions;
mod slow_handshakes;
mod socket_matcher;
mod socket_matches;
mod wire_bytes;

use asking::{ask_by_openssl, curl, get, s_client};
use scene::{
    PATIENCE, all_alike, back, certificate, client_tls, cluster, listener, listener_with, log_of,
    moved, server_tls, start,
};
