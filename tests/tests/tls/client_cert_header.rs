//! `x-forwarded-client-cert`: what hosts learn of the client's certificate, in every
//! mode, as Envoy writes it.

use std::process::Command;

use ringway_tests::process::Program;
use ringway_tests::programs;

use super::files::Files;
use super::{all_alike, certificate, listener_with, log_of, server_tls, start};

const ALL: &str = "subject: true, cert: true, chain: true, dns: true, uri: true, issuer: true";

/// Listeners by what their connection managers do: mode and details.
const MODES: &[(&str, &str, &str)] = &[
    ("sanitize", "SANITIZE", ALL),
    ("forward", "FORWARD_ONLY", ALL),
    ("append", "APPEND_FORWARD", ""),
    ("append_all", "APPEND_FORWARD", ALL),
    ("append_json", "APPEND_FORWARD", "uri: true, format: JSON"),
    ("set", "SANITIZE_SET", ""),
    (
        "set_some",
        "SANITIZE_SET",
        "subject: false, uri: true, dns: true",
    ),
    ("set_all", "SANITIZE_SET", ALL),
    (
        "set_json",
        "SANITIZE_SET",
        "subject: true, cert: true, chain: true, dns: true, uri: true, issuer: true, format: JSON",
    ),
    ("always", "ALWAYS_FORWARD_ONLY", ALL),
];

/// What clients say before us.
const SENT: &[&[&str]] = &[
    &[],
    &["Hash=z;URI=u"],
    &["[{\"hash\":\"z\"}]"],
    &["[{\"hash\":\"z\"}], a"],
];

/// Who they are; `client-chain` sends the authority's certificate, too.
const CERTIFICATES: &[Option<(&str, &str)>] = &[
    None,
    Some(("client", "client")),
    Some(("client-chain", "client")),
    Some(("bare", "bare")),
    Some(("stranger", "stranger")),
];

fn listeners(chain: &str) -> String {
    let one = |(name, mode, details): &(&str, &str, &str)| {
        let fields = format!(
            "          forward_client_cert_details: {mode}
          set_current_client_cert_details: {{ {details} }}
"
        );
        listener_with(name, chain, &fields, "%REQ(X-FORWARDED-CLIENT-CERT)%", "")
    };
    MODES.iter().map(one).collect()
}

fn ask(files: &Files, url: &str, sent: &[&str], certificate: Option<(&str, &str)>) {
    let curl = programs::optional("tls", "curl").expect("curl, which every machine has");
    let mut command = Command::new(curl);
    command
        .current_dir(files.folder())
        .args(["-s", "-k", "--fail", "--max-time", "20", url]);
    for value in sent {
        command.args(["-H", &format!("x-forwarded-client-cert: {value}")]);
    }
    if let Some((certificate, key)) = certificate {
        command.args(["--cert", &format!("{certificate}.pem")]);
        command.args(["--key", &format!("{key}.key")]);
    }
    let output = command.output().expect("curl runs");
    assert_eq!(output.stdout, b"hello", "{url} {certificate:?}");
}

fn observe(program: &Program, files: &Files) -> String {
    let with_keys = server_tls(&format!(
        "common_tls_context: {{ tls_certificates: [ {} ], validation_context: {{ trusted_ca: \
         {{ filename: FILES/ca.pem }}, trust_chain_verification: ACCEPT_UNTRUSTED }} }}",
        certificate("server")
    ));
    let mut seen = String::new();
    for (scheme, chain, certificates) in [
        ("https", &*with_keys, CERTIFICATES),
        ("http", "name: plain", &[None][..]),
    ] {
        let process = start(program, files, &listeners(chain), "");
        for (name, ..) in MODES {
            let url = format!("{scheme}://{}/direct", process.listener(name));
            for certificate in certificates {
                for sent in SENT {
                    ask(files, &url, sent, *certificate);
                }
            }
            let lines = certificates.len() * SENT.len();
            let log = log_of(&process, name, lines);
            assert_eq!(log.lines().count(), lines);
            for (i, line) in log.lines().enumerate() {
                let (certificate, sent) = (certificates[i / SENT.len()], SENT[i % SENT.len()]);
                seen += &format!("{scheme} {name} {certificate:?} {sent:?}: {line}\n");
            }
        }
    }
    seen
}

#[test]
fn hosts_learn_of_clients_what_envoys_tell() {
    let files = Files::new();
    files.chain("client-chain", &["client", "ca"]);
    all_alike("hosts_learn_of_clients_what_envoys_tell", |program| {
        observe(program, &files)
    });
}
