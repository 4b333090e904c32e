//! A very cheap HTTP/1.1 origin: one thread, edge-triggered epoll, fixed answers.
//!
//! It shares a core with the load generator when a proxy is measured, so every microsecond here
//! is one that the proxy is not offered as load. Hence no allocation per request, one read and
//! one write per batch of pipelined requests, and answers copied from memory that never changes.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;

use crate::epoll::Epoll;
use crate::wire::{self, Body, Malformed};
use crate::{listener, os};

/// Serve fixed bytes over HTTP/1.1 as cheaply as possible.
///
/// Every path is answered with the same body, except /bytes/N, which is answered with N bytes.
#[derive(clap::Args)]
pub struct Options {
    /// Address to listen on
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST)]
    address: Ipv4Addr,
    /// Port to listen on; 0 takes a free one. The port is printed
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// Bytes in a body
    #[arg(long, default_value_t = 100)]
    body_bytes: u64,
    /// Core to run on
    #[arg(long)]
    core: Option<usize>,
}

/// Serves until the process is killed.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(core) = options.core {
        os::pin(core)?;
    }
    os::raise_open_files(OPEN_FILES)?;
    let socket = listener::open(SocketAddr::from((options.address, options.port)))
        .with_context(|| format!("listening on {}:{}", options.address, options.port))?;
    let listener = TcpListener::from(socket);
    listener::announce(listener.local_addr()?)?;
    let mut server = Server {
        listener,
        epoll: Epoll::new()?,
        connections: Vec::new(),
        free: Vec::new(),
        accept_again: false,
    };
    server.serve(options.body_bytes)
}

struct Server {
    listener: TcpListener,
    epoll: Epoll,
    /// Indexed by the event's token.
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// The last accept failed for want of descriptors, and no event will say when to go on.
    accept_again: bool,
}

impl Server {
    fn serve(&mut self, body_bytes: u64) -> anyhow::Result<()> {
        let mut scratch = vec![0; SCRATCH_BYTES];
        let answers = Answers::new(body_bytes);
        self.epoll.add(self.listener.as_fd(), LISTENER)?;
        loop {
            let count = self.epoll.wait(self.accept_again.then_some(ACCEPT_RETRY))?;
            if self.accept_again {
                self.accept();
            }
            for index in 0..count {
                let event = self.epoll.event(index);
                if event.token == LISTENER {
                    self.accept();
                    continue;
                }
                let index = usize::try_from(event.token)?;
                let Some(connection) = self.connections[index].as_mut() else {
                    continue;
                };
                connection.readable |= event.readable;
                connection.ending |= event.closing;
                let open = connection.drive(&answers, &mut scratch);
                if !matches!(open, Ok(State::Open)) {
                    self.connections[index] = None;
                    self.free.push(index);
                }
            }
        }
    }

    fn accept(&mut self) {
        self.accept_again = false;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = self.adopt(stream) {
                        eprintln!("dropped a connection: {error}");
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    eprintln!("accept: {error}");
                    self.accept_again = true;
                    return;
                }
            }
        }
    }

    fn adopt(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.epoll.add(stream.as_fd(), index as u64)?;
        self.connections[index] = Some(Connection::new(stream));
        Ok(())
    }
}

#[derive(PartialEq, Eq)]
enum State {
    Open,
    Closed,
}

struct Connection {
    stream: TcpStream,
    /// Bytes that wait for more of their head, or for a large answer before them to be sent.
    carry: Vec<u8>,
    /// The carry holds whole requests that can be answered without reading.
    parked: bool,
    /// What is left of the body of the request that is being read.
    body: Body,
    /// The answer owed once that body has arrived.
    owed: Option<Answer>,
    out: Vec<u8>,
    sent: usize,
    /// Bytes of a large body still to be sent after `out`.
    large_left: u64,
    readable: bool,
    /// The peer has sent its end: a short read no longer means that nothing follows.
    ending: bool,
    close: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Connection {
        Connection {
            stream,
            carry: Vec::new(),
            parked: false,
            body: Body::Done,
            owed: None,
            out: Vec::new(),
            sent: 0,
            large_left: 0,
            readable: true,
            ending: false,
            close: false,
        }
    }

    /// Reads, answers and writes until the socket has nothing more to give or to take.
    fn drive(&mut self, answers: &Answers, scratch: &mut [u8]) -> Result<State, Broken> {
        loop {
            if !self.flush(answers)? {
                return Ok(State::Open);
            }
            if self.close {
                return Ok(State::Closed);
            }
            if self.parked {
                self.parked = false;
                let held = std::mem::take(&mut self.carry);
                self.take(&held, answers)?;
                continue;
            }
            if !self.readable {
                return Ok(State::Open);
            }
            let count = match self.stream.read(scratch) {
                Ok(0) => return Ok(State::Closed),
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
            // A short read has emptied the socket; the next bytes come with an event of their own.
            self.readable = self.ending || count == scratch.len();
            if self.carry.is_empty() {
                self.take(&scratch[..count], answers)?;
            } else {
                let mut held = std::mem::take(&mut self.carry);
                held.extend_from_slice(&scratch[..count]);
                self.take(&held, answers)?;
            }
        }
    }

    /// Answers every whole request in `input` and keeps what is left over.
    fn take(&mut self, mut input: &[u8], answers: &Answers) -> Result<(), Broken> {
        while !self.close {
            if self.body != Body::Done {
                let (consumed, _) = self.body.skip(input)?;
                input = &input[consumed..];
                if self.body != Body::Done {
                    return Ok(());
                }
            }
            if let Some(answer) = self.owed.take() {
                self.large_left = answers.write(answer, &mut self.out);
                self.close |= answer.close;
            }
            if input.is_empty() {
                return Ok(());
            }
            if self.large_left > 0 {
                self.parked = true;
                break;
            }
            let Some(head) = wire::request(input)? else {
                break;
            };
            if head.expects_continue && head.body != Body::Done {
                self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            self.body = head.body;
            self.owed = Some(Answer {
                body_bytes: requested_bytes(head.path).unwrap_or(answers.body_bytes),
                without_body: head.is_head,
                close: head.close,
            });
            input = &input[head.head_bytes..];
        }
        if !self.parked && input.len() > HEAD_BYTES_MAX {
            return Err(Broken);
        }
        self.carry.extend_from_slice(input);
        Ok(())
    }

    /// Sends what is queued; false when the socket took only a part of it.
    fn flush(&mut self, answers: &Answers) -> Result<bool, Broken> {
        while self.sent < self.out.len() || self.large_left > 0 {
            let head = &self.out[self.sent..];
            let written = if self.large_left == 0 {
                self.stream.write(head)
            } else {
                let body = answers.filler(self.large_left);
                self.stream
                    .write_vectored(&[IoSlice::new(head), IoSlice::new(body)])
            };
            let written = match written {
                Ok(written) => written,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e.into()),
            };
            let of_head = written.min(head.len());
            self.sent += of_head;
            self.large_left -= (written - of_head) as u64;
        }
        self.out.clear();
        self.sent = 0;
        Ok(true)
    }
}

/// What a request is owed.
#[derive(Clone, Copy)]
struct Answer {
    body_bytes: u64,
    without_body: bool,
    close: bool,
}

/// The bytes that all answers are made of.
struct Answers {
    body_bytes: u64,
    /// The whole usual answer, ready to be copied.
    usual: Vec<u8>,
    block: Vec<u8>,
}

impl Answers {
    fn new(body_bytes: u64) -> Answers {
        let mut answers = Answers {
            body_bytes,
            usual: Vec::new(),
            block: vec![b'x'; BLOCK_BYTES],
        };
        let mut usual = Vec::new();
        let answer = Answer {
            body_bytes,
            without_body: false,
            close: false,
        };
        if answers.write(answer, &mut usual) == 0 {
            answers.usual = usual;
        }
        answers
    }

    /// Queues an answer. Returns how many bytes of its body were left out because they are too
    /// many to be copied.
    fn write(&self, answer: Answer, out: &mut Vec<u8>) -> u64 {
        let Answer {
            body_bytes,
            without_body,
            close,
        } = answer;
        if body_bytes == self.body_bytes && !without_body && !close && !self.usual.is_empty() {
            out.extend_from_slice(&self.usual);
            return 0;
        }
        let close = if close { "connection: close\r\n" } else { "" };
        // Writing to a vector cannot fail.
        let _ = write!(
            out,
            "HTTP/1.1 200 OK\r\nserver: origin\r\ncontent-type: text/plain\r\n\
             content-length: {body_bytes}\r\n{close}\r\n"
        );
        if without_body {
            return 0;
        }
        if body_bytes > COPIED_BYTES_MAX {
            return body_bytes;
        }
        out.extend_from_slice(self.filler(body_bytes));
        0
    }

    /// Up to `bytes` bytes of body.
    fn filler(&self, bytes: u64) -> &[u8] {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        &self.block[..bytes.min(self.block.len())]
    }
}

/// The N of /bytes/N.
fn requested_bytes(path: &str) -> Option<u64> {
    let rest = path.strip_prefix("/bytes/")?;
    rest.split(['?', '/']).next()?.parse().ok()
}

/// The connection failed or its requests cannot be followed; either way it is closed.
struct Broken;

impl From<Malformed> for Broken {
    fn from(_: Malformed) -> Broken {
        Broken
    }
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Broken {
        Broken
    }
}

/// The token of the listening socket, above any index that can be reached.
const LISTENER: u64 = u64::MAX;

/// Asked for at the start: 10,000 connections with room to spare.
const OPEN_FILES: u64 = 20_000;

/// Pause before accepting again when descriptors had run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(10);

/// Bytes read at once: hundreds of pipelined requests, or a good part of an upload.
const SCRATCH_BYTES: usize = 256 * 1024;

/// A request head that is longer than this is not from our tools.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Bodies up to this size are copied behind their head; longer ones are sent from the block.
const COPIED_BYTES_MAX: u64 = 16 * 1024;

/// Bytes of a large body offered in one write; a socket buffer takes no more than a few MiB.
const BLOCK_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_ask_for_a_size() {
        for (path, bytes) in [
            ("/bytes/0", Some(0)),
            ("/bytes/1048576", Some(1 << 20)),
            ("/bytes/12?x=1", Some(12)),
            ("/bytes/", None),
            ("/bytes/-1", None),
            ("/", None),
        ] {
            assert_eq!(requested_bytes(path), bytes, "{path}");
        }
    }

    #[test]
    fn small_bodies_are_copied_and_large_ones_left_to_the_block() {
        let answers = Answers::new(3);
        let mut out = Vec::new();
        let answer = |body_bytes| Answer {
            body_bytes,
            without_body: false,
            close: false,
        };
        assert_eq!(answers.write(answer(3), &mut out), 0);
        assert!(out.ends_with(b"content-length: 3\r\n\r\nxxx"));
        out.clear();
        assert_eq!(answers.write(answer(1 << 30), &mut out), 1 << 30);
        assert!(out.ends_with(b"content-length: 1073741824\r\n\r\n"));
        assert_eq!(answers.filler(1 << 30).len(), BLOCK_BYTES);
    }
}
