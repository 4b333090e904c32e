//! What `/clusters` counts of hosts that no request reaches: nobody is there, nobody
//! answers, or TLS fails.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};

use ringway_tests::ports::Reserved;
use ringway_tests::process::{Process, Program};

use super::files::Files;
use super::hosts::not_tls;
use super::{all_alike, back, client_tls, cluster, get, listener, start};

/// A host that takes connections and says nothing.
fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        let kept: Vec<TcpStream> = listener.incoming().flatten().collect();
        drop(kept);
    });
    address
}

/// A host that closes every connection.
fn closing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || listener.incoming().flatten().for_each(drop));
    address
}

const RETRIES: &str =
    "retry_policy: { retry_on: \"connect-failure,gateway-error\", num_retries: 1 }";

/// Statistics of hosts that are told once their requests are over.
fn counted(process: &Process) -> String {
    let text = process.admin().get("/clusters").text();
    let mut lines: Vec<_> = text
        .lines()
        .filter(|line| line.contains("::rq_") || line.contains("::cx_"))
        .filter(|line| !line.contains("_active::"))
        .filter_map(|line| {
            let mut parts = line.split("::");
            let (cluster, _, rest) = (parts.next()?, parts.next()?, parts);
            Some(format!("{cluster} {}", rest.collect::<Vec<_>>().join(" ")))
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn hosts_that_no_request_reaches_are_counted_as_in_envoy() {
    let files = Files::new();
    let reserved = Reserved::new();
    let nobody = reserved.address();
    let (silent, closing, not_tls) = (silent(), closing(), not_tls());
    let back = back(
        &Program::Ringway(ringway_tests::programs::drivers()[0]),
        &files,
    );
    let strict = "sni: a.test, common_tls_context: { validation_context: { trusted_ca: { \
         filename: FILES/other-ca.pem } } }";
    let any = "sni: a.test";
    let hurried = "connect_timeout: 0.4s";
    let patient = "connect_timeout: 30s";
    // Name, host, what is asked of it, how long connecting may take, and the route.
    let cases = [
        ("refused", nobody, None, patient, ""),
        ("refused_tls", nobody, Some(any), patient, ""),
        ("refused_again", nobody, Some(any), patient, RETRIES),
        ("closed", closing, Some(any), patient, ""),
        ("plain", not_tls, Some(any), patient, ""),
        ("plain_again", not_tls, Some(any), patient, RETRIES),
        ("stranger", back.listener("any"), Some(strict), patient, ""),
        ("slow", silent, Some(any), hurried, ""),
        ("slow_again", silent, Some(any), hurried, RETRIES),
        ("late", silent, Some(any), patient, "timeout: 0.4s"),
        (
            "late_try",
            silent,
            Some(any),
            patient,
            "retry_policy: { per_try_timeout: 0.4s, retry_on: gateway-error, num_retries: 1 }",
        ),
        ("answers", back.listener("any"), Some(any), patient, ""),
    ];
    all_alike(
        "hosts_that_no_request_reaches_are_counted_as_in_envoy",
        |program| {
            let (mut routes, mut clusters) = (String::new(), String::new());
            for (name, address, context, connecting, route) in &cases {
                let tls = context.map(client_tls).unwrap_or_default();
                clusters += &cluster(name, *address, &format!("{connecting}\n    {tls}"));
                let _ = writeln!(
                    routes,
                    "              - {{ match: {{ path: /{name} }}, route: {{ cluster: {name}, \
                     prefix_rewrite: /direct, {route} }} }}"
                );
            }
            let listener = listener("front", "name: plain", &routes);
            let front = start(program, &files, &listener, &clusters);
            let mut seen = String::new();
            for (name, ..) in &cases {
                let answer = get(front.listener("front"), &format!("/{name}"));
                let status = answer.split_whitespace().next().unwrap_or_default();
                let _ = writeln!(seen, "{name}: {status}");
            }
            seen += &counted(&front);
            for line in [
                "plain rq_error 1",
                "plain_again rq_error 2",
                "answers rq_success 1",
            ] {
                assert!(seen.contains(line), "{line}\n{seen}");
            }
            seen
        },
    );
}
