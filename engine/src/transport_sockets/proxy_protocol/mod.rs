//! `envoy.transport_sockets.upstream_proxy_protocol`: each connection to a host
//! begins with a header that tells of the connection in front of the proxy.

use ringway_codecs::proxy_protocol::{Endpoints, encode_v1, encode_v2};
use ringway_config::proxy_protocol::{ProxyProtocol, Tlv, Version};

use crate::stats_struct;

stats_struct! {
    /// Under the cluster's prefix and `upstream.proxyprotocol.`.
    pub struct ProxyProtocolStats {
        counters: [v2_tlvs_exceed_max_length],
    }
}

/// Of whom a header tells.
#[derive(Debug, Clone, Copy)]
pub enum Of<'a> {
    /// The connection of a client, and what its own header has said.
    Client(&'a Endpoints, &'a [Tlv]),
    /// No client: a health check, a copy of a request. `None` where the
    /// connection has no addresses, as with Unix sockets.
    Own(Option<&'a Endpoints>),
}

/// Appends the header of a connection to a host that has these values of its
/// own. False says that some values had no room.
pub fn write_header(
    out: &mut Vec<u8>,
    config: &ProxyProtocol,
    of_host: &[Tlv],
    of: Of<'_>,
) -> bool {
    match (config.version, of) {
        (Version::V1, Of::Client(endpoints, _)) => encode_v1(out, Some(endpoints)),
        (Version::V1, Of::Own(endpoints)) => encode_v1(out, endpoints),
        (Version::V2, Of::Client(endpoints, of_client)) => {
            let is_in = |list: &[Tlv], tlv: &Tlv| list.iter().any(|one| one.kind == tlv.kind);
            let of_cluster = config.added.iter().filter(|tlv| !is_in(of_host, tlv));
            let of_client = of_client.iter().filter(|tlv| {
                let is_added = is_in(of_host, tlv) || is_in(&config.added, tlv);
                config.passed_on.contains(tlv.kind) && !is_added
            });
            let all = of_host.iter().chain(of_cluster).chain(of_client);
            let all = all.map(|tlv| (tlv.kind, &*tlv.value));
            return encode_v2(out, Some(endpoints), all);
        }
        // It says that there is no client, and nothing of the values that are
        // for clients.
        (Version::V2, Of::Own(_)) => return encode_v2(out, None, []),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::proxy_protocol::TlvTypes;

    fn tlv(kind: u8, value: &[u8]) -> Tlv {
        Tlv {
            kind,
            value: value.into(),
        }
    }

    /// As Envoy writes them.
    #[test]
    fn what_a_host_says_goes_before_what_its_cluster_says_under_the_same_type() {
        let endpoints = Endpoints {
            source: ([127, 0, 0, 1], 1).into(),
            destination: ([127, 0, 0, 1], 2).into(),
        };
        let config = ProxyProtocol {
            version: Version::V2,
            added: [tlv(224, b"abc"), tlv(224, b"abd"), tlv(225, b"h")].into(),
            passed_on: TlvTypes::default(),
        };
        for (of_host, expected) in [
            (&[][..], &b"\xe0\0\x03abc\xe0\0\x03abd\xe1\0\x01h"[..]),
            (
                &[tlv(225, b"def"), tlv(225, b"deg")],
                b"\xe1\0\x03def\xe1\0\x03deg\xe0\0\x03abc\xe0\0\x03abd",
            ),
            (&[tlv(224, b"x")], b"\xe0\0\x01x\xe1\0\x01h"),
        ] {
            let mut out = Vec::new();
            let of = Of::Client(&endpoints, &[tlv(1, b"client")]);
            assert!(write_header(&mut out, &config, of_host, of));
            assert_eq!(&out[28..], expected);
        }
        let mut out = Vec::new();
        assert!(write_header(
            &mut out,
            &config,
            &[],
            Of::Own(Some(&endpoints))
        ));
        assert_eq!(out.len(), 16, "nothing follows LOCAL");
    }
}
