//! Matching and precedence, from proto messages in Rust syntax to the route
//! that a request takes.

use super::*;
use crate::context::Cx;
use crate::diagnostics::{Diagnostics, Marks};
use crate::names::Names;
use crate::runtime::RuntimeValues;
use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source};
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::google::protobuf::BoolValue;
use proto::route_match::PathSpecifier;
use ringway_codecs::header::HeaderId;

mod choices;
mod golden;
mod header_mutations;
mod matchers;

/// Lowers a message; the findings one a line.
fn lowered(message: &proto::RouteConfiguration) -> (Option<RouteConfiguration>, String) {
    let mut diagnostics = Diagnostics::new();
    let marks = Marks::default();
    let names = Names::default();
    let mut cx = Cx::new(&mut diagnostics, &marks, None, &names);
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
    match find(routes, headers) {
        RouteMatch::NoVirtualHost => "-".into(),
        RouteMatch::TlsRequired(host) => format!("{}/tls", host.name),
        RouteMatch::NoRoute(host) => host.name.to_string(),
        RouteMatch::Route(found) => format!("{}/{}", found.virtual_host.name, found.route.name),
    }
}

/// What a request without anything but headers finds.
fn find<'r>(routes: &'r RouteConfiguration, headers: &HeaderMap) -> RouteMatch<'r> {
    routes.find(&MatchInput {
        headers,
        random: 0,
        runtime: &RuntimeValues::default(),
        metadata: crate::metadata::Metadata::EMPTY,
        filter_state: crate::filter_state::FilterState::EMPTY,
        remote: std::net::Ipv4Addr::LOCALHOST.into(),
        peer_certificate: PeerCertificate::default(),
    })
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

/// Whether a route with these matchers takes the request.
fn takes(matching: proto::RouteMatch, path: &str, fields: &[(&str, &str)]) -> bool {
    let matching = proto::RouteMatch {
        path_specifier: Some(PathSpecifier::Prefix("/".into())),
        ..matching
    };
    let routes = good(&configuration(vec![host(
        "v",
        &["*"],
        vec![route("r", matching)],
    )]));
    found(&routes, &request("h", path, fields)) == "v/r"
}

fn string(pattern: matcher::string_matcher::MatchPattern) -> matcher::StringMatcher {
    matcher::StringMatcher {
        match_pattern: Some(pattern),
        ..Default::default()
    }
}

/// What Envoy 1.40 answered, for each matcher of the header `a` and each list
/// of its values: `y` where the route matched.
#[test]
#[expect(deprecated, reason = "the old forms are still accepted")]
fn header_matches() {
    use envoy_types::pb::envoy::r#type::v3::Int64Range;
    use matcher::string_matcher::MatchPattern::{Exact, Prefix, SafeRegex};
    use proto::header_matcher::HeaderMatchSpecifier as Specifier;
    let values: [&[&str]; 10] = [
        &[],
        &["x"],
        &["y"],
        &[""],
        &["x", "y"],
        &["y", "x"],
        &["y", "z"],
        &["x,y"],
        &["15"],
        &["X"],
    ];
    let exact = |text: &str| Some(Specifier::StringMatch(string(Exact(text.into()))));
    let range = |start, end| Some(Specifier::RangeMatch(Int64Range { start, end }));
    let prefix_any_case = Some(Specifier::StringMatch(matcher::StringMatcher {
        ignore_case: true,
        ..string(Prefix("x".into()))
    }));
    let x_or_y = Some(Specifier::StringMatch(string(SafeRegex(regex("x|y")))));
    for (specifier, invert, missing_is_empty, expected) in [
        (exact("x"), false, false, "-y--yy----"),
        (exact("x"), true, false, "--yy--yyyy"),
        (exact(""), false, true, "y--y------"),
        (exact("x"), true, true, "y-yy--yyyy"),
        (
            Some(Specifier::PresentMatch(true)),
            false,
            false,
            "-yyyyyyyyy",
        ),
        (
            Some(Specifier::PresentMatch(false)),
            false,
            false,
            "y---------",
        ),
        (
            Some(Specifier::PresentMatch(true)),
            true,
            false,
            "y---------",
        ),
        (
            Some(Specifier::PresentMatch(false)),
            true,
            false,
            "-yyyyyyyyy",
        ),
        (None, false, false, "-yyyyyyyyy"),
        (None, true, false, "y---------"),
        (
            Some(Specifier::PresentMatch(true)),
            false,
            true,
            "yyyyyyyyyy",
        ),
        (
            Some(Specifier::PresentMatch(false)),
            false,
            true,
            "----------",
        ),
        (
            Some(Specifier::ExactMatch(String::new())),
            false,
            false,
            "-yyyyyyyyy",
        ),
        (
            Some(Specifier::ExactMatch(String::new())),
            true,
            false,
            "----------",
        ),
        (
            Some(Specifier::ExactMatch("x".into())),
            false,
            false,
            "-y--yy----",
        ),
        (
            Some(Specifier::PrefixMatch("x".into())),
            false,
            false,
            "-y--yy-y--",
        ),
        (
            Some(Specifier::SuffixMatch("y".into())),
            false,
            false,
            "--y-yyyy--",
        ),
        (
            Some(Specifier::ContainsMatch(",".into())),
            false,
            false,
            "-------y--",
        ),
        (
            Some(Specifier::SafeRegexMatch(regex("[a-z]"))),
            false,
            false,
            "-yy-yyy---",
        ),
        (range(10, 20), false, false, "--------y-"),
        (range(0, 20), false, true, "--------y-"),
        (range(0, 15), false, false, "----------"),
        (x_or_y, false, false, "-yy-yyy---"),
        (prefix_any_case, false, false, "-y--yy-y-y"),
    ] {
        let matching = proto::RouteMatch {
            headers: vec![proto::HeaderMatcher {
                name: "A".into(),
                invert_match: invert,
                treat_missing_header_as_empty: missing_is_empty,
                header_match_specifier: specifier.clone(),
            }],
            ..Default::default()
        };
        let got: String = values
            .iter()
            .map(|values| {
                let fields: Vec<_> = values.iter().map(|value| ("a", *value)).collect();
                match takes(matching.clone(), "/", &fields) {
                    true => 'y',
                    false => '-',
                }
            })
            .collect();
        assert_eq!(got, expected, "{specifier:?} {invert} {missing_is_empty}");
    }
}

/// The whole path must match, in linear time.
#[test]
fn regexes() {
    let evil = format!("/{}!", "a".repeat(30_000));
    for (pattern, path, expected) in [
        ("/a|/ab", "/ab", true),
        ("/a", "/ab", false),
        ("(?i)/RX", "/rx", true),
        ("/RX", "/rx", false),
        (r"/\d", "/1", true),
        (r"/\d", "/\u{663}", false),
        (r"/\pL", "/\u{e9}", false),
        (r"/\pL.", "/\u{e9}", true),
        (r"/\Q.*\E", "/.*", true),
        ("/(a*)*", evil.as_str(), false),
        ("/(a|aa)+", evil.as_str(), false),
        ("/.*", "/", true),
    ] {
        let matching = on(PathSpecifier::SafeRegex(regex(pattern)));
        let routes = good(&configuration(vec![host(
            "v",
            &["*"],
            vec![route("r", matching)],
        )]));
        let got = found(&routes, &request("h", path, &[])) == "v/r";
        assert_eq!(got, expected, "{pattern}");
    }
    for pattern in ["a)(b", "(", "(?:a{1000}){1000}", LARGE, "[z-a]", "*"] {
        let matching = on(PathSpecifier::SafeRegex(regex(pattern)));
        let message = configuration(vec![host("v", &["*"], vec![route("r", matching)])]);
        let (routes, found) = lowered(&message);
        assert!(
            routes.is_none() && found.contains("match.safe_regex.regex"),
            "{pattern}"
        );
    }
}

/// More than is compiled, though nothing is repeated too often.
const LARGE: &str = "(?:abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz){1000}";

#[test]
fn pseudo_headers_and_host_can_be_matched() {
    use matcher::string_matcher::MatchPattern::Exact;
    for (name, value) in [
        ("host", "h"),
        ("Host", "h"),
        (":authority", "h"),
        (":path", "/q?x"),
        (":method", "GET"),
        ("X-Other", "1"),
        ("user-agent", "u"),
    ] {
        let matching = proto::RouteMatch {
            headers: vec![proto::HeaderMatcher {
                name: name.into(),
                header_match_specifier: Some(
                    proto::header_matcher::HeaderMatchSpecifier::StringMatch(string(Exact(
                        value.into(),
                    ))),
                ),
                ..Default::default()
            }],
            ..Default::default()
        };
        let fields = [("x-other", "1"), ("user-agent", "u")];
        assert!(takes(matching, "/q?x", &fields), "{name}");
    }
}

/// What Envoy 1.40 answered, for each matcher of the parameter `a`.
#[test]
fn query_parameter_matches() {
    use matcher::string_matcher::MatchPattern::{Exact, SafeRegex};
    use proto::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
    let paths = [
        "/",
        "/?",
        "/?a",
        "/?a=",
        "/?a=1",
        "/?a=2&a=1",
        "/?a=1&a=2",
        "/?b&a=1",
        "/?%61=1",
        "/?a=%31",
        "/?a=1?b",
        "/?x?a=1",
        "/?a=1=2",
        "/?&a=1",
        "/?A=1",
    ];
    let exact = |text: &str| Some(Specifier::StringMatch(string(Exact(text.into()))));
    let number = Some(Specifier::StringMatch(string(SafeRegex(regex("[0-9]+")))));
    for (specifier, expected) in [
        (None, "--yyyyyy-yy-yy-"),
        (Some(Specifier::PresentMatch(true)), "--yyyyyy-yy-yy-"),
        (Some(Specifier::PresentMatch(false)), "yy------y--y--y"),
        (exact("1"), "----y-yy-----y-"),
        (exact(""), "--yy-----------"),
        (number, "----yyyy-----y-"),
    ] {
        let matching = proto::RouteMatch {
            query_parameters: vec![proto::QueryParameterMatcher {
                name: "a".into(),
                query_parameter_match_specifier: specifier.clone(),
            }],
            ..Default::default()
        };
        let got: String = paths
            .iter()
            .map(|path| match takes(matching.clone(), path, &[]) {
                true => 'y',
                false => '-',
            })
            .collect();
        assert_eq!(got, expected, "{specifier:?}");
    }
}

/// A route that goes to a cluster, with `change` applied to its action.
fn forward(change: impl FnOnce(&mut proto::RouteAction)) -> proto::Route {
    let mut action = proto::RouteAction {
        cluster_specifier: Some(proto::route_action::ClusterSpecifier::Cluster("c".into())),
        ..Default::default()
    };
    change(&mut action);
    proto::Route {
        action: Some(proto::route::Action::Route(action)),
        ..route("r", prefix("/"))
    }
}

fn rewritten(
    routes: &RouteConfiguration,
    keep: bool,
    path: &str,
    fields: &[(&str, &str)],
) -> String {
    let mut headers = request("h.com", path, fields);
    let RouteMatch::Route(SelectedRoute { route, .. }) = find(routes, &headers) else {
        panic!("{path} matches no route");
    };
    let Action::Forward(forward) = &route.action else {
        panic!("{path} is forwarded");
    };
    forward.rewrite(
        &mut headers,
        &mut Rewriting {
            keep_originals: keep,
            scratch: &mut Vec::new(),
            format: &mut |_, _, _| panic!("there are no format strings"),
        },
    );
    headers.remove(HeaderId::Method);
    let lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| {
            format!(
                "{}={}",
                name.as_bytes().escape_ascii(),
                value.escape_ascii()
            )
        })
        .collect();
    lines.join(" ")
}

/// What the upstream of Envoy 1.40 saw.
#[test]
fn rewrites() {
    let substitution = |pattern: &str, substitution: &str| matcher::RegexMatchAndSubstitute {
        pattern: Some(regex(pattern)),
        substitution: substitution.into(),
    };
    for (pattern, with, path, expected) in [
        (
            "/re/([a-z]+)",
            "/\\1\\1$1",
            "/re/ab/re/cd?/re/x",
            "/abab$1/cdcd$1?/re/x",
        ),
        ("a", "\\3", "/bada", "/bada"),
        ("a", "x\\q", "/baca", "/bxcx"),
        ("x*", "-", "/empx", "-/-e-m-p-"),
        ("^/a", "\\\\\\0", "/ab", "\\/ab"),
        ("(b)|(c)", "[\\2]", "/bc", "/[][c]"),
    ] {
        let message = configuration(vec![host(
            "v",
            &["*"],
            vec![forward(|action| {
                action.regex_rewrite = Some(substitution(pattern, with));
            })],
        )]);
        let routes = lowered(&message).0.unwrap();
        let text = rewritten(&routes, false, path, &[]);
        let expected = expected.replace('\\', "\\\\");
        assert_eq!(
            text,
            format!(":authority=h.com :path={expected}"),
            "{pattern} {with}"
        );
    }

    let both = good(&configuration(vec![host(
        "v",
        &["*"],
        vec![forward(|action| {
            action.prefix_rewrite = "/n/".into();
            action.append_x_forwarded_host = true;
            action.host_rewrite_specifier =
                Some(proto::route_action::HostRewriteSpecifier::HostRewriteLiteral("n.com".into()));
        })],
    )]));
    assert_eq!(
        rewritten(&both, true, "/x?q", &[("x-forwarded-host", "o.com")]),
        ":authority=n.com :path=/n/x?q x-forwarded-host=o.com,h.com \
         x-envoy-original-host=h.com x-envoy-original-path=/x?q"
    );
    assert_eq!(
        rewritten(&both, false, "/x?q", &[]),
        ":authority=n.com :path=/n/x?q x-forwarded-host=h.com"
    );
}

#[test]
fn hosts_of_any_length_are_found() {
    let long = "a".repeat(10_000);
    let wildcard = format!("*.{long}");
    let routes = good(&configuration(vec![
        host("long", &[&long], vec![]),
        host("wild", &[&wildcard], vec![]),
    ]));
    let upper = long.to_uppercase();
    assert_eq!(found(&routes, &request(&upper, "/", &[])), "long");
    assert_eq!(
        found(&routes, &request(&format!("x.{upper}"), "/", &[])),
        "wild"
    );
    assert_eq!(found(&routes, &request(&long[1..], "/", &[])), "-");
}

#[test]
fn mirror_policies_replace_those_above_and_only_used_ones_need_their_cluster() {
    use proto::route_action::{ClusterSpecifier, RequestMirrorPolicy as Policy};
    let to = |cluster: &str| Policy {
        cluster: cluster.into(),
        ..Default::default()
    };
    let forwarding = |own: Vec<Policy>| proto::Route {
        r#match: Some(prefix("/")),
        action: Some(proto::route::Action::Route(proto::RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster("c".into())),
            request_mirror_policies: own,
            ..Default::default()
        })),
        ..Default::default()
    };
    let with = |mut host: proto::VirtualHost, policies: Vec<Policy>| {
        host.request_mirror_policies = policies;
        host
    };
    let mut message = configuration(vec![
        with(
            host("own", &["own"], vec![forwarding(vec![to("a"), to("b")])]),
            vec![to("unused")],
        ),
        with(
            host(
                "of host",
                &["host"],
                vec![forwarding(vec![]), forwarding(vec![])],
            ),
            vec![to("of-host")],
        ),
        host("none", &["none"], vec![forwarding(vec![])]),
    ]);
    message.request_mirror_policies = vec![to("of-all")];
    let routes = good(&message);
    let sources: Vec<_> = routes
        .cluster_references()
        .iter()
        .map(|reference| &*reference.source.path)
        .filter(|path| path.contains("mirror"))
        .collect();
    let hosts = "route_config.virtual_hosts";
    assert_eq!(
        sources,
        [
            format!("{hosts}[0].routes[0].route.request_mirror_policies[0].cluster"),
            format!("{hosts}[0].routes[0].route.request_mirror_policies[1].cluster"),
            format!("{hosts}[1].request_mirror_policies[0].cluster"),
            "route_config.request_mirror_policies[0].cluster".to_owned(),
        ]
    );

    message.request_mirror_policies = vec![Policy {
        cluster_header: "X-To".into(),
        ..to("both")
    }];
    message.virtual_hosts[2].request_mirror_policies = vec![Policy::default()];
    let (routes, found) = lowered(&message);
    assert!(routes.is_none());
    assert_eq!(
        found,
        "route_config.request_mirror_policies[0].cluster_header: only one of cluster (here \
         \"both\") and cluster_header may be set\n\
         route_config.virtual_hosts[2].request_mirror_policies[0]: one of cluster and \
         cluster_header is needed"
    );
}
