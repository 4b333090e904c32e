//! What a route does with a request.

use super::rewrite::PathRewrite;
use crate::clusters::ClusterId;
use std::sync::Arc;
use std::time::Duration;

/// The action of a route.
#[derive(Debug)]
pub enum Action {
    /// `route`: the request goes to a cluster.
    Forward(Forward),
    /// `direct_response`: the proxy answers.
    DirectResponse {
        /// The status, from 200 to 599.
        status: u16,
        /// The body, if there is one.
        body: Option<Arc<[u8]>>,
    },
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
    /// `prefix_rewrite` or `regex_rewrite`.
    Rewrite(PathRewrite),
}
