//! Configuration files from short descriptions of listeners.
//!
//! One process serves many cases: each listener has a connection manager, a
//! stat prefix and an access log of its own, all under the listener's name.

use std::fmt::Write as _;

/// A listener with its HTTP connection manager, in YAML.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// Its name, stat prefix and log file.
    pub name: &'static str,
    /// Fields of `HttpConnectionManager`, at the left margin. With
    /// `scoped_routes` it gets no `route_config`.
    pub manager: &'static str,
    /// A list of `VirtualHost`, at the left margin.
    pub hosts: &'static str,
}

/// Routes everything to the cluster `origin`.
pub const EVERYTHING_TO_ORIGIN: &str = r#"
- name: all
  domains: ["*"]
  routes:
  - match: { prefix: "/" }
    route: { cluster: origin }
"#;

/// Operators of the access log, each written as `name=value`; no ports, times
/// or other values that differ from run to run.
pub const LOG_OPERATORS: &[(&str, &str)] = &[
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("protocol", "%PROTOCOL%"),
    ("code", "%RESPONSE_CODE%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("long_flags", "%RESPONSE_FLAGS_LONG%"),
    ("termination", "%CONNECTION_TERMINATION_DETAILS%"),
    ("received", "%BYTES_RECEIVED%"),
    ("sent", "%BYTES_SENT%"),
    ("route", "%ROUTE_NAME%"),
    ("virtual_cluster", "%VIRTUAL_CLUSTER_NAME%"),
    ("cluster", "%UPSTREAM_CLUSTER%"),
    ("host", "%UPSTREAM_HOST%"),
    ("upstream_protocol", "%UPSTREAM_PROTOCOL%"),
    ("attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("failure", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("remote", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
    (
        "direct_remote",
        "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    ),
    ("xff", "%REQ(X-FORWARDED-FOR)%"),
    (
        "header_bytes_received",
        "%DOWNSTREAM_HEADER_BYTES_RECEIVED%",
    ),
    ("wire_bytes_received", "%DOWNSTREAM_WIRE_BYTES_RECEIVED%"),
    ("upstream_header_bytes_sent", "%UPSTREAM_HEADER_BYTES_SENT%"),
    (
        "upstream_header_bytes_received",
        "%UPSTREAM_HEADER_BYTES_RECEIVED%",
    ),
    ("upstream_wire_bytes_sent", "%UPSTREAM_WIRE_BYTES_SENT%"),
    (
        "upstream_wire_bytes_received",
        "%UPSTREAM_WIRE_BYTES_RECEIVED%",
    ),
];

/// Fields of a connection manager that does not set them.
const DEFAULTS: &[(&str, &str)] = &[
    // The default of a second would be waited for in every case that ends with
    // an error.
    ("delayed_close_timeout", "0.1s"),
    (
        "access_log",
        "[{ name: file, typed_config: { \
         \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
         path: \"{DIR}/{NAME}.log\", \
         log_format: { text_format_source: { inline_string: \"{FORMAT}\\n\" } } } }]",
    ),
    (
        "http_filters",
        "[{ name: router, typed_config: { \
         \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]",
    ),
];

fn log_format() -> String {
    let parts: Vec<_> = LOG_OPERATORS
        .iter()
        .map(|(name, operator)| format!("{name}={operator}"))
        .collect();
    parts.join("\\t")
}

/// A bootstrap with an admin server on a free port, these listeners on free
/// ports of 127.0.0.1, and `clusters`, a YAML list at the left margin.
#[must_use]
pub fn bootstrap(listeners: &[Listener], clusters: &str) -> String {
    let mut text = String::from(
        "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n\
         node: { id: test, cluster: test }\n\
         static_resources:\n  listeners:\n",
    );
    for listener in listeners {
        add_listener(&mut text, listener);
    }
    if !clusters.is_empty() {
        text.push_str("  clusters:\n");
        add_indented(&mut text, clusters, 2);
    }
    text
}

fn add_listener(text: &mut String, listener: &Listener) {
    let Listener {
        name,
        manager,
        hosts,
    } = listener;
    // The formatting of a string cannot fail.
    let _ = write!(
        text,
        r#"  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
"#
    );
    for (field, value) in DEFAULTS {
        if !manager.contains(&format!("{field}:")) {
            let value = value
                .replace("{NAME}", name)
                .replace("{FORMAT}", &log_format());
            let _ = writeln!(text, "          {field}: {value}");
        }
    }
    add_indented(text, manager, 10);
    if manager.contains("scoped_routes:") {
        return;
    }
    let _ = writeln!(
        text,
        "          route_config:\n            name: {name}\n            validate_clusters: false"
    );
    if !hosts.trim().is_empty() {
        text.push_str("            virtual_hosts:\n");
        add_indented(text, hosts, 12);
    }
}

fn add_indented(text: &mut String, part: &str, by: usize) {
    for line in part.lines().filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(text, "{:by$}{line}", "");
    }
}

/// A STATIC cluster with one endpoint on 127.0.0.1; `more` are fields of
/// `Cluster` in YAML, at the left margin.
#[must_use]
pub fn cluster(name: &str, port: u16, more: &str) -> String {
    let mut text = format!(
        "- name: {name}\n  \
           type: STATIC\n  \
           load_assignment:\n    \
             cluster_name: {name}\n    \
             endpoints:\n    \
             - lb_endpoints:\n      \
               - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}\n"
    );
    add_indented(&mut text, more, 2);
    text
}

/// A STATIC cluster without endpoints.
#[must_use]
pub fn empty_cluster(name: &str) -> String {
    format!("- name: {name}\n  type: STATIC\n  load_assignment: {{ cluster_name: {name} }}\n")
}
