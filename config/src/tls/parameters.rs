//! Versions, ciphers, groups and signatures (`TlsParameters`), by the names that
//! BoringSSL has for them.
//!
//! What is here is what rustls does: TLS 1.2 and 1.3, authenticated encryption
//! only, keys that are agreed on anew for each session. Anything else that
//! BoringSSL knows is refused by name.

use std::fmt;

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::tls_parameters::TlsProtocol;

use super::common_context::Side;
use crate::context::Cx;

/// What a handshake may choose from, the preferred first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsParameters {
    /// The oldest version.
    pub version_min: TlsVersion,
    /// The newest version.
    pub version_max: TlsVersion,
    /// The ciphers of TLS 1.2; those of TLS 1.3 cannot be chosen.
    pub cipher_suites: Vec<CipherSuite>,
    /// Groups to agree on keys in.
    pub groups: Vec<Group>,
    /// Signatures of the handshake; `None` are all that there are.
    pub signature_schemes: Option<Vec<SignatureScheme>>,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Types whose values have names in the configuration.
macro_rules! named {
    (
        $(#[$doc:meta])*
        $type:ident { $($(#[$variant_doc:meta])* $variant:ident: $($name:literal)|+,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $type {
            /// Every value, in the order of this list.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            fn of(name: &str) -> Option<Self> {
                match name {
                    $($($name)|+ => Some(Self::$variant),)+
                    _ => None,
                }
            }

            fn names(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$($name),+],)+
                }
            }
        }

        /// The name as Envoy's statistics and documentation have it.
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.names()[0])
            }
        }
    };
}

named! {
    /// A cipher of TLS 1.2.
    CipherSuite {
        /// RFC 5289.
        EcdheEcdsaAes128Gcm: "ECDHE-ECDSA-AES128-GCM-SHA256"
            | "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        /// RFC 7905.
        EcdheEcdsaChacha20: "ECDHE-ECDSA-CHACHA20-POLY1305"
            | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        /// RFC 5289.
        EcdheRsaAes128Gcm: "ECDHE-RSA-AES128-GCM-SHA256"
            | "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        /// RFC 7905.
        EcdheRsaChacha20: "ECDHE-RSA-CHACHA20-POLY1305"
            | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        /// RFC 5289.
        EcdheEcdsaAes256Gcm: "ECDHE-ECDSA-AES256-GCM-SHA384"
            | "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        /// RFC 5289.
        EcdheRsaAes256Gcm: "ECDHE-RSA-AES256-GCM-SHA384"
            | "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    }
}

named! {
    /// A group to agree on keys in.
    Group {
        /// RFC 7748.
        X25519: "X25519" | "x25519",
        /// NIST's curve of 256 bits.
        P256: "P-256" | "prime256v1",
        /// NIST's curve of 384 bits.
        P384: "P-384" | "secp384r1",
        /// X25519 together with a lattice that quantum computers do not break.
        X25519MlKem768: "X25519MLKEM768",
        /// The lattice alone, in its largest size.
        MlKem1024: "MLKEM1024",
    }
}

named! {
    /// How the handshake is signed.
    SignatureScheme {
        /// ECDSA with P-256.
        EcdsaP256Sha256: "ecdsa_secp256r1_sha256" | "ECDSA+SHA256",
        /// ECDSA with P-384.
        EcdsaP384Sha384: "ecdsa_secp384r1_sha384" | "ECDSA+SHA384",
        /// ECDSA with P-521.
        EcdsaP521Sha512: "ecdsa_secp521r1_sha512" | "ECDSA+SHA512",
        /// RSA with random padding.
        RsaPssSha256: "rsa_pss_rsae_sha256" | "RSA-PSS+SHA256" | "PSS+SHA256",
        /// RSA with random padding.
        RsaPssSha384: "rsa_pss_rsae_sha384" | "RSA-PSS+SHA384" | "PSS+SHA384",
        /// RSA with random padding.
        RsaPssSha512: "rsa_pss_rsae_sha512" | "RSA-PSS+SHA512" | "PSS+SHA512",
        /// RSA as it was.
        RsaPkcs1Sha256: "rsa_pkcs1_sha256" | "RSA+SHA256",
        /// RSA as it was.
        RsaPkcs1Sha384: "rsa_pkcs1_sha384" | "RSA+SHA384",
        /// RSA as it was.
        RsaPkcs1Sha512: "rsa_pkcs1_sha512" | "RSA+SHA512",
        /// RFC 8032.
        Ed25519: "ed25519",
    }
}

/// Envoy's default.
const GROUPS: &[Group] = &[Group::X25519MlKem768, Group::X25519, Group::P256];

impl TlsParameters {
    pub(super) fn lower(proto: &pb::TlsParameters, side: Side, cx: &mut Cx<'_>) -> Option<Self> {
        // By default Envoy speaks TLS 1.3 with clients only.
        let newest = match side {
            Side::Server => TlsVersion::Tls13,
            Side::Client => TlsVersion::Tls12,
        };
        let min = version(
            proto.tls_minimum_protocol_version(),
            TlsVersion::Tls12,
            "tls_minimum_protocol_version",
            cx,
        );
        let max = version(
            proto.tls_maximum_protocol_version(),
            newest,
            "tls_maximum_protocol_version",
            cx,
        );
        let cipher_suites = names(&proto.cipher_suites, "cipher_suites", cx, cipher_suite)
            .map(|suites| suites.unwrap_or_else(|| CipherSuite::ALL.into()));
        let groups = names(&proto.ecdh_curves, "ecdh_curves", cx, group).and_then(|groups| {
            let groups = groups.unwrap_or_else(|| GROUPS.into());
            distinct(&groups, "ecdh_curves", cx).then_some(groups)
        });
        let field = "signature_algorithms";
        let signatures =
            names(&proto.signature_algorithms, field, cx, signature_scheme).and_then(|schemes| {
                let given = schemes.as_deref().unwrap_or_default();
                distinct(given, field, cx).then_some(schemes)
            });
        let (version_min, version_max) = (min?, max?);
        if version_min > version_max {
            let unsaid = match proto.tls_maximum_protocol_version() {
                TlsProtocol::TlsAuto => " unless tls_maximum_protocol_version says another",
                _ => "",
            };
            cx.error(format!(
                "no version is left: the minimum is {version_min}, the maximum is \
                 {version_max}{unsaid}"
            ));
            return None;
        }
        Some(Self {
            version_min,
            version_max,
            cipher_suites: cipher_suites?,
            groups: groups?,
            signature_schemes: signatures?,
        })
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        })
    }
}

fn version(
    proto: TlsProtocol,
    default: TlsVersion,
    field: &str,
    cx: &mut Cx<'_>,
) -> Option<TlsVersion> {
    let refused = match proto {
        TlsProtocol::TlsAuto => return Some(default),
        TlsProtocol::TlSv12 => return Some(TlsVersion::Tls12),
        TlsProtocol::TlSv13 => return Some(TlsVersion::Tls13),
        TlsProtocol::TlSv10 => "TLS 1.0",
        TlsProtocol::TlSv11 => "TLS 1.1",
    };
    let reason = format!("{refused} is not supported: RFC 8996 forbids it; TLS 1.2 and 1.3 are");
    cx.error_at(field, reason);
    None
}

/// The names of a list, of which an element may have several. `Some(None)` is a list
/// that names nothing, which stands for the default.
fn names<T>(
    protos: &[String],
    field: &str,
    cx: &mut Cx<'_>,
    of: impl Fn(&str) -> Result<T, String>,
) -> Option<Option<Vec<T>>> {
    let mut values = Vec::with_capacity(protos.len());
    let mut complete = true;
    for (i, text) in protos.iter().enumerate() {
        cx.index(field, i, |cx| {
            for name in text.split(SEPARATORS).filter(|name| !name.is_empty()) {
                match of(name) {
                    Ok(value) => values.push(value),
                    Err(reason) => {
                        cx.error(reason);
                        complete = false;
                    }
                }
            }
        });
    }
    complete.then(|| (!values.is_empty()).then_some(values))
}

/// BoringSSL's: between ciphers, and around those that are equally good
/// (`[A|B]`), of which the first is preferred here.
const SEPARATORS: &[char] = &[':', ' ', ';', ',', '[', '|', ']'];

fn cipher_suite(name: &str) -> Result<CipherSuite, String> {
    CipherSuite::of(name).ok_or_else(|| {
        if name.starts_with(['!', '-', '+', '@']) {
            return format!("rules such as {name:?} are not supported: name the ciphers");
        }
        let known = listed(CipherSuite::ALL);
        match name {
            _ if name.starts_with("TLS_AES_") || name.starts_with("TLS_CHACHA20_") => {
                format!("{name:?} is a cipher of TLS 1.3, whose ciphers cannot be chosen")
            }
            _ => format!("the cipher {name:?} is not supported; these are: {known}"),
        }
    })
}

fn group(name: &str) -> Result<Group, String> {
    Group::of(name).ok_or_else(|| {
        let known = listed(Group::ALL);
        format!("the curve {name:?} is not supported; these are: {known}")
    })
}

fn signature_scheme(name: &str) -> Result<SignatureScheme, String> {
    SignatureScheme::of(name).ok_or_else(|| {
        let known = listed(SignatureScheme::ALL);
        format!("the signature algorithm {name:?} is not supported; these are: {known}")
    })
}

fn listed<T: fmt::Display>(values: &[T]) -> String {
    let names: Vec<_> = values.iter().map(ToString::to_string).collect();
    names.join(", ")
}

fn distinct<T: PartialEq + fmt::Display>(values: &[T], field: &str, cx: &mut Cx<'_>) -> bool {
    let twice = (1..values.len()).find(|i| values[..*i].contains(&values[*i]));
    if let Some(i) = twice {
        cx.error_at(field, format!("{} is there twice", values[i]));
    }
    twice.is_none()
}
