//! `x-forwarded-client-cert` (XFCC): what the next hop learns of the client's
//! certificate.
//!
//! Each proxy on the way adds an element. Elements are `Key=value` pairs, or
//! objects of a JSON array where the configuration or the proxy before us
//! says so. What we have to say is the same for all requests of a connection,
//! so it is written once (`TlsInfo::forwarded`).

use std::fmt::Write as _;

use ringway_codecs::header::{HeaderId, HeaderMap};

use super::value_copy::ValueCopy;
use crate::stream_info::{CertificateFacts, TlsInfo};

/// `forward_client_cert_details` and `set_current_client_cert_details`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardClientCert {
    /// What becomes of the header.
    pub mode: Mode,
    /// What is told besides the hash, and the names of our own certificate.
    pub details: Details,
    /// How it is written where there is nothing to add it to.
    pub format: Format,
}

/// `ForwardClientCertDetails`. Only clients that have shown a certificate may
/// say something, but with `AlwaysForwardOnly`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The header is removed.
    #[default]
    Sanitize,
    /// It stays as it came.
    ForwardOnly,
    /// An element is added.
    AppendForward,
    /// The element takes the place of what came.
    SanitizeSet,
    /// It stays, whoever the client is.
    AlwaysForwardOnly,
}

/// `SetCurrentClientCertDetails`: what is told of the client's certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Details {
    /// The certificate itself.
    pub cert: bool,
    /// It, and those that the client has sent with it.
    pub chain: bool,
    /// Whose it is.
    pub subject: bool,
    /// Names that are URIs.
    pub uri: bool,
    /// Names of DNS.
    pub dns: bool,
    /// Who has signed it.
    pub issuer: bool,
}

/// `ForwardClientCertFormat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// `Key=value;Key=value`, elements separated by commas.
    #[default]
    Text,
    /// An array of objects.
    Json,
}

impl ForwardClientCert {
    /// Brings the header into the form in which the next hop gets it; `tls` is
    /// the client's connection, if it has keys.
    pub fn apply(self, headers: &mut HeaderMap, tls: Option<&TlsInfo>) {
        const XFCC: HeaderId = HeaderId::XForwardedClientCert;
        if self.mode == Mode::AlwaysForwardOnly {
            return;
        }
        let shown = tls.and_then(|tls| Some((tls, tls.peer.first()?)));
        let Some((tls, certificate)) = shown else {
            headers.remove(XFCC);
            return;
        };
        match self.mode {
            Mode::Sanitize => {
                headers.remove(XFCC);
            }
            Mode::ForwardOnly | Mode::AlwaysForwardOnly => {}
            Mode::SanitizeSet => headers.set_with(XFCC, |out| {
                self.write_first(tls, certificate, out);
            }),
            Mode::AppendForward => {
                let before = ValueCopy::of(headers.get(XFCC).unwrap_or_default());
                headers.set_with(XFCC, |out| match as_array(&before) {
                    _ if before.is_empty() => self.write_first(tls, certificate, out),
                    Some(elements) => {
                        out.push(b'[');
                        out.extend_from_slice(elements);
                        if !elements.trim_ascii().is_empty() {
                            out.push(b',');
                        }
                        self.write_element(Format::Json, tls, certificate, out);
                        out.push(b']');
                    }
                    None => {
                        out.extend_from_slice(&before);
                        out.push(b',');
                        self.write_element(Format::Text, tls, certificate, out);
                    }
                });
            }
        }
    }

    /// The whole value, where ours is the only element.
    fn write_first(self, tls: &TlsInfo, certificate: &CertificateFacts, out: &mut Vec<u8>) {
        match self.format {
            Format::Text => self.write_element(Format::Text, tls, certificate, out),
            Format::Json => {
                out.push(b'[');
                self.write_element(Format::Json, tls, certificate, out);
                out.push(b']');
            }
        }
    }

    fn write_element(
        self,
        format: Format,
        tls: &TlsInfo,
        certificate: &CertificateFacts,
        out: &mut Vec<u8>,
    ) {
        if format == self.format {
            let known = (tls.forwarded).get_or_init(|| self.element(format, tls, certificate));
            out.extend_from_slice(known.as_bytes());
        } else {
            out.extend_from_slice(self.element(format, tls, certificate).as_bytes());
        }
    }

    fn element(self, format: Format, tls: &TlsInfo, certificate: &CertificateFacts) -> Box<str> {
        let local = tls.local.as_deref();
        let by = local.map_or(&[][..], |local| &local.uri_sans);
        let element = match format {
            Format::Text => self.text(by, certificate, &tls.peer),
            Format::Json => self.json(by, certificate, &tls.peer),
        };
        element.into_boxed_str()
    }

    /// Keys in Envoy's order.
    fn text(
        self,
        by: &[String],
        certificate: &CertificateFacts,
        chain: &[CertificateFacts],
    ) -> String {
        let mut out = String::new();
        for uri in by {
            push_pair("By", uri, &mut out);
        }
        push_pair("Hash", &certificate.fingerprint_256, &mut out);
        if self.details.cert {
            push_quoted("Cert", &certificate.url_encoded_pem(), &mut out);
        }
        if self.details.chain {
            let chain: String = chain
                .iter()
                .map(CertificateFacts::url_encoded_pem)
                .collect();
            push_quoted("Chain", &chain, &mut out);
        }
        if self.details.subject {
            push_quoted("Subject", &certificate.subject, &mut out);
        }
        if self.details.uri {
            for uri in &certificate.uri_sans {
                push_pair("URI", uri, &mut out);
            }
            if certificate.uri_sans.is_empty() {
                push_pair("URI", "", &mut out);
            }
        }
        if self.details.dns {
            for name in &certificate.dns_sans {
                push_pair("DNS", name, &mut out);
            }
        }
        if self.details.issuer {
            push_quoted("Issuer", &certificate.issuer, &mut out);
        }
        out
    }

    /// The same as an object. What there is none of has no key.
    fn json(
        self,
        by: &[String],
        certificate: &CertificateFacts,
        chain: &[CertificateFacts],
    ) -> String {
        let details = self.details;
        let wanted = |wanted: bool, names| if wanted { names } else { &[][..] };
        let element = Element {
            by,
            hash: &certificate.fingerprint_256,
            cert: details.cert.then(|| certificate.pem()),
            chain: (details.chain).then(|| chain.iter().map(CertificateFacts::pem).collect()),
            subject: details.subject.then_some(&certificate.subject),
            uri: wanted(details.uri, &certificate.uri_sans[..]),
            dns: wanted(details.dns, &certificate.dns_sans[..]),
            issuer: details.issuer.then_some(&certificate.issuer),
        };
        serde_json::to_string(&element).expect("texts can be written")
    }
}

/// An element in JSON, its keys in Envoy's order.
#[derive(serde::Serialize)]
struct Element<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    by: &'a [String],
    hash: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    uri: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    dns: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a String>,
}

/// The inside of a value that is an array.
fn as_array(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"[")?.strip_suffix(b"]")
}

/// A pair whose value is not quoted as long as it needs no quotes. A name in a
/// certificate may have any bytes, and must not become a pair of its own, an
/// element of its own, or another header.
fn push_pair(key: &str, value: &str, out: &mut String) {
    if value.contains(|c: char| matches!(c, ',' | ';' | '"') || c.is_ascii_control()) {
        let mut escaped = String::with_capacity(value.len() + 8);
        for character in value.chars() {
            match character {
                '"' | '\\' => escaped.extend(['\\', character]),
                control if control.is_ascii_control() => {
                    write!(escaped, "%{:02X}", control as u32).expect("memory takes all");
                }
                other => escaped.push(other),
            }
        }
        push_quoted(key, &escaped, out);
        return;
    }
    begin_pair(key, out);
    out.push_str(value);
}

/// A pair whose value is quoted, and has nothing in it that quotes must not
/// hold: what is encoded, and names with the escapes of RFC 2253.
fn push_quoted(key: &str, value: &str, out: &mut String) {
    begin_pair(key, out);
    out.push('"');
    out.push_str(value);
    out.push('"');
}

fn begin_pair(key: &str, out: &mut String) {
    if !out.is_empty() {
        out.push(';');
    }
    out.push_str(key);
    out.push('=');
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use super::super::test_headers::{headers, text};
    use super::*;

    fn tls(dns: &str, uris: &[&str]) -> TlsInfo {
        let facts = |subject: &str, uris: &[&str]| CertificateFacts {
            subject: subject.to_owned(),
            issuer: "CN=ca".to_owned(),
            fingerprint_256: "ab".to_owned(),
            dns_sans: vec![dns.to_owned()],
            uri_sans: uris.iter().map(|uri| (*uri).to_owned()).collect(),
            der: (*b"x").into(),
            ..CertificateFacts::default()
        };
        TlsInfo {
            version: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            group: None,
            alpn: None,
            session_reused: false,
            server_name: None,
            local: Some(Arc::new(facts("CN=us", &["x:us"]))),
            peer: Box::new([facts("CN=a\\\"b", uris), facts("CN=ca", &[])]),
            peer_validated: true,
            forwarded: OnceLock::new(),
        }
    }

    const ALL: Details = Details {
        cert: true,
        chain: true,
        subject: true,
        uri: true,
        dns: true,
        issuer: true,
    };

    fn applied(
        mode: Mode,
        details: Details,
        format: Format,
        tls: Option<&TlsInfo>,
        sent: &str,
    ) -> String {
        let rule = ForwardClientCert {
            mode,
            details,
            format,
        };
        let mut map = headers(sent);
        rule.apply(&mut map, tls);
        text(&map)
    }

    const SENT: &str = "a: 1\nx-forwarded-client-cert: Hash=z\nb: 2";

    #[test]
    fn who_may_say_what() {
        let nothing = Details::default();
        let with = tls("d", &["u"]);
        let without = TlsInfo {
            peer: Box::default(),
            ..tls("d", &[])
        };
        let gone = "a: 1 | b: 2";
        let kept = "a: 1 | x-forwarded-client-cert: Hash=z | b: 2";
        for (mode, with_certificate, others) in [
            (Mode::Sanitize, gone, gone),
            (Mode::ForwardOnly, kept, gone),
            (
                Mode::AppendForward,
                "a: 1 | x-forwarded-client-cert: Hash=z,By=x:us;Hash=ab | b: 2",
                gone,
            ),
            (
                Mode::SanitizeSet,
                "a: 1 | x-forwarded-client-cert: By=x:us;Hash=ab | b: 2",
                gone,
            ),
            (Mode::AlwaysForwardOnly, kept, kept),
        ] {
            let seen = |tls| applied(mode, nothing, Format::Text, tls, SENT);
            assert_eq!(seen(Some(&with)), with_certificate, "{mode:?}");
            assert_eq!(seen(Some(&without)), others, "{mode:?}");
            assert_eq!(seen(None), others, "{mode:?}");
        }
    }

    #[test]
    fn everything_in_envoys_order() {
        let with = tls("d", &["u", "v"]);
        let pem = "-----BEGIN%20CERTIFICATE-----%0AeA%3D%3D%0A-----END%20CERTIFICATE-----%0A";
        let seen = applied(Mode::SanitizeSet, ALL, Format::Text, Some(&with), "");
        assert_eq!(
            seen,
            format!(
                "x-forwarded-client-cert: By=x:us;Hash=ab;Cert=\"{pem}\";Chain=\"{pem}{pem}\";\
                 Subject=\"CN=a\\\"b\";URI=u;URI=v;DNS=d;Issuer=\"CN=ca\""
            )
        );
        let seen = applied(
            Mode::SanitizeSet,
            ALL,
            Format::Json,
            Some(&tls("d", &["u"])),
            "",
        );
        let pem = "-----BEGIN CERTIFICATE-----\\neA==\\n-----END CERTIFICATE-----\\n";
        assert_eq!(
            seen,
            format!(
                "x-forwarded-client-cert: [{{\"by\":[\"x:us\"],\"hash\":\"ab\",\"cert\":\"{pem}\",\
                 \"chain\":[\"{pem}\",\"{pem}\"],\"subject\":\"CN=a\\\\\\\"b\",\"uri\":[\"u\"],\
                 \"dns\":[\"d\"],\"issuer\":\"CN=ca\"}}]"
            )
        );
    }

    #[test]
    fn what_is_there_decides_the_form() {
        let uri = Details {
            uri: true,
            ..Details::default()
        };
        let text = "By=x:us;Hash=ab;URI=";
        let json = "{\"by\":[\"x:us\"],\"hash\":\"ab\"}";
        for (format, before, after) in [
            (Format::Text, "", text.to_owned()),
            (Format::Json, "", format!("[{json}]")),
            (Format::Json, "Hash=z", format!("Hash=z,{text}")),
            (Format::Text, "[{\"a\":1}]", format!("[{{\"a\":1}},{json}]")),
            (Format::Text, "[]", format!("[{json}]")),
            (Format::Json, "[ ]", format!("[ {json}]")),
            (Format::Json, "[], z", format!("[], z,{text}")),
        ] {
            let with = tls("d", &[]);
            let sent = format!("x-forwarded-client-cert: {before}");
            // Twice: what was written once is the same later.
            for _ in 0..2 {
                let seen = applied(Mode::AppendForward, uri, format, Some(&with), &sent);
                assert_eq!(seen, format!("x-forwarded-client-cert: {after}"));
            }
        }
    }

    #[test]
    fn names_of_certificates_are_no_more_than_names() {
        let names = Details {
            uri: true,
            dns: true,
            ..Details::default()
        };
        for (name, shown) in [
            ("a.test", "a.test"),
            ("x:a?b=c\\d", "x:a?b=c\\d"),
            ("a;By=b", "\"a;By=b\""),
            ("a,Hash=b", "\"a,Hash=b\""),
            ("a\",\\", "\"a\\\",\\\\\""),
            ("a\r\nb: c\0\x7f", "\"a%0D%0Ab: c%00%7F\""),
        ] {
            let seen = applied(
                Mode::SanitizeSet,
                names,
                Format::Text,
                Some(&tls(name, &[name])),
                "",
            );
            let expected =
                format!("x-forwarded-client-cert: By=x:us;Hash=ab;URI={shown};DNS={shown}");
            assert_eq!(seen, expected);
        }
    }
}
