//! Golden tests of lowering: a file in, the snapshot as compact text out;
//! and tables of mistakes with the exact place and words of each message.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use ringway_config::cluster::Cluster;
use ringway_config::core::Address;
use ringway_config::listener::{FilterChain, Listener};
use ringway_config::load::{Format, LoadOptions, load};
use ringway_config::load_balancing::policy_name;
use ringway_config::{Diagnostics, Snapshot, bootstrap};

fn lower(text: &str) -> Result<Snapshot, Diagnostics> {
    let options = LoadOptions::default();
    bootstrap::lower(&load(text, "f.yaml", Format::Yaml, &options)?)
}

/// A line for every listener, filter, cluster and host; defaults are left
/// out where they would only make noise.
fn show(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    let node = &snapshot.node;
    if !node.id.is_empty() {
        let locality = &node.locality;
        writeln!(
            out,
            "node {}/{} in {}/{}/{}",
            node.cluster, node.id, locality.region, locality.zone, locality.sub_zone
        )
        .unwrap();
    }
    if let Some(admin) = &snapshot.admin {
        writeln!(
            out,
            "admin {} at {}, {} access logs, path {:?}",
            admin.address,
            admin.source,
            admin.access_log.len(),
            admin.access_log_path
        )
        .unwrap();
    }
    for listener in &snapshot.listeners {
        show_listener(&mut out, listener);
    }
    for cluster in &snapshot.clusters {
        show_cluster(&mut out, cluster);
    }
    out
}

fn show_listener(out: &mut String, listener: &Listener) {
    let addresses: Vec<String> = listener.addresses().map(Address::to_string).collect();
    writeln!(
        out,
        "listener {} on {} at {}: buffer {}, backlog {:?}, reuse_port {}, bind {}, {:?}, {:?}, \
         prefix {:?}, keepalive {:?}",
        listener.name,
        addresses.join(" and "),
        listener.source,
        listener.buffer_limit,
        listener.tcp_backlog,
        listener.reuse_port,
        listener.bind_to_port,
        listener.traffic_direction,
        listener.drain_type,
        listener.stat_prefix,
        listener.tcp_keepalive.is_some(),
    )
    .unwrap();
    for chain in &listener.filter_chains {
        show_chain(out, "chain", chain);
    }
    if let Some(chain) = &listener.default_filter_chain {
        show_chain(out, "default chain", chain);
    }
}

fn show_chain(out: &mut String, kind: &str, chain: &FilterChain) {
    let timeout = chain.transport_socket_connect_timeout;
    writeln!(
        out,
        "  {kind} {:?}, connect timeout {timeout:?}",
        chain.name
    )
    .unwrap();
    for filter in &chain.filters {
        writeln!(
            out,
            "    {} ({}) at {}",
            filter.name,
            filter.message(),
            filter.path
        )
        .unwrap();
    }
}

fn show_cluster(out: &mut String, cluster: &Cluster) {
    writeln!(
        out,
        "cluster {} #{} ({}): {}, connect {:?}, buffer {}, idle {:?}, age {:?}, stream {:?}, \
         requests {:?}, headers {}/{}, trailers {}, bind {:?}",
        cluster.name,
        cluster.id.0,
        cluster.stat_name,
        policy_name(cluster.balancing.policy()),
        cluster.connect_timeout,
        cluster.buffer_limit,
        cluster.idle_timeout,
        cluster.connection_duration_max,
        cluster.stream_duration_max,
        cluster.requests_per_connection_max,
        cluster.response_headers_max,
        cluster.response_head_bytes_max,
        cluster.trailers,
        (cluster.bind.as_ref())
            .and_then(|bind| bind.source(false))
            .and_then(|source| source.address),
    )
    .unwrap();
    for limits in &cluster.circuit_breakers.thresholds {
        writeln!(
            out,
            "  limits {} {} {} {}",
            limits.max_connections,
            limits.max_pending_requests,
            limits.max_requests,
            limits.max_retries,
        )
        .unwrap();
    }
    if let Some(keepalive) = cluster.tcp_keepalive {
        let (probes, time, interval) = (keepalive.probes, keepalive.time, keepalive.interval);
        writeln!(out, "  keepalive {probes:?} {time:?} {interval:?}").unwrap();
    }
    for host in cluster.assignment.hosts.iter() {
        let group = &cluster.assignment.groups[host.group as usize];
        writeln!(
            out,
            "  host {} {:?} weight {} priority {} in {:?}",
            host.address, host.hostname, host.weight, group.priority, &*group.locality.zone
        )
        .unwrap();
    }
}

/// A bootstrap with one listener and one cluster. `listener` and `cluster`
/// are lines of those sections, indented by four columns; listener fields
/// begin in line 4, cluster fields in the line after `clusters:` plus two.
fn bootstrap(listener: &str, cluster: &str, rest: &str) -> String {
    format!(
        "\
static_resources:
  listeners:
  - name: l
{listener}
  clusters:
  - name: c
{cluster}
{rest}"
    )
}

const LISTENER: &str = "    \
    address: {socket_address: {address: 127.0.0.1, port_value: 8080}}
    filter_chains: [{filters: []}]";

const CLUSTER: &str = "    connect_timeout: 1s";

/// What is wrong with a file, a line each, without the file's name.
fn errors(text: &str) -> Vec<String> {
    match lower(text) {
        Ok(snapshot) => panic!("accepted: {}", show(&snapshot)),
        Err(mut found) => {
            found.sort();
            let lines = found.errors().map(ToString::to_string);
            lines
                .map(|line| line.trim_start_matches("f.yaml:").to_owned())
                .collect()
        }
    }
}

#[test]
fn mistakes_in_listeners() {
    for (listener, expected) in [
        (
            "    filter_chains: [{filters: []}]",
            "3:5: static_resources.listeners[0].address: an address is needed here: socket_address or pipe",
        ),
        (
            "    address: {socket_address: {address: localhost, port_value: 80}}\n    \
             filter_chains: [{}]",
            "4:41: static_resources.listeners[0].address.socket_address.address: \
             malformed IP address: \"localhost\"",
        ),
        (
            "    address: {socket_address: {address: 127.0.0.1, named_port: http}}\n    \
             filter_chains: [{}]",
            "4:64: static_resources.listeners[0].address.socket_address.named_port: \
             an IP address needs port_value, not the port name \"http\"",
        ),
        (
            "    address: {pipe: {path: \"@x\", mode: 384}}\n    filter_chains: [{}]",
            "4:40: static_resources.listeners[0].address.pipe.mode: \
             an abstract socket has no file whose mode could be set",
        ),
        (
            "    address: {pipe: {path: /x}}",
            "3:5: static_resources.listeners[0]: \
             no filter chains: a listener needs filter_chains or default_filter_chain",
        ),
        (
            "    address: {pipe: {path: /x}}\n    filter_chains:\n    - name: a\n    - name: b",
            "7:7: static_resources.listeners[0].filter_chains[1]: \
             matches connections that filter_chains[0] (f.yaml:6:7) matches as well",
        ),
        (
            "    address: {pipe: {path: /x}}\n    filter_chains: [{filters: [{name: x}]}]",
            "5:32: static_resources.listeners[0].filter_chains[0].filters[0]: \
             \"x\" needs a typed_config: its type selects the implementation",
        ),
        (
            "    address: {pipe: {path: /x}}\n    filter_chains: [{use_proxy_proto: true}]",
            "5:39: static_resources.listeners[0].filter_chains[0].use_proxy_proto: \
             true is not supported yet (only false)",
        ),
        (
            "    address: {pipe: {path: /x}}\n    filter_chains: [{filter_chain_match: {server_names: [a, 'b*']}}]",
            "5:61: static_resources.listeners[0].filter_chains[0].filter_chain_match.server_names[1]: \
             partial wildcards are not supported, only *. in front",
        ),
    ] {
        assert_eq!(errors(&bootstrap(listener, CLUSTER, "")), [expected]);
    }
}

#[test]
fn mistakes_in_clusters() {
    for (cluster, expected) in [
        (
            "    load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: \
             {address: {socket_address: {address: localhost, port_value: 80}}}}]}]}",
            "static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint.\
             address.socket_address.address: malformed IP address: \"localhost\"; the hosts of a \
             STATIC cluster are IP addresses, names need type STRICT_DNS or LOGICAL_DNS",
        ),
        (
            "    load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{}]}]}",
            "static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0]: \
             an endpoint with an address is needed here",
        ),
        (
            "    load_assignment: {cluster_name: c, endpoints: [\
             {load_balancing_weight: 4294967295}, {load_balancing_weight: 1}]}",
            "static_resources.clusters[0].load_assignment.endpoints[1].load_balancing_weight: \
             the weights of the localities of priority 0 add up to 4294967296, more than 4294967295",
        ),
        (
            "    upstream_bind_config: {source_address: {address: here, port_value: 0}}",
            "static_resources.clusters[0].upstream_bind_config.source_address.address: \
             malformed IP address: \"here\"",
        ),
        (
            "    http_protocol_options: {allow_chunked_length: true}",
            "static_resources.clusters[0].http_protocol_options.allow_chunked_length: \
             not supported yet",
        ),
        (
            "    max_requests_per_connection: 3\n    typed_extension_protocol_options:\n      \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n        \"@type\": \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n        \
             common_http_protocol_options: {max_requests_per_connection: 5}\n        \
             explicit_http_config: {http_protocol_options: {}}",
            "static_resources.clusters[0].typed_extension_protocol_options\
             [\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].\
             common_http_protocol_options.max_requests_per_connection: \
             given here and directly in the cluster; only one of them may be",
        ),
        (
            "    typed_extension_protocol_options:\n      other:\n        \"@type\": \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n        \
             explicit_http_config: {http_protocol_options: {}}",
            "static_resources.clusters[0].typed_extension_protocol_options[\"other\"]: \
             no such protocol options; envoy.extensions.upstreams.http.v3.HttpProtocolOptions are known",
        ),
        (
            "    http2_protocol_options: {}\n    http_protocol_options: {}",
            "static_resources.clusters[0].http2_protocol_options: given beside \
             http_protocol_options (f.yaml:9:28): which of them holds is said by the \
             protocol_selection USE_DOWNSTREAM_PROTOCOL only",
        ),
        (
            "    typed_extension_protocol_options:\n      \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n        \"@type\": \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n        \
             auto_config: {}",
            "static_resources.clusters[0].typed_extension_protocol_options\
             [\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].auto_config: \
             needs a transport_socket with TLS, in whose handshake hosts choose",
        ),
        (
            "    typed_extension_protocol_options:\n      \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n        \"@type\": \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n        \
             explicit_http_config: {http2_protocol_options: {custom_settings_parameters: \
             [{identifier: 10, value: 3}]}}",
            "static_resources.clusters[0].typed_extension_protocol_options\
             [\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"].explicit_http_config.\
             http2_protocol_options.custom_settings_parameters: not supported yet",
        ),
        (
            "    lrs_server: {self: {}}",
            "static_resources.clusters[0].lrs_server: not supported yet",
        ),
    ] {
        let found = errors(&bootstrap(LISTENER, cluster, ""));
        let without_place: Vec<_> = found
            .iter()
            .map(|line| line.split_once(": ").unwrap().1)
            .collect();
        assert_eq!(without_place, [expected]);
    }
}

#[test]
fn two_of_a_kind() {
    let text = "\
static_resources:
  listeners:
  - name: a
    address: {socket_address: {address: 127.0.0.1, port_value: 80}}
    filter_chains: [{}]
  - name: a
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains: [{}]
  - address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    additional_addresses:
    - address: {socket_address: {address: 127.0.0.1, port_value: 80}}
    filter_chains: [{}]
  clusters:
  - name: one
  - name: two
  - name: one
";
    assert_eq!(
        errors(text),
        [
            "6:11: static_resources.listeners[1].name: duplicate listener \"a\", the first is at f.yaml:3:5",
            "9:14: static_resources.listeners[2].address: listener \"listener_2\" has the address \
             127.0.0.1:80 of listener \"a\" at f.yaml:3:5",
            "16:11: static_resources.clusters[2].name: duplicate cluster \"one\", the first is at f.yaml:14:5",
        ]
    );
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = "\
application_log_config: {log_format: {json_format: {a: [1, \"%v\"], b: {\"%_\": x}}}}
cluster_manager: {local_cluster_name: nobody}
layered_runtime:
  layers:
  - {name: a, admin_layer: {}}
  - {name: a, admin_layer: {}}
  - name: s
    static_layer: {a: {b: [1]}, c.d: 1, c: {d: 2}}
admin:
  address: {socket_address: {address: admin.local, port_value: 9901}}
static_resources:
  listeners: [{address: {socket_address: {address: nowhere, port_value: 1}}, filter_chains: [{}]}]
  clusters: [{name: c, upstream_bind_config: {source_address: {address: nowhere, port_value: 0}}}]
";
    let found = errors(text);
    let reasons: Vec<_> = found
        .iter()
        .map(|line| line.split_once(": ").unwrap().1)
        .collect();
    assert_eq!(
        reasons,
        [
            "application_log_config.log_format.json_format: \
             %v may not be used in JSON: its text is not escaped",
            "application_log_config.log_format.json_format: \
             %_ may not be used in JSON: its text is not escaped",
            "cluster_manager.local_cluster_name: local cluster \"nobody\" must be defined",
            "layered_runtime.layers[1].name: duplicate layer name: a",
            "layered_runtime.layers[1].admin_layer: at most one admin layer may be given",
            "layered_runtime.layers[2].static_layer: runtime key a.b: not a value",
            "layered_runtime.layers[2].static_layer: runtime key c.d: given twice in this layer, \
             with a dot and as a field",
            "admin.address.socket_address.address: malformed IP address: \"admin.local\"",
            "static_resources.listeners[0].address.socket_address.address: malformed IP address: \"nowhere\"",
            "static_resources.clusters[0].upstream_bind_config.source_address.address: \
             malformed IP address: \"nowhere\"",
        ]
    );
}

/// The examples that people start from must stay good.
#[test]
fn every_example_is_accepted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml") => Format::Yaml,
            Some("json") => Format::Json,
            _ => continue,
        };
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let loaded = load(&text, name, format, &LoadOptions::default());
        let lowered = loaded.and_then(|loaded| bootstrap::lower(&loaded));
        if let Err(found) = lowered {
            panic!("{found}");
        }
        count += 1;
    }
    assert!(count >= 6, "only {count} examples were found");
}

/// The golden text begins with the snapshot; its warnings follow.
fn golden(text: &str, expected: &str) {
    let snapshot = lower(text).unwrap_or_else(|found| panic!("{found}"));
    let found = format!("{}{}", show(&snapshot), snapshot.diagnostics);
    assert_eq!(found.trim_end(), expected.trim_end());
}

#[test]
fn the_basic_proxy() {
    golden(
        include_str!("../examples/basic-proxy.yaml"),
        include_str!("lowering/basic-proxy.txt"),
    );
}

#[test]
fn every_field() {
    golden(
        include_str!("lowering/everything.yaml"),
        include_str!("lowering/everything.txt"),
    );
}

#[test]
fn defaults_are_envoys() {
    let text = "\
static_resources:
  listeners:
  - {address: {socket_address: {address: 0.0.0.0, port_value: 80}}, filter_chains: [{}]}
  clusters: [{name: 'a:b'}]
";
    golden(text, include_str!("lowering/defaults.txt"));
    let snapshot = lower(text).unwrap();
    assert_eq!(snapshot.stats_flush_interval, Duration::from_secs(5));
    assert!(snapshot.admin.is_none());
}

#[test]
fn no_resources_at_all_are_fine() {
    let snapshot = lower("admin: {}").unwrap();
    assert!(
        snapshot.admin.is_none(),
        "an admin section without an address starts no server"
    );
    assert_eq!(show(&snapshot), "");
}
