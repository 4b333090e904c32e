//! What is said about files that are wrong.

mod one_run;
mod stricter;

use std::path::Path;
use std::process::Command;

/// Whether a program takes a file, and what it says of it.
fn validate(program: &Path, text: &str) -> (bool, String) {
    let output = Command::new(program)
        .args(["--mode", "validate", "--config-yaml", text])
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

/// The filters of a connection manager.
const ROUTER: &str = "          http_filters: [{ name: router, typed_config: { \"@type\": \
     type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]";

/// A file with these clusters, and a listener with these fields of its connection
/// manager and these routes.
fn file(clusters: &str, manager: &str, routes: &str) -> String {
    format!(
        "static_resources:
  clusters:
{clusters}
  listeners:
  - name: l
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
{manager}
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
{routes}
"
    )
}
