//! An upstream on a real socket that follows a script and remembers what it saw.
//!
//! The script is run for every request on every connection. Where it does not
//! close the connection, the next request is read. The default answers each
//! request with a short `200`.

mod rest;

pub use rest::Witness;

use crate::http2;
use crate::message::{self, Kind, Message};
use rest::{Doing, Open, await_bytes, await_release, do_at, read};
use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// One step of a script.
#[derive(Clone, Debug)]
pub enum Act {
    /// Read a whole request: head, body, trailers.
    Read,
    /// Read a request's head only.
    ReadHead,
    /// Read this many bytes, whatever they are: what a tunnel carries.
    ReadBytes(usize),
    /// Read whatever comes until the peer ends its side.
    ReadToEnd,
    /// Send these bytes.
    Send(Vec<u8>),
    /// End our side of the connection, and go on.
    Finish,
    /// Send the last request's first line as an answer.
    Echo,
    /// Do nothing for a while.
    Wait(Duration),
    /// Wait until the client lets the origin go on ([`Origin::release`]), once more
    /// for each of these acts.
    AwaitRelease,
    /// End our side of the connection and the script.
    Close,
    /// Abort the connection with a reset.
    Reset,
    /// Read and forget until the peer closes.
    Drain,
    /// From the second connection on, answer like the default does.
    OnlyFirstConnection,
    /// Speak HTTP/2 on the connection, whatever else there is in the script.
    Http2(http2::origin::Script),
    /// For the first request do the first of these, and so on, whatever
    /// connection it comes on; for all others the last one.
    Turns(Vec<Vec<Act>>),
}

/// The default script.
#[must_use]
pub fn answer_ok() -> Vec<Act> {
    answer(OK)
}

/// Read a request, send these bytes.
#[must_use]
pub fn answer(bytes: impl AsRef<[u8]>) -> Vec<Act> {
    vec![Act::Read, Act::Send(bytes.as_ref().to_vec())]
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n";

/// What happened at the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The number of the connection, from 0.
    pub connection: usize,
    /// The request, as far as it came.
    pub request: Message,
}

#[derive(Debug)]
struct State {
    script: Vec<Act>,
    seen: Vec<Seen>,
    open: Vec<Open>,
    /// Whether a connection is being taken that is not among those that are open.
    accepting: bool,
    connections: usize,
    /// Requests that have had their turn.
    turns: usize,
    /// How often the client has let the origin go on, less what it was used for.
    releases: usize,
    /// Connections that read bytes to no message's end.
    reading: usize,
    /// The number of the script: what a connection of an earlier one still
    /// sees is nobody's.
    generation: u64,
}

/// A connection: its number among those of its script, and which script.
#[derive(Clone, Copy)]
struct Place {
    number: usize,
    generation: u64,
}

impl State {
    /// Remembers a request and says where.
    fn see(&mut self, at: Place, request: Message) -> Option<usize> {
        if at.generation != self.generation {
            return None;
        }
        self.seen.push(Seen {
            connection: at.number,
            request,
        });
        Some(self.seen.len() - 1)
    }
}

/// A running origin; it ends when it is dropped.
pub struct Origin {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    listener: Arc<TcpListener>,
}

impl Origin {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn start() -> Origin {
        Origin::start_at("127.0.0.1:0".parse().expect("an address"))
    }

    /// Listens on `address`.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    pub fn start_at(address: SocketAddr) -> Origin {
        let listener = TcpListener::bind(address).expect("the origin's port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State {
            script: answer_ok(),
            seen: Vec::new(),
            open: Vec::new(),
            accepting: false,
            connections: 0,
            turns: 0,
            releases: 0,
            reading: 0,
            generation: 0,
        }));
        let listener = Arc::new(listener);
        let origin = Origin {
            address,
            state: Arc::clone(&state),
            listener: Arc::clone(&listener),
        };
        thread::spawn(move || {
            while let Some((stream, at, script)) = accept(&listener, &state) {
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    serve(stream, script, &state, at);
                    do_at(&state, at, Doing::Nothing);
                });
            }
        });
        origin
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection, forgets what it saw, and follows `script` from
    /// now on.
    pub fn play(&self, script: Vec<Act>) {
        let mut state = lock(&self.state);
        for open in state.open.drain(..) {
            // A connection that is gone already is as good.
            let _ = open.stream.shutdown(std::net::Shutdown::Both);
        }
        state.script = script;
        state.seen.clear();
        state.connections = 0;
        state.turns = 0;
        state.releases = 0;
        state.reading = 0;
        state.generation += 1;
    }

    /// What has been seen since the last [`Origin::play`].
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state).seen.clone()
    }

    /// Whether bytes are read whose end has not been seen.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        lock(&self.state).reading > 0
    }

    /// Connections since the last [`Origin::play`].
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.state).connections
    }

    /// What others may see of it.
    #[must_use]
    pub fn witness(&self) -> Witness {
        Witness {
            state: Arc::clone(&self.state),
            listener: Arc::clone(&self.listener),
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.play(Vec::new());
        // Wakes the accepting thread, which then ends.
        // SAFETY: plain system call on a descriptor that we own.
        unsafe { libc::shutdown(self.listener.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Takes the next connection, with its place and its script; `None` at the end of
/// the origin.
fn accept(listener: &TcpListener, state: &Mutex<State>) -> Option<(TcpStream, Place, Vec<Act>)> {
    loop {
        // Nobody is to miss the connection between the queue and the list.
        rest::await_readable(listener);
        lock(state).accepting = true;
        let accepted = listener.accept();
        let mut state = lock(state);
        state.accepting = false;
        let (stream, _) = accepted.ok()?;
        if let Ok(handle) = stream.try_clone() {
            let at = Place {
                number: state.connections,
                generation: state.generation,
            };
            state.connections += 1;
            state.open.push(Open::new(handle, at.number));
            return Some((stream, at, state.script.clone()));
        }
    }
}

fn serve(mut stream: TcpStream, mut script: Vec<Act>, state: &Mutex<State>, at: Place) {
    // Small pieces must arrive as they are sent.
    let _ = stream.set_nodelay(true);
    if at.number > 0
        && script
            .iter()
            .any(|act| matches!(act, Act::OnlyFirstConnection))
    {
        script = answer_ok();
    }
    let mut received = Vec::new();
    let mut last_line = String::new();
    loop {
        let mut acts: VecDeque<Act> = script.iter().cloned().collect();
        while let Some(act) = acts.pop_front() {
            match &act {
                Act::Read | Act::ReadHead => {
                    let whole = matches!(act, Act::Read);
                    let Some(request) = receive(&mut stream, &mut received, whole, state, at)
                    else {
                        return;
                    };
                    if whole && !request.complete {
                        return;
                    }
                    last_line = request.first_line;
                }
                Act::ReadBytes(count) => {
                    receive_bytes(&mut stream, &mut received, *count, state, at);
                }
                Act::ReadToEnd => {
                    receive_bytes(&mut stream, &mut received, usize::MAX, state, at);
                }
                Act::Finish => {
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                }
                Act::Send(bytes) => {
                    if stream.write_all(bytes).is_err() {
                        return;
                    }
                }
                Act::Echo => {
                    let length = last_line.len();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                    if stream.write_all((head + &last_line).as_bytes()).is_err() {
                        return;
                    }
                }
                Act::Wait(time) => {
                    do_at(state, at, Doing::Waiting);
                    thread::sleep(*time);
                    do_at(state, at, Doing::Acting);
                }
                Act::AwaitRelease => await_release(state, at),
                Act::Close => {
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                    drain(&mut stream, state, at);
                    return;
                }
                Act::Reset => {
                    reset(&stream);
                    let mut state = lock(state);
                    if state.generation == at.generation {
                        // The handle kept for `play` would keep the socket open.
                        state.open.retain(|open| open.number != at.number);
                    }
                    // Whoever looks is not to find it gone before it is.
                    drop(stream);
                    return;
                }
                Act::Drain => {
                    drain(&mut stream, state, at);
                    return;
                }
                Act::OnlyFirstConnection => {}
                Act::Http2(script) => {
                    let see = |place: Option<usize>, request| {
                        let mut state = lock(state);
                        match place {
                            None => state.see(at, request),
                            Some(place) if at.generation == state.generation => {
                                state.seen[place].request = request;
                                Some(place)
                            }
                            Some(_) => None,
                        }
                    };
                    let turn = || {
                        let mut state = lock(state);
                        state.turns += 1;
                        state.turns - 1
                    };
                    let rest = |stream: &TcpStream| await_bytes(stream, state, at);
                    let hold = || await_release(state, at);
                    http2::origin::serve(stream, script, see, turn, rest, hold);
                    return;
                }
                Act::Turns(turns) => {
                    let mut state = lock(state);
                    let last = turns.len().saturating_sub(1);
                    acts = turns[state.turns.min(last)].iter().cloned().collect();
                    state.turns += 1;
                }
            }
        }
        if !script
            .iter()
            .any(|act| matches!(act, Act::Read | Act::ReadHead))
        {
            drain(&mut stream, state, at);
            return;
        }
    }
}

/// Makes the coming close a reset.
fn reset(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let _ = socket.set_linger(Some(Duration::ZERO));
}

fn drain(stream: &mut TcpStream, state: &Mutex<State>, at: Place) {
    let mut buffer = vec![0; 65536];
    while read(stream, &mut buffer, state, at).is_ok_and(|count| count > 0) {}
}

/// Reads bytes that are no message. What came is remembered as the body of a
/// message without a head, also when the connection ends before `count`.
fn receive_bytes(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
    count: usize,
    state: &Mutex<State>,
    at: Place,
) {
    let begun = {
        let mut state = lock(state);
        state.reading += usize::from(state.generation == at.generation);
        state.generation == at.generation
    };
    let mut buffer = vec![0; 65536];
    let mut end = "";
    while received.len() < count {
        match read(stream, &mut buffer, state, at) {
            Ok(0) => {
                end = " to the end";
                break;
            }
            Ok(taken) => received.extend_from_slice(&buffer[..taken]),
            Err(_) => {
                end = " to a reset";
                break;
            }
        }
    }
    let mut state = lock(state);
    if begun && state.generation == at.generation {
        state.reading -= 1;
    }
    let taken = received.len().min(count);
    if taken == 0 {
        // When an end without bytes is seen depends on who is faster.
        return;
    }
    let request = Message {
        first_line: format!("(bytes{end})"),
        headers: Vec::new(),
        body: received.drain(..taken).collect(),
        framing: message::Framing::None,
        trailers: Vec::new(),
        complete: true,
    };
    state.see(at, request);
}

/// Reads a request. What came is remembered even when the connection ends in
/// the middle of it.
fn receive(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
    whole: bool,
    state: &Mutex<State>,
    at: Place,
) -> Option<Message> {
    let mut place = None;
    let mut buffer = vec![0; 65536];
    let mut ended = false;
    loop {
        if let Some((request, taken)) = message::read(received, Kind::Request, ended) {
            let mut state = lock(state);
            match place {
                None => place = state.see(at, request.clone()),
                Some(place) if at.generation == state.generation => {
                    state.seen[place].request = request.clone();
                }
                Some(_) => {}
            }
            if request.complete || ended {
                received.drain(..taken);
                return Some(request);
            }
            if !whole {
                return Some(request);
            }
        }
        if ended {
            return None;
        }
        match read(stream, &mut buffer, state, at) {
            Ok(count) if count > 0 => received.extend_from_slice(&buffer[..count]),
            _ => ended = true,
        }
    }
}
