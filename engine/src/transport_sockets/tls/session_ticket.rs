//! Session tickets (RFC 5077 section 4): what a client keeps of a session, under keys
//! that only we have, so that every worker, and every server with the same keys, can
//! take it up again.

use std::fmt;

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hmac, rand};
use rustls::server::ProducesTickets;

/// Bytes of a key: its name, then the secret that signs, then the one that encrypts.
pub(super) const KEY_BYTES: usize = NAME_BYTES + MAC_BYTES + CIPHER_KEY_BYTES;
const NAME_BYTES: usize = 16;
const CIPHER_KEY_BYTES: usize = 32;

/// What is around the encrypted session.
const IV_BYTES: usize = 16;
const MAC_BYTES: usize = 32;

/// The largest session that is opened: ours hold a chain of certificates at most.
const TICKET_BYTES_MAX: usize = 64 * 1024;

/// Envoy's default: two hours (BoringSSL's `SSL_DEFAULT_SESSION_TIMEOUT`).
const LIFETIME_SECONDS: u32 = 2 * 60 * 60;

/// The keys of a context.
pub(super) struct TicketKeys {
    /// The first encrypts.
    keys: Vec<Key>,
    /// What a session must have been made for: one of another context may have asked
    /// less of its client (CVE-2025-23419), even if the keys are the same.
    context: [u8; 32],
    lifetime: u32,
}

struct Key {
    name: [u8; NAME_BYTES],
    mac: hmac::Key,
    encrypt: PaddedBlockEncryptingKey,
    decrypt: PaddedBlockDecryptingKey,
}

impl Key {
    fn new(bytes: &[u8; KEY_BYTES]) -> Option<Self> {
        let (name, rest) = bytes.split_first_chunk::<NAME_BYTES>()?;
        let (mac, cipher) = rest.split_at(MAC_BYTES);
        let cipher_key = || UnboundCipherKey::new(&AES_256, cipher).ok();
        Some(Self {
            name: *name,
            mac: hmac::Key::new(hmac::HMAC_SHA256, mac),
            encrypt: PaddedBlockEncryptingKey::cbc_pkcs7(cipher_key()?).ok()?,
            decrypt: PaddedBlockDecryptingKey::cbc_pkcs7(cipher_key()?).ok()?,
        })
    }
}

impl TicketKeys {
    /// Keys of the configuration; `None` if the library refuses one.
    pub(super) fn new(
        keys: &[[u8; KEY_BYTES]],
        context: [u8; 32],
        lifetime: Option<u32>,
    ) -> Option<Self> {
        Some(Self {
            keys: keys.iter().map(Key::new).collect::<Option<_>>()?,
            context,
            lifetime: lifetime.unwrap_or(LIFETIME_SECONDS),
        })
    }

    /// A key that nobody else has.
    pub(super) fn generate(context: [u8; 32], lifetime: Option<u32>) -> Option<Self> {
        let mut key = [0; KEY_BYTES];
        rand::fill(&mut key).ok()?;
        Self::new(&[key], context, lifetime)
    }

    fn sign(&self, key: &Key, ticket: &[u8]) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&key.mac);
        mac.update(&self.context);
        mac.update(ticket);
        mac.sign()
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut encrypted = plain.to_vec();
        let context = key.encrypt.encrypt(&mut encrypted).ok()?;
        let DecryptionContext::Iv128(iv) = context else {
            return None;
        };
        let mut ticket = Vec::with_capacity(NAME_BYTES + IV_BYTES + encrypted.len() + MAC_BYTES);
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(iv.as_ref());
        ticket.extend_from_slice(&encrypted);
        let tag = self.sign(key, &ticket);
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (signed, tag) = ticket.split_last_chunk::<MAC_BYTES>()?;
        let (name, rest) = signed.split_first_chunk::<NAME_BYTES>()?;
        let (iv, encrypted) = rest.split_first_chunk::<IV_BYTES>()?;
        let key = self.keys.iter().find(|key| key.name == *name)?;
        let expected = self.sign(key, signed);
        constant_time::verify_slices_are_equal(expected.as_ref(), tag).ok()?;
        let mut encrypted = encrypted.to_vec();
        let context = DecryptionContext::Iv128(FixedLength::from(iv));
        let plain = key.decrypt.decrypt(&mut encrypted, context).ok()?;
        Some(plain.to_vec())
    }
}

/// Secrets are not for logs.
impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys")
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[u8], context: u8) -> TicketKeys {
        let keys: Vec<_> = names.iter().map(|name| [*name; KEY_BYTES]).collect();
        TicketKeys::new(&keys, [context; 32], Some(60)).expect("keys")
    }

    #[test]
    fn the_first_key_encrypts_and_all_decrypt() {
        let (old, both, new) = (keys(&[1], 0), keys(&[2, 1], 0), keys(&[2], 0));
        let ticket = old.encrypt(b"session").expect("a ticket");
        assert_eq!(both.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(new.decrypt(&ticket), None);
        let ticket = both.encrypt(b"").expect("a ticket");
        assert_eq!(new.decrypt(&ticket).as_deref(), Some(&b""[..]));
        assert_eq!(old.decrypt(&ticket), None);
        assert_eq!(new.lifetime(), 60);
    }

    #[test]
    fn a_ticket_of_another_context_is_none() {
        let ticket = keys(&[1], 0).encrypt(b"session").expect("a ticket");
        assert_eq!(keys(&[1], 1).decrypt(&ticket), None);
    }

    #[test]
    fn a_generated_key_is_its_own() {
        let make = || TicketKeys::generate([0; 32], None).expect("a key");
        let (one, other) = (make(), make());
        let ticket = one.encrypt(b"session").expect("a ticket");
        assert_eq!(one.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(other.decrypt(&ticket), None);
        assert_eq!(one.lifetime(), 7200);
    }

    #[test]
    fn nothing_else_is_a_ticket() {
        let keys = keys(&[1], 0);
        let ticket = keys.encrypt(b"session").expect("a ticket");
        for end in 0..ticket.len() {
            assert_eq!(keys.decrypt(&ticket[..end]), None, "{end} bytes");
        }
        for place in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert_eq!(keys.decrypt(&changed), None, "byte {place}");
        }
        assert_eq!(keys.decrypt(&vec![1; TICKET_BYTES_MAX + 1]), None);
    }
}
