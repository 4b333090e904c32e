//! One connection after the other: every answer that there is, and none.

use std::io::Write as _;
use std::sync::Arc;

use ringway_tests::admin::Stats;
use ringway_tests::observation;
use ringway_tests::process::Program;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::files::Files;
use crate::scene::{Listener, PATIENCE, Scene, Terminal, connect, read, reset};
use crate::script::{as_in_envoy, python};

const OTHER: Listener = Listener::new("", "ok");

const ENABLED: &str = "filter_enabled_metadata: { filter: nobody, path: [ { key: said } ], value: { string_match: { exact: it } }";

/// The listeners, each with what its client does.
fn listeners() -> Vec<(Listener, Client)> {
    use Client::{Leaves, Listens, Resets, ResetsAtOnce, Says, Secure};
    let of = |name, decision| Listener::new(name, decision);
    let failing = |name, cluster| Listener {
        name,
        cluster,
        ..OTHER
    };
    let enabled: &'static str = format!("{ENABLED} }}").leak();
    let inverted: &'static str = format!("{ENABLED}, invert: true }}").leak();
    vec![
        (of("allowed", "ok"), Says("hello")),
        (
            Listener {
                fields: "bootstrap_metadata_labels_key: labels, include_tls_session: true, include_peer_certificate: true, transport_api_version: V3",
                ..of("all_in_plaintext", "ok")
            },
            Says("hello"),
        ),
        (of("told", "told"), Says("hello")),
        (of("denied", "deny"), Says("hello")),
        (of("denied_and_told", "deny-told"), Says("hello")),
        (of("empty", "empty"), Says("hello")),
        (of("nonsense", "nonsense"), Says("hello")),
        (of("unavailable", "UNAVAILABLE"), Says("hello")),
        (of("permission_denied", "PERMISSION_DENIED"), Says("hello")),
        (
            Listener {
                fields: "failure_mode_allow: true",
                ..of("unavailable_allowed", "UNAVAILABLE")
            },
            Says("hello"),
        ),
        (
            Listener {
                fields: "failure_mode_allow: true",
                ..of("denied_in_failure_mode", "deny")
            },
            Says("hello"),
        ),
        (failing("down", "auth_down"), Says("hello")),
        (
            Listener {
                fields: "failure_mode_allow: true",
                ..failing("down_allowed", "auth_down")
            },
            Says("hello"),
        ),
        (failing("http1", "auth_http1"), Says("hello")),
        (failing("no_cluster", "nowhere"), Says("hello")),
        (
            Listener {
                call: "timeout: 0.3s",
                ..failing("mute", "auth_mute")
            },
            Says("hello"),
        ),
        (
            Listener {
                call: "timeout: 0.3s",
                fields: "failure_mode_allow: true",
                ..failing("mute_allowed", "auth_mute")
            },
            Says("hello"),
        ),
        (
            Listener {
                fields: enabled,
                ..of("disabled", "deny")
            },
            Resets("hello"),
        ),
        (
            Listener {
                fields: inverted,
                ..of("enabled", "told")
            },
            Says("hello"),
        ),
        (of("silent", "ok"), Leaves),
        (of("gone", "slow"), ResetsAtOnce("hello")),
        (
            Listener {
                terminal: Terminal::Greeting,
                ..of("greeted", "told")
            },
            Listens("greeting", "hello"),
        ),
        (
            Listener {
                terminal: Terminal::Echo,
                ..of("echo", "told")
            },
            Says("hello"),
        ),
        (
            Listener {
                terminal: Terminal::Echo,
                ..of("echo_silent", "ok")
            },
            Leaves,
        ),
        (
            Listener {
                terminal: Terminal::Echo,
                ..of("echo_denied", "deny")
            },
            Says("hello"),
        ),
        (
            Listener {
                terminal: Terminal::Echo,
                ..of("echo_gone", "slow")
            },
            ResetsAtOnce("hello"),
        ),
        (
            Listener {
                terminal: Terminal::Http,
                ..of("http", "ok")
            },
            Says("GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ),
        (
            Listener {
                terminal: Terminal::Http,
                ..of("http_denied", "deny-told")
            },
            Says("GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ),
        (
            Listener {
                tls: true,
                ..of("tls", "ok")
            },
            Secure("client"),
        ),
        (
            Listener {
                tls: true,
                fields: "include_tls_session: true, include_peer_certificate: true",
                ..of("tls_with_all", "told")
            },
            Secure("client"),
        ),
        (
            Listener {
                tls: true,
                fields: "include_peer_certificate: true",
                ..of("tls_bare", "deny")
            },
            Secure("bare"),
        ),
    ]
}

/// What a client does.
#[derive(Clone, Copy)]
enum Client {
    /// Sends this, reads what comes back, and leaves.
    Says(&'static str),
    /// The same, but it breaks off.
    Resets(&'static str),
    /// Reads so much, and then does as the first one.
    Listens(&'static str, &'static str),
    /// Leaves without a word.
    Leaves,
    /// Sends this, and breaks off when somebody is asked about it.
    ResetsAtOnce(&'static str),
    /// Says hello over TLS, with this certificate.
    Secure(&'static str),
}

impl Client {
    fn act(self, listener: &Listener, scene: &Scene, files: &Files) -> String {
        let mut stream = connect(scene.process.listener(listener.name));
        let count = |said: &str| match listener.terminal {
            Terminal::Http => 1,
            _ => said.len(),
        };
        match self {
            Self::Says(said) => {
                stream.write_all(said.as_bytes()).expect("it is sent");
                without_time(&read(&stream, count(said)))
            }
            Self::Resets(said) => {
                stream.write_all(said.as_bytes()).expect("it is sent");
                let seen = read(&stream, said.len());
                reset(stream);
                seen
            }
            Self::Listens(first, said) => {
                let mut seen = read(&stream, first.len());
                stream.write_all(said.as_bytes()).expect("it is sent");
                seen += &read(&stream, said.len());
                seen
            }
            Self::Leaves => String::from("left"),
            Self::ResetsAtOnce(said) => {
                stream.write_all(said.as_bytes()).expect("it is sent");
                let name = format!("ext_authz.{}.active", listener.name);
                let admin = scene.process.admin();
                let (_, asked) = admin.await_stats(PATIENCE, |stats| stats.get(&name) == Some(&1));
                reset(stream);
                format!("asked {asked}")
            }
            Self::Secure(certificate) => {
                let client = secure(files, certificate);
                let mut stream = StreamOwned::new(client, stream);
                stream.write_all(b"hello").expect("it is sent");
                read(&mut stream, 5)
            }
        }
    }
}

/// What is read of a response, without what differs.
fn without_time(seen: &str) -> String {
    let (before, _) = seen.split_once("date: ").unwrap_or((seen, ""));
    before.to_owned()
}

fn secure(files: &Files, name: &str) -> ClientConnection {
    let read = |name: &str| CertificateDer::from_pem_file(files.path(name)).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(files.path(&format!("{name}.key"))).expect("a key");
    let mut roots = RootCertStore::empty();
    roots.add(read("ca.pem")).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![read(&format!("{name}.pem"))], key)
        .expect("a key of its certificate");
    let server = ServerName::try_from("a.test").expect("a name");
    ClientConnection::new(Arc::new(config), server).expect("a client")
}

/// Statistics that are compared: those of the filter, of the clusters that are asked,
/// and of requests of the proxy's own.
fn is_counted(name: &str) -> bool {
    let of_clusters = name.starts_with("cluster.auth");
    // Codecs count frames in their own ways, and a server that is spoken to in HTTP/1
    // may be the first to close.
    let uncertain = ["bytes", ".http2.", "cx_destroy"];
    let is_certain = !uncertain.iter().any(|part| name.contains(part));
    name.starts_with("ext_authz.")
        || name.starts_with("http.async-client.")
        || of_clusters && is_certain
}

fn play(scene: &mut Scene, files: &Files, all: &[(Listener, Client)]) -> Vec<String> {
    let mut seen = Vec::new();
    for (listener, client) in all {
        let name = listener.name;
        let before = scene.still_stats();
        let said = client.act(listener, scene, files);
        seen.push(format!("{name} reads {said}"));
        let log = scene.process.folder().join(format!("{name}.log"));
        for line in observation::logged(&log, 0, 1, PATIENCE) {
            seen.push(format!("{name} logs {}", without_duration(&line)));
        }
        let after: Stats = scene.still_stats();
        let moved = observation::moved(&before, &after, is_counted);
        seen.extend(
            moved
                .iter()
                .map(|(what, by)| format!("{name}: {what} {by:+}")),
        );
    }
    // A call that is given up may be over before the server has seen it.
    let calls = scene.stop_server();
    seen.extend(calls.into_iter().filter(|call| !call.contains("'slow'")));
    seen
}

/// A line without how long the check took, but that it was measured.
fn without_duration(line: &str) -> String {
    let Some((before, rest)) = line.split_once("\"ext_authz_duration\":") else {
        return line.to_owned();
    };
    let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    format!("{before}\"ext_authz_duration\":N{rest}")
}

#[test]
fn connections_are_asked_about() {
    let test = "connections_are_asked_about";
    let Some(python) = python(test) else {
        return;
    };
    let files = Files::new();
    let all = listeners();
    let play = |program: &Program| {
        let only: Vec<_> = all.iter().map(|(listener, _)| *listener).collect();
        let flags = ["--concurrency", "1"];
        let mut scene = Scene::start(program, &python, &files, &only, &flags);
        play(&mut scene, &files, &all)
    };
    let Some(seen) = as_in_envoy(test, play) else {
        return;
    };
    // That both say the same may also mean that nothing works.
    let has = |line: &str| assert!(seen.iter().any(|one| one == line), "{line}: {seen:#?}");
    has("allowed reads \"hello\"");
    has("denied reads \"\", then the end");
    has("denied: ext_authz.denied.denied +1");
    let calls = seen.iter().filter(|line| line.starts_with("call ")).count();
    assert_eq!(calls, 21, "{seen:#?}");
}
