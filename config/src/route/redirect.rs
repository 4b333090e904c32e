//! `envoy.config.route.v3.RedirectAction`.

use super::action::NOT_WITH_TEMPLATE;
use super::path_match::PathMatcher;
use super::regex::Substitution;
use super::rewrite::PathRewrite;
use crate::context::Cx;
use crate::format_strings::{FormatId, FormatStrings};
use envoy_types::pb::envoy::config::route::v3 as proto;

/// A compiled `envoy.config.route.v3.RedirectAction`.
#[derive(Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The scheme of the new URL.
    pub scheme: SchemeRedirect,
    /// The host of the new URL, perhaps with a port; the request's if `None`.
    pub host: Option<Box<[u8]>>,
    /// The port of the new URL.
    pub port: Option<u32>,
    /// The path of the new URL.
    pub path: PathRedirect,
    /// Whether the request's query string is left out.
    pub strip_query: bool,
}

/// Where a redirect's scheme comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum SchemeRedirect {
    /// The request's.
    Keep,
    /// `https_redirect`.
    Https,
    /// `scheme_redirect`.
    To(Box<[u8]>),
}

/// Where a redirect's path comes from.
#[derive(Debug)]
pub enum PathRedirect {
    /// The request's.
    Keep,
    /// `path_redirect`.
    To(Box<[u8]>),
    /// `prefix_rewrite` or `regex_rewrite`. As in Envoy it rewrites the
    /// request's own path, which access logs show.
    Rewrite(PathRewrite),
    /// `path_rewrite`, a format string. What is not known leaves nothing
    /// behind.
    Format(FormatId),
}

impl Redirect {
    /// Compiles a message that stands outside of routes: there is no path that
    /// a rewrite could go by.
    pub fn lower_without_route(
        message: &proto::RedirectAction,
        formats: &mut FormatStrings,
        cx: &mut Cx<'_>,
    ) -> Option<Redirect> {
        use proto::redirect_action::PathRewriteSpecifier;
        let field = match &message.path_rewrite_specifier {
            Some(PathRewriteSpecifier::PrefixRewrite(_)) => "prefix_rewrite",
            Some(PathRewriteSpecifier::RegexRewrite(_)) => "regex_rewrite",
            _ => return Self::lower(message, None, formats, cx),
        };
        cx.error_at(field, "is not supported for a custom response");
        None
    }

    /// Compiles the message, or reports why not. `path` is what the route matches.
    pub(super) fn lower(
        message: &proto::RedirectAction,
        path: Option<&PathMatcher>,
        formats: &mut FormatStrings,
        cx: &mut Cx<'_>,
    ) -> Option<Redirect> {
        use proto::redirect_action::{
            PathRewriteSpecifier, RedirectResponseCode as Code, SchemeRewriteSpecifier,
        };
        let not_empty = |text: &str| (!text.is_empty()).then(|| text.as_bytes().into());
        let path = match &message.path_rewrite_specifier {
            None => Some(PathRedirect::Keep),
            Some(PathRewriteSpecifier::PathRedirect(to)) => {
                Some(not_empty(to).map_or(PathRedirect::Keep, PathRedirect::To))
            }
            Some(PathRewriteSpecifier::PrefixRewrite(prefix)) if prefix.is_empty() => {
                Some(PathRedirect::Keep)
            }
            Some(PathRewriteSpecifier::PrefixRewrite(_))
                if path.is_some_and(|path| path.template().is_some()) =>
            {
                cx.error_at("prefix_rewrite", NOT_WITH_TEMPLATE);
                None
            }
            Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
                Some(PathRedirect::Rewrite(PathRewrite::of_prefix(path, prefix)))
            }
            Some(PathRewriteSpecifier::RegexRewrite(regex)) => cx
                .field("regex_rewrite", |cx| Substitution::lower(regex, cx))
                .map(|substitution| PathRedirect::Rewrite(PathRewrite::Regex(substitution))),
            Some(PathRewriteSpecifier::PathRewrite(format)) if format.is_empty() => {
                Some(PathRedirect::Keep)
            }
            Some(PathRewriteSpecifier::PathRewrite(format)) => cx.field("path_rewrite", |cx| {
                let id = formats.add_omitting_empty(format, cx);
                Some(PathRedirect::Format(id))
            }),
        };
        Some(Redirect {
            status: match message.response_code() {
                Code::MovedPermanently => 301,
                Code::Found => 302,
                Code::SeeOther => 303,
                Code::TemporaryRedirect => 307,
                Code::PermanentRedirect => 308,
            },
            scheme: match &message.scheme_rewrite_specifier {
                Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => SchemeRedirect::Https,
                Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => {
                    not_empty(scheme).map_or(SchemeRedirect::Keep, SchemeRedirect::To)
                }
                Some(SchemeRewriteSpecifier::HttpsRedirect(false)) | None => SchemeRedirect::Keep,
            },
            host: not_empty(&message.host_redirect),
            port: (message.port_redirect != 0).then_some(message.port_redirect),
            path: path?,
            strip_query: message.strip_query,
        })
    }
}
