//! Handshakes whose bytes somebody changes on the way: whatever comes, either side goes
//! on or fails, and nothing panics.

use std::io::Write as _;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConnection, ServerConnection};

use super::context_tests::{Made, authority, client, named, server};
use super::exchange::{Exchange, Session};
use super::handshake::HandshakeError;
use super::{ClientContext, Notes, ServerContext};

/// What is done to the bytes of a flight.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// A byte is another one.
    Flip,
    /// What follows does not come.
    Cut,
    /// A record with a few bytes comes between, of this kind.
    Insert(u8),
    /// Some bytes come twice.
    Repeat,
    /// Its records are in pieces of a few bytes each, and one of them is in another's
    /// place.
    Swap,
}

const CHANGES: [Change; 8] = [
    Change::Flip,
    Change::Cut,
    Change::Insert(20),
    Change::Insert(21),
    Change::Insert(22),
    Change::Insert(23),
    Change::Repeat,
    Change::Swap,
];

/// The records in some bytes, the last of which may be cut short.
fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let [_, _, _, high, low, ..] = bytes {
        let length = 5 + usize::from(u16::from_be_bytes([*high, *low]));
        let (record, rest) = bytes.split_at(length.min(bytes.len()));
        found.push(record);
        bytes = rest;
    }
    found
}

/// The same messages in records of at most so many bytes, as long as they are readable:
/// what follows a change of cipher is not.
fn in_small_records(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut small = Vec::new();
    let mut is_readable = true;
    for record in records(bytes) {
        is_readable &= record[0] != 20;
        match record.split_first_chunk::<5>() {
            Some((head, body)) if is_readable && head[0] == 22 => {
                for piece in body.chunks(size) {
                    small.extend_from_slice(&head[..3]);
                    small.extend_from_slice(&u16::try_from(piece.len()).unwrap().to_be_bytes());
                    small.extend_from_slice(piece);
                }
            }
            _ => small.extend_from_slice(record),
        }
    }
    small
}

fn changed(bytes: &[u8], change: Change, rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.is_empty() {
        return bytes;
    }
    let at = rng.usize(..bytes.len());
    match change {
        Change::Flip => bytes[at] ^= 1 << rng.u8(..8),
        Change::Cut => bytes.truncate(at),
        Change::Insert(kind) => {
            let between: Vec<usize> = records(&bytes)
                .iter()
                .scan(0, |end, record| {
                    *end += record.len();
                    Some(*end)
                })
                .collect();
            let place = between[rng.usize(..between.len())].min(bytes.len());
            let length = rng.u8(..9);
            let body = (0..length).map(|_| rng.u8(..));
            let record: Vec<u8> = [kind, 3, 3, 0, length].into_iter().chain(body).collect();
            bytes.splice(place..place, record);
        }
        Change::Repeat => {
            let end = (at + rng.usize(1..40)).min(bytes.len());
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        Change::Swap => {
            let mut all = records(&bytes);
            let (one, other) = (rng.usize(..all.len()), rng.usize(..all.len()));
            all.swap(one, other);
            bytes = all.concat();
        }
    }
    bytes
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
                while !bytes.is_empty() && self.read_tls(&mut bytes).is_ok() {
                    if self.process_new_packets().is_err() {
                        return;
                    }
                }
            }

            fn written(&mut self) -> Vec<u8> {
                let mut bytes = Vec::new();
                while self.wants_write() {
                    self.write_tls(&mut bytes).unwrap();
                }
                bytes
            }
        }
    };
}

peer!(ClientConnection);
peer!(ServerConnection);

/// Shakes hands over a wire that changes one flight of the peer's.
fn shake<S: Session>(
    session: S,
    peer: &mut dyn Peer,
    change: Option<(usize, Change)>,
    small: usize,
    rng: &mut fastrand::Rng,
) -> Result<bool, HandshakeError> {
    let mut ours = Exchange::new(session, Vec::new());
    let mut noted = Notes::default();
    for flight in 0..4 {
        let over = ours.advance(&mut noted);
        let output = ours.take_output();
        if over? {
            return Ok(true);
        }
        peer.read(&output);
        let mut bytes = in_small_records(&peer.written(), small);
        if let Some((at, change)) = change
            && at == flight
        {
            bytes = changed(&bytes, change, rng);
        }
        let size = rng.usize(1..=bytes.len().max(1));
        for piece in bytes.chunks(size) {
            ours.receive(piece)?;
            if ours.advance(&mut noted)? {
                return Ok(true);
            }
            peer.read(&ours.take_output());
        }
    }
    Ok(false)
}

fn contexts(version: &str) -> (ServerContext, ClientContext) {
    let ca = Made::new(authority("ca"), None);
    let own = Made::new(named("server", &["a.test"]), Some(&ca));
    let others = Made::new(named("client", &["client.test"]), Some(&ca));
    let trusted = ca.trusted();
    let common = |made: &Made| {
        format!(
            "common_tls_context: {{ tls_params: {{ tls_minimum_protocol_version: {version}, \
             tls_maximum_protocol_version: {version} }}, validation_context: {{ {trusted} }}, \
             tls_certificates: [ {} ] }}",
            made.certificate(&[])
        )
    };
    (
        server(&format!(
            "require_client_certificate: true, {}",
            common(&own)
        )),
        client(&format!("sni: a.test, {}", common(&others))),
    )
}

#[test]
fn nothing_that_comes_is_more_than_an_error() {
    let mut rng = fastrand::Rng::with_seed(7);
    for version in ["TLSv1_2", "TLSv1_3"] {
        let (servers, clients) = contexts(version);
        let name = || clients.server_name(None, "", None);
        let mut ended = [0; 3];
        for round in 0..1_200 {
            // Every round in another way, and some as they are.
            let change = CHANGES
                .get(round % 9)
                .map(|change| (rng.usize(..3), *change));
            let small = [1, 7, 100, 16_384][round % 4];
            let outcome = if round % 2 == 0 {
                let session = UnbufferedServerConnection::new(servers.config.clone()).unwrap();
                let mut peer = ClientConnection::new(clients.config.clone(), name()).unwrap();
                peer.writer().write_all(b"a").unwrap();
                shake(session, &mut peer, change, small, &mut rng)
            } else {
                let config = clients.config.clone();
                let session = UnbufferedClientConnection::new(config, name()).unwrap();
                let mut peer = ServerConnection::new(servers.config.clone()).unwrap();
                shake(session, &mut peer, change, small, &mut rng)
            };
            match outcome {
                Ok(true) => ended[0] += 1,
                Ok(false) => ended[1] += 1,
                Err(_) => ended[2] += 1,
            }
            assert!(
                change.is_some() || matches!(outcome, Ok(true)),
                "{version}: {outcome:?}"
            );
        }
        // Every end is met.
        assert!(
            ended.iter().all(|&count| count > 20),
            "{version}: {ended:?}"
        );
    }
}
