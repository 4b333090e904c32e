//! Clusters whose requests say where they go (`type: ORIGINAL_DST`): by a
//! header, by metadata, by filter state; and what becomes of those that do not.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;

const LISTENERS: &[Listener] = &[Listener {
    name: "asked",
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
- name: state
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config
    on_request_headers:
    - object_key: envoy.network.transport_socket.original_dst_address
      skip_if_empty: true
      format_string: { omit_empty_values: true, text_format_source: { inline_string: "%REQ(x-state)%" } }
- name: router
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
access_log:
- name: file
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
    path: "{DIR}/asked.log"
    log_format:
      text_format_source:
        inline_string: "code=%RESPONSE_CODE%\tflags=%RESPONSE_FLAGS%\tdetails=%RESPONSE_CODE_DETAILS%\tcluster=%UPSTREAM_CLUSTER%\thost=%UPSTREAM_HOST%\thostname=%UPSTREAM_HOST_NAME%\tattempts=%UPSTREAM_REQUEST_ATTEMPT_COUNT%\tfailure=%UPSTREAM_TRANSPORT_FAILURE_REASON%\tstate=%FILTER_STATE(envoy.network.transport_socket.original_dst_address:PLAIN)%\n"
"#,
    hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - match: { path: /retry }
    route:
      cluster: anywhere
      retry_policy:
        retry_on: connect-failure
        num_retries: 2
        retry_back_off: { base_interval: 0.001s }
        retry_host_predicate:
        - name: previous
          typed_config: { "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate }
        host_selection_retry_max_attempts: 3
  - match: { path: /retry/any }
    route:
      cluster: header
      timeout: 0s
      retry_policy: { retry_on: "5xx", num_retries: 2, retry_back_off: { base_interval: 0.001s } }
  - match: { path: /name }
    route: { cluster: header, auto_host_rewrite: true }
  - match: { path: /mirror }
    route:
      cluster: origin
      request_mirror_policies: [ { cluster: mirrored } ]
  - match: { path: /mutated }
    request_headers_to_add: [ { header: { key: x-envoy-original-dst-host, value: "127.0.0.9:1" } } ]
    route: { cluster: header }
  - match: { prefix: / }
    route: { cluster_header: x-cluster }
"#,
}];

fn clusters(ports: Ports) -> String {
    let mut all = cluster("origin", ports.origin, "");
    for (name, config) in [
        ("nothing", String::new()),
        ("anywhere", "use_http_header: true".to_owned()),
        (
            "header",
            format!(
                "use_http_header: true, upstream_port_override: {}",
                ports.origin
            ),
        ),
        (
            "mirrored",
            format!(
                "use_http_header: true, upstream_port_override: {}",
                ports.mirror
            ),
        ),
        (
            "named",
            format!(
                "use_http_header: true, http_header_name: X-Where, upstream_port_override: {}",
                ports.origin
            ),
        ),
        (
            "authority",
            format!(
                "use_http_header: true, http_header_name: \":authority\", \
                 upstream_port_override: {}",
                ports.origin
            ),
        ),
        (
            "metadata",
            format!(
                "metadata_key: {{ key: dst, path: [ {{ key: there }} ] }}, \
                 upstream_port_override: {}",
                ports.origin
            ),
        ),
        (
            "both",
            "use_http_header: true, metadata_key: { key: dst, path: [ { key: there } ] }"
                .to_owned(),
        ),
        (
            "deep",
            "metadata_key: { key: dst, path: [ { key: there }, { key: deeper } ] }".to_owned(),
        ),
    ] {
        all += &format!(
            "- {{ name: {name}, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, \
             cleanup_interval: 3600s, connect_timeout: 2s, original_dst_lb_config: {{ {config} }} }}\n"
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

fn cases() -> Vec<Case> {
    let to = |name, cluster, headers: &str| case(name, "asked", get(cluster, headers));
    let on = |name, path, headers: &str| case(name, "asked", at(path, headers));
    let header = |value: &str| format!("x-envoy-original-dst-host: {value}\r\n");
    vec![
        to("nobody says anything", "nothing", ""),
        to(
            "header that nobody asks for",
            "nothing",
            &header("127.0.0.1:1"),
        ),
        to("no header", "header", ""),
        to("header", "header", &header("127.0.0.1:1")),
        to("header again", "header", &header("127.0.0.1:1")),
        to("another address", "header", &header("127.0.0.2:1")),
        to(
            "header twice",
            "header",
            &(header("127.0.0.3:1") + &header("127.0.0.4:1")),
        ),
        to("two requests", "header", &header("127.0.0.1:1"))
            .then(Step::Await(1))
            .then_send(get("header", &header("127.0.0.1:1")))
            .answers(2),
        to(
            "header of another name",
            "named",
            "x-where: 127.0.0.1:1\r\n",
        ),
        to(
            "header of the default name",
            "named",
            &header("127.0.0.1:1"),
        ),
        case(
            "authority",
            "asked",
            "GET / HTTP/1.1\r\nhost: 127.0.0.1:7\r\nx-cluster: authority\r\n\r\n",
        ),
        case(
            "authority with zeros",
            "asked",
            "GET / HTTP/1.1\r\nhost: 127.0.0.1:0000007\r\nx-cluster: authority\r\n\r\n",
        ),
        case(
            "authority with brackets",
            "asked",
            "GET / HTTP/1.1\r\nhost: [127.0.0.1]:7\r\nx-cluster: authority\r\n\r\n",
        ),
        to("header empty", "header", &header("")),
        to("header without port", "header", &header("127.0.0.1")),
        to("header with an empty port", "header", &header("127.0.0.1:")),
        to(
            "header with a large port",
            "header",
            &header("127.0.0.1:65536"),
        ),
        to(
            "header with a negative port",
            "header",
            &header("127.0.0.1:-1"),
        ),
        to("header with a sign", "header", &header("127.0.0.1:+1")),
        to(
            "header with leading zeros",
            "header",
            &header("127.0.0.1:0001"),
        ),
        to("header with a name", "header", &header("localhost:1")),
        to("header with a path", "header", &header("/tmp/socket")),
        to("header with a short address", "header", &header("127.1:1")),
        to(
            "header with zeros in the address",
            "header",
            &header("127.0.0.01:1"),
        ),
        to("header with spaces", "header", &header("  127.0.0.1:1  ")),
        to(
            "header with inner spaces",
            "header",
            &header("127.0.0.1 :1"),
        ),
        to("header with brackets", "header", &header("[127.0.0.1]:1")),
        to(
            "header with a list",
            "header",
            &header("127.0.0.1:1,127.0.0.2:1"),
        ),
        to("IPv6 without brackets", "anywhere", &header("::1:1")),
        to("IPv6 without port", "anywhere", &header("[::1]")),
        to("IPv6 with rubbish", "anywhere", &header("[::1]x:1")),
        to("IPv6", "anywhere", &header("[::1]:1")),
        to("refused", "anywhere", &header("127.0.0.1:1")),
        to("port zero", "anywhere", &header("127.0.0.1:0")),
        to("metadata", "metadata", "x-meta: 127.0.0.1:1\r\n"),
        to(
            "metadata and header",
            "metadata",
            &(header("127.0.0.2:1") + "x-meta: 127.0.0.1:1\r\n"),
        ),
        to("no metadata", "metadata", &header("127.0.0.1:1")),
        to("metadata not an address", "metadata", "x-meta: here\r\n"),
        to("metadata not text", "metadata", "x-number: 17\r\n"),
        to("metadata too shallow", "deep", "x-meta: 127.0.0.1:1\r\n"),
        to(
            "both",
            "both",
            &(header("127.0.0.1:1") + "x-meta: 127.0.0.2:1\r\n"),
        ),
        to(
            "both with bad metadata",
            "both",
            &(header("127.0.0.1:1") + "x-meta: nowhere\r\n"),
        ),
        to("both bad", "both", &(header("here") + "x-meta: there\r\n")),
        to("state", "header", "x-state: 127.0.0.1:1\r\n"),
        to(
            "state where nobody asks",
            "nothing",
            "x-state: 127.0.0.1:1\r\n",
        ),
        to("state not an address", "header", "x-state: here\r\n"),
        to(
            "state before all",
            "both",
            &(header("127.0.0.1:1") + "x-meta: 127.0.0.2:1\r\nx-state: 127.0.0.3:1\r\n"),
        ),
        to("state of IPv6", "nothing", "x-state: [::1]:1\r\n"),
        on("retries", "/retry", &header("127.0.0.1:1")),
        on("retries of nobody", "/retry", ""),
        on("retry of an answer", "/retry/any", &header("127.0.0.1:1"))
            .answer("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"),
        on("name of the host", "/name", &header("127.0.0.1:1")),
        on("mirror", "/mirror", &header("127.0.0.1:1")),
        on("mirror nowhere", "/mirror", ""),
        on("header that the route adds", "/mutated", ""),
    ]
}

/// Destinations compared with the real Envoy.
#[test]
fn original_dst() {
    Comparison {
        suite: Suite::Routing("original_dst"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("original_dst");
}
