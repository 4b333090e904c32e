//! What becomes of a connection whose filter chain does not speak HTTP: the
//! request that was asked about is bytes like any others.

use std::time::Duration;

use ringway_config::route::Priority;

use super::fact::{Fact, Place};
use super::{Sources, cluster};
use crate::filters::network::RawTerminal;
use crate::filters::network::tcp_proxy::TcpProxy;
use crate::filters::network::tcp_proxy::config::Destination;

/// What the filter at the chain's end, which is configured at `path`, does with a
/// connection.
pub(super) fn explain(terminal: &RawTerminal, path: &str, sources: &Sources<'_>) -> Vec<Fact> {
    let place = sources.place(path);
    match terminal {
        RawTerminal::Echo => vec![
            Fact::new("echo")
                .place(place)
                .note("whatever the client sends is sent back: this is no HTTP"),
        ],
        RawTerminal::DirectResponse(_) => vec![
            Fact::new("direct response")
                .place(place)
                .note("the client gets the same bytes, whatever it sends: this is no HTTP"),
        ],
        RawTerminal::TcpProxy(proxy) => {
            let said = Fact::new("TCP proxy")
                .value(&*proxy.config.stat_prefix)
                .place(place)
                .note("bytes go to a host as they are: this is no HTTP");
            let mut facts = vec![said, destinations(proxy, path, sources)];
            if proxy.config.tunnel.is_some() {
                let tunnel =
                    Fact::new("tunnel").note("through another proxy, which the cluster has");
                facts.push(tunnel.place(sources.place(&format!("{path}.tunneling_config"))));
            }
            facts.push(limits(proxy, path, sources));
            facts
        }
    }
}

fn destinations(proxy: &TcpProxy, path: &str, sources: &Sources<'_>) -> Fact {
    let all = &proxy.config.destinations;
    let items: Vec<_> = all.iter().map(|one| destination(one, sources)).collect();
    let field = |name: &str| sources.place(&format!("{path}.{name}"));
    match items.len() {
        1 => Fact::new("cluster").place(field("cluster")).items(items),
        _ => {
            let items = items.into_iter().zip(all.iter());
            let items = items.map(|(fact, one)| fact.value(format!("{:.2} %", all.percent(one))));
            Fact::new("clusters")
                .place(field("weighted_clusters"))
                .items(items.collect())
        }
    }
}

fn destination(destination: &Destination, sources: &Sources<'_>) -> Fact {
    match sources.cluster(destination.cluster) {
        None => Fact::new(&*sources.names.clusters.name(destination.cluster))
            .note("there is none: connections are closed, flag NC"),
        Some(found) => Fact::new(&*found.name)
            .place(sources.place(&found.source.path))
            .parts(cluster::explain(
                found,
                Priority::Default,
                &destination.subset,
                sources,
            )),
    }
}

fn limits(proxy: &TcpProxy, path: &str, sources: &Sources<'_>) -> Fact {
    let config = &proxy.config;
    let field = |name: &str| sources.place(&format!("{path}.{name}"));
    let limit = |name: &str, value: Option<Duration>, place: Place| {
        let value = value.map_or_else(|| "none".to_owned(), |value| format!("{value:?}"));
        Fact::new(name).value(value).place(place)
    };
    Fact::new("limits").parts(vec![
        limit("idle", config.idle_timeout, field("idle_timeout")),
        limit(
            "duration",
            config.duration_max,
            field("max_downstream_connection_duration"),
        ),
        Fact::new("attempts to connect")
            .value(config.connect_attempts_max)
            .place(field("max_connect_attempts")),
    ])
}
