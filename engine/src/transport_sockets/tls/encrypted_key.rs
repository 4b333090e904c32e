//! Private keys that need a password, opened by the library that BoringSSL and aws-lc
//! share: whatever openssl has encrypted, in PKCS #8 or in the form before it, opens
//! here as it does in Envoy. rustls has no part that does this, and aws-lc-rs none
//! that shows it.

use std::ffi::CString;
use std::ptr::{self, NonNull};

use aws_lc_sys as ffi;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The first key of a PEM file, in PKCS #8; `None` if there is none that this password
/// opens. One that needs no password opens with any.
pub(super) fn open(pem: &[u8], password: &[u8]) -> Option<PrivateKeyDer<'static>> {
    let key = Key::read(pem, password);
    // What went wrong is of no use to whoever looks at the thread's errors next.
    // SAFETY: it only forgets them.
    unsafe { ffi::ERR_clear_error() };
    let der = key?.marshal()?;
    Some(PrivatePkcs8KeyDer::from(der).into())
}

/// A key that the library has read.
struct Key(NonNull<ffi::EVP_PKEY>);

impl Key {
    fn read(pem: &[u8], password: &[u8]) -> Option<Self> {
        // For the library, as for Envoy, the password ends there.
        let end = password.iter().position(|byte| *byte == 0);
        let password = CString::new(&password[..end.unwrap_or(password.len())]).ok()?;
        let length = isize::try_from(pem.len()).ok()?;
        // SAFETY: the file is borrowed by `bio`, which does not outlive it. Without a
        // callback the library takes the last argument for a text that ends with NUL,
        // and copies it.
        unsafe {
            let bio = NonNull::new(ffi::BIO_new_mem_buf(pem.as_ptr().cast(), length))?;
            let text = password.as_ptr().cast_mut().cast();
            let key = ffi::PEM_read_bio_PrivateKey(bio.as_ptr(), ptr::null_mut(), None, text);
            ffi::BIO_free(bio.as_ptr());
            NonNull::new(key).map(Self)
        }
    }

    /// The key in DER (RFC 5958).
    fn marshal(&self) -> Option<Vec<u8>> {
        // SAFETY: zeros are what a builder is before it is set up, and what may be
        // cleaned up. After success the library owns nothing of it, and the bytes are
        // ours to free.
        unsafe {
            let mut builder: ffi::CBB = std::mem::zeroed();
            let (mut bytes, mut length) = (ptr::null_mut(), 0);
            let made = ffi::CBB_init(&raw mut builder, 0) == 1
                && ffi::EVP_marshal_private_key(&raw mut builder, self.0.as_ptr()) == 1
                && ffi::CBB_finish(&raw mut builder, &raw mut bytes, &raw mut length) == 1;
            if !made {
                ffi::CBB_cleanup(&raw mut builder);
                return None;
            }
            let der = std::slice::from_raw_parts(bytes, length).to_vec();
            ffi::OPENSSL_free(bytes.cast());
            Some(der)
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: a reference of our own, given up once.
        unsafe { ffi::EVP_PKEY_free(self.0.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    use rcgen::KeyPair;

    /// A key of our own, and what openssl makes of it with these arguments and the
    /// password `secret`; `None` where there is no openssl.
    fn encrypted(arguments: &[&str]) -> Option<(KeyPair, Vec<u8>)> {
        let key = KeyPair::generate().expect("a key");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), key.serialize_pem()).expect("a file");
        let output = Command::new("openssl")
            .args(arguments)
            .args(["-passout", "pass:secret", "-in"])
            .arg(file.path())
            .stderr(Stdio::null())
            .output();
        let pem = output.ok().filter(|output| output.status.success())?.stdout;
        Some((key, pem))
    }

    #[test]
    fn keys_open_with_their_password() {
        for arguments in [
            &["pkcs8", "-topk8", "-v2", "aes-256-cbc"][..],
            &["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"],
            &["ec", "-aes128"],
        ] {
            let Some((key, pem)) = encrypted(arguments) else {
                continue;
            };
            let opened = open(&pem, b"secret").expect("a key");
            let same = KeyPair::from_der_and_sign_algo(&opened, key.algorithm()).expect("a key");
            assert_eq!(same.public_key_raw(), key.public_key_raw(), "{arguments:?}");
            assert!(open(&pem, b"secret\0more").is_some(), "{arguments:?}");
            for wrong in [&b"Secret"[..], b"secret\n", b"", &[b's'; 4096]] {
                assert!(open(&pem, wrong).is_none(), "{arguments:?} {wrong:?}");
            }
            // No part of it is a key.
            for end in 0..pem.len() - 40 {
                assert!(
                    open(&pem[..end], b"secret").is_none(),
                    "{arguments:?} {end}"
                );
            }
        }
    }

    #[test]
    fn what_needs_no_password_and_what_is_no_key() {
        let key = KeyPair::generate().expect("a key");
        let pem = key.serialize_pem();
        assert!(open(pem.as_bytes(), b"any").is_some());
        for none in [
            "",
            "rubbish",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            assert!(open(none.as_bytes(), b"any").is_none(), "{none}");
        }
    }
}
