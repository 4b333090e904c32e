//! Sessions that are taken up again, by clients and with hosts.

use std::collections::BTreeMap;

use ringway_tests::process::{Program, each_driver};
use ringway_tests::programs;

use super::files::Files;
use super::{all_alike, ask_by_openssl, back, client_tls, cluster, get, listener, moved, start};

/// Sessions are taken up again, with tickets and without.
#[test]
fn sessions_are_taken_up_again() {
    let files = Files::new();
    let Some(openssl) = programs::optional("sessions_are_taken_up_again", "openssl") else {
        return;
    };
    let connect =
        |address, arguments: &[&str]| ask_by_openssl(&openssl, &files, address, arguments);
    each_driver(|program| {
        let process = back(program, &files);
        let address = process.listener("any");
        for flags in [&["-tls1_2"][..], &["-tls1_2", "-no_ticket"], &["-tls1_3"]] {
            let before = moved(&process);
            let first = connect(address, &[flags, &["-sess_out", "session"]].concat());
            assert!(first.contains("\nNew, "), "{flags:?}: {first}");
            let second = connect(address, &[flags, &["-sess_in", "session"]].concat());
            assert!(second.contains("\nReused, "), "{flags:?}: {second}");
            let reused = |stats: &BTreeMap<String, u64>| {
                let count = stats.get("listener.any.ssl.session_reused");
                count.copied().unwrap_or(0)
            };
            assert_eq!(reused(&moved(&process)), reused(&before) + 1, "{flags:?}");
        }
    });
}

/// What is counted of sessions with hosts: of one that is taken up again, what the first
/// connection has agreed on.
#[test]
fn sessions_with_hosts_are_counted_as_by_envoy() {
    let test = "sessions_with_hosts_are_counted_as_by_envoy";
    let Some(envoy) = programs::envoy(test) else {
        return;
    };
    let files = Files::new();
    let back = back(&Program::Envoy(envoy), &files);
    let once = "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
         \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
         explicit_http_config: { http_protocol_options: {} }, common_http_protocol_options: { \
         max_requests_per_connection: 1 } } }";
    all_alike(test, |program| {
        let (mut routes, mut clusters) = (String::new(), String::new());
        for (name, version) in [("old", "TLSv1_2"), ("new", "TLSv1_3")] {
            routes += &format!(
                "              - {{ match: {{ prefix: /{name} }}, route: {{ cluster: {name}, \
                 prefix_rewrite: /direct }} }}\n"
            );
            let context = format!(
                "sni: a.test, common_tls_context: {{ tls_params: {{ \
                 tls_maximum_protocol_version: {version}, ecdh_curves: [ P-256 ], cipher_suites: [ \
                 ECDHE-ECDSA-AES128-GCM-SHA256 ] }} }}"
            );
            let socket = format!("{}\n    {once}", client_tls(&context));
            clusters += &cluster(name, back.listener("any"), &socket);
        }
        let listener = listener("front", "name: plain", &routes);
        let process = start(program, &files, &listener, &clusters);
        for path in ["/old", "/new", "/old", "/new", "/old"] {
            let got = get(process.listener("front"), path);
            assert_eq!(got, "200 hello", "{}, {path}", process.name());
        }
        let counted: Vec<_> = (moved(&process).into_iter())
            .filter(|(name, _)| name.starts_with("cluster."))
            // rustls and BoringSSL do not like the same ciphers of TLS 1.3 best.
            .filter(|(name, _)| !name.contains("new.ssl.ciphers"))
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect();
        let reused = "cluster.old.ssl.session_reused: 2\n";
        assert!(counted.iter().any(|line| line == reused), "{counted:?}");
        counted.concat()
    });
}
