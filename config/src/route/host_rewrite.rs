//! `RouteAction.host_rewrite_specifier`: what takes the place of a request's
//! authority.

use super::header_key::HeaderKey;
use super::lower::Lowering;
use super::regex::Substitution;
use super::rewrite::Rewriting;
use super::without_query;
use crate::context::Cx;
use crate::format_strings::FormatId;
use envoy_types::pb::envoy::config::route::v3 as proto;
use proto::route_action::HostRewriteSpecifier as Specifier;
use ringway_codecs::header::{HeaderId, HeaderMap};

/// Where the new authority comes from. Wherever it is empty, the old one stays.
#[derive(Debug)]
pub enum HostRewrite {
    /// `host_rewrite_literal`
    Literal(Box<[u8]>),
    /// `host_rewrite_header`: the first value of this header.
    Header(HeaderKey),
    /// `host_rewrite_path_regex`: the path, without its query string, after
    /// this substitution.
    PathRegex(Substitution),
    /// `host_rewrite`, a format string. What is not known is a dash.
    Format(FormatId),
    /// `auto_host_rewrite`: the name of the host that the request goes to,
    /// which is known once it was picked.
    Auto,
}

impl HostRewrite {
    /// Appends the new authority to the scratch buffer.
    pub(super) fn write(&self, headers: &HeaderMap, with: &mut Rewriting<'_>) {
        let out = &mut *with.scratch;
        match self {
            HostRewrite::Literal(host) => out.extend_from_slice(host),
            HostRewrite::Header(name) => {
                out.extend_from_slice(name.first(headers).unwrap_or_default());
            }
            HostRewrite::PathRegex(substitution) => {
                let path = headers.get(HeaderId::Path).unwrap_or_default();
                substitution.write(without_query(path), out);
            }
            HostRewrite::Format(id) => (with.format)(*id, headers, out),
            HostRewrite::Auto => {}
        }
    }

    /// Compiles the choice of a route; `None` after an error, `Some(None)`
    /// when the authority stays.
    pub(super) fn lower(
        message: &proto::RouteAction,
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
    ) -> Option<Option<Self>> {
        let not_empty = |text: &str| !text.is_empty();
        match &message.host_rewrite_specifier {
            None => Some(None),
            Some(Specifier::HostRewriteLiteral(host)) => {
                Some(not_empty(host).then(|| Self::Literal(host.as_bytes().into())))
            }
            Some(Specifier::HostRewriteHeader(name)) => {
                Some(HeaderKey::optional(name).map(Self::Header))
            }
            Some(Specifier::HostRewritePathRegex(regex)) => cx
                .field("host_rewrite_path_regex", |cx| {
                    Substitution::lower(regex, cx)
                })
                .map(|substitution| Some(Self::PathRegex(substitution))),
            Some(Specifier::HostRewrite(format)) => cx.field("host_rewrite", |cx| {
                let id = not_empty(format).then(|| lowering.formats.add(format, cx));
                Some(id.map(Self::Format))
            }),
            Some(Specifier::AutoHostRewrite(flag)) => Some(flag.value.then_some(Self::Auto)),
        }
    }
}
