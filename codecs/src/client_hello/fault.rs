//! What clients begin with that is no ClientHello: what is wrong with it, and the
//! alert that says so, are those of BoringSSL.

use super::{
    CLIENT_HELLO, HANDSHAKE_RECORD, MESSAGE_HEADER, MESSAGE_MAX, RECORD_HEADER, RECORD_MAX,
};

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No record of TLS.
    Version,
    /// A record that is longer than an encrypted one may be.
    RecordLength,
    /// A record that is longer than one that is not encrypted may be.
    PlaintextLength,
    /// Too many records without anything in them.
    EmptyRecords,
    /// A record that is no part of a handshake.
    RecordKind,
    /// A message that no handshake begins with.
    MessageKind,
    /// A message that is too long.
    MessageLength,
    /// A ClientHello whose fields are broken.
    Malformed,
}

impl Fault {
    /// The alert that tells of it, in a record.
    #[must_use]
    pub fn alert(self) -> [u8; 7] {
        let description = match self {
            Self::Version => 70,
            Self::RecordLength | Self::PlaintextLength => 22,
            Self::EmptyRecords | Self::RecordKind | Self::MessageKind => 10,
            Self::MessageLength => 47,
            Self::Malformed => 50,
        };
        [ALERT_RECORD, MAJOR_VERSION, 1, 0, 2, 2, description]
    }
}

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The beginning of something.
    Incomplete,
    /// Nothing is wrong here with the first message.
    Sound,
    /// It is no ClientHello.
    Fault(Fault),
}

/// Looks for what is wrong in the records up to the first message.
#[derive(Debug, Default)]
pub struct FaultFinder {
    /// Bytes of records that were looked at.
    read: usize,
    empty_records: u32,
    message: Vec<u8>,
}

const ALERT_RECORD: u8 = 21;
const MAJOR_VERSION: u8 = 3;

/// BoringSSL's limit: what the oldest ciphers might have added, too.
const RECORD_LENGTH_MAX: usize = RECORD_MAX + 256 + 64;

/// BoringSSL's limit.
const EMPTY_RECORDS_MAX: u32 = 32;

impl FaultFinder {
    /// Looks at what has come since the last time; `received` is all that has come.
    pub fn read(&mut self, received: &[u8]) -> Verdict {
        loop {
            let rest = received.get(self.read..).unwrap_or_default();
            let Some((header, rest)) = rest.split_first_chunk::<RECORD_HEADER>() else {
                return Verdict::Incomplete;
            };
            let [kind, major, _, high, low] = *header;
            let length = usize::from(u16::from_be_bytes([high, low]));
            if major != MAJOR_VERSION {
                return Verdict::Fault(Fault::Version);
            }
            if length > RECORD_LENGTH_MAX {
                return Verdict::Fault(Fault::RecordLength);
            }
            let Some(plaintext) = rest.get(..length) else {
                return Verdict::Incomplete;
            };
            self.read += RECORD_HEADER + length;
            if length > RECORD_MAX {
                return Verdict::Fault(Fault::PlaintextLength);
            }
            if length == 0 {
                self.empty_records += 1;
                if self.empty_records > EMPTY_RECORDS_MAX {
                    return Verdict::Fault(Fault::EmptyRecords);
                }
                continue;
            }
            self.empty_records = 0;
            match kind {
                HANDSHAKE_RECORD => self.message.extend_from_slice(plaintext),
                ALERT_RECORD => return Verdict::Sound,
                _ => return Verdict::Fault(Fault::RecordKind),
            }
            match self.message_verdict() {
                Verdict::Incomplete => {}
                known => return known,
            }
        }
    }

    fn message_verdict(&self) -> Verdict {
        let Some((header, rest)) = self.message.split_first_chunk::<MESSAGE_HEADER>() else {
            return Verdict::Incomplete;
        };
        let length = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
        if length > MESSAGE_MAX {
            return Verdict::Fault(Fault::MessageLength);
        }
        match rest.get(..length) {
            None => Verdict::Incomplete,
            Some(_) if header[0] != CLIENT_HELLO => Verdict::Fault(Fault::MessageKind),
            Some(body) if super::extensions(body).is_none() => Verdict::Fault(Fault::Malformed),
            Some(_) => Verdict::Sound,
        }
    }
}

/// Looks at `data` at once and byte by byte, and gives what it is.
///
/// # Panics
/// When that is not the same.
pub fn check(data: &[u8]) -> Verdict {
    let whole = FaultFinder::default().read(data);
    let mut in_pieces = FaultFinder::default();
    let verdicts = (0..=data.len()).map(|end| in_pieces.read(&data[..end]));
    let known = verdicts.into_iter().find(|one| *one != Verdict::Incomplete);
    assert_eq!(whole, known.unwrap_or(Verdict::Incomplete));
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, plaintext: &[u8]) -> Vec<u8> {
        let length = (plaintext.len() as u16).to_be_bytes();
        [&[kind, 3, 1][..], &length, plaintext].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32).to_be_bytes();
        [&[kind][..], &length[1..], body].concat()
    }

    /// A body with these ciphers and what follows their compression.
    fn hello(suites: &[u8], rest: &[u8]) -> Vec<u8> {
        let length = (suites.len() as u16).to_be_bytes();
        [&[3; 34][..], &[0], &length, suites, &[1, 0], rest].concat()
    }

    #[test]
    fn what_is_no_client_hello() {
        let empty = record(22, &[]);
        let good = record(22, &message(1, &hello(&[0x13, 1], &[])));
        let halves = good[5..].chunks(20).flat_map(|part| record(22, part));
        let broken = |body: &[u8]| record(22, &message(1, body));
        for (what, data, expected) in [
            (
                "HTTP",
                b"DELETE / HTTP/1.1\r\n\r\n".to_vec(),
                Some(Fault::Version),
            ),
            ("SSL 2", vec![0x80, 46, 1, 3, 1], Some(Fault::Version)),
            (
                "a long record",
                vec![22, 3, 1, 0x41, 0x41],
                Some(Fault::RecordLength),
            ),
            (
                "long plaintext",
                record(22, &vec![0; RECORD_MAX + 1]),
                Some(Fault::PlaintextLength),
            ),
            ("nothing", empty.repeat(33), Some(Fault::EmptyRecords)),
            ("data", record(23, &[7]), Some(Fault::RecordKind)),
            (
                "two other messages",
                record(22, &[0; 8]),
                Some(Fault::MessageKind),
            ),
            (
                "a long message",
                record(22, &[1, 0, 0x40, 1]),
                Some(Fault::MessageLength),
            ),
            ("no fields", broken(&[]), Some(Fault::Malformed)),
            (
                "no ciphers",
                broken(&hello(&[], &[])),
                Some(Fault::Malformed),
            ),
            (
                "half a cipher",
                broken(&hello(&[1, 2, 3], &[])),
                Some(Fault::Malformed),
            ),
            (
                "bytes behind",
                broken(&hello(&[1, 2], &[0, 0, 9])),
                Some(Fault::Malformed),
            ),
            ("an alert", record(21, &[2, 40]), None),
            ("a good one", good.clone(), None),
            ("in pieces", halves.collect(), None),
            (
                "empty records before",
                [empty.repeat(32), good.clone()].concat(),
                None,
            ),
            (
                "what follows",
                [&good[..], b"GET / HTTP/1.1"].concat(),
                None,
            ),
        ] {
            let expected = expected.map_or(Verdict::Sound, Verdict::Fault);
            assert_eq!(check(&data), expected, "{what}");
        }
        for end in 0..good.len() {
            assert_eq!(check(&good[..end]), Verdict::Incomplete, "{end}");
        }
        let waits = [&[22, 3, 1, 0x41, 0x40][..], &[0; RECORD_MAX]].concat();
        assert_eq!(check(&waits), Verdict::Incomplete);
    }
}
