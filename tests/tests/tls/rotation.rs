//! Secrets that change while connections are open and sessions are kept.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringway_tests::process::{Process, each_driver};
use ringway_tests::programs;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::files::Files;
use super::sds::{await_shown, certificate_secret, named, put, secret, shown};
use super::{PATIENCE, all_alike, ask_by_openssl, certificate, listener, server_tls, start};

fn server() -> String {
    server_tls(&format!(
        "common_tls_context: {{ tls_certificate_sds_secret_configs: [ {} ] }}",
        named("srv")
    ))
}

/// Swaps a symbolic link, as Kubernetes does with the folder of a secret.
fn link(at: &Path, to: &Path) {
    let new = at.with_extension("new");
    std::os::unix::fs::symlink(to, &new).expect("a link");
    std::fs::rename(&new, at).expect("it can be moved");
}

/// A folder with the certificate of this name as `tls.pem` and `tls.key`.
fn folder(files: &Files, name: &str, chain: &str, key: &str) {
    let folder = files.path(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    let copy = |from: String, to: &str| {
        std::fs::copy(files.path(&from), folder.join(to)).expect("a copy");
    };
    copy(format!("{chain}.pem"), "tls.pem");
    copy(format!("{key}.key"), "tls.key");
}

fn rotations_failed(process: &Process, times: u64) {
    let (stats, held) = process.admin().await_stats(PATIENCE, |stats| {
        stats
            .get("sds.srv.key_rotation_failed")
            .copied()
            .unwrap_or(0)
            == times
    });
    assert!(held, "{}: {stats:?}", process.name());
}

/// `sds.*` apart from times, and updates of contexts.
fn counted(process: &Process) -> String {
    let text = process.admin().get("/stats?usedonly").text();
    let lines = text.lines().filter(|line| {
        (line.starts_with("sds.") && !line.contains("update_time") && !line.contains("duration"))
            || line.contains("update_by_sds")
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn directories_are_watched_as_by_envoy() {
    let files = Files::new();
    all_alike("directories_are_watched_as_by_envoy", |program| {
        let mut seen = String::new();

        // The folder of the file is another one.
        for name in ["one", "two"] {
            std::fs::create_dir_all(files.path(name)).expect("a folder");
        }
        std::fs::create_dir_all(files.path("links")).expect("a folder");
        let _ = std::fs::remove_file(files.path("links/now"));
        for (name, of) in [("one", "server"), ("two", "server-rsa")] {
            put(&files, "text.yaml", &certificate_secret("srv", of));
            std::fs::copy(
                files.path("sds/text.yaml"),
                files.path(name).join("srv.yaml"),
            )
            .expect("a copy");
        }
        link(&files.path("links/now"), &files.path("one"));
        let context = "common_tls_context: { tls_certificate_sds_secret_configs: [ { name: srv, \
             sds_config: { path_config_source: { path: FILES/links/now/srv.yaml, \
             watched_directory: { path: FILES/links } } } } ] }";
        let process = start(
            program,
            &files,
            &listener("front", &server_tls(context), ""),
            "",
        );
        await_shown(&process, "front", "server");
        link(&files.path("links/now"), &files.path("two"));
        await_shown(&process, "front", "server-rsa");
        seen += &counted(&process);
        drop(process);

        // The folder of the certificate is another one, and the secret says where to look.
        folder(&files, "three", "server", "server");
        folder(&files, "four", "server-rsa", "server-rsa");
        folder(&files, "five", "server", "client");
        link(&files.path("links/now"), &files.path("three"));
        let certificate = "tls_certificate: { certificate_chain: { filename: \
             FILES/links/now/tls.pem }, private_key: { filename: FILES/links/now/tls.key }, \
             watched_directory: { path: FILES/links } }";
        put(&files, "srv.yaml", &secret("srv", certificate));
        let process = start(program, &files, &listener("front", &server(), ""), "");
        await_shown(&process, "front", "server");
        link(&files.path("links/now"), &files.path("four"));
        await_shown(&process, "front", "server-rsa");
        seen += &counted(&process);
        link(&files.path("links/now"), &files.path("five"));
        rotations_failed(&process, 1);
        std::fs::remove_file(files.path("five/tls.key")).expect("it was there");
        link(&files.path("links/now"), &files.path("five"));
        rotations_failed(&process, 2);
        seen += &shown(process.listener("front"));
        link(&files.path("links/now"), &files.path("three"));
        await_shown(&process, "front", "server");
        seen += &counted(&process);
        drop(process);

        // Nobody says where to look: the folder of each file is.
        folder(&files, "six", "server", "server");
        let certificate = "tls_certificate: { certificate_chain: { filename: \
             FILES/six/tls.pem }, private_key: { filename: FILES/six/tls.key } }";
        put(&files, "srv.yaml", &secret("srv", certificate));
        let process = start(program, &files, &listener("front", &server(), ""), "");
        await_shown(&process, "front", "server");
        folder(&files, "seven", "server-rsa", "server-rsa");
        for (name, failed) in [("tls.pem", 2), ("tls.key", 2)] {
            std::fs::rename(files.path("seven").join(name), files.path("six").join(name))
                .expect("it can be moved");
            rotations_failed(&process, failed);
        }
        await_shown(&process, "front", "server-rsa");
        seen + &counted(&process)
    });
}

/// A session is taken up again while its key is in the list, and not afterwards.
#[test]
fn sessions_live_as_long_as_their_key() {
    let files = Files::new();
    let Some(openssl) = programs::optional("sessions_live_as_long_as_their_key", "openssl") else {
        return;
    };
    for key in 0..3u8 {
        std::fs::write(files.path(&format!("key{key}")), [key; 80]).expect("a file");
    }
    std::fs::write(files.path("short"), [0; 79]).expect("a file");
    let keys = |of: &[&str]| {
        let keys: Vec<_> = of
            .iter()
            .map(|key| format!("{{ filename: FILES/{key} }}"))
            .collect();
        let keys = keys.join(", ");
        secret(
            "keys",
            &format!("session_ticket_keys: {{ keys: [ {keys} ] }}"),
        )
    };
    let connect = |address: SocketAddr, arguments: &[&str]| {
        let said = ask_by_openssl(&openssl, &files, address, arguments);
        let is_resumed = said.contains("\nReused, ");
        assert!(is_resumed || said.contains("\nNew, "), "{said}");
        is_resumed
    };
    all_alike("sessions_live_as_long_as_their_key", |program| {
        put(&files, "keys.yaml", &keys(&["key0"]));
        let context = format!(
            "session_ticket_keys_sds_secret_config: {}, common_tls_context: {{ tls_certificates: \
             [ {} ] }}",
            named("keys"),
            certificate("server")
        );
        let process = start(
            program,
            &files,
            &listener("front", &server_tls(&context), ""),
            "",
        );
        let address = process.listener("front");
        let mut seen = String::new();
        for flag in ["-tls1_2", "-tls1_3"] {
            let kept = format!("kept{flag}");
            let first = connect(address, &[flag, "-sess_out", &kept]);
            let second = connect(address, &[flag, "-sess_in", &kept]);
            assert_eq!((first, second), (false, true), "{flag}: {}", process.name());
        }
        for (rotation, list) in [
            &["key1", "key0"][..],
            &["key1"],
            &["short"],
            &["key2", "key0"],
        ]
        .iter()
        .enumerate()
        {
            put(&files, "keys.yaml", &keys(list));
            let (stats, held) = process.admin().await_stats(PATIENCE, |stats| {
                let count = |end: &str| stats.get(&format!("sds.keys.update_{end}")).copied();
                let ended = count("success").unwrap_or(0) + count("rejected").unwrap_or(0);
                ended == rotation as u64 + 2
            });
            assert!(held, "{}: {stats:?}", process.name());
            for flag in ["-tls1_2", "-tls1_3"] {
                let resumed = connect(address, &[flag, "-sess_in", &format!("kept{flag}")]);
                seen += &format!("{list:?} {flag}: {resumed}\n");
            }
        }
        seen + &counted(&process)
    });
}

/// Whoever the server is: that is not what is tested.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::RSA_PSS_SHA256,
        ]
    }
}

const CONNECTIONS: usize = 1000;
const ROTATIONS: usize = 5;

/// How far the connections are, all together.
#[derive(Default)]
struct Progress {
    open: AtomicU64,
    answered: AtomicU64,
    /// Requests that each may send so far.
    allowed: AtomicU64,
}

impl Progress {
    /// Lets each connection send one more request.
    fn allow_one(&self) {
        self.allowed.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until all that were allowed are answered.
    fn await_answers(&self) {
        let begun = Instant::now();
        let wanted = self.allowed.load(Ordering::Relaxed) * CONNECTIONS as u64;
        while self.answered.load(Ordering::Relaxed) < wanted {
            assert!(begun.elapsed() < PATIENCE * 3, "requests are not answered");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A client that sends its requests on one connection, each when it may.
async fn client(address: SocketAddr, connector: TlsConnector, progress: Arc<Progress>, asks: u64) {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let name = ServerName::try_from("a.test").expect("a name");
    let mut stream = connector.connect(name, stream).await.expect("a handshake");
    progress.open.fetch_add(1, Ordering::Relaxed);
    let mut answer = vec![0; 4096];
    for ask in 0..asks {
        while progress.allowed.load(Ordering::Relaxed) <= ask {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let request = b"GET /direct HTTP/1.1\r\nhost: a.test\r\n\r\n";
        stream.write_all(request).await.expect("it is open");
        let mut length = 0;
        while !answer[..length].ends_with(b"hello") {
            let read = stream
                .read(&mut answer[length..])
                .await
                .expect("it is open");
            assert!(read > 0, "closed after {ask} answers");
            length += read;
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        progress.answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// A client's configuration that accepts every certificate.
pub(super) fn anybody() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth()
}

/// 1,000 connections with requests on them through five rotations: none is closed,
/// and new ones get the new certificate on every worker.
#[test]
fn open_connections_outlive_rotations() {
    let files = Files::new();
    let connector = TlsConnector::from(Arc::new(anybody()));
    each_driver(|program| {
        put(&files, "srv.yaml", &certificate_secret("srv", "server"));
        let text = format!(
            "node: {{ id: me, cluster: mine }}\nadmin: {{ address: {{ socket_address: {{ address: \
             127.0.0.1, port_value: 0 }} }} }}\nstatic_resources:\n  listeners:\n{}",
            listener("front", &server(), "")
        );
        let text = text.replace("FILES", &files.folder().to_string_lossy());
        let process = Process::start_with(program, &text, &["--concurrency", "2"]);
        let address = process.listener("front");
        let progress = Arc::<Progress>::default();
        // A round of requests before, one in each rotation and one behind.
        let asks = ROTATIONS as u64 + 2;
        let (connector, of_clients) = (connector.clone(), Arc::clone(&progress));
        let clients = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let all = (0..CONNECTIONS).map(|_| {
                let progress = Arc::clone(&of_clients);
                runtime.spawn(client(address, connector.clone(), progress, asks))
            });
            let all: Vec<_> = all.collect();
            runtime.block_on(async {
                for client in all {
                    client.await.expect("it was never closed");
                }
            });
        });
        while progress.open.load(Ordering::Relaxed) < CONNECTIONS as u64 {
            assert!(!clients.is_finished(), "a connection was not made");
            std::thread::sleep(Duration::from_millis(10));
        }
        progress.allow_one();
        progress.await_answers();
        for rotation in 0..ROTATIONS {
            // Their requests are under way while the certificate becomes another one.
            progress.allow_one();
            let name = ["server-rsa", "server"][rotation % 2];
            put(&files, "srv.yaml", &certificate_secret("srv", name));
            await_shown(&process, "front", name);
            // As many as reach both workers, whoever the kernel gives them to.
            for _ in 0..12 {
                assert_eq!(shown(address), name, "{}", process.name());
            }
            progress.await_answers();
        }
        progress.allow_one();
        clients.join().expect("none was closed");
        let stats = process.admin().stats();
        let stat = |name: &str| stats.get(name).copied().unwrap_or(0);
        assert_eq!(stat("sds.srv.update_success"), ROTATIONS as u64 + 1);
        for worker in 0..2 {
            let name = format!("listener.front.worker_{worker}.downstream_cx_total");
            assert!(stat(&name) > 0, "{name}");
        }
    });
}
