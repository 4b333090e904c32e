//! What a matcher can look at.

use crate::context::{Cx, type_name, unpack};
use crate::route::HeaderKey;
use crate::route::scratch;
use envoy_types::pb::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use prost::Name as _;
use ringway_codecs::header::HeaderMap;

/// A part of a request.
#[derive(Debug)]
pub(super) enum Input {
    /// `envoy.type.matcher.v3.HttpRequestHeaderMatchInput`.
    RequestHeader(HeaderKey),
}

impl Input {
    /// What `f` makes of the value, if there is one. Several lines of a header
    /// are one value, joined by commas.
    pub(super) fn with<T>(&self, headers: &HeaderMap, f: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match self {
            Input::RequestHeader(HeaderKey::Known(id)) => joined(headers.get_all(*id), f),
            Input::RequestHeader(HeaderKey::Other(name)) => joined(headers.get_all_name(name), f),
        }
    }

    /// Compiles the field `input`, or reports why not.
    pub(super) fn lower(message: Option<&TypedExtensionConfig>, cx: &mut Cx<'_>) -> Option<Self> {
        cx.field("input", |cx| {
            let Some(any) = message.and_then(|message| message.typed_config.as_ref()) else {
                cx.error("needs a typed_config: its type says what is looked at");
                return None;
            };
            cx.field("typed_config", |cx| {
                let given = type_name(&any.type_url);
                if given != HttpRequestHeaderMatchInput::full_name() {
                    cx.error(format!(
                        "only request headers can be looked at here ({}), not {given}",
                        HttpRequestHeaderMatchInput::full_name()
                    ));
                    return None;
                }
                let input: HttpRequestHeaderMatchInput = unpack(any, cx)?;
                Some(Input::RequestHeader(HeaderKey::new(&input.header_name)))
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
