//! What a route does with a request: where it is sent and how, or what it is
//! answered with.

use std::time::Duration;

use ringway_codecs::header::HeaderId;
use ringway_config::route::{Action, Forward, SelectedRoute};
use serde_json::Value;

use super::fact::{Fact, Place};
use super::{Sources, cluster, headers};
use crate::filters::network::http_connection_manager::Shared;
use crate::http::exchange::Exchange;
use crate::http::header_parser::{self, Message, Scratch};
use crate::http::redirect;

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
            let body = direct.body.as_deref().unwrap_or_default().len();
            facts.push(
                Fact::new("answer")
                    .value(direct.status)
                    .note(format!("direct response, {body} bytes"))
                    .place(document.place(&format!("{path}.direct_response"))),
            );
        }
        Action::Redirect(target) => {
            let status = redirect::set_location(target, &exchange.request, &mut exchange.response);
            let location = exchange
                .response
                .get(HeaderId::Location)
                .unwrap_or_default();
            facts.push(
                Fact::new("answer")
                    .value(status)
                    .note(format!("redirect to {}", String::from_utf8_lossy(location)))
                    .place(document.place(&format!("{path}.redirect"))),
            );
        }
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
    let cluster = Fact::new("cluster")
        .value(&*sources.names.clusters.name(forward.cluster))
        .place(document.place(&format!("{path}.cluster")))
        .parts(cluster::explain(forward.cluster, forward.priority, sources));
    exchange.header_mutations = selected.route.header_mutations;
    header_parser::apply_route_mutations(
        Message::Request,
        &manager.config.routes,
        exchange,
        &mut Scratch::default(),
    );
    selected.route.rewrite(
        forward,
        &mut exchange.request,
        !manager.router.suppress_envoy_headers,
    );
    let mut facts = vec![
        cluster,
        headers("request as it is sent upstream", &exchange.request),
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
