//! Filter state: objects by key that filters leave for others behind them, and
//! `envoy.type.matcher.v3.FilterStateMatcher`, which routes look at them with.
//!
//! An object is made of a text by a factory (`factory.rs`). What reads an object knows
//! it by its key and by its kind: one of another kind is none.

mod factory;

pub use factory::{Factory, NoFactory};

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use envoy_types::pb::envoy::r#type::matcher::v3 as proto;

use crate::cidr::CidrRange;
use crate::context::Cx;
use crate::metadata::{Struct, Value};
use crate::route::StringMatcher;

/// The object that names the cluster of a connection in the place of a
/// `tcp_proxy`'s own; also the name of its factory, as with all of these.
pub const TCP_PROXY_CLUSTER: &str = "envoy.tcp_proxy.cluster";

/// The object that has a `tcp_proxy` make no tunnel.
pub const DISABLE_TUNNELING: &str = "envoy.tcp_proxy.disable_tunneling";

/// The object that says how many milliseconds nothing may move on a connection of a
/// `tcp_proxy`.
pub const PER_CONNECTION_IDLE_TIMEOUT: &str = "envoy.tcp_proxy.per_connection_idle_timeout_ms";

/// The object with the name that hosts are asked for in TLS.
pub const UPSTREAM_SERVER_NAME: &str = "envoy.network.upstream_server_name";

/// The object with the names of which a host's certificate must have one.
pub const UPSTREAM_SUBJECT_ALT_NAMES: &str = "envoy.network.upstream_subject_alt_names";

/// The object with the protocols that hosts are offered in TLS.
pub const APPLICATION_PROTOCOLS: &str = "envoy.network.application_protocols";

/// The object with the host where a dynamic forward proxy goes.
pub const DYNAMIC_HOST: &str = "envoy.upstream.dynamic_host";

/// The object with its port.
pub const DYNAMIC_PORT: &str = "envoy.upstream.dynamic_port";

/// Objects by key, in the order in which they were set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterState(Vec<(Box<str>, Object)>);

/// An object.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// `envoy.string`
    Text(Box<[u8]>),
    /// `envoy.hashable_string`: a text that hash policies take.
    HashableText(Box<[u8]>),
    /// `envoy.network.ip`
    Ip(IpAddr),
    /// `envoy.network.transport_socket.original_dst_address`
    Address(SocketAddr),
    /// [`TCP_PROXY_CLUSTER`]
    Cluster(Box<[u8]>),
    /// [`UPSTREAM_SERVER_NAME`]
    ServerName(Box<[u8]>),
    /// [`UPSTREAM_SUBJECT_ALT_NAMES`]
    SubjectAltNames(Box<[Box<[u8]>]>),
    /// [`APPLICATION_PROTOCOLS`]
    ApplicationProtocols(Box<[Box<[u8]>]>),
    /// `envoy.bool`
    Bool(bool),
    /// [`DYNAMIC_PORT`]
    U32(u32),
    /// [`PER_CONNECTION_IDLE_TIMEOUT`]
    U64(u64),
    /// A message, as JSON. No text makes it.
    Message(Box<[u8]>),
    /// Texts by name: `envoy.network.proxy_protocol.tlv`
    Fields(Box<Fields>),
    /// `envoy.filters.http.grpc_stats`: the messages of a call so far. No text
    /// makes it.
    GrpcMessages {
        /// Those of the request.
        request: u64,
        /// Those of the response.
        response: u64,
    },
    /// `envoy.filters.network.ext_authz`: what was decided of a connection that goes on
    /// whatever it is. No text makes it.
    Decision {
        /// What came of it, in Envoy's word.
        check_result: &'static str,
        /// The status that HTTP would have of it; 0 is none.
        status_code: i32,
    },
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Field<'a> {
    /// A text.
    Text(Cow<'a, [u8]>),
    /// A number.
    Number(i64),
}

/// An object of texts by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    /// The object as a text, which is JSON.
    pub json: Box<[u8]>,
    /// Its parts.
    pub fields: Struct,
}

/// A compiled test of an object.
#[derive(Debug)]
pub struct FilterStateMatcher {
    key: Box<str>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Text(StringMatcher),
    Address {
        ranges: Box<[CidrRange]>,
        invert: bool,
    },
}

impl FilterState {
    /// Of whoever has none.
    pub const EMPTY: &'static FilterState = &FilterState(Vec::new());

    /// An object.
    pub fn get(&self, key: &str) -> Option<&Object> {
        self.0
            .iter()
            .find(|(name, _)| **name == *key)
            .map(|(_, object)| object)
    }

    /// Sets an object; one that has the key is replaced. Envoy 1.40 knows no
    /// objects that stay, whatever its configuration says.
    pub fn set(&mut self, key: &str, object: Object) {
        match self.0.iter_mut().find(|(name, _)| **name == *key) {
            None => self.0.push((key.into(), object)),
            Some((_, before)) => *before = object,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Object {
    /// The text that it is, if it is one.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Object::Text(text) | Object::HashableText(text) => Some(text),
            _ => None,
        }
    }

    /// What hash policies take of it; `None` where they take nothing.
    pub(crate) fn hashable(&self) -> Option<&[u8]> {
        match self {
            Object::HashableText(text) => Some(text),
            _ => None,
        }
    }

    /// Appends the object as text, as `%FILTER_STATE(KEY:PLAIN)%` has it; false where it
    /// has none.
    pub fn write(&self, out: &mut Vec<u8>) -> bool {
        use std::io::Write as _;
        // Writing to a Vec cannot fail.
        let _ = match self {
            Object::Text(text)
            | Object::HashableText(text)
            | Object::Cluster(text)
            | Object::ServerName(text) => out.write_all(text),
            Object::Fields(fields) => out.write_all(&fields.json),
            Object::Ip(address) => write!(out, "{}", SocketAddr::new(*address, 0)),
            Object::Address(address) => write!(out, "{address}"),
            Object::Bool(value) => write!(out, "{value}"),
            Object::U32(value) => write!(out, "{value}"),
            Object::U64(value) => write!(out, "{value}"),
            Object::GrpcMessages { request, response } => write!(out, "{request},{response}"),
            Object::SubjectAltNames(names) => out.write_all(&names.join(&b',')),
            Object::Decision {
                check_result,
                status_code: 0,
            } => write!(out, "{{\"check_result\":\"{check_result}\"}}"),
            Object::Decision {
                check_result,
                status_code,
            } => write!(
                out,
                "{{\"check_result\":\"{check_result}\",\"status_code\":{status_code}}}"
            ),
            Object::ApplicationProtocols(_) | Object::Message(_) => return false,
        };
        true
    }

    /// Whether it is one that has fields.
    pub fn has_fields(&self) -> bool {
        matches!(
            self,
            Object::Fields(_) | Object::Address(_) | Object::Decision { .. }
        )
    }

    /// A field of an object that has such.
    pub fn field(&self, name: &str) -> Option<Field<'_>> {
        Some(match (self, name) {
            (Object::Fields(fields), name) => match fields.fields.get(name)? {
                Value::Text(text) => Field::Text(Cow::Borrowed(text)),
                _ => return None,
            },
            (Object::Address(address), "ip") => {
                Field::Text(Cow::Owned(address.ip().to_string().into_bytes()))
            }
            (Object::Address(address), "port") => Field::Number(address.port().into()),
            (Object::Decision { check_result, .. }, "check_result") => {
                Field::Text(Cow::Borrowed(check_result.as_bytes()))
            }
            (Object::Decision { status_code, .. }, "status_code") if *status_code != 0 => {
                Field::Number((*status_code).into())
            }
            _ => return None,
        })
    }
}

impl Field<'_> {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        // Writing to a Vec cannot fail.
        let _ = match self {
            Field::Text(text) => out.write_all(text),
            Field::Number(number) => write!(out, "{number}"),
        };
    }
}

impl FilterStateMatcher {
    /// Whether the object is there and passes.
    pub fn matches(&self, state: &FilterState) -> bool {
        match (&self.test, state.get(&self.key)) {
            (_, None) => false,
            (Test::Text(matcher), Some(Object::Text(text) | Object::HashableText(text))) => {
                matcher.matches(text)
            }
            (Test::Text(matcher), Some(object)) => {
                let mut text = Vec::new();
                object.write(&mut text) && matcher.matches(&text)
            }
            (Test::Address { ranges, invert }, Some(Object::Ip(address))) => {
                ranges.iter().any(|range| range.contains(*address)) != *invert
            }
            (Test::Address { ranges, invert }, Some(Object::Address(address))) => {
                ranges.iter().any(|range| range.contains(address.ip())) != *invert
            }
            (Test::Address { .. }, Some(_)) => false,
        }
    }

    /// Compiles the message, or reports why not.
    pub fn lower(message: &proto::FilterStateMatcher, cx: &mut Cx<'_>) -> Option<Self> {
        use proto::filter_state_matcher::Matcher;
        let test = match &message.matcher {
            Some(Matcher::StringMatch(matcher)) => cx
                .field("string_match", |cx| StringMatcher::lower(matcher, cx))
                .map(Test::Text),
            Some(Matcher::AddressMatch(matcher)) => cx.field("address_match", |cx| {
                let ranges: Vec<_> = matcher
                    .ranges
                    .iter()
                    .enumerate()
                    .map(|(i, range)| {
                        let bits = range.prefix_len.as_ref().map_or(0, |bits| bits.value);
                        cx.index("ranges", i, |cx| {
                            CidrRange::lower(&range.address_prefix, bits, cx)
                        })
                    })
                    .collect();
                let ranges: Option<_> = ranges.into_iter().collect();
                Some(Test::Address {
                    ranges: ranges?,
                    invert: matcher.invert_match,
                })
            }),
            None => {
                cx.error("one of string_match and address_match is needed");
                None
            }
        };
        Some(FilterStateMatcher {
            key: message.key.as_str().into(),
            test: test?,
        })
    }
}
