//! What a handshake may choose from, in rustls's words.

use ringway_config::tls::{CipherSuite, Group, SignatureScheme, TlsParameters, TlsVersion};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

/// The ciphers of TLS 1.3, which nobody chooses: BoringSSL's order, for machines
/// that have AES.
const TLS13_SUITES: [SupportedCipherSuite; 3] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// aws-lc-rs, held to what is asked for.
pub(super) fn provider(parameters: &TlsParameters) -> CryptoProvider {
    // A client would offer those of a version that it does not speak.
    let mut cipher_suites = Vec::new();
    if parameters.version_max >= TlsVersion::Tls13 {
        cipher_suites.extend(TLS13_SUITES);
    }
    if parameters.version_min <= TlsVersion::Tls12 {
        let own = parameters.cipher_suites.iter();
        cipher_suites.extend(own.map(|suite| cipher_suite_of(*suite)));
    }
    CryptoProvider {
        cipher_suites,
        kx_groups: (parameters.groups.iter())
            .map(|group| group_of(*group))
            .collect(),
        ..aws_lc_rs::default_provider()
    }
}

/// The versions that are spoken.
pub(super) fn versions(parameters: &TlsParameters) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match (parameters.version_min, parameters.version_max) {
        (TlsVersion::Tls13, _) => &BOTH[..1],
        (TlsVersion::Tls12, TlsVersion::Tls12) => &BOTH[1..],
        (TlsVersion::Tls12, TlsVersion::Tls13) => &BOTH,
    }
}

/// The signatures of a handshake, the preferred first.
pub(super) fn signature_schemes(parameters: &TlsParameters) -> Vec<rustls::SignatureScheme> {
    let schemes = parameters.signature_schemes.as_deref();
    let schemes = schemes.unwrap_or(SignatureScheme::ALL).iter();
    schemes.map(|scheme| scheme_of(*scheme)).collect()
}

fn cipher_suite_of(suite: CipherSuite) -> SupportedCipherSuite {
    match suite {
        CipherSuite::EcdheEcdsaAes128Gcm => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheEcdsaChacha20 => {
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        CipherSuite::EcdheRsaAes128Gcm => cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheRsaChacha20 => cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdheEcdsaAes256Gcm => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheRsaAes256Gcm => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    }
}

fn group_of(group: Group) -> &'static dyn SupportedKxGroup {
    match group {
        Group::X25519 => kx_group::X25519,
        Group::P256 => kx_group::SECP256R1,
        Group::P384 => kx_group::SECP384R1,
        Group::X25519MlKem768 => kx_group::X25519MLKEM768,
        Group::MlKem1024 => kx_group::MLKEM1024,
    }
}

fn scheme_of(scheme: SignatureScheme) -> rustls::SignatureScheme {
    match scheme {
        SignatureScheme::EcdsaP256Sha256 => rustls::SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::EcdsaP384Sha384 => rustls::SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::EcdsaP521Sha512 => rustls::SignatureScheme::ECDSA_NISTP521_SHA512,
        SignatureScheme::RsaPssSha256 => rustls::SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RsaPssSha384 => rustls::SignatureScheme::RSA_PSS_SHA384,
        SignatureScheme::RsaPssSha512 => rustls::SignatureScheme::RSA_PSS_SHA512,
        SignatureScheme::RsaPkcs1Sha256 => rustls::SignatureScheme::RSA_PKCS1_SHA256,
        SignatureScheme::RsaPkcs1Sha384 => rustls::SignatureScheme::RSA_PKCS1_SHA384,
        SignatureScheme::RsaPkcs1Sha512 => rustls::SignatureScheme::RSA_PKCS1_SHA512,
        SignatureScheme::Ed25519 => rustls::SignatureScheme::ED25519,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_and_nothing_else() {
        let parameters = TlsParameters {
            version_min: TlsVersion::Tls12,
            version_max: TlsVersion::Tls12,
            cipher_suites: vec![CipherSuite::EcdheRsaAes256Gcm],
            groups: vec![Group::P384, Group::MlKem1024],
            signature_schemes: Some(vec![SignatureScheme::Ed25519]),
        };
        let provider = provider(&parameters);
        assert_eq!(
            provider.cipher_suites,
            [cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]
        );
        let groups: Vec<_> = provider
            .kx_groups
            .iter()
            .map(|group| group.name())
            .collect();
        let expected = [rustls::NamedGroup::secp384r1, rustls::NamedGroup::MLKEM1024];
        assert_eq!(groups, expected);
        assert_eq!(
            signature_schemes(&parameters),
            [rustls::SignatureScheme::ED25519]
        );
        assert_eq!(versions(&parameters), [&TLS12]);
    }
}
