//! What is asked of a peer's certificate, on either side.

use std::sync::Arc;

use aws_lc_rs::digest;
use ringway_config::context::Cx;
use ringway_config::tls::{
    CertificateValidation, SubjectAltNameMatcher, TlsParameters, TlsVersion,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
};

use super::certificate::Listed;
use super::certificate_facts::sha256;
use super::notes;
use super::peer_certificate::PeerCertificate;
use super::trust_store::TrustStore;
use super::verify_failure::VerifyFailure;
use super::x509_store::{Purpose, Rules};
use super::{parameters, subject_alt_name};

/// The tests of a context.
#[derive(Debug)]
pub(super) struct Verifier {
    store: Option<TrustStore>,
    /// What statistics call those that are trusted, where anything is asked of peers.
    name: Option<Box<str>>,
    rules: Rules,
    names: Vec<SubjectAltNameMatcher>,
    certificate_hashes: Vec<[u8; 32]>,
    key_hashes: Vec<[u8; 32]>,
    /// Whoever fails is let in.
    accept_untrusted: bool,
    /// The name that was asked for must be there, whatever `names` say.
    name_of_sni: bool,
    /// Clients without a certificate are turned away.
    mandatory: bool,
    /// Clients are told whom we trust.
    tell_trusted: bool,
    schemes: Vec<SignatureScheme>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Tests of the peers of one side, and what their handshakes may be signed with.
    pub(super) fn compile(
        config: Option<&CertificateValidation>,
        parameters: &TlsParameters,
        purpose: Purpose,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let store = match config {
            Some(config) => TrustStore::compile(config, cx)?,
            None => None,
        };
        let name = config.map(|config| match &*config.secret {
            "" if store.is_none() => UNNAMED.into(),
            "" => UNNAMED_WITH_CERTIFICATES.into(),
            secret => secret.into(),
        });
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let set = |of: fn(&CertificateValidation) -> bool| config.is_some_and(of);
        Some(Self {
            store,
            name,
            rules: Rules {
                purpose,
                depth_max: config.map_or(0, |config| config.max_verify_depth),
                allow_expired: set(|config| config.allow_expired_certificate),
                only_leaf_revocation: set(|config| config.only_verify_leaf_cert_crl),
            },
            names: config.map_or_else(Vec::new, |config| config.subject_alt_names.clone()),
            certificate_hashes: config.map_or_else(Vec::new, |it| it.certificate_hashes.clone()),
            key_hashes: config.map_or_else(Vec::new, |config| config.spki_hashes.clone()),
            accept_untrusted: set(|config| config.accept_untrusted),
            name_of_sni: false,
            mandatory: false,
            tell_trusted: set(|config| !config.suppress_client_ca_list),
            schemes: parameters::signature_schemes(parameters),
            algorithms: provider.signature_verification_algorithms,
        })
    }

    /// Clients need a certificate, if they are asked for one: always, or where more
    /// than the chain is looked at.
    pub(super) fn require_certificate(mut self, always: bool) -> Self {
        let particular = !self.names.is_empty() || self.pins_certificate();
        self.mandatory = (always || particular && !self.accept_untrusted) && self.asks();
        self
    }

    /// Hosts need the name that they were asked for.
    pub(super) fn require_sni(mut self, required: bool) -> Self {
        self.name_of_sni = required;
        self
    }

    /// Whether there is anything that a certificate could fail.
    pub(super) fn asks(&self) -> bool {
        self.store.is_some() || self.pins_certificate()
    }

    /// The certificates that are trusted.
    pub(super) fn trusted(&self) -> impl Iterator<Item = Listed> {
        self.store.iter().flat_map(TrustStore::listed)
    }

    /// When the first of them ends, in seconds since 1970.
    pub(super) fn expires(&self) -> Option<i64> {
        self.store.as_ref().and_then(TrustStore::expires)
    }

    /// The name and the end that statistics tell; without certificates there is none.
    pub(super) fn named_end(&self) -> Option<(&str, i64)> {
        Some((self.name.as_deref()?, self.expires().unwrap_or(i64::MAX)))
    }

    /// What tells these tests from others: a session of a peer that has passed others
    /// has not passed these.
    pub(super) fn identity(&self) -> [u8; 32] {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut add = |bytes: &[u8]| {
            hash.update(&bytes.len().to_le_bytes());
            hash.update(bytes);
        };
        for anchor in self.store.iter().flat_map(TrustStore::anchors) {
            add(anchor);
        }
        add(format!("{:?}", (self.rules, &self.names)).as_bytes());
        for pin in self.certificate_hashes.iter().chain(&self.key_hashes) {
            add(pin);
        }
        add(&[u8::from(self.accept_untrusted), u8::from(self.mandatory)]);
        let mut identity = [0; 32];
        identity.copy_from_slice(hash.finish().as_ref());
        identity
    }

    fn pins_certificate(&self) -> bool {
        !self.certificate_hashes.is_empty() || !self.key_hashes.is_empty()
    }

    /// Tests a certificate, with those that the peer sent along.
    pub(super) fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        wanted: Wanted<'_>,
        now: UnixTime,
    ) -> Result<(), VerifyFailure> {
        if !self.asks() {
            return match wanted.required.is_empty() {
                false => Err(VerifyFailure::NobodyTrusted),
                true => Ok(()),
            };
        }
        let leaf = PeerCertificate::parse(certificate).ok_or(VerifyFailure::MALFORMED)?;
        if let Some(store) = &self.store {
            // Certificates are of this millennium and the next ones.
            let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            store.verify(certificate, others, self.rules, now)?;
        }
        let required = wanted.required;
        let has = |name| subject_alt_name::has(&leaf.certificate, name);
        if !required.is_empty() && !required.iter().any(|name| has(name)) {
            return Err(VerifyFailure::Asked {
                expected: required.join(", ").into(),
                names: subject_alt_name::list(&leaf.certificate),
            });
        }
        let named = match wanted.sni.filter(|_| self.name_of_sni) {
            Some(host) => subject_alt_name::is_host(&leaf.certificate, host),
            None => {
                self.names.is_empty() || subject_alt_name::matches(&leaf.certificate, &self.names)
            }
        };
        if !named {
            return Err(VerifyFailure::SubjectAltName(subject_alt_name::list(
                &leaf.certificate,
            )));
        }
        let pinned = !self.pins_certificate()
            || self.certificate_hashes.contains(&sha256(certificate))
            || (self.key_hashes).contains(&sha256(leaf.certificate.public_key().raw));
        match pinned {
            true => Ok(()),
            false => Err(VerifyFailure::CertificateHash),
        }
    }

    /// The same for rustls, which asks while a handshake goes on.
    fn admit(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        wanted: Wanted<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        // TLS itself asks this of every certificate that signs, as BoringSSL does.
        let own = PeerCertificate::parse(certificate);
        if own.is_some_and(|own| !own.may_sign_handshakes()) {
            return Err(KEY_USAGE);
        }
        match self.verify(certificate, others, wanted, now) {
            Err(failure) if self.accept_untrusted => failure.note(),
            Err(failure) => return Err(failure.into_error()),
            Ok(()) => {}
        }
        Ok(())
    }

    /// The signature of a handshake, by the key of the certificate.
    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        version: TlsVersion,
    ) -> Result<HandshakeSignatureValid, Error> {
        let bad = || Error::InvalidCertificate(CertificateError::BadSignature);
        let one_curve = version == TlsVersion::Tls13;
        if !self.schemes.contains(&signed.scheme) || one_curve && is_of_old(signed.scheme) {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        let own = PeerCertificate::parse(certificate).ok_or(CertificateError::BadEncoding)?;
        let mapping = self.algorithms.mapping.iter();
        let mut algorithms = mapping
            .filter(|(scheme, _)| *scheme == signed.scheme)
            .flat_map(|(_, algorithms)| {
                // TLS 1.2 has one hash and any curve, TLS 1.3 the curve of that hash,
                // which is the first of the list.
                let count = if one_curve { 1 } else { algorithms.len() };
                &algorithms[..count]
            });
        let algorithm = algorithms
            .find(|algorithm| *algorithm.public_key_alg_id() == *own.key.algorithm)
            .ok_or_else(bad)?;
        algorithm
            .verify_signature(own.key.key, message, signed.signature())
            .map_err(|_| bad())?;
        notes::note(|notes| notes.signature = Some(signed.scheme));
        Ok(HandshakeSignatureValid::assertion())
    }
}

/// What Envoy's statistics call those that are trusted where they are no secret. The
/// digits are those of a hash of nothing.
const UNNAMED: &str = "unnamed_ca_cert";
const UNNAMED_WITH_CERTIFICATES: &str = "unnamed_ca_cert_e3b0c442";

/// The key is not for signatures: BoringSSL's `KEY_USAGE_BIT_INCORRECT`, which is an
/// illegal parameter and no failed verification.
pub(super) const KEY_USAGE: Error =
    Error::PeerMisbehaved(PeerMisbehaved::SignedKxWithWrongAlgorithm);

/// RSA signatures with the padding of old have no place in TLS 1.3.
fn is_of_old(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
    )
}

/// What both of rustls's traits ask of signatures, answered by the verifier, or by the
/// one in this field.
macro_rules! signatures {
    ($($field:ident)?) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self$(.$field)?.check_signature(message, certificate, signed, TlsVersion::Tls12)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self$(.$field)?.check_signature(message, certificate, signed, TlsVersion::Tls13)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self$(.$field)?.schemes.clone()
        }
    };
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.asks()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.store {
            Some(store) if self.tell_trusted => store.subjects(),
            _ => &[],
        }
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.admit(certificate, others, Wanted::default(), now)?;
        Ok(ClientCertVerified::assertion())
    }

    signatures!();
}

/// The names of a host.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    /// What it was asked for, if it was.
    pub sni: Option<&'a str>,
    /// One of these it must have, if there are any, whatever the configuration says.
    pub required: &'a [Box<str>],
}

/// The same object cannot be both of rustls's verifiers, whose methods have the same
/// names.
#[derive(Debug)]
pub(super) struct HostVerifier {
    verifier: Arc<Verifier>,
    /// Names that requests ask for.
    required: Box<[Box<str>]>,
}

impl HostVerifier {
    pub(super) fn of(verifier: &Arc<Verifier>) -> Self {
        Self {
            verifier: Arc::clone(verifier),
            required: Box::default(),
        }
    }

    /// Hosts need one of these names, too, if there are any.
    pub(super) fn requiring(self, names: &[Box<str>]) -> Self {
        Self {
            required: names.into(),
            ..self
        }
    }
}

impl ServerCertVerifier for HostVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let wanted = Wanted {
            sni: match name {
                ServerName::DnsName(name) => Some(name.as_ref()),
                // It stands for a host that was not asked for a name.
                _ => None,
            },
            required: &self.required,
        };
        (self.verifier).admit(certificate, others, wanted, now)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures!(verifier);
}
