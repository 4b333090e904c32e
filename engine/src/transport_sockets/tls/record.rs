//! Record protection (RFC 8446 section 5, RFC 5246 section 6.2): what a connection
//! sends and receives once its handshake is over.
//!
//! rustls makes the handshake and every key; from there on records are opened
//! where they were received and sealed where they are sent from. rustls's own way
//! copies each record twice more and allocates for it.

use std::ops::Range;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

/// Bytes of a record's header: content type, version, length.
pub const HEADER_BYTES: usize = 5;

/// The largest plaintext of a record.
pub const PLAINTEXT_BYTES_MAX: usize = 16 * 1024;

/// The largest body of a record: RFC 8446 allows 256 bytes more than the plaintext,
/// RFC 5246 2,048; none of the ciphers here needs more than the former.
const BODY_BYTES_MAX: usize = PLAINTEXT_BYTES_MAX + 256;

/// Bytes of the authentication tag of every cipher here.
const TAG_BYTES: usize = 16;

/// The part of a nonce that TLS 1.2 sends in each record of AES-GCM.
const EXPLICIT_NONCE_BYTES: usize = 8;

/// Records that AES-GCM protects with one key before it is to be changed
/// (RFC 8446 section 5.5 has 2^24.5).
const RECORDS_PER_KEY_MAX: u64 = if cfg!(test) { 8 } else { 1 << 24 };

/// What TLS 1.2 and 1.3 write in front of every record behind a handshake.
const VERSION: [u8; 2] = [3, 3];

/// What a record carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ContentType {
    /// Ignored since TLS 1.3.
    ChangeCipherSpec = 20,
    /// The end of the connection, or an error.
    Alert = 21,
    /// Session tickets, changes of keys.
    Handshake = 22,
    /// Bytes of the layer above.
    ApplicationData = 23,
}

impl ContentType {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            20 => Some(Self::ChangeCipherSpec),
            21 => Some(Self::Alert),
            22 => Some(Self::Handshake),
            23 => Some(Self::ApplicationData),
            _ => None,
        }
    }
}

/// Why a record cannot be used; each ends the connection with an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordError {
    /// Its length or that of its plaintext is above the limit.
    Overflow,
    /// It says that it is of another version.
    Version,
    /// It was not made with the keys of this connection, or was changed.
    BadMac,
    /// Its type has no place here.
    Unexpected,
    /// What it carries is not understood.
    Decode,
    /// It says that the peer has given up.
    PeerAlert,
}

impl RecordError {
    /// The alert that tells the peer (RFC 8446 section 6.2), if it is to be told.
    #[must_use]
    pub fn alert(self) -> Option<u8> {
        match self {
            Self::Unexpected => Some(10),
            Self::BadMac => Some(20),
            Self::Overflow => Some(22),
            Self::Decode => Some(50),
            Self::Version => Some(70),
            Self::PeerAlert => None,
        }
    }

    /// As OpenSSL and BoringSSL call it.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Overflow => "DATA_LENGTH_TOO_LONG",
            Self::BadMac => "BAD_DECRYPT",
            Self::Unexpected => "UNEXPECTED_MESSAGE",
            Self::Decode => "DECODE_ERROR",
            Self::Version => "WRONG_VERSION_NUMBER",
            Self::PeerAlert => "ALERT",
        }
    }
}

/// Length of the record that `bytes` begin with, its header included; `None` while
/// the header is incomplete.
///
/// # Errors
/// The header announces more than a record may have, or another version.
pub fn record_bytes(bytes: &[u8]) -> Result<Option<usize>, RecordError> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    if header[1..3] != VERSION {
        return Err(RecordError::Version);
    }
    let body = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if body > BODY_BYTES_MAX {
        return Err(RecordError::Overflow);
    }
    Ok(Some(HEADER_BYTES + body))
}

/// How nonces and additional data are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Tls13,
    /// TLS 1.2 with AES-GCM, which sends half of the nonce.
    Tls12Explicit,
    /// TLS 1.2 with ChaCha20-Poly1305.
    Tls12,
}

/// One direction's key.
struct Protection {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    scheme: Scheme,
    sequence: u64,
}

impl Protection {
    fn new(
        version: ProtocolVersion,
        sequence: u64,
        secrets: &ConnectionTrafficSecrets,
    ) -> Result<Self, RecordError> {
        let tls13 = version == ProtocolVersion::TLSv1_3;
        let (algorithm, key, iv, is_gcm) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv, true),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv, true),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&CHACHA20_POLY1305, key, iv, false)
            }
            _ => return Err(RecordError::Unexpected),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| RecordError::Unexpected)?;
        let iv = iv
            .as_ref()
            .try_into()
            .map_err(|_| RecordError::Unexpected)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            iv,
            scheme: match (tls13, is_gcm) {
                (true, _) => Scheme::Tls13,
                (false, true) => Scheme::Tls12Explicit,
                (false, false) => Scheme::Tls12,
            },
            sequence,
        })
    }

    /// The nonce of the next record: its number, mixed with what both sides know.
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// What TLS 1.2 authenticates beside a record's body.
    fn tls12_data(&self, content: u8, plaintext_bytes: usize) -> [u8; 13] {
        let mut data = [0; 13];
        data[..8].copy_from_slice(&self.sequence.to_be_bytes());
        data[8..11].copy_from_slice(&[content, 3, 3]);
        data[11..].copy_from_slice(&(plaintext_bytes as u16).to_be_bytes());
        data
    }
}

/// Opens records in the order in which the peer sealed them.
pub struct Opener(Protection);

impl Opener {
    /// With the secrets of a direction, from the record with that number on.
    ///
    /// # Errors
    /// A cipher that is not known here.
    pub fn new(
        version: ProtocolVersion,
        sequence: u64,
        secrets: &ConnectionTrafficSecrets,
    ) -> Result<Self, RecordError> {
        Protection::new(version, sequence, secrets).map(Self)
    }

    /// Opens a whole record in place, and says where in it the plaintext lies.
    ///
    /// # Errors
    /// The connection cannot go on.
    pub fn open(&mut self, record: &mut [u8]) -> Result<(ContentType, Range<usize>), RecordError> {
        let (header, body) = record
            .split_first_chunk_mut::<HEADER_BYTES>()
            .ok_or(RecordError::Decode)?;
        // RFC 8446 appendix D.4: middleboxes may still see it, nobody reads it.
        if self.0.scheme == Scheme::Tls13 && header[0] == ContentType::ChangeCipherSpec as u8 {
            return match body {
                [1] => Ok((ContentType::ChangeCipherSpec, 0..0)),
                _ => Err(RecordError::Unexpected),
            };
        }
        let (content, range) = match self.0.scheme {
            Scheme::Tls13 => self.open_tls13(*header, body)?,
            Scheme::Tls12Explicit | Scheme::Tls12 => self.open_tls12(header[0], body)?,
        };
        if range.len() > PLAINTEXT_BYTES_MAX {
            return Err(RecordError::Overflow);
        }
        self.0.sequence += 1;
        Ok((
            content,
            HEADER_BYTES + range.start..HEADER_BYTES + range.end,
        ))
    }

    fn open_tls13(
        &self,
        header: [u8; HEADER_BYTES],
        body: &mut [u8],
    ) -> Result<(ContentType, Range<usize>), RecordError> {
        if header[0] != ContentType::ApplicationData as u8 {
            return Err(RecordError::Unexpected);
        }
        let nonce = Nonce::assume_unique_for_key(self.0.nonce());
        let opened = self
            .0
            .key
            .open_in_place(nonce, Aad::from(header), body)
            .map_err(|_| RecordError::BadMac)?;
        // The type is the last byte that is not zero; what is behind it is padding.
        let end = opened
            .iter()
            .rposition(|byte| *byte != 0)
            .ok_or(RecordError::Unexpected)?;
        let content = ContentType::from_byte(opened[end])
            .filter(|content| *content != ContentType::ChangeCipherSpec)
            .ok_or(RecordError::Unexpected)?;
        Ok((content, 0..end))
    }

    fn open_tls12(
        &self,
        content: u8,
        body: &mut [u8],
    ) -> Result<(ContentType, Range<usize>), RecordError> {
        let content = ContentType::from_byte(content).ok_or(RecordError::Unexpected)?;
        let mut nonce = self.0.nonce();
        let skipped = if self.0.scheme == Scheme::Tls12Explicit {
            let explicit = body
                .first_chunk::<EXPLICIT_NONCE_BYTES>()
                .ok_or(RecordError::BadMac)?;
            nonce = self.0.iv;
            nonce[NONCE_LEN - EXPLICIT_NONCE_BYTES..].copy_from_slice(explicit);
            EXPLICIT_NONCE_BYTES
        } else {
            0
        };
        let plaintext_bytes = body
            .len()
            .checked_sub(skipped + TAG_BYTES)
            .ok_or(RecordError::BadMac)?;
        let data = self.0.tls12_data(content as u8, plaintext_bytes);
        self.0
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(data),
                &mut body[skipped..],
            )
            .map_err(|_| RecordError::BadMac)?;
        Ok((content, skipped..skipped + plaintext_bytes))
    }
}

/// Seals records.
pub struct Sealer(Protection);

impl Sealer {
    /// As [`Opener::new`].
    ///
    /// # Errors
    /// A cipher that is not known here.
    pub fn new(
        version: ProtocolVersion,
        sequence: u64,
        secrets: &ConnectionTrafficSecrets,
    ) -> Result<Self, RecordError> {
        Protection::new(version, sequence, secrets).map(Self)
    }

    /// Whether the key has protected as many records as it should.
    #[must_use]
    pub fn is_worn(&self) -> bool {
        self.0.scheme == Scheme::Tls13 && self.0.sequence >= RECORDS_PER_KEY_MAX
    }

    /// Appends `plaintext` to `out` as records, as large as they may be.
    pub fn seal(&mut self, content: ContentType, plaintext: &[u8], out: &mut Vec<u8>) {
        for piece in plaintext.chunks(PLAINTEXT_BYTES_MAX) {
            self.seal_record(content, piece, out);
        }
    }

    fn seal_record(&mut self, content: ContentType, plaintext: &[u8], out: &mut Vec<u8>) {
        let nonce = self.0.nonce();
        let begin = out.len();
        let (outer, explicit, inner) = match self.0.scheme {
            Scheme::Tls13 => (ContentType::ApplicationData, 0, 1),
            Scheme::Tls12Explicit => (content, EXPLICIT_NONCE_BYTES, 0),
            Scheme::Tls12 => (content, 0, 0),
        };
        let body_bytes = explicit + plaintext.len() + inner + TAG_BYTES;
        out.reserve(HEADER_BYTES + body_bytes);
        let [high, low] = (body_bytes as u16).to_be_bytes();
        let header = [outer as u8, VERSION[0], VERSION[1], high, low];
        out.extend_from_slice(&header);
        out.extend_from_slice(&nonce[NONCE_LEN - explicit..]);
        out.extend_from_slice(plaintext);
        if inner == 1 {
            out.push(content as u8);
        }
        let sealed = &mut out[begin + HEADER_BYTES + explicit..];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = if self.0.scheme == Scheme::Tls13 {
            let data = Aad::from(header);
            self.0.key.seal_in_place_separate_tag(nonce, data, sealed)
        } else {
            let data = Aad::from(self.0.tls12_data(content as u8, plaintext.len()));
            self.0.key.seal_in_place_separate_tag(nonce, data, sealed)
        };
        // It fails for plaintexts of many gigabytes only.
        let tag = tag.expect("a record is small enough for every cipher");
        out.extend_from_slice(tag.as_ref());
        self.0.sequence += 1;
    }
}
