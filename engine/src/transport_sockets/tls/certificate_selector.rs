//! Which of several certificates a client gets: by the name that it asks for, then by
//! the signatures that it understands.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use ringway_config::tls::OcspStaplePolicy;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::certificate::Certificate;
use super::notes;
use super::ocsp::OcspResponse;
use crate::reactor;
use crate::stream_info::CertificateFacts;

/// What a client gets that asks for a response of OCSP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staple {
    /// The response.
    Sent,
    /// None, because there is none that holds.
    Omitted,
    /// No connection, for the same reason.
    Failed,
}

/// Chooses for clients of one kind.
#[derive(Debug)]
pub(super) struct CertificateSelector {
    certificates: Arc<Certificates>,
    /// They ask for a response of OCSP.
    asks_for_staple: bool,
}

/// One of ours, as a client gets it.
#[derive(Debug)]
struct Own {
    certified: Arc<CertifiedKey>,
    stapled: Option<Arc<CertifiedKey>>,
    facts: Arc<CertificateFacts>,
    response: Option<Arc<OcspResponse>>,
    policy: OcspStaplePolicy,
}

impl Own {
    fn staple(&self, now: i64) -> Staple {
        let holds = (self.response.as_ref()).is_some_and(|response| !response.is_expired(now));
        match (holds, self.policy) {
            (true, _) => Staple::Sent,
            (false, OcspStaplePolicy::Lenient) => Staple::Omitted,
            (false, OcspStaplePolicy::Strict) if self.response.is_none() => Staple::Omitted,
            (false, OcspStaplePolicy::Strict | OcspStaplePolicy::MustStaple) => Staple::Failed,
        }
    }
}

/// Our certificates, chosen from as Envoy does.
#[derive(Debug)]
struct Certificates {
    /// In the order of the configuration; at least one.
    all: Vec<Own>,
    /// Places in the list by name; `.example.com` is what `*.example.com` was. A
    /// name has one certificate of each kind of key, the first.
    by_name: HashMap<Box<str>, Vec<usize>>,
    /// A name that nobody has gets what suits the client best, not the first.
    full_scan: bool,
}

impl CertificateSelector {
    /// `certificates` has at least one.
    pub(super) fn new(
        certificates: &[Certificate],
        full_scan: bool,
        policy: OcspStaplePolicy,
    ) -> Self {
        Self {
            certificates: Arc::new(Certificates::new(certificates, full_scan, policy)),
            asks_for_staple: false,
        }
    }

    /// The same for clients that ask for a response of OCSP.
    pub(super) fn asked_for_staple(&self) -> Self {
        Self {
            certificates: Arc::clone(&self.certificates),
            asks_for_staple: true,
        }
    }
}

impl Certificates {
    fn new(certificates: &[Certificate], full_scan: bool, policy: OcspStaplePolicy) -> Self {
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
            all: certificates
                .map(|one| Own {
                    certified: Arc::clone(&one.certified),
                    stapled: one.stapled.clone(),
                    facts: Arc::clone(&one.listed.facts),
                    response: one.listed.ocsp.clone(),
                    policy: match one.must_staple {
                        true => OcspStaplePolicy::MustStaple,
                        false => policy,
                    },
                })
                .collect(),
            by_name,
            full_scan,
        }
    }

    /// `staple_at` is the time for clients that ask for a response of OCSP.
    fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
        staple_at: Option<i64>,
    ) -> &Own {
        let ask = |places: &mut dyn Iterator<Item = usize>| {
            let mut usable = places.filter(|place| {
                staple_at.is_none_or(|now| self.all[*place].staple(now) != Staple::Failed)
            });
            self.suitable(&mut usable, schemes)
        };
        let all = || ask(&mut (0..self.all.len()));
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
        &self.all[chosen.unwrap_or(0)]
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
            let key = &self.all[place].certified.key;
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
        let now = self.asks_for_staple.then(unix_now);
        let own = (self.certificates).choose(hello.server_name(), hello.signature_schemes(), now);
        let staple = now.map(|now| own.staple(now));
        notes::note(|notes| {
            notes.certificate = Some(Arc::clone(&own.facts));
            notes.staple = staple;
        });
        match staple {
            Some(Staple::Failed) => None,
            Some(Staple::Sent) => own.stapled.clone(),
            Some(Staple::Omitted) | None => Some(Arc::clone(&own.certified)),
        }
    }
}

fn unix_now() -> i64 {
    let now = reactor::wall_clock().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs().cast_signed())
}
