//! A generator of TLS handshakes: connections that carry one request each.
//!
//! A few threads with blocking sockets, because a handshake costs its client as much as its
//! server: how the bytes are moved does not matter beside the arithmetic.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use serde::{Deserialize, Serialize};

use crate::load::{Meter, WatchedCpu};
use crate::{duration, os, tls};

/// Open TLS 1.3 connections, send one request on each, and close them.
#[derive(clap::Args)]
pub struct Options {
    /// Address to connect to
    #[arg(default_value = "127.0.0.1:8443")]
    target: SocketAddr,
    /// The server's certificate, which signs itself
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// Take up sessions again instead of making new ones
    #[arg(long)]
    resume: bool,
    /// Connections at once
    #[arg(long, short, default_value_t = 8)]
    connections: usize,
    /// Length of the measured part
    #[arg(long, short, default_value = "5s", value_parser = duration::parse)]
    duration: Duration,
    /// Length of the part before it that is not measured
    #[arg(long, default_value = "1s", value_parser = duration::parse)]
    warmup: Duration,
    /// Measure the CPU of this process meanwhile
    #[arg(long, value_name = "PID")]
    watch_pid: Option<u32>,
    /// Core to run on
    #[arg(long)]
    core: Option<usize>,
    /// Run only while nobody else wants the core
    #[arg(long)]
    give_way: bool,
}

/// The result of a run, printed as JSON.
#[derive(Serialize, Deserialize)]
pub struct Report {
    pub seconds: f64,
    /// Connections whose request was answered.
    pub connections: u64,
    /// Those whose handshake was not of the kind that was asked for, and those that failed.
    pub faults: u64,
    pub watched_cpu: Option<WatchedCpu>,
    /// CPU of the generator itself: near `seconds`, it was the bottleneck.
    pub own_cpu_seconds: f64,
}

/// What the threads share.
#[derive(Default)]
struct Shared {
    connections: AtomicU64,
    faults: AtomicU64,
    stop: AtomicBool,
}

/// Runs the load that the options describe and prints what came of it.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(core) = options.core {
        os::pin(core)?;
    }
    if options.give_way {
        os::give_way()?;
    }
    let shared = Arc::new(Shared::default());
    let mut threads = Vec::with_capacity(options.connections);
    for _ in 0..options.connections {
        // Each has sessions of its own, as clients do.
        let config = tls::client(&options.certificate, options.resume)?;
        let visitor = Visitor {
            target: options.target,
            config,
            wanted: match options.resume {
                true => HandshakeKind::Resumed,
                false => HandshakeKind::Full,
            },
        };
        let shared = Arc::clone(&shared);
        threads.push(std::thread::spawn(move || visitor.visit_until(&shared)));
    }
    std::thread::sleep(options.warmup);
    let counts = || {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&shared.connections), read(&shared.faults))
    };
    let mut meter = Meter::new(options.watch_pid);
    meter.start()?;
    let before = counts();
    std::thread::sleep(options.duration);
    let after = counts();
    let (seconds, watched_cpu, own_cpu_seconds) = meter.stop()?;
    shared.stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("a thread panicked"))?;
    }
    let report = Report {
        seconds,
        connections: after.0 - before.0,
        faults: after.1 - before.1,
        watched_cpu,
        own_cpu_seconds,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// One client that comes again and again.
struct Visitor {
    target: SocketAddr,
    config: Arc<ClientConfig>,
    wanted: HandshakeKind,
}

impl Visitor {
    fn visit_until(&self, shared: &Shared) {
        while !shared.stop.load(Ordering::Relaxed) {
            match self.visit() {
                Ok(kind) if kind == Some(self.wanted) => {
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) => {
                    shared.faults.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    if shared.faults.fetch_add(1, Ordering::Relaxed) == 0 {
                        eprintln!("the first of the faults: {error:#}");
                    }
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    /// One connection and one request; the kind of its handshake.
    fn visit(&self) -> anyhow::Result<Option<HandshakeKind>> {
        let mut socket = TcpStream::connect_timeout(&self.target, TIMEOUT)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let name = tls::server_name()?;
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name)?;
        let mut stream = rustls::Stream::new(&mut connection, &mut socket);
        stream.write_all(REQUEST)?;
        let mut answer = Vec::with_capacity(1024);
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(error).context("reading the answer");
            }
            // Some servers end TCP without a word.
            _ => {}
        }
        anyhow::ensure!(answer.starts_with(b"HTTP/1.1 200"), "not answered with 200");
        Ok(connection.handshake_kind())
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// How long connecting or an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Before the next try after one that failed.
const PAUSE: Duration = Duration::from_millis(10);
