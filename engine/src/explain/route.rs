//! Which virtual host and route a request takes, and why not the earlier ones.

use ringway_codecs::header::HeaderId;
use ringway_config::route::{MatchInput, PeerCertificate, RouteMatch, VirtualHost};

use super::fact::Fact;
use super::{Sources, action, path_of, scope};
use crate::filters::network::http_connection_manager::Shared;
use crate::http::exchange::Exchange;

/// Routes before the one that matches of which each is told why it did not;
/// of more the nearest are.
const ROUTES_SHOWN_MAX: usize = 100;

/// Finds the route as the connection manager does. `manager_path` is where the
/// connection manager is configured.
pub(super) fn explain(
    exchange: &mut Exchange,
    manager: &Shared,
    manager_path: &str,
    sources: &Sources<'_>,
) -> Vec<Fact> {
    let routes = &manager.config.routes;
    let table = routes.choose(&exchange.request);
    let mut facts = scope::explain(routes, table, &exchange.request, sources);
    let Some(table) = table else {
        facts.push(not_found());
        return facts;
    };
    exchange.route_table = table;
    let configuration = &routes.table(table).configuration;
    let document = &sources.document;
    let authority = exchange
        .request
        .get(HeaderId::Authority)
        .unwrap_or_default();
    let authority = String::from_utf8_lossy(authority).into_owned();
    facts.push(
        Fact::new("route configuration")
            .value(&**configuration.name())
            .place(document.place(&configuration.source().path)),
    );
    let input = MatchInput {
        headers: &exchange.request,
        random: exchange.random,
        runtime: sources.runtime,
        metadata: ringway_config::metadata::Metadata::EMPTY,
        filter_state: ringway_config::filter_state::FilterState::EMPTY,
        peer_certificate: PeerCertificate::default(),
    };
    let (host, matched) = match configuration.find(&input) {
        RouteMatch::NoVirtualHost => {
            facts.push(Fact::new("virtual host").note(format!(
                "no domain of {} virtual hosts matches {authority:?}",
                configuration.virtual_hosts().len()
            )));
            facts.push(not_found());
            return facts;
        }
        RouteMatch::TlsRequired(host) => {
            facts.push(virtual_host(host, &authority, sources));
            facts.push(
                Fact::new("answer")
                    .value(301)
                    .note("to https: the virtual host requires TLS")
                    .place(document.place(&format!("{}.require_tls", host.source.path))),
            );
            return facts;
        }
        RouteMatch::NoRoute(host) => (host, None),
        RouteMatch::Route(selected) => (selected.virtual_host, Some(selected)),
    };
    facts.push(virtual_host(host, &authority, sources));
    let place = matched.and_then(|selected| {
        host.routes
            .iter()
            .position(|route| std::ptr::eq(route, selected.route))
    });
    let by_matcher = host.matcher.is_some();
    if !by_matcher {
        facts.push(earlier(host, place, &input, sources));
    }
    let Some(selected) = matched else {
        let path = path_of(&exchange.request);
        let fact = Fact::new("route");
        facts.push(match by_matcher {
            false => fact.note(format!("none matches {path}")),
            true => fact
                .note(format!(
                    "the matcher tree leads to none, or to none that matches {path}"
                ))
                .place(document.place(&format!("{}.matcher", host.source.path))),
        });
        facts.push(not_found());
        return facts;
    };
    let route = selected.route;
    let condition = format!("{}.match", route.source.path);
    let mut fact = Fact::new("route")
        .value(match &*route.name {
            // The list that a matcher's routes are in is in no file.
            "" if by_matcher => "without a name".into(),
            "" => format!("number {}", place.unwrap_or_default()),
            name => name.into(),
        })
        .place(document.place(&route.source.path));
    if by_matcher {
        fact = fact.note("by the matcher tree");
    }
    if let Some(written) = document.written("match", &condition) {
        fact = fact.parts(vec![written]);
    }
    facts.push(fact);
    facts.extend(action::explain(
        &selected,
        exchange,
        manager,
        manager_path,
        sources,
    ));
    facts
}

fn virtual_host(host: &VirtualHost, authority: &str, sources: &Sources<'_>) -> Fact {
    Fact::new("virtual host")
        .value(&*host.name)
        .note(format!("by its domains, for {authority:?}"))
        .place(sources.document.place(&host.source.path))
}

fn not_found() -> Fact {
    Fact::new("answer")
        .value(404)
        .note("flag NR, details route_not_found")
}

/// The routes before the one at `place`, each with the condition that the
/// request does not meet; all routes without a place.
fn earlier(
    host: &VirtualHost,
    place: Option<usize>,
    input: &MatchInput<'_>,
    sources: &Sources<'_>,
) -> Fact {
    let before = &host.routes[..place.unwrap_or(host.routes.len())];
    let left_out = before.len().saturating_sub(ROUTES_SHOWN_MAX);
    let mut items = Vec::new();
    for (number, route) in before.iter().enumerate().skip(left_out) {
        let name = match &*route.name {
            "" => format!("number {number}"),
            name => name.to_owned(),
        };
        let Some(mismatch) = route.matcher.mismatch(input) else {
            items.push(
                Fact::new(name)
                    .note("it matches, but there is no cluster that it could choose")
                    .place(
                        sources
                            .document
                            .place(&format!("{}.route", route.source.path)),
                    ),
            );
            continue;
        };
        let path = match mismatch.field.as_str() {
            "" => format!("{}.match", route.source.path),
            field => format!("{}.match.{field}", route.source.path),
        };
        let wanted = sources.document.at(&path).map(ToString::to_string);
        items.push(
            Fact::new(name)
                .note(format!(
                    "{}, it wants {}",
                    mismatch.found,
                    wanted.as_deref().unwrap_or("something else")
                ))
                .place(sources.document.place(&path)),
        );
    }
    let fact = Fact::new("routes that do not match");
    let fact = match left_out {
        0 => fact,
        _ => fact.note(format!("and {left_out} before them")),
    };
    fact.items(items)
}
