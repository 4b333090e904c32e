//! What is known of a TLS connection: for logs, headers and routes.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// What the handshake of a connection has agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3`
    pub version: &'static str,
    /// As BoringSSL calls it.
    pub cipher: &'static str,
    /// The group of the key exchange.
    pub group: Option<&'static str>,
    /// The protocol of the layer above (ALPN).
    pub alpn: Option<Box<[u8]>>,
    /// It took an earlier session up.
    pub session_reused: bool,
    /// The name that the client has asked for, if the peer is one.
    pub server_name: Option<Box<str>>,
    /// Our own certificate, if we have shown one.
    pub local: Option<Arc<CertificateFacts>>,
    /// The peer's certificates, its own first.
    pub peer: Box<[CertificateFacts]>,
    /// The peer's certificate was asked for, and has passed every test.
    pub peer_validated: bool,
    /// Our element of `x-forwarded-client-cert`, once a request has asked for
    /// it: the same for all requests of the connection.
    pub forwarded: OnceLock<Box<str>>,
}

/// What a certificate says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whose it is, in one line (RFC 2253).
    pub subject: String,
    /// The common name in it, if there is one.
    pub common_name: Option<String>,
    /// Who has signed it, in one line.
    pub issuer: String,
    /// The serial number in hexadecimal digits.
    pub serial: String,
    /// Names of DNS, in the order of the certificate.
    pub dns_sans: Vec<String>,
    /// URIs.
    pub uri_sans: Vec<String>,
    /// IP addresses.
    pub ip_sans: Vec<String>,
    /// Addresses of mail.
    pub email_sans: Vec<String>,
    /// Names of other kinds, if they have a text: kind and text.
    pub other_name_sans: Vec<(String, String)>,
    /// From when it is valid, in seconds since 1970.
    pub not_before: i64,
    /// Until when it is valid, in seconds since 1970.
    pub not_after: i64,
    /// SHA-256 of its bytes in hexadecimal digits.
    pub fingerprint_256: String,
    /// SHA-1 of its bytes in hexadecimal digits.
    pub fingerprint_1: String,
    /// All of it, in DER.
    pub der: Box<[u8]>,
}

impl CertificateFacts {
    /// It in PEM (RFC 7468).
    #[must_use]
    pub fn pem(&self) -> String {
        self.pem_with(
            "-----BEGIN CERTIFICATE-----",
            "-----END CERTIFICATE-----",
            "\n",
            |c, out| {
                out.push(c);
            },
        )
    }

    /// It in PEM with what has a meaning in a header escaped, as
    /// `x-forwarded-client-cert` carries it.
    #[must_use]
    pub fn url_encoded_pem(&self) -> String {
        let (begin, end) = (
            "-----BEGIN%20CERTIFICATE-----",
            "-----END%20CERTIFICATE-----",
        );
        self.pem_with(begin, end, "%0A", |character, text| match character {
            '+' => text.push_str("%2B"),
            '/' => text.push_str("%2F"),
            '=' => text.push_str("%3D"),
            other => text.push(other),
        })
    }

    fn pem_with(
        &self,
        begin: &str,
        end: &str,
        line_end: &str,
        mut push: impl FnMut(char, &mut String),
    ) -> String {
        let encoded = BASE64.encode(&self.der);
        let mut text = String::with_capacity(encoded.len() + encoded.len() / 8 + 128);
        text.push_str(begin);
        for (i, character) in encoded.chars().enumerate() {
            if i % PEM_LINE == 0 {
                text.push_str(line_end);
            }
            push(character, &mut text);
        }
        text.push_str(line_end);
        text.push_str(end);
        text.push_str(line_end);
        text
    }
}

/// RFC 7468 section 2.
const PEM_LINE: usize = 64;
