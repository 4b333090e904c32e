//! Clients of all kinds: what they get, what is counted and what is logged.

use std::collections::BTreeMap;

use super::files::Files;
use super::{all_alike, back, curl, log_of, moved};

/// What a client asks of which listener.
const CLIENTS: &[(&str, &str, &[&str])] = &[
    (
        "any",
        "a.test",
        &["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"],
    ),
    (
        "any",
        "a.test",
        &[
            "--tls13-ciphers",
            "TLS_CHACHA20_POLY1305_SHA256",
            "--curves",
            "P-256",
        ],
    ),
    (
        "any",
        "x.b.test",
        &[
            "--tls-max",
            "1.2",
            "--ciphers",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
        ],
    ),
    (
        "any",
        "r.test",
        &[
            "--tls-max",
            "1.2",
            "--ciphers",
            "ECDHE-RSA-AES128-GCM-SHA256",
        ],
    ),
    (
        "any",
        "r.test",
        &[
            "--tls-max",
            "1.2",
            "--ciphers",
            "ECDHE-RSA-CHACHA20-POLY1305",
        ],
    ),
    (
        "any",
        "nobody.test",
        &["--tls13-ciphers", "TLS_AES_256_GCM_SHA384"],
    ),
    (
        "any",
        "a.test",
        &["--tls-max", "1.2", "--ciphers", "AES128-SHA"],
    ),
    ("any", "a.test", &["--curves", "P-521"]),
    (
        "old",
        "a.test",
        &[
            "--tls-max",
            "1.2",
            "--ciphers",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ],
    ),
    ("old", "a.test", &["--tlsv1.3"]),
    (
        "new",
        "a.test",
        &["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"],
    ),
    ("new", "a.test", &["--tls-max", "1.2"]),
    (
        "mutual",
        "a.test",
        &["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"],
    ),
    (
        "mutual",
        "a.test",
        &[
            "--tls13-ciphers",
            "TLS_AES_128_GCM_SHA256",
            "--cert",
            "client.pem",
            "--key",
            "client.key",
        ],
    ),
    (
        "mutual",
        "a.test",
        &[
            "--tls-max",
            "1.2",
            "--ciphers",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "--cert",
            "client.pem",
            "--key",
            "client.key",
        ],
    ),
    (
        "mutual",
        "a.test",
        &["--cert", "stranger.pem", "--key", "stranger.key"],
    ),
    (
        "named",
        "a.test",
        &["--cert", "client.pem", "--key", "client.key"],
    ),
    (
        "lenient",
        "a.test",
        &[
            "--tls13-ciphers",
            "TLS_AES_128_GCM_SHA256",
            "--cert",
            "stranger.pem",
            "--key",
            "stranger.key",
        ],
    ),
    (
        "lenient",
        "a.test",
        &["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"],
    ),
];

#[test]
fn clients_get_what_envoys_get() {
    let files = Files::new();
    all_alike("clients_get_what_envoys_get", |program| {
        let process = back(program, &files);
        let mut seen = String::new();
        let mut answered: BTreeMap<&str, usize> = BTreeMap::new();
        for (listener, host, arguments) in CLIENTS {
            let got = curl(&files, process.listener(listener), host, arguments);
            *answered.entry(listener).or_default() += usize::from(got == "hello 200");
            seen += &format!("{listener} {host} {arguments:?}: {got}\n");
        }
        for (listener, lines) in answered {
            seen += &log_of(&process, listener, lines);
        }
        for (name, value) in moved(&process) {
            seen += &format!("{name}: {value}\n");
        }
        // Contexts come in any order.
        let certificates = process.admin().get("/certs").text();
        let certificates: serde_json::Value =
            serde_json::from_str(&certificates).expect("a JSON document");
        let contexts = certificates["certificates"].as_array().expect("a list");
        let mut contexts: Vec<String> = contexts.iter().map(ToString::to_string).collect();
        contexts.sort();
        seen + &contexts.join("\n")
    });
}
