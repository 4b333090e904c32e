//! Idle connections: opened, used once, then only held.
//!
//! Used once, because a proxy that puts off its work until the first byte would otherwise be
//! measured before it has done any.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::{ClientConfig, ClientConnection};

use crate::wire;
use crate::{os, tls};

/// Open connections, send one request on each, and hold them until standard input ends.
#[derive(clap::Args)]
pub struct Options {
    /// Address to connect to
    #[arg(default_value = "127.0.0.1:8080")]
    target: SocketAddr,
    /// Connections to hold
    #[arg(long, short, default_value_t = 10_000)]
    connections: usize,
    /// Speak TLS with a server that has this certificate, which signs itself
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Core to run on
    #[arg(long)]
    core: Option<usize>,
}

/// Holds the connections; [`HOLDING`] on standard output says that all are idle.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(core) = options.core {
        os::pin(core)?;
    }
    let needed = options.connections as u64 + SPARE_FILES;
    let limit = os::raise_open_files(needed)?;
    anyhow::ensure!(
        limit >= needed,
        "{needed} open files are needed, but the limit is {limit} (ulimit -n)"
    );
    let certificate = options.certificate.as_deref();
    // Sessions that are taken up again would be smaller.
    let tls = certificate
        .map(|certificate| tls::client(certificate, false))
        .transpose()?;
    let mut held = Vec::with_capacity(options.connections);
    for number in 1..=options.connections {
        let connection = used(options.target, tls.as_ref());
        held.push(connection.with_context(|| format!("connection {number}"))?);
    }
    println!("{HOLDING}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let closed = held.iter().filter(|stream| is_closed(stream)).count();
    anyhow::ensure!(closed == 0, "the server closed {closed} of the connections");
    Ok(())
}

/// A connection that has carried one request and its response.
fn used(target: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&target, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // What a handshake ends with and the request are two writes.
    stream.set_nodelay(true)?;
    match tls {
        None => request_on(&mut stream, target)?,
        Some(config) => {
            let name = tls::server_name()?;
            let mut connection = ClientConnection::new(Arc::clone(config), name)?;
            request_on(
                &mut rustls::Stream::new(&mut connection, &mut stream),
                target,
            )?;
        }
    }
    Ok(stream)
}

/// A request and its whole response.
fn request_on(stream: &mut (impl Read + Write), target: SocketAddr) -> anyhow::Result<()> {
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: {target}\r\n\r\n").as_bytes())?;
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    let (mut body, mut at) = loop {
        let count = stream.read(&mut buffer)?;
        anyhow::ensure!(count > 0, "closed before a response");
        received.extend_from_slice(&buffer[..count]);
        let head =
            wire::response(&received, false).map_err(|_| anyhow::anyhow!("malformed response"))?;
        if let Some(head) = head {
            anyhow::ensure!(
                head.status == 200 && !head.close,
                "status {}, close {}",
                head.status,
                head.close
            );
            break (head.body, head.head_bytes);
        }
    };
    loop {
        body.skip(&received[at..])
            .map_err(|_| anyhow::anyhow!("malformed body"))?;
        if body == wire::Body::Done {
            return Ok(());
        }
        let count = stream.read(&mut buffer)?;
        anyhow::ensure!(count > 0, "closed inside a response");
        received = buffer[..count].to_vec();
        at = 0;
    }
}

fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).is_ok() && matches!(stream.peek(&mut [0]), Ok(0))
}

/// What is printed once all connections are idle.
pub const HOLDING: &str = "holding";

/// How long connecting or an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Open files of the process besides its connections.
const SPARE_FILES: u64 = 32;
