//! Whether an origin has nothing to do before somebody else does something: not
//! by how long it has been quiet, but by what its threads do and its sockets hold.

use super::{Place, State, lock};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What is to be seen of an origin, for whoever has to wait for it.
#[derive(Clone, Debug)]
pub struct Witness {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) listener: Arc<TcpListener>,
}

impl Witness {
    /// Whether there is a request whose body has so many bytes so far.
    #[must_use]
    pub fn has_request(&self, body: usize) -> bool {
        let state = lock(&self.state);
        state.seen.iter().any(|one| one.request.body.len() >= body)
    }

    /// Whether everything that was sent to it was read and seen, and all that its
    /// script does about that is done.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let state = lock(&self.state);
        !state.accepting
            && !is_readable(&*self.listener)
            && (state.open.iter()).all(|open| open.is_at_rest(state.releases > 0))
    }

    /// Lets the script go on behind an [`Act::AwaitRelease`].
    pub fn release(&self) {
        lock(&self.state).releases += 1;
    }
}

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

    /// `has_leave`: whether somebody who waits for it may go on.
    fn is_at_rest(&self, has_leave: bool) -> bool {
        match self.doing {
            Doing::Acting => false,
            Doing::Reading => !is_readable(&self.stream),
            // Nobody is there whom the rest of the script would tell anything.
            Doing::Waiting => has(&self.stream, libc::POLLRDHUP, 0),
            Doing::Held => !has_leave,
            Doing::Nothing => true,
        }
    }
}

/// Notes what a connection's thread does from now on.
pub(super) fn do_at(state: &Mutex<State>, at: Place, doing: Doing) {
    let mut state = lock(state);
    if state.generation == at.generation {
        let own = state.open.iter_mut().find(|open| open.number == at.number);
        if let Some(open) = own {
            open.doing = doing;
        }
    }
}

/// Reads as soon as there is something to read.
pub(super) fn read(
    stream: &mut TcpStream,
    buffer: &mut [u8],
    state: &Mutex<State>,
    at: Place,
) -> std::io::Result<usize> {
    await_bytes(stream, state, at);
    stream.read(buffer)
}

/// Waits until there is something to read, or the end.
pub(super) fn await_bytes(stream: &TcpStream, state: &Mutex<State>, at: Place) {
    do_at(state, at, Doing::Reading);
    await_readable(stream);
    do_at(state, at, Doing::Acting);
}

/// Waits until the client lets the origin go on, or nobody is there any more.
pub(super) fn await_release(state: &Mutex<State>, at: Place) {
    do_at(state, at, Doing::Held);
    loop {
        {
            let mut state = lock(state);
            if state.generation != at.generation {
                return;
            }
            if state.releases > 0 {
                state.releases -= 1;
                break;
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    do_at(state, at, Doing::Acting);
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

#[cfg(test)]
mod tests {
    use super::super::{Act, Origin};
    use super::*;
    use std::io::Write as _;

    #[test]
    fn it_is_at_rest_when_all_is_read_and_done() {
        let origin = Origin::start();
        let say = |text: &str| Act::Send(text.as_bytes().to_vec());
        origin.play(vec![
            Act::Read,
            Act::AwaitRelease,
            say("x"),
            Act::Wait(Duration::from_millis(50)),
            say("y"),
        ]);
        let witness = origin.witness();
        let await_rest = || {
            while !witness.is_at_rest() {
                thread::sleep(Duration::from_millis(1));
            }
        };
        await_rest();
        let mut client = TcpStream::connect(origin.address()).expect("it listens");
        client.set_nonblocking(true).expect("an option");
        client.write_all(b"GET / HTTP/1.1\r\n").expect("sent");
        await_rest();
        assert!(!witness.has_request(0), "it is not whole");
        client.write_all(b"\r\n").expect("sent");
        await_rest();
        assert!(witness.has_request(0));
        let mut answer = [0; 3];
        assert!(client.read(&mut answer).is_err(), "it has no leave");
        witness.release();
        await_rest();
        assert_eq!(client.read(&mut answer).expect("an answer"), 2);
        drop(client);
        await_rest();
    }
}
