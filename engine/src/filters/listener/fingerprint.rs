//! The fingerprints of a ClientHello, as logs have them.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use ringway_codecs::client_hello::fingerprint::{Ja4, ja3};
use ringway_codecs::md5::md5;

/// JA3: MD5 in hexadecimal digits.
pub(super) fn hashed_ja3(body: &[u8]) -> Option<Box<str>> {
    let text = ja3(body)?;
    let mut hash = String::with_capacity(32);
    push_hex(&mut hash, &md5(text.as_bytes()));
    Some(hash.into())
}

/// JA4: `t13d1516h2_8daaf6152771_e5627efa2ab1`.
pub(super) fn hashed_ja4(body: &[u8]) -> Option<Box<str>> {
    let parts = Ja4::read(body)?;
    let mut text = parts.first;
    for part in [parts.suites, parts.extensions] {
        text.push('_');
        match part.is_empty() {
            true => push_hex(&mut text, &[0; SHORT_BYTES]),
            false => {
                let hash = digest::digest(&digest::SHA256, part.as_bytes());
                push_hex(&mut text, &hash.as_ref()[..SHORT_BYTES]);
            }
        }
    }
    Some(text.into())
}

/// What is left of a hash.
const SHORT_BYTES: usize = 6;

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}
