//! Dynamic forward proxies: requests whose hosts are looked up by a filter or
//! by their cluster, and what is answered where that fails.

use ringway_tests::bootstrap::Listener;
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::name_server::{NameServer, Reply};
use ringway_tests::observation::Ports;
use std::sync::LazyLock;

const TYPE: &str = "\"@type\": type.googleapis.com/envoy.extensions";

/// The caches, and what they say beside their name and their resolver.
const CACHES: &[(&str, &str)] = &[
    ("usual", ""),
    ("alone", ""),
    ("small", ", max_hosts: 1"),
    (
        "busy",
        ", dns_cache_circuit_breaker: { max_pending_requests: 0 }",
    ),
    ("hasty", ", dns_query_timeout: 0.2s"),
    (
        "prepared",
        ", preresolve_hostnames: [ { address: one.test, port_value: 7 }, \
         { address: nobody.test, port_value: 7 } ]",
    ),
];

/// Asked by all programs.
static SERVER: LazyLock<NameServer> = LazyLock::new(|| {
    let server = NameServer::start();
    for name in ["one.test", "two.test", "three.test", "four.test"] {
        server.set_addresses(name, &["127.0.0.1"]);
    }
    // Of zones that others keep, which the server is asked for all the same, but one.
    for name in ["localhost", "a.invalid", "onion", "a.onion"] {
        server.set_addresses(name, &["127.0.0.1"]);
    }
    server.set_addresses("several.test", &["127.0.0.1", "127.0.0.2"]);
    server.set_addresses("none.test", &[]);
    server.set("broken.test", Reply::Error(2));
    server.set("refused.test", Reply::Error(5));
    server.set("silent.test", Reply::Silence);
    server
});

fn cache(name: &str) -> String {
    let more = CACHES.iter().find(|(one, _)| *one == name);
    let (_, more) = more.expect("a cache of this name");
    // Names that do not change while cases run.
    format!(
        "dns_cache_config: {{ name: {name}, dns_lookup_family: V4_ONLY, dns_refresh_rate: 3600s, \
         {}{more} }}",
        SERVER.resolver()
    )
}

fn clusters(ports: Ports) -> String {
    let mut all = ringway_tests::bootstrap::cluster("origin", ports.origin, "");
    for (name, _) in CACHES {
        all += &format!(
            "- {{ name: {name}, lb_policy: CLUSTER_PROVIDED, cluster_type: {{ name: \
             envoy.clusters.dynamic_forward_proxy, typed_config: {{ \
             {TYPE}.clusters.dynamic_forward_proxy.v3.ClusterConfig, {} }} }} }}\n",
            cache(name)
        );
    }
    all
}

/// A filter for each cache but one, off unless a route turns it on.
fn manager() -> String {
    let mut text = format!(
        "http_filters:\n\
         - {{ name: said, typed_config: {{ {TYPE}.filters.http.set_filter_state.v3.Config }} }}\n\
         - {{ name: saying, disabled: true, typed_config: {{ \
         {TYPE}.filters.http.dynamic_forward_proxy.v3.FilterConfig, \
         allow_dynamic_host_from_filter_state: true, {} }} }}\n",
        cache("usual")
    );
    for (name, _) in CACHES.iter().filter(|(name, _)| *name != "alone") {
        text += &format!(
            "- {{ name: {name}, disabled: {}, typed_config: {{ \
             {TYPE}.filters.http.dynamic_forward_proxy.v3.FilterConfig, {} }} }}\n",
            *name != "usual",
            cache(name)
        );
    }
    text + &format!(
        "- {{ name: router, typed_config: {{ {TYPE}.filters.http.router.v3.Router }} }}\n"
    )
}

fn hosts() -> String {
    let rewrite = |more: &str| {
        format!(
            "typed_per_filter_config: {{ usual: {{ \
             {TYPE}.filters.http.dynamic_forward_proxy.v3.PerRouteConfig{more} }} }}"
        )
    };
    let object = |key: &str, header: &str| {
        format!(
            "{{ object_key: envoy.upstream.dynamic_{key}, skip_if_empty: true, format_string: {{ \
             omit_empty_values: true, text_format_source: {{ inline_string: \"%REQ({header})%\" }} }} }}"
        )
    };
    let objects = format!(
        "said: {{ {TYPE}.filters.http.set_filter_state.v3.Config, on_request_headers: [ {}, {} ] }}",
        object("host", "x-host"),
        object("port", "x-port")
    );
    let switched = |name: &str, how: &str| {
        format!(
            "{name}: {{ \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, {how} }}"
        )
    };
    let mut routes = vec![
        format!("match: {{ path: /said }}, route: {{ cluster: usual }}, typed_per_filter_config: {{ {objects} }}"),
        format!(
            "match: {{ path: /said_first }}, route: {{ cluster: usual }}, typed_per_filter_config: {{ {objects}, {}, {} }}",
            switched("saying", "config: {}"),
            switched("usual", "disabled: true")
        ),
        format!("match: {{ path: /literal }}, route: {{ cluster: usual }}, {}", rewrite(", host_rewrite_literal: one.test")),
        format!("match: {{ path: /header }}, route: {{ cluster: usual }}, {}", rewrite(", host_rewrite_header: x-where")),
        format!("match: {{ path: /neither }}, route: {{ cluster: usual }}, {}", rewrite("")),
        "match: { path: /elsewhere }, route: { cluster: origin }".to_owned(),
        "match: { path: /nowhere }, route: { cluster: nothing }".to_owned(),
        "match: { path: /direct }, direct_response: { status: 200 }".to_owned(),
        "match: { path: /rewritten }, route: { cluster: usual, host_rewrite_literal: one.test }".to_owned(),
        "match: { path: /named }, route: { cluster: usual, auto_host_rewrite: true }".to_owned(),
        "match: { path: /retry }, route: { cluster: usual, timeout: 0s, retry_policy: { retry_on: \"5xx\", num_retries: 2, retry_back_off: { base_interval: 0.001s } } }".to_owned(),
        "match: { path: /mirror }, route: { cluster: origin, request_mirror_policies: [ { cluster: usual } ] }".to_owned(),
    ];
    for (name, _) in CACHES {
        let on = |name: &str| {
            format!(
                "typed_per_filter_config: {{ {name}: {{ \"@type\": \
                 type.googleapis.com/envoy.config.route.v3.FilterConfig, config: {{}} }} }}"
            )
        };
        if !["usual", "alone"].contains(name) {
            routes.push(format!(
                "match: {{ path: /filtered/{name} }}, route: {{ cluster: {name} }}, {}",
                on(name)
            ));
        }
        routes.push(format!(
            "match: {{ path: /{name} }}, route: {{ cluster: {name} }}"
        ));
    }
    let routes: Vec<_> = routes
        .iter()
        .map(|route| format!("  - {{ {route} }}\n"))
        .collect();
    format!(
        "- name: all\n  domains: [\"*\"]\n  routes:\n{}",
        routes.concat()
    )
}

/// Requests of which filters say where they go.
fn said() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in ["/said", "/said_first"] {
        for (name, host, said) in [
            ("nothing", "one.test:{ORIGIN}", ""),
            (
                "a host",
                "one.test:{REFUSED}",
                "x-host: two.test:{ORIGIN}\r\n",
            ),
            (
                "a host and a port",
                "one.test:{REFUSED}",
                "x-host: two.test\r\nx-port: {ORIGIN}\r\n",
            ),
            ("a port", "one.test", "x-port: {ORIGIN}\r\n"),
            (
                "a port beside another",
                "one.test:{ORIGIN}",
                "x-port: {REFUSED}\r\n",
            ),
            ("a port of none", "one.test:{ORIGIN}", "x-port: 0\r\n"),
            (
                "a port that is none",
                "one.test:{ORIGIN}",
                "x-port: 70000\r\n",
            ),
            ("a bad port", "one.test:{ORIGIN}", "x-port: x\r\n"),
            (
                "an address",
                "one.test:{REFUSED}",
                "x-host: 127.0.0.1:{ORIGIN}\r\n",
            ),
            (
                "a host that is not known",
                "one.test:{ORIGIN}",
                "x-host: nobody.test:{ORIGIN}\r\n",
            ),
            (
                "a host instead of one that is not known",
                "nobody.test:{ORIGIN}",
                "x-host: one.test:{ORIGIN}\r\n",
            ),
        ] {
            let sent = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{said}\r\n");
            let name = format!("said {path}: {name}").leak();
            cases.push(case(name, "proxy", sent));
        }
    }
    cases
}

fn cases() -> Vec<Case> {
    let get = |path: &str, host: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{more}\r\n")
    };
    let to = |name, path, host| case(name, "proxy", get(path, host, ""));
    vec![
        to("a name", "/usual", "one.test:{ORIGIN}"),
        to("a name again", "/usual", "one.test:{ORIGIN}"),
        to("another name", "/usual", "two.test:{ORIGIN}"),
        to("another port", "/usual", "one.test:{REFUSED}"),
        to("no port", "/usual", "three.test"),
        to("large letters", "/usual", "ONE.test:{ORIGIN}"),
        to("several addresses", "/usual", "several.test:{ORIGIN}"),
        to("an address", "/usual", "127.0.0.1:{ORIGIN}"),
        to("an address again", "/usual", "127.0.0.1:{ORIGIN}"),
        to("an address that refuses", "/usual", "127.0.0.1:{REFUSED}"),
        to("an address of the other family", "/usual", "[::1]:{ORIGIN}"),
        to("zeros before a port", "/usual", "two.test:0007"),
        to("zeros again", "/usual", "two.test:0007"),
        to("more zeros", "/usual", "two.test:0000000007"),
        to("no zeros", "/usual", "two.test:7"),
        to("zeros before a new port", "/usual", "four.test:0007"),
        to("zeros without the filter", "/alone", "two.test:0007"),
        to("zeros alone", "/usual", "one.test:00000"),
        to("brackets", "/usual", "[127.0.0.1]:{ORIGIN}"),
        to(
            "brackets without the filter",
            "/alone",
            "[127.0.0.1]:{ORIGIN}",
        ),
        to("brackets and zeros", "/usual", "[127.0.0.1]:0000007"),
        to("brackets without port", "/usual", "[127.0.0.1]"),
        to("a name of this machine", "/usual", "x.localhost:{ORIGIN}"),
        to("large letters of it", "/alone", "Y.X.LocalHost:{ORIGIN}"),
        to("a dot behind it", "/usual", "localhost.:{ORIGIN}"),
        to(
            "an unknown one with a dot",
            "/usual",
            "x.localhost.:{ORIGIN}",
        ),
        to("nobody's zone", "/usual", "a.invalid:{ORIGIN}"),
        to("a hidden zone", "/usual", "onion:{ORIGIN}"),
        to("a hidden name", "/usual", "a.onion:{ORIGIN}"),
        case(
            "a target with zeros and brackets",
            "proxy",
            "GET http://[127.0.0.1]:007/usual HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        to("a name that is not known", "/usual", "nobody.test:{ORIGIN}"),
        to(
            "a name that is not known again",
            "/usual",
            "nobody.test:{ORIGIN}",
        ),
        to("a name without addresses", "/usual", "none.test:{ORIGIN}"),
        to("a broken server", "/usual", "broken.test:{ORIGIN}"),
        to("a server that refuses", "/usual", "refused.test:{ORIGIN}"),
        to("a bad name", "/usual", "a..b:{ORIGIN}"),
        to(
            "a long name",
            "/usual",
            &format!("{}.test:{{ORIGIN}}", "x".repeat(64)),
        ),
        case(
            "two requests",
            "proxy",
            get("/usual", "one.test:{ORIGIN}", ""),
        )
        .then(Step::Await(1))
        .then_send(get("/usual", "two.test:{ORIGIN}", ""))
        .answers(2),
        to("a literal of the route", "/literal", "nobody.test"),
        case(
            "a header",
            "proxy",
            get("/header", "nobody.test", "x-where: one.test:{ORIGIN}\r\n"),
        ),
        case(
            "a header twice",
            "proxy",
            get(
                "/header",
                "nobody.test",
                "x-where: one.test:{ORIGIN}\r\nx-where: b.test\r\n",
            ),
        ),
        to("no header", "/header", "one.test:{ORIGIN}"),
        to("a route that says nothing", "/neither", "one.test:{ORIGIN}"),
        to("another cluster", "/elsewhere", "nobody.test"),
        to("no cluster", "/nowhere", "nobody.test"),
        to("a direct answer", "/direct", "nobody.test"),
        to(
            "a host that the route rewrites",
            "/rewritten",
            "two.test:{ORIGIN}",
        ),
        to("a host that is named", "/named", "one.test:{ORIGIN}"),
        to("retries", "/retry", "one.test:{REFUSED}"),
        to("retries of nobody", "/retry", "nobody.test:{ORIGIN}"),
        to("a mirror", "/mirror", "one.test:{REFUSED}"),
        to("without the filter", "/alone", "one.test:{ORIGIN}"),
        to("without the filter again", "/alone", "one.test:{ORIGIN}"),
        to(
            "without the filter unknown",
            "/alone",
            "nobody.test:{ORIGIN}",
        ),
        to(
            "without the filter unknown again",
            "/alone",
            "nobody.test:{ORIGIN}",
        ),
        to(
            "without the filter broken",
            "/alone",
            "broken.test:{ORIGIN}",
        ),
        to("one name", "/filtered/small", "one.test:{ORIGIN}"),
        to("one name too many", "/filtered/small", "two.test:{ORIGIN}"),
        to("the one name again", "/filtered/small", "one.test:{ORIGIN}"),
        to(
            "one name too many for the cluster",
            "/small",
            "one.test:{REFUSED}",
        ),
        to("nobody may wait", "/filtered/busy", "one.test:{ORIGIN}"),
        to(
            "a look-up that takes too long",
            "/filtered/hasty",
            "silent.test:{ORIGIN}",
        ),
        to(
            "a look-up that took too long",
            "/filtered/hasty",
            "silent.test:{ORIGIN}",
        ),
        to("a prepared name", "/filtered/prepared", "one.test:7"),
        to(
            "a prepared name that is not known",
            "/filtered/prepared",
            "nobody.test:7",
        ),
        case(
            "a body",
            "proxy",
            "POST /usual HTTP/1.1\r\nhost: four.test:{ORIGIN}\r\ncontent-length: 5\r\n\r\nhello",
        ),
    ]
}

/// Forward proxies compared with the real Envoy.
#[test]
fn forward_proxy() {
    // What listeners are made of lives as long as the process.
    let listener = Listener {
        name: "proxy",
        manager: manager().leak(),
        hosts: hosts().leak(),
    };
    Comparison {
        suite: Suite::Routing("forward_proxy"),
        listeners: Box::leak(Box::new([listener])),
        clusters,
        cases: || cases().into_iter().chain(said()).collect(),
    }
    .run("forward_proxy");
}
