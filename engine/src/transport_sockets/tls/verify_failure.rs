//! Why a peer's certificate is refused: for statistics, logs, and the alert that the
//! peer gets.

use std::fmt;

use aws_lc_sys as ffi;
use rustls::{CertificateError, Error};

use super::notes;
use super::x509_store::ChainError;

/// A certificate that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyFailure {
    /// No chain leads to somebody who is trusted, or something is wrong with the one
    /// that does: `ssl.fail_verify_error`.
    Chain(ChainError),
    /// None of its names, which these are, is wanted: `ssl.fail_verify_san`.
    SubjectAltName(Box<str>),
    /// It does not have the name that requests ask for: `ssl.fail_verify_san`.
    Asked {
        /// That name.
        expected: Box<str>,
        /// Its names.
        names: Box<str>,
    },
    /// Requests ask for a name, and nobody is trusted to vouch for it: not counted.
    NobodyTrusted,
    /// Neither it nor its key is one of those that are wanted:
    /// `ssl.fail_verify_cert_hash`.
    CertificateHash,
}

impl From<ChainError> for VerifyFailure {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

/// The error of rustls that sends the alert which BoringSSL sends.
fn chain_alert(error: ChainError) -> CertificateError {
    match error.code {
        ffi::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT
        | ffi::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
        | ffi::X509_V_ERR_UNABLE_TO_GET_CRL
        | ffi::X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER
        | ffi::X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
        | ffi::X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
        | ffi::X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN
        | ffi::X509_V_ERR_CERT_CHAIN_TOO_LONG
        | ffi::X509_V_ERR_PATH_LENGTH_EXCEEDED
        | ffi::X509_V_ERR_INVALID_CA => CertificateError::UnknownIssuer,
        ffi::X509_V_ERR_CERT_HAS_EXPIRED | ffi::X509_V_ERR_CRL_HAS_EXPIRED => {
            CertificateError::Expired
        }
        ffi::X509_V_ERR_CERT_REVOKED => CertificateError::Revoked,
        ffi::X509_V_ERR_CERT_SIGNATURE_FAILURE | ffi::X509_V_ERR_CRL_SIGNATURE_FAILURE => {
            CertificateError::BadSignature
        }
        ffi::X509_V_ERR_INVALID_PURPOSE => CertificateError::InvalidPurpose,
        ffi::X509_V_ERR_CERT_NOT_YET_VALID
        | ffi::X509_V_ERR_CRL_NOT_YET_VALID
        | ffi::X509_V_ERR_CERT_UNTRUSTED
        | ffi::X509_V_ERR_CERT_REJECTED => CertificateError::BadEncoding,
        _ => unknown(),
    }
}

/// The alert `certificate_unknown`.
fn unknown() -> CertificateError {
    CertificateError::Other(rustls::OtherError(std::sync::Arc::new(Refused)))
}

#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

/// What Envoy says behind `verify cert failed: `.
impl fmt::Display for VerifyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(error) => write!(
                f,
                "X509_verify_cert: certificate verification error at depth {}: {}",
                error.depth,
                error.text()
            ),
            Self::SubjectAltName(names) => {
                write!(f, "SAN matcher, certificate SANs are [{names}]")
            }
            Self::Asked { expected, names } => write!(
                f,
                "verify SAN list, expected SANs: [{expected}], certificate SANs: [{names}]"
            ),
            Self::NobodyTrusted => Ok(()),
            Self::CertificateHash => f.write_str("cert hash and spki"),
        }
    }
}

impl VerifyFailure {
    /// It cannot be read.
    pub(super) const MALFORMED: Self = Self::Chain(ChainError {
        code: ffi::X509_V_ERR_UNSPECIFIED,
        depth: 0,
    });

    /// Notes it: rustls's errors have no room for it that does not change the alert.
    pub(super) fn note(self) {
        notes::note(|notes| notes.failure = Some(self));
    }

    /// The error that ends the handshake, which is noted.
    pub(super) fn into_error(self) -> Error {
        let error = match &self {
            Self::Chain(error) => chain_alert(*error),
            Self::SubjectAltName(_) | Self::Asked { .. } | Self::CertificateHash => unknown(),
            Self::NobodyTrusted => CertificateError::UnknownIssuer,
        };
        self.note();
        Error::InvalidCertificate(error)
    }
}
