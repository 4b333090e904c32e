//! Which of several certificates a client gets: by the name that it asks for, then by
//! the signatures that it understands.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::certificate::Certificate;
use super::notes;
use crate::stream_info::CertificateFacts;

/// Chooses as Envoy does.
#[derive(Debug)]
pub(super) struct CertificateSelector {
    /// In the order of the configuration; at least one.
    certificates: Vec<(Arc<CertifiedKey>, Arc<CertificateFacts>)>,
    /// Places in the list by name; `.example.com` is what `*.example.com` was. A
    /// name has one certificate of each kind of key, the first.
    by_name: HashMap<Box<str>, Vec<usize>>,
    /// A name that nobody has gets what suits the client best, not the first.
    full_scan: bool,
}

impl CertificateSelector {
    /// `certificates` has at least one.
    pub(super) fn new(certificates: &[Certificate], full_scan: bool) -> Self {
        let mut by_name: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (i, certificate) in certificates.iter().enumerate() {
            let facts = &certificate.listed.facts;
            // The common name counts only where there are no others.
            let names = match facts.dns_sans.as_slice() {
                [] => facts.common_name.as_slice(),
                names => names,
            };
            for name in names {
                let name = match name.strip_prefix('*') {
                    Some(suffix) if suffix.starts_with('.') => suffix,
                    _ => name,
                };
                let places = by_name.entry(name.to_ascii_lowercase().into()).or_default();
                let kind = certificate.certified.key.algorithm();
                let taken = (places.iter())
                    .any(|place| certificates[*place].certified.key.algorithm() == kind);
                if !taken {
                    places.push(i);
                }
            }
        }
        let certificates = certificates.iter();
        Self {
            certificates: certificates
                .map(|one| (Arc::clone(&one.certified), Arc::clone(&one.listed.facts)))
                .collect(),
            by_name,
            full_scan,
        }
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> usize {
        let ask = |places: &mut dyn Iterator<Item = usize>| self.suitable(places, schemes);
        let all = || ask(&mut (0..self.certificates.len()));
        let chosen = match name.map(str::to_ascii_lowercase) {
            None => all(),
            Some(name) => {
                let named = |name: &str| {
                    let places = self.by_name.get(name)?;
                    ask(&mut places.iter().copied())
                };
                named(&name)
                    .or_else(|| {
                        // One label is what a wildcard stands for.
                        let dot = name.get(1..)?.find('.')? + 1;
                        named(&name[dot..])
                    })
                    .or_else(|| self.full_scan.then(all).flatten())
            }
        };
        chosen.unwrap_or(0)
    }

    /// The first with an ECDSA key that the client understands; else the first with
    /// another kind of key.
    fn suitable(
        &self,
        places: &mut dyn Iterator<Item = usize>,
        schemes: &[SignatureScheme],
    ) -> Option<usize> {
        let mut candidate = None;
        for place in places {
            let key = &self.certificates[place].0.key;
            if key.algorithm() != SignatureAlgorithm::ECDSA {
                candidate = candidate.or(Some(place));
            } else if key.choose_scheme(schemes).is_some() {
                return Some(place);
            }
        }
        candidate
    }
}

impl ResolvesServerCert for CertificateSelector {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let place = self.choose(hello.server_name(), hello.signature_schemes());
        let (certified, facts) = &self.certificates[place];
        notes::note(|notes| notes.certificate = Some(Arc::clone(facts)));
        Some(Arc::clone(certified))
    }
}
