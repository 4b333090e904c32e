//! How long everything may take, and what says so: the route, the connection
//! manager, the cluster, or the request itself.

use std::time::Duration;

use ringway_codecs::header::HeaderId;
use ringway_config::cluster::Cluster;

use super::context::header_or;
use super::fact::{Fact, Place};
use super::forward::{HTTP_PROTOCOL_OPTIONS, Way};
use crate::filters::http::router;
use crate::http::exchange::{Exchange, StreamLimit, Tunnel};

/// The limits of the upstream's part, which the exchange has already.
pub(super) fn of_upstream(
    way: &Way<'_>,
    cluster: &Cluster,
    is_hedging: bool,
    exchange: &Exchange,
) -> Vec<Fact> {
    let limits = &exchange.limits;
    vec![
        route(way, exchange),
        per_try(way, is_hedging, exchange),
        limit(
            "per try idle",
            limits.per_try_idle,
            way.cx
                .place(&way.or_of_host("retry_policy.per_try_idle_timeout")),
        ),
        upstream_stream(way, cluster, exchange),
        Fact::new("status")
            .value(limits.timeout_status)
            .note("of a request whose route or try takes too long")
            .place(header_or(
                exchange
                    .request
                    .contains(HeaderId::XEnvoyUpstreamRqTimeoutAltResponse),
                HeaderId::XEnvoyUpstreamRqTimeoutAltResponse,
                Place::Default,
            )),
    ]
}

fn route(way: &Way<'_>, exchange: &Exchange) -> Fact {
    let header = router::route_header(*way.cx.manager.router_of(exchange), &exchange.request);
    let asked = router::asked_ms(&exchange.request, header).is_some();
    let field = match way.forward.replaces_timeout {
        true => "max_stream_duration",
        false if exchange.limits.tells_grpc => "max_grpc_timeout",
        false => "timeout",
    };
    let written = way.cx.place(&format!("{}.{field}", way.path));
    let place = header_or(asked, header, written);
    let fact = limit("route", exchange.limits.route, place);
    match exchange.tunnel {
        Tunnel::Connect => fact.note("does not hold: the request is a CONNECT"),
        Tunnel::Upgrade => fact.note("does not hold: the request asks for another protocol"),
        Tunnel::WebSocket => fact.note("until the host has answered"),
        Tunnel::None if way.forward.replaces_timeout && !asked => {
            fact.note("max_stream_duration takes its place")
        }
        Tunnel::None => fact,
    }
}

fn per_try(way: &Way<'_>, is_hedging: bool, exchange: &Exchange) -> Fact {
    const HEADER: HeaderId = HeaderId::XEnvoyUpstreamRqPerTryTimeoutMs;
    let asked = router::asked_ms(&exchange.request, HEADER);
    let field = way.or_of_host("retry_policy.per_try_timeout");
    let place = header_or(asked.is_some(), HEADER, way.cx.place(&field));
    let fact = limit("per try", exchange.limits.per_try, place);
    let policy = way.forward.resilience.retry.as_deref();
    let of_policy = policy.and_then(|policy| policy.per_try_timeout);
    match (exchange.limits.per_try, asked.unwrap_or(of_policy)) {
        (None, Some(longer)) => fact.note(format!(
            "{longer:?} is no shorter than the time of the route"
        )),
        (Some(_), _) if is_hedging => fact.note("then another try begins beside it"),
        _ => fact,
    }
}

fn upstream_stream(way: &Way<'_>, cluster: &Cluster, exchange: &Exchange) -> Fact {
    const HEADER: HeaderId = HeaderId::XEnvoyUpstreamStreamDurationMs;
    let asked = router::asked_ms(&exchange.request, HEADER).is_some();
    let fields = [HTTP_PROTOCOL_OPTIONS, ""];
    let written = fields
        .iter()
        .map(|prefix| {
            let path = &cluster.source.path;
            let field = "common_http_protocol_options.max_stream_duration";
            way.cx.place(&format!("{path}.{prefix}{field}"))
        })
        .find(|place| *place != Place::Default);
    let place = header_or(asked, HEADER, written.unwrap_or(Place::Default));
    let most = (exchange.limits).upstream_stream(cluster.stream_duration_max);
    limit("upstream stream", most, place)
}

/// The limits of the client's stream.
pub(super) fn of_stream(way: &Way<'_>, exchange: &Exchange) -> Vec<Fact> {
    let (forward, cx) = (way.forward, way.cx);
    let timeouts = &cx.manager.config.timeouts;
    let of_route = |field: &str| cx.place(&format!("{}.{field}", way.path));
    let (idle, idle_place) = match forward.idle_timeout {
        Some(idle) => (idle, of_route("idle_timeout")),
        None => (timeouts.stream_idle, cx.of_manager("stream_idle_timeout")),
    };
    let flush_place = match (forward.flush_timeout, timeouts.stream_flush) {
        (Some(_), _) => of_route("flush_timeout"),
        (None, Some(_)) => cx.of_manager("stream_flush_timeout"),
        (None, None) => idle_place.clone(),
    };
    let StreamLimit { time, is_asked } = exchange.stream_limit;
    let written = match forward.max_stream_duration {
        Some(_) => of_route("max_stream_duration.max_stream_duration"),
        None => cx.of_manager("common_http_protocol_options.max_stream_duration"),
    };
    let stream = limit(
        "stream",
        time,
        header_or(is_asked, HeaderId::GrpcTimeout, written),
    );
    let stream = match is_asked {
        true => stream.parts(vec![
            Fact::new("as allowed by")
                .value("grpc_timeout_header_max")
                .place(of_route("max_stream_duration.grpc_timeout_header_max")),
        ]),
        false => stream,
    };
    vec![
        limit("idle", idle, idle_place),
        limit("flush", timeouts.flush(Some(forward)), flush_place)
            .note("how long the end of a response waits for its client"),
        stream,
        limit(
            "request",
            timeouts.request,
            cx.of_manager("request_timeout"),
        ),
    ]
}

fn limit(name: &str, limit: Option<Duration>, place: Place) -> Fact {
    let value = limit.map_or_else(|| "no limit".into(), |limit| format!("{limit:?}"));
    Fact::new(name).value(value).place(place)
}
