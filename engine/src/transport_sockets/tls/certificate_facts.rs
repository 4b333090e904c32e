//! What a certificate says, in the words and formats that Envoy has for it: for
//! logs, `x-forwarded-client-cert` and `/certs`.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use aws_lc_rs::digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::{der, distinguished_name};
use crate::stream_info::CertificateFacts;

impl CertificateFacts {
    /// Reads a certificate in DER; `None` if it is none.
    #[must_use]
    pub fn parse(certificate: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let fingerprint_1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate);
        let common_name = parsed.subject().iter_common_name().next();
        let mut facts = Self {
            subject: distinguished_name::rfc2253(parsed.subject()),
            common_name: common_name.and_then(|name| name.as_str().ok().map(str::to_owned)),
            issuer: distinguished_name::rfc2253(parsed.issuer()),
            serial: serial(parsed.raw_serial()),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            fingerprint_256: hex(&sha256(certificate)),
            fingerprint_1: hex(fingerprint_1.as_ref()),
            der: certificate.into(),
            ..Self::default()
        };
        for name in general_names(&parsed) {
            match name {
                GeneralName::DNSName(name) => facts.dns_sans.extend(printable(*name)),
                GeneralName::URI(uri) => facts.uri_sans.extend(printable(*uri)),
                GeneralName::RFC822Name(mail) => facts.email_sans.extend(printable(*mail)),
                GeneralName::IPAddress(octets) => facts.ip_sans.extend(ip_text(octets)),
                GeneralName::OtherName(kind, value) => {
                    let text = other_name(value).and_then(printable);
                    let text = text.map(|text| (kind.to_id_string(), text));
                    facts.other_name_sans.extend(text);
                }
                _ => {}
            }
        }
        Some(facts)
    }
}

/// The alternative names of a certificate.
pub(super) fn general_names<'c>(certificate: &'c X509Certificate<'_>) -> &'c [GeneralName<'c>] {
    match certificate.subject_alternative_name() {
        Ok(Some(names)) => &names.value.general_names,
        Ok(None) | Err(_) => &[],
    }
}

/// A name without control characters. Nobody has one with them, and it could end the
/// line of a log or of a header that tells it.
fn printable(name: impl Into<String>) -> Option<String> {
    let name = name.into();
    (!name.contains(char::is_control)).then_some(name)
}

/// The text of an `iPAddress`; one of another length has none.
pub(super) fn ip_text(octets: &[u8]) -> Option<String> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(octets).to_string());
    }
    let octets = <[u8; 16]>::try_from(octets).ok()?;
    Some(Ipv6Addr::from(octets).to_string())
}

/// The text of an `otherName`, whose value is within a context-specific tag.
pub(super) fn other_name(mut value: &[u8]) -> Option<String> {
    const EXPLICIT: u8 = 0xa0;
    let mut inner = der::expect(&mut value, EXPLICIT)?.value;
    distinguished_name::other_name_text(&der::next(&mut inner)?)
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// The number without the octet that keeps it from being negative.
fn serial(octets: &[u8]) -> String {
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    match &octets[zeros..] {
        [] => "0".to_owned(),
        octets => hex(octets),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, SerialNumber};

    #[test]
    fn what_a_certificate_says() {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        (params.distinguished_name).push(DnType::OrganizationName, "Org");
        (params.distinguished_name).push(DnType::CommonName, "a, b");
        params.serial_number = Some(SerialNumber::from_slice(&[0xb1, 0x02]));
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        params.subject_alt_names = vec![
            SanType::DnsName("a.test".try_into().expect("a name")),
            SanType::URI("spiffe://x/y".try_into().expect("a URI")),
            SanType::IpAddress([127, 0, 0, 1].into()),
            SanType::IpAddress(std::net::IpAddr::from([0u16, 0, 0, 0, 0, 0, 0, 1])),
            SanType::Rfc822Name("me@x.test".try_into().expect("an address")),
            SanType::OtherName((vec![1, 2, 3], "upn".into())),
            SanType::DnsName("*.b.test".try_into().expect("a name")),
        ];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let facts = CertificateFacts::parse(certificate.der()).expect("a certificate");
        assert_eq!(facts.subject, "CN=a\\, b,O=Org");
        assert_eq!(facts.issuer, facts.subject);
        assert_eq!(facts.common_name.as_deref(), Some("a, b"));
        assert_eq!(facts.serial, "b102");
        assert_eq!(facts.dns_sans, ["a.test", "*.b.test"]);
        assert_eq!(facts.uri_sans, ["spiffe://x/y"]);
        assert_eq!(facts.ip_sans, ["127.0.0.1", "::1"]);
        assert_eq!(facts.email_sans, ["me@x.test"]);
        assert_eq!(facts.other_name_sans, [("1.2.3".into(), "upn".into())]);
        assert_eq!(
            (facts.not_before, facts.not_after),
            (1_577_836_800, 1_893_456_000)
        );
        assert_eq!(facts.fingerprint_256, hex(&sha256(certificate.der())));
        assert_eq!(facts.fingerprint_1.len(), 40);

        let escaped = |text: &str| {
            text.replace("\r\n", "\n")
                .replace('\n', "%0A")
                .replace(' ', "%20")
                .replace('+', "%2B")
                .replace('/', "%2F")
                .replace('=', "%3D")
        };
        assert_eq!(facts.url_encoded_pem(), escaped(&certificate.pem()));

        // No part of it is a certificate.
        for end in 0..certificate.der().len() {
            assert_eq!(CertificateFacts::parse(&certificate.der()[..end]), None);
        }
    }

    #[test]
    fn serial_numbers() {
        for (octets, text) in [
            (&[0][..], "0"),
            (&[0, 0xff], "ff"),
            (&[1, 0], "0100"),
            (&[], "0"),
        ] {
            assert_eq!(serial(octets), text);
        }
    }
}
