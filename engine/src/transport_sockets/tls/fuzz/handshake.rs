//! Handshakes between us and a real peer over a wire that changes what the peer sends.

use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::sync::{Arc, LazyLock};

use ringway_config::bootstrap::{self, Snapshot};
use ringway_config::context::Cx;
use ringway_config::diagnostics::Diagnostics;
use ringway_config::load::{Format, LoadOptions, load};
use ringway_config::tls::TransportSocket;
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ClientConnection, Error, ProtocolVersion, ServerConnection};

use super::super::exchange::{Exchange, Session};
use super::super::failure;
use super::super::handshake::{Agreed, HandshakeError};
use super::super::opening::{Known, Opening};
use super::super::{ClientContext, Notes, ServerContext};
use crate::reactor::{DriverChoice, Options, Reactor};

/// How a handshake has ended for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// There is a connection.
    Agreed,
    /// There would be more to come.
    Open,
    /// It has failed.
    Failed,
}

/// The fuzz target: a byte of options, one that says in how small pieces everything
/// arrives, and changes (`Change`).
///
/// Nothing panics, whatever comes. What we send is bounded, and whole records of TLS; who
/// is turned away for what he has sent is told by an alert; a reason is one line. A handshake
/// that nobody changes succeeds, and none does without the peer's certificate.
pub fn handshake(data: &[u8]) -> Ended {
    REACTOR.with(|_| ());
    let mut input = Input(data);
    let (options, piece) = (input.byte(), input.byte());
    let contexts = &CONTEXTS[usize::from(options & 1)];
    let clients = contexts.client_config(options & 2 != 0);
    let wire = Wire {
        record_bytes: RECORD_BYTES[usize::from(options >> 2 & 3)],
        piece_bytes: match piece {
            0 => usize::MAX,
            piece => piece.into(),
        },
        changes: changes(input),
    };
    let name = || contexts.clients.server_name(None, "", None);
    let mut play = Play::default();
    let outcome = match options & 16 {
        0 => {
            let peer = ClientConnection::new(clients, name());
            let mut peer = peer.expect("a client");
            (peer.writer().write_all(b"a")).expect("room for what follows the handshake");
            play.run(Server::new(&contexts.servers), &mut peer, &wire)
        }
        _ => {
            let session = UnbufferedClientConnection::new(clients, name());
            let ours = Exchange::new(session.expect("a client"), Vec::new());
            let peer = ServerConnection::new(Arc::clone(&contexts.servers.config));
            play.run(ours, &mut peer.expect("a server"), &wire)
        }
    };
    play.check(&outcome, &contexts.servers);
    assert!(
        !wire.changes.is_empty() || matches!(outcome, Ok(true)),
        "{outcome:?}"
    );
    match outcome {
        Ok(true) => Ended::Agreed,
        Ok(false) => Ended::Open,
        Err(_) => Ended::Failed,
    }
}

/// Flights that either side sends at most.
const FLIGHTS_MAX: usize = 4;

/// The peer's messages come in records of at most so many bytes.
const RECORD_BYTES: [usize; 4] = [16_384, 100, 7, 1];

/// More than any of these handshakes sends: it has two certificates in it and, in
/// tickets, twice the client's.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// Enough to have every kind together.
const CHANGES_MAX: usize = 16;

thread_local! {
    /// Whoever looks at the time asks it. It stays to the end of the thread, where
    /// nothing is left that it could be taken down with.
    static REACTOR: ManuallyDrop<Reactor> = {
        let options = Options { driver: DriverChoice::Epoll, ..Options::default() };
        ManuallyDrop::new(Reactor::new(&options).expect("a reactor"))
    };
}

struct Contexts {
    servers: ServerContext,
    clients: ClientContext,
}

/// Of TLS 1.2, and of 1.3.
static CONTEXTS: LazyLock<[Contexts; 2]> = LazyLock::new(|| {
    let text = include_str!("../../../../fuzz/handshake.yaml");
    let loaded = load(
        text,
        "handshake.yaml",
        Format::Yaml,
        &LoadOptions::default(),
    );
    let loaded = loaded.unwrap_or_else(|found| panic!("{found}"));
    let snapshot = bootstrap::lower(&loaded).unwrap_or_else(|found| panic!("{found}"));
    let mut found = Diagnostics::new();
    let (marks, file) = (&loaded.marks, loaded.file.clone());
    let mut cx = Cx::new(&mut found, marks, file, &snapshot.names);
    let both = [0, 1].map(|number| Contexts::compile(&snapshot, number, &mut cx));
    both.map(|contexts| contexts.unwrap_or_else(|| panic!("{found}")))
});

impl Contexts {
    fn compile(snapshot: &Snapshot, number: usize, cx: &mut Cx<'_>) -> Option<Self> {
        let chain = snapshot.listeners.get(number)?.filter_chains.first()?;
        let cluster = snapshot.clusters.get(number)?;
        match (&chain.transport_socket, &cluster.transport_socket) {
            (TransportSocket::Tls(server), TransportSocket::Tls(client)) => Some(Self {
                servers: ServerContext::compile(server, cx)?,
                clients: ClientContext::compile(client, cx)?,
            }),
            _ => None,
        }
    }

    /// For one handshake: what others have left behind is not taken up. One that is
    /// `resumed` takes up the session of one that nobody has changed.
    fn client_config(&self, resumed: bool) -> Arc<ClientConfig> {
        let mut config = self.clients.config.as_ref().clone();
        config.resumption = Resumption::in_memory_sessions(4);
        let config = Arc::new(config);
        if resumed {
            let name = self.clients.server_name(None, "", None);
            let client = ClientConnection::new(Arc::clone(&config), name);
            let server = ServerConnection::new(Arc::clone(&self.servers.config));
            let (mut client, mut server) = (client.expect("a client"), server.expect("a server"));
            for _ in 0..FLIGHTS_MAX {
                server.read(&client.written());
                client.read(&server.written());
            }
        }
        config
    }
}

/// What is left of the input. Where there is nothing, everything is zero.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

/// What is done to the bytes of a flight. Places are taken modulo what there is.
#[derive(Debug)]
enum Change<'a> {
    /// A byte is another one.
    Flip { place: usize, by: u8 },
    /// What follows does not come.
    Cut { place: usize },
    /// These come between.
    Insert { place: usize, bytes: &'a [u8] },
    /// A record of this kind comes behind so many others.
    Record {
        behind: usize,
        kind: u8,
        body: &'a [u8],
    },
    /// Some bytes come twice.
    Repeat { place: usize, count: usize },
    /// Some bytes do not come.
    Remove { place: usize, count: usize },
    /// Two records change places.
    Swap { one: usize, other: usize },
    /// Something else comes.
    Replace { bytes: &'a [u8] },
}

/// Changes, each with the number of the flight that it is done to.
fn changes(mut input: Input<'_>) -> Vec<(usize, Change<'_>)> {
    let mut found = Vec::new();
    while !input.0.is_empty() && found.len() < CHANGES_MAX {
        let kind = input.byte();
        let change = match kind & 7 {
            0 => Change::Flip {
                place: input.number(),
                by: input.byte().max(1),
            },
            1 => Change::Cut {
                place: input.number(),
            },
            2 => Change::Insert {
                place: input.number(),
                bytes: {
                    let count = input.byte();
                    input.bytes(count.into())
                },
            },
            3 => Change::Record {
                behind: input.byte().into(),
                kind: input.byte(),
                body: {
                    let count = input.byte();
                    input.bytes(count.into())
                },
            },
            4 => Change::Repeat {
                place: input.number(),
                count: input.byte().into(),
            },
            5 => Change::Remove {
                place: input.number(),
                count: input.byte().into(),
            },
            6 => Change::Swap {
                one: input.byte().into(),
                other: input.byte().into(),
            },
            _ => Change::Replace {
                bytes: {
                    let count = input.number();
                    input.bytes(count)
                },
            },
        };
        found.push((usize::from(kind >> 3) % FLIGHTS_MAX, change));
    }
    found
}

impl Change<'_> {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let within = |place: usize| place % (length + 1);
        let stretch = |place, count: usize| within(place)..(within(place) + count).min(length);
        match *self {
            Self::Flip { place, by } => {
                if let Some(byte) = bytes.get_mut(place % length.max(1)) {
                    *byte ^= by;
                }
            }
            Self::Cut { place } => bytes.truncate(within(place)),
            Self::Insert { place, bytes: more } => {
                bytes.splice(within(place)..within(place), more.iter().copied());
            }
            Self::Record { behind, kind, body } => {
                let all = records(bytes);
                let behind = behind % (all.len() + 1);
                let place: usize = all[..behind].iter().map(|record| record.len()).sum();
                let record = record([kind, 3, 3], body);
                bytes.splice(place..place, record);
            }
            Self::Repeat { place, count } => {
                let again = bytes[stretch(place, count)].to_vec();
                bytes.splice(within(place)..within(place), again);
            }
            Self::Remove { place, count } => drop(bytes.drain(stretch(place, count))),
            Self::Swap { one, other } => {
                let mut all = records(bytes);
                if let count @ 1.. = all.len() {
                    all.swap(one % count, other % count);
                }
                *bytes = all.concat();
            }
            Self::Replace { bytes: other } => *bytes = other.to_vec(),
        }
    }
}

/// What lies between the peer and us.
struct Wire<'a> {
    record_bytes: usize,
    piece_bytes: usize,
    changes: Vec<(usize, Change<'a>)>,
}

impl Wire<'_> {
    /// What arrives of a flight.
    fn carry(&self, flight: usize, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = in_small_records(bytes, self.record_bytes);
        for (of, change) in &self.changes {
            if *of == flight {
                change.apply(&mut bytes);
            }
        }
        bytes
    }
}

/// The records in some bytes, the last of which may be cut short.
fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let [_, _, _, high, low, ..] = bytes {
        let length = 5 + usize::from(u16::from_be_bytes([*high, *low]));
        let (record, rest) = bytes.split_at(length.min(bytes.len()));
        found.push(record);
        bytes = rest;
    }
    if !bytes.is_empty() {
        found.push(bytes);
    }
    found
}

/// A record with these first bytes. `body` is short enough for one.
fn record(head: [u8; 3], body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    [&head, &length.to_be_bytes()[..], body].concat()
}

/// The same messages in records of at most so many bytes, as long as they are readable:
/// what follows a change of cipher is not.
fn in_small_records(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut small = Vec::new();
    let mut is_readable = true;
    for one in records(bytes) {
        is_readable &= one.first() != Some(&20);
        match one {
            [22, high, low, _, _, body @ ..] if is_readable => {
                let pieces = body.chunks(size);
                small.extend(pieces.flat_map(|piece| record([22, *high, *low], piece)));
            }
            _ => small.extend_from_slice(one),
        }
    }
    small
}

/// The other side, as rustls itself has it.
trait Peer {
    fn read(&mut self, bytes: &[u8]);
    fn written(&mut self) -> Vec<u8>;
}

macro_rules! peer {
    ($type:ty) => {
        impl Peer for $type {
            fn read(&mut self, mut bytes: &[u8]) {
                while let Ok(1..) = self.read_tls(&mut bytes) {
                    if self.process_new_packets().is_err() {
                        return;
                    }
                }
            }

            fn written(&mut self) -> Vec<u8> {
                let mut bytes = Vec::new();
                while self.wants_write() && self.write_tls(&mut bytes).is_ok() {}
                bytes
            }
        }
    };
}

peer!(ClientConnection);
peer!(ServerConnection);

/// Our side, as `handshake.rs` has it on a socket.
trait Ours {
    /// Takes what has come, and says whether the handshake is over.
    fn receive(&mut self, bytes: &[u8], noted: &mut Notes) -> Result<bool, HandshakeError>;

    /// What is to be sent.
    fn take_output(&mut self) -> Vec<u8>;

    /// What was agreed on, when it is over.
    fn finish(self, noted: &mut Notes) -> Option<Agreed>;
}

impl<S: Session> Ours for Exchange<S> {
    fn receive(&mut self, bytes: &[u8], noted: &mut Notes) -> Result<bool, HandshakeError> {
        Exchange::receive(self, bytes)?;
        self.advance(noted)
    }

    fn take_output(&mut self) -> Vec<u8> {
        Exchange::take_output(self)
    }

    fn finish(self, noted: &mut Notes) -> Option<Agreed> {
        let agreed = Agreed::new(self.state(), noted);
        let keys = self.into_keys();
        assert!(keys.is_ok(), "a handshake that is over has keys");
        agreed
    }
}

/// Us as a server, which looks at the first bytes before rustls does.
struct Server<'a> {
    context: &'a ServerContext,
    opening: Opening,
    exchange: Option<Exchange<UnbufferedServerConnection>>,
    output: Vec<u8>,
}

impl<'a> Server<'a> {
    fn new(context: &'a ServerContext) -> Self {
        Self {
            context,
            opening: Opening::new(),
            exchange: None,
            output: Vec::new(),
        }
    }
}

impl Ours for Server<'_> {
    fn receive(&mut self, bytes: &[u8], noted: &mut Notes) -> Result<bool, HandshakeError> {
        if let Some(exchange) = &mut self.exchange {
            return Ours::receive(exchange, bytes, noted);
        }
        let hello = match self.opening.read(bytes) {
            Ok(Known::NotYet) => return Ok(false),
            Ok(Known::Hello(hello)) => Some(hello),
            Ok(Known::Other) => None,
            Err(error) => {
                if let HandshakeError::NoHello(fault) = &error {
                    self.output.extend_from_slice(&fault.alert());
                }
                return Err(error);
            }
        };
        let config = Arc::clone(self.context.config_for(hello.as_ref()));
        let session = UnbufferedServerConnection::new(config)?;
        let received = std::mem::take(&mut self.opening.received);
        let exchange = self.exchange.insert(Exchange::new(session, received));
        exchange.advance(noted)
    }

    fn take_output(&mut self) -> Vec<u8> {
        match &mut self.exchange {
            Some(exchange) => exchange.take_output(),
            None => std::mem::take(&mut self.output),
        }
    }

    fn finish(self, noted: &mut Notes) -> Option<Agreed> {
        self.exchange?.finish(noted)
    }
}

/// What has become of our side.
#[derive(Default)]
struct Play {
    sent: Vec<u8>,
    noted: Notes,
    agreed: Option<Agreed>,
}

impl Play {
    /// Shakes hands, and says whether that came to an end.
    fn run(
        &mut self,
        mut ours: impl Ours,
        peer: &mut dyn Peer,
        wire: &Wire<'_>,
    ) -> Result<bool, HandshakeError> {
        // A client speaks first.
        let mut outcome = ours.receive(&[], &mut self.noted);
        for flight in 0..FLIGHTS_MAX {
            peer.read(&self.take_output(&mut ours));
            let bytes = wire.carry(flight, &peer.written());
            for piece in bytes.chunks(wire.piece_bytes) {
                if !matches!(outcome, Ok(false)) {
                    break;
                }
                outcome = ours.receive(piece, &mut self.noted);
                peer.read(&self.take_output(&mut ours));
            }
        }
        if let Ok(true) = outcome {
            self.agreed = ours.finish(&mut self.noted);
        }
        outcome
    }

    fn take_output(&mut self, ours: &mut impl Ours) -> Vec<u8> {
        let output = ours.take_output();
        self.sent.extend_from_slice(&output);
        output
    }

    fn check(&self, outcome: &Result<bool, HandshakeError>, servers: &ServerContext) {
        let sent = &self.sent;
        assert!(sent.len() <= OUTPUT_BYTES_MAX, "{} bytes", sent.len());
        let all = records(sent);
        for record in &all {
            let [20..=23, 3, _, high, low, body @ ..] = record else {
                panic!("no record: {}", record.escape_ascii());
            };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            assert_eq!(body.len(), length, "{}", record.escape_ascii());
        }
        match outcome {
            Ok(true) => {
                let agreed = self.agreed.as_ref().expect("what was agreed on");
                let own = &servers.certificates[0].certified.cert[0];
                assert_eq!(agreed.peer_certificates.first(), Some(own));
            }
            Ok(false) => {}
            Err(error) => {
                let reason = failure::reason(error);
                assert!(!reason.contains(char::is_control), "{reason:?}");
                let last = all.last().and_then(|record| record.first());
                // Whose alert has come, who has closed, and who speaks HTTP is told
                // nothing. An alert in a record that is sealed looks like anything else, and
                // some are not there with TLS 1.3 (`missing_alert`).
                assert!(
                    matches!(last, Some(21 | 23))
                        || self.noted.version == Some(ProtocolVersion::TLSv1_3)
                        || matches!(
                            error,
                            HandshakeError::Closed
                                | HandshakeError::HttpRequest
                                | HandshakeError::HttpsProxyRequest
                                | HandshakeError::Tls(Error::AlertReceived(_))
                        ),
                    "{error:?}"
                );
            }
        }
    }
}
