//! What finding a request's route costs, by how many others there are: the virtual host by its
//! domains, then the first route that matches. All requests are for the last entry of a list, which
//! costs most where entries are looked at one after the other.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatcher;
use proto::route_match::PathSpecifier;
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::{MatchInput, PeerCertificate, RouteConfiguration, RouteMatch, lower};
use ringway_config::runtime::RuntimeValues;
use ringway_config::{Cx, Diagnostics, Marks, Names};

/// Lengths of the lists.
const LENGTHS: [usize; 4] = [10, 100, 1_000, 10_000];

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

/// One virtual host with a route for each number.
fn routes(length: usize, path: impl Fn(usize) -> PathSpecifier) -> RouteConfiguration {
    lowered(vec![proto::VirtualHost {
        name: "all".into(),
        domains: vec!["*".into()],
        routes: (0..length).map(|number| route(path(number))).collect(),
        ..Default::default()
    }])
}

/// A virtual host for each number.
fn hosts(length: usize, domain: impl Fn(usize) -> String) -> RouteConfiguration {
    let host = |number| proto::VirtualHost {
        name: format!("host{number}"),
        domains: vec![domain(number)],
        routes: vec![route(PathSpecifier::Prefix("/".into()))],
        ..Default::default()
    };
    lowered((0..length).map(host).collect())
}

fn lowered(virtual_hosts: Vec<proto::VirtualHost>) -> RouteConfiguration {
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
        remote: std::net::Ipv4Addr::LOCALHOST.into(),
        runtime: &RuntimeValues::default(),
        metadata: ringway_config::metadata::Metadata::EMPTY,
        filter_state: ringway_config::filter_state::FilterState::EMPTY,
        peer_certificate: PeerCertificate::default(),
    };
    matches!(routes.find(&input), RouteMatch::Route(..))
}

/// Measures a lookup of the last entry for each length of a list.
fn lengths(
    c: &mut Criterion,
    name: &str,
    list: impl Fn(usize) -> RouteConfiguration,
    last: impl Fn(usize) -> HeaderMap,
) {
    let mut group = c.benchmark_group(format!("route/{name}"));
    group.warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(1));
    group.sample_size(20);
    for length in LENGTHS {
        let (routes, headers) = (list(length), last(length - 1));
        assert!(finds(&routes, &headers), "{name} {length}");
        group.bench_function(BenchmarkId::from_parameter(length), |b| {
            b.iter(|| finds(&routes, black_box(&headers)));
        });
    }
    group.finish();
}

fn paths(c: &mut Criterion) {
    let regex = |regex: String| {
        PathSpecifier::SafeRegex(RegexMatcher {
            regex,
            ..Default::default()
        })
    };
    let resource = |number: usize| format!("/api/v1/resource{number}");
    let path = |number| request("shop.example.com", &format!("{}?page=2", resource(number)));
    let below = |number| {
        request(
            "shop.example.com",
            &format!("{}/items?page=2", resource(number)),
        )
    };
    let exact = |number| PathSpecifier::Path(resource(number));
    lengths(c, "path", |length| routes(length, exact), path);
    let prefix = |number| PathSpecifier::Prefix(format!("{}/", resource(number)));
    lengths(c, "prefix", |length| routes(length, prefix), below);
    let separated = |number| PathSpecifier::PathSeparatedPrefix(resource(number));
    lengths(
        c,
        "separated prefix",
        |length| routes(length, separated),
        below,
    );
    let different = |number| regex(format!("{}/[^/]*", resource(number)));
    lengths(
        c,
        "regex, different beginnings",
        |length| routes(length, different),
        below,
    );
    let alike = |number| regex(format!("/api/v[0-9]+/resource{number}/[^/]*"));
    lengths(
        c,
        "regex, all begin alike",
        |length| routes(length, alike),
        below,
    );
}

fn domains(c: &mut Criterion) {
    let name = |number| format!("host{number}.example.com");
    lengths(
        c,
        "host",
        |length| hosts(length, name),
        |last| request(&name(last), "/"),
    );
    lengths(
        c,
        "host suffix",
        |length| hosts(length, |number| format!("*.zone{number}.example.com")),
        |last| request(&format!("www.zone{last}.example.com"), "/"),
    );
    lengths(
        c,
        "host prefix",
        |length| hosts(length, |number| format!("site{number}.*")),
        |last| request(&format!("site{last}.example.com"), "/"),
    );
}

criterion_group!(benches, paths, domains);
criterion_main!(benches);
