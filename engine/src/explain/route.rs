//! Which virtual host and route a request takes, and why not the earlier ones.

use ringway_codecs::header::HeaderId;
use ringway_config::route::{
    Action, ClusterSpecifier, MatchInput, Route, RouteMatch, SelectedRoute, VirtualHost,
};

use super::context::Context;
use super::fact::Fact;
use super::scope;
use crate::http::exchange::Exchange;

/// Routes before the one that matches of which each is told why it did not,
/// unless all are asked for: more than this nobody reads.
const ROUTES_SHOWN_MAX: usize = 10;

/// Finds the route as the connection manager does, and says how.
pub(super) fn explain<'a>(
    exchange: &mut Exchange,
    cx: &Context<'a>,
    facts: &mut Vec<Fact>,
) -> RouteMatch<'a> {
    let routes = &cx.manager.config.routes;
    let table = routes.choose(&exchange.request);
    facts.extend(scope::explain(routes, table, &exchange.request, cx.sources));
    exchange.route_table = table.unwrap_or_default();
    let Some(table) = table else {
        return RouteMatch::NoVirtualHost;
    };
    let configuration = &routes.table(table).configuration;
    let authority = exchange.request.get(HeaderId::Authority);
    let authority = String::from_utf8_lossy(authority.unwrap_or_default());
    facts.push(
        Fact::new("route configuration")
            .value(&**configuration.name())
            .place(cx.place(&configuration.source().path)),
    );
    let input = cx.match_input(exchange);
    let found = configuration.find(&input);
    let (host, selected) = match found {
        RouteMatch::NoVirtualHost => {
            facts.push(Fact::new("virtual host").note(format!(
                "no domain of {} virtual hosts matches {authority:?}",
                configuration.virtual_hosts().len()
            )));
            return found;
        }
        RouteMatch::TlsRequired(host) => (host, None),
        RouteMatch::NoRoute(host) => (host, None),
        RouteMatch::Route(selected) => (selected.virtual_host, Some(selected)),
    };
    facts.push(
        Fact::new("virtual host")
            .value(&*host.name)
            .note(format!("by its domains, for {authority:?}"))
            .place(cx.place(&host.source.path)),
    );
    if !matches!(found, RouteMatch::TlsRequired(_)) {
        facts.extend(in_host(host, selected.as_ref(), &input, cx));
    }
    found
}

/// Which of a virtual host's routes was selected, if one was, and why no other.
fn in_host(
    host: &VirtualHost,
    selected: Option<&SelectedRoute<'_>>,
    input: &MatchInput<'_>,
    cx: &Context<'_>,
) -> Vec<Fact> {
    let mut routes = host.routes.iter();
    let place =
        selected.and_then(|selected| routes.position(|route| std::ptr::eq(route, selected.route)));
    let looked_at = match (&host.matcher, place) {
        (None, Some(place)) => &host.routes[..=place],
        // Which of them a matcher has led to is not known.
        (Some(_), _) | (None, None) => &host.routes,
    };
    let mut facts = Vec::new();
    if host.matcher.is_none() {
        facts.push(earlier(host, place, input, cx));
    }
    facts.push(match (selected, &host.matcher) {
        (Some(selected), matcher) => one(selected.route, place, matcher.is_some(), cx),
        (None, None) => Fact::new("route").note(format!("none matches {}", path_of(input))),
        (None, Some(_)) => Fact::new("route")
            .note(format!(
                "the matcher tree leads to none, or to none that matches {}",
                path_of(input)
            ))
            .place(cx.place(&format!("{}.matcher", host.source.path))),
    });
    if looked_at.iter().any(depends_on_filters) {
        facts.push(
            Fact::new("dynamic metadata and filter state")
                .value("unknown")
                .note(
                    "routes are matched as before the first filter; one that has the route looked \
                     up again may lead to another",
                ),
        );
    }
    facts
}

/// The route that was selected.
fn one(route: &Route, place: Option<usize>, by_matcher: bool, cx: &Context<'_>) -> Fact {
    let fact = Fact::new("route")
        .value(match &*route.name {
            // The list that a matcher's routes are in is in no file.
            "" if by_matcher => "without a name".into(),
            "" => format!("number {}", place.unwrap_or_default()),
            name => name.into(),
        })
        .place(cx.place(&route.source.path));
    let fact = match by_matcher {
        true => fact.note("by the matcher tree"),
        false => fact,
    };
    match cx.written("match", &format!("{}.match", route.source.path)) {
        Some(written) => fact.parts(vec![written]),
        None => fact,
    }
}

/// Whether what filters say of a request decides about the route.
fn depends_on_filters(route: &Route) -> bool {
    let matcher = &route.matcher;
    !matcher.dynamic_metadata.is_empty() || !matcher.filter_state.is_empty()
}

/// The path of a request, for messages.
fn path_of(input: &MatchInput<'_>) -> String {
    match input.headers.get(HeaderId::Path) {
        Some(path) => String::from_utf8_lossy(path).into_owned(),
        None => "a request without a path".into(),
    }
}

/// Why a route that matches is not taken.
fn unavailable(action: &Action) -> &'static str {
    match action {
        Action::Forward(forward) if matches!(forward.cluster, ClusterSpecifier::Plugin(_)) => {
            "it matches, but its optional plugin is unknown"
        }
        _ => "it matches, but runtime keys leave its clusters no weight",
    }
}

/// The routes before the one at `place`, each with the condition that the
/// request does not meet; all routes without a place.
fn earlier(
    host: &VirtualHost,
    place: Option<usize>,
    input: &MatchInput<'_>,
    cx: &Context<'_>,
) -> Fact {
    let before = &host.routes[..place.unwrap_or(host.routes.len())];
    let shown = match cx.all_routes {
        true => before.len(),
        false => before.len().min(ROUTES_SHOWN_MAX),
    };
    let mut items = Vec::new();
    for (number, route) in before[..shown].iter().enumerate() {
        let name = match &*route.name {
            "" => format!("number {number}"),
            name => name.to_owned(),
        };
        let Some(mismatch) = route.matcher.mismatch(input) else {
            items.push(
                Fact::new(name)
                    .note(unavailable(&route.action))
                    .place(cx.place(&format!("{}.route", route.source.path))),
            );
            continue;
        };
        let path = match mismatch.field.as_str() {
            "" => format!("{}.match", route.source.path),
            field => format!("{}.match.{field}", route.source.path),
        };
        let wanted = cx.sources.document.at(&path).map(ToString::to_string);
        items.push(
            Fact::new(name)
                .note(format!(
                    "{}, it wants {}",
                    mismatch.found,
                    wanted.as_deref().unwrap_or("something else")
                ))
                .place(cx.place(&path)),
        );
    }
    let fact = Fact::new("routes that do not match");
    let fact = match before.len() - shown {
        0 => fact,
        _ => fact.note(format!(
            "{}, of which these are the first; all_routes shows all",
            before.len()
        )),
    };
    fact.items(items)
}
