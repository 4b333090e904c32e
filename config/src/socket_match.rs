//! Transport sockets of some hosts of a cluster (`transport_socket_matches`): which
//! one a host has is said by its metadata. Compiled types on top, lowering below.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::cluster as pb;
use envoy_types::pb::google::protobuf;

use crate::context::Cx;
use crate::endpoint::Host;
use crate::metadata::Struct;
use crate::proxy_protocol;
use crate::tls::{Secrets, TransportSocket, UpstreamTlsContext};

/// Where the metadata of a host says which one it has.
const NAMESPACE: &str = "envoy.transport_socket_match";

/// Which of a cluster's transport sockets: its own, or one of its matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SocketId(u32);

impl SocketId {
    /// The cluster's own.
    pub const OWN: Self = Self(0);

    /// Its place among all: the cluster's own is the first.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The transport sockets of a cluster that are not for all of its hosts.
#[derive(Clone, Debug, Default)]
pub struct SocketMatches(Arc<[SocketMatch]>);

/// One of them.
#[derive(Debug)]
pub struct SocketMatch {
    /// The name of its statistics.
    pub name: Box<str>,
    labels: Struct,
    /// What carries the bytes.
    pub transport_socket: TransportSocket<UpstreamTlsContext>,
}

impl SocketMatches {
    /// The one of a host: the first whose labels it has all, or else the first whose
    /// labels its locality has.
    #[must_use]
    pub fn of_host(&self, host: &Host) -> SocketId {
        if self.0.is_empty() {
            return SocketId::OWN;
        }
        let own = self.find(host.metadata.get(NAMESPACE));
        own.or_else(|| self.find(host.locality_metadata().get(NAMESPACE)))
            .unwrap_or(SocketId::OWN)
    }

    /// The one for these labels.
    #[must_use]
    pub fn of_labels(&self, labels: &Struct) -> SocketId {
        self.find(Some(labels)).unwrap_or(SocketId::OWN)
    }

    fn find(&self, has: Option<&Struct>) -> Option<SocketId> {
        let fits = |one: &SocketMatch| {
            let mut wanted = one.labels.iter();
            wanted.all(|(name, value)| has.and_then(|has| has.get(name)) == Some(value))
        };
        let place = self.0.iter().position(fits);
        place.map(|place| SocketId(place as u32 + 1))
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (SocketId, &SocketMatch)> {
        (1..).map(SocketId).zip(self.0.iter())
    }
}

/// Lowers the matches of a cluster.
pub(crate) fn lower(
    protos: &[pb::TransportSocketMatch],
    secrets: &Secrets<'_>,
    cx: &mut Cx<'_>,
) -> SocketMatches {
    let lowered = protos.iter().enumerate().map(|(i, proto)| {
        cx.index("transport_socket_matches", i, |cx| {
            let socket = proto.transport_socket.as_ref();
            if socket.is_none() {
                cx.error_at("transport_socket", "is needed here");
            }
            if proxy_protocol::lower(socket, cx).is_some() {
                let reason = "a header of PROXY protocol is not supported here yet";
                cx.error_at("transport_socket.typed_config", reason);
                return None;
            }
            Some(SocketMatch {
                name: proto.name.as_str().into(),
                labels: labels(proto.r#match.as_ref()),
                transport_socket: TransportSocket::upstream(socket, secrets, cx),
            })
        })
    });
    SocketMatches(lowered.flatten().collect())
}

pub(crate) fn labels(proto: Option<&protobuf::Struct>) -> Struct {
    proto.map(Struct::from_proto).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Address;
    use crate::endpoint::Rare;
    use crate::metadata::{Metadata, Value};

    fn labels(of: &[(&str, &str)]) -> Struct {
        let mut labels = Struct::default();
        for (name, value) in of {
            labels.set(name, Value::text(value.as_bytes()));
        }
        labels
    }

    fn matches(of: &[&[(&str, &str)]]) -> SocketMatches {
        let one = |of: &&[(&str, &str)]| SocketMatch {
            name: Box::default(),
            labels: labels(of),
            transport_socket: TransportSocket::RawBuffer,
        };
        SocketMatches(of.iter().map(one).collect())
    }

    fn metadata(has: &[(&str, &str)]) -> Arc<Metadata> {
        let mut metadata = Metadata::default();
        *metadata.entry(NAMESPACE) = labels(has);
        Arc::new(metadata)
    }

    /// A host of a locality; `None` has no metadata.
    fn host(own: Option<&[(&str, &str)]>, locality: Option<&[(&str, &str)]>) -> Host {
        let nowhere = Address::Socket(([127, 0, 0, 1], 1).into());
        let mut host = Host::at(nowhere, Arc::default());
        host.metadata = own.map(metadata).unwrap_or_default();
        host.rare = locality.map(|has| {
            Box::new(Rare {
                attempts: Box::default(),
                health_check: None,
                locality_metadata: Some(metadata(has)),
                proxy_protocol: Box::default(),
            })
        });
        host
    }

    #[test]
    fn the_first_whose_labels_a_host_has() {
        let both: &[_] = &[("a", "1"), ("b", "2")];
        let some = matches(&[both, &[("a", "1")]]);
        for (has, place) in [
            (both, 1),
            (&[("a", "1"), ("c", "3")], 2),
            (&[("a", "2")], 0),
            (&[("b", "2")], 0),
            (&[], 0),
        ] {
            assert_eq!(
                some.of_host(&host(Some(has), None)).index(),
                place,
                "{has:?}"
            );
            assert_eq!(some.of_labels(&labels(has)).index(), place, "{has:?}");
        }
        let nothing = host(None, None);
        assert_eq!(some.of_host(&nothing), SocketId::OWN);
        let any = matches(&[&[("a", "1")], &[]]);
        assert_eq!(
            any.of_host(&nothing).index(),
            2,
            "no labels are always there"
        );
        assert_eq!(SocketMatches::default().of_host(&nothing), SocketId::OWN);
    }

    #[test]
    fn a_locality_speaks_for_hosts_that_say_nothing() {
        let some = matches(&[&[("a", "1")], &[("b", "2")]]);
        let (one, two): (&[_], &[_]) = (&[("a", "1")], &[("b", "2")]);
        for (own, locality, place) in [
            (None, Some(one), 1),
            (Some(two), Some(one), 2),
            (Some(&[("a", "x")][..]), Some(one), 1),
            (Some(&[("a", "x")]), None, 0),
        ] {
            let host = host(own, locality);
            assert_eq!(some.of_host(&host).index(), place, "{own:?} {locality:?}");
        }
    }
}
