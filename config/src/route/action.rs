//! What a route does with a request.

use super::MatchInput;
use super::cluster_specifier::{ClusterChoice, ClusterSpecifier, Inherited};
use super::direct_response::DirectResponse;
use super::hash_policy::HashPolicies;
use super::host_rewrite::HostRewrite;
use super::lower::{Lowering, duration};
use super::metadata_match::SubsetCriteria;
use super::path_match::PathMatcher;
use super::redirect::Redirect;
use super::regex::Substitution;
use super::request_mirror_policy::{RequestMirrorPolicies, RequestMirrorPolicy};
use super::resilience::Resilience;
use super::rewrite::PathRewrite;
use super::upgrade::RouteUpgrades;
use super::uri_template::TemplateRewrite;
use crate::context::{Cx, type_name};
use envoy_types::pb::envoy::config::core::v3::{RoutingPriority, TypedExtensionConfig};
use envoy_types::pb::envoy::config::route::v3 as proto;
use std::sync::Arc;
use std::time::Duration;

/// Why a `prefix_rewrite` and a template do not go together.
pub(super) const NOT_WITH_TEMPLATE: &str =
    "the route's path_match_policy matches whole paths; use path_rewrite_policy or regex_rewrite";

/// `RouteAction.timeout` when it is not set.
const ROUTE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);

/// The action of a route.
#[derive(Debug)]
pub enum Action {
    /// `route`: the request goes to a cluster.
    Forward(Box<Forward>),
    /// `direct_response`: the proxy answers.
    DirectResponse(DirectResponse),
    /// `redirect`: the proxy answers with a `Location`.
    Redirect(Redirect),
    /// `non_forwarding_action`: the answer is the business of a filter. A
    /// request that none has answered is one without a cluster.
    NonForwarding,
}

/// A compiled `envoy.config.route.v3.RouteAction`.
#[derive(Debug)]
pub struct Forward {
    /// How the cluster is found.
    pub cluster: ClusterSpecifier,
    /// The status when there is none: 503, 404 or 500.
    pub cluster_not_found_status: u16,
    /// From the end of the request to the end of the response; `None` is
    /// without limit.
    pub timeout: Option<Duration>,
    /// Replaces the connection manager's `stream_idle_timeout` when set; the
    /// inner `None` turns it off.
    pub idle_timeout: Option<Option<Duration>>,
    /// How long a response may wait for the client to read, when set; the inner
    /// `None` is without limit.
    pub flush_timeout: Option<Option<Duration>>,
    /// Replaces the connection manager's `max_stream_duration` when set; the
    /// inner `None` turns it off.
    pub max_stream_duration: Option<Option<Duration>>,
    /// `grpc-timeout` as a limit of the stream; `None` leaves it to the host.
    pub grpc_timeout: Option<GrpcTimeout>,
    /// `max_grpc_timeout`, the older form: what gRPC requests ask for takes the
    /// place of `timeout`.
    pub older_grpc_timeout: Option<GrpcTimeout>,
    /// Whether `max_stream_duration` is there at all, which replaces `timeout`.
    pub replaces_timeout: bool,
    /// Retries, hedging, internal redirects.
    pub resilience: Resilience,
    /// Which set of circuit breakers counts the request.
    pub priority: Priority,
    /// How the path changes on its way upstream.
    pub path_rewrite: Option<PathRewrite>,
    /// What takes the place of the authority.
    pub host_rewrite: Option<HostRewrite>,
    /// Whether a replaced authority is appended to `x-forwarded-host`.
    pub append_x_forwarded_host: bool,
    /// Where copies of the request go, this route's or inherited.
    pub mirror_policies: Option<RequestMirrorPolicies>,
    /// Which upgrades the route turns on and off.
    pub upgrades: RouteUpgrades,
    /// What requests have in common that go to the same host.
    pub hash_policies: Option<Arc<HashPolicies>>,
    /// What the metadata of the host must be. Weighted clusters have their
    /// own, with these in them.
    pub subset: SubsetCriteria,
}

/// How a request's `grpc-timeout` limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrpcTimeout {
    /// The longest that it may ask for; `None` is without limit.
    pub max: Option<Duration>,
    /// We stop so much earlier than asked.
    pub offset: Duration,
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
    /// Whether the route itself is the answer.
    pub fn answers(&self) -> bool {
        matches!(self, Action::DirectResponse(_) | Action::Redirect(_))
    }

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
                .map(|forward| Action::Forward(Box::new(forward))),
            Some(ProtoAction::DirectResponse(action)) => cx
                .field("direct_response", |cx| {
                    DirectResponse::lower(action, lowering, cx)
                })
                .map(Action::DirectResponse),
            Some(ProtoAction::Redirect(action)) => cx
                .field("redirect", |cx| {
                    Redirect::lower(action, path, &mut lowering.formats, cx)
                })
                .map(Action::Redirect),
            Some(ProtoAction::NonForwardingAction(_)) => Some(Action::NonForwarding),
            Some(ProtoAction::FilterAction(_)) => {
                cx.error_at(
                    "filter_action",
                    "not supported yet; use route, direct_response or redirect",
                );
                None
            }
            None => {
                cx.error(
                    "one of route, direct_response, redirect and non_forwarding_action is needed",
                );
                None
            }
        }
    }

    /// Whether the action can be carried out for this request; the next route
    /// is tried when it cannot.
    pub(super) fn is_available(&self, input: &MatchInput<'_>) -> bool {
        match self {
            Action::Forward(forward) => forward.cluster.is_available(input),
            Action::DirectResponse(_) | Action::Redirect(_) | Action::NonForwarding => true,
        }
    }
}

impl Forward {
    /// What the metadata of the host must be, as far as the route says so.
    pub fn subset(&self, chosen: ClusterChoice) -> &SubsetCriteria {
        match self.cluster.weighted(chosen) {
            Some(weighted) => &weighted.subset,
            None => &self.subset,
        }
    }

    fn lower(
        message: &proto::RouteAction,
        path: Option<&PathMatcher>,
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let hash_policies = HashPolicies::lower(&message.hash_policy, "hash_policy", cx)
            .map(|policies| policies.map(Arc::new));
        let of_route = SubsetCriteria::lower(message.metadata_match.as_ref());
        let subset = SubsetCriteria::default().with(&of_route);
        let inherited = Inherited {
            hash_policies: hash_policies.clone().flatten(),
            subset: &subset,
        };
        let cluster = ClusterSpecifier::lower(message, inherited, lowering, cx);
        let path_rewrite = path_rewrite(message, path, lowering, cx);
        let host_rewrite = HostRewrite::lower(message, lowering, cx);
        let mirror_policies =
            RequestMirrorPolicy::of_route(&message.request_mirror_policies, lowering, cx);
        let timeout = duration(message.timeout.as_ref(), "timeout", cx);
        let idle_timeout = duration(message.idle_timeout.as_ref(), "idle_timeout", cx);
        let flush_timeout = duration(message.flush_timeout.as_ref(), "flush_timeout", cx);
        check_early_data_policy(message.early_data_policy.as_ref(), cx);
        let upgrades = RouteUpgrades::lower(message, cx);
        let limit = message.max_stream_duration.as_ref();
        let max_stream_duration = cx.field("max_stream_duration", |cx| {
            duration(
                limit.and_then(|limit| limit.max_stream_duration.as_ref()),
                "max_stream_duration",
                cx,
            )
        });
        let grpc_timeout = cx.field("max_stream_duration", |cx| grpc_timeout(limit, cx));
        let older_grpc_timeout = older_grpc_timeout(message, cx);
        let resilience = lowering.resilience.with_action(message, cx);
        Some(Forward {
            cluster: cluster?,
            cluster_not_found_status: cluster_not_found_status(message),
            timeout: timeout?.unwrap_or(Some(ROUTE_TIMEOUT_DEFAULT)),
            idle_timeout: idle_timeout?,
            flush_timeout: flush_timeout?,
            max_stream_duration: max_stream_duration?,
            grpc_timeout: grpc_timeout?,
            older_grpc_timeout: older_grpc_timeout?,
            replaces_timeout: limit.is_some(),
            resilience: resilience?,
            priority: match message.priority() {
                RoutingPriority::Default => Priority::Default,
                RoutingPriority::High => Priority::High,
            },
            path_rewrite: path_rewrite?,
            host_rewrite: host_rewrite?,
            append_x_forwarded_host: message.append_x_forwarded_host,
            mirror_policies: mirror_policies?,
            upgrades: upgrades?,
            hash_policies: hash_policies?,
            subset,
        })
    }
}

fn grpc_timeout(
    message: Option<&proto::route_action::MaxStreamDuration>,
    cx: &mut Cx<'_>,
) -> Option<Option<GrpcTimeout>> {
    let Some(message) = message else {
        return Some(None);
    };
    let max = duration(
        message.grpc_timeout_header_max.as_ref(),
        "grpc_timeout_header_max",
        cx,
    );
    let offset = duration(
        message.grpc_timeout_header_offset.as_ref(),
        "grpc_timeout_header_offset",
        cx,
    );
    let offset = offset?.flatten().unwrap_or_default();
    Some(max?.map(|max| GrpcTimeout { max, offset }))
}

#[expect(deprecated, reason = "files written for older Envoys still use it")]
fn older_grpc_timeout(
    message: &proto::RouteAction,
    cx: &mut Cx<'_>,
) -> Option<Option<GrpcTimeout>> {
    let max = duration(message.max_grpc_timeout.as_ref(), "max_grpc_timeout", cx);
    let offset = message.grpc_timeout_offset.as_ref();
    let offset = duration(offset, "grpc_timeout_offset", cx)?.flatten();
    let offset = offset.unwrap_or_default();
    Some(max?.map(|max| GrpcTimeout { max, offset }))
}

/// Whether requests may be sent before a handshake is over is decided here. No
/// connection has such a handshake yet, so that one policy is as good as the
/// other; what is none is refused, as in Envoy.
fn check_early_data_policy(policy: Option<&TypedExtensionConfig>, cx: &mut Cx<'_>) {
    let Some(policy) = policy else {
        return;
    };
    cx.field("early_data_policy", |cx| match &policy.typed_config {
        None => cx.error_at("typed_config", "is required"),
        Some(any) if type_name(&any.type_url) != DEFAULT_EARLY_DATA_POLICY => cx.error_at(
            "typed_config",
            format!("{} is no early data policy", type_name(&any.type_url)),
        ),
        Some(_) => {}
    });
}

const DEFAULT_EARLY_DATA_POLICY: &str = "envoy.extensions.early_data.v3.DefaultEarlyDataPolicy";

fn cluster_not_found_status(message: &proto::RouteAction) -> u16 {
    use proto::route_action::ClusterNotFoundResponseCode as Code;
    match message.cluster_not_found_response_code() {
        Code::ServiceUnavailable => 503,
        Code::NotFound => 404,
        Code::InternalServerError => 500,
    }
}

/// At most one of the ways to rewrite a path may be used.
fn path_rewrite(
    message: &proto::RouteAction,
    path: Option<&PathMatcher>,
    lowering: &mut Lowering,
    cx: &mut Cx<'_>,
) -> Option<Option<PathRewrite>> {
    let given = [
        ("prefix_rewrite", !message.prefix_rewrite.is_empty()),
        ("regex_rewrite", message.regex_rewrite.is_some()),
        ("path_rewrite", !message.path_rewrite.is_empty()),
        ("path_rewrite_policy", message.path_rewrite_policy.is_some()),
    ];
    if let [_, (second, _), ..] = given
        .into_iter()
        .filter(|(_, is_set)| *is_set)
        .collect::<Vec<_>>()[..]
    {
        cx.error_at(
            second,
            "only one of prefix_rewrite, regex_rewrite, path_rewrite and path_rewrite_policy \
             may be set",
        );
        return None;
    }
    let template = path.and_then(PathMatcher::template);
    if let Some(regex) = &message.regex_rewrite {
        cx.field("regex_rewrite", |cx| Substitution::lower(regex, cx))
            .map(|substitution| Some(PathRewrite::Regex(substitution)))
    } else if let Some(policy) = &message.path_rewrite_policy {
        // The template is looked for only when the match is good.
        path?;
        cx.field("path_rewrite_policy", |cx| {
            TemplateRewrite::lower(policy, template, cx)
        })
        .map(|rewrite| Some(PathRewrite::Template(rewrite)))
    } else if !message.path_rewrite.is_empty() {
        let formats = &mut lowering.formats;
        cx.field("path_rewrite", |cx| {
            let rewrite = PathRewrite::of_format(&message.path_rewrite, formats, cx);
            Some(Some(rewrite))
        })
    } else if message.prefix_rewrite.is_empty() {
        Some(None)
    } else if template.is_some() {
        cx.error_at("prefix_rewrite", NOT_WITH_TEMPLATE);
        None
    } else {
        Some(Some(PathRewrite::of_prefix(path, &message.prefix_rewrite)))
    }
}
