//! HTTP/1 over the reactor's streams: reading messages out of received chunks
//! and writing them into send queues.
//!
//! The wire format is `ringway_codecs::http1`; this folder joins it to
//! sockets. [`reader::MessageReader`] reads heads and bodies on either side,
//! [`writer::BodyWriter`] frames bodies on either side. Of a client's connection
//! [`server::ServerConnection`] is made with them.

pub mod reader;
pub mod server;
pub mod writer;

#[cfg(test)]
mod tests;
