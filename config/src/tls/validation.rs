//! What is asked of a peer's certificate (`CertificateValidationContext`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use pb::certificate_validation_context::TrustChainVerification;
use pb::subject_alt_name_matcher::SanType as ProtoSanType;

use super::certificate::warn_of_directory;
use crate::context::Cx;
use crate::core;
use crate::data_source::DataSource;
use crate::route::StringMatcher;

/// Who may be at the other end.
#[derive(Clone, Debug)]
pub struct CertificateValidation {
    /// The name of the secret that it is, or nothing.
    pub secret: Box<str>,
    /// Certificates that a chain may end in, PEM, perhaps with revocation lists.
    /// Without it no chain is built.
    pub trusted_ca: Option<DataSource>,
    /// SHA-256 of certificates, one of which it must be.
    pub certificate_hashes: Vec<[u8; 32]>,
    /// SHA-256 of public keys, one of which it must have; the two lists are one.
    pub spki_hashes: Vec<[u8; 32]>,
    /// Alternative names, one of which must match.
    pub subject_alt_names: Vec<SubjectAltNameMatcher>,
    /// Revocation lists, PEM.
    pub crl: Option<DataSource>,
    /// The lists are asked about the peer's certificate alone, not about those that
    /// signed it.
    pub only_verify_leaf_cert_crl: bool,
    /// The time does not matter.
    pub allow_expired_certificate: bool,
    /// Whoever fails is let in, and known as not verified.
    pub accept_untrusted: bool,
    /// Certificates of a chain without the peer's own.
    pub max_verify_depth: u32,
    /// A server does not tell whom it trusts.
    pub suppress_client_ca_list: bool,
}

/// A test of one kind of alternative name.
#[derive(Clone, Debug)]
pub struct SubjectAltNameMatcher {
    /// The kind.
    pub san_type: SanType,
    /// The test of its text.
    pub matcher: StringMatcher,
}

/// Kinds of alternative names (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SanType {
    /// An address of mail.
    Email,
    /// A name of DNS.
    Dns,
    /// A URI.
    Uri,
    /// An IP address.
    IpAddress,
    /// Something else, whose kind this object identifier names.
    OtherName(Box<str>),
}

impl CertificateValidation {
    /// Whether a certificate can fail, apart from its signature of the handshake.
    pub fn verifies(&self) -> bool {
        self.trusted_ca.is_some()
            || !self.certificate_hashes.is_empty()
            || !self.spki_hashes.is_empty()
    }

    /// Whether more is asked of it than somebody's signature: clients need one then.
    pub fn is_particular(&self) -> bool {
        !self.certificate_hashes.is_empty()
            || !self.spki_hashes.is_empty()
            || !self.subject_alt_names.is_empty()
    }

    /// Lowers what the bootstrap has, perhaps as a secret of this name.
    pub(super) fn lower_fixed(
        proto: &pb::CertificateValidationContext,
        secret: &str,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        warn_of_directory(proto.watched_directory.is_some(), cx);
        Self::lower(proto, secret, cx)
    }

    pub(super) fn lower(
        proto: &pb::CertificateValidationContext,
        secret: &str,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let trusted_ca = DataSource::lower(proto.trusted_ca.as_ref(), "trusted_ca", cx);
        if proto.trusted_ca.is_some() && trusted_ca.is_none() {
            cx.error_at("trusted_ca", "there is nothing in it");
        }
        let crl = DataSource::lower(proto.crl.as_ref(), "crl", cx);
        let certificate_hashes = each(
            &proto.verify_certificate_hash,
            "verify_certificate_hash",
            cx,
            |text, cx| {
                let hash = hex_hash(text);
                if hash.is_none() {
                    cx.error(format!("{text:?} is not a SHA-256 in hexadecimal digits"));
                }
                hash
            },
        );
        let spki_hashes = each(
            &proto.verify_certificate_spki,
            "verify_certificate_spki",
            cx,
            |text, cx| {
                let hash = BASE64.decode(text).ok();
                let hash = hash.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
                if hash.is_none() {
                    cx.error(format!("{text:?} is not a SHA-256 in base64"));
                }
                hash
            },
        );
        let subject_alt_names = subject_alt_names(proto, cx);
        let mut complete = true;
        if proto.trusted_ca.is_none() {
            complete = check_without_ca(proto, crl.is_some(), cx);
        }
        let validation = Self {
            secret: secret.into(),
            trusted_ca,
            certificate_hashes: certificate_hashes?,
            spki_hashes: spki_hashes?,
            subject_alt_names: subject_alt_names?,
            crl,
            only_verify_leaf_cert_crl: proto.only_verify_leaf_cert_crl,
            allow_expired_certificate: proto.allow_expired_certificate,
            accept_untrusted: proto.trust_chain_verification()
                == TrustChainVerification::AcceptUntrusted,
            max_verify_depth: core::u32_or(proto.max_verify_depth, VERIFY_DEPTH),
            suppress_client_ca_list: proto.suppress_client_ca_list,
        };
        (complete && (proto.trusted_ca.is_none() || validation.trusted_ca.is_some()))
            .then_some(validation)
    }
}

/// Envoy's default.
const VERIFY_DEPTH: u32 = 100;

/// What means nothing without somebody to trust.
#[expect(deprecated, reason = "files written for older Envoys still use it")]
fn check_without_ca(
    proto: &pb::CertificateValidationContext,
    has_crl: bool,
    cx: &mut Cx<'_>,
) -> bool {
    let names = !proto.match_typed_subject_alt_names.is_empty();
    let untyped = !proto.match_subject_alt_names.is_empty();
    let mut complete = true;
    for (set, field, reason) in [
        (
            names,
            "match_typed_subject_alt_names",
            "names without a trusted_ca are easily made up",
        ),
        (
            untyped && !names,
            "match_subject_alt_names",
            "names without a trusted_ca are easily made up",
        ),
        (
            proto.allow_expired_certificate,
            "allow_expired_certificate",
            "without a trusted_ca the time never matters",
        ),
        (has_crl, "crl", "a revocation list needs a trusted_ca"),
    ] {
        if set {
            cx.error_at(field, reason);
            complete = false;
        }
    }
    complete
}

fn each<T, R>(
    protos: &[T],
    field: &str,
    cx: &mut Cx<'_>,
    mut lower: impl FnMut(&T, &mut Cx<'_>) -> Option<R>,
) -> Option<Vec<R>> {
    let mut lowered = Vec::with_capacity(protos.len());
    for (i, proto) in protos.iter().enumerate() {
        lowered.push(cx.index(field, i, |cx| lower(proto, cx)));
    }
    lowered.into_iter().collect()
}

/// 64 digits, or 32 pairs with colons between them.
fn hex_hash(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let digits: String = match text.len() {
        64 => text.to_owned(),
        95 if (text.bytes().enumerate()).all(|(i, byte)| (byte == b':') == (i % 3 == 2)) => {
            text.replace(':', "")
        }
        _ => return None,
    };
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, place) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&digits[place..place + 2], 16).ok()?;
    }
    Some(hash)
}

#[expect(deprecated, reason = "files written for older Envoys still use it")]
fn subject_alt_names(
    proto: &pb::CertificateValidationContext,
    cx: &mut Cx<'_>,
) -> Option<Vec<SubjectAltNameMatcher>> {
    if !proto.match_typed_subject_alt_names.is_empty() {
        if !proto.match_subject_alt_names.is_empty() {
            cx.warn_at(
                "match_subject_alt_names",
                "has no effect beside match_typed_subject_alt_names",
            );
        }
        let field = "match_typed_subject_alt_names";
        return each(&proto.match_typed_subject_alt_names, field, cx, typed_name);
    }
    let untyped = each(
        &proto.match_subject_alt_names,
        "match_subject_alt_names",
        cx,
        untyped_name,
    )?;
    Some(untyped.into_iter().flatten().collect())
}

fn typed_name(proto: &pb::SubjectAltNameMatcher, cx: &mut Cx<'_>) -> Option<SubjectAltNameMatcher> {
    let san_type = match proto.san_type() {
        ProtoSanType::Email => Some(SanType::Email),
        ProtoSanType::Dns => Some(SanType::Dns),
        ProtoSanType::Uri => Some(SanType::Uri),
        ProtoSanType::IpAddress => Some(SanType::IpAddress),
        ProtoSanType::OtherName if is_object_identifier(&proto.oid) => {
            Some(SanType::OtherName(proto.oid.as_str().into()))
        }
        ProtoSanType::OtherName => {
            let reason = format!(
                "OTHER_NAME needs an object identifier such as 1.3.6.1.4.1.311.20.2.3, not {:?}",
                proto.oid
            );
            cx.error_at("oid", reason);
            None
        }
        // The rules refuse it.
        ProtoSanType::Unspecified => None,
    };
    // The rules refuse its absence.
    let matcher = proto.matcher.as_ref()?;
    let matcher = cx.field("matcher", |cx| StringMatcher::lower(matcher, cx));
    Some(SubjectAltNameMatcher {
        san_type: san_type?,
        matcher: matcher?,
    })
}

/// A test without a kind is one of four kinds.
fn untyped_name(
    proto: &matcher::StringMatcher,
    cx: &mut Cx<'_>,
) -> Option<Vec<SubjectAltNameMatcher>> {
    let matcher = StringMatcher::lower(proto, cx)?;
    let kinds = [
        SanType::Dns,
        SanType::Uri,
        SanType::Email,
        SanType::IpAddress,
    ];
    let matchers = kinds.map(|san_type| SubjectAltNameMatcher {
        san_type,
        matcher: matcher.clone(),
    });
    Some(matchers.into())
}

/// Numbers with dots between them. The first two are one number in the encoding,
/// so there are limits to them.
fn is_object_identifier(text: &str) -> bool {
    let parts: Option<Vec<u64>> = text
        .split('.')
        .map(|part| {
            let digits = part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        })
        .collect();
    match parts.as_deref() {
        Some([0 | 1, second, ..]) => *second < 40,
        Some([2, _, ..]) => true,
        _ => false,
    }
}
