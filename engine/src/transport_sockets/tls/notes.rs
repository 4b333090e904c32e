//! What becomes known while rustls asks us in the middle of a handshake, and it has no
//! place for: it is noted on the thread, and read when rustls returns. What it has agreed
//! on is noted, too, for handshakes that come to no end.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::crypto::SupportedKxGroup;
use rustls::{CommonState, NamedGroup, ProtocolVersion, SignatureScheme, SupportedCipherSuite};

use super::certificate_selector::Staple;
use super::verify_failure::VerifyFailure;
use crate::stream_info::CertificateFacts;

/// What was noted.
#[derive(Debug, Default)]
pub struct Notes {
    /// What is wrong with the peer's certificate, whatever came of it.
    pub(super) failure: Option<VerifyFailure>,
    /// The certificate that a client gets.
    pub(super) certificate: Option<Arc<CertificateFacts>>,
    /// What a client got that asked for a response of OCSP.
    pub(super) staple: Option<Staple>,
    /// What the peer has signed the handshake with.
    pub(super) signature: Option<SignatureScheme>,
    /// The version that was agreed on.
    pub(super) version: Option<ProtocolVersion>,
    /// The cipher that was agreed on.
    pub(super) suite: Option<SupportedCipherSuite>,
    /// The group that keys were agreed on in.
    pub(super) group: Option<NamedGroup>,
}

thread_local! {
    static NOTES: RefCell<Notes> = RefCell::default();
}

/// Notes something.
pub(super) fn note(what: impl FnOnce(&mut Notes)) {
    NOTES.with_borrow_mut(what);
}

/// What was noted since this was asked last.
pub(super) fn take() -> Notes {
    NOTES.take()
}

impl Notes {
    /// Notes what is agreed on by now.
    pub(super) fn agreed(&mut self, state: &CommonState) {
        self.version = state.protocol_version();
        self.suite = state.negotiated_cipher_suite();
        let group = state.negotiated_key_exchange_group();
        self.group = group.map(SupportedKxGroup::name);
    }

    /// Adds what was noted later.
    pub(super) fn add(&mut self, later: Self) {
        self.failure = later.failure.or(self.failure.take());
        self.certificate = later.certificate.or(self.certificate.take());
        self.staple = later.staple.or(self.staple);
        self.signature = later.signature.or(self.signature);
    }
}
