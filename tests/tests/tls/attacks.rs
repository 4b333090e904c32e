//! What is tried against TLS by clients that do shake hands (`hostile.rs` has those that
//! do not): keys changed without end, handshakes begun again, sessions of another
//! listener, data before the handshake, certificates that are made up. Envoy and Ringway
//! answer alike, and serve others afterwards.

use ringway_tests::patience;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_tests::process::Process;
use ringway_tests::programs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream, SupportedProtocolVersion};

use super::files::Files;
use super::{PATIENCE, all_alike, ask_by_openssl, back, certificate, curl, listener, server_tls};
use super::{moved, start};

type Version = &'static SupportedProtocolVersion;

const REQUEST: &[u8] = b"GET /direct HTTP/1.1\r\nhost: a.test\r\n\r\n";

/// A connection whose keys a test can change, and its records.
struct Client {
    tls: ClientConnection,
    socket: TcpStream,
}

impl Client {
    fn new(files: &Files, address: SocketAddr, version: Version) -> Self {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(files.path("ca.pem"));
        let authority = authority.expect("a certificate");
        roots.add(authority).expect("an authority");
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("a.test").expect("a name");
        let socket = TcpStream::connect(address).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("an option");
        socket.set_write_timeout(Some(PATIENCE)).expect("an option");
        Self {
            tls: ClientConnection::new(Arc::new(config), name).expect("a client"),
            socket,
        }
    }

    /// Whether a request is answered.
    fn is_served(&mut self) -> bool {
        let mut stream = Stream::new(&mut self.tls, &mut self.socket);
        let mut answer = Vec::new();
        let mut piece = [0; 1024];
        if stream.write_all(REQUEST).is_err() {
            return false;
        }
        while !answer.ends_with(b"hello") {
            match patience::read(&mut stream, &mut piece) {
                Ok(0) | Err(_) => return false,
                Ok(count) => answer.extend_from_slice(&piece[..count]),
            }
        }
        true
    }

    /// Sends a request in a record of this version, and says what comes of it.
    fn asks_in(&mut self, version: [u8; 2]) -> String {
        if let Err(error) = self.tls.complete_io(&mut self.socket) {
            return error.to_string();
        }
        let mut record = Vec::new();
        let sent = (self.tls.writer().write_all(REQUEST))
            .and_then(|()| self.tls.write_tls(&mut record))
            .and_then(|_| {
                record[1..3].copy_from_slice(&version);
                self.socket.write_all(&record)
            });
        if let Err(error) = sent {
            return error.to_string();
        }
        loop {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => return "the end".into(),
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
            match self.tls.process_new_packets() {
                Ok(state) if state.plaintext_bytes_to_read() > 0 => return "served".into(),
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
        }
    }

    /// Asks for new keys so many times, unless the connection ends before.
    fn change_keys(&mut self, times: usize) {
        for _ in 0..times {
            let sent = (self.tls.refresh_traffic_keys().is_ok())
                && self.tls.write_tls(&mut self.socket).is_ok();
            if !sent {
                return;
            }
        }
    }
}

/// As many changes as a long connection needs are made; whoever only changes keys is
/// not served any more.
#[test]
fn keys_are_changed_as_often_as_by_envoy() {
    let files = Files::new();
    all_alike("keys_are_changed_as_often_as_by_envoy", |program| {
        let process = back(program, &files);
        let address = process.listener("new");
        let mut patient = Client::new(&files, address, &TLS13);
        let served = (0..10).filter(|_| {
            patient.change_keys(20);
            patient.is_served()
        });
        let mut seen = format!("with requests between: {} of 10\n", served.count());
        for times in [1, 30, 40, 1000] {
            let mut client = Client::new(&files, address, &TLS13);
            assert!(client.is_served(), "{}", program.name());
            client.change_keys(times);
            seen += &format!("{times} at once: {}\n", client.is_served());
        }
        seen += &curl(&files, address, "a.test", &[]);
        seen
    });
}

/// Records that say that they are of another version, behind a handshake.
#[test]
fn records_have_one_version() {
    let files = Files::new();
    all_alike("records_have_one_version", |program| {
        let process = back(program, &files);
        let mut seen = String::new();
        for (name, agreed) in [("old", &TLS12), ("new", &TLS13)] {
            for version in [[3, 3], [3, 1], [3, 4], [3, 0], [2, 0], [0xff, 0xff], [0, 0]] {
                let mut client = Client::new(&files, process.listener(name), agreed);
                seen += &format!("{name} {version:?}: {}\n", client.asks_in(version));
            }
        }
        seen
    });
}

/// A client of TLS 1.2 that begins the handshake again on its connection loses it.
#[test]
fn no_handshake_is_begun_again() {
    let Some(openssl) = programs::optional("no_handshake_is_begun_again", "openssl") else {
        return;
    };
    let files = Files::new();
    all_alike("no_handshake_is_begun_again", |program| {
        let process = back(program, &files);
        let address = process.listener("old");
        let mut client = Command::new(&openssl)
            .args(["s_client", "-tls1_2", "-servername", "a.test"])
            .args(["-connect", &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs");
        let output = client.stdout.take().expect("its output");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        // What is told last of the handshake.
        let is_over = lines.any(|line| line.contains("Extended master secret"));
        assert!(is_over, "{}", program.name());
        let mut input = client.stdin.take().expect("its input");
        input.write_all(b"R\n").expect("openssl reads");
        // It ends by itself, for its input stays open.
        let status = client.wait().expect("openssl ends");
        drop(input);
        let answer = curl(&files, address, "a.test", &[]);
        format!("refused: {}, others: {answer}", !status.success())
    });
}

/// A session is taken up again by the context that has begun it only, also where
/// another one has the same keys for tickets: who got in there by a certificate does not
/// get in here without.
#[test]
fn sessions_of_another_context_are_none() {
    let test = "sessions_of_another_context_are_none";
    let Some(openssl) = programs::optional(test, "openssl") else {
        return;
    };
    let files = Files::new();
    std::fs::write(files.path("ticket.keys"), [7; 80]).expect("a file");
    let context = |name: &str, authority: &str| {
        let context = format!(
            "require_client_certificate: true, session_ticket_keys: {{ keys: [ {{ filename: \
             FILES/ticket.keys }} ] }}, common_tls_context: {{ tls_certificates: [ {} ], \
             validation_context: {{ trusted_ca: {{ filename: FILES/{authority}.pem }} }} }}",
            certificate("server")
        );
        listener(name, &server_tls(&context), "")
    };
    all_alike(test, |program| {
        let listeners =
            context("home", "ca") + &context("same", "ca") + &context("other", "other-ca");
        let process = start(program, &files, &listeners, "");
        let mut seen = String::new();
        for version in ["-tls1_2", "-tls1_3"] {
            let kept = format!("session{version}");
            let ask = |to: &str, arguments: &[&str]| {
                let arguments = [&[version], arguments].concat();
                let said = ask_by_openssl(&openssl, &files, process.listener(to), &arguments);
                let is = |text: &str| said.contains(text);
                format!("reused {}, served {}\n", is("\nReused, "), is("hello"))
            };
            let own = ["-cert", "client.pem", "-key", "client.key"];
            seen += &ask("home", &[&own[..], &["-sess_out", &kept]].concat());
            for to in ["home", "same", "other"] {
                seen += &format!("{version} {to}: {}", ask(to, &["-sess_in", &kept]));
            }
        }
        seen
    });
}

/// Data before the handshake is over is not read: neither of a session that allows none,
/// nor of one that another server has allowed it for. The request counts once, when it
/// comes behind the handshake.
#[test]
fn early_data_is_not_taken() {
    let Some(openssl) = programs::optional("early_data_is_not_taken", "openssl") else {
        return;
    };
    let files = Files::new();
    generous_session(&openssl, &files);
    std::fs::write(files.path("early"), REQUEST).expect("a file");
    all_alike("early_data_is_not_taken", |program| {
        let process = back(program, &files);
        let address = process.listener("new");
        ask_by_openssl(&openssl, &files, address, &["-sess_out", "own"]);
        let mut seen = String::new();
        for session in ["own", "generous"] {
            let arguments = ["-sess_in", session, "-early_data", "early"];
            let said = ask_by_openssl(&openssl, &files, address, &arguments);
            let early = said.lines().find(|line| line.starts_with("Early data was"));
            seen += &format!(
                "{session}: {early:?}, {} answers\n",
                said.matches("hello").count()
            );
        }
        let requests = process.admin().stat("http.new.downstream_rq_total");
        format!("{seen}requests: {requests}\n")
    });
}

/// Keeps a session of openssl's own server, which allows early data, as `generous`.
fn generous_session(openssl: &Path, files: &Files) {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(openssl);
        command.current_dir(files.folder()).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::null()).spawn().expect("openssl runs")
    };
    let mut server = run(&[
        "s_server",
        "-accept",
        "127.0.0.1:0",
        "-early_data",
        "-tls1_3",
        "-cert",
        "server.pem",
        "-key",
        "server.key",
    ]);
    let output = server.stdout.take().expect("its output");
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned));
    let address = address.expect("its address");
    let mut client = run(&[
        "s_client",
        "-connect",
        &address,
        "-servername",
        "a.test",
        "-sess_out",
        "generous",
    ]);
    let begun = Instant::now();
    let path = files.path("generous");
    // The session comes after the handshake, and has to be there whole.
    let is_whole = |text: &str| text.contains("-----END SSL SESSION PARAMETERS-----");
    while !std::fs::read_to_string(&path).is_ok_and(|text| is_whole(&text)) {
        assert!(begun.elapsed() < PATIENCE, "there is no session");
        std::thread::sleep(Duration::from_millis(5));
    }
    for process in [&mut client, &mut server] {
        process.kill().expect("it runs");
        process.wait().expect("it ends");
    }
}

/// Certificates of clients that are none, over, another's or made to be taken for
/// another's: who gets in, and what is counted of those who do not.
#[test]
fn made_up_certificates_are_refused_as_by_envoy() {
    let files = Files::new();
    files.issue_doubtful();
    let context = format!(
        "require_client_certificate: true, common_tls_context: {{ tls_certificates: [ {} ], \
         validation_context: {{ trusted_ca: {{ filename: FILES/root.pem }}, \
         match_typed_subject_alt_names: [ {{ san_type: DNS, matcher: {{ exact: client.test }} }} \
         ] }} }}",
        certificate("server")
    );
    let listener = listener("main", &server_tls(&context), "");
    all_alike("made_up_certificates_are_refused_as_by_envoy", |program| {
        let process = start(program, &files, &listener, "");
        let mut seen = String::new();
        for name in [
            "", "fine", "over", "not-yet", "other", "nul", "no-ca", "deep-20", "deep-101",
        ] {
            for version in ["--tls-max=1.2", "--tlsv1.3"] {
                let (answer, counted) = enters(&files, &process, name, version);
                seen += &format!("{name} {version}: {answer} {counted:?}\n");
            }
        }
        // More than 64 KiB of certificates are not looked at one by one in Ringway.
        let (answer, counted) = enters(&files, &process, "deep-200", "--tlsv1.3");
        assert!(!counted.is_empty(), "{}", program.name());
        seen += &format!("deep-200: {answer}\n");
        seen
    });
}

/// What a client with this certificate gets, and which counters of failures move.
fn enters(files: &Files, process: &Process, name: &str, version: &str) -> (String, Vec<String>) {
    let before = moved(process);
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    let mut arguments: Vec<&str> = version.split('=').collect();
    if !name.is_empty() {
        arguments.extend(["--cert", &certificate, "--key", &key]);
    }
    let answer = curl(files, process.listener("main"), "a.test", &arguments);
    let counted: Vec<_> = (moved(process).into_iter())
        .filter(|(name, value)| before.get(name) != Some(value))
        .map(|(name, _)| name)
        .filter(|name| name.contains("fail_verify") || name.ends_with("connection_error"))
        .collect();
    (answer, counted)
}
