//! `envoy.config.route.v3.VirtualHost.TlsRequirementType`: which requests must
//! come over TLS.

use envoy_types::pb::envoy::config::route::v3::virtual_host::TlsRequirementType;
use ringway_codecs::header::{HeaderId, HeaderMap};

/// Which requests of a virtual host are redirected to `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsRequirement {
    /// None.
    #[default]
    None,
    /// Those that do not come from inside the trusted network.
    ExternalOnly,
    /// All.
    All,
}

impl TlsRequirement {
    /// Whether a request has to be redirected: it did not come over TLS, and
    /// should have. `x-forwarded-proto` and `x-envoy-internal` tell by now
    /// what the connection manager believes.
    pub fn is_broken_by(self, headers: &HeaderMap) -> bool {
        let must = match self {
            TlsRequirement::None => return false,
            TlsRequirement::ExternalOnly => headers.get(HeaderId::XEnvoyInternal) != Some(b"true"),
            TlsRequirement::All => true,
        };
        must && headers.get(HeaderId::XForwardedProto) != Some(b"https")
    }

    /// Reads the field.
    pub(super) fn lower(field: TlsRequirementType) -> Self {
        match field {
            TlsRequirementType::None => TlsRequirement::None,
            TlsRequirementType::ExternalOnly => TlsRequirement::ExternalOnly,
            TlsRequirementType::All => TlsRequirement::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        use TlsRequirement::{All, ExternalOnly, None};
        for (requirement, proto, internal, broken) in [
            (None, "http", "", false),
            (All, "http", "", true),
            (All, "http", "true", true),
            (All, "https", "", false),
            (All, "", "", true),
            (All, "HTTPS", "", true),
            (ExternalOnly, "http", "", true),
            (ExternalOnly, "http", "true", false),
            (ExternalOnly, "http", "false", true),
            (ExternalOnly, "https", "", false),
        ] {
            let mut headers = HeaderMap::new();
            for (id, value) in [
                (HeaderId::XForwardedProto, proto),
                (HeaderId::XEnvoyInternal, internal),
            ] {
                if !value.is_empty() {
                    headers.append(id, value.as_bytes());
                }
            }
            assert_eq!(
                requirement.is_broken_by(&headers),
                broken,
                "{requirement:?} {proto:?} {internal:?}"
            );
        }
    }
}
