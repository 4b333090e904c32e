//! One client connection: requests out, responses in, checked as they come.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::report::Measured;
use crate::os::now_ns;
use crate::wire::{self, Body, Malformed};

/// What all connections of a run share.
pub struct Plan {
    pub target: SocketAddr,
    /// As many copies of the request as can be asked for at once, and one more.
    pub requests: Vec<u8>,
    pub request_bytes: usize,
    pub request_is_head: bool,
    pub pipeline: usize,
    /// The length that every body must have.
    pub expected_bytes: Option<u64>,
}

/// Memory that connections use in turn.
pub struct Scratch {
    pub read: Vec<u8>,
    pub discarded: Vec<MaybeUninit<u8>>,
}

/// A keep-alive connection.
pub struct Connection {
    pub stream: TcpStream,
    /// When each request in flight was sent, or was due, in order.
    pub in_flight: VecDeque<u64>,
    unsent: usize,
    writable: bool,
    readable: bool,
    ending: bool,
    /// Part of a response head.
    carry: Vec<u8>,
    response: Option<Partial>,
}

/// A response whose body is still coming.
#[derive(Clone, Copy)]
struct Partial {
    status: u16,
    close: bool,
    body: Body,
    received: u64,
}

/// Why a connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The server closed it, and owed nothing.
    Closed,
    /// It broke while responses were owed, or said something that is not HTTP/1.1.
    Read,
    Write,
    Malformed,
}

impl Connection {
    /// Connects within [`CONNECT_TIMEOUT`].
    pub fn open(plan: &Plan) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&plan.target, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            in_flight: VecDeque::with_capacity(plan.pipeline),
            unsent: 0,
            writable: true,
            readable: false,
            ending: false,
            carry: Vec::new(),
            response: None,
        })
    }

    /// Adds a request whose latency counts from `since`; [`Connection::flush`] sends it.
    pub fn queue(&mut self, plan: &Plan, since: u64) {
        self.in_flight.push_back(since);
        self.unsent += plan.request_bytes;
    }

    /// Sends what is queued, as far as the socket takes it.
    pub fn flush(&mut self, plan: &Plan) -> Result<(), End> {
        while self.unsent > 0 && self.writable {
            // The requests are alike, so the bytes still to go are the last ones of a row of them.
            let row = self.unsent.div_ceil(plan.request_bytes) * plan.request_bytes;
            match self.stream.write(&plan.requests[row - self.unsent..row]) {
                Ok(count) => self.unsent -= count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(_) => return Err(End::Write),
            }
        }
        Ok(())
    }

    /// Notes what an event said about the socket.
    pub fn on_event(&mut self, event: crate::epoll::Event) {
        self.readable |= event.readable;
        self.writable |= event.writable;
        self.ending |= event.closing;
    }

    /// Reads all that the socket holds and settles the requests that it answers; `settle` is
    /// called with the time since which each of them counts.
    pub fn receive(
        &mut self,
        plan: &Plan,
        scratch: &mut Scratch,
        measured: &mut Measured,
        mut settle: impl FnMut(&mut Measured, u64),
    ) -> Result<(), End> {
        while self.readable {
            let count = match self.read(scratch) {
                Ok(Input::Bytes(0)) => return Err(self.on_end(measured, &mut settle)),
                Ok(Input::Bytes(count)) => count,
                Ok(Input::Discarded) => {
                    self.settle_finished(plan, measured, &mut settle)?;
                    continue;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    break;
                }
                Err(_) if self.in_flight.is_empty() => return Err(End::Closed),
                Err(_) => return Err(End::Read),
            };
            // A short read has emptied the socket; the next bytes come with an event of their own.
            self.readable = self.ending || count == scratch.read.len();
            if self.carry.is_empty() {
                self.take(&scratch.read[..count], plan, measured, &mut settle)?;
            } else {
                let mut held = std::mem::take(&mut self.carry);
                held.extend_from_slice(&scratch.read[..count]);
                self.take(&held, plan, measured, &mut settle)?;
            }
        }
        Ok(())
    }

    /// Reads once. The middle of a large body is thrown away inside the kernel: nobody looks at
    /// it, and the copy would be the larger part of this tool's CPU.
    fn read(&mut self, scratch: &mut Scratch) -> io::Result<Input> {
        let Some(Partial {
            body: Body::Length(left),
            received,
            ..
        }) = &mut self.response
        else {
            return self.stream.read(&mut scratch.read).map(Input::Bytes);
        };
        if *left < DISCARDED_BYTES_MIN {
            return self.stream.read(&mut scratch.read).map(Input::Bytes);
        }
        let room = usize::try_from(*left)
            .unwrap_or(usize::MAX)
            .min(scratch.discarded.len());
        let socket = SockRef::from(&self.stream);
        let count = socket.recv_with_flags(&mut scratch.discarded[..room], libc::MSG_TRUNC)?;
        if count == 0 {
            return Ok(Input::Bytes(0));
        }
        *left -= count as u64;
        *received += count as u64;
        Ok(Input::Discarded)
    }

    fn take(
        &mut self,
        mut input: &[u8],
        plan: &Plan,
        measured: &mut Measured,
        settle: &mut impl FnMut(&mut Measured, u64),
    ) -> Result<(), End> {
        while !input.is_empty() {
            let Some(partial) = &mut self.response else {
                if self.in_flight.is_empty() {
                    return Err(End::Malformed);
                }
                let Some(head) = wire::response(input, plan.request_is_head)? else {
                    self.carry.extend_from_slice(input);
                    return if self.carry.len() > HEAD_BYTES_MAX {
                        Err(End::Malformed)
                    } else {
                        Ok(())
                    };
                };
                input = &input[head.head_bytes..];
                if head.status >= 200 {
                    let (status, close, body) = (head.status, head.close, head.body);
                    self.response = Some(Partial {
                        status,
                        close,
                        body,
                        received: 0,
                    });
                    self.settle_finished(plan, measured, settle)?;
                }
                continue;
            };
            let (consumed, payload) = partial.body.skip(input)?;
            partial.received += payload;
            input = &input[consumed..];
            self.settle_finished(plan, measured, settle)?;
        }
        Ok(())
    }

    /// Settles the response at the front if nothing of its body is left.
    fn settle_finished(
        &mut self,
        plan: &Plan,
        measured: &mut Measured,
        settle: &mut impl FnMut(&mut Measured, u64),
    ) -> Result<(), End> {
        let Some(done) = self
            .response
            .take_if(|r| matches!(r.body, Body::Done | Body::Length(0)))
        else {
            return Ok(());
        };
        let since = self.in_flight.pop_front().ok_or(End::Malformed)?;
        measured.completed += 1;
        measured.body_bytes += done.received;
        measured.non_2xx += u64::from(!(200..300).contains(&done.status));
        measured.invalid += u64::from(plan.expected_bytes.is_some_and(|n| n != done.received));
        settle(measured, since);
        if done.close { Err(End::Closed) } else { Ok(()) }
    }

    fn on_end(
        &mut self,
        measured: &mut Measured,
        settle: &mut impl FnMut(&mut Measured, u64),
    ) -> End {
        if let Some(Partial {
            body: Body::UntilClose,
            received,
            ..
        }) = self.response
            && let Some(since) = self.in_flight.pop_front()
        {
            measured.completed += 1;
            measured.body_bytes += received;
            settle(measured, since);
        }
        if self.in_flight.is_empty() {
            End::Closed
        } else {
            End::Read
        }
    }
}

enum Input {
    Bytes(usize),
    Discarded,
}

impl From<Malformed> for End {
    fn from(_: Malformed) -> End {
        End::Malformed
    }
}

/// Latency of a request that counts from `since` and was answered just now.
pub fn elapsed(since: u64) -> u64 {
    now_ns().saturating_sub(since)
}

/// A connect that takes longer has met a full accept queue; it counts as an error.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// From this much on, the rest of a body is thrown away in the kernel.
const DISCARDED_BYTES_MIN: u64 = 32 * 1024;

/// A response head that is longer than this is not from our tools.
const HEAD_BYTES_MAX: usize = 64 * 1024;
