//! A peer's own certificate, as far as a handshake and what is asked of names and
//! keys go. Who has signed it is `x509_store.rs`'s to say.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;

use super::der::PublicKey;

/// A certificate that was read.
pub(super) struct PeerCertificate<'a> {
    pub certificate: X509Certificate<'a>,
    pub key: PublicKey<'a>,
}

impl<'a> PeerCertificate<'a> {
    /// Reads a certificate; `None` if it cannot be read, or says a thing twice.
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        // Two opinions of one thing are none.
        certificate.extensions_map().ok()?;
        if !rest.is_empty() {
            return None;
        }
        Some(Self {
            key: PublicKey::parse(certificate.tbs_certificate.subject_pki.raw)?,
            certificate,
        })
    }

    /// Its key may sign a handshake.
    pub(super) fn may_sign_handshakes(&self) -> bool {
        let mut extensions = self.certificate.extensions().iter();
        extensions.all(|extension| match extension.parsed_extension() {
            ParsedExtension::KeyUsage(usage) => usage.digital_signature(),
            // What limits a key must not get lost because it is broken.
            ParsedExtension::ParseError { .. } => false,
            _ => true,
        })
    }
}
