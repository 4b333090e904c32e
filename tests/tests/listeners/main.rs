//! What becomes of a connection before its filter chain is chosen, and what a
//! listener asks of its sockets: the same bytes for Envoy and Ringway. What the
//! client and the host read, what is logged and what is counted must be alike.

mod connections;
mod filter_chain_matcher;
mod http_inspector;
mod local_ratelimit;
mod original_dst;
mod proxy_protocol;
mod proxy_protocol_clients;
mod scene;
mod sockets;
