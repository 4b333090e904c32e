//! The first message of a TLS connection (RFC 8446 section 4.1.2), as far as
//! connections are told apart by it: which server is asked for, and for which
//! protocols.
//!
//! [`ClientHelloReader`] takes bytes as they arrive, in pieces of any size, and
//! says as soon as it can what they are. It keeps the message, not the bytes
//! around it, and no more than its limit.

pub mod fault;
pub mod fingerprint;
pub mod fuzz;
#[cfg(test)]
mod tests;

/// What a client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The name of the server (RFC 6066 section 3), as it was sent.
    pub server_name: Option<Box<str>>,
    /// The protocols of the layer above, best first (RFC 7301 section 3.1).
    pub protocols: Vec<Box<[u8]>>,
    /// The server's certificate is to come with a response of OCSP (RFC 6066
    /// section 8).
    pub asks_for_staple: bool,
}

/// What the bytes so far are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The beginning of a ClientHello, as far as can be said.
    Incomplete,
    /// A whole one.
    Complete(ClientHello),
    /// Something else, or a ClientHello that is broken.
    NotTls,
    /// More than is read of one.
    TooLarge,
}

/// Reads a ClientHello out of its records (RFC 8446 section 5.1).
#[derive(Debug)]
pub struct ClientHelloReader {
    /// What has arrived of the current record's header.
    header: [u8; RECORD_HEADER],
    header_len: usize,
    /// What is still to come of the current record.
    record_left: usize,
    /// The message, with its own header.
    message: Vec<u8>,
    bytes_max: usize,
    bytes: usize,
}

const RECORD_HEADER: usize = 5;
/// The version and the random number that a message begins with.
const VERSION_AND_RANDOM: usize = 2 + 32;
/// Type and length of the message.
const MESSAGE_HEADER: usize = 4;
const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// RFC 8446 section 5.1: a record of plaintext holds no more.
const RECORD_MAX: usize = 1 << 14;
/// What BoringSSL takes of a message.
const MESSAGE_MAX: usize = 1 << 14;

/// The largest ClientHello that Envoy reads, records and all.
pub const CLIENT_HELLO_BYTES_MAX: usize = 16 * 1024;

impl ClientHelloReader {
    /// A reader that takes at most `bytes_max` bytes, records and all.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            header: [0; RECORD_HEADER],
            header_len: 0,
            record_left: 0,
            message: Vec::new(),
            bytes_max,
            bytes: 0,
        }
    }

    /// Bytes that it has looked at.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The message without its header, once it is complete.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        let Some((header, rest)) = self.message.split_at_checked(MESSAGE_HEADER) else {
            return &[];
        };
        let length = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
        rest.get(..length).unwrap_or_default()
    }

    /// Reads on. After another answer than [`Progress::Incomplete`] there is
    /// nothing more to read.
    pub fn read(&mut self, mut received: &[u8]) -> Progress {
        loop {
            if self.record_left == 0 {
                let missing = RECORD_HEADER - self.header_len;
                let taken = missing.min(received.len());
                let (header, rest) = received.split_at(taken);
                self.header[self.header_len..][..taken].copy_from_slice(header);
                self.header_len += taken;
                self.bytes += taken;
                received = rest;
                if !self.may_be_record() {
                    return Progress::NotTls;
                }
                if self.header_len < RECORD_HEADER {
                    return Progress::Incomplete;
                }
                self.record_left =
                    usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
                self.header_len = 0;
                if self.bytes + self.record_left > self.bytes_max {
                    return Progress::TooLarge;
                }
            }
            let taken = self.record_left.min(received.len());
            let (part, rest) = received.split_at(taken);
            self.message.extend_from_slice(part);
            self.record_left -= taken;
            self.bytes += taken;
            received = rest;
            // What is in a record is looked at when all of it is there, as BoringSSL does.
            if self.record_left > 0 {
                return Progress::Incomplete;
            }
            match self.message_state() {
                Progress::Incomplete => {}
                known => return known,
            }
        }
    }

    /// Whether what has come of a record's header may begin one.
    fn may_be_record(&self) -> bool {
        const MAJOR_VERSION: u8 = 3;
        let known = &self.header[..self.header_len];
        let is_handshake = known.first().is_none_or(|kind| *kind == HANDSHAKE_RECORD);
        let has_version = known.get(1).is_none_or(|major| *major == MAJOR_VERSION);
        let has_length = known.get(3..5).is_none_or(|length| {
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            (1..=RECORD_MAX).contains(&length)
        });
        is_handshake && has_version && has_length
    }

    fn message_state(&self) -> Progress {
        let Some(header) = self.message.get(..MESSAGE_HEADER) else {
            return match self.message.first() {
                None | Some(&CLIENT_HELLO) => Progress::Incomplete,
                Some(_) => Progress::NotTls,
            };
        };
        if header[0] != CLIENT_HELLO {
            return Progress::NotTls;
        }
        let length = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
        if length > MESSAGE_MAX {
            return Progress::NotTls;
        }
        match self.message[MESSAGE_HEADER..].get(..length) {
            None => Progress::Incomplete,
            Some(body) => match parse(body) {
                Some(hello) => Progress::Complete(hello),
                None => Progress::NotTls,
            },
        }
    }
}

/// The fields of a message that is complete; `None` when it is broken.
fn parse(body: &[u8]) -> Option<ClientHello> {
    const SERVER_NAME: u16 = 0;
    const STATUS_REQUEST: u16 = 5;
    const PROTOCOLS: u16 = 16;
    let mut hello = ClientHello::default();
    for (kind, data) in extensions(body)? {
        match kind {
            SERVER_NAME => hello.server_name = Some(server_name(data)?),
            STATUS_REQUEST => hello.asks_for_staple = true,
            PROTOCOLS => hello.protocols = protocols(data)?,
            _ => {}
        }
    }
    Some(hello)
}

/// Kinds and contents of the extensions; `None` when the fields around them are broken,
/// or one is there twice.
fn extensions(body: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut fields = Fields(body);
    fields.take(VERSION_AND_RANDOM)?;
    let session = fields.with_u8_length()?;
    let suites = fields.with_u16_length()?;
    let compression = fields.with_u8_length()?;
    if session.len() > 32 || suites.is_empty() || suites.len() % 2 != 0 || compression.is_empty() {
        return None;
    }
    let mut found = Vec::new();
    if fields.0.is_empty() {
        // Old clients have no extensions at all.
        return Some(found);
    }
    let mut extensions = Fields(fields.with_u16_length()?);
    if !fields.0.is_empty() {
        return None;
    }
    while !extensions.0.is_empty() {
        found.push((extensions.u16()?, extensions.with_u16_length()?));
    }
    let mut kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
    kinds.sort_unstable();
    let is_twice = kinds.windows(2).any(|pair| pair[0] == pair[1]);
    (!is_twice).then_some(found)
}

/// The list of names has had one kind of name for ever, and one name.
fn server_name(data: &[u8]) -> Option<Box<str>> {
    const HOST_NAME: u8 = 0;
    const LENGTH_MAX: usize = 255;
    let mut fields = Fields(data);
    let mut list = Fields(fields.with_u16_length()?);
    let kind = list.u8()?;
    let name = list.with_u16_length()?;
    let is_whole = fields.0.is_empty() && list.0.is_empty();
    let is_name = (1..=LENGTH_MAX).contains(&name.len()) && !name.contains(&0);
    if !is_whole || kind != HOST_NAME || !is_name {
        return None;
    }
    std::str::from_utf8(name).ok().map(Box::from)
}

fn protocols(data: &[u8]) -> Option<Vec<Box<[u8]>>> {
    let mut fields = Fields(data);
    let mut list = Fields(fields.with_u16_length()?);
    let mut protocols = Vec::new();
    if !fields.0.is_empty() || list.0.is_empty() {
        return None;
    }
    while !list.0.is_empty() {
        let name = list.with_u8_length()?;
        if name.is_empty() {
            return None;
        }
        protocols.push(name.into());
    }
    Some(protocols)
}

/// Fields from the front of what is left.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|field| field[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)
            .map(|field| u16::from_be_bytes([field[0], field[1]]))
    }

    fn with_u8_length(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    fn with_u16_length(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}
