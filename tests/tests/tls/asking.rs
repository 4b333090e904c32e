//! Clients: curl and openssl, and what they get.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use ringway_tests::programs;

use super::files::Files;

/// `200 hello`, or why not.
pub(super) fn curl(files: &Files, address: SocketAddr, host: &str, arguments: &[&str]) -> String {
    let curl = programs::optional("tls", "curl").expect("curl, which every machine has");
    let output = Command::new(curl)
        .current_dir(files.folder())
        .args(["-s", "-k", "--max-time", "20", "-w", " %{http_code}"])
        .args(["--resolve", &format!("{host}:{}:127.0.0.1", address.port())])
        .args(arguments)
        .arg(format!("https://{host}:{}/direct", address.port()))
        .output()
        .expect("curl runs");
    match output.status.success() {
        true => String::from_utf8_lossy(&output.stdout).into_owned(),
        false => "no answer".to_owned(),
    }
}

/// What openssl prints of a connection, errors included.
pub(super) fn s_client(files: &Files, address: SocketAddr, arguments: &[&str]) -> String {
    let openssl = programs::optional("tls", "openssl").expect("openssl, as all tests of TLS");
    let output = Command::new(openssl)
        .current_dir(files.folder())
        .args(["s_client", "-connect", &address.to_string()])
        .args(["-servername", "a.test"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs");
    let texts = [&output.stdout[..], &output.stderr];
    texts
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .concat()
}

/// A request without TLS: status and body.
pub(super) fn get(address: SocketAddr, path: &str) -> String {
    let curl = programs::optional("tls", "curl").expect("curl, which every machine has");
    let output = Command::new(curl)
        .args(["-s", "--max-time", "20", "-w", " %{http_code}"])
        .arg(format!("http://{address}{path}"))
        .output()
        .expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once(' ').unwrap_or_default();
    format!("{status} {body}")
}

/// Asks a server by `openssl s_client` and gives what that has said of the connection,
/// with which it ends.
pub(super) fn ask_by_openssl(
    openssl: &Path,
    files: &Files,
    address: SocketAddr,
    arguments: &[&str],
) -> String {
    let mut client = Command::new(openssl)
        .current_dir(files.folder())
        .args(["s_client", "-ign_eof", "-servername", "a.test"])
        .args(["-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl runs");
    let mut request = client.stdin.take().expect("its input");
    request
        .write_all(b"GET /direct HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n")
        .expect("openssl reads");
    let output = client.wait_with_output().expect("openssl ends");
    drop(request);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
