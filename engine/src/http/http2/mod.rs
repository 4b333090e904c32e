//! HTTP/2 on the h2 crate, for both sides of the proxy.
//!
//! - [`io`]: a socket of the reactor as the traits that h2 wants.
//! - [`headers`]: our header lists as h2's, and back.
//! - [`body`]: parts of bodies as h2 takes and gives them.
//! - [`error`]: what h2's errors mean for a message.
//! - [`server`]: a stream of a client's connection.
//! - [`observer`]: what frames tell that h2 does not; [`stream_bytes`]: what
//!   streams have moved.
//!
//! h2 does framing, HPACK and flow control. Nothing here knows what a message
//! means.

pub mod body;
pub mod error;
pub mod headers;
pub mod io;
pub mod observer;
pub mod server;
pub mod stream_bytes;

#[cfg(test)]
mod tests;
