//! Whom a context trusts: certificates that a chain may end in, and the lists of those
//! that were revoked.

use std::sync::Arc;

use ringway_config::context::Cx;
use ringway_config::tls::CertificateValidation;
use rustls::DistinguishedName;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::certificate::{Listed, file_of};
use super::peer_certificate::PeerCertificate;
use super::pem;
use super::x509_store::{ChainError, Malformed, Rules, X509Store};
use crate::data_source;
use crate::stream_info::CertificateFacts;

/// Certificates and revocation lists.
#[derive(Debug)]
pub(super) struct TrustStore {
    store: X509Store,
    anchors: Vec<CertificateDer<'static>>,
    /// To be told to clients.
    subjects: Vec<DistinguishedName>,
    /// The file that they were read from, as in [`Listed`].
    file: Box<str>,
    /// When the first of them ends, in seconds since 1970.
    expires: Option<i64>,
}

impl TrustStore {
    /// Reads what the configuration trusts; `Some(None)` if it trusts nobody by name.
    pub(super) fn compile(config: &CertificateValidation, cx: &mut Cx<'_>) -> Option<Option<Self>> {
        let Some(source) = &config.trusted_ca else {
            return Some(None);
        };
        let mut lists = Vec::new();
        let anchors = cx.at(&source.path, |cx| {
            let bytes = data_source::read(&source.message, cx)?;
            let anchors: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
            let anchors = match anchors {
                Ok(anchors) if anchors.is_empty() => {
                    cx.error("there is no certificate in it");
                    return None;
                }
                Ok(anchors) => anchors,
                Err(error) => {
                    cx.error(format!("this is not PEM: {}", pem::reason(&error)));
                    return None;
                }
            };
            lists.append(&mut read_lists(&bytes, cx)?);
            Some(anchors)
        });
        if let Some(source) = &config.crl {
            let mut more = cx.at(&source.path, |cx| {
                let pem = data_source::read(&source.message, cx)?;
                let lists = read_lists(&pem, cx)?;
                if lists.is_empty() {
                    cx.warn(
                        "there is no revocation list in it: nobody is trusted, in Envoy neither",
                    );
                }
                Some(lists)
            })?;
            lists.append(&mut more);
        }
        let anchors = anchors?;
        let ders = anchors.iter().map(|anchor| &anchor[..]);
        let store = match X509Store::new(ders, lists.iter().map(|list| &list[..])) {
            Ok(store) => store.checking_revocation(config.crl.is_some()),
            Err(malformed) => {
                cx.at(&source.path, |cx| cx.error(reason(malformed)));
                return None;
            }
        };
        let parsed = anchors.iter().map(|anchor| PeerCertificate::parse(anchor));
        let parsed: Vec<_> = parsed.flatten().collect();
        let ends = (parsed.iter()).map(|one| one.certificate.validity().not_after.timestamp());
        let expires = ends.min();
        let mut subjects: Vec<Vec<u8>> = parsed
            .iter()
            .map(|parsed| parsed.certificate.subject().as_raw().to_vec())
            .collect();
        subjects.dedup();
        let subjects = subjects.into_iter().map(DistinguishedName::from).collect();
        Some(Some(Self {
            store,
            anchors,
            subjects,
            file: file_of(&source.message),
            expires,
        }))
    }

    /// Whether a chain leads from a certificate to one of these.
    pub(super) fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        rules: Rules,
        now: i64,
    ) -> Result<(), ChainError> {
        let others = others.iter().map(|other| &other[..]);
        self.store.verify(certificate, others, rules, now)
    }

    /// The certificates.
    pub(super) fn anchors(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.anchors.iter()
    }

    /// The certificates as admin lists them. They are read anew each time: what many
    /// contexts trust is a long list, and seldom looked at.
    pub(super) fn listed(&self) -> impl Iterator<Item = Listed> {
        let facts = (self.anchors.iter()).filter_map(|anchor| CertificateFacts::parse(anchor));
        facts.map(|facts| Listed {
            facts: Arc::new(facts),
            file: self.file.clone(),
            ocsp: None,
        })
    }

    /// When the first of them ends, in seconds since 1970.
    pub(super) fn expires(&self) -> Option<i64> {
        self.expires
    }

    /// The names of all.
    pub(super) fn subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }
}

fn reason(malformed: Malformed) -> String {
    match malformed {
        Malformed::Certificate(i) => format!("certificate {} of it is malformed", i + 1),
        Malformed::RevocationList(i) => format!("revocation list {} is malformed", i + 1),
    }
}

fn read_lists(bytes: &[u8], cx: &mut Cx<'_>) -> Option<Vec<CertificateRevocationListDer<'static>>> {
    let lists = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let lists: Result<Vec<_>, _> = lists;
    lists
        .map_err(|error| cx.error(format!("this is not PEM: {}", pem::reason(&error))))
        .ok()
}
