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

use std::time::Duration;

/// Streams of one connection that h2 goes on knowing after we have reset them, and
/// for how long. What the peer had sent before it heard of that is passed over; on
/// a stream that is forgotten it would be an error of the peer's, of which a
/// connection bears 1,024.
pub const RESETS_KNOWN_MAX: usize = 16_384;
/// See [`RESETS_KNOWN_MAX`].
pub const RESETS_KNOWN_FOR: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
