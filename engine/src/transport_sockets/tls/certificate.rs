//! Our certificates: read, checked, ready to sign with.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use ringway_config::context::Cx;
use ringway_config::tls::TlsCertificate;
use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

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
    /// The chain and its key.
    pub(super) certified: Arc<CertifiedKey>,
}

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
        let key = cx.at(&config.key.path, |cx| {
            let bytes = data_source::read(&config.key.message, cx)?;
            read_key(&bytes, provider, cx)
        });
        let (chain, key) = (chain?, key?);
        let (facts, public_key) = cx.at(&config.chain.path, |cx| look_at(&chain[0], cx))?;
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
        Some(Self {
            listed: Listed {
                facts: Arc::new(facts),
                file: file_of(&config.chain.message),
            },
            certified: Arc::new(CertifiedKey::new(chain, key)),
        })
    }
}

fn read_chain(pem: &[u8], cx: &mut Cx<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => cx.error("there is no certificate in it"),
        Ok(chain) => return Some(chain),
        Err(error) => cx.error(format!("this is not PEM: {error}")),
    }
    None
}

fn read_key(pem: &[u8], provider: &CryptoProvider, cx: &mut Cx<'_>) -> Option<Arc<dyn SigningKey>> {
    let key = match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => key,
        Err(_) if is_encrypted(pem) => {
            cx.error("the key needs a password, which is not supported yet");
            return None;
        }
        Err(error) => {
            cx.error(format!("there is no key in it: {error}"));
            return None;
        }
    };
    match provider.key_provider.load_private_key(key) {
        Ok(key) => Some(key),
        Err(_) if is_encrypted(pem) => {
            cx.error("the key needs a password, which is not supported yet");
            None
        }
        Err(error) => {
            cx.error(format!("this key cannot be used: {error}"));
            None
        }
    }
}

/// Either form of keys with a password: that of PKCS #8, and the one before it.
fn is_encrypted(pem: &[u8]) -> bool {
    let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem);
    let text = String::from_utf8_lossy(pem);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY")
        || text.contains("Proc-Type: 4,ENCRYPTED") && sections.next().is_some()
}

/// What the certificate says, and its public key.
fn look_at(
    certificate: &CertificateDer<'_>,
    cx: &mut Cx<'_>,
) -> Option<(CertificateFacts, Vec<u8>)> {
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
    Some((facts, parsed.public_key().raw.to_vec()))
}

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
