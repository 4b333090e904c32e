//! Predicates of what is known: what permissions and principals become.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::Facts;
use crate::cidr::CidrRange;
use crate::filter_state::FilterStateMatcher;
use crate::metadata_match::MetadataMatcher;
use crate::route::StringMatcher;

/// A test of what is known of who asks, or of what is asked for. How deep tests are
/// within each other is bounded by what a message may be.
#[derive(Debug)]
pub(super) enum Predicate {
    /// Always passes.
    Any,
    /// What only requests have, of which connections know nothing.
    Never,
    /// Every one.
    And(Box<[Predicate]>),
    /// At least one.
    Or(Box<[Predicate]>),
    /// The opposite.
    Not(Box<Predicate>),
    /// The address that the client connected to.
    DestinationIp(CidrRange),
    /// Its port.
    DestinationPort(Range<u32>),
    /// The client's address.
    SourceIp(CidrRange),
    /// The peer's address, whatever a proxy before us has told.
    DirectSourceIp(CidrRange),
    /// The server that was asked for; none is an empty text.
    ServerName(StringMatcher),
    /// A value that filters have said.
    Metadata(Box<MetadataMatcher>),
    /// An object that filters have left.
    FilterState(Box<FilterStateMatcher>),
    /// TLS, and a name of the other end.
    Authenticated(Option<StringMatcher>),
}

impl Predicate {
    pub(super) fn passes(&self, facts: &Facts<'_>) -> bool {
        let connection = &facts.connection;
        match self {
            Self::Any => true,
            Self::Never => false,
            Self::And(tests) => tests.iter().all(|test| test.passes(facts)),
            Self::Or(tests) => tests.iter().any(|test| test.passes(facts)),
            Self::Not(test) => !test.passes(facts),
            Self::DestinationIp(range) => is_in(connection.local, range),
            Self::DestinationPort(ports) => {
                let port = connection.local.map(|address| address.port().into());
                port.is_some_and(|port| ports.contains(&port))
            }
            Self::SourceIp(range) => is_in(connection.remote(), range),
            Self::DirectSourceIp(range) => is_in(connection.direct_remote, range),
            Self::ServerName(matcher) => matcher.matches(connection.server_name.as_bytes()),
            Self::Metadata(matcher) => matcher.matches(facts.metadata),
            Self::FilterState(matcher) => matcher.matches(connection.filter_state),
            Self::Authenticated(matcher) => match (matcher, &facts.peer) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(matcher), Some(peer)) => {
                    let mut sans = peer.uri_sans.iter().chain(peer.dns_sans);
                    sans.any(|name| matcher.matches(name.as_bytes()))
                        || matcher.matches(peer.subject.as_bytes())
                }
            },
        }
    }
}

fn is_in(address: Option<SocketAddr>, range: &CidrRange) -> bool {
    let ip: Option<IpAddr> = address.map(|address| address.ip().to_canonical());
    ip.is_some_and(|ip| range.contains(ip))
}
