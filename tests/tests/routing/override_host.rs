//! Requests that ask for hosts by their addresses (the policy `override_host`):
//! where they may say so, which hosts they may have, and what becomes of their
//! other tries.

use std::fmt::Write as _;

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::answer;
use ringway_tests::programs;

const LISTENERS: &[Listener] = &[Listener {
    name: "asking",
    manager: r#"
http_filters:
- name: metadata
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config
    request_rules:
    - header: x-meta
      on_header_present: { metadata_namespace: dst, key: there, type: STRING }
    - header: x-number
      on_header_present: { metadata_namespace: dst, key: there, type: NUMBER }
    - header: x-beside
      on_header_present: { metadata_namespace: dst, key: beside, type: STRING }
- name: router
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
access_log:
- name: file
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
    path: "{DIR}/asking.log"
    log_format:
      text_format_source:
        inline_string: "code=%RESPONSE_CODE%\tflags=%RESPONSE_FLAGS%\tdetails=%RESPONSE_CODE_DETAILS%\tcluster=%UPSTREAM_CLUSTER%\thost=%UPSTREAM_HOST%\thostname=%UPSTREAM_HOST_NAME%\tattempts=%UPSTREAM_REQUEST_ATTEMPT_COUNT%\tfailure=%UPSTREAM_TRANSPORT_FAILURE_REASON%\tmetadata=%DYNAMIC_METADATA(dst)%\n"
"#,
    hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - match: { path: /retry }
    route:
      cluster: both
      timeout: 0s
      retry_policy: { retry_on: "5xx", num_retries: 3, retry_back_off: { base_interval: 0.001s } }
  - match: { path: /retry/previous }
    route:
      cluster: header
      timeout: 0s
      retry_policy:
        retry_on: 5xx
        num_retries: 2
        retry_back_off: { base_interval: 0.001s }
        retry_host_predicate:
        - name: previous
          typed_config: { "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate }
        host_selection_retry_max_attempts: 3
  - match: { path: /retry/aggregate }
    route:
      cluster: aggregate
      timeout: 0s
      retry_policy: { retry_on: "5xx", num_retries: 2, retry_back_off: { base_interval: 0.001s } }
  - match: { path: /redirect }
    route:
      cluster: both
      timeout: 0s
      internal_redirect_policy: { max_internal_redirects: 2 }
      retry_policy: { retry_on: "5xx", num_retries: 1, retry_back_off: { base_interval: 0.001s } }
  - match: { path: /mirror }
    route:
      cluster: origin
      request_mirror_policies: [ { cluster: mirrored } ]
  - match: { path: /mirror/aggregate }
    route:
      cluster: origin
      request_mirror_policies: [ { cluster: aggregate-mirrored } ]
  - match: { path: /added }
    request_headers_to_add:
    - { header: { key: x-to, value: "[::1]:1" } }
    - { header: { key: x-selected, value: "%DYNAMIC_METADATA(dst:selected)%" } }
    route: { cluster: both }
  - match: { path: /removed }
    request_headers_to_remove: [ x-to ]
    route: { cluster: header }
  - match: { path: /answered }
    response_headers_to_add:
    - { header: { key: x-selected, value: "%DYNAMIC_METADATA(dst:selected)%" } }
    route: { cluster: both }
  - match: { path: /name }
    route: { cluster: header, auto_host_rewrite: true }
  - match: { path: /subset }
    route: { cluster: subset, metadata_match: { filter_metadata: { envoy.lb: { stage: prod } } } }
  - match: { prefix: / }
    route: { cluster_header: x-cluster }
"#,
}];

/// A list of one policy, in flow style.
fn policy(name: &str, fields: &str) -> String {
    format!(
        "{{ policies: [ {{ typed_extension_config: {{ name: p, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.load_balancing_policies.{name}, {fields} }} }} }} ] }}"
    )
}

const HEADER: &str = "{ header: X-To }";
const METADATA: &str = "{ metadata: { key: dst, path: [ { key: there } ] } }";
const SELECTED: &str = "selected_host_key: { key: dst, path: [ { key: selected } ] }, ";

/// The policy, with what it falls back to.
fn override_host(sources: &str, more: &str, fallback: &str) -> String {
    policy(
        "override_host.v3.OverrideHost",
        &format!("override_host_sources: [ {sources} ], {more}fallback_policy: {fallback}"),
    )
}

/// A host; `more` are fields of the endpoint, `beside` are fields beside it.
fn host(address: &str, port: u16, more: &str, beside: &str) -> String {
    format!(
        "{{ endpoint: {{ address: {{ socket_address: {{ address: \"{address}\", port_value: {port} \
         }} }}{more} }}{beside} }}"
    )
}

/// Nobody goes to priority 1 who does not ask for it.
fn hosts(ports: Ports, name: &str) -> String {
    let ports = match name {
        // Nobody can say which of two requests comes first to an origin.
        "mirrored" => Ports {
            origin: ports.mirror,
            mirror: ports.origin,
            ..ports
        },
        _ => ports,
    };
    let first = host("127.0.0.1", ports.origin, ", hostname: first", "");
    let others = [
        host("127.0.0.1", ports.mirror, ", hostname: mirror", ""),
        host("127.0.0.1", ports.refused, "", ""),
        host("127.0.0.1", ports.origin, ", hostname: second", ""),
        host("127.0.0.2", ports.refused, "", ", health_status: UNHEALTHY"),
        host("127.0.0.3", ports.refused, "", ", health_status: DRAINING"),
        host("::1", 1, "", ""),
        "{ endpoint: { address: { pipe: { path: /nowhere/socket } } } }".to_owned(),
    ];
    format!(
        "load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {first} ] }}, \
         {{ priority: 1, lb_endpoints: [ {} ] }} ] }}",
        others.join(", ")
    )
}

fn clusters(ports: Ports) -> String {
    let mut all = cluster("origin", ports.origin, "");
    let random = policy("random.v3.Random", "");
    let both = format!("{HEADER}, {METADATA}");
    let subset = policy(
        "subset.v3.Subset",
        &format!("subset_selectors: [ {{ keys: [ stage ] }} ], subset_lb_policy: {random}"),
    );
    for (name, policy) in [
        ("header", override_host(HEADER, "", &random)),
        ("mirrored", override_host(HEADER, "", &random)),
        ("metadata", override_host(METADATA, "", &random)),
        ("both", override_host(&both, SELECTED, &random)),
        (
            "turned",
            override_host(&format!("{METADATA}, {HEADER}"), "", &random),
        ),
        (
            "authority",
            override_host("{ header: \":authority\" }", "", &random),
        ),
        (
            "deep",
            override_host(
                "{ metadata: { key: dst, path: [ { key: there }, { key: deeper } ] } }",
                "selected_host_key: { key: dst, path: [ { key: a }, { key: b } ] }, ",
                &random,
            ),
        ),
        (
            "onto",
            override_host(
                METADATA,
                "selected_host_key: { key: dst, path: [ { key: there }, { key: b } ] }, ",
                &random,
            ),
        ),
        ("subset", override_host(HEADER, SELECTED, &subset)),
        (
            "ring",
            override_host(
                HEADER,
                "",
                &policy("ring_hash.v3.RingHash", "minimum_ring_size: 64"),
            ),
        ),
    ] {
        let _ = writeln!(
            all,
            "- {{ name: {name}, type: STATIC, connect_timeout: 2s, load_balancing_policy: {policy}, \
             {} }}",
            hosts(ports, name)
        );
    }
    let unhealthy = host("127.0.0.1", ports.origin, "", ", health_status: UNHEALTHY");
    for (name, endpoints) in [
        ("unhealthy", format!("{{ lb_endpoints: [ {unhealthy} ] }}")),
        ("empty", String::new()),
    ] {
        let _ = writeln!(
            all,
            "- {{ name: {name}, type: STATIC, common_lb_config: {{ healthy_panic_threshold: {{ \
             value: 0 }}, override_host_status: {{ statuses: [ HEALTHY ] }} }}, \
             load_balancing_policy: {}, load_assignment: {{ cluster_name: {name}, endpoints: [ \
             {endpoints} ] }} }}",
            override_host(HEADER, SELECTED, &random)
        );
    }
    for (name, of) in [("aggregate", "both"), ("aggregate-mirrored", "mirrored")] {
        let _ = writeln!(
            all,
            "- {{ name: {name}, lb_policy: CLUSTER_PROVIDED, cluster_type: {{ name: a, \
             typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig, clusters: [ \
             {of} ] }} }} }}"
        );
    }
    all
}

fn get(cluster: &str, headers: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: a\r\nx-cluster: {cluster}\r\n{headers}\r\n")
}

fn at(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
}

const FAILED: &str = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
const MIRROR: &str = "x-to: 127.0.0.1:{MIRROR}\r\n";

fn cases() -> Vec<Case> {
    let to = |name, cluster, headers: &str| case(name, "asking", get(cluster, headers));
    let on = |name, path, headers: &str| case(name, "asking", at(path, headers));
    let header = |value: &str| format!("x-to: {value}\r\n");
    let mut all = vec![
        to("nobody asks", "header", ""),
        to("host", "header", MIRROR),
        to("host again", "header", MIRROR),
        to(
            "host that does not listen",
            "header",
            &header("127.0.0.1:{REFUSED}"),
        ),
        to(
            "host twice in the cluster",
            "header",
            &header("127.0.0.1:{ORIGIN}"),
        ),
        to("host of IPv6", "header", &header("[::1]:1")),
        to("host by its path", "header", &header("/nowhere/socket")),
        to("unhealthy host", "header", &header("127.0.0.2:{REFUSED}")),
        to("draining host", "header", &header("127.0.0.3:{REFUSED}")),
        to("another header", "header", "x-from: 127.0.0.1:{MIRROR}\r\n"),
        to(
            "header in capitals",
            "header",
            "X-TO: 127.0.0.1:{MIRROR}\r\n",
        ),
        to("header empty", "header", &header("")),
        to("header of commas", "header", &header(" , ,,")),
        to("header twice", "header", &(header("127.0.0.9:1") + MIRROR)),
        to(
            "list, and the first is there",
            "header",
            &header("127.0.0.1:{MIRROR},127.0.0.1:{REFUSED}"),
        ),
        to(
            "list, and the last is there",
            "header",
            &header("127.0.0.9:1, rubbish ,, \t127.0.0.1:{MIRROR} "),
        ),
        to(
            "list of strangers",
            "header",
            &header("127.0.0.9:1,127.0.0.8:1"),
        ),
        to("two requests", "header", MIRROR)
            .then(Step::Await(1))
            .then_send(get("header", ""))
            .answers(2),
        to("metadata", "metadata", "x-meta: 127.0.0.1:{MIRROR}\r\n"),
        to(
            "metadata where a header is meant",
            "header",
            "x-meta: 127.0.0.1:{MIRROR}\r\n",
        ),
        to("metadata not text", "metadata", "x-number: 17\r\n"),
        to(
            "metadata too shallow",
            "deep",
            "x-meta: 127.0.0.1:{MIRROR}\r\n",
        ),
        to(
            "metadata lists",
            "metadata",
            "x-meta: 127.0.0.9:1, 127.0.0.1:{MIRROR}\r\n",
        ),
        to("selected host", "both", MIRROR),
        to(
            "selected host of nobody's wish",
            "both",
            "x-beside: yes\r\n",
        ),
        to(
            "selected host inside of a struct",
            "deep",
            "x-beside: yes\r\n",
        ),
        to(
            "selected host in the place of the wish",
            "onto",
            "x-meta: 127.0.0.1:{MIRROR}\r\n",
        ),
        to(
            "both, and the header first",
            "both",
            &(header("127.0.0.1:{REFUSED}") + "x-meta: 127.0.0.1:{MIRROR}\r\n"),
        ),
        to(
            "both, and the header is wrong",
            "both",
            &(header("127.0.0.9:1") + "x-meta: 127.0.0.1:{MIRROR}\r\n"),
        ),
        to(
            "both, and the metadata first",
            "turned",
            &(header("127.0.0.1:{REFUSED}") + "x-meta: 127.0.0.1:{MIRROR}\r\n"),
        ),
        case(
            "authority",
            "asking",
            "GET / HTTP/1.1\r\nhost: 127.0.0.1:{MIRROR}\r\nx-cluster: authority\r\n\r\n",
        ),
        to("subset that there is not", "subset", ""),
        on("subset that there is not, by the route", "/subset", ""),
        on("host whatever the subset", "/subset", MIRROR),
        to("ring", "ring", MIRROR),
        to("all unhealthy", "unhealthy", ""),
        to(
            "asked for although unhealthy",
            "unhealthy",
            &header("127.0.0.1:{ORIGIN}"),
        ),
        to("no hosts", "empty", &header("127.0.0.1:{ORIGIN}")),
        to("aggregate", "aggregate", MIRROR),
        to("aggregate, and nobody asks", "aggregate", ""),
        on(
            "retry of a host that refuses",
            "/retry",
            &header("127.0.0.1:{REFUSED}"),
        ),
        on(
            "retries go on in the list",
            "/retry",
            &header("127.0.0.1:{REFUSED},127.0.0.9:1,[::1]:1,127.0.0.1:{MIRROR}"),
        ),
        on(
            "retries go on to the metadata",
            "/retry",
            &(header("127.0.0.1:{REFUSED}") + "x-meta: /nowhere/socket, 127.0.0.1:{MIRROR}\r\n"),
        ),
        on(
            "more tries than hosts",
            "/retry",
            &header("127.0.0.1:{REFUSED},[::1]:1"),
        )
        .answer(FAILED),
        on(
            "the same host twice",
            "/retry",
            &header("127.0.0.1:{MIRROR},127.0.0.1:{MIRROR}"),
        )
        .mirror(answer(FAILED)),
        on("retry of an answer", "/retry", MIRROR).mirror(answer(FAILED)),
        on(
            "predicates do not matter",
            "/retry/previous",
            &header("127.0.0.1:{MIRROR},127.0.0.1:{MIRROR},127.0.0.1:{MIRROR}"),
        )
        .mirror(answer(FAILED)),
        on(
            "predicates matter to the fallback",
            "/retry/previous",
            &header("127.0.0.1:{REFUSED}"),
        ),
        on(
            "retries in an aggregate",
            "/retry/aggregate",
            &header("127.0.0.1:{REFUSED},127.0.0.1:{MIRROR}"),
        ),
        on(
            "a redirected request asks anew",
            "/redirect",
            &header("127.0.0.1:{MIRROR},127.0.0.1:{REFUSED}"),
        )
        .mirror(answer(
            "HTTP/1.1 302 Found\r\nlocation: http://a/redirect\r\nconnection: close\r\n\
             content-length: 0\r\n\r\n",
        )),
        on("mirror", "/mirror", &header("127.0.0.1:{REFUSED}")),
        on("mirror of nobody's wish", "/mirror", ""),
        on(
            "mirror by metadata",
            "/mirror",
            "x-meta: 127.0.0.1:{REFUSED}\r\n",
        ),
        on(
            "mirror to an aggregate",
            "/mirror/aggregate",
            &header("127.0.0.1:{REFUSED}"),
        ),
        on("header that the route adds", "/added", ""),
        on("header that the route adds to another", "/added", MIRROR),
        on("header that the route removes", "/removed", MIRROR),
        on("selected host in the response", "/answered", MIRROR),
        on("name of the host", "/name", MIRROR),
    ];
    let written = [
        "[::1]:01",
        "[::1]:+1",
        "127.0.0.01:{MIRROR}",
        "127.0.0.1",
        "[127.0.0.1]:{MIRROR}",
        "127.0.0.1:{MIRROR}x",
        "[::1]: 1",
        "http://127.0.0.1:{MIRROR}",
        "localhost:{MIRROR}",
        "127.0.0.1:{MIRROR};127.0.0.1:{REFUSED}",
        "[0::1]:1",
        "[0:0:0:0:0:0:0:1]:1",
        "::1:1",
        "\"127.0.0.1:{MIRROR}\"",
    ];
    all.extend(written.map(|value| to(value, "header", &header(value))));
    all
}

/// Requests for hosts compared with the real Envoy.
#[test]
fn override_host_compared() {
    Comparison {
        suite: Suite::Routing("override_host"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("override_host_compared");
}

/// Policies that are refused, whether Envoy refuses them, too, and what we say.
fn refused() -> Vec<(String, bool, &'static str)> {
    let random = &policy("random.v3.Random", "");
    let of = |fields: &str| policy("override_host.v3.OverrideHost", fields);
    let sources = |sources: &str| override_host(sources, "", random);
    let falling = |fallback: &str| override_host(HEADER, "", fallback);
    vec![
        (
            of(&format!("override_host_sources: [ {HEADER} ]")),
            true,
            "fallback_policy",
        ),
        (
            of(&format!("fallback_policy: {random}")),
            true,
            "override_host_sources",
        ),
        (sources(""), true, "override_host_sources"),
        (
            sources("{}"),
            true,
            "override_host_sources[0]: says neither a header nor metadata",
        ),
        (
            sources("{ header: a, metadata: { key: b, path: [ { key: c } ] } }"),
            true,
            "override_host_sources[0]: cannot be both a header and metadata",
        ),
        (
            sources(&format!("{HEADER}, {{ header: \"\" }}")),
            true,
            "override_host_sources[1]: says neither a header nor metadata",
        ),
        (
            sources("{ header: \"a\\nb\" }"),
            true,
            "override_host_sources[0].header",
        ),
        (
            sources("{ metadata: { key: \"\", path: [ { key: c } ] } }"),
            true,
            "override_host_sources[0].metadata.key",
        ),
        (
            sources("{ metadata: { key: a } }"),
            true,
            "override_host_sources[0].metadata.path",
        ),
        (
            override_host(HEADER, "selected_host_key: { key: a, path: [] }, ", random),
            true,
            "selected_host_key.path",
        ),
        (
            falling("{ policies: [] }"),
            true,
            "fallback_policy: none of these policies is known",
        ),
        (
            falling(
                &policy("override_host.v3.OverrideHost", "").replace("override_host.v3", "x.v3"),
            ),
            true,
            "fallback_policy.policies[0].typed_extension_config.typed_config.@type: unknown type",
        ),
        (
            falling(&policy("maglev.v3.Maglev", "table_size: 10")),
            true,
            "fallback_policy.policies[0].typed_extension_config.typed_config.table_size",
        ),
        (
            falling(&falling(random)),
            false,
            "fallback_policy: an override_host policy inside of another one is not supported",
        ),
        (
            policy(
                "subset.v3.Subset",
                &format!(
                    "subset_selectors: [ {{ keys: [ a ] }} ], subset_lb_policy: {}",
                    falling(random)
                ),
            ),
            false,
            "subset_lb_policy: an override_host policy inside of subsets is not supported",
        ),
    ]
}

/// Policies that cannot work are refused by path, as far as Envoy refuses them
/// by it, too.
#[test]
fn override_host_refusals() {
    let envoy = programs::envoy("override_host_refusals");
    for (policy, envoy_refuses, said) in refused() {
        let text = format!(
            "static_resources:\n  clusters:\n  - {{ name: c, load_balancing_policy: {policy} }}\n"
        );
        let ours = programs::refusal(&programs::ringway(), &text);
        let ours = ours.unwrap_or_else(|| panic!("taken: {text}"));
        assert!(ours.contains(said), "{text}\n{ours}");
        if let Some(envoy) = &envoy {
            let theirs = programs::refusal(envoy, &text);
            assert_eq!(theirs.is_some(), envoy_refuses, "{text}\n{theirs:?}");
        }
    }
}
