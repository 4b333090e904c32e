//! `envoy.transport_sockets.upstream_proxy_protocol`: each connection to a host
//! begins with a header that tells of the connection in front of the proxy.

use ringway_codecs::proxy_protocol::{Endpoints, encode_v1, encode_v2};
use ringway_config::Cx;
use ringway_config::proxy_protocol::{AddedValue, ProxyProtocol, Tlv, Version};

use crate::formatter::{Context, Format};
use crate::stats_struct;
use crate::stream_info::StreamInfo;

stats_struct! {
    /// Under the cluster's prefix and `upstream.proxyprotocol.`.
    pub struct ProxyProtocolStats {
        counters: [v2_tlvs_exceed_max_length],
    }
}

/// What clusters say in headers besides addresses, compiled.
#[derive(Debug, Default)]
pub struct AddedValues(Box<[(u8, AddedFormat)]>);

#[derive(Debug)]
enum AddedFormat {
    Fixed(Box<[u8]>),
    Format(Format),
}

impl AddedValues {
    /// Compiles what is said of a header, or reports what is wrong with it.
    pub fn compile(config: &ProxyProtocol, cx: &mut Cx<'_>) -> Option<Self> {
        let compile = |value: &AddedValue, cx: &mut Cx<'_>| match value {
            AddedValue::Fixed(value) => Some(AddedFormat::Fixed(value.clone())),
            AddedValue::Format(format, path) => cx
                .at(path, |cx| Format::compile(format, cx))
                .map(AddedFormat::Format),
        };
        let all = config.added.iter();
        let all: Vec<_> = all
            .map(|one| Some((one.kind, compile(&one.value, cx)?)))
            .collect();
        let all: Option<Box<[_]>> = all.into_iter().collect();
        all.map(Self)
    }

    /// What they are on a connection of which this is known: as in Envoy it is the one to
    /// the host, with the host as the remote end. There is no value of nothing.
    #[must_use]
    pub fn of_connection(&self, info: &StreamInfo) -> Vec<Tlv> {
        let context = Context::of_connection(info);
        let all = self.0.iter().map(|(kind, format)| Tlv {
            kind: *kind,
            value: match format {
                AddedFormat::Fixed(value) => value.clone(),
                AddedFormat::Format(format) => {
                    let mut value = Vec::new();
                    format.write(&context, &mut value);
                    value.into()
                }
            },
        });
        all.filter(|tlv| !tlv.value.is_empty()).collect()
    }
}

/// Of whom a header tells.
#[derive(Debug, Clone, Copy)]
pub enum Of<'a> {
    /// The connection of a client.
    Client {
        /// Its addresses.
        endpoints: &'a Endpoints,
        /// What its own header has said.
        of_client: &'a [Tlv],
        /// What the cluster says.
        of_cluster: &'a [Tlv],
    },
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
        (Version::V1, Of::Client { endpoints, .. }) => encode_v1(out, Some(endpoints)),
        (Version::V1, Of::Own(endpoints)) => encode_v1(out, endpoints),
        (
            Version::V2,
            Of::Client {
                endpoints,
                of_client,
                of_cluster,
            },
        ) => {
            let is_in = |list: &[Tlv], tlv: &Tlv| list.iter().any(|one| one.kind == tlv.kind);
            let others = of_cluster.iter().filter(|tlv| !is_in(of_host, tlv));
            let of_client = of_client.iter().filter(|tlv| {
                let is_added = is_in(of_host, tlv) || is_in(of_cluster, tlv);
                config.passed_on.contains(tlv.kind) && !is_added
            });
            let all = of_host.iter().chain(others).chain(of_client);
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
            added: Box::default(),
            passed_on: TlvTypes::default(),
        };
        let of_cluster = [tlv(224, b"abc"), tlv(224, b"abd"), tlv(225, b"h")];
        for (of_host, expected) in [
            (&[][..], &b"\xe0\0\x03abc\xe0\0\x03abd\xe1\0\x01h"[..]),
            (
                &[tlv(225, b"def"), tlv(225, b"deg")],
                b"\xe1\0\x03def\xe1\0\x03deg\xe0\0\x03abc\xe0\0\x03abd",
            ),
            (&[tlv(224, b"x")], b"\xe0\0\x01x\xe1\0\x01h"),
        ] {
            let mut out = Vec::new();
            let of = Of::Client {
                endpoints: &endpoints,
                of_client: &[tlv(1, b"client")],
                of_cluster: &of_cluster,
            };
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
