//! What must hold for any bytes that are sent as a certificate, or given as a response
//! of OCSP, and of handshakes that somebody changes on their way: shared by the fuzz
//! targets and tests that change real ones. Not part of the API.

mod handshake;

pub use handshake::{Ended, handshake};

use super::ocsp::OcspResponse;
use super::peer_certificate::PeerCertificate;
use super::subject_alt_name;
use crate::stream_info::CertificateFacts;

/// The fuzz target. Nothing panics, and nothing of a certificate can end the line of
/// a log or of a header that tells it.
pub fn certificate(data: &[u8]) {
    let whole = CertificateFacts {
        der: data.into(),
        ..CertificateFacts::default()
    };
    let pem = whole.url_encoded_pem();
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"%-".contains(&byte);
    assert!(pem.bytes().all(is_safe), "{pem}");
    if let Some(facts) = CertificateFacts::parse(data) {
        let names = facts.dns_sans.iter().chain(&facts.uri_sans);
        let names = names.chain(&facts.ip_sans).chain(&facts.email_sans);
        let others = facts.other_name_sans.iter().map(|(_, text)| text);
        let lines = [&facts.subject, &facts.issuer, &facts.serial];
        for text in names.chain(others).chain(lines) {
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }
    if let Some(peer) = PeerCertificate::parse(data) {
        let _ = peer.may_sign_handshakes();
        let _ = subject_alt_name::is_host(&peer.certificate, "a.example.com");
    }
}

/// The fuzz target of responses. Nothing panics, and a response is sent as it was given.
pub fn ocsp_response(data: &[u8]) {
    if let Ok(response) = OcspResponse::parse(data) {
        assert_eq!(*response.der, *data);
        assert!(response.is_expired(i64::MAX) || response.next_update == Some(i64::MAX));
    }
}
