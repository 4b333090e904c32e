//! Sockets and addresses below any protocol: listening sockets, the local ends of
//! connections, the machine's own address, the limit on open files.
//!
//! Nothing here knows about HTTP, clusters or filters; it only turns what the
//! configuration says about addresses into sockets that the reactor can use.

pub mod address;
pub mod limits;
pub mod listen_socket;
pub mod socket_options;
pub mod source;
