//! Equivalent configurations for every proxy: one worker, HTTP/1.1 keep-alive on both sides,
//! `x-forwarded-for` added, no access log, no connection closed for its age or idleness.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

/// Envoy's configuration, which is Ringway's too.
pub fn envoy(listen: SocketAddr, admin: SocketAddr, origin: SocketAddr) -> String {
    let routes = "- match: { prefix: \"/\" }\n  route: { cluster: origin }\n";
    envoy_routes(listen, admin, origin, routes)
}

/// The same with other routes to the cluster `origin`: a list at the left margin.
pub fn envoy_routes(
    listen: SocketAddr,
    admin: SocketAddr,
    origin: SocketAddr,
    routes: &str,
) -> String {
    let hosts = format!(
        "- name: all\n  domains: [\"*\"]\n  routes:\n{}",
        indented(2, routes)
    );
    let mut text = envoy_file(listen, admin, "use_remote_address: true\n", &hosts);
    let (ip, port) = (origin.ip(), origin.port());
    let _ = write!(
        text,
        r#"  clusters:
  - name: origin
    type: STATIC
    connect_timeout: 5s
    lb_policy: ROUND_ROBIN
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: {{ address: {ip}, port_value: {port} }}
"#
    );
    text
}

/// A file for Envoy and Ringway with one listener and without clusters. `manager` are more fields
/// of its connection manager and `hosts` its virtual hosts, both at the left margin.
pub fn envoy_file(listen: SocketAddr, admin: SocketAddr, manager: &str, hosts: &str) -> String {
    format!(
        r#"admin:
  address:
    socket_address: {{ address: {admin_ip}, port_value: {admin_port} }}
static_resources:
  listeners:
  - name: http
    address:
      socket_address: {{ address: {listen_ip}, port_value: {listen_port} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          codec_type: HTTP1
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
{manager}          route_config:
            name: all
            virtual_hosts:
{hosts}"#,
        admin_ip = admin.ip(),
        admin_port = admin.port(),
        listen_ip = listen.ip(),
        listen_port = listen.port(),
        manager = indented(10, manager),
        hosts = indented(12, hosts),
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

/// HAProxy's configuration for up to `connections` clients; `splice` lets the kernel move bodies.
pub fn haproxy(listen: SocketAddr, origin: SocketAddr, connections: usize, splice: bool) -> String {
    let splice = if splice {
        "  option splice-response\n  option splice-request\n"
    } else {
        ""
    };
    format!(
        "global
  nbthread 1
  maxconn {connections}
  no strict-limits

defaults
  mode http
  no log
  option forwardfor
{splice}  http-reuse always
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h

frontend http
  bind {listen}
  maxconn {connections}
  default_backend origin

backend origin
  server origin {origin} pool-max-conn 2000 pool-purge-delay 1h
"
    )
}

/// nginx's configuration for up to `connections` clients, with all its files in `dir`.
pub fn nginx(listen: SocketAddr, origin: SocketAddr, connections: usize, dir: &Path) -> String {
    // Half as many again as clients: the connections to the origin come out of the same number.
    let worker_connections = connections + connections / 2;
    let servers = format!(
        "  upstream origin {{
    server {origin} max_fails=0;
    keepalive 1024;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}

  server {{
    listen {listen} backlog=4096;
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_buffer_size 16k;
      proxy_buffers 16 64k;
      proxy_busy_buffers_size 256k;
      proxy_max_temp_file_size 0;
    }}
  }}
"
    );
    nginx_file(dir, worker_connections, &servers)
}

/// A file for nginx with `servers`, directives of its `http` block.
pub fn nginx_file(dir: &Path, worker_connections: usize, servers: &str) -> String {
    let dir = dir.display();
    let temp_paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {dir}/nginx-{name};\n"))
        .concat();
    format!(
        "daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile {worker_connections};
error_log {dir}/nginx-error.log crit;
pid {dir}/nginx.pid;

events {{
  worker_connections {worker_connections};
  multi_accept on;
}}

http {{
  access_log off;
  server_tokens off;
{temp_paths}  keepalive_timeout 1h;
  keepalive_requests 1000000000;

{servers}}}
"
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn local(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Asks the program itself, when it is installed, whether it takes the file.
    fn accepted_by(program: &str, arguments: &[&str], file: &str, text: &str, dir: &Path) {
        let Some(path) = crate::compare::peers::find_program(program) else {
            eprintln!("skipped: {program} is not installed");
            return;
        };
        let file = dir.join(file);
        std::fs::write(&file, text).expect("writable temporary directory");
        let output = Command::new(path)
            .args(arguments)
            .arg(&file)
            .output()
            .expect("can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {said}\n{text}");
    }

    #[test]
    fn every_program_takes_its_file() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (listen, origin) = (local(18_080), local(19_000));
        let envoy = envoy(listen, local(19_901), origin);
        accepted_by(
            "envoy",
            &["--mode", "validate", "-c"],
            "envoy.yaml",
            &envoy,
            dir.path(),
        );
        for splice in [false, true] {
            let haproxy = haproxy(listen, origin, 1_000, splice);
            accepted_by(
                "haproxy",
                &["-c", "-f"],
                "haproxy.cfg",
                &haproxy,
                dir.path(),
            );
        }
        let nginx = nginx(listen, origin, 1_000, dir.path());
        accepted_by("nginx", &["-t", "-c"], "nginx.conf", &nginx, dir.path());
    }

    #[test]
    fn every_file_names_both_addresses() {
        let (listen, origin) = (local(18_080), local(19_000));
        let files = [
            envoy(listen, local(19_901), origin),
            haproxy(listen, origin, 1_000, false),
            nginx(listen, origin, 1_000, Path::new("/nowhere")),
        ];
        for file in files {
            assert!(file.contains("18080") && file.contains("19000"), "{file}");
        }
    }
}
