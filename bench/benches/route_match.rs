//! What finding a request's route costs: the virtual host by its authority, then the routes in
//! order. Envoy's routes are a list too, so the position of the route is most of the price.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatcher;
use proto::route_match::PathSpecifier;
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::{MatchInput, PeerCertificate, RouteConfiguration, RouteMatch, lower};
use ringway_config::runtime::RuntimeValues;
use ringway_config::{Cx, Diagnostics, Marks, Names};

/// Virtual hosts of a large edge proxy.
const HOSTS: usize = 1_000;

/// Routes of the virtual host that is asked for.
const ROUTES: usize = 100;

fn route(path: PathSpecifier) -> proto::Route {
    let answer = proto::DirectResponseAction {
        status: 200,
        ..Default::default()
    };
    proto::Route {
        r#match: Some(proto::RouteMatch {
            path_specifier: Some(path),
            ..Default::default()
        }),
        action: Some(proto::route::Action::DirectResponse(answer)),
        ..Default::default()
    }
}

/// A host of [`ROUTES`] routes of one kind, among [`HOSTS`] others.
fn configuration(path: impl Fn(usize) -> PathSpecifier) -> RouteConfiguration {
    let small = |number| proto::VirtualHost {
        name: format!("host{number}"),
        domains: vec![
            format!("host{number}.example.com"),
            format!("*.zone{number}.example.com"),
        ],
        routes: vec![route(PathSpecifier::Prefix("/".into()))],
        ..Default::default()
    };
    let mut virtual_hosts: Vec<_> = (0..HOSTS).map(small).collect();
    virtual_hosts.push(proto::VirtualHost {
        name: "large".into(),
        domains: vec!["shop.example.com".into()],
        routes: (0..ROUTES).map(|number| route(path(number))).collect(),
        ..Default::default()
    });
    let message = proto::RouteConfiguration {
        name: "bench".into(),
        virtual_hosts,
        ..Default::default()
    };
    let (mut diagnostics, marks, names) = (Diagnostics::new(), Marks::default(), Names::default());
    let lowered = lower(
        &message,
        &mut Cx::new(&mut diagnostics, &marks, None, &names),
    );
    assert!(!diagnostics.has_errors(), "a valid configuration");
    lowered.expect("a valid configuration")
}

fn request(authority: &str, path: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.append(HeaderId::Method, b"GET");
    headers.append(HeaderId::Path, path.as_bytes());
    headers.append(HeaderId::Authority, authority.as_bytes());
    headers.append(HeaderId::UserAgent, b"bench");
    headers
}

fn finds(routes: &RouteConfiguration, headers: &HeaderMap) -> bool {
    let input = MatchInput {
        headers,
        random: 0,
        runtime: &RuntimeValues::default(),
        metadata: ringway_config::metadata::Metadata::EMPTY,
        filter_state: ringway_config::filter_state::FilterState::EMPTY,
        peer_certificate: PeerCertificate::default(),
    };
    matches!(routes.find(&input), RouteMatch::Route(..))
}

fn virtual_hosts(c: &mut Criterion) {
    let routes = configuration(|number| PathSpecifier::Path(format!("/{number}")));
    let mut group = c.benchmark_group("route/host of 1,001");
    for (name, authority) in [
        ("exact", "host500.example.com"),
        ("suffix", "a.zone500.example.com"),
        ("none", "elsewhere.example.org"),
    ] {
        let headers = request(authority, "/");
        group.bench_function(name, |b| {
            b.iter(|| finds(&routes, black_box(&headers)));
        });
    }
    group.finish();
}

fn last_of_many(c: &mut Criterion) {
    let mut group = c.benchmark_group("route/last of 100");
    let last = ROUTES - 1;
    let exact = configuration(|number| PathSpecifier::Path(format!("/api/v1/resource{number}")));
    let prefix =
        configuration(|number| PathSpecifier::Prefix(format!("/api/v1/resource{number}/")));
    let regex = configuration(|number| {
        let regex = format!("/api/v[0-9]+/resource{number}/[^/]*");
        PathSpecifier::SafeRegex(RegexMatcher {
            regex,
            ..Default::default()
        })
    });
    for (name, routes, path) in [
        ("path", exact, format!("/api/v1/resource{last}?page=2")),
        (
            "prefix",
            prefix,
            format!("/api/v1/resource{last}/items?page=2"),
        ),
        (
            "regex",
            regex,
            format!("/api/v1/resource{last}/items?page=2"),
        ),
    ] {
        let headers = request("shop.example.com", &path);
        assert!(finds(&routes, &headers), "{name} matches");
        group.bench_function(name, |b| {
            b.iter(|| finds(&routes, black_box(&headers)));
        });
    }
    group.finish();
}

criterion_group!(benches, virtual_hosts, last_of_many);
criterion_main!(benches);
