//! Golden tests of lowering: a file in, the snapshot as compact text out;
//! and tables of mistakes with the exact place and words of each message.

use std::fmt::Write;
use std::path::Path;

use ringway_config::cluster::Cluster;
use ringway_config::core::Address;
use ringway_config::listener::{FilterChain, Listener};
use ringway_config::load::{Format, LoadOptions, load};
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
    writeln!(out, "  {kind} {:?}, connect timeout {timeout:?}", chain.name).unwrap();
    for filter in &chain.filters {
        writeln!(out, "    {} ({}) at {}", filter.name, filter.message(), filter.path).unwrap();
    }
}

fn show_cluster(out: &mut String, cluster: &Cluster) {
    writeln!(
        out,
        "cluster {} #{} ({}): {:?}, connect {:?}, buffer {}, idle {:?}, age {:?}, stream {:?}, \
         requests {:?}, headers {}/{}, trailers {}, bind {:?}",
        cluster.name,
        cluster.id.0,
        cluster.stat_name,
        cluster.lb_policy,
        cluster.connect_timeout,
        cluster.buffer_limit,
        cluster.idle_timeout,
        cluster.connection_duration_max,
        cluster.stream_duration_max,
        cluster.requests_per_connection_max,
        cluster.response_headers_max,
        cluster.response_head_bytes_max,
        cluster.trailers,
        cluster.bind,
    )
    .unwrap();
    for limits in &cluster.thresholds {
        writeln!(
            out,
            "  limits {} {} {} {} {}",
            limits.max_connections,
            limits.max_pending_requests,
            limits.max_requests,
            limits.max_retries,
            limits.track_remaining
        )
        .unwrap();
    }
    if let Some(keepalive) = cluster.tcp_keepalive {
        let (probes, time, interval) = (keepalive.probes, keepalive.time, keepalive.interval);
        writeln!(out, "  keepalive {probes:?} {time:?} {interval:?}").unwrap();
    }
    for host in cluster.hosts.iter() {
        writeln!(
            out,
            "  host {} {:?} weight {} priority {} in {:?}",
            host.address_text, host.hostname, host.weight, host.priority, &*host.locality.zone
        )
        .unwrap();
    }
}
