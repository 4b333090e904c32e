//! Operators that tell of TLS: what the handshake agreed on, and what both sides'
//! certificates say. On a plaintext connection they are not set.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use super::date::DateFormat;
use super::operator::Operator;
use super::value::Written;
use crate::stream_info::{CertificateFacts, StreamInfo, TlsInfo};

/// An operator of one connection.
#[derive(Debug)]
pub(super) struct TlsValue {
    upstream: bool,
    fact: Fact,
    /// How times are written.
    date: DateFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Version,
    Cipher,
    Group,
    Local(CertificateFact),
    Peer(CertificateFact),
    /// Of all certificates that the peer has sent.
    PeerChain(CertificateFact),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CertificateFact {
    Subject,
    Issuer,
    Serial,
    Fingerprint1,
    Fingerprint256,
    DnsSans,
    UriSans,
    IpSans,
    EmailSans,
    OtherNameSans,
    Pem,
    NotBefore,
    NotAfter,
}

/// The operator with this name.
pub(super) fn operator(name: &str) -> Option<Operator> {
    let (upstream, name) = match name.strip_prefix("UPSTREAM_") {
        Some(name) => (true, name),
        None => (false, name.strip_prefix("DOWNSTREAM_")?),
    };
    let fact = match name {
        "TLS_VERSION" => Fact::Version,
        "TLS_CIPHER" => Fact::Cipher,
        "TLS_GROUP" => Fact::Group,
        "PEER_CHAIN_FINGERPRINTS_1" if !upstream => Fact::PeerChain(CertificateFact::Fingerprint1),
        "PEER_CHAIN_FINGERPRINTS_256" if !upstream => {
            Fact::PeerChain(CertificateFact::Fingerprint256)
        }
        "PEER_CHAIN_SERIALS" if !upstream => Fact::PeerChain(CertificateFact::Serial),
        _ => match name.strip_prefix("LOCAL_") {
            Some(name) => Fact::Local(local_fact(name, upstream)?),
            None => Fact::Peer(peer_fact(name.strip_prefix("PEER_")?, upstream)?),
        },
    };
    Some(Operator::Tls(TlsValue {
        upstream,
        fact,
        date: DateFormat::new("", None)?,
    }))
}

/// What both directions tell of our certificate, and what one does.
fn local_fact(name: &str, upstream: bool) -> Option<CertificateFact> {
    Some(match name {
        "DNS_SAN" => CertificateFact::DnsSans,
        "URI_SAN" => CertificateFact::UriSans,
        "IP_SAN" => CertificateFact::IpSans,
        "EMAIL_SAN" if !upstream => CertificateFact::EmailSans,
        "OTHERNAME_SAN" if !upstream => CertificateFact::OtherNameSans,
        "SUBJECT" if !upstream => CertificateFact::Subject,
        _ => return None,
    })
}

fn peer_fact(name: &str, upstream: bool) -> Option<CertificateFact> {
    Some(match name {
        "SUBJECT" => CertificateFact::Subject,
        "ISSUER" => CertificateFact::Issuer,
        "CERT" => CertificateFact::Pem,
        "CERT_V_START" => CertificateFact::NotBefore,
        "CERT_V_END" => CertificateFact::NotAfter,
        "DNS_SAN" => CertificateFact::DnsSans,
        "URI_SAN" => CertificateFact::UriSans,
        "IP_SAN" => CertificateFact::IpSans,
        "EMAIL_SAN" if !upstream => CertificateFact::EmailSans,
        "OTHERNAME_SAN" if !upstream => CertificateFact::OtherNameSans,
        "SERIAL" if !upstream => CertificateFact::Serial,
        "FINGERPRINT_1" if !upstream => CertificateFact::Fingerprint1,
        "FINGERPRINT_256" if !upstream => CertificateFact::Fingerprint256,
        _ => return None,
    })
}

/// An attribute of expressions: of several names of a certificate, the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TlsAttribute {
    upstream: bool,
    fact: Fact,
}

/// The attribute of `connection` or `upstream` with this name.
pub(super) fn attribute(name: &str, upstream: bool) -> Option<TlsAttribute> {
    let fact = match name {
        "tls_version" => Fact::Version,
        "subject_local_certificate" => Fact::Local(CertificateFact::Subject),
        "subject_peer_certificate" => Fact::Peer(CertificateFact::Subject),
        "dns_san_local_certificate" => Fact::Local(CertificateFact::DnsSans),
        "dns_san_peer_certificate" => Fact::Peer(CertificateFact::DnsSans),
        "uri_san_local_certificate" => Fact::Local(CertificateFact::UriSans),
        "uri_san_peer_certificate" => Fact::Peer(CertificateFact::UriSans),
        "sha256_peer_certificate_digest" => Fact::Peer(CertificateFact::Fingerprint256),
        _ => return None,
    };
    Some(TlsAttribute { upstream, fact })
}

impl TlsAttribute {
    /// Its text; `None` where there is none.
    pub(super) fn text(self, info: &StreamInfo) -> Option<&str> {
        let tls = tls_of(info, self.upstream)?;
        let (facts, fact) = match self.fact {
            Fact::Version => return Some(tls.version),
            Fact::Local(fact) => (tls.local.as_deref()?, fact),
            Fact::Peer(fact) => (tls.peer.first()?, fact),
            Fact::Cipher | Fact::Group | Fact::PeerChain(_) => return None,
        };
        match fact {
            CertificateFact::Subject => Some(&facts.subject),
            CertificateFact::DnsSans => facts.dns_sans.first().map(String::as_str),
            CertificateFact::UriSans => facts.uri_sans.first().map(String::as_str),
            CertificateFact::Fingerprint256 => Some(&facts.fingerprint_256),
            _ => None,
        }
    }
}

fn tls_of(info: &StreamInfo, upstream: bool) -> Option<&TlsInfo> {
    match upstream {
        false => info.connection.tls.as_deref(),
        true => (info.upstream_connection.as_deref()).and_then(|one| one.tls.as_deref()),
    }
}

impl TlsValue {
    /// Appends the value.
    pub(super) fn write(&self, info: &StreamInfo, out: &mut Vec<u8>) -> Written {
        let Some(tls) = tls_of(info, self.upstream) else {
            return Written::Nothing;
        };
        let before = out.len();
        self.fact.write(tls, &self.date, out);
        if out.len() == before {
            return Written::Nothing;
        }
        Written::Untrusted
    }
}

impl Fact {
    fn write(self, tls: &TlsInfo, date: &DateFormat, out: &mut Vec<u8>) {
        let plain = match self {
            Self::Version => tls.version,
            Self::Cipher => tls.cipher,
            Self::Group => tls.group.unwrap_or_default(),
            Self::Local(fact) => {
                if let Some(facts) = &tls.local {
                    fact.write(facts, date, out);
                }
                return;
            }
            Self::Peer(fact) => {
                if let Some(facts) = tls.peer.first() {
                    fact.write(facts, date, out);
                }
                return;
            }
            Self::PeerChain(fact) => {
                for (i, facts) in tls.peer.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    fact.write(facts, date, out);
                }
                return;
            }
        };
        out.extend_from_slice(plain.as_bytes());
    }
}

impl CertificateFact {
    fn write(self, facts: &CertificateFacts, date: &DateFormat, out: &mut Vec<u8>) {
        let text: Cow<'_, str> = match self {
            Self::Subject => facts.subject.as_str().into(),
            Self::Issuer => facts.issuer.as_str().into(),
            Self::Serial => facts.serial.as_str().into(),
            Self::Fingerprint1 => facts.fingerprint_1.as_str().into(),
            Self::Fingerprint256 => facts.fingerprint_256.as_str().into(),
            Self::DnsSans => facts.dns_sans.join(",").into(),
            Self::UriSans => facts.uri_sans.join(",").into(),
            Self::IpSans => facts.ip_sans.join(",").into(),
            Self::EmailSans => facts.email_sans.join(",").into(),
            Self::OtherNameSans => {
                let texts = facts.other_name_sans.iter().map(|(_, text)| text.as_str());
                texts.collect::<Vec<_>>().join(",").into()
            }
            Self::Pem => facts.url_encoded_pem().into(),
            Self::NotBefore => return write_time(facts.not_before, date, out),
            Self::NotAfter => return write_time(facts.not_after, date, out),
        };
        out.extend_from_slice(text.as_bytes());
    }
}

fn write_time(seconds: i64, date: &DateFormat, out: &mut Vec<u8>) {
    let after = Duration::from_secs(seconds.unsigned_abs());
    let time = match seconds {
        0.. => SystemTime::UNIX_EPOCH.checked_add(after),
        _ => SystemTime::UNIX_EPOCH.checked_sub(after),
    };
    if let Some(time) = time {
        date.write(time, out);
    }
}
