//! Where a request is sent, and how.

use std::rc::Rc;
use std::sync::Arc;

use ringway_codecs::header::HeaderId;
use ringway_codecs::http1::HeadEnd;
use ringway_config::cluster::Cluster;
use ringway_config::endpoint::Refused;
use ringway_config::route::{
    Action, ClusterSpecifier, Draw, Forward, HeaderKey, SelectedRoute, WeightedClusters,
    WeightedName,
};
use serde_json::Value;

use super::action::answered;
use super::choice;
use super::cluster;
use super::context::Context;
use super::fact::{Fact, Place};
use super::request::headers;
use super::{local_reply, mirrors, retries, timeouts};
use crate::filters::http::{Said, router};
use crate::filters::network::http_connection_manager::local_reply::LocalReply;
use crate::http::exchange::Exchange;
use crate::http::header_parser::{Message, Scratch};
use crate::stream_info::{ClusterInfo, ResponseFlag, details};

/// Chooses the cluster as the connection manager does when it has found the
/// route. Nothing where the route sends the request nowhere.
pub(super) fn choose(
    selected: &SelectedRoute<'_>,
    exchange: &mut Exchange,
    cx: &Context<'_>,
) -> Option<Fact> {
    let route = selected.route;
    exchange.info.route_name.copy(&route.name);
    let Action::Forward(forward) = &route.action else {
        return None;
    };
    router::set_stream_limit(forward, cx.manager.config.timeouts.stream, exchange);
    let input = cx.match_input(exchange);
    exchange.cluster = forward.cluster.choose(&input, |name| cx.find_cluster(name));
    exchange.header_mutations = route.mutations(exchange.cluster);
    let (field, note) = match &forward.cluster {
        ClusterSpecifier::Fixed(_) => ("cluster", None),
        ClusterSpecifier::Header(key) => ("cluster_header", Some(named_by(key, exchange, cx))),
        ClusterSpecifier::Weighted(clusters) => (
            "weighted_clusters",
            exchange
                .cluster
                .weighted
                .map(|place| weight(clusters, place, exchange, cx)),
        ),
        ClusterSpecifier::Plugin(_) => (
            "cluster_specifier_plugin",
            Some("chosen by a plugin".into()),
        ),
    };
    let place = match forward.cluster.weighted(exchange.cluster) {
        Some(weighted) => cx.place(&weighted.source.path),
        None => cx.place(&format!("{}.route.{field}", route.source.path)),
    };
    let mut fact = Fact::new("cluster").place(place);
    if let Some(note) = note {
        fact = fact.note(note);
    }
    let Some(id) = exchange.cluster.cluster else {
        return Some(fact.value(Value::Null));
    };
    fact = fact.value(&*cx.sources.names.clusters.name(id));
    Some(match cx.cluster(id) {
        Some(found) => {
            exchange.info.cluster = Some(Rc::new(ClusterInfo {
                name: Arc::clone(&found.name),
                observability_name: Arc::clone(&found.stat_name),
                metadata: Arc::clone(&found.metadata),
            }));
            let subset = router::subset(forward, found, exchange);
            fact.parts(cluster::explain(
                found,
                forward.priority,
                &subset,
                cx.sources,
            ))
        }
        None => fact.parts(vec![Fact::new("hosts").note("there is no such cluster")]),
    })
}

/// How the request names its cluster.
fn named_by(key: &HeaderKey, exchange: &Exchange, cx: &Context<'_>) -> String {
    let name = key.name().escape_ascii();
    let Some(value) = key.first(&exchange.request) else {
        return format!("the request has no header {name}");
    };
    let found = match cx.find_cluster(value) {
        Some(_) => "",
        None => ", which is no cluster",
    };
    let value = String::from_utf8_lossy(value);
    format!("the request's header {name} is {value:?}{found}")
}

/// The weight that the cluster at `place` was picked by.
fn weight(
    clusters: &WeightedClusters,
    place: u32,
    exchange: &Exchange,
    cx: &Context<'_>,
) -> String {
    let runtime = cx.sources.runtime;
    let (weight, by_runtime) = clusters.weight(place as usize, runtime);
    let total = clusters.total(runtime).unwrap_or_default();
    let by = match by_runtime {
        true => ", as runtime keys and the file say",
        false => "",
    };
    let named = match &clusters.clusters()[place as usize].cluster {
        WeightedName::Fixed(_) => String::new(),
        WeightedName::Header(key) => format!("; {}", named_by(key, exchange, cx)),
    };
    let decided = decided_by(clusters, exchange, cx);
    format!("picked by weight: {weight} of {total}{by}{decided}{named}")
}

/// What decided between the clusters; nothing where it was chance and nothing
/// else was asked for.
fn decided_by(clusters: &WeightedClusters, exchange: &Exchange, cx: &Context<'_>) -> String {
    match (
        clusters.draw(&cx.match_input(exchange)),
        clusters.random_header(),
    ) {
        (Draw::Header(key, number), _) => {
            let name = key.name().escape_ascii();
            format!("; the request's header {name} decides, which is {number}")
        }
        (Draw::Hash(hash), _) => format!("; the hash policy decides, whose hash is {hash}"),
        (Draw::Chance(_), Some(key)) => {
            let name = key.name().escape_ascii();
            let headers = &exchange.request;
            let why = match (key.first(headers), key.only(headers)) {
                (None, _) => format!("the request has no header {name}"),
                (Some(_), None) => format!("the request has more than one header {name}"),
                (Some(_), Some(value)) => {
                    let value = String::from_utf8_lossy(value);
                    format!("the request's header {name} is {value:?}, which is no number")
                }
            };
            format!("; chance decides, because {why}")
        }
        (Draw::Chance(_), None) => String::new(),
    }
}

/// What the router does with a request whose cluster has been chosen. The order
/// is the router's: some headers are gone when others are read.
pub(super) fn explain(
    selected: &SelectedRoute<'_>,
    forward: &Forward,
    exchange: &mut Exchange,
    cx: &Context<'_>,
) -> Vec<Fact> {
    let path = format!("{}.route", selected.route.source.path);
    let chosen = exchange.cluster.cluster;
    let Some(cluster) = chosen.and_then(|id| cx.cluster(id)) else {
        let field = format!("{path}.cluster_not_found_response_code");
        let status = forward.cluster_not_found_status;
        let reply = LocalReply::new(status, "", details::CLUSTER_NOT_FOUND);
        let reply = reply.flag(ResponseFlag::NoClusterFound);
        let note = "flag NC, details cluster_not_found";
        let tell = |fact: Fact| fact.note(note).place(cx.place(&field));
        return answered(&reply, tell, exchange, cx);
    };
    let way = Way {
        selected,
        forward,
        cluster,
        path,
        cx,
    };
    let router_config = *cx.manager.router_of(exchange);
    let strict = router_config.strict_headers;
    if let Some(wrong) = strict.first_wrong(&exchange.request) {
        let body = router::wrong_header_text(wrong, &exchange.request);
        let mut reply = LocalReply::new(400, "", details::REQUEST_HEADERS_FAILED_STRICT_CHECK)
            .flag(ResponseFlag::InvalidEnvoyRequestHeaders);
        reply.body = &body;
        let note = format!(
            "flag IH, details request_headers_failed_strict_check{{{}}}: the router's \
             strict_check_headers",
            wrong.as_str()
        );
        return answered(&reply, |fact| fact.note(note), exchange, cx);
    }
    let tells = !router_config.suppress_envoy_headers;
    let maintained = maintained(cluster, cx);
    if let Some((100, place)) = &maintained {
        let note = "flag UO, details maintenance_mode: the runtime says that the cluster is in \
                    maintenance";
        let tell = |fact: Fact| fact.note(note).place(place.clone());
        return answered(&router::maintenance_reply(tells), tell, exchange, cx);
    }
    let dropped = dropped(cluster, cx);
    if let Some((percent, place)) = &dropped
        && *percent >= 100.0
    {
        let reply = router::drop_reply(Refused::All, tells);
        let note = "flag UDO, details unconditional_drop_overload";
        let tell = |fact: Fact| fact.note(note).place(place.clone());
        return answered(&reply, tell, exchange, cx);
    }
    exchange.info.attempt_count = 1;
    exchange.tell_attempts = forward.resilience.attempt_count_in_response;
    exchange.limits = router::limits(forward, router_config, &exchange.request);
    let is_hedging = router::is_hedging(forward, &exchange.request);
    let mut limits = timeouts::of_upstream(&way, cluster, is_hedging, exchange);
    let hedging = retries::hedging(&way, is_hedging, exchange);
    let mutate = |levels, exchange: &mut Exchange| {
        let (now, _) = cx.sources.now;
        let scratch = &mut Scratch::default();
        cx.manager
            .apply_route_mutations(levels, Message::Request, now, exchange, scratch);
    };
    router::finalize_request_headers(cx.manager, forward, is_hedging, exchange, mutate);
    let choice = choice::explain(&way, cluster, exchange);
    if choice.finds_nobody {
        let reply = LocalReply::new(503, "no healthy upstream", details::NO_HEALTHY_UPSTREAM);
        let mut reply = reply.flag(ResponseFlag::NoHealthyUpstream);
        reply.tells_attempts = true;
        let note = "flag UH, details no_healthy_upstream";
        let mut facts = answered(&reply, |fact| fact.note(note), exchange, cx);
        facts.push(choice.fact);
        return facts;
    }
    limits.extend(timeouts::of_stream(&way, exchange));
    let retries = retries::explain(&way, hedging, exchange);
    router::remove_consumed(exchange);
    let mut is_uncertain = forward.rewrites_host_to_hostname();
    if is_uncertain && let Some(hostname) = &choice.hostname {
        is_uncertain = false;
        router::rewrite_host_to(cx.manager, forward, hostname, exchange);
    }
    let maintained = maintained.map(|(percent, place)| {
        Fact::new("maintenance mode")
            .value(format!("{percent}%"))
            .note("of requests are answered 503 instead, flag UO, details maintenance_mode")
            .place(place)
    });
    let dropped = dropped.map(|(percent, place)| {
        Fact::new("drop overload")
            .value(format!("{percent}%"))
            .note("of requests are answered 503 instead, flag DO, details drop_overload")
            .place(place)
    });
    let mut facts = vec![
        sent(&way, is_uncertain, exchange),
        choice.fact,
        Fact::new("timeouts").parts(limits),
    ];
    facts.extend(maintained);
    facts.extend(dropped);
    facts.extend(retries);
    facts.push(internal_redirects(&way));
    facts.push(mirrors::explain(&way, exchange));
    facts.extend(local_reply::of_others(cx));
    facts
}

/// The percentage of the requests that the cluster does not take because it is in
/// maintenance, and where that was said, if there are such.
pub(super) fn maintained(cluster: &Cluster, cx: &Context<'_>) -> Option<(u64, Place)> {
    let percent = cx.sources.runtime.maintenance_percent(&cluster.name);
    let key = format!("upstream.maintenance_mode.{}", cluster.name);
    (percent > 0).then(|| (percent, cx.of_runtime(&key)))
}

/// The percentage of the requests that the cluster does not take, and where that was
/// said, if there are such.
fn dropped(cluster: &Cluster, cx: &Context<'_>) -> Option<(f64, Place)> {
    let policy = match cx.hosts(cluster) {
        Some(hosts) => hosts.policy,
        None => cluster.assignment.policy,
    };
    let percent = policy.drop_overload?.percent(cx.sources.runtime);
    let field = "load_assignment.policy.drop_overloads[0].drop_percentage";
    let place = cx.place(&format!("{}.{field}", cluster.source.path));
    (percent > 0.0).then_some((percent, place))
}

/// Where a cluster has its protocol options in their newer form.
pub(super) const HTTP_PROTOCOL_OPTIONS: &str =
    "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].";

/// A route that sends requests on.
pub(super) struct Way<'a> {
    pub selected: &'a SelectedRoute<'a>,
    pub forward: &'a Forward,
    pub cluster: &'a Cluster,
    /// Where the `route` action was written.
    pub path: String,
    pub cx: &'a Context<'a>,
}

impl Way<'_> {
    /// The path of a field of the route's action, or else of its virtual host,
    /// whichever was written; the route's if neither was.
    pub fn or_of_host(&self, field: &str) -> String {
        let of_route = format!("{}.{field}", self.path);
        let of_host = format!("{}.{field}", self.selected.virtual_host.source.path);
        let is_written = |path: &str| self.cx.sources.document.at(path).is_some();
        match !is_written(&of_route) && is_written(&of_host) {
            true => of_host,
            false => of_route,
        }
    }

    /// The path of the retry policy that holds: the cluster's, if it has one, or
    /// else the route's or its virtual host's.
    pub fn retry_policy(&self) -> String {
        match self.cluster.request_policies.replaces_retry() {
            true => format!(
                "{}.{}retry_policy",
                self.cluster.source.path, HTTP_PROTOCOL_OPTIONS
            ),
            false => self.or_of_host("retry_policy"),
        }
    }
}

/// The request as its host gets it, which may say who that is.
fn sent(way: &Way<'_>, is_host_uncertain: bool, exchange: &Exchange) -> Fact {
    const NAME: &str = "request as it is sent upstream";
    if router::carries_bytes(way.forward, exchange) {
        let upgrade = way.forward.upgrades.find(b"CONNECT");
        let path = upgrade.map_or(&*way.path, |upgrade| &upgrade.source.path);
        return Fact::new(NAME)
            .value(Value::Null)
            .note("what comes behind the head goes to the host as plain TCP")
            .place(way.cx.place(&format!("{path}.connect_config")));
    }
    let mut notes = Vec::new();
    let mut filters = way.cx.manager.filters_of(exchange).said(exchange);
    if filters.any(|said| said != Said::Off) {
        notes.push("without what filters change");
    }
    if is_host_uncertain {
        notes.push("with the name of the host that is picked, if it has one, as its authority");
    }
    let mut request = exchange.request.clone();
    match router::head_end(exchange, !exchange.request_complete) {
        HeadEnd::Fields => {}
        HeadEnd::Empty => request.append(HeaderId::ContentLength, b"0"),
        HeadEnd::Chunked => request.append(HeaderId::TransferEncoding, b"chunked"),
    }
    let fact = headers(NAME, &request);
    match notes.is_empty() {
        true => fact,
        false => fact.note(notes.join("; ")),
    }
}

/// Which redirects of the host are followed.
fn internal_redirects(way: &Way<'_>) -> Fact {
    const NAME: &str = "internal redirect policy";
    let path = format!("{}.internal_redirect_policy", way.path);
    let policy = way.forward.resilience.internal_redirect.as_deref();
    let written = way.cx.written(NAME, &path);
    let (Some(policy), Some(written)) = (policy, written) else {
        return Fact::new(NAME)
            .value(Value::Null)
            .note("redirects of the host go to the client");
    };
    written.parts(vec![
        Fact::new("followed statuses").value(&*policy.codes),
        Fact::new("redirects at most").value(policy.redirects_max),
    ])
}
