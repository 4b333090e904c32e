//! `envoy.config.route.v3.RouteAction.HashPolicy`: the number that requests
//! which belong together have in common. Ring hash and Maglev choose hosts by
//! it, and `weighted_clusters` with `use_hash_policy` the cluster.
//!
//! The numbers are Envoy's: xxHash64 of the same bytes, put together in the
//! same way, so that both send a client to the same host.

use super::cookie_match;
use super::header_key::HeaderKey;
use super::lower::all;
use super::query_match;
use super::regex::Substitution;
use super::scratch;
use crate::context::{Cx, Source};
use crate::core;
use crate::filter_state::FilterState;
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::envoy::config::route::v3::route_action as parts;
use envoy_types::pb::envoy::r#type::v3 as type_pb;
use proto::route_action::hash_policy::PolicySpecifier;
use ringway_codecs::header::{HeaderId, HeaderMap};
use std::fmt;
use std::io::{self, Write as _};
use std::net::IpAddr;
use xxhash_rust::xxh64::xxh64;

/// The hash policies of a route or a cluster, in the order in which they are
/// asked.
#[derive(Debug)]
pub struct HashPolicies(Box<[HashPolicy]>);

/// A compiled `HashPolicy`.
#[derive(Debug)]
pub struct HashPolicy {
    subject: Subject,
    /// Those behind it are not asked once there is a hash.
    terminal: bool,
    /// Where it was configured.
    pub source: Source,
}

/// What a policy hashes.
#[derive(Debug)]
enum Subject {
    /// All values of a header, whatever their order.
    Header {
        name: HeaderKey,
        rewrite: Option<Substitution>,
    },
    Cookie(HashCookie),
    /// `connection_properties`: the client's address, or nothing.
    Connection {
        source_ip: bool,
    },
    QueryParameter(Box<[u8]>),
    FilterState(Box<str>),
}

/// A cookie that may be given to clients that have none.
#[derive(Debug)]
pub struct HashCookie {
    name: Box<[u8]>,
    /// Clients without the cookie get one.
    generated: bool,
    /// What follows the value in the `set-cookie` header.
    attributes: Box<str>,
}

/// What a request is hashed by.
#[derive(Clone, Copy)]
pub struct HashInput<'a> {
    /// Its headers, pseudo headers included.
    pub headers: &'a HeaderMap,
    /// The client's address.
    pub remote: IpAddr,
    /// What filters have left for others.
    pub filter_state: &'a FilterState,
}

impl HashPolicies {
    /// The hash of a request; `None` when it has nothing of what the policies
    /// look at. `generate` gives the client a cookie that it does not have and
    /// returns the hash of its value, or has no client to give it to.
    pub fn hash(
        &self,
        input: HashInput<'_>,
        mut generate: impl FnMut(&HashCookie) -> Option<u64>,
    ) -> Option<u64> {
        self.fold(input, &mut generate, |_, _| {})
    }

    /// [`HashPolicies::hash`], with the policies that were asked and what each
    /// found.
    pub fn explain<'p>(
        &'p self,
        input: HashInput<'_>,
        mut generate: impl FnMut(&HashCookie) -> Option<u64>,
    ) -> (Option<u64>, Vec<(&'p HashPolicy, Option<u64>)>) {
        let mut asked = Vec::new();
        let hash = self.fold(input, &mut generate, |policy, found| {
            asked.push((policy, found));
        });
        (hash, asked)
    }

    fn fold<'p>(
        &'p self,
        input: HashInput<'_>,
        generate: &mut impl FnMut(&HashCookie) -> Option<u64>,
        mut note: impl FnMut(&'p HashPolicy, Option<u64>),
    ) -> Option<u64> {
        let mut hash = None;
        for policy in &self.0 {
            let found = policy.hash(input, generate);
            note(policy, found);
            if let Some(found) = found {
                // Turned, so that two policies with one value do not cancel
                // each other out.
                hash = Some(hash.unwrap_or(0u64).rotate_left(1) ^ found);
            }
            if policy.terminal && hash.is_some() {
                break;
            }
        }
        hash
    }

    /// Compiles the policies of `field`: `Some(None)` when there are none,
    /// `None` when one is wrong.
    pub(crate) fn lower(
        messages: &[parts::HashPolicy],
        field: &str,
        cx: &mut Cx<'_>,
    ) -> Option<Option<Self>> {
        let policies = all(messages, field, cx, HashPolicy::lower)?;
        Some((!policies.is_empty()).then_some(HashPolicies(policies)))
    }
}

impl HashPolicies {
    /// Compiles the policies of connections that carry no requests
    /// (`envoy.type.v3.HashPolicy`): `None` when there are none.
    pub fn of_connections(messages: &[type_pb::HashPolicy], cx: &mut Cx<'_>) -> Option<Self> {
        use type_pb::hash_policy::PolicySpecifier;
        let mut policies = Vec::with_capacity(messages.len());
        for (i, message) in messages.iter().enumerate() {
            let subject = match &message.policy_specifier {
                Some(PolicySpecifier::SourceIp(_)) => Subject::Connection { source_ip: true },
                Some(PolicySpecifier::FilterState(state)) => {
                    Subject::FilterState(state.key.as_str().into())
                }
                None => {
                    cx.index("hash_policy", i, |cx| {
                        cx.error("one of source_ip and filter_state is needed");
                    });
                    continue;
                }
            };
            policies.push(HashPolicy {
                subject,
                terminal: false,
                source: cx.index("hash_policy", i, |cx| cx.source()),
            });
        }
        (!policies.is_empty()).then(|| HashPolicies(policies.into()))
    }
}

impl HashPolicy {
    fn hash(
        &self,
        input: HashInput<'_>,
        generate: &mut impl FnMut(&HashCookie) -> Option<u64>,
    ) -> Option<u64> {
        match &self.subject {
            Subject::Header { name, rewrite } => match name {
                HeaderKey::Known(id) => hash_values(input.headers.get_all(*id), rewrite.as_ref()),
                HeaderKey::Other(name) => {
                    hash_values(input.headers.get_all_name(name), rewrite.as_ref())
                }
            },
            Subject::Cookie(cookie) => {
                match cookie_match::first_value(input.headers, &cookie.name) {
                    Some(value) if !value.is_empty() => Some(xxh64(value, 0)),
                    _ if cookie.generated => generate(cookie),
                    _ => None,
                }
            }
            Subject::Connection { source_ip } => source_ip.then(|| hash_address(input.remote)),
            Subject::QueryParameter(name) => {
                let path = input.headers.get(HeaderId::Path)?;
                query_match::first_value(path, name).map(|value| xxh64(value, 0))
            }
            Subject::FilterState(key) => {
                let text = input.filter_state.get(key)?.hashable()?;
                Some(xxh64(text, 0))
            }
        }
    }

    fn lower(message: &parts::HashPolicy, cx: &mut Cx<'_>) -> Option<Self> {
        let subject = match &message.policy_specifier {
            Some(PolicySpecifier::Header(header)) => {
                let rewrite = match &header.regex_rewrite {
                    None => None,
                    Some(rewrite) => Some(cx.field("header", |cx| {
                        cx.field("regex_rewrite", |cx| Substitution::lower(rewrite, cx))
                    })?),
                };
                Subject::Header {
                    name: HeaderKey::new(&header.header_name),
                    rewrite,
                }
            }
            Some(PolicySpecifier::Cookie(cookie)) => {
                Subject::Cookie(cx.field("cookie", |cx| HashCookie::lower(cookie, cx))?)
            }
            Some(PolicySpecifier::ConnectionProperties(properties)) => Subject::Connection {
                source_ip: properties.source_ip,
            },
            Some(PolicySpecifier::QueryParameter(parameter)) => {
                Subject::QueryParameter(parameter.name.as_bytes().into())
            }
            Some(PolicySpecifier::FilterState(state)) => {
                Subject::FilterState(state.key.as_str().into())
            }
            None => {
                cx.error(
                    "one of header, cookie, connection_properties, query_parameter and \
                     filter_state is needed",
                );
                return None;
            }
        };
        Some(HashPolicy {
            subject,
            terminal: message.terminal,
            source: cx.source(),
        })
    }
}

/// The policy's subject, for whoever explains a request.
impl fmt::Display for HashPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Header { name, .. } => {
                write!(f, "header {}", name.name().escape_ascii())
            }
            Subject::Cookie(cookie) => write!(f, "cookie {}", cookie.name.escape_ascii()),
            Subject::Connection { source_ip: true } => f.write_str("the client's address"),
            Subject::Connection { source_ip: false } => f.write_str("nothing of the connection"),
            Subject::QueryParameter(name) => {
                write!(f, "query parameter {}", name.escape_ascii())
            }
            Subject::FilterState(key) => write!(f, "filter state {key}"),
        }
    }
}

impl HashCookie {
    /// The value of the `set-cookie` header that gives a client this cookie.
    pub fn header(&self, value: &str) -> Box<[u8]> {
        let attributes = self.attributes.as_bytes();
        [&*self.name, b"=\"", value.as_bytes(), b"\"", attributes]
            .concat()
            .into()
    }

    fn lower(message: &parts::hash_policy::Cookie, cx: &mut Cx<'_>) -> Option<Self> {
        let mut attributes = String::new();
        // As in Envoy, 0 makes a cookie of the client's session, and a part of
        // a second does not count.
        let ttl = match message.ttl {
            None => None,
            Some(_) => Some(core::duration(message.ttl, "ttl", cx)?.as_secs()),
        };
        if let Some(seconds @ 1..) = ttl {
            attributes += &format!("; Max-Age={seconds}");
        }
        if !message.path.is_empty() {
            attributes += &format!("; Path={}", message.path);
        }
        for attribute in &message.attributes {
            attributes += "; ";
            attributes += &attribute.name;
            if !attribute.value.is_empty() {
                attributes += "=";
                attributes += &attribute.value;
            }
        }
        attributes += "; HttpOnly";
        // Envoy would send them, and break its own response's head.
        let breaks = |text: &str| text.bytes().any(|byte| byte.is_ascii_control());
        if breaks(&message.name) || breaks(&attributes) {
            cx.error("control characters cannot be in a set-cookie header");
            return None;
        }
        Some(HashCookie {
            name: message.name.as_bytes().into(),
            generated: ttl.is_some(),
            attributes: attributes.into(),
        })
    }
}

/// Values of one header that are put in order without asking for memory. Of a
/// header by which requests are told apart there is one, as a rule.
const FEW_VALUES: usize = 8;

/// The hash of a header's values, whatever their order: each one is the seed of
/// the next one's. `None` when there is none.
fn hash_values<'v>(
    mut values: impl Iterator<Item = &'v [u8]>,
    rewrite: Option<&Substitution>,
) -> Option<u64> {
    let first = values.next()?;
    let second = values.next();
    let Some(rewrite) = rewrite else {
        let Some(second) = second else {
            return Some(xxh64(first, 0));
        };
        return Some(hash_in_order([first, second].into_iter().chain(values)));
    };
    Some(scratch::with(|buffer| {
        rewrite.write(first, buffer);
        let Some(second) = second else {
            return xxh64(buffer, 0);
        };
        let mut ends = vec![buffer.len()];
        for value in std::iter::once(second).chain(values) {
            rewrite.write(value, buffer);
            ends.push(buffer.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        hash_in_order(starts.zip(&ends).map(|(start, end)| &buffer[start..*end]))
    }))
}

fn hash_in_order<'v>(values: impl Iterator<Item = &'v [u8]>) -> u64 {
    let mut few: [&[u8]; FEW_VALUES] = [b""; FEW_VALUES];
    let mut many = Vec::new();
    let mut count = 0;
    for value in values {
        match few.get_mut(count) {
            Some(place) => *place = value,
            None => {
                if many.is_empty() {
                    many.extend_from_slice(&few);
                }
                many.push(value);
            }
        }
        count += 1;
    }
    let ordered = match many.is_empty() {
        true => &mut few[..count],
        false => &mut many[..],
    };
    ordered.sort_unstable();
    ordered.iter().fold(0, |seed, value| xxh64(value, seed))
}

/// The hash of an address as text, without a port.
fn hash_address(address: IpAddr) -> u64 {
    // The longest address is "0000:0000:0000:0000:0000:ffff:255.255.255.255".
    let mut text = io::Cursor::new([0; 48]);
    // It is long enough.
    let _ = write!(text, "{address}");
    let length = text.position() as usize;
    xxh64(&text.get_ref()[..length], 0)
}

#[cfg(test)]
mod tests;
