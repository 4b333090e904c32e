//! Chains of certificates, verified by the library that BoringSSL and aws-lc share:
//! what is accepted, and what a refusal is called, is what Envoy accepts and says.
//!
//! webpki has other rules (a peer's own certificate in the trust store, CAs as
//! peers, certificates without names), and code of our own is no place for these.
//! This file and `encrypted_key.rs` are the only ones with `unsafe` above the reactor
//! and `worker/shared.rs`: aws-lc-rs has no interface to these parts of its library.

use std::ffi::{CStr, c_long};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use aws_lc_sys as ffi;

/// Which side a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A client.
    Client,
    /// A server.
    Server,
}

/// What holds for every chain of a context.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Which side the peer is.
    pub purpose: Purpose,
    /// Certificates above the peer's, the one that is trusted included. That one may
    /// always be there.
    pub depth_max: u32,
    /// The time does not matter.
    pub allow_expired: bool,
    /// Revocation lists are asked about the peer's certificate alone.
    pub only_leaf_revocation: bool,
}

/// Why there is no chain: an error of the library, at a certificate of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainError {
    /// `X509_V_ERR_…`
    pub code: i32,
    /// 0 is the peer's own certificate.
    pub depth: i32,
}

impl ChainError {
    /// What the library calls it.
    #[must_use]
    pub fn text(&self) -> &'static str {
        // SAFETY: any number has a text, which lives for ever.
        let text = unsafe { CStr::from_ptr(ffi::X509_verify_cert_error_string(self.code.into())) };
        text.to_str().unwrap_or_default()
    }
}

/// Whom a context trusts, and what was revoked. Shared by all workers: the library
/// guards what it looks up.
pub(super) struct X509Store {
    store: NonNull<ffi::X509_STORE>,
    checks_revocation: bool,
}

// SAFETY: nothing is changed after `build`, except by the library under its own lock.
unsafe impl Send for X509Store {}
// SAFETY: as above.
unsafe impl Sync for X509Store {}

impl Drop for X509Store {
    fn drop(&mut self) {
        // SAFETY: made by `X509_STORE_new`, and freed once.
        unsafe { ffi::X509_STORE_free(self.store.as_ptr()) };
    }
}

impl std::fmt::Debug for X509Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("X509Store").finish_non_exhaustive()
    }
}

/// What cannot be read, by its place in the list that it was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    Certificate(usize),
    RevocationList(usize),
}

impl X509Store {
    /// A store of certificates and revocation lists in DER.
    pub(super) fn new<'a>(
        certificates: impl IntoIterator<Item = &'a [u8]>,
        revocation_lists: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, Malformed> {
        // SAFETY: it only fails without memory, which `expect` ends.
        let store = NonNull::new(unsafe { ffi::X509_STORE_new() }).expect("memory for a store");
        let mut built = Self {
            store,
            checks_revocation: false,
        };
        for (i, der) in certificates.into_iter().enumerate() {
            let certificate = Certificate::parse(der).ok_or(Malformed::Certificate(i))?;
            // SAFETY: both are valid; the store takes a reference of its own. A
            // duplicate is no error.
            unsafe { ffi::X509_STORE_add_cert(store.as_ptr(), certificate.0.as_ptr()) };
        }
        for (i, der) in revocation_lists.into_iter().enumerate() {
            let list = parse(der, ffi::d2i_X509_CRL).ok_or(Malformed::RevocationList(i))?;
            // SAFETY: as above; our reference is given up right after.
            unsafe {
                ffi::X509_STORE_add_crl(store.as_ptr(), list.as_ptr());
                ffi::X509_CRL_free(list.as_ptr());
            }
            built.checks_revocation = true;
        }
        Ok(built)
    }

    /// Revocation lists are asked, even if there are none: then nobody is trusted.
    pub(super) fn checking_revocation(mut self, always: bool) -> Self {
        self.checks_revocation |= always;
        self
    }

    /// Looks for a chain from `leaf` to a certificate of the store, by way of
    /// `others`. `now` is in seconds since 1970.
    pub(super) fn verify<'a>(
        &self,
        leaf: &[u8],
        others: impl IntoIterator<Item = &'a [u8]>,
        rules: Rules,
        now: i64,
    ) -> Result<(), ChainError> {
        let unreadable = ChainError {
            code: ffi::X509_V_ERR_UNSPECIFIED,
            depth: 0,
        };
        let leaf = Certificate::parse(leaf).ok_or(unreadable)?;
        let mut chain = Chain::default();
        for other in others {
            chain.push(Certificate::parse(other).ok_or(unreadable)?);
        }
        Verification::new(self, &leaf, &chain, rules, now).run()
    }
}

/// A certificate that the library has read.
struct Certificate(NonNull<ffi::X509>);

impl Certificate {
    fn parse(der: &[u8]) -> Option<Self> {
        parse(der, ffi::d2i_X509).map(Self)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // SAFETY: a reference of our own, given up once.
        unsafe { ffi::X509_free(self.0.as_ptr()) };
    }
}

/// Reads all of `der`.
fn parse<T>(
    der: &[u8],
    // SAFETY: called below, with what it asks for.
    read: unsafe extern "C" fn(*mut *mut T, *mut *const u8, c_long) -> *mut T,
) -> Option<NonNull<T>> {
    let mut at = der.as_ptr();
    let length = c_long::try_from(der.len()).ok()?;
    // SAFETY: `at` is valid for `length` bytes, and moved by no more.
    let parsed = NonNull::new(unsafe { read(ptr::null_mut(), &raw mut at, length) });
    // What is behind it is no part of a certificate; nothing else sends it.
    parsed.filter(|_| at == der.as_ptr_range().end)
}

/// The certificates that a peer has sent along.
struct Chain {
    stack: NonNull<ffi::OPENSSL_STACK>,
    owned: Vec<Certificate>,
}

impl Default for Chain {
    fn default() -> Self {
        // SAFETY: it only fails without memory, which `expect` ends.
        let stack = unsafe { ffi::OPENSSL_sk_new_null() };
        Self {
            stack: NonNull::new(stack).expect("memory for a list"),
            owned: Vec::new(),
        }
    }
}

impl Chain {
    fn push(&mut self, certificate: Certificate) {
        // SAFETY: the stack borrows what `owned` keeps for as long as the stack.
        unsafe { ffi::OPENSSL_sk_push(self.stack.as_ptr(), certificate.0.as_ptr().cast()) };
        self.owned.push(certificate);
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // SAFETY: frees the list, not what is in it.
        unsafe { ffi::OPENSSL_sk_free(self.stack.as_ptr()) };
    }
}

/// One search for a chain.
struct Verification<'a> {
    context: NonNull<ffi::X509_STORE_CTX>,
    _borrowed: PhantomData<(&'a X509Store, &'a Certificate, &'a Chain)>,
}

impl<'a> Verification<'a> {
    fn new(
        store: &'a X509Store,
        leaf: &'a Certificate,
        chain: &'a Chain,
        rules: Rules,
        now: i64,
    ) -> Self {
        let mut flags = ffi::X509_V_FLAG_PARTIAL_CHAIN;
        if store.checks_revocation {
            flags |= ffi::X509_V_FLAG_CRL_CHECK;
            if !rules.only_leaf_revocation {
                flags |= ffi::X509_V_FLAG_CRL_CHECK_ALL;
            }
        }
        if rules.allow_expired {
            flags |= ffi::X509_V_FLAG_NO_CHECK_TIME;
        }
        let purpose = match rules.purpose {
            Purpose::Client => c"ssl_client",
            Purpose::Server => c"ssl_server",
        };
        // The library leaves the one that is trusted out of its count.
        let depth = rules.depth_max.saturating_sub(1);
        let depth = i32::try_from(depth).unwrap_or(i32::MAX);
        // SAFETY: everything that the context is given lives as long as `'a`.
        unsafe {
            let context =
                NonNull::new(ffi::X509_STORE_CTX_new()).expect("memory for a verification");
            let at = context.as_ptr();
            ffi::X509_STORE_CTX_init(
                at,
                store.store.as_ptr(),
                leaf.0.as_ptr(),
                chain.stack.as_ptr().cast(),
            );
            ffi::X509_STORE_CTX_set_default(at, purpose.as_ptr());
            ffi::X509_STORE_CTX_set_flags(at, flags as _);
            ffi::X509_STORE_CTX_set_depth(at, depth);
            ffi::X509_STORE_CTX_set_time_posix(at, 0, now);
            Self {
                context,
                _borrowed: PhantomData,
            }
        }
    }

    fn run(&self) -> Result<(), ChainError> {
        let context = self.context.as_ptr();
        // SAFETY: the context is set up.
        unsafe {
            if ffi::X509_verify_cert(context) == 1 {
                return Ok(());
            }
            let error = ChainError {
                code: ffi::X509_STORE_CTX_get_error(context),
                depth: ffi::X509_STORE_CTX_get_error_depth(context),
            };
            ffi::ERR_clear_error();
            Err(error)
        }
    }
}

impl Drop for Verification<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `X509_STORE_CTX_new`, and freed once.
        unsafe { ffi::X509_STORE_CTX_free(self.context.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };

    const RULES: Rules = Rules {
        purpose: Purpose::Client,
        depth_max: 100,
        allow_expired: false,
        only_leaf_revocation: false,
    };

    /// When the certificates of these tests are valid: rcgen's are from 1975 to 4096.
    const NOW: i64 = 1_700_000_000;

    struct Made {
        der: Vec<u8>,
        issuer: Issuer<'static, KeyPair>,
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params
    }

    fn ca(name: &str) -> CertificateParams {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn make(params: CertificateParams, by: Option<&Made>) -> Made {
        let key = KeyPair::generate().unwrap();
        let certificate = match by {
            Some(by) => params.signed_by(&key, &by.issuer).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        Made {
            der: certificate.der().to_vec(),
            issuer: Issuer::new(params, key),
        }
    }

    fn verify(
        trusted: &[&Made],
        leaf: &Made,
        others: &[&Made],
        rules: Rules,
    ) -> Result<(), String> {
        let store = X509Store::new(trusted.iter().map(|made| &made.der[..]), []).unwrap();
        let others = others.iter().map(|made| &made.der[..]);
        let outcome = store.verify(&leaf.der, others, rules, NOW);
        outcome.map_err(|error| format!("{} at {}", error.text(), error.depth))
    }

    #[test]
    fn chains() {
        let root = make(ca("root"), None);
        let between = make(ca("between"), Some(&root));
        let leaf = make(params("leaf"), Some(&between));
        let own = make(params("own"), None);
        let not_ca = make(params("not a CA"), Some(&root));
        let below = make(params("below"), Some(&not_ca));
        let other = make(ca("root"), None);
        let unknown = Err("unable to get local issuer certificate at 0".to_owned());

        assert_eq!(verify(&[&root], &leaf, &[&between], RULES), Ok(()));
        // Any certificate of the store ends a chain, also the peer's own.
        assert_eq!(verify(&[&between], &leaf, &[], RULES), Ok(()));
        assert_eq!(verify(&[&own], &own, &[], RULES), Ok(()));
        assert_eq!(verify(&[&root], &leaf, &[], RULES), unknown);
        assert!(verify(&[], &leaf, &[&between], RULES).is_err());
        // Of the same name, but not the same.
        assert!(verify(&[&other], &leaf, &[&between], RULES).is_err());
        assert_eq!(
            verify(&[&root], &below, &[&not_ca], RULES),
            Err("invalid CA certificate at 1".to_owned())
        );
        let short = Rules {
            depth_max: 0,
            ..RULES
        };
        assert!(verify(&[&root], &leaf, &[&between], short).is_err());
    }

    #[test]
    fn purposes_and_times() {
        let root = make(ca("root"), None);
        let mut server = params("server");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server = make(server, Some(&root));
        assert_eq!(
            verify(&[&root], &server, &[], RULES),
            Err("unsupported certificate purpose at 0".to_owned())
        );
        let rules = Rules {
            purpose: Purpose::Server,
            ..RULES
        };
        assert_eq!(verify(&[&root], &server, &[], rules), Ok(()));

        let mut old = params("old");
        old.not_before = rcgen::date_time_ymd(1990, 1, 1);
        old.not_after = rcgen::date_time_ymd(1991, 1, 1);
        let old = make(old, Some(&root));
        assert_eq!(
            verify(&[&root], &old, &[], RULES),
            Err("certificate has expired at 0".to_owned())
        );
        let lenient = Rules {
            allow_expired: true,
            ..RULES
        };
        assert_eq!(verify(&[&root], &old, &[], lenient), Ok(()));
    }

    #[test]
    fn what_is_malformed_is_named() {
        let root = make(ca("root"), None);
        let mut longer = root.der.clone();
        longer.push(0);
        let cut = &root.der[..root.der.len() - 1];
        for wrong in [&longer[..], cut, b""] {
            let built = X509Store::new([&root.der[..], wrong], []);
            assert_eq!(built.unwrap_err(), Malformed::Certificate(1));
            let store = X509Store::new([&root.der[..]], []).unwrap();
            assert!(store.verify(wrong, [], RULES, NOW).is_err());
            assert!(store.verify(&root.der, [wrong], RULES, NOW).is_err());
        }
        let built = X509Store::new([], [&root.der[..]]);
        assert_eq!(built.unwrap_err(), Malformed::RevocationList(0));
    }
}
