//! The router (`envoy.filters.http.router`): sends a request to a host of the
//! route's cluster and brings the response back. [`route`] does what the route
//! says.
//!
//! - `direct_response.rs`: answers that the route holds.
//! - `forward.rs`: the whole story of a forwarded request.
//! - `maintenance.rs`, `drop_overload.rs`: requests that their cluster does not
//!   take.
//! - `request_headers.rs`: what is done to its headers.
//! - `hash_policy.rs`: what requests have in common that go to one host.
//! - `pick.rs`: what the balancer is told; `retry_priority.rs`: which
//!   priorities further tries go to.
//! - `look_up.rs`: hosts that requests name and that are not known yet.
//! - `timeout.rs`: how long it may take.
//! - `strict_headers.rs`: requests whose headers for the router mean nothing.
//! - `tries.rs`: the way of a request that may be tried more than once;
//!   `retries.rs`: what is asked for; `retry_state.rs`: whether, when and where
//!   it is tried again.
//! - `internal_redirect.rs`: redirects of the host that the proxy follows.
//! - `upstream_request.rs`: its side of the host's connection; `codec.rs`: how
//!   it is said there, `http2_codec.rs` in HTTP/2.
//! - `shadow.rs`: copies of it that go to other clusters; `async_client.rs`: how
//!   they and other requests of our own are sent (`async_stream.rs`: on their
//!   connections).
//! - `tunnel.rs`: what follows when a connection's protocol changes.
//! - `connect.rs`: CONNECT that ends here.
//! - `charge.rs`: what a request is counted for; `host_result.rs`: and what it
//!   says of its host.
//! - `failure.rs`: what the client is told when there is no response.

mod async_client;
mod async_stream;
mod charge;
mod codec;
mod connect;
mod direct_response;
mod drop_overload;
mod failure;
mod flow_control;
mod forward;
mod hash_policy;
mod host_result;
mod http2_codec;
mod interim;
mod internal_redirect;
mod look_up;
mod maintenance;
mod pick;
mod request_headers;
mod retries;
mod retry_priority;
mod retry_state;
mod shadow;
mod sizes;
mod strict_headers;
mod timeout;
mod tries;
mod tunnel;
mod upstream_request;

use std::rc::Rc;

use envoy_types::pb::envoy::extensions::filters::http::router::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use ringway_codecs::header::HeaderMap;
use ringway_config::context::{Cx, unpack};
use ringway_config::route::{Action, ClusterChoice, Route, RouteMatch};

pub(in crate::filters) use self::async_client::AsyncRequest;
pub(in crate::filters) use self::codec::{Asked, Codec};
pub use self::connect::carries_bytes;
pub use self::direct_response::{make_body, set_direct_location, set_redirect};
pub use self::drop_overload::drop_reply;
pub(in crate::filters) use self::failure::{Failure, connect_error_text};
use self::forward::{forward, no_cluster};
pub use self::hash_policy::policies as hash_policies;
pub(in crate::filters) use self::interim::{Interims, is_interim};
pub use self::maintenance::maintenance_reply;
pub(in crate::filters) use self::pick::join_aggregate;
pub use self::pick::subset;
pub use self::request_headers::{finalize_request_headers, remove_consumed, rewrite_host_to};
pub use self::retries::Retries;
pub use self::shadow::{NotMirrored, mirror_target, set_mirror_authority};
pub use self::strict_headers::{StrictHeaders, wrong_header_text};
pub use self::timeout::{asked_ms, limits, route_header, set_stream_limit, write_grpc_timeout};
pub(in crate::filters) use self::timeout::{poll_deadline, set_stream_deadlines};
pub use self::tries::{TriesPool, is_hedging};
pub use self::upstream_request::head_end;
use super::super::network::http_connection_manager::local_reply::LocalReply;
use super::super::network::http_connection_manager::{ConnectionManager, Handled, Sent};
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::http::redirect;
use crate::stream_info::{ResponseFlag, details};

/// The compiled `envoy.extensions.filters.http.router.v3.Router`.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// No `x-envoy-*` header is added to requests and responses.
    pub suppress_envoy_headers: bool,
    /// Response codes and times are counted for clusters, virtual clusters and
    /// routes.
    pub dynamic_stats: bool,
    /// The time that another Envoy in front of this one says that it waits
    /// (`x-envoy-expected-rq-timeout-ms`) is the route's.
    pub respect_expected_timeout: bool,
    /// The headers of which a request must not say nonsense.
    pub strict_headers: StrictHeaders,
    /// A CONNECT is refused whose client does not wait for the answer.
    pub reject_early_connect_data: bool,
}

impl Default for Config {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            suppress_envoy_headers: false,
            dynamic_stats: true,
            respect_expected_timeout: false,
            strict_headers: StrictHeaders::default(),
            reject_early_connect_data: false,
        }
    }
}

impl Config {
    /// Compiles the message.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::Router>(any, cx)?;
        Some(Self {
            suppress_envoy_headers: proto.suppress_envoy_headers,
            dynamic_stats: proto.dynamic_stats.is_none_or(|on| on.value),
            respect_expected_timeout: proto.respect_expected_rq_timeout,
            strict_headers: StrictHeaders::compile(&proto.strict_check_headers),
            reject_early_connect_data: proto
                .reject_connect_request_early_data
                .is_some_and(|on| on.value),
        })
    }
}

/// Does what the route says: the terminal step of every request that no filter
/// has answered.
pub async fn route(
    manager: &ConnectionManager,
    found: RouteMatch<'_>,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    let stats = &manager.shared.router_stats;
    stats.rq_total.inc();
    if let RouteMatch::TlsRequired(_) = found {
        stats.rq_direct_response.inc();
        let status = redirect::set_tls_location(&exchange.request, &mut exchange.response);
        let reply = LocalReply::new(status, "", details::DIRECT_RESPONSE);
        manager.reply(downstream, exchange, reply);
        return Handled::Answered;
    }
    let RouteMatch::Route(selected) = found else {
        stats.no_route.inc();
        if exchange.facts.is_connect {
            exchange.distrust_rest(downstream.is_request_read());
        }
        let not_found =
            LocalReply::new(404, "", details::ROUTE_NOT_FOUND).flag(ResponseFlag::NoRouteFound);
        manager.reply(downstream, exchange, not_found);
        return Handled::Answered;
    };
    let mutations = selected.route.header_mutations;
    match &selected.route.action {
        Action::Forward(to) => forward(manager, &selected, to, downstream, exchange).await,
        Action::NonForwarding => no_cluster(manager, 503, downstream, exchange),
        Action::DirectResponse(direct) => {
            direct_response::answer(manager, direct, mutations, downstream, exchange)
        }
        Action::Redirect(target) => {
            direct_response::redirect(manager, target, mutations, downstream, exchange)
        }
    }
}

/// Chooses the cluster of a request whose route was found, and notes how long
/// it may take. Filters and logs read both from the exchange.
pub fn choose_cluster(manager: &ConnectionManager, route: &Route, exchange: &mut Exchange) {
    if let Action::Forward(forward) = &route.action {
        set_stream_limit(forward, manager.shared.config.timeouts.stream, exchange);
    }
    let chosen = chosen_cluster(manager, route, &exchange.request, exchange);
    exchange.cluster = chosen.unwrap_or_default();
    if let Some(id) = exchange.cluster.cluster
        && let Some(cluster) = manager.worker.clusters.get(id)
    {
        exchange.info.cluster = Some(Rc::clone(&cluster.info));
    }
}

/// The cluster of a request with these headers, if the route has any.
pub fn chosen_cluster(
    manager: &ConnectionManager,
    route: &Route,
    request: &HeaderMap,
    exchange: &Exchange,
) -> Option<ClusterChoice> {
    let Action::Forward(forward) = &route.action else {
        return None;
    };
    let worker = &manager.worker;
    let runtime = worker.runtime.borrow();
    let input = manager.match_input(request, exchange, &runtime);
    let find = |name: &[u8]| worker.clusters.find(name).map(|found| found.config.id);
    Some(forward.cluster.choose(&input, find))
}
