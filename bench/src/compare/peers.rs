//! The proxies that can be compared: where their programs are, their versions, how they start.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::ValueEnum;

use super::configs::{self, Protocol, Setup};
use crate::child::Running;
use crate::proxy::Runtime;

/// Another program to compare Ringway with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    Envoy,
    Haproxy,
    /// HAProxy with bodies moved by splice(2)
    HaproxySplice,
    Nginx,
}

/// What kind of proxy a row of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Forwards bytes without looking at them: what the kernel's share costs.
    Floor,
    Ringway,
    Peer(Peer),
    /// The same minimal proxy on one event loop or another.
    Minimal(Runtime),
}

/// A proxy that can be started.
#[derive(Debug)]
pub struct Subject {
    pub kind: Kind,
    pub name: &'static str,
    pub version: String,
    program: PathBuf,
}

/// A started proxy.
pub struct Proxy {
    pub running: Running,
    pub address: SocketAddr,
    /// The admin interface of Envoy and of Ringway; the others have none.
    pub admin: Option<SocketAddr>,
}

/// What a proxy needs to know to start.
pub struct Site<'a> {
    /// For configuration files and logs.
    pub dir: &'a Path,
    pub origin: SocketAddr,
    pub core: Option<usize>,
    /// Client connections that it must be able to hold.
    pub connections: usize,
}

impl Peer {
    fn program(self) -> &'static str {
        match self {
            Peer::Envoy => "envoy",
            Peer::Haproxy | Peer::HaproxySplice => "haproxy",
            Peer::Nginx => "nginx",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Peer::Envoy => "envoy",
            Peer::Haproxy => "haproxy",
            Peer::HaproxySplice => "haproxy (splice)",
            Peer::Nginx => "nginx",
        }
    }

    fn version_flag(self) -> &'static str {
        match self {
            Peer::Envoy => "--version",
            Peer::Haproxy | Peer::HaproxySplice | Peer::Nginx => "-v",
        }
    }
}

impl Subject {
    /// One that this tool contains.
    pub fn built_in(kind: Kind) -> anyhow::Result<Subject> {
        let name = match kind {
            Kind::Minimal(runtime) => runtime.name(),
            Kind::Floor | Kind::Ringway | Kind::Peer(_) => "floor",
        };
        Ok(Subject {
            kind,
            name,
            version: String::new(),
            program: std::env::current_exe()?,
        })
    }

    /// Ringway at a path, or beside this tool's own program.
    pub fn ringway(given: Option<&Path>) -> anyhow::Result<Subject> {
        let program = match given {
            Some(path) => path.to_owned(),
            None => std::env::current_exe()?.with_file_name("ringway"),
        };
        let version = version_of(&program, "--version").context(
            "ringway not found: build it (cargo build --release) or pass --ringway PATH",
        )?;
        Ok(Subject {
            kind: Kind::Ringway,
            name: "ringway",
            version,
            program,
        })
    }

    /// A peer at a path, or on the `PATH`.
    pub fn peer(peer: Peer, given: Option<&Path>) -> anyhow::Result<Subject> {
        let found = given
            .map(Path::to_owned)
            .or_else(|| find_program(peer.program()));
        let program = found.with_context(|| {
            format!(
                "{} is not installed (see scripts/setup-peers)",
                peer.program()
            )
        })?;
        let version = version_of(&program, peer.version_flag())?;
        Ok(Subject {
            kind: Kind::Peer(peer),
            name: peer.name(),
            version,
            program,
        })
    }

    /// Starts it for clients that speak this protocol, and waits until it answers.
    pub fn start(&self, site: &Site<'_>, protocol: Protocol) -> anyhow::Result<Proxy> {
        let mut proxy = match self.kind {
            Kind::Floor => self.start_tool(&["floor"], site)?,
            Kind::Minimal(runtime) => {
                self.start_tool(&["proxy", "--runtime", runtime.name()], site)?
            }
            Kind::Ringway | Kind::Peer(_) => self.start_program(site, protocol)?,
        };
        match protocol {
            Protocol::Http1 | Protocol::Tcp => {
                proxy.running.wait_until_answering(proxy.address)?;
            }
            // Who speaks something else listens when it is ready.
            Protocol::Tls | Protocol::H2c | Protocol::Grpc => {
                proxy.running.wait_until_listening(proxy.address)?;
            }
        }
        Ok(proxy)
    }

    fn start_tool(&self, arguments: &[&str], site: &Site<'_>) -> anyhow::Result<Proxy> {
        let upstream = site.origin.to_string();
        let all = [
            arguments,
            &["--listen", "127.0.0.1:0", "--upstream", &upstream],
        ]
        .concat();
        let (running, address) = Running::start_tool(self.name, &all, site.core, site.dir)?;
        Ok(Proxy {
            running,
            address,
            admin: None,
        })
    }

    fn start_program(&self, site: &Site<'_>, protocol: Protocol) -> anyhow::Result<Proxy> {
        self.launch(site, |listen, admin| {
            let setup = Setup {
                protocol,
                listen,
                origin: site.origin,
                connections: site.connections,
                dir: site.dir,
            };
            Ok(match self.kind {
                Kind::Peer(peer @ (Peer::Haproxy | Peer::HaproxySplice)) => {
                    configs::haproxy::proxy(&setup, peer == Peer::HaproxySplice)
                }
                Kind::Peer(Peer::Nginx) => configs::nginx::proxy(&setup)
                    .with_context(|| format!("nginx does not speak {protocol:?}"))?,
                Kind::Peer(Peer::Envoy) | Kind::Ringway | Kind::Floor | Kind::Minimal(_) => {
                    configs::envoy::proxy(&setup, admin)
                }
            })
        })
    }

    /// Starts a program with the configuration that `text` makes of the addresses of its listener
    /// and its admin interface, and waits until it answers.
    pub fn start_with(
        &self,
        site: &Site<'_>,
        text: impl FnOnce(SocketAddr, SocketAddr) -> String,
    ) -> anyhow::Result<Proxy> {
        let mut proxy = self.launch(site, |listen, admin| Ok(text(listen, admin)))?;
        proxy.running.wait_until_answering(proxy.address)?;
        Ok(proxy)
    }

    fn launch(
        &self,
        site: &Site<'_>,
        text: impl FnOnce(SocketAddr, SocketAddr) -> anyhow::Result<String>,
    ) -> anyhow::Result<Proxy> {
        let [address, admin] = free_addresses()?;
        let name = match self.kind {
            Kind::Peer(Peer::Haproxy) => "haproxy.cfg",
            Kind::Peer(Peer::HaproxySplice) => "haproxy-splice.cfg",
            Kind::Peer(Peer::Nginx) => "nginx.conf",
            Kind::Peer(Peer::Envoy) => "envoy.yaml",
            Kind::Ringway | Kind::Floor | Kind::Minimal(_) => "ringway.yaml",
        };
        let file = site.dir.join(name);
        std::fs::write(&file, text(address, admin)?)
            .with_context(|| format!("writing {}", file.display()))?;
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Peer(Peer::Haproxy | Peer::HaproxySplice) => command.arg("-db").arg("-f"),
            Kind::Peer(Peer::Nginx) => command.arg("-p").arg(site.dir).arg("-c"),
            Kind::Peer(Peer::Envoy) => command.args([
                "--concurrency",
                "1",
                "-l",
                "error",
                "--disable-hot-restart",
                "-c",
            ]),
            Kind::Ringway | Kind::Floor | Kind::Minimal(_) => {
                command.args(["--concurrency", "1", "-l", "error", "-c"])
            }
        };
        command.arg(file);
        let running = Running::start(self.name, command, site.core, site.dir)?;
        Ok(Proxy {
            running,
            address,
            admin: Some(admin),
        })
    }
}

/// The path of a program on `PATH`, in the system's directory for servers, or where
/// `scripts/setup-peers` puts Envoy.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from(".peers/bin")]);
    places
        .map(|place| place.join(name))
        .find(|file| file.is_file())
}

fn version_of(program: &Path, flag: &str) -> anyhow::Result<String> {
    let output = Command::new(program)
        .arg(flag)
        .output()
        .with_context(|| format!("running {}", program.display()))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(version_in(&String::from_utf8_lossy(&text)))
}

/// The first dotted number in a program's own words. The words are left out: Envoy's begin with
/// the path that it was called by.
fn version_in(text: &str) -> String {
    let dotted = |word: &&str| {
        word.contains('.')
            && word
                .split('.')
                .all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
    };
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'));
    words
        .into_iter()
        .find(dotted)
        .unwrap_or("unknown")
        .to_owned()
}

/// Two addresses that nobody listened on just now. The programs cannot say which free port they
/// took, so they are told one.
fn free_addresses() -> anyhow::Result<[SocketAddr; 2]> {
    let sockets = [
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    ];
    Ok([sockets[0].local_addr()?, sockets[1].local_addr()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_the_programs_own_words() {
        for (text, version) in [
            (
                "\n/some/where.9/envoy  version: 6a0b/1.40.0/Clean/RELEASE/BoringSSL\n",
                "1.40.0",
            ),
            (
                "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/",
                "2.6.12",
            ),
            ("nginx version: nginx/1.22.1", "1.22.1"),
            ("ringway 0.1.0", "0.1.0"),
            ("no number here.", "unknown"),
        ] {
            assert_eq!(version_in(text), version, "{text}");
        }
    }
}
