//! Which name a cluster's hosts are asked for, and prove, because of a request
//! (`UpstreamHttpProtocolOptions`).

use envoy_types::pb::envoy::config::core::v3 as pb;

/// Of which requests say the name. At least one of the two is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoSni {
    /// Hosts are asked for it, in the handshake of TLS.
    pub sni: bool,
    /// Their certificate must have it.
    pub san_validation: bool,
    /// The header that has it, in lower case; without it, or where it is empty, the
    /// request's authority.
    pub header: Option<Box<[u8]>>,
}

impl AutoSni {
    /// What dynamic forward proxies do where nobody says otherwise.
    pub(crate) const DYNAMIC_FORWARD_PROXY: Self = Self {
        sni: true,
        san_validation: true,
        header: None,
    };

    /// `None` if requests say nothing of it.
    pub(crate) fn lower(proto: &pb::UpstreamHttpProtocolOptions) -> Option<Self> {
        let header = proto.override_auto_sni_header.to_ascii_lowercase();
        (proto.auto_sni || proto.auto_san_validation).then(|| Self {
            sni: proto.auto_sni,
            san_validation: proto.auto_san_validation,
            header: (!header.is_empty()).then(|| header.into_bytes().into()),
        })
    }
}
