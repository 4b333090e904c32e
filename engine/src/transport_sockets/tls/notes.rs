//! What becomes known while rustls asks us in the middle of a handshake, and it has no
//! place for: it is noted on the thread, and read when rustls returns.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::SignatureScheme;

use super::certificate_selector::Staple;
use super::verify_failure::VerifyFailure;
use crate::stream_info::CertificateFacts;

/// What was noted.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// What is wrong with the peer's certificate, whatever came of it.
    pub failure: Option<VerifyFailure>,
    /// The certificate that a client gets.
    pub certificate: Option<Arc<CertificateFacts>>,
    /// What a client got that asked for a response of OCSP.
    pub staple: Option<Staple>,
    /// What the peer has signed the handshake with.
    pub signature: Option<SignatureScheme>,
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
    /// Adds what was noted later.
    pub(super) fn add(&mut self, later: Self) {
        self.failure = later.failure.or(self.failure.take());
        self.certificate = later.certificate.or(self.certificate.take());
        self.staple = later.staple.or(self.staple);
        self.signature = later.signature.or(self.signature);
    }
}
