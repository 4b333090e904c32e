//! What a route does with a request.

use super::direct_response::DirectResponse;
use super::lower::{Lowering, duration};
use super::path_match::PathMatcher;
use super::redirect::Redirect;
use super::regex::Substitution;
use super::rewrite::PathRewrite;
use super::upgrade::RouteUpgrades;
use crate::clusters::ClusterId;
use crate::context::Cx;
use envoy_types::pb::envoy::config::core::v3::RoutingPriority;
use envoy_types::pb::envoy::config::route::v3 as proto;
use std::time::Duration;

/// `RouteAction.timeout` when it is not set.
const ROUTE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);

/// The action of a route.
#[derive(Debug)]
pub enum Action {
    /// `route`: the request goes to a cluster.
    Forward(Forward),
    /// `direct_response`: the proxy answers.
    DirectResponse(DirectResponse),
    /// `redirect`: the proxy answers with a `Location`.
    Redirect(Redirect),
}

/// A compiled `envoy.config.route.v3.RouteAction`.
#[derive(Debug)]
pub struct Forward {
    /// The cluster, which need not exist.
    pub cluster: ClusterId,
    /// The status when it does not: 503, 404 or 500.
    pub cluster_not_found_status: u16,
    /// From the end of the request to the end of the response; `None` is
    /// without limit.
    pub timeout: Option<Duration>,
    /// Replaces the connection manager's `stream_idle_timeout` when set; the
    /// inner `None` turns it off.
    pub idle_timeout: Option<Option<Duration>>,
    /// Replaces the connection manager's `max_stream_duration` when set; the
    /// inner `None` turns it off.
    pub max_stream_duration: Option<Option<Duration>>,
    /// Which set of circuit breakers counts the request.
    pub priority: Priority,
    /// How the path changes on its way upstream.
    pub path_rewrite: Option<PathRewrite>,
    /// What takes the place of the authority.
    pub host_rewrite: Option<Box<[u8]>>,
    /// Whether a replaced authority is appended to `x-forwarded-host`.
    pub append_x_forwarded_host: bool,
    /// Which upgrades the route turns on and off.
    pub upgrades: RouteUpgrades,
}

/// `envoy.config.core.v3.RoutingPriority`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// The usual thresholds.
    #[default]
    Default,
    /// The thresholds for important requests.
    High,
}

impl Action {
    /// Compiles the action of a route, or reports why not. `path` is what the
    /// route matches, unless that is wrong.
    pub(super) fn lower(
        message: &proto::Route,
        path: Option<&PathMatcher>,
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        use proto::route::Action as ProtoAction;
        match &message.action {
            Some(ProtoAction::Route(action)) => cx
                .field("route", |cx| Forward::lower(action, path, lowering, cx))
                .map(Action::Forward),
            Some(ProtoAction::DirectResponse(action)) => cx
                .field("direct_response", |cx| {
                    DirectResponse::lower(action, lowering, cx)
                })
                .map(Action::DirectResponse),
            Some(ProtoAction::Redirect(action)) => cx
                .field("redirect", |cx| Redirect::lower(action, path, cx))
                .map(Action::Redirect),
            Some(_) => {
                cx.error(
                    "this action is not supported yet; use route, direct_response or redirect",
                );
                None
            }
            None => {
                cx.error("one of route, direct_response or redirect is needed");
                None
            }
        }
    }
}

impl Forward {
    fn lower(
        message: &proto::RouteAction,
        path: Option<&PathMatcher>,
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let cluster = cluster(message, lowering, cx);
        let path_rewrite = forward_path_rewrite(message, path, cx);
        let host_rewrite = host_rewrite(message, cx);
        let timeout = duration(message.timeout.as_ref(), "timeout", cx);
        let idle_timeout = duration(message.idle_timeout.as_ref(), "idle_timeout", cx);
        let upgrades = RouteUpgrades::lower(message, cx);
        let max_stream_duration = cx.field("max_stream_duration", |cx| {
            let limit = message.max_stream_duration.as_ref();
            duration(
                limit.and_then(|limit| limit.max_stream_duration.as_ref()),
                "max_stream_duration",
                cx,
            )
        });
        Some(Forward {
            cluster: cluster?,
            cluster_not_found_status: cluster_not_found_status(message),
            timeout: timeout?.unwrap_or(Some(ROUTE_TIMEOUT_DEFAULT)),
            idle_timeout: idle_timeout?,
            max_stream_duration: max_stream_duration?,
            priority: match message.priority() {
                RoutingPriority::Default => Priority::Default,
                RoutingPriority::High => Priority::High,
            },
            path_rewrite: path_rewrite?,
            host_rewrite: host_rewrite?,
            append_x_forwarded_host: message.append_x_forwarded_host,
            upgrades: upgrades?,
        })
    }
}

fn cluster(
    message: &proto::RouteAction,
    lowering: &mut Lowering,
    cx: &mut Cx<'_>,
) -> Option<ClusterId> {
    use proto::route_action::ClusterSpecifier;
    match &message.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => {
            Some(cx.field("cluster", |cx| lowering.cluster(name, cx)))
        }
        Some(_) => {
            cx.error("this way to name a cluster is not supported yet; use cluster");
            None
        }
        None => {
            cx.error_at("cluster", "is required");
            None
        }
    }
}

fn cluster_not_found_status(message: &proto::RouteAction) -> u16 {
    use proto::route_action::ClusterNotFoundResponseCode as Code;
    match message.cluster_not_found_response_code() {
        Code::ServiceUnavailable => 503,
        Code::NotFound => 404,
        Code::InternalServerError => 500,
    }
}

fn forward_path_rewrite(
    message: &proto::RouteAction,
    path: Option<&PathMatcher>,
    cx: &mut Cx<'_>,
) -> Option<Option<PathRewrite>> {
    match (&message.regex_rewrite, message.prefix_rewrite.as_str()) {
        (Some(_), prefix) if !prefix.is_empty() => {
            cx.error_at(
                "regex_rewrite",
                "only one of prefix_rewrite and regex_rewrite may be set",
            );
            None
        }
        (Some(regex), _) => cx
            .field("regex_rewrite", |cx| Substitution::lower(regex, cx))
            .map(|substitution| Some(PathRewrite::Regex(substitution))),
        (None, "") => Some(None),
        (None, prefix) => Some(Some(PathRewrite::of_prefix(path, prefix))),
    }
}

fn host_rewrite(message: &proto::RouteAction, cx: &mut Cx<'_>) -> Option<Option<Box<[u8]>>> {
    use proto::route_action::HostRewriteSpecifier;
    match &message.host_rewrite_specifier {
        None => Some(None),
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => {
            Some((!host.is_empty()).then(|| host.as_bytes().into()))
        }
        Some(HostRewriteSpecifier::AutoHostRewrite(flag)) if !flag.value => Some(None),
        Some(_) => {
            cx.error("this way to rewrite the host is not supported yet; use host_rewrite_literal");
            None
        }
    }
}
