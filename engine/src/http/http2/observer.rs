//! What the frames of a connection tell that the library which reads and writes
//! them does not: how large they are, which streams it has ended by itself, and
//! of which frames there were too many.
//!
//! The adapter for its traits ([`super::io`]) shows every byte to an
//! [`Observer`] as it passes; whoever drives the connection and whoever serves
//! its streams ask afterwards. Only heads of frames are looked at. Nothing is
//! changed or held up: what is found out is found out a moment later. It also
//! knows where a frame of ours can go between those of the library.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringway_codecs::http2::{END_HEADERS, Frame, FrameScanner, Told, kind};
use ringway_config::http2_protocol_options::FrameLimits;

use super::stream_bytes::{Known, KnownStreams, StreamBytes};
use crate::stream_info::details;

/// Frames of one connection, in both directions.
#[derive(Debug)]
pub struct Observer {
    seen: RefCell<Seen>,
    /// Something was seen that is to be acted on.
    has_news: Cell<bool>,
    /// Nothing more is read, for what the peer has sent.
    is_over: Cell<bool>,
    /// Why the connection has ended, for logs of its streams.
    end_details: Cell<Option<&'static str>>,
    /// The end of the connection is to be announced.
    owes_notice: Cell<bool>,
    /// Tasks that wait for frames to be sent.
    waiting: RefCell<Vec<Waker>>,
}

/// Frames of which a peer has sent too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// One behind the other that carry nothing and end nothing.
    Empty,
    /// `PRIORITY`
    Priority,
    /// `WINDOW_UPDATE`
    WindowUpdate,
}

/// A stream that the library has ended before anybody saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// What it began with is no request.
    Malformed,
    /// There were as many as there may be.
    TooMany,
    /// What it began with is more than is read.
    TooLarge,
}

impl Observer {
    /// A connection that a client has opened to us. `closes`: it ends with the
    /// first message that breaks the rules.
    #[must_use]
    pub fn of_client(limits: FrameLimits, closes: bool) -> Rc<Self> {
        let seen = Seen::new(FrameScanner::of_client(), FrameScanner::of_server(), limits);
        Self::new(Seen {
            begins_streams: true,
            closes,
            ..seen
        })
    }

    /// A connection that we have opened to a host, whose headers have
    /// `head_bytes_max` at most.
    #[must_use]
    pub fn of_host(limits: FrameLimits, head_bytes_max: u32) -> Rc<Self> {
        let seen = Seen::new(FrameScanner::of_server(), FrameScanner::of_client(), limits);
        Self::new(Seen {
            head_bytes_max,
            ..seen
        })
    }

    fn new(seen: Seen) -> Rc<Self> {
        Rc::new(Self {
            seen: RefCell::new(seen),
            has_news: Cell::new(false),
            is_over: Cell::new(false),
            end_details: Cell::new(None),
            owes_notice: Cell::new(false),
            waiting: RefCell::default(),
        })
    }

    /// Shows what the library is to read; says how much of it may be read.
    #[must_use]
    pub fn on_received(&self, bytes: &[u8]) -> usize {
        let mut seen = self.seen.borrow_mut();
        let read = seen.on_received(bytes);
        if seen.flood.is_some() {
            self.has_news.set(true);
            self.is_over.set(true);
        }
        read
    }

    /// Shows what it writes.
    pub fn on_sent(&self, bytes: &[u8]) {
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
        let mut seen = self.seen.borrow_mut();
        if !seen.on_sent(bytes) {
            return;
        }
        self.has_news.set(true);
        if seen.has_sent_error {
            self.end_for(details::HTTP2_CODEC_ERROR);
        }
        if seen.closes && seen.messaging_errors > 0 {
            self.is_over.set(true);
        }
    }

    /// The end of the connection is to be announced, by whoever writes to it.
    pub fn owe_notice(&self) {
        self.owes_notice.set(true);
    }

    /// Whether the end of the connection is announced now, by a frame behind what was
    /// [sent](Self::on_sent).
    #[must_use]
    pub fn takes_notice(&self) -> bool {
        self.owes_notice.get()
            && self.seen.borrow().is_between_messages()
            && self.owes_notice.replace(false)
    }

    /// Whether the connection is to end for what the peer has sent. Nothing more
    /// of it is read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Everything was asked for.
    pub fn forget_news(&self) {
        self.has_news.set(self.is_over.get());
    }

    /// Whether there is anything to ask for.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.has_news.get()
    }

    /// Somebody serves this stream, or has asked for it.
    #[must_use]
    pub fn take(self: &Rc<Self>, stream: u32) -> Observed {
        let mut seen = self.seen.borrow_mut();
        if !seen.begins_streams {
            seen.streams.insert(stream);
        }
        if let Some(known) = seen.streams.get(stream) {
            known.is_taken = true;
        }
        seen.newest_taken = seen.newest_taken.max(stream);
        Observed {
            observer: Rc::clone(self),
            stream,
        }
    }

    /// The stream whose headers are on their way, asked for when the library has no
    /// other stream to give: it is the newest, because nothing may come in between.
    pub fn unfinished_head(&self) -> Option<u32> {
        let seen = &mut *self.seen.borrow_mut();
        if seen.newest == seen.newest_taken {
            return None;
        }
        let known = seen.streams.get(seen.newest)?;
        let is_begun = !known.is_taken && known.refused.is_none();
        (is_begun && is_of_headers(known.last_received)).then_some(seen.newest)
    }

    /// A stream that the library has ended by itself, with what moved on it;
    /// asked for when the library has no other stream to give. Each is told of
    /// once.
    pub fn next_refused(&self) -> Option<(Refusal, StreamBytes)> {
        let seen = &mut *self.seen.borrow_mut();
        let is_refused = |known: &Known| !known.is_taken && known.refused.is_some();
        let Some(stream) = seen.streams.search(is_refused) else {
            self.forget_news();
            return None;
        };
        let known = *seen.streams.get(stream)?;
        let refusal = known.refused?;
        seen.streams.remove(stream);
        // Whatever has come behind its headers: with good ones, somebody would
        // have seen it.
        if refusal == Refusal::Malformed && !known.is_malformed {
            seen.messaging_errors += 1;
            if seen.closes {
                self.is_over.set(true);
            }
        }
        Some((refusal, known.bytes))
    }

    /// Messages that break the rules, since the last call.
    #[must_use]
    pub fn take_messaging_errors(&self) -> u64 {
        std::mem::take(&mut self.seen.borrow_mut().messaging_errors)
    }

    /// Why a stream ends that was begun and that nobody will see, because the
    /// connection has ended. Each is told of once.
    #[must_use]
    pub fn forget_unseen(&self) -> Option<&'static str> {
        let end_details = self.end_details()?;
        let mut seen = self.seen.borrow_mut();
        let unseen = seen.streams.search(|known| !known.is_taken)?;
        seen.streams.remove(unseen);
        Some(match seen.flood {
            Some((Flood::Empty, stream)) if stream == unseen => details::HTTP2_EMPTY_FRAMES,
            None if seen.ends_in_headers && seen.last_received.1 == unseen => {
                details::HTTP2_INVALID_HEADER_FIELD
            }
            _ => end_details,
        })
    }

    /// Of what the peer has sent too much, if there is any such thing.
    #[must_use]
    pub fn flood(&self) -> Option<Flood> {
        self.seen.borrow().flood.map(|(flood, _)| flood)
    }

    /// Whether the library has ended the connection for a stream's headers, as
    /// far as can be told: they were what came last.
    #[must_use]
    pub fn ends_in_headers(&self) -> bool {
        self.seen.borrow().ends_in_headers
    }

    /// The connection ends for this reason.
    pub fn end_for(&self, details: &'static str) {
        self.end_details.set(Some(details));
    }

    /// Why it has ended.
    #[must_use]
    pub fn end_details(&self) -> Option<&'static str> {
        self.end_details.get()
    }
}

/// A stream whose frames are counted while this lives.
#[derive(Debug)]
pub struct Observed {
    observer: Rc<Observer>,
    stream: u32,
}

impl Observed {
    /// What has moved since the last call.
    #[must_use]
    pub fn take_bytes(&self) -> StreamBytes {
        let streams = &mut self.observer.seen.borrow_mut().streams;
        let known = streams.get(self.stream);
        known.map_or_else(StreamBytes::default, |known| {
            std::mem::take(&mut known.bytes)
        })
    }

    /// Polls until so many heads and so many bytes of the body were sent.
    pub fn poll_sent(&self, heads: u32, data: u64, cx: &Context<'_>) -> Poll<()> {
        let streams = &mut self.observer.seen.borrow_mut().streams;
        let is_sent = |known: &mut Known| known.heads_sent >= heads && known.data_sent >= data;
        if streams.get(self.stream).is_none_or(is_sent) {
            return Poll::Ready(());
        }
        let mut waiting = self.observer.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Notes that its message breaks the rules, where the library would have let
    /// it pass.
    pub fn note_malformed(&self) {
        let mut seen = self.observer.seen.borrow_mut();
        seen.messaging_errors += 1;
        if let Some(known) = seen.streams.get(self.stream) {
            known.is_malformed = true;
        }
        self.observer.has_news.set(true);
        if seen.closes {
            self.observer.is_over.set(true);
        }
    }

    /// Whether a message on it broke the rules.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        let streams = &mut self.observer.seen.borrow_mut().streams;
        streams
            .get(self.stream)
            .is_some_and(|known| known.is_malformed)
    }

    /// Whether the headers that came last are too large as they are on the wire,
    /// whatever else may be wrong with them.
    #[must_use]
    pub fn has_large_head(&self) -> bool {
        let seen = &mut *self.observer.seen.borrow_mut();
        let known = seen.streams.get(self.stream);
        known.is_some_and(|known| known.head_bytes > seen.head_bytes_max)
    }

    /// Whether the peer has reset it.
    #[must_use]
    pub fn is_reset_by_peer(&self) -> bool {
        let streams = &mut self.observer.seen.borrow_mut().streams;
        streams.get(self.stream).is_some_and(|known| known.is_reset)
    }

    /// Why the connection has ended, for what came on it.
    #[must_use]
    pub fn end_details(&self) -> Option<&'static str> {
        let details = self.observer.end_details()?;
        if self.is_malformed() {
            return Some(details::HTTP2_MESSAGING_RULE);
        }
        match self.observer.seen.borrow().flood {
            Some((Flood::Empty, stream)) if stream == self.stream => {
                Some(details::HTTP2_EMPTY_FRAMES)
            }
            _ => Some(details),
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.observer.seen.borrow_mut().streams.remove(self.stream);
    }
}

#[derive(Debug)]
struct Seen {
    received: FrameScanner,
    sent: FrameScanner,
    /// It is the peer who begins streams.
    begins_streams: bool,
    /// The connection ends with the first message that breaks the rules.
    closes: bool,
    /// Beyond it headers are too large, which is no mistake in them.
    head_bytes_max: u32,
    streams: KnownStreams,
    /// The last stream that the peer has begun.
    newest: u32,
    /// The last that somebody serves, or has asked for.
    newest_taken: u32,
    /// The kind of the frame that came last, and its stream.
    last_received: (u8, u32),
    /// Messages that break the rules, since they were asked for.
    messaging_errors: u64,
    /// The library has announced the end for an error of the peer's.
    has_sent_error: bool,
    /// What came last before that was a part of a stream's headers.
    ends_in_headers: bool,
    limits: FrameLimits,
    idle_in_a_row: u32,
    priorities: u64,
    window_updates: u64,
    data_sent: u64,
    /// The rest of a header block is still to be sent, with nothing in between.
    owes_headers: bool,
    /// What there is too much of, and the stream on which it was found.
    flood: Option<(Flood, u32)>,
}

/// `WINDOW_UPDATE` frames that every connection may send, as in Envoy.
const WINDOW_UPDATES_FREE: u64 = 5;

/// Codes of errors (RFC 9113 section 7).
const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;

impl Seen {
    fn new(received: FrameScanner, sent: FrameScanner, limits: FrameLimits) -> Self {
        Self {
            received,
            sent,
            begins_streams: false,
            closes: false,
            head_bytes_max: u32::MAX,
            streams: KnownStreams::default(),
            newest: 0,
            newest_taken: 0,
            last_received: (kind::SETTINGS, 0),
            messaging_errors: 0,
            has_sent_error: false,
            ends_in_headers: false,
            limits,
            idle_in_a_row: 0,
            priorities: 0,
            window_updates: 0,
            data_sent: 0,
            owes_headers: false,
            flood: None,
        }
    }

    /// Whether another frame may follow what was sent.
    fn is_between_messages(&self) -> bool {
        self.sent.is_between_frames() && !self.owes_headers
    }

    /// Gives how many of the bytes there are up to a frame that is one too many.
    fn on_received(&mut self, all: &[u8]) -> usize {
        let mut bytes = all;
        while let Some(frame) = self.received.next(&mut bytes) {
            // Nothing can be wrong with it, and it may come at any time.
            let is_acknowledgement = frame.kind == kind::SETTINGS && frame.length == 0;
            if !is_acknowledgement {
                self.last_received = (frame.kind, frame.stream);
            }
            let flood = match frame.kind {
                kind::DATA | kind::HEADERS | kind::CONTINUATION => self.on_message(&frame),
                kind::PRIORITY => self.on_priority(),
                kind::WINDOW_UPDATE => self.on_window_update(),
                _ => None,
            };
            if let Some(flood) = flood {
                self.flood = Some((flood, frame.stream));
                return all.len() - bytes.len();
            }
            let Some(known) = self.streams.get(frame.stream) else {
                continue;
            };
            known.last_received = frame.kind;
            match frame.kind {
                kind::HEADERS => {
                    known.bytes.received += frame.wire_bytes();
                    known.bytes.header_received += frame.wire_bytes();
                    known.head_bytes = frame.length;
                }
                // As in Envoy, where it is a part of the frame before it.
                kind::CONTINUATION => {
                    known.bytes.received += u64::from(frame.length);
                    known.bytes.header_received += u64::from(frame.length);
                    known.head_bytes = known.head_bytes.saturating_add(frame.length);
                }
                kind::DATA => known.bytes.received += frame.wire_bytes(),
                kind::RST_STREAM => {
                    known.bytes.received += frame.wire_bytes();
                    known.is_reset = true;
                }
                // As in Envoy, others are no part of a message.
                _ => {}
            }
        }
        all.len()
    }

    fn on_message(&mut self, frame: &Frame) -> Option<Flood> {
        // An even number is the server's, and begins nothing.
        let begins = self.begins_streams && frame.kind == kind::HEADERS && frame.stream % 2 == 1;
        if begins && frame.stream > self.newest {
            self.newest = frame.stream;
            self.streams.insert(frame.stream);
        }
        self.idle_in_a_row = match frame.is_idle() {
            true => self.idle_in_a_row.saturating_add(1),
            false => 0,
        };
        (self.idle_in_a_row > self.limits.idle_in_a_row).then_some(Flood::Empty)
    }

    fn on_priority(&mut self) -> Option<Flood> {
        self.priorities += 1;
        let each = u64::from(self.limits.priorities_per_stream);
        let streams = 1 + self.streams.count() as u64;
        (self.priorities > each * streams).then_some(Flood::Priority)
    }

    fn on_window_update(&mut self) -> Option<Flood> {
        self.window_updates += 1;
        let each = u64::from(self.limits.window_updates_per_data);
        let sent = each.saturating_mul(self.data_sent);
        let wanted = sent.saturating_add(self.streams.count() as u64);
        let max = wanted.saturating_mul(2).saturating_add(WINDOW_UPDATES_FREE);
        (self.window_updates > max).then_some(Flood::WindowUpdate)
    }

    /// Says whether anything is to be acted on.
    fn on_sent(&mut self, mut bytes: &[u8]) -> bool {
        let mut is_news = false;
        while let Some(frame) = self.sent.next(&mut bytes) {
            if frame.kind == kind::DATA {
                self.data_sent += 1;
            }
            self.owes_headers = is_of_headers(frame.kind) && frame.flags & END_HEADERS == 0;
            if let Told::GoAway(reason) = frame.told
                && reason != NO_ERROR
            {
                let (kind, stream) = self.last_received;
                self.has_sent_error = true;
                self.ends_in_headers = is_of_headers(kind) && self.streams.get(stream).is_some();
                is_news = true;
            }
            let Some(known) = self.streams.get(frame.stream) else {
                continue;
            };
            known.bytes.sent += frame.wire_bytes();
            if is_of_headers(frame.kind) {
                known.heads_sent += u32::from(frame.kind == kind::HEADERS);
                known.bytes.header_sent += frame.wire_bytes();
            } else if frame.kind == kind::DATA {
                known.data_sent += u64::from(frame.length);
            }
            if frame.told == Told::Reset(PROTOCOL_ERROR)
                && is_of_headers(known.last_received)
                && known.head_bytes <= self.head_bytes_max
                && !known.is_malformed
            {
                known.is_malformed = true;
                self.messaging_errors += 1;
                is_news = true;
            }
            if !known.is_taken {
                known.refused = known.refused.or(refusal(&frame));
                is_news = true;
            }
        }
        is_news
    }
}

/// Frames of header blocks.
fn is_of_headers(kind: u8) -> bool {
    matches!(kind, kind::HEADERS | kind::CONTINUATION)
}

/// What a frame says to a client whose stream nobody has seen.
fn refusal(frame: &Frame) -> Option<Refusal> {
    match frame.told {
        Told::Reset(REFUSED_STREAM) => Some(Refusal::TooMany),
        Told::Reset(_) => Some(Refusal::Malformed),
        // A response of the library's own.
        _ if frame.kind == kind::HEADERS => Some(Refusal::TooLarge),
        _ => None,
    }
}
