//! Which version of HTTP hosts are spoken to with: what the cluster says, what
//! the host chooses in the handshake, or what the client speaks.

use super::files::Files;
use super::{
    PATIENCE, all_alike, certificate, client_tls, cluster, get, listener_with, log_of, s_client,
    server_tls, start,
};
use ringway_tests::admin::Stats;
use ringway_tests::process::{Process, Program};
use ringway_tests::programs;
use std::process::Command;

/// Clusters: their name, what they say of HTTP, of TLS, and the listener they
/// lead to.
const CLUSTERS: &[(&str, &str, &str, &str)] = &[
    ("auto_both", "auto_config: {}", "", "both"),
    (
        "auto_old",
        "auto_config: { http2_protocol_options: {} }",
        "",
        "old",
    ),
    ("auto_none", "auto_config: {}", "", "none"),
    (
        "auto_told",
        "auto_config: {}",
        "alpn_protocols: [ http/1.1 ]",
        "both",
    ),
    (
        "second",
        "explicit_http_config: { http2_protocol_options: {} }",
        "",
        "both",
    ),
    (
        "untold_second",
        "explicit_http_config: { http2_protocol_options: {} }",
        "",
        "none",
    ),
    (
        "first",
        "explicit_http_config: { http_protocol_options: {} }",
        "",
        "both",
    ),
    (
        "downstream",
        "use_downstream_protocol_config: { http2_protocol_options: {} }",
        "",
        "both",
    ),
];

fn back(program: &Program, files: &Files) -> Process {
    let server = certificate("server");
    let listeners = [
        ("both", "alpn_protocols: [ h2, http/1.1 ],"),
        ("old", "alpn_protocols: [ http/1.1 ],"),
        ("none", ""),
    ];
    let listeners = listeners.map(|(name, alpn)| {
        let tls = format!("common_tls_context: {{ {alpn} tls_certificates: [ {server} ] }}");
        listener_with(name, &server_tls(&tls), "", "%PROTOCOL%", "")
    });
    start(program, files, &listeners.concat(), "")
}

fn front(program: &Program, files: &Files, back: &Process) -> Process {
    let (mut routes, mut clusters) = (String::new(), String::new());
    for (name, http, tls, to) in CLUSTERS {
        routes += &format!(
            "              - {{ match: {{ prefix: /{name} }}, route: {{ cluster: {name}, \
             prefix_rewrite: /direct }} }}\n"
        );
        let options = format!(
            "{}\n    typed_extension_protocol_options: {{ \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, {http} }} }}",
            client_tls(&format!("common_tls_context: {{ {tls} }}"))
        );
        clusters += &cluster(name, back.listener(to), &options);
    }
    let log = "%REQ(:PATH)% %PROTOCOL% %UPSTREAM_PROTOCOL% %RESPONSE_CODE%";
    let listener = listener_with("front", "name: plain", "", log, &routes);
    start(program, files, &listener, &clusters)
}

/// `200 hello` over HTTP/2.
fn get_over_http2(front: &Process, path: &str) -> String {
    let curl = programs::optional("tls", "curl").expect("curl, which every machine has");
    let output = Command::new(curl)
        .args(["-s", "--max-time", "20", "--http2-prior-knowledge"])
        .args(["-w", " %{http_code} %{http_version}"])
        .arg(format!("http://{}{path}", front.listener("front")))
        .output()
        .expect("curl runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn hosts_are_spoken_to_as_envoy_speaks_to_them() {
    let test = "hosts_are_spoken_to_as_envoy_speaks_to_them";
    let files = Files::new();
    let Some(envoy) = programs::envoy(test) else {
        return;
    };
    let back = back(&Program::Envoy(envoy), &files);
    all_alike(test, |program| {
        let front = front(program, &files, &back);
        let mut seen = String::new();
        for (name, ..) in CLUSTERS {
            // On one connection, the second.
            for _ in 0..2 {
                let got = get(front.listener("front"), &format!("/{name}"));
                assert!(got.starts_with("200"), "{name}: {got}");
                seen += &format!("{name}: {got}\n");
            }
            let got = get_over_http2(&front, &format!("/{name}"));
            seen += &format!("{name}: {got}\n");
        }
        seen += &log_of(&front, "front", 3 * CLUSTERS.len());
        let hosts = front.admin().get("/clusters").text();
        let totals = hosts.lines().filter(|line| line.contains("::cx_total::"));
        let mut totals: Vec<_> = totals
            .map(|line| {
                let (cluster, of_host) = line.split_once("::").expect("a cluster");
                let (_, total) = of_host.rsplit_once("::").expect("a number");
                format!("{cluster} has {total}\n")
            })
            .collect();
        totals.sort();
        seen.extend(totals);
        for (name, ..) in CLUSTERS {
            for of in ["", "http1_", "http2_"] {
                let stat = format!("cluster.{name}.upstream_cx_{of}total");
                seen += &format!("{stat}: {}\n", front.admin().stat(&stat));
            }
        }
        seen
    });
}

/// Whoever offers only protocols that are not spoken is served without.
#[test]
fn clients_may_offer_what_nobody_speaks() {
    let files = Files::new();
    all_alike("clients_may_offer_what_nobody_speaks", |program| {
        let back = back(program, &files);
        let mut seen = String::new();
        for listener in ["both", "old", "none"] {
            for offered in ["other", "other,http/1.1", "h2", "spdy/1,spdy/2"] {
                for more in [
                    &["-tls1_2"][..],
                    &["-tls1_3"],
                    // The server has to ask for another key.
                    &["-tls1_3", "-groups", "P-384:P-256"],
                ] {
                    let arguments = [&["-alpn", offered], more].concat();
                    let said = s_client(&files, back.listener(listener), &arguments);
                    let agreed = said.lines().find(|line| line.contains("ALPN"));
                    let agreed = agreed.expect("it has a connection");
                    assert!(!said.contains("alert"), "{listener} {offered}: {said}");
                    seen += &format!("{listener} {offered} {more:?}: {agreed}\n");
                }
            }
            // The client may have finished before the server.
            let open = format!("listener.{listener}.downstream_cx_active");
            let is_over = |stats: &Stats| stats.get(&open) == Some(&0);
            back.admin().await_stats(PATIENCE, is_over);
            let name = format!("listener.{listener}.ssl.handshake");
            seen += &format!("{}\n", back.admin().stat(&name));
        }
        seen
    });
}
