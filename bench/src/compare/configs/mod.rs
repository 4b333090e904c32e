//! Equivalent configurations for every proxy: one worker, keep-alive on both sides,
//! `x-forwarded-for` added where HTTP is spoken, no access log, no connection closed for its age
//! or idleness.

use std::net::SocketAddr;
use std::path::Path;

pub mod envoy;
pub mod haproxy;
pub mod nginx;

/// What is spoken with a proxy's clients and with its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 on both sides.
    Http1,
    /// HTTP/2 or HTTP/1.1 over TLS, as the client likes, and HTTP/1.1 to the origin.
    Tls,
    /// HTTP/2 without TLS, and HTTP/1.1 to the origin.
    H2c,
    /// HTTP/2 without TLS on both sides.
    Grpc,
    /// Bytes that nobody looks at.
    Tcp,
}

/// What a configuration is made of.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    pub protocol: Protocol,
    pub listen: SocketAddr,
    pub origin: SocketAddr,
    /// Clients at once.
    pub connections: usize,
    /// For the proxy's own files; [`crate::tls::Identity`] has written its files there.
    pub dir: &'a Path,
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::tls::Identity;

    fn local(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn setups(dir: &Path) -> impl Iterator<Item = Setup<'_>> {
        use Protocol::{Grpc, H2c, Http1, Tcp, Tls};
        [Http1, Tls, H2c, Grpc, Tcp]
            .map(|protocol| Setup {
                protocol,
                listen: local(18_080),
                origin: local(19_000),
                connections: 1_000,
                dir,
            })
            .into_iter()
    }

    /// Asks the program itself, when it is installed, whether it takes the file.
    fn accepted_by(program: &str, arguments: &[&str], file: &str, text: &str, dir: &Path) {
        let Some(path) = crate::compare::peers::find_program(program) else {
            eprintln!("skipped: {program} is not installed");
            return;
        };
        let file = dir.join(file);
        std::fs::write(&file, text).expect("writable temporary directory");
        let output = Command::new(path)
            .args(arguments)
            .arg(&file)
            .output()
            .expect("can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {said}\n{text}");
    }

    #[test]
    fn every_program_takes_its_file() {
        let dir = tempfile::tempdir().expect("temporary directory");
        Identity::create(dir.path()).expect("writable temporary directory");
        let dir = dir.path();
        for setup in setups(dir) {
            let envoy = envoy::proxy(&setup, local(19_901));
            accepted_by(
                "envoy",
                &["--mode", "validate", "-c"],
                "envoy.yaml",
                &envoy,
                dir,
            );
            for splice in [false, true] {
                let haproxy = haproxy::proxy(&setup, splice);
                accepted_by("haproxy", &["-c", "-f"], "haproxy.cfg", &haproxy, dir);
            }
            if let Some(nginx) = nginx::proxy(&setup) {
                accepted_by("nginx", &["-t", "-c"], "nginx.conf", &nginx, dir);
            }
        }
    }

    #[test]
    fn every_file_names_both_addresses() {
        for setup in setups(Path::new("/nowhere")) {
            let files = [
                Some(envoy::proxy(&setup, local(19_901))),
                Some(haproxy::proxy(&setup, false)),
                nginx::proxy(&setup),
            ];
            for file in files.into_iter().flatten() {
                assert!(file.contains("18080") && file.contains("19000"), "{file}");
            }
        }
    }
}
