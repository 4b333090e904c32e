//! Envoy's configuration, which is Ringway's too.

use std::fmt::Write;
use std::net::SocketAddr;

use super::{Protocol, Setup};
use crate::tls::Identity;

/// A proxy in front of one origin.
pub fn proxy(setup: &Setup<'_>, admin: SocketAddr) -> String {
    let Setup {
        protocol,
        listen,
        origin,
        dir,
        ..
    } = *setup;
    let all = "- match: { prefix: \"/\" }\n  route: { cluster: origin }\n";
    let filter = match protocol {
        Protocol::Http1 => manager("HTTP1", USE_REMOTE_ADDRESS, &one_host(all)),
        Protocol::Tls => manager("AUTO", USE_REMOTE_ADDRESS, &one_host(all)),
        Protocol::H2c | Protocol::Grpc => manager("HTTP2", USE_REMOTE_ADDRESS, &one_host(all)),
        Protocol::Tcp => TCP_PROXY.to_owned(),
    };
    let transport_socket = match protocol {
        Protocol::Tls => format!(
            "transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
    common_tls_context:
      alpn_protocols: [h2, http/1.1]
      tls_certificates:
      - certificate_chain: {{ filename: {} }}
        private_key: {{ filename: {} }}
",
            Identity::certificate(dir).display(),
            Identity::key(dir).display(),
        ),
        _ => String::new(),
    };
    let options = match protocol {
        Protocol::Grpc => HTTP2_TO_THE_ORIGIN,
        _ => "",
    };
    file(listen, admin, &filter, &transport_socket) + &cluster(origin, options)
}

/// HTTP/1.1 with other routes to the cluster `origin`: a list at the left margin.
pub fn routes(listen: SocketAddr, admin: SocketAddr, origin: SocketAddr, routes: &str) -> String {
    let filter = manager("HTTP1", USE_REMOTE_ADDRESS, &one_host(routes));
    file(listen, admin, &filter, "") + &cluster(origin, "")
}

/// HTTP/1.1 with these virtual hosts, a list at the left margin, and without clusters.
pub fn hosts(listen: SocketAddr, admin: SocketAddr, hosts: &str) -> String {
    file(listen, admin, &manager("HTTP1", "", hosts), "")
}

/// A file with one listener. `filter` and `transport_socket` are at the left margin.
fn file(listen: SocketAddr, admin: SocketAddr, filter: &str, transport_socket: &str) -> String {
    format!(
        "admin:
  address:
    socket_address: {{ address: {admin_ip}, port_value: {admin_port} }}
static_resources:
  listeners:
  - name: front
    address:
      socket_address: {{ address: {listen_ip}, port_value: {listen_port} }}
    filter_chains:
    - filters:
{filter}{transport_socket}",
        admin_ip = admin.ip(),
        admin_port = admin.port(),
        listen_ip = listen.ip(),
        listen_port = listen.port(),
        filter = indented(6, filter),
        transport_socket = indented(6, transport_socket),
    )
}

/// A connection manager with more `fields` and these virtual hosts, both at the left margin.
fn manager(codec: &str, fields: &str, hosts: &str) -> String {
    format!(
        "- name: envoy.filters.network.http_connection_manager
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
    stat_prefix: http
    codec_type: {codec}
    http_filters:
    - name: envoy.filters.http.router
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
{fields}    route_config:
      name: all
      virtual_hosts:
{hosts}",
        fields = indented(4, fields),
        hosts = indented(6, hosts),
    )
}

fn one_host(routes: &str) -> String {
    format!(
        "- name: all\n  domains: [\"*\"]\n  routes:\n{}",
        indented(2, routes)
    )
}

/// The cluster `origin` with more `options`, at the left margin.
fn cluster(origin: SocketAddr, options: &str) -> String {
    let (ip, port) = (origin.ip(), origin.port());
    format!(
        "  clusters:
  - name: origin
    type: STATIC
    connect_timeout: 5s
    lb_policy: ROUND_ROBIN
{}    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: {{ address: {ip}, port_value: {port} }}
",
        indented(4, options)
    )
}

fn indented(by: usize, lines: &str) -> String {
    let mut text = String::with_capacity(lines.len() * 2);
    for line in lines.lines() {
        // The formatting of a string cannot fail.
        let _ = writeln!(text, "{:by$}{line}", "");
    }
    text
}

const USE_REMOTE_ADDRESS: &str = "use_remote_address: true\n";

const TCP_PROXY: &str = "\
- name: envoy.filters.network.tcp_proxy
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
    stat_prefix: tcp
    cluster: origin
";

const HTTP2_TO_THE_ORIGIN: &str = "\
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config: { http2_protocol_options: {} }
";
