//! A connection whose handshake is over: plaintext for the layer above, records
//! below.
//!
//! Received records are opened in the buffers in which they arrived. What is
//! written in a turn is gathered and leaves as one record, or as few as its size
//! allows; large pieces are sealed from where they are. An idle connection owns
//! no buffer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustls::ExtractedSecrets;

use super::handshake::Keys;
use super::record::{
    ContentType, HEADER_BYTES, Opener, PLAINTEXT_BYTES_MAX, RecordError, Sealer, record_bytes,
};
use crate::reactor::{self, BeforeFlush, Chunk, Stream, WireCount};

/// Chunks of at least this size are sealed from where they are; smaller ones are
/// gathered with what is written beside them.
const GATHER_BELOW_BYTES: usize = 2048;

/// Records in a row that carry nothing for the layer above: more is an attack on our
/// time (BoringSSL's limit).
const IDLE_RECORDS_MAX: u32 = 32;

/// Bytes of a handshake message behind the handshake: a session ticket is the
/// largest.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Room for chunks that a connection keeps when it has none.
const RECEIVED_KEPT_MAX: usize = 8;

/// Gathering buffers that are kept for the next use on this thread.
const SPARES_MAX: usize = 64;

const CLOSE_NOTIFY: [u8; 2] = [1, 0];
const ACCESS_DENIED: [u8; 2] = [2, 49];
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

thread_local! {
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A TLS connection, as the layers above see it: what [`Stream`] says of its
/// functions holds here too. Byte counts are of plaintext.
pub struct TlsStream(Rc<Inner>);

struct Inner {
    socket: Stream,
    state: RefCell<State>,
}

struct State {
    keys: Keys,
    opener: Opener,
    sealer: Sealer,
    /// The beginning of a record whose rest has not arrived.
    partial: Vec<u8>,
    /// The beginning of a handshake message.
    message: Vec<u8>,
    received: VecDeque<Chunk>,
    /// The peer has sent close_notify, or FIN.
    ended: bool,
    error: Option<RecordError>,
    idle_records: u32,
    /// Written in this turn, not yet sealed.
    gathered: Vec<u8>,
    will_flush: bool,
    /// Our close_notify, or a fatal alert, was sent.
    closed: bool,
    bytes_received: u64,
    /// Of these, what the last receive brought.
    last_received: u32,
    bytes_written: u64,
    /// Who counts what is received, when it is opened.
    count: Option<WireCount>,
}

impl TlsStream {
    /// Goes on after a handshake with its `secrets`. `input` was received behind it;
    /// `received` was, too, and is plaintext already.
    pub(super) fn new(
        socket: Stream,
        keys: Keys,
        secrets: &ExtractedSecrets,
        input: &[u8],
        received: &[u8],
    ) -> Result<Self, RecordError> {
        let version = keys.version();
        let mut state = State {
            opener: Opener::new(version, secrets.rx.0, &secrets.rx.1)?,
            sealer: Sealer::new(version, secrets.tx.0, &secrets.tx.1)?,
            keys,
            partial: Vec::new(),
            message: Vec::new(),
            received: VecDeque::new(),
            ended: false,
            error: None,
            idle_records: 0,
            gathered: Vec::new(),
            will_flush: false,
            closed: false,
            bytes_received: 0,
            last_received: 0,
            bytes_written: 0,
            count: None,
        };
        if !received.is_empty() {
            state.deliver(Chunk::from(received));
        }
        let stream = Self(Rc::new(Inner {
            socket,
            state: RefCell::new(state),
        }));
        if !input.is_empty() {
            stream.0.take(Chunk::from(input));
        }
        Ok(stream)
    }

    /// See [`Stream::poll_recv`].
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        loop {
            {
                let mut state = self.0.state.borrow_mut();
                if let Some(chunk) = state.received.pop_front() {
                    return Poll::Ready(Ok(Some(chunk)));
                }
                // Idle connections keep no large lists.
                if state.received.capacity() > RECEIVED_KEPT_MAX {
                    state.received = VecDeque::new();
                }
                if let Some(error) = state.error {
                    return Poll::Ready(Err(broken(error)));
                }
                if state.ended {
                    return Poll::Ready(Ok(None));
                }
            }
            match ready!(self.0.socket.poll_recv(cx))? {
                Some(chunk) => self.0.take(chunk),
                // An end without close_notify. Envoy takes it for one, too.
                None => self.0.state.borrow_mut().ended = true,
            }
        }
    }

    /// See [`Stream::unread`].
    pub fn unread(&self, mut chunk: Chunk) {
        if !chunk.is_empty() {
            chunk.detach_if_scarce();
            self.0.state.borrow_mut().received.push_front(chunk);
        }
    }

    /// See [`Stream::poll_closed`].
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.state.borrow().is_over() {
            return Poll::Ready(());
        }
        self.0.socket.poll_closed(cx)
    }

    /// See [`Stream::has_unread`]. Opens what has arrived: a session ticket is
    /// nothing to be read.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        while self.0.state.borrow().received.is_empty() {
            match self.0.socket.try_recv() {
                Some(chunk) => self.0.take(chunk),
                None => return false,
            }
        }
        // Who asks leaves it there.
        if let Some(chunk) = self.0.state.borrow_mut().received.front_mut() {
            chunk.detach_if_scarce();
        }
        true
    }

    /// See [`Stream::is_closed`].
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.state.borrow().is_over() || self.0.socket.is_closed()
    }

    /// See [`Stream::write`].
    pub fn write(&self, bytes: &[u8]) {
        self.write_with(|gathered| gathered.extend_from_slice(bytes));
    }

    /// See [`Stream::write_with`].
    pub fn write_with(&self, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut gathered = std::mem::take(&mut self.0.state.borrow_mut().gathered);
        if gathered.capacity() == 0 {
            gathered = SPARES.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
        let before = gathered.len();
        fill(&mut gathered);
        let is_full = gathered.len() >= PLAINTEXT_BYTES_MAX;
        {
            let mut state = self.0.state.borrow_mut();
            state.bytes_written += (gathered.len() - before) as u64;
            state.gathered = gathered;
        }
        if is_full {
            self.0.seal_gathered();
        } else {
            self.flush_later();
        }
    }

    /// See [`Stream::write_chunk`].
    pub fn write_chunk(&self, chunk: &Chunk) {
        if chunk.len() < GATHER_BELOW_BYTES {
            self.write(chunk);
            return;
        }
        self.0.seal_gathered();
        self.0.state.borrow_mut().bytes_written += chunk.len() as u64;
        self.0.seal(ContentType::ApplicationData, chunk);
    }

    fn flush_later(&self) {
        let will_flush = std::mem::replace(&mut self.0.state.borrow_mut().will_flush, true);
        if !will_flush {
            reactor::before_flush(Rc::clone(&self.0) as Rc<dyn BeforeFlush>);
        }
    }

    /// See [`Stream::queued`]: what is sealed already counts as records.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.0.state.borrow().gathered.len() + self.0.socket.queued()
    }

    /// See [`Stream::poll_writable`].
    pub fn poll_writable(&self, cx: &mut Context<'_>, below: usize) -> Poll<io::Result<()>> {
        if self.queued() >= below.max(1) {
            self.0.seal_gathered();
        }
        self.0.socket.poll_writable(cx, below)
    }

    /// See [`Stream::write_error`].
    #[must_use]
    pub fn write_error(&self) -> Option<io::Error> {
        let error = self.0.state.borrow().error.map(broken);
        error.or_else(|| self.0.socket.write_error())
    }

    /// See [`Stream::poll_write_error`].
    pub fn poll_write_error(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.0.socket.poll_write_error(cx)
    }

    /// Tells the peer that nothing more comes, by close_notify and FIN.
    pub fn shutdown_write(&self) {
        self.0.close();
        self.0.socket.shutdown_write();
    }

    /// Tells the peer by an alert that it may not go on. Nothing is sent behind it.
    pub fn deny_access(&self) {
        self.0.seal_gathered();
        self.0.seal(ContentType::Alert, &ACCESS_DENIED);
        self.0.state.borrow_mut().closed = true;
    }

    /// See [`Stream::abort`].
    pub fn abort(self) {
        self.reset();
    }

    /// See [`Stream::reset`].
    pub fn reset(&self) {
        self.0.state.borrow_mut().closed = true;
        self.0.socket.reset();
    }

    /// Bytes for the layer above that have arrived.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.0.state.borrow().bytes_received
    }

    /// See [`Stream::last_received`].
    #[must_use]
    pub fn last_received(&self) -> u32 {
        self.0.state.borrow().last_received
    }

    /// Bytes of the layer above less those that are [queued](Self::queued).
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        let queued = self.queued() as u64;
        self.0.state.borrow().bytes_written.saturating_sub(queued)
    }

    /// Bytes of the layer above that were [written](Self::write), whether or not
    /// they are sent.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.0.state.borrow().bytes_written
    }

    /// Has plaintext counted as it comes and goes from now on, or not any more. What
    /// records add to it goes first where a part of them is sent.
    pub fn count_wire(&self, count: Option<WireCount>) {
        self.0.state.borrow_mut().count = count;
        self.0.socket.count_wire(count.map(|count| WireCount {
            received: None,
            ..count
        }));
        self.0.socket.leave_uncounted(self.0.socket.queued());
    }

    /// The socket, for its addresses and options.
    #[must_use]
    pub fn socket(&self) -> &Stream {
        &self.0.socket
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TlsStream").field(&self.0.socket).finish()
    }
}

impl BeforeFlush for Inner {
    fn before_flush(&self) {
        self.state.borrow_mut().will_flush = false;
        self.seal_gathered();
    }
}

impl Inner {
    /// Opens what has arrived.
    fn take(&self, chunk: Chunk) {
        let mut state = self.state.borrow_mut();
        let mut answers = Vec::new();
        let before = state.bytes_received;
        let taken = state.take(chunk, &mut answers);
        let opened = state.bytes_received - before;
        state.last_received = opened as u32;
        // What is behind the first record may stay for as long as a request takes.
        state
            .received
            .iter_mut()
            .skip(1)
            .for_each(Chunk::detach_if_scarce);
        if let Some(count) = state.count
            && let Some(received) = count.received
        {
            (count.add)(received, opened);
        }
        if let Err(error) = taken {
            state.error = Some(error);
            state.closed = true;
            if let Some(alert) = error.alert() {
                let alert = [2, alert];
                state.sealer.seal(ContentType::Alert, &alert, &mut answers);
            }
        }
        drop(state);
        if !answers.is_empty() {
            self.socket.write(&answers);
            self.socket.leave_uncounted(answers.len());
        }
    }

    fn seal_gathered(&self) {
        let mut gathered = std::mem::take(&mut self.state.borrow_mut().gathered);
        if gathered.is_empty() {
            return;
        }
        self.seal(ContentType::ApplicationData, &gathered);
        gathered.clear();
        SPARES.with_borrow_mut(|spares| {
            if spares.len() < SPARES_MAX && gathered.capacity() <= 2 * PLAINTEXT_BYTES_MAX {
                spares.push(gathered);
            }
        });
    }

    fn seal(&self, content: ContentType, plaintext: &[u8]) {
        let state = &mut *self.state.borrow_mut();
        if state.closed {
            return;
        }
        let mut added = 0;
        self.socket.write_with(|out| {
            let before = out.len();
            if state.sealer.is_worn() {
                state.change_key(out);
            }
            state.sealer.seal(content, plaintext, out);
            added = out.len() - before;
        });
        if content == ContentType::ApplicationData {
            added -= plaintext.len();
        }
        self.socket.leave_uncounted(added);
    }

    /// Sends what is gathered, and close_notify.
    fn close(&self) {
        self.seal_gathered();
        self.seal(ContentType::Alert, &CLOSE_NOTIFY);
        self.state.borrow_mut().closed = true;
    }
}

impl State {
    fn is_over(&self) -> bool {
        self.ended || self.error.is_some()
    }

    fn deliver(&mut self, chunk: Chunk) {
        self.bytes_received += chunk.len() as u64;
        self.idle_records = 0;
        self.received.push_back(chunk);
    }

    /// Opens the records in `chunk`, as far as they are complete.
    fn take(&mut self, mut chunk: Chunk, answers: &mut Vec<u8>) -> Result<(), RecordError> {
        while !chunk.is_empty() && !self.ended {
            if self.partial.is_empty()
                && let Some(bytes) = record_bytes(&chunk)?
                && bytes <= chunk.len()
            {
                let record = chunk.split_to(bytes);
                self.take_record(record, answers)?;
                continue;
            }
            // The rest of the header first, which tells how long the record is.
            let wanted = record_bytes(&self.partial)?.unwrap_or(HEADER_BYTES);
            let more = (wanted - self.partial.len()).min(chunk.len());
            self.partial.extend_from_slice(&chunk[..more]);
            chunk.advance(more);
            if record_bytes(&self.partial)? == Some(self.partial.len()) {
                let record = std::mem::take(&mut self.partial);
                self.take_record(Chunk::from(&record[..]), answers)?;
            }
        }
        Ok(())
    }

    fn take_record(&mut self, mut record: Chunk, answers: &mut Vec<u8>) -> Result<(), RecordError> {
        if record.bytes_mut().is_none() {
            record = Chunk::from(&record[..]);
        }
        let bytes = record.bytes_mut().ok_or(RecordError::Decode)?;
        let (content, plaintext) = self.opener.open(bytes)?;
        record.truncate(plaintext.end);
        record.advance(plaintext.start);
        if content != ContentType::ApplicationData || record.is_empty() {
            self.idle_records += 1;
            if self.idle_records > IDLE_RECORDS_MAX {
                return Err(RecordError::Unexpected);
            }
        }
        // Messages of the handshake are not interrupted (RFC 8446 section 5.1).
        if content != ContentType::Handshake && !self.message.is_empty() {
            return Err(RecordError::Unexpected);
        }
        match content {
            ContentType::ApplicationData if record.is_empty() => Ok(()),
            ContentType::ApplicationData => {
                self.deliver(record);
                Ok(())
            }
            ContentType::ChangeCipherSpec if self.is_tls13() => Ok(()),
            ContentType::ChangeCipherSpec => Err(RecordError::Unexpected),
            ContentType::Alert => self.on_alert(&record),
            ContentType::Handshake => self.on_handshake(&record, answers),
        }
    }

    fn is_tls13(&self) -> bool {
        self.keys.version() == rustls::ProtocolVersion::TLSv1_3
    }

    fn on_alert(&mut self, alert: &[u8]) -> Result<(), RecordError> {
        let [level, description] = *alert else {
            return Err(RecordError::Decode);
        };
        // user_canceled, and warnings of TLS 1.2, end nothing.
        let is_warning = description == 90 || (level == 1 && !self.is_tls13());
        if description == CLOSE_NOTIFY[1] {
            self.ended = true;
        } else if !is_warning {
            return Err(RecordError::PeerAlert);
        }
        Ok(())
    }

    fn on_handshake(&mut self, bytes: &[u8], answers: &mut Vec<u8>) -> Result<(), RecordError> {
        // TLS 1.2 knows only renegotiation here, which is not done.
        if !self.is_tls13() || bytes.is_empty() {
            return Err(RecordError::Unexpected);
        }
        let mut message = std::mem::take(&mut self.message);
        message.extend_from_slice(bytes);
        let mut rest = &message[..];
        while let Some(([kind, length @ ..], body)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
            if length > MESSAGE_BYTES_MAX {
                return Err(RecordError::Overflow);
            }
            let Some((body, behind)) = body.split_at_checked(length) else {
                break;
            };
            // A change of keys is the last thing that the old ones protect.
            let is_last = behind.is_empty();
            match (*kind, &mut self.keys) {
                (NEW_SESSION_TICKET, Keys::Client(keys)) => keys
                    .handle_new_session_ticket(body)
                    .map_err(|_| RecordError::Decode)?,
                (KEY_UPDATE, _) if is_last => self.on_key_update(body, answers)?,
                _ => return Err(RecordError::Unexpected),
            }
            rest = behind;
        }
        self.message = rest.to_vec();
        Ok(())
    }

    fn on_key_update(&mut self, body: &[u8], answers: &mut Vec<u8>) -> Result<(), RecordError> {
        let wants_ours = match body {
            [0] => false,
            [1] => true,
            _ => return Err(RecordError::Decode),
        };
        let (sequence, secrets) = match &mut self.keys {
            Keys::Server(keys) => keys.update_rx_secret(),
            Keys::Client(keys) => keys.update_rx_secret(),
        }
        .map_err(|_| RecordError::Unexpected)?;
        self.opener = Opener::new(self.keys.version(), sequence, &secrets)?;
        if wants_ours && !self.closed {
            self.change_key(answers);
        }
        Ok(())
    }

    /// Tells the peer that another key follows, and takes it.
    fn change_key(&mut self, out: &mut Vec<u8>) {
        let changed = match &mut self.keys {
            Keys::Server(keys) => keys.update_tx_secret(),
            Keys::Client(keys) => keys.update_tx_secret(),
        };
        // Only TLS 1.3 changes keys, and there it cannot fail.
        if let Ok((sequence, secrets)) = changed
            && let Ok(sealer) = Sealer::new(self.keys.version(), sequence, &secrets)
        {
            let message = [KEY_UPDATE, 0, 0, 1, 0];
            self.sealer.seal(ContentType::Handshake, &message, out);
            self.sealer = sealer;
        }
    }
}

fn broken(error: RecordError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.reason())
}
