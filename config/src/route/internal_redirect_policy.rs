//! `envoy.config.route.v3.InternalRedirectPolicy`: which redirects of a host
//! the proxy follows itself.

use super::lower::all;
use crate::context::{Cx, type_name, unpack};
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::envoy::extensions::internal_redirect::allow_listed_routes::v3::AllowListedRoutesConfig;
use envoy_types::pb::google::protobuf::UInt32Value;
use std::sync::Arc;

/// A compiled `envoy.config.route.v3.InternalRedirectPolicy`.
#[derive(Debug)]
pub struct InternalRedirectPolicy {
    /// How many redirects one request may follow.
    pub redirects_max: u32,
    /// The statuses that are followed.
    pub codes: Box<[u16]>,
    /// All of these must accept the new route.
    pub predicates: Box<[RedirectPredicate]>,
    /// `http` may become `https` and the other way round.
    pub allow_cross_scheme: bool,
    /// Lower-case names of response headers that the new request gets.
    pub headers_to_copy: Box<[Box<[u8]>]>,
}

/// A condition for the route that a redirect leads to.
#[derive(Debug)]
pub enum RedirectPredicate {
    /// `envoy.internal_redirect_predicates.previous_routes`: no route twice.
    PreviousRoutes,
    /// `envoy.internal_redirect_predicates.allow_listed_routes`: one of these.
    AllowListedRoutes(Box<[Arc<str>]>),
    /// `envoy.internal_redirect_predicates.safe_cross_scheme`: a request that
    /// came in plain text does not turn to `https`.
    SafeCrossScheme,
}

/// `redirect_response_codes` when there are none.
const CODES: &[u16] = &[302];

/// Codes that Envoy follows if they are listed; it ignores others.
const FOLLOWED: &[u32] = &[301, 302, 303, 307, 308];

/// `max_internal_redirects` when it is not set.
const REDIRECTS: u32 = 1;

impl InternalRedirectPolicy {
    /// Compiles the message, or reports why not.
    pub(super) fn lower(message: &proto::InternalRedirectPolicy, cx: &mut Cx<'_>) -> Option<Self> {
        let predicates = all(
            &message.predicates,
            "predicates",
            cx,
            RedirectPredicate::lower,
        );
        let mut good = true;
        for (i, name) in message.response_headers_to_copy.iter().enumerate() {
            if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
                good = false;
                cx.index("response_headers_to_copy", i, |cx| {
                    cx.error("pseudo headers and Host cannot be copied");
                });
            }
        }
        let codes = codes(&message.redirect_response_codes, cx);
        let predicates = predicates?;
        good.then(|| InternalRedirectPolicy {
            redirects_max: redirects_max(message.max_internal_redirects.as_ref()),
            codes,
            predicates,
            allow_cross_scheme: message.allow_cross_scheme_redirect,
            headers_to_copy: message
                .response_headers_to_copy
                .iter()
                .map(|name| name.to_ascii_lowercase().into_bytes().into())
                .collect(),
        })
    }

    /// The policy of the fields that came before it, if they ask for one. Beside
    /// it they have no effect.
    #[expect(deprecated, reason = "files written for older Envoys still use it")]
    pub(super) fn of_older(message: &proto::RouteAction) -> Option<Self> {
        use proto::route_action::InternalRedirectAction as Action;
        match message.internal_redirect_action() {
            Action::PassThroughInternalRedirect => None,
            Action::HandleInternalRedirect => Some(InternalRedirectPolicy {
                redirects_max: redirects_max(message.max_internal_redirects.as_ref()),
                codes: CODES.into(),
                predicates: Box::default(),
                allow_cross_scheme: false,
                headers_to_copy: Box::default(),
            }),
        }
    }
}

fn redirects_max(field: Option<&UInt32Value>) -> u32 {
    field.map_or(REDIRECTS, |max| max.value)
}

fn codes(listed: &[u32], cx: &mut Cx<'_>) -> Box<[u16]> {
    if listed.is_empty() {
        return CODES.into();
    }
    let mut codes = Vec::new();
    for (i, code) in listed.iter().enumerate() {
        match u16::try_from(*code) {
            Ok(followed) if FOLLOWED.contains(code) => codes.push(followed),
            _ => cx.index("redirect_response_codes", i, |cx| {
                cx.warn(format!(
                    "{code} is no redirect that can be followed: it has no effect, in Envoy neither"
                ));
            }),
        }
    }
    codes.into()
}

impl RedirectPredicate {
    fn lower(message: &TypedExtensionConfig, cx: &mut Cx<'_>) -> Option<Self> {
        let Some(any) = &message.typed_config else {
            cx.error_at("typed_config", "is required");
            return None;
        };
        match type_name(&any.type_url) {
            PREVIOUS_ROUTES => Some(RedirectPredicate::PreviousRoutes),
            SAFE_CROSS_SCHEME => Some(RedirectPredicate::SafeCrossScheme),
            ALLOW_LISTED_ROUTES => {
                let routes = cx.field("typed_config", |cx| {
                    unpack::<AllowListedRoutesConfig>(any, cx)
                })?;
                let names = routes.allowed_route_names.iter();
                Some(RedirectPredicate::AllowListedRoutes(
                    names.map(|name| name.as_str().into()).collect(),
                ))
            }
            other => {
                cx.error_at(
                    "typed_config",
                    format!("{other} is no predicate of internal redirects"),
                );
                None
            }
        }
    }
}

const PREVIOUS_ROUTES: &str =
    "envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig";
const ALLOW_LISTED_ROUTES: &str =
    "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig";
const SAFE_CROSS_SCHEME: &str =
    "envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig";
