//! What a route does with a request: where it is sent and how, or what it is
//! answered with.

use std::time::Duration;

use ringway_codecs::header::HeaderId;
use ringway_config::clusters::ClusterId;
use ringway_config::route::{
    Action, Body, ClusterSpecifier, Forward, MatchInput, PeerCertificate, SelectedRoute,
};
use serde_json::Value;

use super::fact::{Fact, Place};
use super::{Sources, cluster, headers};
use crate::filters::http::router;
use crate::filters::network::http_connection_manager::Shared;
use crate::http::exchange::Exchange;
use crate::http::header_parser::{self, Message, Scratch};

/// The filters that the request runs through, and the action.
pub(super) fn explain(
    selected: &SelectedRoute<'_>,
    exchange: &mut Exchange,
    manager: &Shared,
    manager_path: &str,
    sources: &Sources<'_>,
) -> Vec<Fact> {
    let path = &selected.route.source.path;
    let document = &sources.document;
    let filters = manager.config.http_filters.iter().map(|filter| {
        let name = Fact::new(&*filter.name);
        name.place(document.place(&filter.path))
    });
    let mut facts = vec![Fact::new("filters").items(filters.collect())];
    match &selected.route.action {
        Action::DirectResponse(direct) => {
            let body = match &direct.body {
                Body::Bytes(bytes) => format!("{} bytes", bytes.len()),
                Body::Recipe(_) => "a body that is made for the request".to_owned(),
            };
            facts.push(
                Fact::new("answer")
                    .value(direct.status)
                    .note(format!("direct response, {body}"))
                    .place(document.place(&format!("{path}.direct_response"))),
            );
        }
        Action::Redirect(target) => {
            router::set_redirect(manager, target, exchange);
            let location = exchange
                .response
                .get(HeaderId::Location)
                .unwrap_or_default();
            facts.push(
                Fact::new("answer")
                    .value(target.status)
                    .note(format!("redirect to {}", String::from_utf8_lossy(location)))
                    .place(document.place(&format!("{path}.redirect"))),
            );
        }
        Action::NonForwarding => facts.push(
            Fact::new("answer")
                .value(503)
                .note("flag NC, unless a filter answers")
                .place(document.place(&format!("{path}.non_forwarding_action"))),
        ),
        Action::Forward(forward) => {
            let path = format!("{path}.route");
            facts.extend(of_forward(
                selected,
                forward,
                exchange,
                manager,
                &path,
                manager_path,
                sources,
            ));
        }
    }
    facts
}

fn of_forward(
    selected: &SelectedRoute<'_>,
    forward: &Forward,
    exchange: &mut Exchange,
    manager: &Shared,
    path: &str,
    manager_path: &str,
    sources: &Sources<'_>,
) -> Vec<Fact> {
    let document = &sources.document;
    let cluster = chosen_cluster(forward, exchange, path, sources);
    router::set_weighted_host(forward, exchange);
    exchange.header_mutations = selected.route.mutations(exchange.cluster);
    header_parser::apply_route_mutations(
        Message::Request,
        manager.routes_of(exchange),
        exchange,
        &mut Scratch::default(),
    );
    router::rewrite_request(manager, forward, exchange);
    let mut sent = headers("request as it is sent upstream", &exchange.request);
    if forward.rewrites_host_to_hostname() {
        sent = sent.note("with the name of the host, if it has one, as its authority");
    }
    let mut facts = vec![
        cluster,
        sent,
        timeouts(forward, manager, path, manager_path, sources),
    ];
    for (name, field) in POLICIES {
        let host = &selected.virtual_host.source.path;
        let written = [path, host]
            .iter()
            .find_map(|scope| document.written(name, &format!("{scope}.{field}")));
        facts.push(
            written.unwrap_or_else(|| Fact::new(*name).value(Value::Null).place(Place::Default)),
        );
    }
    facts
}

/// Chooses the cluster as the connection manager does.
fn chosen_cluster(
    forward: &Forward,
    exchange: &mut Exchange,
    path: &str,
    sources: &Sources<'_>,
) -> Fact {
    let find = |name: &[u8]| -> Option<ClusterId> {
        let mut clusters = sources.clusters.iter();
        let found = clusters.find(|cluster| cluster.name.as_bytes() == name)?;
        Some(found.id)
    };
    let input = MatchInput {
        headers: &exchange.request,
        random: exchange.random,
        runtime: sources.runtime,
        metadata: ringway_config::metadata::Metadata::EMPTY,
        filter_state: ringway_config::filter_state::FilterState::EMPTY,
        peer_certificate: PeerCertificate::default(),
    };
    exchange.cluster = forward.cluster.choose(&input, find);
    let (field, note) = match &forward.cluster {
        ClusterSpecifier::Fixed(_) => ("cluster", None),
        ClusterSpecifier::Header(_) => ("cluster_header", Some("named by the request")),
        ClusterSpecifier::Weighted(_) => ("weighted_clusters", Some("picked by weight")),
        ClusterSpecifier::Plugin(_) => ("cluster_specifier_plugin", Some("chosen by a plugin")),
    };
    let place = match forward.cluster.weighted(exchange.cluster) {
        Some(weighted) => sources.document.place(&weighted.source.path),
        None => sources.document.place(&format!("{path}.{field}")),
    };
    let mut fact = Fact::new("cluster").place(place);
    if let Some(note) = note {
        fact = fact.note(note);
    }
    match exchange.cluster.cluster {
        Some(id) => fact
            .value(&*sources.names.clusters.name(id))
            .parts(cluster::explain(id, forward.priority, sources)),
        None => fact.value(Value::Null),
    }
}

/// Policies that are shown as they were written.
const POLICIES: &[(&str, &str)] = &[
    ("retry policy", "retry_policy"),
    ("hedge policy", "hedge_policy"),
];

fn timeouts(
    forward: &Forward,
    manager: &Shared,
    path: &str,
    manager_path: &str,
    sources: &Sources<'_>,
) -> Fact {
    let place = |field: &str| sources.document.place(field);
    let limit = |name: &str, limit: Option<Duration>, place: Place| {
        let value = limit.map_or_else(|| "no limit".into(), |limit| format!("{limit:?}"));
        Fact::new(name).value(value).place(place)
    };
    let common = &manager.config.timeouts;
    let of_manager = |field: &str| format!("{manager_path}.{field}");
    let idle = match forward.idle_timeout {
        Some(idle) => limit("idle", idle, place(&format!("{path}.idle_timeout"))),
        None => limit(
            "idle",
            common.stream_idle,
            place(&of_manager("stream_idle_timeout")),
        ),
    };
    let stream = match forward.max_stream_duration {
        Some(stream) => limit(
            "stream",
            stream,
            place(&format!("{path}.max_stream_duration.max_stream_duration")),
        ),
        None => limit(
            "stream",
            common.stream,
            place(&of_manager(
                "common_http_protocol_options.max_stream_duration",
            )),
        ),
    };
    Fact::new("timeouts").parts(vec![
        limit("route", forward.timeout, place(&format!("{path}.timeout"))),
        idle,
        stream,
        limit(
            "request",
            common.request,
            place(&of_manager("request_timeout")),
        ),
    ])
}
