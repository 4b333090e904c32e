//! Configurations of proxies with TLS, and what is seen of the proxies that run them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ringway_tests::admin::Stats;
use ringway_tests::logs;
use ringway_tests::process::{Process, Program, each_driver};
use ringway_tests::programs;

use super::files::Files;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What is logged of every request: all that does not change from run to run.
const LOG: &str = "%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% \
    failure=%UPSTREAM_TRANSPORT_FAILURE_REASON% v=%DOWNSTREAM_TLS_VERSION% \
    c=%DOWNSTREAM_TLS_CIPHER% g=%DOWNSTREAM_TLS_GROUP% sni=%REQUESTED_SERVER_NAME% \
    scheme=%REQ(:SCHEME)% proto=%REQ(X-FORWARDED-PROTO)% \
    ls=%DOWNSTREAM_LOCAL_SUBJECT% lu=%DOWNSTREAM_LOCAL_URI_SAN% ld=%DOWNSTREAM_LOCAL_DNS_SAN% \
    ps=%DOWNSTREAM_PEER_SUBJECT% pi=%DOWNSTREAM_PEER_ISSUER% pn=%DOWNSTREAM_PEER_SERIAL% \
    pu=%DOWNSTREAM_PEER_URI_SAN% pd=%DOWNSTREAM_PEER_DNS_SAN% \
    pf=%DOWNSTREAM_PEER_FINGERPRINT_256% p1=%DOWNSTREAM_PEER_FINGERPRINT_1% \
    pc=%DOWNSTREAM_PEER_CERT% b=%DOWNSTREAM_PEER_CERT_V_START% e=%DOWNSTREAM_PEER_CERT_V_END% \
    uv=%UPSTREAM_TLS_VERSION% uc=%UPSTREAM_TLS_CIPHER% us=%UPSTREAM_PEER_SUBJECT% \
    ui=%UPSTREAM_PEER_ISSUER% uu=%UPSTREAM_PEER_URI_SAN% ul=%UPSTREAM_LOCAL_URI_SAN%";

/// A listener with a connection manager that logs to `NAME.log`.
pub(super) fn listener(name: &str, chain: &str, routes: &str) -> String {
    listener_with(name, chain, "", LOG, routes)
}

/// The same, with more fields of the connection manager (lines of ten spaces) and
/// another log.
pub(super) fn listener_with(
    name: &str,
    chain: &str,
    fields: &str,
    log: &str,
    routes: &str,
) -> String {
    format!(
        "  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    stat_prefix: {name}
    filter_chains:
    - {chain}
      filters:
      - name: manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
{fields}          access_log:
          - name: log
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {{DIR}}/{name}.log
              log_format: {{ text_format_source: {{ inline_string: \"{log}\\n\" }} }}
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - {{ match: {{ path: /direct }}, direct_response: {{ status: 200, body: {{ inline_string: hello }} }} }}
{routes}
          http_filters:
          - name: router
            typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"
    )
}

/// The transport socket of a filter chain; `FILES` is the folder of certificates.
pub(super) fn server_tls(context: &str) -> String {
    tls("DownstreamTlsContext", context)
}

pub(super) fn client_tls(context: &str) -> String {
    tls("UpstreamTlsContext", context)
}

fn tls(message: &str, context: &str) -> String {
    format!(
        "transport_socket: {{ name: envoy.transport_sockets.tls, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{message}, {context} }} }}"
    )
}

pub(super) fn certificate(name: &str) -> String {
    format!(
        "{{ certificate_chain: {{ filename: FILES/{name}.pem }}, \
         private_key: {{ filename: FILES/{name}.key }} }}"
    )
}

pub(super) fn cluster(name: &str, address: SocketAddr, more: &str) -> String {
    format!(
        "  - name: {name}
    type: STATIC
    {more}
    load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }} }} ] }} ] }}
",
        address.ip(),
        address.port()
    )
}

/// Checks of the hosts of a cluster, one each, with these fields beside.
pub(super) fn check(fields: &str) -> String {
    format!(
        "health_checks: [ {{ timeout: 10s, interval: 3600s, unhealthy_threshold: 1, \
         healthy_threshold: 1, {fields} http_health_check: {{ path: /check }} }} ]"
    )
}

/// The statistics once a host of each of these clusters was checked.
pub(super) fn await_checks(process: &Process, clusters: &[&str]) -> Stats {
    let done = |stats: &Stats| {
        clusters.iter().all(|name| {
            let stat = |what: &str| {
                let name = format!("cluster.{name}.health_check.{what}");
                stats.get(&name).copied().unwrap_or(0)
            };
            stat("success") + stat("failure") > 0
        })
    };
    let (stats, reached) = process.admin().await_stats(PATIENCE, done);
    assert!(reached, "{stats:?}");
    stats
}

pub(super) fn start(program: &Program, files: &Files, listeners: &str, clusters: &str) -> Process {
    let clusters = match clusters {
        "" => " []",
        clusters => &format!("\n{clusters}"),
    };
    let text = format!(
        "node: {{ id: me, cluster: mine }}
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:
{listeners}
  clusters:{clusters}"
    );
    Process::start(
        program,
        &text.replace("FILES", &files.folder().to_string_lossy()),
    )
}

/// The servers that clients of these tests talk to.
pub(super) fn back(program: &Program, files: &Files) -> Process {
    let server = certificate("server");
    let both = format!("{server}, {}", certificate("server-rsa"));
    let chain = |context: &str| server_tls(context);
    let listeners = [
        (
            "any",
            format!(
                "common_tls_context: {{ alpn_protocols: [ http/1.1 ], tls_certificates: [ {both} ] }}"
            ),
        ),
        (
            "old",
            format!(
                "common_tls_context: {{ tls_params: {{ tls_maximum_protocol_version: TLSv1_2 }}, tls_certificates: [ {server} ] }}"
            ),
        ),
        (
            "new",
            format!(
                "common_tls_context: {{ tls_params: {{ tls_minimum_protocol_version: TLSv1_3 }}, tls_certificates: [ {server} ] }}"
            ),
        ),
        (
            "mutual",
            format!(
                "require_client_certificate: true, common_tls_context: {{ tls_certificates: [ {server} ], validation_context: {{ trusted_ca: {{ filename: FILES/ca.pem }} }} }}"
            ),
        ),
        (
            "named",
            format!(
                "require_client_certificate: true, common_tls_context: {{ tls_certificates: [ {server} ], validation_context: {{ trusted_ca: {{ filename: FILES/ca.pem }}, match_typed_subject_alt_names: [ {{ san_type: URI, matcher: {{ prefix: \"spiffe://y/\" }} }} ] }} }}"
            ),
        ),
        (
            "lenient",
            format!(
                "common_tls_context: {{ tls_certificates: [ {server} ], validation_context: {{ trusted_ca: {{ filename: FILES/ca.pem }}, trust_chain_verification: ACCEPT_UNTRUSTED }} }}"
            ),
        ),
    ];
    let listeners: String = listeners
        .iter()
        .map(|(name, context)| listener(name, &chain(context), ""))
        .collect();
    start(program, files, &listeners, "")
}

/// Statistics of TLS that are not 0.
pub(super) fn moved(process: &Process) -> BTreeMap<String, u64> {
    let text = process.admin().get("/stats").text();
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    lines
        .filter(|(name, _)| name.contains(".ssl.") || name.contains("_ssl_"))
        // Connections may be on their way out.
        .filter(|(name, _)| !name.ends_with("_active"))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .filter(|(_, value)| *value != 0)
        .collect()
}

pub(super) fn log_of(process: &Process, name: &str, lines: usize) -> String {
    let path = process.folder().join(format!("{name}.log"));
    let logged = logs::await_lines(&path, 0, lines, PATIENCE);
    assert!(logged.len() >= lines, "{name}: {logged:?}");
    logged.into_iter().map(|line| line + "\n").collect()
}

/// Both drivers and, where there is one, Envoy: what each of them gives, which must
/// be the same.
pub(super) fn all_alike(test_name: &str, observe: impl Fn(&Program) -> String) {
    let envoy = programs::envoy(test_name).map(|path| observe(&Program::Envoy(path)));
    each_driver(|program| {
        let ours = observe(program);
        if let Some(envoy) = &envoy {
            let only = |of: &str, other: &str| -> Vec<String> {
                let lines = of
                    .lines()
                    .filter(|line| !other.lines().any(|one| one == *line));
                lines.map(str::to_owned).collect()
            };
            let (ours_only, envoys_only) = (only(&ours, envoy), only(envoy, &ours));
            let first = ours
                .lines()
                .zip(envoy.lines())
                .find(|(one, other)| one != other);
            assert!(
                ours == *envoy,
                "{}: {ours_only:#?}\nEnvoy: {envoys_only:#?}\nfirst: {first:#?}",
                program.name()
            );
        }
    });
}
