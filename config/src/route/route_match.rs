//! `envoy.config.route.v3.RouteMatch`: which requests belong to a route.

use super::cookie_match::CookieMatcher;
use super::header_match::HeaderMatcher;
use super::lower::{Lowering, all};
use super::path_match::PathMatcher;
use super::query_match::QueryParameterMatcher;
use super::request_path::RequestPath;
use crate::context::Cx;
use crate::filter_state::{FilterState, FilterStateMatcher};
use crate::metadata::Metadata;
use crate::metadata_match::MetadataMatcher;
use crate::runtime::{RuntimeFraction, RuntimeValues};
use envoy_types::pb::envoy::config::route::v3 as proto;
use ringway_codecs::header::{HeaderId, HeaderMap};
use std::net::IpAddr;

/// What a request is matched by.
#[derive(Clone, Copy)]
pub struct MatchInput<'a> {
    /// Its headers, pseudo headers included.
    pub headers: &'a HeaderMap,
    /// A random number, one for the whole request: it decides fractions and
    /// weighted clusters.
    pub random: u64,
    /// The current runtime values.
    pub runtime: &'a RuntimeValues,
    /// What filters have said of the request.
    pub metadata: &'a Metadata,
    /// What filters have left for others.
    pub filter_state: &'a FilterState,
    /// The client's address.
    pub remote: IpAddr,
    /// The client's certificate; the default for connections without TLS.
    pub peer_certificate: PeerCertificate,
}

/// What is known of a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerCertificate {
    /// The client has shown one.
    pub presented: bool,
    /// It was checked and is good.
    pub validated: bool,
}

/// A compiled `envoy.config.route.v3.RouteMatch`; everything in it must pass.
#[derive(Debug)]
pub struct RouteMatcher {
    /// What the path must look like.
    pub path: PathMatcher,
    /// Whether the parameters of path segments (`;v=1`) are not looked at:
    /// `RouteConfiguration.ignore_path_parameters_in_path_matching`.
    pub ignore_path_parameters: bool,
    /// The share of requests that may pass.
    pub fraction: Option<RuntimeFraction>,
    /// Whether only gRPC requests pass.
    pub grpc: bool,
    /// What the headers must look like.
    pub headers: Box<[HeaderMatcher]>,
    /// What the query parameters must look like.
    pub query_parameters: Box<[QueryParameterMatcher]>,
    /// What the cookies must look like.
    pub cookies: Box<[CookieMatcher]>,
    /// What the client's certificate must be.
    pub tls_context: TlsContextMatcher,
    /// What filters must have said of the request.
    pub dynamic_metadata: Box<[MetadataMatcher]>,
    /// What filters must have left for others.
    pub filter_state: Box<[FilterStateMatcher]>,
    /// Nothing but the path decides, as of most routes.
    path_only: bool,
}

/// A compiled `envoy.config.route.v3.RouteMatch.TlsContextMatchOptions`. A
/// connection without TLS is one without a certificate, as in Envoy.
#[derive(Debug, Clone, Copy, Default)]
pub struct TlsContextMatcher {
    /// Whether a certificate must have been presented; `None` if either will do.
    pub presented: Option<bool>,
    /// Whether it must have been validated; `None` if either will do.
    pub validated: Option<bool>,
}

impl RouteMatcher {
    /// Whether the request passes.
    pub fn matches(&self, input: &MatchInput<'_>) -> bool {
        RequestPath::with(input.headers, self.ignore_path_parameters, |path| {
            self.matches_at(path, input)
        })
    }

    /// [`RouteMatcher::matches`] for a path that was taken apart before.
    pub(super) fn matches_at(&self, path: &RequestPath<'_>, input: &MatchInput<'_>) -> bool {
        self.path.matches(path, input.headers) && (self.path_only || self.others_match(path, input))
    }

    /// Whether everything but the path passes.
    fn others_match(&self, path: &RequestPath<'_>, input: &MatchInput<'_>) -> bool {
        self.takes_share(input)
            && (!self.grpc || is_grpc(input.headers))
            && self
                .headers
                .iter()
                .all(|matcher| matcher.matches(input.headers))
            && self
                .query_parameters
                .iter()
                .all(|matcher| matcher.matches(path.with_query))
            && self
                .cookies
                .iter()
                .all(|matcher| matcher.matches(input.headers))
            && self.tls_context.matches(input.peer_certificate)
            && self
                .dynamic_metadata
                .iter()
                .all(|matcher| matcher.matches(input.metadata))
            && self
                .filter_state
                .iter()
                .all(|matcher| matcher.matches(input.filter_state))
    }

    /// Whether the request is among the share of requests that may pass.
    pub(super) fn takes_share(&self, input: &MatchInput<'_>) -> bool {
        self.fraction
            .is_none_or(|fraction| fraction.takes(input.runtime, input.random))
    }

    /// Compiles the message, or reports why not.
    pub(super) fn lower(
        message: &proto::RouteMatch,
        lowering: &Lowering,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let ignore_path_parameters = lowering.ignore_path_parameters;
        let path = PathMatcher::lower(message, ignore_path_parameters, cx);
        let headers = all(&message.headers, "headers", cx, HeaderMatcher::lower);
        let query_parameters = all(
            &message.query_parameters,
            "query_parameters",
            cx,
            QueryParameterMatcher::lower,
        );
        let cookies = all(&message.cookies, "cookies", cx, CookieMatcher::lower);
        let fraction = message.runtime_fraction.as_ref().map(|fraction| {
            cx.field("runtime_fraction", |cx| {
                RuntimeFraction::lower(fraction, cx)
            })
        });
        let dynamic_metadata = all(
            &message.dynamic_metadata,
            "dynamic_metadata",
            cx,
            MetadataMatcher::lower,
        );
        let filter_state = all(
            &message.filter_state,
            "filter_state",
            cx,
            FilterStateMatcher::lower,
        );
        let path_only = *message
            == proto::RouteMatch {
                path_specifier: message.path_specifier.clone(),
                case_sensitive: message.case_sensitive,
                ..Default::default()
            };
        Some(RouteMatcher {
            path_only,
            path: path?,
            ignore_path_parameters,
            fraction,
            grpc: message.grpc.is_some(),
            headers: headers?,
            query_parameters: query_parameters?,
            cookies: cookies?,
            dynamic_metadata: dynamic_metadata?,
            filter_state: filter_state?,
            tls_context: message.tls_context.as_ref().map_or_else(
                TlsContextMatcher::default,
                |options| TlsContextMatcher {
                    presented: options.presented.map(|flag| flag.value),
                    validated: options.validated.map(|flag| flag.value),
                },
            ),
        })
    }
}

impl TlsContextMatcher {
    /// Whether the connection passes.
    pub fn matches(&self, peer: PeerCertificate) -> bool {
        self.presented.is_none_or(|wanted| wanted == peer.presented)
            && self.validated.is_none_or(|wanted| wanted == peer.validated)
    }
}

/// Whether the request's `content-type` is `application/grpc`, perhaps with a
/// `+` and a format.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let format = headers
        .get(HeaderId::ContentType)
        .and_then(|value| value.strip_prefix(b"application/grpc"));
    matches!(format, Some([] | [b'+', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_codecs::header::Lines;

    #[test]
    fn grpc_requests() {
        for (types, expected) in [
            (&["application/grpc"][..], true),
            (&["application/grpc+proto"], true),
            (&["application/grpc+"], true),
            (&["application/grpc+x", "text/plain"], true),
            (&["application/grpc", "text/plain"], false),
            (&["text/plain", "application/grpc"], false),
            (&["application/grpc;x"], false),
            (&["application/grpc-web"], false),
            (&["application/grpcx"], false),
            (&["Application/grpc"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::of(Lines::Request);
            for value in types {
                headers.append(HeaderId::ContentType, value.as_bytes());
            }
            assert_eq!(is_grpc(&headers), expected, "{types:?}");
        }
    }

    #[test]
    fn certificates() {
        let peer = |presented, validated| PeerCertificate {
            presented,
            validated,
        };
        for (presented, validated, yes, no) in [
            (
                None,
                None,
                &[peer(false, false), peer(true, true)][..],
                &[][..],
            ),
            (
                Some(true),
                None,
                &[peer(true, false)],
                &[peer(false, false)],
            ),
            (
                Some(false),
                None,
                &[peer(false, false)],
                &[peer(true, true)],
            ),
            (None, Some(true), &[peer(true, true)], &[peer(true, false)]),
            (
                Some(true),
                Some(false),
                &[peer(true, false)],
                &[peer(true, true), peer(false, false)],
            ),
        ] {
            let matcher = TlsContextMatcher {
                presented,
                validated,
            };
            assert!(yes.iter().all(|peer| matcher.matches(*peer)), "{matcher:?}");
            assert!(!no.iter().any(|peer| matcher.matches(*peer)), "{matcher:?}");
        }
    }
}
