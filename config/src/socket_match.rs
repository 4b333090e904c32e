//! Transport sockets of some hosts of a cluster (`transport_socket_matches`): which
//! one a host has is said by labels in its metadata, or found in its metadata by a
//! tree of matchers (`transport_socket_matcher`). Compiled types on top, lowering
//! below.

use std::collections::HashMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::extensions::matching::common_inputs::transport_socket::v3::TransportSocketNameAction;
use envoy_types::pb::google::protobuf;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use prost::Name;

use crate::context::{Cx, unpack};
use crate::endpoint::Host;
use crate::matcher::{HostMetadata, Inputs, Matcher, MatchingData};
use crate::metadata::{Metadata, Struct};
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

    /// That of the match at this place of the list.
    fn of_match(place: usize) -> Self {
        Self(place as u32 + 1)
    }
}

/// The transport sockets of a cluster that are not for all of its hosts.
#[derive(Clone, Debug, Default)]
pub struct SocketMatches {
    all: Arc<[SocketMatch]>,
    /// Finds one in the place of labels.
    matcher: Option<Arc<Matcher<SocketId>>>,
}

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
    /// The one of a host. By labels: the first whose labels it has all, or else the
    /// first whose labels its locality has.
    #[must_use]
    pub fn of_host(&self, host: &Host) -> SocketId {
        if self.all.is_empty() {
            return SocketId::OWN;
        }
        self.find(&host.described())
    }

    /// The one that checks of a host have, if these labels stand for all that it says
    /// itself.
    #[must_use]
    pub fn of_check(&self, labels: &Struct, host: &Host) -> SocketId {
        let mut own = Metadata::default();
        *own.entry(NAMESPACE) = labels.clone();
        self.find(&HostMetadata {
            own: Some(&own),
            ..host.described()
        })
    }

    /// The one of a host of which nothing is said.
    #[must_use]
    pub fn of_anyone(&self) -> SocketId {
        self.find(&HostMetadata::default())
    }

    fn find(&self, host: &HostMetadata<'_>) -> SocketId {
        if let Some(matcher) = &self.matcher {
            let found = matcher.find(MatchingData::of_host(host));
            return found.copied().unwrap_or_default();
        }
        let of = |has: Option<&Metadata>| self.labelled(has.and_then(|has| has.get(NAMESPACE)));
        of(host.own)
            .or_else(|| of(host.locality))
            .unwrap_or_default()
    }

    fn labelled(&self, has: Option<&Struct>) -> Option<SocketId> {
        let fits = |one: &SocketMatch| {
            let mut wanted = one.labels.iter();
            wanted.all(|(name, value)| has.and_then(|has| has.get(name)) == Some(value))
        };
        self.all.iter().position(fits).map(SocketId::of_match)
    }

    /// For a cluster whose hosts choose the version of HTTP when they are connected to:
    /// all of them have to be asked.
    pub(crate) fn check_negotiation(&self, cx: &mut Cx<'_>) {
        for (place, one) in self.all.iter().enumerate() {
            if matches!(one.transport_socket, TransportSocket::RawBuffer) {
                let reason = "auto_config needs TLS, in whose handshake hosts choose, here, too";
                cx.index("transport_socket_matches", place, |cx| {
                    cx.error_at("transport_socket", reason);
                });
            }
        }
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (SocketId, &SocketMatch)> {
        (1..).map(SocketId).zip(self.all.iter())
    }
}

/// Lowers the matches of a cluster, and the matcher that finds them.
pub(crate) fn lower(proto: &pb::Cluster, secrets: &Secrets<'_>, cx: &mut Cx<'_>) -> SocketMatches {
    let protos = &proto.transport_socket_matches;
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
    SocketMatches {
        all: lowered.flatten().collect(),
        matcher: lower_matcher(proto, cx).map(Arc::new),
    }
}

fn lower_matcher(proto: &pb::Cluster, cx: &mut Cx<'_>) -> Option<Matcher<SocketId>> {
    let matcher = proto.transport_socket_matcher.as_ref()?;
    let places = places(&proto.transport_socket_matches, cx);
    let cluster = cx.source();
    cx.field("transport_socket_matcher", |cx| {
        Matcher::lower(matcher, Inputs::Host, cx, &mut |action, cx| {
            let name = name(action, cx)?;
            let place = places.get(&*name);
            if place.is_none() {
                let reason = format!(
                    "the cluster ({cluster}) has no transport socket with the name {name:?}; \
                     what leads here has the cluster's own"
                );
                cx.warn_at("typed_config.name", reason);
            }
            Some(place.copied().map_or(SocketId::OWN, SocketId::of_match))
        })
    })
}

/// The places of matches by their names, of which each must have one of its own.
fn places<'c>(
    matches: &'c [pb::cluster::TransportSocketMatch],
    cx: &mut Cx<'_>,
) -> HashMap<&'c str, usize> {
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(matches.len());
    for (place, one) in matches.iter().enumerate() {
        cx.index("transport_socket_matches", place, |cx| {
            if (one.r#match.as_ref()).is_some_and(|labels| !labels.fields.is_empty()) {
                let reason = "has no effect beside the cluster's transport_socket_matcher";
                cx.warn_at("match", reason);
            }
            if let Some(other) = places.insert(&one.name, place) {
                let name = &one.name;
                let reason =
                    format!("transport_socket_matches[{other}] has the name {name:?} as well");
                cx.error_at("name", reason);
            }
        });
    }
    places
}

/// The name that an action is.
fn name(action: &TypedExtensionConfig, cx: &mut Cx<'_>) -> Option<String> {
    let Some(any) = &action.typed_config else {
        let wanted = TransportSocketNameAction::full_name();
        cx.error_at("typed_config", format!("must be a {wanted}"));
        return None;
    };
    cx.field("typed_config", |cx| {
        unpack::<TransportSocketNameAction>(any, cx).map(|action| action.name)
    })
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
        SocketMatches {
            all: of.iter().map(one).collect(),
            matcher: None,
        }
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
            let silent = host(None, None);
            let found = some.of_check(&labels(has), &silent);
            assert_eq!(found.index(), place, "{has:?}");
        }
        let nothing = host(None, None);
        assert_eq!(some.of_host(&nothing), SocketId::OWN);
        let any = matches(&[&[("a", "1")], &[]]);
        assert_eq!(
            any.of_host(&nothing).index(),
            2,
            "no labels are always there"
        );
        assert_eq!(any.of_anyone().index(), 2);
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
            let checked = some.of_check(&labels(own.unwrap_or_default()), &host);
            assert_eq!(checked.index(), place, "{own:?} {locality:?}");
        }
    }
}
