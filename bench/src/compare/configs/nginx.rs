//! nginx's configuration.

use std::path::Path;

use super::{Protocol, Setup};
use crate::tls::Identity;

/// A proxy in front of one origin; none for [`Protocol::Tcp`], for which it needs a module that is
/// not in its package.
pub fn proxy(setup: &Setup<'_>) -> Option<String> {
    let Setup {
        protocol,
        listen,
        origin,
        connections,
        dir,
    } = setup;
    let (listen_options, tls) = match protocol {
        Protocol::Http1 => ("", String::new()),
        Protocol::Tls => {
            let tls = format!(
                "    ssl_certificate {};\n    ssl_certificate_key {};\n    ssl_protocols TLSv1.2 TLSv1.3;\n",
                Identity::certificate(dir).display(),
                Identity::key(dir).display(),
            );
            (" ssl http2", tls)
        }
        Protocol::H2c | Protocol::Grpc => (" http2", String::new()),
        Protocol::Tcp => return None,
    };
    let pass = match protocol {
        Protocol::Grpc => {
            "      grpc_pass grpc://origin;
      grpc_set_header Host $host;
      grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
"
        }
        _ => {
            "      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_buffer_size 16k;
      proxy_buffers 16 64k;
      proxy_busy_buffers_size 256k;
      proxy_max_temp_file_size 0;
"
        }
    };
    let servers = format!(
        "  upstream origin {{
    server {origin} max_fails=0;
    keepalive 1024;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}

  server {{
    listen {listen} backlog=4096{listen_options};
    http2_max_concurrent_streams 1024;
{tls}    location / {{
{pass}    }}
  }}
"
    );
    // Half as many again as clients: the connections to the origin come out of the same number.
    let worker_connections = connections + connections / 2;
    Some(file(dir, worker_connections, &servers))
}

/// A file with `servers`, directives of its `http` block, and all its files in `dir`.
pub fn file(dir: &Path, worker_connections: usize, servers: &str) -> String {
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
