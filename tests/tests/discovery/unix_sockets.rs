//! Hosts on Unix sockets, with a file and in the abstract namespace.

use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::client::{Expectation, Step, converse};
use ringway_tests::process::{Process, Program};
use ringway_tests::programs;
use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread;

const LISTENER: Listener = Listener {
    name: "sockets",
    manager: "",
    hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - { match: { prefix: "/file" }, route: { cluster: file } }
  - { match: { prefix: "/abstract" }, route: { cluster: abstract } }
"#,
};

/// Answers every connection's first request with `body`.
fn serve(listener: UnixListener, body: &'static str) {
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 4096];
            let size = stream.read(&mut request).expect("a request");
            assert!(request[..size].ends_with(b"\r\n\r\n"));
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .expect("the proxy reads");
        }
    });
}

#[test]
fn unix_sockets_are_hosts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("host.sock");
    serve(
        UnixListener::bind(&path).expect("a socket"),
        "from the file",
    );
    let name = format!("ringway-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let listener = UnixListener::bind_addr(&address).expect("a socket");
    serve(listener, "from nowhere");
    let cluster = |name: &str, path: &str| {
        format!(
            "- {{ name: {name}, load_assignment: {{ cluster_name: {name}, endpoints: [ {{ \
             lb_endpoints: [ {{ endpoint: {{ address: {{ pipe: {{ path: \"{path}\" }} }} }} }} ] \
             }} ] }} }}\n"
        )
    };
    let clusters =
        cluster("file", &path.to_string_lossy()) + &cluster("abstract", &format!("@{name}"));
    let mut listed: Vec<_> = programs::drivers()
        .into_iter()
        .map(Program::Ringway)
        .collect();
    listed.extend(programs::envoy("unix_sockets_are_hosts").map(Program::Envoy));
    for program in &listed {
        let process = Process::start(program, &bootstrap(&[LISTENER], &clusters));
        for (path, body) in [("/file", "from the file"), ("/abstract", "from nowhere")] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
            let steps = [Step::Send(request.into_bytes())];
            let outcome = converse(process.listener("sockets"), &steps, &Expectation::default());
            let answer = outcome.finals().next().expect("an answer");
            let seen = (answer.status(), answer.text());
            assert_eq!(seen, (200, body.to_owned()), "{path}, {}", program.name());
        }
    }
}
