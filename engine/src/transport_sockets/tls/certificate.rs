//! Our certificates: read, checked, ready to sign with.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use ringway_config::context::Cx;
use ringway_config::tls::TlsCertificate;
use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

use super::encrypted_key;
use super::ocsp::OcspResponse;
use super::pem;
use crate::data_source;
use crate::stream_info::CertificateFacts;

/// A certificate that admin lists.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What it says.
    pub facts: Arc<CertificateFacts>,
    /// The file that it was read from; empty for one that the configuration has
    /// inside.
    pub file: Box<str>,
    /// What its authority has said of it.
    pub ocsp: Option<Arc<OcspResponse>>,
}

/// The file that a source names, or nothing.
pub(super) fn file_of(source: &DataSource) -> Box<str> {
    match &source.specifier {
        Some(Specifier::Filename(name)) => name.as_str().into(),
        _ => Box::default(),
    }
}

/// A certificate of ours.
#[derive(Debug)]
pub struct Certificate {
    /// What it says, and where it comes from.
    pub listed: Listed,
    /// What statistics call it.
    pub(super) name: Box<str>,
    /// The chain and its key.
    pub(super) certified: Arc<CertifiedKey>,
    /// The same with what its authority has said of it.
    pub(super) stapled: Option<Arc<CertifiedKey>>,
    /// It says that clients get that.
    pub(super) must_staple: bool,
}

/// What Envoy's statistics call all certificates that are no secrets. The digits are
/// those of a hash of nothing.
const UNNAMED: &str = "unnamed_cert_e3b0c442";

/// The shortest RSA key that Envoy takes.
const RSA_BITS_MIN: usize = 2048;

impl Certificate {
    /// Reads a certificate and its key. `schemes` are the signatures that it may make.
    pub(super) fn compile(
        config: &TlsCertificate,
        provider: &CryptoProvider,
        schemes: &[rustls::SignatureScheme],
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let chain = cx.at(&config.chain.path, |cx| {
            let bytes = data_source::read(&config.chain.message, cx)?;
            read_chain(&bytes, cx)
        });
        let key = compile_key(config, provider, cx);
        let (chain, key) = (chain?, key?);
        let Seen {
            facts,
            public_key,
            serial,
            must_staple,
        } = cx.at(&config.chain.path, |cx| look_at(&chain[0], cx))?;
        if key.public_key().is_some_and(|own| *own != *public_key) {
            cx.at(&config.key.path, |cx| {
                cx.error("the key is not that of the certificate");
            });
            return None;
        }
        let key = Arc::new(LimitedKey {
            key,
            schemes: schemes.into(),
        });
        let ocsp = match &config.ocsp_staple {
            Some(source) => cx.at(&source.path, |cx| read_staple(&source.message, &serial, cx))?,
            None => None,
        };
        let certified = CertifiedKey::new(chain, key);
        let stapled = ocsp.as_ref().map(|response| CertifiedKey {
            ocsp: Some(response.der.to_vec()),
            ..certified.clone()
        });
        Some(Self {
            name: match &*config.secret {
                "" => UNNAMED.into(),
                secret => secret.into(),
            },
            listed: Listed {
                facts: Arc::new(facts),
                file: file_of(&config.chain.message),
                ocsp: ocsp.map(Arc::new),
            },
            certified: Arc::new(certified),
            stapled: stapled.map(Arc::new),
            must_staple,
        })
    }
}

/// `Some(None)` for a source that is empty.
fn read_staple(
    source: &DataSource,
    serial: &[u8],
    cx: &mut Cx<'_>,
) -> Option<Option<OcspResponse>> {
    let bytes = data_source::read(source, cx)?;
    if bytes.is_empty() {
        return Some(None);
    }
    match OcspResponse::parse(&bytes) {
        Ok(response) if response.is_about(serial) => return Some(Some(response)),
        Ok(_) => cx.error("the response is about another certificate"),
        Err(reason) => cx.error(reason),
    }
    None
}

fn read_chain(bytes: &[u8], cx: &mut Cx<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match chain {
        Ok(chain) if chain.is_empty() => cx.error("there is no certificate in it"),
        Ok(chain) => return Some(chain),
        Err(error) => cx.error(format!("this is not PEM: {}", pem::reason(&error))),
    }
    None
}

fn compile_key(
    config: &TlsCertificate,
    provider: &CryptoProvider,
    cx: &mut Cx<'_>,
) -> Option<Arc<dyn SigningKey>> {
    let password = match &config.password {
        Some(source) => Some(cx.at(&source.path, |cx| data_source::read(&source.message, cx))?),
        None => None,
    };
    cx.at(&config.key.path, |cx| {
        let bytes = data_source::read(&config.key.message, cx)?;
        let key = match &password {
            // As for Envoy, an empty one is none.
            Some(password) if !password.is_empty() => {
                encrypted_key::open(&bytes, password).ok_or_else(|| not_opened(password))
            }
            _ => read_key(&bytes),
        };
        let key = key.and_then(|key| {
            let loaded = provider.key_provider.load_private_key(key);
            loaded.map_err(|error| format!("this key cannot be used: {error}"))
        });
        key.map_err(|reason| cx.error(reason)).ok()
    })
}

/// A password is all that its file holds, in Envoy too.
fn not_opened(password: &[u8]) -> String {
    let reason = "there is no key in it that the password opens";
    match password.last() {
        Some(b'\n') => format!("{reason}; the password ends in a line feed, which is a part of it"),
        _ => reason.to_owned(),
    }
}

fn read_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    if is_encrypted(bytes) {
        return Err("the key needs a password".to_owned());
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => "there is no key in it".to_owned(),
        error => format!("there is no key in it: {}", pem::reason(&error)),
    })
}

/// Either form of keys with a password: that of PKCS #8, and the one before it.
fn is_encrypted(bytes: &[u8]) -> bool {
    let has = |text: &[u8]| memchr::memmem::find(bytes, text).is_some();
    has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED")
}

/// What is seen of the first certificate of a chain.
struct Seen {
    facts: CertificateFacts,
    public_key: Vec<u8>,
    /// The octets of its number.
    serial: Vec<u8>,
    must_staple: bool,
}

fn look_at(certificate: &CertificateDer<'_>, cx: &mut Cx<'_>) -> Option<Seen> {
    let parsed = X509Certificate::from_der(certificate).ok();
    let facts = CertificateFacts::parse(certificate);
    let (Some((_, parsed)), Some(facts)) = (parsed, facts) else {
        cx.error("the first certificate is malformed");
        return None;
    };
    if let Ok(PublicKey::RSA(key)) = parsed.public_key().parsed()
        && key.key_size() < RSA_BITS_MIN
    {
        let reason = format!(
            "RSA keys have at least {RSA_BITS_MIN} bits, not {}",
            key.key_size()
        );
        cx.error(reason);
        return None;
    }
    let mut extensions = parsed.extensions().iter();
    Some(Seen {
        facts,
        public_key: parsed.public_key().raw.to_vec(),
        serial: parsed.raw_serial().to_vec(),
        must_staple: extensions.any(|extension| {
            extension.oid.as_bytes() == TLS_FEATURE && extension.value == STATUS_REQUEST
        }),
    })
}

/// The extension of certificates that come with a response of OCSP (RFC 7633), and its
/// value.
const TLS_FEATURE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x18];
const STATUS_REQUEST: &[u8] = &[0x30, 0x03, 0x02, 0x01, 0x05];

/// A key that makes some signatures only, the first that the peer takes.
#[derive(Debug)]
struct LimitedKey {
    key: Arc<dyn SigningKey>,
    schemes: Box<[rustls::SignatureScheme]>,
}

impl SigningKey for LimitedKey {
    fn choose_scheme(&self, offered: &[rustls::SignatureScheme]) -> Option<Box<dyn Signer>> {
        let wanted = (self.schemes.iter()).filter(|scheme| offered.contains(scheme));
        wanted
            .into_iter()
            .find_map(|scheme| self.key.choose_scheme(&[*scheme]))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}
