//! What must hold for any bytes that are sent as a certificate: shared by the fuzz
//! target and a test that changes real ones. Not part of the API.

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
