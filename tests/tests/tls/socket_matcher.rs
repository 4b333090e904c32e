//! Hosts of one cluster that are connected to in different ways, by a tree of matchers
//! over what is said of them (`transport_socket_matcher`).

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use ringway_tests::bootstrap::bootstrap;
use ringway_tests::fleet::Fleet;
use ringway_tests::process::Process;
use ringway_tests::programs;

use super::files::Files;
use super::scene::{await_checks, check};
use super::server::{Manner, Server};
use super::{PATIENCE, all_alike, certificate, client_tls, get, listener_with, log_of, moved};

const PACKAGE: &str =
    "type.googleapis.com/envoy.extensions.matching.common_inputs.transport_socket.v3";

/// Two ways to connect beside the cluster's own. Their labels are looked at only where
/// there is no matcher.
fn matches() -> String {
    let mutual = format!(
        "sni: mutual.b.test, common_tls_context: {{ tls_certificates: [ {} ] }}",
        certificate("client")
    );
    let plain = "transport_socket: { name: envoy.transport_sockets.raw_buffer, typed_config: { \
         \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer } }";
    format!(
        "transport_socket_matches: [ {{ name: tls, match: {{ kind: tls }}, {} }}, {{ name: plain, \
         match: {{ kind: plain }}, {plain} }} ]",
        client_tls(&mutual)
    )
}

/// Looks at a key of the metadata of a host (`Endpoint`) or its locality (`Locality`).
fn input(of: &str, namespace: &str, path: &[&str]) -> String {
    let path: Vec<_> = path.iter().map(|key| format!("{{ key: {key} }}")).collect();
    format!(
        "{{ name: input, typed_config: {{ \"@type\": {PACKAGE}.{of}MetadataInput, filter: \
         \"{namespace}\", path: [ {} ] }} }}",
        path.join(", ")
    )
}

fn kind() -> String {
    input("Endpoint", "", &["kind"])
}

fn to(name: &str) -> String {
    format!(
        "action: {{ name: to, typed_config: {{ \"@type\": {PACKAGE}.TransportSocketNameAction, \
         name: {name} }} }}"
    )
}

/// A map of values of an input; `map` is `exact` or `prefix`.
fn tree(input: &str, map: &str, entries: &[(&str, &str)], otherwise: &str) -> String {
    let entries: Vec<_> = (entries.iter())
        .map(|(value, on_match)| format!("'{value}': {{ {on_match} }}"))
        .collect();
    let on_no_match = match otherwise {
        "" => String::new(),
        otherwise => format!(", on_no_match: {{ {otherwise} }}"),
    };
    format!(
        "matcher_tree: {{ input: {input}, {map}_match_map: {{ map: {{ {} }} }} }}{on_no_match}",
        entries.join(", ")
    )
}

/// The first of these predicates that passes.
fn list(entries: &[(&str, &str)]) -> String {
    let entries: Vec<_> = (entries.iter())
        .map(|(predicate, on_match)| {
            format!("{{ predicate: {{ {predicate} }}, on_match: {{ {on_match} }} }}")
        })
        .collect();
    format!("matcher_list: {{ matchers: [ {} ] }}", entries.join(", "))
}

fn is(input: &str, test: &str) -> String {
    format!("single_predicate: {{ input: {input}, {test} }}")
}

/// Metadata in a namespace.
fn says(namespace: &str, fields: &str) -> String {
    format!("metadata: {{ filter_metadata: {{ {namespace}: {{ {fields} }} }} }},")
}

fn lb(fields: &str) -> String {
    says("envoy.lb", fields)
}

fn assignment(name: &str, of_locality: &str, of_host: &str, host: SocketAddr) -> String {
    format!(
        "cluster_name: {name}, endpoints: [ {{ {of_locality} lb_endpoints: [ {{ {of_host} \
         endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }} }} ] }} ]",
        host.ip(),
        host.port()
    )
}

/// A cluster that connects with TLS where nothing else is found.
fn cluster(name: &str, fields: &str, hosts: &str) -> String {
    format!(
        "  - name: {name}\n    {}\n    {fields}\n    {hosts}\n",
        client_tls("sni: own.b.test")
    )
}

fn matcher(tree: &str) -> String {
    format!("{}\n    transport_socket_matcher: {{ {tree} }}", matches())
}

/// How the hosts of these clusters are connected to.
struct Case {
    name: &'static str,
    matcher: String,
    of_locality: String,
    of_host: String,
    /// Their name in statistics.
    socket: &'static str,
}

impl Case {
    fn new(name: &'static str, matcher: String, of_host: String, socket: &'static str) -> Self {
        Self {
            name,
            matcher,
            of_locality: String::new(),
            of_host,
            socket,
        }
    }

    fn with_locality(self, of_locality: String) -> Self {
        Self {
            of_locality,
            ..self
        }
    }
}

/// By the values of one map.
fn values() -> Vec<Case> {
    let (tls, plain) = (to("tls"), to("plain"));
    let map = [
        ("a", &*plain),
        ("b", &*tls),
        ("null", &*tls),
        ("3", &*plain),
        ("3.5", &*plain),
        ("true", &*plain),
        ("[1,\"2\"]", &*plain),
        ("{\"x\":\"y\"}", &*plain),
    ];
    let exact = |otherwise: &str| tree(&kind(), "exact", &map, otherwise);
    let case = |name, of_host, socket| Case::new(name, exact(&plain), of_host, socket);
    vec![
        case("value", lb("kind: a"), "plain"),
        case("other_value", lb("kind: b"), "tls"),
        case("no_such_value", lb("kind: c"), "plain"),
        case("no_value", lb("kind: ''"), "plain"),
        // What is not there is a null, unless there is no metadata.
        case("no_such_key", lb("other: a"), "tls"),
        case("no_such_namespace", says("other", "kind: a"), "tls"),
        case("no_metadata", String::new(), "plain"),
        case("a_null", lb("kind: null"), "tls"),
        case("number", lb("kind: 3"), "plain"),
        case("fraction", lb("kind: 3.5"), "plain"),
        case("flag", lb("kind: true"), "plain"),
        case("list", lb("kind: [ 1, '2' ]"), "plain"),
        case("object", lb("kind: { x: y }"), "plain"),
        Case::new("nothing_found", exact(""), lb("kind: c"), "default"),
        Case::new(
            "labels",
            exact(""),
            says("envoy.transport_socket_match", "kind: plain"),
            "tls",
        ),
    ]
}

/// By trees of every form.
fn trees() -> Vec<Case> {
    let (tls, plain) = (to("tls"), to("plain"));
    let prefixes = [("ab", &*tls), ("abc", &*plain)];
    let by_prefix = || tree(&kind(), "prefix", &prefixes, "");
    let kind = kind();
    let a = is(&kind, "value_match: { exact: a }");
    let not_a = format!("not_matcher: {{ {a} }}");
    let either = format!(
        "or_matcher: {{ predicate: [ {{ {a} }}, {{ {} }} ] }}",
        is(
            &kind,
            "value_match: { safe_regex: { google_re2: {}, regex: 'x+' } }"
        )
    );
    let in_range = is(
        &kind,
        "custom_match: { name: ip, typed_config: { \"@type\": \
         type.googleapis.com/envoy.extensions.matching.input_matchers.ip.v3.Ip, stat_prefix: ip, \
         cidr_ranges: [ { address_prefix: 10.0.0.0, prefix_len: 8 } ] } }",
    );
    let zone = input("Locality", "places", &["zone"]);
    let by_zone = || tree(&zone, "exact", &[("near", &*plain)], "");
    let nested = format!("matcher: {{ {} }}", by_zone());
    let within = || tree(&kind, "exact", &[("a", &*nested)], &tls);
    let deep = input("Endpoint", "places", &["in", "it"]);
    let deep = || tree(&deep, "exact", &[("a", &*plain), ("null", &*tls)], "");
    let near = || says("places", "zone: near");
    vec![
        Case::new("short", by_prefix(), lb("kind: abx"), "tls"),
        Case::new("long", by_prefix(), lb("kind: abcd"), "plain"),
        Case::new("neither", by_prefix(), lb("kind: xab"), "default"),
        Case::new("not", list(&[(&not_a, &plain)]), String::new(), "plain"),
        Case::new(
            "not_not",
            list(&[(&not_a, &plain)]),
            lb("kind: a"),
            "default",
        ),
        Case::new(
            "either",
            list(&[(&either, &plain)]),
            lb("kind: xx"),
            "plain",
        ),
        Case::new(
            "first",
            list(&[(&a, &plain), (&either, &tls)]),
            lb("kind: a"),
            "plain",
        ),
        Case::new(
            "in_range",
            list(&[(&in_range, &plain)]),
            lb("kind: 10.1.1.1"),
            "plain",
        ),
        Case::new(
            "no_address",
            list(&[(&in_range, &plain)]),
            lb("kind: ten"),
            "default",
        ),
        Case::new("within", within(), lb("kind: a"), "plain").with_locality(near()),
        Case::new("falls_back", within(), lb("kind: a"), "tls")
            .with_locality(says("places", "zone: far")),
        Case::new("locality", by_zone(), String::new(), "plain").with_locality(near()),
        Case::new("only_locality", by_zone(), near(), "default"),
        Case::new("deep", deep(), says("places", "in: { it: a }"), "plain"),
        Case::new("too_deep", deep(), says("places", "in: a"), "tls"),
        Case::new(
            "always",
            format!("on_no_match: {{ {plain} }}"),
            String::new(),
            "plain",
        ),
        Case::new("nothing", String::new(), lb("kind: a"), "default"),
        Case::new(
            "unknown_name",
            format!("on_no_match: {{ {} }}", to("nobody")),
            String::new(),
            "default",
        ),
    ]
}

fn hosts_are_alike(test: &str, cases: &[Case]) {
    let files = Files::new();
    all_alike(test, |program| {
        let fleet = Fleet::start(1);
        let servers: Vec<_> = (cases.iter())
            .map(|_| Server::start(&files, Manner::Answer))
            .collect();
        let (mut routes, mut clusters) = (String::new(), String::new());
        for (case, server) in cases.iter().zip(&servers) {
            let address = match case.socket {
                "plain" => fleet.address(0),
                _ => server.address,
            };
            let name = case.name;
            let hosts = assignment(name, &case.of_locality, &case.of_host, address);
            let hosts = format!("load_assignment: {{ {hosts} }}");
            clusters += &cluster(name, &matcher(&case.matcher), &hosts);
            let _ = writeln!(
                routes,
                "              - {{ match: {{ path: /{name} }}, route: {{ cluster: {name} }} }}"
            );
        }
        let log = "%REQ(:PATH)% %RESPONSE_CODE% %UPSTREAM_TLS_VERSION% %UPSTREAM_LOCAL_URI_SAN%";
        let listener = listener_with("front", "name: plain", "", log, &routes);
        let front = super::start(program, &files, &listener, &clusters);
        let mut seen = String::new();
        for (case, server) in cases.iter().zip(&servers) {
            let answer = get(front.listener("front"), &format!("/{}", case.name));
            let _ = writeln!(seen, "{}: {answer} {:?}", case.name, server.seen());
            assert!(answer.contains("200"), "{}: {answer}", case.name);
        }
        seen += &log_of(&front, "front", cases.len());
        let stats = front.admin().stats();
        for case in cases {
            let name = format!("cluster.{}.{}.total_match_count", case.name, case.socket);
            assert_eq!(stats.get(&name), Some(&1), "{name} of {}", program.name());
        }
        let _ = write!(seen, "{}{:#?}", counted(&front), moved(&front));
        seen
    });
}

/// How often hosts have which transport socket.
fn counted(process: &Process) -> String {
    let text = process.admin().get("/stats").text();
    let lines = text.lines();
    let counted = lines.filter(|line| line.contains("total_match_count"));
    counted.map(|line| format!("{line}\n")).collect()
}

#[test]
fn values_of_metadata_lead_to_sockets() {
    hosts_are_alike("values_of_metadata_lead_to_sockets", &values());
}

#[test]
fn trees_of_every_form_lead_to_sockets() {
    hosts_are_alike("trees_of_every_form_lead_to_sockets", &trees());
}

/// Labels of checks stand for what hosts say, and not for what their localities do.
#[test]
fn checks_have_the_socket_that_a_matcher_finds() {
    let test = "checks_have_the_socket_that_a_matcher_finds";
    let files = Files::new();
    let labels = |kind: &str| says("envoy.transport_socket_match", &format!("kind: {kind}"));
    let entries = [("tls", &*to("tls")), ("plain", &*to("plain"))];
    let by = |of: &str| {
        let kind = input(of, "envoy.transport_socket_match", &["kind"]);
        matcher(&tree(&kind, "exact", &entries, ""))
    };
    let by_lb = matcher(&tree(&kind(), "exact", &[("null", &*to("plain"))], ""));
    let wants = |kind: &str| format!("transport_socket_match_criteria: {{ kind: {kind} }},");
    let none = String::new;
    // The name, how sockets are found, what checks, localities and hosts say.
    let cases = [
        ("host", by("Endpoint"), none(), none(), labels("plain")),
        (
            "told",
            by("Endpoint"),
            wants("plain"),
            none(),
            labels("tls"),
        ),
        (
            "wrong",
            by("Endpoint"),
            wants("tls"),
            none(),
            labels("plain"),
        ),
        (
            "other",
            by_lb.clone(),
            wants("tls"),
            none(),
            lb("kind: plain"),
        ),
        (
            "locality",
            by("Locality"),
            wants("tls"),
            labels("plain"),
            labels("tls"),
        ),
        (
            "labels",
            matches(),
            wants("x"),
            labels("plain"),
            labels("tls"),
        ),
        (
            "nothing_said",
            matches(),
            "transport_socket_match_criteria: {},".to_owned(),
            none(),
            labels("plain"),
        ),
    ];
    all_alike(test, |program| {
        // It speaks no TLS.
        let fleet = Fleet::start(1);
        let clusters: String = (cases.iter())
            .map(|(name, found_by, criteria, of_locality, of_host)| {
                let hosts = assignment(name, of_locality, of_host, fleet.address(0));
                let fields = format!("{found_by}\n    {}", check(criteria));
                cluster(name, &fields, &format!("load_assignment: {{ {hosts} }}"))
            })
            .collect();
        let text = bootstrap(&[], "");
        let text = text.replace("  listeners:\n", &format!("  clusters:\n{clusters}"));
        let text = text.replace("FILES", &files.folder().to_string_lossy());
        let process = Process::start(program, &text);
        let names: Vec<_> = cases.iter().map(|(name, ..)| *name).collect();
        let stats = await_checks(&process, &names);
        for (name, ..) in &cases {
            let healthy = stats.contains_key(&format!("cluster.{name}.health_check.success"));
            assert_eq!(healthy, !["wrong", "nothing_said"].contains(name), "{name}");
        }
        counted(&process)
    });
}

/// Hosts that are told something else of are connected to in another way.
#[test]
fn hosts_that_change_have_another_socket() {
    let test = "hosts_that_change_have_another_socket";
    let files = Files::new();
    all_alike(test, |program| {
        let folder = tempfile::tempdir().expect("a folder");
        let (fleet, server) = (Fleet::start(1), Server::start(&files, Manner::Answer));
        let place = folder.path().join("hosts.yaml");
        let tell = |kind: &str, host: SocketAddr, version: &str| {
            let of_host = lb(&format!("kind: {kind}"));
            write(&place, &assignment("changing", "", &of_host, host), version);
        };
        // Nobody there speaks TLS, so that it is known when that is over.
        tell("b", fleet.address(0), "one");
        let entries = [("a", &*to("plain")), ("b", &*to("tls"))];
        let fields = format!(
            "type: EDS\n    eds_cluster_config: {{ eds_config: {{ resource_api_version: V3, \
             path_config_source: {{ path: {place:?} }} }} }}\n    {}",
            matcher(&tree(&kind(), "exact", &entries, ""))
        );
        let clusters = cluster("changing", &fields, "");
        let routes = "              - { match: { path: / }, route: { cluster: changing } }\n";
        let log = "%RESPONSE_CODE% %UPSTREAM_TLS_VERSION%";
        let listener = listener_with("front", "name: plain", "", log, routes);
        let front = super::start(program, &files, &listener, &clusters);
        let mut seen = Vec::new();
        let mut ask = || {
            let answer = get(front.listener("front"), "/");
            let status = answer.split_whitespace().next().unwrap_or_default();
            seen.push(status.to_owned());
        };
        ask();
        for (kind, host, updates) in [
            ("a", fleet.address(0), 2),
            ("b", server.address, 3),
            ("a", fleet.address(0), 4),
        ] {
            tell(kind, host, kind);
            let updated = |stats: &ringway_tests::admin::Stats| {
                stats.get("cluster.changing.update_success") >= Some(&updates)
            };
            let (stats, reached) = front.admin().await_stats(PATIENCE, updated);
            assert!(reached, "{stats:?}");
            ask();
        }
        assert_eq!(seen, ["503", "200", "200", "200"], "{}", program.name());
        format!("{seen:?}\n{}", log_of(&front, "front", 4))
    });
}

/// Puts a file of hosts in the place of another one.
fn write(place: &Path, assignment: &str, version: &str) {
    let new = place.with_extension("new");
    let text = format!(
        "version_info: {version}\nresources: [ {{ \"@type\": \
         type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, {assignment} }} ]\n"
    );
    std::fs::write(&new, text).expect("a file");
    std::fs::rename(&new, place).expect("it can be moved");
}

/// Clusters that are refused, and where.
#[test]
fn mistakes_are_refused_as_by_envoy() {
    let test = "mistakes_are_refused_as_by_envoy";
    let files = Files::new();
    let good = tree(&kind(), "exact", &[("a", &*to("plain"))], "");
    let server_name = "{ name: input, typed_config: { \"@type\": \
         type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.ServerNameInput } }";
    let text = "action: { name: to, typed_config: { \"@type\": \
         type.googleapis.com/google.protobuf.StringValue, value: plain } }";
    let by_domain = format!(
        "matcher_tree: {{ input: {}, custom_match: {{ name: domains, typed_config: {{ \"@type\": \
         type.googleapis.com/xds.type.matcher.v3.ServerNameMatcher, domain_matchers: [ {{ domains: \
         [ a.test ], on_match: {{ {} }} }} ] }} }} }}",
        kind(),
        to("plain")
    );
    let negotiates = "typed_extension_protocol_options: { \
         envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \"@type\": \
         type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, auto_config: \
         {} } }";
    let path = "clusters[0].transport_socket_match";
    for (fields, place) in [
        (matcher(&good), None),
        (
            matcher(&good).replace("name: tls,", "name: plain,"),
            Some("es[1].name: "),
        ),
        (
            matcher(&good.replace(&kind(), server_name)),
            Some("er.matcher_tree.input.typed_config: "),
        ),
        (
            matcher(&format!("on_no_match: {{ {text} }}")),
            Some("er.on_no_match.action.typed_config: "),
        ),
        (matcher(&by_domain), Some("er.matcher_tree.custom_match: ")),
        (
            matcher(&tree(&kind(), "exact", &[], "")),
            Some("er.matcher_tree.exact_match_map.map: "),
        ),
        (
            format!("{}\n    {negotiates}", matches()),
            Some("es[1].transport_socket: "),
        ),
    ] {
        let cluster = cluster("one", &fields, "");
        let text = bootstrap(&[], "").replace("  listeners:\n", &format!("  clusters:\n{cluster}"));
        let text = text.replace("FILES", &files.folder().to_string_lossy());
        let ours = programs::refusal(&programs::ringway(), &text);
        match (place, &ours) {
            (None, None) => {}
            (Some(place), Some(said)) if said.contains(&format!("{path}{place}")) => {}
            _ => panic!("{fields}: {ours:?}"),
        }
        if let Some(envoy) = programs::envoy(test) {
            let theirs = programs::refusal(&envoy, &text);
            assert_eq!(theirs.is_some(), ours.is_some(), "{fields}: {theirs:?}");
        }
    }
}
