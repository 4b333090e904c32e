//! Filter state: objects by key that filters leave for others behind them, and
//! `envoy.type.matcher.v3.FilterStateMatcher`, which routes look at them with.
//!
//! An object is made of a text by a factory. Envoy has a factory for each kind
//! of object; here are those whose objects are plain values.

use std::net::{IpAddr, SocketAddr};

use envoy_types::pb::envoy::r#type::matcher::v3 as proto;

use crate::cidr::CidrRange;
use crate::context::Cx;
use crate::metadata::Struct;
use crate::original_dst;
use crate::route::StringMatcher;

/// The object that names the cluster of a connection in the place of a
/// `tcp_proxy`'s own; also the name of its factory.
pub const TCP_PROXY_CLUSTER: &str = "envoy.tcp_proxy.cluster";

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
}

/// An object of texts by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    /// The object as a text, which is JSON.
    pub json: Box<[u8]>,
    /// Its parts.
    pub fields: Struct,
}

/// Makes an object of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factory {
    /// `envoy.string`
    Text,
    /// `envoy.hashable_string`
    HashableText,
    /// `envoy.network.ip`
    Ip,
    /// `envoy.network.transport_socket.original_dst_address`
    Address,
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
            Object::Ip(_)
            | Object::Address(_)
            | Object::Fields(_)
            | Object::GrpcMessages { .. } => None,
        }
    }

    /// What hash policies take of it; `None` where they take nothing.
    pub(crate) fn hashable(&self) -> Option<&[u8]> {
        match self {
            Object::HashableText(text) => Some(text),
            Object::Text(_)
            | Object::Ip(_)
            | Object::Address(_)
            | Object::Fields(_)
            | Object::GrpcMessages { .. } => None,
        }
    }

    /// The object as text, as `%FILTER_STATE(KEY:PLAIN)%` has it.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Object::Text(text) | Object::HashableText(text) => out.extend_from_slice(text),
            Object::Fields(fields) => out.extend_from_slice(&fields.json),
            Object::Ip(address) => {
                use std::io::Write as _;
                // Writing to a Vec cannot fail.
                let _ = write!(out, "{}", SocketAddr::new(*address, 0));
            }
            Object::Address(address) => {
                use std::io::Write as _;
                // Writing to a Vec cannot fail.
                let _ = write!(out, "{address}");
            }
            Object::GrpcMessages { request, response } => {
                use std::io::Write as _;
                // Writing to a Vec cannot fail.
                let _ = write!(out, "{request},{response}");
            }
        }
    }
}

impl Factory {
    /// The factory of this name.
    pub fn find(name: &str) -> Option<Self> {
        match name {
            "envoy.string" | TCP_PROXY_CLUSTER => Some(Factory::Text),
            "envoy.hashable_string" => Some(Factory::HashableText),
            "envoy.network.ip" => Some(Factory::Ip),
            original_dst::FILTER_STATE_KEY => Some(Factory::Address),
            _ => None,
        }
    }

    /// Makes an object, if the text is one.
    pub fn create(self, text: &[u8]) -> Option<Object> {
        match self {
            Factory::Text => Some(Object::Text(text.into())),
            Factory::HashableText => Some(Object::HashableText(text.into())),
            Factory::Ip => std::str::from_utf8(text).ok()?.parse().ok().map(Object::Ip),
            Factory::Address => original_dst::parse_address(text).map(Object::Address),
        }
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
                object.write(&mut text);
                matcher.matches(&text)
            }
            (Test::Address { ranges, invert }, Some(Object::Ip(address))) => {
                ranges.iter().any(|range| range.contains(*address)) != *invert
            }
            (Test::Address { ranges, invert }, Some(Object::Address(address))) => {
                ranges.iter().any(|range| range.contains(address.ip())) != *invert
            }
            (
                Test::Address { .. },
                Some(
                    Object::Text(_)
                    | Object::HashableText(_)
                    | Object::Fields(_)
                    | Object::GrpcMessages { .. },
                ),
            ) => false,
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
