//! What routes say to filters: levels, filters that are off, names.

use ringway_tests::bootstrap::{Listener, bootstrap, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::programs;

/// Three fault filters, one of them off, and a health check. The statuses of
/// the aborts say which of them ran with what.
const LISTENERS: &[Listener] = &[Listener {
    name: "overrides",
    manager: r#"
http_filters:
- name: first
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
    headers: [{ name: x-fault, string_match: { exact: "yes" } }]
    abort: { http_status: 500, percentage: { numerator: 100 } }
- name: second
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
- name: sleeper
  disabled: true
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
    abort: { http_status: 501, percentage: { numerator: 100 } }
- name: health
  is_optional: true
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck
    pass_through_mode: false
    headers: [{ name: x-health, present_match: true }]
- name: router
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#,
    hosts: include_str!("overrides/routes.yaml"),
}];

fn clusters(ports: Ports) -> String {
    cluster("origin", ports.origin, "")
}

fn get(host: &str, path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n")
}

fn cases() -> Vec<Case> {
    const FAULT: &str = "x-fault: yes\r\n";
    const HEALTH: &str = "x-health: 1\r\n";
    [
        ("nothing said", "a", "/", ""),
        ("nothing said, its own", "a", "/", FAULT),
        ("no route", "a", "/nowhere", FAULT),
        ("no host", "nobody", "/", FAULT),
        ("a route's own", "a", "/own", ""),
        ("the second of a type", "a", "/second", FAULT),
        ("both off", "a", "/both-off", FAULT),
        ("wrapped", "a", "/wrapped", ""),
        ("off with a config", "a", "/off-with-config", FAULT),
        ("by the canonical name", "a", "/canonical", ""),
        ("to nobody", "a", "/nobody", FAULT),
        ("turned on", "a", "/sleeper", FAULT),
        ("turned on as it is", "a", "/sleeper-as-it-is", ""),
        ("optional", "a", "/optional", ""),
        ("a health check", "a", "/health", HEALTH),
        ("a health check that is off", "a", "/no-health", HEALTH),
        ("weighted before route", "a", "/weighted", ""),
        ("weighted off", "a", "/weighted-off", FAULT),
        ("weighted inherits", "a", "/weighted-inherits", ""),
        ("a direct response", "a", "/direct", ""),
        ("a redirect", "a", "/redirect", FAULT),
        ("a virtual host's", "vh", "/", ""),
        ("route before virtual host", "vh", "/own", ""),
        ("route off before virtual host", "vh", "/off", FAULT),
        ("route on keeps the virtual host's", "vh", "/on", ""),
        ("virtual host without a route", "vh", "/nowhere", FAULT),
        ("a virtual host turns it off", "off", "/", FAULT),
        ("route on before virtual host off", "off", "/own", ""),
    ]
    .into_iter()
    .map(|(name, host, path, headers)| case(name, "overrides", get(host, path, headers)))
    .collect()
}

#[test]
fn overrides_are_envoys() {
    Comparison {
        suite: Suite::Routing("overrides"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("overrides_are_envoys");
}

const FAULT: &str = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault";
const CONFIG: &str = "type.googleapis.com/envoy.config.route.v3.FilterConfig";

/// What a route may not say: what is said, and the reason with its place.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "first",
        r#"{ "@type": {CONFIG} }"#,
        "[\"first\"]: a FilterConfig has to be disabled or to have a config",
    ),
    (
        "first",
        r#"{ "@type": {CONFIG}, config: { "@type": {CONFIG}, disabled: true } }"#,
        "[\"first\"].config: a typed_config of type envoy.extensions.filters.http.fault.v3.HTTPFault \
         is needed here, not envoy.config.route.v3.FilterConfig",
    ),
    (
        "first",
        r#"{ "@type": type.googleapis.com/google.protobuf.Empty }"#,
        "[\"first\"]: a typed_config of type envoy.extensions.filters.http.fault.v3.HTTPFault",
    ),
    (
        "first",
        r#"{ "@type": {FAULT}, abort: { percentage: { numerator: 1 } } }"#,
        "[\"first\"].abort: one of these must be given: http_status, grpc_status, header_abort",
    ),
    (
        "first",
        r#"{ "@type": {FAULT}, abort: { http_status: 199 } }"#,
        "[\"first\"].abort.http_status: ",
    ),
    (
        "first",
        r#"{ "@type": {FAULT}, abort: { http_status: 600 } }"#,
        "[\"first\"].abort.http_status: ",
    ),
    (
        "first",
        r#"{ "@type": {FAULT}, delay: { percentage: { numerator: 1 } } }"#,
        "[\"first\"].delay: one of these must be given: fixed_delay, header_delay",
    ),
    (
        "first",
        r#"{ "@type": {FAULT}, response_rate_limit: { percentage: { numerator: 1 } } }"#,
        "[\"first\"].response_rate_limit: one of these must be given: fixed_limit, header_limit",
    ),
    (
        "first",
        r#"{ "@type": {FAULT}, response_rate_limit: { fixed_limit: { limit_kbps: 0 } } }"#,
        "[\"first\"].response_rate_limit.fixed_limit.limit_kbps: ",
    ),
    (
        "health",
        r#"{ "@type": type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck, pass_through_mode: false }"#,
        "[\"health\"]: envoy.filters.http.health_check cannot be configured",
    ),
    (
        "router",
        r#"{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }"#,
        "[\"router\"]: the router cannot be configured or disabled",
    ),
];

/// Envoy refuses the same files, in words of its own.
#[test]
fn what_cannot_be_said_is_refused_by_path() {
    const AT: &str = "route_config.virtual_hosts[0].routes[0].typed_per_filter_config";
    let envoy = programs::envoy("what_cannot_be_said_is_refused_by_path");
    for (filter, said, reason) in REFUSED {
        let said = said.replace("{CONFIG}", CONFIG).replace("{FAULT}", FAULT);
        let hosts = format!(
            "- name: all\n  domains: [\"*\"]\n  routes:\n  - match: {{ prefix: / }}\n    \
             direct_response: {{ status: 200 }}\n    \
             typed_per_filter_config: {{ {filter}: {said} }}\n"
        );
        let listener = Listener {
            hosts: hosts.leak(),
            ..LISTENERS[0]
        };
        let text = bootstrap(&[listener], "");
        let refused = programs::refusal(&programs::ringway(), &text);
        let refused = refused.unwrap_or_else(|| panic!("accepted: {said}"));
        assert!(refused.contains(&format!("{AT}{reason}")), "{refused}");
        if let Some(envoy) = &envoy {
            let theirs = programs::refusal(envoy, &text);
            assert!(theirs.is_some(), "Envoy accepts {said}");
        }
    }
}
