//! What a matcher can look at.

use super::host_input::HostInput;
use super::network_input::NetworkInput;
use super::{Inputs, MatchingData};
use crate::context::{Cx, type_name, unpack};
use crate::route::HeaderKey;
use crate::route::scratch;
use envoy_types::pb::envoy::r#type::matcher::v3 as proto;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use ringway_codecs::header::HeaderId;
use std::net::IpAddr;

/// A part of a request or a response.
#[derive(Debug)]
pub(super) enum Input {
    /// `envoy.type.matcher.v3.HttpRequestHeaderMatchInput`.
    RequestHeader(HeaderKey),
    /// `envoy.type.matcher.v3.HttpResponseHeaderMatchInput`, its name in lower
    /// case: a response's `host` is not an authority.
    ResponseHeader(Box<[u8]>),
    /// `envoy.type.matcher.v3.HttpResponseStatusCodeMatchInput`: `404`.
    Status,
    /// `envoy.type.matcher.v3.HttpResponseStatusCodeClassMatchInput`: `4xx`.
    StatusClass,
    /// What is known of a connection.
    Network(NetworkInput),
    /// What is known of a host. In a box: it is large, and no request looks at it.
    Host(Box<HostInput>),
}

impl Input {
    /// What `f` makes of the value, if there is one. Several lines of a header
    /// are one value, joined by commas.
    pub(super) fn with<T>(&self, seen: MatchingData<'_>, f: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match self {
            Input::RequestHeader(HeaderKey::Known(id)) => joined(seen.request?.get_all(*id), f),
            Input::RequestHeader(HeaderKey::Other(name)) => {
                joined(seen.request?.get_all_name(name), f)
            }
            Input::ResponseHeader(name) => joined(seen.response?.get_all_name(name), f),
            Input::Status => seen.response?.get(HeaderId::Status).map(f),
            Input::StatusClass => match seen.response?.get(HeaderId::Status)? {
                [class, _, _] => Some(f(&[*class, b'x', b'x'])),
                _ => None,
            },
            Input::Network(input) => input.with(seen.connection?, f),
            Input::Host(input) => input.with(seen.host?, f),
        }
    }

    /// The address that the value is, if it is one.
    pub(super) fn address(&self, seen: MatchingData<'_>) -> Option<IpAddr> {
        match self {
            Input::Network(input) if input.is_address() => input.address(seen.connection?),
            input => input
                .with(seen, |text| std::str::from_utf8(text).ok()?.parse().ok())
                .flatten(),
        }
    }

    /// Whether its values are addresses, or texts that may be some.
    pub(super) fn is_address(&self) -> bool {
        match self {
            Input::Network(input) => input.is_address(),
            Input::Host(_) => true,
            _ => false,
        }
    }

    /// Compiles the field `input`, or reports why not.
    pub(super) fn lower(
        message: Option<&TypedExtensionConfig>,
        inputs: Inputs,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        cx.field("input", |cx| {
            let Some(any) = message.and_then(|message| message.typed_config.as_ref()) else {
                cx.error("needs a typed_config: its type says what is looked at");
                return None;
            };
            cx.field("typed_config", |cx| {
                match inputs {
                    Inputs::Connection => return NetworkInput::lower(any, cx).map(Input::Network),
                    Inputs::Access => {
                        return NetworkInput::lower_access(any, cx).map(Input::Network);
                    }
                    Inputs::Host => {
                        return HostInput::lower(any, cx).map(|input| Input::Host(Box::new(input)));
                    }
                    Inputs::Request | Inputs::RequestAndResponse => {}
                }
                let of_response = inputs == Inputs::RequestAndResponse;
                match type_name(&any.type_url) {
                    "envoy.type.matcher.v3.HttpRequestHeaderMatchInput" => {
                        let input: proto::HttpRequestHeaderMatchInput = unpack(any, cx)?;
                        Some(Input::RequestHeader(HeaderKey::new(&input.header_name)))
                    }
                    "envoy.type.matcher.v3.HttpResponseHeaderMatchInput" if of_response => {
                        let input: proto::HttpResponseHeaderMatchInput = unpack(any, cx)?;
                        let name = input.header_name.to_ascii_lowercase();
                        Some(Input::ResponseHeader(name.into_bytes().into()))
                    }
                    "envoy.type.matcher.v3.HttpResponseStatusCodeMatchInput" if of_response => {
                        Some(Input::Status)
                    }
                    "envoy.type.matcher.v3.HttpResponseStatusCodeClassMatchInput"
                        if of_response =>
                    {
                        Some(Input::StatusClass)
                    }
                    given if of_response => {
                        cx.error(format!("the input {given} is not supported yet"));
                        None
                    }
                    given => {
                        cx.error(format!(
                            "only request headers can be looked at here \
                             (envoy.type.matcher.v3.HttpRequestHeaderMatchInput), not {given}"
                        ));
                        None
                    }
                }
            })
        })
    }
}

fn joined<'v, T>(
    mut values: impl Iterator<Item = &'v [u8]>,
    f: impl FnOnce(&[u8]) -> T,
) -> Option<T> {
    let first = values.next()?;
    let Some(second) = values.next() else {
        return Some(f(first));
    };
    scratch::with(|all| {
        all.extend_from_slice(first);
        for value in std::iter::once(second).chain(values) {
            all.push(b',');
            all.extend_from_slice(value);
        }
        Some(f(all))
    })
}
