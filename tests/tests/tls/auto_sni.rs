//! Names of TLS that requests say (`UpstreamHttpProtocolOptions`): which name a host
//! is asked for and has to prove, and which requests share a connection.

use std::net::SocketAddr;
use std::process::Command;

use super::files::Files;
use super::{
    all_alike, certificate, client_tls, cluster, listener_with, log_of, moved, server_tls, start,
};
use ringway_tests::name_server::NameServer;
use ringway_tests::process::{Process, Program};
use ringway_tests::programs;

const TRUST: &str =
    "common_tls_context: { validation_context: { trusted_ca: { filename: FILES/ca.pem } } }";

/// Clusters: their name, what requests say of TLS, and what the cluster does.
const CLUSTERS: &[(&str, &str, &str)] = &[
    ("sni", "auto_sni: true", "OURS"),
    ("fixed", "auto_sni: true", "OURS, sni: fixed.test"),
    ("both", "auto_sni: true, auto_san_validation: true", "OURS"),
    ("san", "auto_san_validation: true", "OURS, sni: q.b.test"),
    (
        "untrusting",
        "auto_sni: true, auto_san_validation: true",
        "common_tls_context: {}",
    ),
    (
        "particular",
        "auto_sni: true, auto_san_validation: true",
        "common_tls_context: { validation_context: { trusted_ca: { filename: FILES/ca.pem }, match_typed_subject_alt_names: [ { san_type: URI, matcher: { exact: \"spiffe://no\" } } ] } }",
    ),
    (
        "lenient",
        "auto_sni: true, auto_san_validation: true",
        "common_tls_context: { validation_context: { trusted_ca: { filename: FILES/ca.pem }, trust_chain_verification: ACCEPT_UNTRUSTED } }",
    ),
    (
        "header",
        "auto_sni: true, auto_san_validation: true, override_auto_sni_header: X-Name",
        "OURS",
    ),
    ("host", "auto_sni: true", "OURS, auto_host_sni: true"),
    (
        "host_san",
        "auto_san_validation: true",
        "OURS, auto_host_sni: true, auto_sni_san_validation: true, sni: a.test",
    ),
    (
        "prove_sni",
        "auto_sni: true, auto_san_validation: true",
        "OURS, auto_sni_san_validation: true, sni: a.test",
    ),
    ("http2", "auto_sni: true, auto_san_validation: true", "OURS"),
];

/// Requests: the path, which begins with the cluster, the authority, and more headers.
const REQUESTS: &[(&str, &str, &[&str])] = &[
    ("/sni", "a.test", &[]),
    ("/sni", "x.test", &[]),
    ("/sni", "a.test", &[]),
    ("/sni", "A.Test:8080", &[]),
    ("/sni", "127.0.0.1", &[]),
    ("/sni", "[::1]:80", &[]),
    ("/sni", "under_score.test", &[]),
    ("/sni/rewritten", "a.test", &[]),
    ("/sni/retried", "a.test", &[]),
    ("/sni/of_host", "a.test", &[]),
    ("/fixed", "127.0.0.1", &[]),
    ("/fixed", "a.test", &[]),
    ("/both", "a.test", &[]),
    ("/both", "q.b.test:99", &[]),
    ("/both", "x.test", &[]),
    ("/both", "127.0.0.1", &[]),
    ("/san", "a.test", &[]),
    ("/san", "x.test", &[]),
    ("/untrusting", "a.test", &[]),
    ("/particular", "a.test", &[]),
    ("/particular", "x.test", &[]),
    ("/lenient", "x.test", &[]),
    ("/header", "x.test", &["x-name: a.test"]),
    ("/header", "a.test", &[]),
    ("/header", "a.test", &["x-name;"]),
    ("/header", "x.test", &["x-name: a.test", "x-name: x.test"]),
    ("/header", "x.test", &["x-name: a.test:44"]),
    ("/header", "a.test", &["x-name: x.test"]),
    ("/header/added", "x.test", &[]),
    ("/host", "a.test", &[]),
    ("/host", "127.0.0.1", &[]),
    ("/host_san", "a.test", &[]),
    ("/host_san", "x.test", &[]),
    ("/prove_sni", "a.test", &[]),
    ("/prove_sni", "x.test", &[]),
    ("/http2", "a.test", &[]),
    ("/http2", "q.b.test", &[]),
    ("/http2", "x.test", &[]),
    ("/http2", "a.test", &[]),
    ("/sni", "x.test", &["x-said-name: a.test"]),
    ("/sni", "x.test", &["x-said-name: a.test"]),
    ("/fixed", "x.test", &["x-said-name: a.test"]),
    ("/both", "x.test", &["x-said-name: a.test"]),
    ("/both", "x.test", &["x-said-names: no.test,a.test"]),
    ("/both", "a.test", &["x-said-names: no.test,none.test"]),
    (
        "/both",
        "x.test",
        &["x-said-names: a.test", "x-said-name: q.b.test"],
    ),
    ("/san", "x.test", &["x-said-names: a.test"]),
    ("/untrusting", "a.test", &["x-said-names: a.test"]),
    ("/sni", "a.test", &["x-said-protocols: none,other"]),
    (
        "/http2",
        "x.test",
        &["x-said-names: a.test", "x-said-name: a.test"],
    ),
];

/// A filter that leaves what headers say for connections to hosts.
fn said() -> String {
    let objects = [
        ("upstream_server_name", "x-said-name"),
        ("upstream_subject_alt_names", "x-said-names"),
        ("application_protocols", "x-said-protocols"),
    ];
    let objects = objects.map(|(key, header)| {
        format!(
            "{{ object_key: envoy.network.{key}, skip_if_empty: true, format_string: {{ \
             omit_empty_values: true, text_format_source: {{ inline_string: \"%REQ({header})%\" }} }} }}"
        )
    });
    format!(
        "          http_filters:\n          - {{ name: said, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config, \
         on_request_headers: [ {} ] }} }}\n",
        objects.join(", ")
    )
}

fn back(program: &Program, files: &Files) -> Process {
    let tls = format!(
        "common_tls_context: {{ tls_certificates: [ {} ] }}",
        certificate("server")
    );
    let log = "%REQ(:PATH)% sni=%REQUESTED_SERVER_NAME% host=%REQ(:AUTHORITY)%";
    let listener = listener_with("back", &server_tls(&tls), "", log, "");
    let inspector = "    listener_filters: [ { name: inspector, typed_config: { \"@type\": \
                     type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } } ]\n    filter_chains:";
    let listener = listener
        .replace("    filter_chains:", inspector)
        .replace("path: /direct", "prefix: /");
    start(program, files, &listener, "")
}

fn front(program: &Program, files: &Files, back: SocketAddr) -> Process {
    let mut routes = String::new();
    for (prefix, action) in [
        (
            "/sni/rewritten",
            "cluster: sni, host_rewrite_literal: rewritten.test",
        ),
        (
            "/sni/retried",
            "cluster: sni, host_rewrite_literal: rewritten.test, retry_policy: { retry_on: 5xx }",
        ),
        ("/sni/of_host", "cluster: sni, auto_host_rewrite: true"),
    ] {
        routes += &route(prefix, action, "");
    }
    let added = "request_headers_to_add: [ { header: { key: x-name, value: a.test } } ],";
    routes += &route("/header/added", "cluster: header", added);
    let mut clusters = String::new();
    for (name, options, context) in CLUSTERS {
        routes += &route(&format!("/{name}"), &format!("cluster: {name}"), "");
        let version = match *name {
            "http2" => "http2_protocol_options",
            _ => "http_protocol_options",
        };
        let more = format!(
            "{}\n    typed_extension_protocol_options: {{ \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
             explicit_http_config: {{ {version}: {{}} }}, \
             upstream_http_protocol_options: {{ {options} }} }} }}",
            client_tls(&context.replace("OURS", TRUST))
        );
        let text = cluster(name, back, &more);
        clusters += &text.replace(
            "endpoint: { address",
            "endpoint: { hostname: o.b.test, address",
        );
    }
    // The older form of the same.
    routes += &route("/older", "cluster: older", "");
    let more = format!(
        "{}\n    upstream_http_protocol_options: {{ auto_sni: true }}",
        client_tls(TRUST)
    );
    clusters += &cluster("older", back, &more);
    let log = "%REQ(:PATH)% %REQ(:AUTHORITY)% %RESPONSE_CODE% %RESPONSE_FLAGS% \
               %RESPONSE_CODE_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON%";
    let listener = listener_with("front", "name: plain", "", log, &routes);
    let listener = listener.replace("          http_filters:\n", &said());
    start(program, files, &listener, &clusters)
}

fn route(prefix: &str, action: &str, more: &str) -> String {
    format!("              - {{ match: {{ prefix: {prefix} }}, {more} route: {{ {action} }} }}\n")
}

fn get(front: SocketAddr, path: &str, host: &str, headers: &[&str]) -> String {
    let curl = programs::optional("tls", "curl").expect("curl, which every machine has");
    let mut command = Command::new(curl);
    command.args(["-s", "--max-time", "20", "-w", " %{http_code}"]);
    command.args(["-H", &format!("Host: {host}")]);
    for header in headers {
        command.args(["-H", header]);
    }
    let output = command.arg(format!("http://{front}{path}")).output();
    let output = output.expect("curl runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn requests_say_which_host_is_meant() {
    let test = "requests_say_which_host_is_meant";
    let files = Files::new();
    let Some(envoy) = programs::envoy(test) else {
        return;
    };
    all_alike(test, |program| {
        // One for each: its log tells what it was asked for.
        let back = back(&Program::Envoy(envoy.clone()), &files);
        let front = front(program, &files, back.listener("back"));
        let mut seen = String::new();
        let mut passed = 0;
        for (path, host, headers) in REQUESTS.iter().chain(&[("/older", "a.test", &[][..])]) {
            let got = get(front.listener("front"), path, host, headers);
            passed += usize::from(got == "hello 200");
            seen += &format!("{path} {host} {headers:?}: {got}\n");
        }
        seen += &log_of(&front, "front", REQUESTS.len() + 1);
        seen += &log_of(&back, "back", passed);
        for (name, value) in moved(&front) {
            seen += &format!("{name}: {value}\n");
        }
        for name in CLUSTERS.iter().map(|(name, ..)| *name).chain(["older"]) {
            let stat = format!("cluster.{name}.upstream_cx_total");
            seen += &format!("{stat}: {}\n", front.admin().stat(&stat));
        }
        seen
    });
}

/// A copy of a request says its own name, which is not the request's.
#[test]
fn mirrors_are_asked_for_their_own_name() {
    let test = "mirrors_are_asked_for_their_own_name";
    let files = Files::new();
    let Some(envoy) = programs::envoy(test) else {
        return;
    };
    all_alike(test, |program| {
        let back = back(&Program::Envoy(envoy.clone()), &files);
        let more = format!(
            "{}\n    upstream_http_protocol_options: {{ auto_sni: true }}",
            client_tls(TRUST)
        );
        let clusters = cluster("copies", back.listener("back"), &more)
            + &cluster("plain", back.listener("back"), &client_tls(TRUST));
        let routes = route(
            "/",
            "cluster: plain, request_mirror_policies: [ { cluster: copies } ]",
            "",
        );
        let listener = listener_with("front", "name: plain", "", "%RESPONSE_CODE%", &routes);
        let front = start(program, &files, &listener, &clusters);
        let got = get(front.listener("front"), "/", "a.test", &[]);
        let mut lines: Vec<String> = log_of(&back, "back", 2)
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        format!("{got}\n{}", lines.join("\n"))
    });
}

/// A dynamic forward proxy asks hosts for the names that they were found by, if
/// nobody says otherwise.
#[test]
fn a_forward_proxy_asks_for_the_name_that_it_has_looked_up() {
    let test = "a_forward_proxy_asks_for_the_name_that_it_has_looked_up";
    let files = Files::new();
    let Some(envoy) = programs::envoy(test) else {
        return;
    };
    let server = NameServer::start();
    let names = ["a.test", "q.b.test", "x.test"];
    for name in names {
        server.set_addresses(name, &["127.0.0.1"]);
    }
    // The ports of all runs have to be one: they are in what is logged.
    let back = back(&Program::Envoy(envoy), &files);
    let port = back.listener("back").port();
    all_alike(test, |program| {
        let cluster = format!(
            "  - name: proxy
    lb_policy: CLUSTER_PROVIDED
    {}
    cluster_type: {{ name: x, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: {{ name: names, dns_lookup_family: V4_ONLY, {} }} }} }}
",
            client_tls(TRUST),
            server.resolver()
        );
        let log = "%REQ(:AUTHORITY)% %RESPONSE_CODE% %RESPONSE_FLAGS% \
                   %UPSTREAM_TRANSPORT_FAILURE_REASON%";
        let routes = route("/", "cluster: proxy", "");
        let listener = listener_with("front", "name: plain", "", log, &routes);
        let front = start(program, &files, &listener, &cluster);
        let mut seen = String::new();
        for name in names.iter().chain(&names) {
            let host = format!("{name}:{port}");
            seen += &get(front.listener("front"), "/", &host, &[]);
        }
        seen += &log_of(&front, "front", 2 * names.len());
        seen + &format!("{:?}", moved(&front))
    });
    let log = log_of(&back, "back", 4);
    for name in ["a.test", "q.b.test"] {
        assert!(
            log.contains(&format!(" sni={name} host={name}:{port}\n")),
            "{log}"
        );
    }
}
