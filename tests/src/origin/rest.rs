//! Whether an origin has nothing to do before somebody else does something: not
//! by how long it has been quiet, but by what its threads do and its sockets hold.

use std::net::TcpStream;
use std::os::fd::AsRawFd;

/// What the thread of a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// What its script says, or what is read.
    Acting,
    /// It waits for something to read.
    Reading,
    /// It waits for a time to pass.
    Waiting,
    /// It waits for the client's leave.
    Held,
    /// It has ended.
    Nothing,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Open {
    /// A second handle of it.
    pub stream: TcpStream,
    /// Its number among those of its script.
    pub number: usize,
    pub doing: Doing,
}

impl Open {
    /// A connection whose thread is about to begin.
    pub fn new(stream: TcpStream, number: usize) -> Open {
        let doing = Doing::Acting;
        Open {
            stream,
            number,
            doing,
        }
    }

    pub fn is_at_rest(&self) -> bool {
        match self.doing {
            Doing::Acting => false,
            Doing::Reading => !is_readable(&self.stream),
            // Nobody is there whom the rest of the script would tell anything.
            Doing::Waiting => has(&self.stream, libc::POLLRDHUP, 0),
            Doing::Held | Doing::Nothing => true,
        }
    }
}

/// Whether there is something to read, or to accept.
pub(super) fn is_readable(socket: &impl AsRawFd) -> bool {
    has(socket, libc::POLLIN, 0)
}

/// Waits until there is something to read, or to accept, or an end. Nothing is
/// taken: whoever looks meanwhile sees it, too.
pub(super) fn await_readable(socket: &impl AsRawFd) {
    while !has(socket, libc::POLLIN, -1) {}
}

/// Whether one of these events, an error or an end has come within a time in
/// milliseconds.
fn has(socket: &impl AsRawFd, events: libc::c_short, timeout_ms: i32) -> bool {
    let mut asked = libc::pollfd {
        fd: socket.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: a plain system call on one structure that lives, with its count.
    let found = unsafe { libc::poll(&raw mut asked, 1, timeout_ms) };
    found > 0
}
