//! A host that speaks HTTP/2 and follows a script, once for every request.

use super::{END_HEADERS, END_STREAM, PREFACE, Received, empty, frame, kind};
use crate::hpack::{self, Decoder, Field};
use crate::message::{Framing, Message};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

/// What a host does about a request, one after the other.
#[derive(Clone, Debug)]
pub enum Act {
    /// The rest of the script does not wait for the end of the request. The
    /// first one, if any.
    AtHead,
    /// The rest of such a script waits for the end of the request.
    AtEnd,
    /// Sends the head of a response, or trailers.
    Headers(Vec<(&'static str, String)>, End),
    /// Sends a part of a body.
    Data(Vec<u8>, End),
    /// Sends a frame on the request's stream.
    Frame(u8, u8, Vec<u8>),
    /// Sends a frame on the stream that is so much away from the request's; the
    /// connection itself with `None`.
    FrameOn(Option<u32>, u8, u8, Vec<u8>),
    /// Resets the stream with this code.
    Reset(u32),
    /// Announces the end of the connection with this code. `true`: the request
    /// is one of those that are still answered.
    GoAway(bool, u32),
    /// Closes the connection.
    Close,
    /// Does nothing for a while.
    Wait(Duration),
    /// Waits until the client lets the origin go on, once more for each of these acts.
    AwaitRelease,
    /// For the first request of all connections does the first of these, and so
    /// on; for all others the last one.
    Turns(Vec<Vec<Act>>),
}

/// Whether a frame is the last one of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is.
    Last,
    /// Others follow.
    More,
}

impl End {
    fn flag(self) -> u8 {
        match self {
            Self::Last => END_STREAM,
            Self::More => 0,
        }
    }
}

/// The answer 200 with a short body.
#[must_use]
pub fn answer_ok() -> Vec<Act> {
    vec![
        head(&[(":status", "200")], End::More),
        data("ok\n", End::Last),
    ]
}

/// [`Act::Headers`]
#[must_use]
pub fn head(fields: &[(&'static str, &str)], end: End) -> Act {
    let fields = fields.iter();
    Act::Headers(
        fields
            .map(|(name, value)| (*name, (*value).into()))
            .collect(),
        end,
    )
}

/// [`Act::Data`]
#[must_use]
pub fn data(bytes: impl AsRef<[u8]>, end: End) -> Act {
    Act::Data(bytes.as_ref().to_vec(), end)
}

/// The settings and the script of a host.
#[derive(Clone, Debug)]
pub struct Script {
    /// Identifiers and values of its SETTINGS.
    pub settings: Vec<(u16, u32)>,
    /// What it does about each request.
    pub acts: Vec<Act>,
}

/// Serves a connection until it ends. `see` is shown each request, twice when it
/// grows: the number is what it returned before. `turn` says how many requests
/// there were on all connections, `rest` waits for something to read, and `hold` for
/// the client's leave.
pub fn serve(
    mut stream: TcpStream,
    script: &Script,
    mut see: impl FnMut(Option<usize>, Message) -> Option<usize>,
    mut turn: impl FnMut() -> usize,
    mut rest: impl FnMut(&TcpStream),
    hold: impl Fn(),
) {
    rest(&stream);
    let mut preface = vec![0; PREFACE.len()];
    if stream.read_exact(&mut preface).is_err() || preface != PREFACE {
        return;
    }
    let settings: Vec<u8> = (script.settings.iter())
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    let mut host = Host {
        stream,
        decoder: Decoder::default(),
        requests: BTreeMap::new(),
    };
    if host.send(kind::SETTINGS, 0, 0, settings).is_none() {
        return;
    }
    loop {
        rest(&host.stream);
        let Some(frame) = read_frame(&mut host.stream) else {
            return;
        };
        let due = host.on_frame(&frame, script, &mut see);
        let done = due.and_then(|acts| host.act(acts, frame.stream, &mut turn, &hold));
        if done.is_none() {
            return;
        }
    }
}

/// A request that has begun.
struct Request {
    message: Message,
    /// Where it was seen.
    place: Option<usize>,
    block: Vec<u8>,
    /// How many acts of the script are done.
    done: usize,
}

impl Request {
    /// What is due of a script now.
    fn take_due<'a>(&mut self, script: &'a Script) -> &'a [Act] {
        let acts = &script.acts;
        let at_head = match acts.first() {
            Some(Act::AtHead) => acts.iter().position(|act| matches!(act, Act::AtEnd)),
            _ => Some(0),
        };
        let end = match self.message.complete {
            true => acts.len(),
            false => at_head.unwrap_or(acts.len()),
        };
        let due = &acts[self.done.min(end)..end];
        self.done = self.done.max(end);
        due
    }
}

struct Host {
    stream: TcpStream,
    decoder: Decoder,
    requests: BTreeMap<u32, Request>,
}

impl Host {
    fn send(&mut self, kind: u8, flags: u8, on: u32, payload: impl Into<Vec<u8>>) -> Option<()> {
        let bytes = frame(kind, flags, on, &payload.into());
        self.stream.write_all(&bytes).ok()
    }

    /// What is due of the script; `None` when the connection is over.
    fn on_frame<'a>(
        &mut self,
        frame: &Received,
        script: &'a Script,
        see: &mut impl FnMut(Option<usize>, Message) -> Option<usize>,
    ) -> Option<&'a [Act]> {
        match frame.kind {
            kind::SETTINGS if !has(frame, END_STREAM) => {
                self.send(kind::SETTINGS, END_STREAM, 0, [])?;
                return Some(&[]);
            }
            kind::PING if !has(frame, END_STREAM) => {
                self.send(kind::PING, END_STREAM, 0, frame.payload.clone())?;
                return Some(&[]);
            }
            kind::DATA | kind::HEADERS | kind::CONTINUATION => {}
            _ => return Some(&[]),
        }
        let request = self
            .requests
            .entry(frame.stream)
            .or_insert_with(|| Request {
                message: empty(String::new()),
                place: None,
                block: Vec::new(),
                done: 0,
            });
        if frame.kind == kind::DATA {
            request.message.body.extend_from_slice(&frame.payload);
            request.message.complete = has(frame, END_STREAM);
            request.message.framing = Framing::Length;
        } else {
            if frame.kind == kind::HEADERS {
                request.message.complete = has(frame, END_STREAM);
            }
            request.block.extend_from_slice(&frame.payload);
            if !has(frame, END_HEADERS) {
                return Some(&[]);
            }
            let fields = self.decoder.decode(&std::mem::take(&mut request.block))?;
            match request.message.first_line.is_empty() {
                true => set_head(&mut request.message, fields),
                false => request.message.trailers = fields,
            }
        }
        request.place = see(request.place, request.message.clone()).or(request.place);
        let due = request.take_due(script);
        if frame.kind == kind::DATA && !frame.payload.is_empty() {
            let taken = (frame.payload.len() as u32).to_be_bytes();
            self.send(kind::WINDOW_UPDATE, 0, 0, taken)?;
            self.send(kind::WINDOW_UPDATE, 0, frame.stream, taken)?;
        }
        Some(due)
    }

    fn act(
        &mut self,
        acts: &[Act],
        on: u32,
        turn: &mut impl FnMut() -> usize,
        hold: &impl Fn(),
    ) -> Option<()> {
        for act in acts {
            match act {
                Act::AtHead | Act::AtEnd => {}
                Act::Headers(fields, end) => {
                    let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
                    self.send_block(&block(&fields), on, end.flag())?;
                }
                Act::Data(bytes, end) => {
                    let mut pieces = bytes.chunks(FRAME_BYTES_MAX).peekable();
                    if pieces.peek().is_none() {
                        self.send(kind::DATA, end.flag(), on, [])?;
                    }
                    while let Some(piece) = pieces.next() {
                        let flags = if pieces.peek().is_none() {
                            end.flag()
                        } else {
                            0
                        };
                        self.send(kind::DATA, flags, on, piece)?;
                    }
                }
                Act::Frame(kind, flags, payload) => {
                    self.send(*kind, *flags, on, payload.clone())?;
                }
                Act::FrameOn(away, kind, flags, payload) => {
                    let on = away.map_or(0, |away| on + away);
                    self.send(*kind, *flags, on, payload.clone())?;
                }
                Act::Reset(code) => self.send(kind::RST_STREAM, 0, on, code.to_be_bytes())?,
                Act::GoAway(is_answered, code) => {
                    let last = if *is_answered {
                        on
                    } else {
                        on.saturating_sub(2)
                    };
                    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
                    self.send(kind::GOAWAY, 0, 0, payload)?;
                }
                Act::Close => {
                    let _ = self.stream.shutdown(Shutdown::Write);
                    return None;
                }
                Act::Wait(time) => thread::sleep(*time),
                Act::AwaitRelease => hold(),
                Act::Turns(turns) => {
                    let last = turns.len().saturating_sub(1);
                    let acts = &turns[turn().min(last)];
                    self.act(acts, on, turn, hold)?;
                }
            }
        }
        Some(())
    }

    /// A header block in as many frames as it needs.
    fn send_block(&mut self, block: &[u8], on: u32, flags: u8) -> Option<()> {
        let mut pieces = block.chunks(FRAME_BYTES_MAX).peekable();
        let mut kind = kind::HEADERS;
        let mut flags = flags;
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                flags |= END_HEADERS;
            }
            self.send(kind, flags, on, piece)?;
            (kind, flags) = (kind::CONTINUATION, 0);
        }
        Some(())
    }
}

/// The largest frame that everybody takes.
const FRAME_BYTES_MAX: usize = 16 * 1024;

/// Reads the next frame; `None` at the end.
pub fn read_frame(stream: &mut TcpStream) -> Option<Received> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let [a, b, c, kind, flags, s, t, u, v] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some(Received {
        kind,
        flags,
        stream: u32::from_be_bytes([s, t, u, v]) & 0x7fff_ffff,
        payload,
    })
}

fn has(frame: &Received, flag: u8) -> bool {
    frame.flags & flag != 0
}

/// A header block.
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        hpack::encode(name.as_bytes(), value.as_bytes(), &mut block);
    }
    block
}

fn set_head(message: &mut Message, fields: Vec<Field>) {
    let value = |wanted: &str| {
        let found = fields.iter().find(|(name, _)| name == wanted);
        found.map_or("", |(_, value)| value)
    };
    // The order of pseudo headers means nothing.
    message.first_line = format!(
        "{} {}://{}{} HTTP/2",
        value(":method"),
        value(":scheme"),
        value(":authority"),
        value(":path")
    );
    let in_line = [":method", ":scheme", ":authority", ":path"];
    let others = fields.into_iter();
    let others = others.filter(|(name, _)| !in_line.contains(&name.as_str()));
    message.headers = others.collect();
}
