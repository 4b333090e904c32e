//! Every kind of call of the gRPC library, in plain text and with TLS on both
//! sides.

use std::time::Duration;

use ringway_tests::process::{Process, Program};

use crate::files::Files;
use crate::script::{Script, as_in_envoy, python};

const ROUTES: &str = include_str!("calls/routes.yaml");
const BOOTSTRAP: &str = include_str!("calls/bootstrap.yaml");

/// What is counted of calls, whoever is faster at the end of one.
const COUNTED: &[&str] = &[
    "downstream_rq_total",
    "downstream_rq_http2_total",
    "upstream_rq_total",
    "upstream_rq_retry",
    "upstream_rq_retry_success",
    "upstream_rq_retry_limit_exceeded",
    "upstream_rq_timeout",
    "upstream_cx_none_healthy",
    "upstream_cx_connect_fail",
    "no_route",
    "rq_direct_response",
];

#[test]
fn calls_of_the_library_go_through() {
    let test = "calls_of_the_library_go_through";
    let Some(python) = python(test) else {
        return;
    };
    let files = Files::new();
    let play = |program: &Program| {
        let mut script = Script::start(&python, "calls.py", files.folder().as_os_str());
        let ports = script.ports();
        let process = start(program, &files, &ports);
        let own = ["plain", "tls"].map(|name| process.listener(name).port().to_string());
        script.tell(&own.join(" "));
        let mut said = script.rest();
        said.extend(counted(&process));
        said
    };
    let Some(said) = as_in_envoy(test, play) else {
        return;
    };
    // That both say the same may also mean that nothing works.
    let ok = said.iter().filter(|line| line.contains("'OK'")).count();
    assert_eq!(ok, 28, "{said:#?}");
    let retried = "cluster.retried.upstream_rq_retry_success 4";
    assert!(said.iter().any(|line| line == retried), "{said:#?}");
}

fn start(program: &Program, files: &Files, ports: &[u16]) -> Process {
    let folder = files.folder().to_string_lossy();
    let text = BOOTSTRAP
        .replace("FILES", &folder)
        .replace("PLAIN_PORT", &ports[0].to_string())
        .replace("TLS_PORT", &ports[1].to_string());
    let routes = |to: &str| ROUTES.replace("ORIGIN", to);
    let text = text.replace("PLAIN_ROUTES", &routes("origin"));
    Process::start(program, &text.replace("TLS_ROUTES", &routes("origin_tls")))
}

fn counted(process: &Process) -> Vec<String> {
    let (stats, _) = process
        .admin()
        .await_stats(Duration::from_secs(5), |stats| {
            stats.iter().all(|(name, value)| {
                !name.starts_with("cluster.")
                    || !name.ends_with(".upstream_rq_active")
                    || *value == 0
            })
        });
    let is_counted = |name: &str| {
        let of_proxy = name.starts_with("cluster.") || name.starts_with("http.");
        let last = name.rsplit('.').next().unwrap_or_default();
        of_proxy && !name.starts_with("http.admin.") && COUNTED.contains(&last)
    };
    stats
        .into_iter()
        .filter(|(name, value)| *value > 0 && is_counted(name))
        .map(|(name, value)| format!("{name} {value}"))
        .collect()
}
