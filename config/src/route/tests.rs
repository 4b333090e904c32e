//! Matching and precedence, from proto messages in Rust syntax to the route
//! that a request takes.

use super::*;
use crate::clusters::ClusterNames;
use crate::context::Cx;
use crate::diagnostics::{Diagnostics, Marks};
use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source};
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::google::protobuf::BoolValue;
use proto::route_match::PathSpecifier;

/// Lowers a message; the findings one a line.
fn lowered(message: &proto::RouteConfiguration) -> (Option<RouteConfiguration>, String) {
    let mut diagnostics = Diagnostics::new();
    let marks = Marks::default();
    let clusters = ClusterNames::new();
    let mut cx = Cx::new(&mut diagnostics, &marks, None, &clusters);
    let routes = cx.field("route_config", |cx| lower(message, cx));
    let found: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    (routes, found.join("\n"))
}

fn good(message: &proto::RouteConfiguration) -> RouteConfiguration {
    let (routes, found) = lowered(message);
    assert_eq!(found, "");
    routes.unwrap()
}

fn configuration(virtual_hosts: Vec<proto::VirtualHost>) -> proto::RouteConfiguration {
    proto::RouteConfiguration {
        name: "local".into(),
        virtual_hosts,
        ..Default::default()
    }
}

fn host(name: &str, domains: &[&str], routes: Vec<proto::Route>) -> proto::VirtualHost {
    proto::VirtualHost {
        name: name.into(),
        domains: domains.iter().map(ToString::to_string).collect(),
        routes,
        ..Default::default()
    }
}

/// A route called `name` that answers 200.
fn route(name: &str, r#match: proto::RouteMatch) -> proto::Route {
    proto::Route {
        name: name.into(),
        r#match: Some(r#match),
        action: Some(direct(200, None)),
        ..Default::default()
    }
}

fn direct(status: u32, body: Option<data_source::Specifier>) -> proto::route::Action {
    proto::route::Action::DirectResponse(proto::DirectResponseAction {
        status,
        body: body.map(|specifier| DataSource {
            specifier: Some(specifier),
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn on(path: PathSpecifier) -> proto::RouteMatch {
    proto::RouteMatch {
        path_specifier: Some(path),
        ..Default::default()
    }
}

fn prefix(text: &str) -> proto::RouteMatch {
    on(PathSpecifier::Prefix(text.into()))
}

fn regex(text: &str) -> matcher::RegexMatcher {
    matcher::RegexMatcher {
        regex: text.into(),
        ..Default::default()
    }
}

fn request(authority: &str, path: &str, fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.append(HeaderId::Method, b"GET");
    headers.append(HeaderId::Authority, authority.as_bytes());
    headers.append(HeaderId::Path, path.as_bytes());
    for (name, value) in fields {
        headers.append_name(name.as_bytes(), value.as_bytes());
    }
    headers
}

/// The name of what was found: `host` or `host/route`.
fn found(routes: &RouteConfiguration, headers: &HeaderMap) -> String {
    match routes.find(headers, 0) {
        RouteMatch::NoVirtualHost => "-".into(),
        RouteMatch::NoRoute(host) => host.name.to_string(),
        RouteMatch::Route(host, route) => format!("{}/{}", host.name, route.name),
    }
}

#[test]
fn virtual_hosts_by_authority() {
    let any = || vec![route("r", prefix("/"))];
    let mut message = configuration(vec![
        host("exact", &["a.com", "a.com:8080"], any()),
        host("suffix", &["*.a.com"], any()),
        host("empty", &["e.com"], vec![]),
        host("v6", &["[::1]"], any()),
    ]);
    let routes = good(&message);
    for (authority, expected) in [
        ("a.com", "exact/r"),
        ("A.COM", "exact/r"),
        ("a.com:8080", "exact/r"),
        ("a.com:81", "-"),
        ("x.a.com", "suffix/r"),
        ("e.com", "empty"),
        ("", "-"),
        ("[::1]:80", "-"),
    ] {
        assert_eq!(found(&routes, &request(authority, "/", &[])), expected);
    }
    message.ignore_port_in_host_matching = true;
    let routes = good(&message);
    for (authority, expected) in [
        ("a.com:81", "exact/r"),
        ("a.com:", "exact/r"),
        ("x.a.com:1", "suffix/r"),
        ("[::1]:80", "v6/r"),
        ("[::1]", "v6/r"),
    ] {
        assert_eq!(found(&routes, &request(authority, "/", &[])), expected);
    }
}

#[test]
fn the_first_route_that_matches_is_taken() {
    let insensitive = |path| proto::RouteMatch {
        case_sensitive: Some(BoolValue { value: false }),
        ..on(path)
    };
    let routes = good(&configuration(vec![host(
        "v",
        &["*"],
        vec![
            route("exact", on(PathSpecifier::Path("/exact".into()))),
            route("any_case", insensitive(PathSpecifier::Path("/Case".into()))),
            route(
                "any_prefix",
                insensitive(PathSpecifier::Prefix("/CP/".into())),
            ),
            route(
                "separated",
                on(PathSpecifier::PathSeparatedPrefix("/sep".into())),
            ),
            route(
                "regex",
                on(PathSpecifier::SafeRegex(regex("/re/[0-9]+|/re/a"))),
            ),
            route("short", prefix("/p")),
            route("long", prefix("/prefix")),
        ],
    )]));
    for (path, expected) in [
        ("/exact", "v/exact"),
        ("/exact?q", "v/exact"),
        ("/exact/", "v"),
        ("/Exact", "v"),
        ("/cAse", "v/any_case"),
        ("/cp/X", "v/any_prefix"),
        ("/sep", "v/separated"),
        ("/sep?x", "v/separated"),
        ("/sep/x", "v/separated"),
        ("/sepx", "v"),
        ("/re/12?x=y", "v/regex"),
        ("/re/a", "v/regex"),
        ("/re/12x", "v"),
        ("x/re/12", "v"),
        ("/re/", "v"),
        ("/prefix/x", "v/short"),
        ("/?/p", "v"),
    ] {
        assert_eq!(found(&routes, &request("h", path, &[])), expected, "{path}");
    }
    let mut connect = HeaderMap::new();
    connect.append(HeaderId::Authority, b"h");
    assert_eq!(found(&routes, &connect), "v");
}
