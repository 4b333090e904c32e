//! What tells clients apart by their ClientHello, in logs: JA3 and JA4.

use super::files::Files;
use super::{all_alike, certificate, curl, listener_with, log_of, server_tls, start};

/// Listeners by what their inspector finds out.
const LISTENERS: &[(&str, &str)] = &[
    (
        "both",
        "enable_ja3_fingerprinting: true, enable_ja4_fingerprinting: true",
    ),
    ("ja3", "enable_ja3_fingerprinting: true"),
    ("ja4", "enable_ja4_fingerprinting: true"),
    ("neither", ""),
];

/// Clients.
const CLIENTS: &[(&str, &[&str])] = &[
    ("a.test", &[]),
    ("a.test", &["--http2"]),
    ("a.test", &["--no-alpn"]),
    ("a.test", &["--tls-max", "1.2"]),
    (
        "a.test",
        &[
            "--tls-max",
            "1.2",
            "--ciphers",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ],
    ),
    ("a.test", &["--tlsv1.3", "--curves", "X25519:P-256"]),
    ("a.test", &["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"]),
];

#[test]
fn clients_are_told_apart_as_by_envoy() {
    let files = Files::new();
    let tls = server_tls(&format!(
        "common_tls_context: {{ alpn_protocols: [ h2, http/1.1 ], tls_certificates: [ {} ] }}",
        certificate("server")
    ));
    all_alike("clients_are_told_apart_as_by_envoy", |program| {
        let listeners = LISTENERS.iter().map(|(name, options)| {
            let log = "%TLS_JA3_FINGERPRINT% %TLS_JA4_FINGERPRINT%";
            let inspector = format!(
                "    listener_filters: [ {{ name: inspector, typed_config: {{ \"@type\": \
                 type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector, \
                 {options} }} }} ]\n    filter_chains:"
            );
            listener_with(name, &tls, "", log, "").replace("    filter_chains:", &inspector)
        });
        let process = start(program, &files, &listeners.collect::<String>(), "");
        let mut seen = String::new();
        for (name, _) in LISTENERS {
            let address = process.listener(name);
            for (host, arguments) in CLIENTS {
                assert_eq!(curl(&files, address, host, arguments), "hello 200");
            }
            // An address is not sent as a name.
            assert_eq!(curl(&files, address, "127.0.0.1", &[]), "hello 200");
            let log = log_of(&process, name, CLIENTS.len() + 1);
            assert_eq!(log.contains("- -"), *name == "neither", "{name}: {log}");
            seen += &format!("{name}\n{log}");
        }
        seen
    });
}
