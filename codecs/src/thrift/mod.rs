//! As much of Apache Thrift as asking a host how it is takes: a call without
//! arguments, and whether its answer is a result.
//!
//! [`write_call`] appends a call as Envoy's health checker sends it. [`read_reply`]
//! looks at what has come back so far; whoever reads asks again with more until
//! it says something.
//!
//! - [Binary protocol](https://github.com/apache/thrift/blob/master/doc/specs/thrift-binary-protocol.md)
//! - [Compact protocol](https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md)
//! - [Header transport](https://github.com/apache/thrift/blob/master/doc/specs/HeaderFormat.md)

pub mod fuzz;

mod read;
mod write;

pub use read::{Invalid, Reply, read_reply};
pub use write::write_call;

/// How messages are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By their length, which goes before them.
    Framed,
    /// By what is in them.
    Unframed,
    /// By their length and a header of its own.
    Header,
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// With a version in front.
    Binary,
    /// The one before versions.
    LaxBinary,
    /// With numbers in as few bytes as they need.
    Compact,
}

/// What a message is; the numbers are those of the wire.
const CALL: u8 = 1;
const REPLY: u8 = 2;
const ONEWAY: u8 = 4;

const BINARY_VERSION: u16 = 0x8001;
const COMPACT_ID: u8 = 0x82;
const COMPACT_VERSION: u8 = 1;
const HEADER_MAGIC: u16 = 0x0fff;

/// The numbers of protocols in the header transport.
const HEADER_BINARY: u8 = 0;
const HEADER_COMPACT: u8 = 2;

#[cfg(test)]
mod tests;
