//! The listening socket of every server in this tool, and the line that announces it.

use std::io::{self, Write};
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted: all of a large load run at once, as it connects
/// faster than a busy server accepts. The kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Opens a non-blocking listening socket whose accepted sockets send without delay.
pub fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it, which saves a system call each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Says on standard output where a server listens; [`crate::child`] waits for this line.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{ANNOUNCEMENT}{address}")?;
    out.flush()
}

/// What stands before the address in the announcement.
pub const ANNOUNCEMENT: &str = "listening on ";
