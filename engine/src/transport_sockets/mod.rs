//! What is done to a connection's bytes on the way between a socket and whoever
//! speaks on it, each in the folder of its name in Envoy
//! (`envoy.transport_sockets.X`).
//!
//! Nothing here knows about HTTP, clusters or pools.

pub mod proxy_protocol;
