//! The byte forwarder: what the kernel's part of proxying costs, and nothing else.
//!
//! One upstream connection for each client, bytes moved both ways as they come. A proxy on the
//! same reactor cannot be cheaper, so its distance from here is what its own code costs.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ringway::reactor::{self, ConnectOptions, DriverChoice, Listener, Reactor, Stream};
use socket2::SockAddr;

use crate::{listener, os};

/// Forward bytes to an upstream address without looking at them.
#[derive(clap::Args)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one. The address is printed
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address to forward to
    #[arg(long, default_value = "127.0.0.1:9000")]
    upstream: SocketAddr,
    /// Event driver: auto, io_uring or epoll
    #[arg(long, default_value_t = DriverChoice::Auto)]
    io_driver: DriverChoice,
    /// Core to run on
    #[arg(long)]
    core: Option<usize>,
}

/// Forwards until the process is killed.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(core) = options.core {
        os::pin(core)?;
    }
    os::raise_open_files(OPEN_FILES)?;
    let setup = reactor::Options {
        driver: options.io_driver,
        ..reactor::Options::default()
    };
    let socket = listener::open(options.listen)?;
    let upstream = SockAddr::from(options.upstream);
    Reactor::new(&setup)?.block_on(async move {
        let listener = Listener::from_socket(socket)?;
        listener::announce(listener.local_addr()?)?;
        loop {
            match listener.accept().await {
                Ok(client) => drop(reactor::spawn(forward(client, upstream.clone()))),
                Err(error) => eprintln!("accept: {error}"),
            }
        }
    })
}

async fn forward(client: Stream, upstream: SockAddr) {
    let Ok(server) = Stream::connect(&upstream, &ConnectOptions::default()).await else {
        return;
    };
    let (client, server) = (Rc::new(client), Rc::new(server));
    let (from, to) = (Rc::clone(&server), Rc::clone(&client));
    // A direction that fails ends; the other one sees its end of the same connection fail.
    drop(reactor::spawn(async move { drop(pump(&from, &to).await) }));
    drop(pump(&client, &server).await);
}

/// Moves bytes one way until their end, which is passed on.
async fn pump(from: &Stream, to: &Stream) -> io::Result<()> {
    while let Some(chunk) = from.recv().await? {
        to.write_chunk(chunk);
        to.writable(QUEUED_BYTES_MAX).await?;
    }
    to.shutdown_write();
    Ok(())
}

/// Asked for at the start: 10,000 clients, each with its upstream connection.
const OPEN_FILES: u64 = 40_000;

/// Bytes that a slow receiver may have queued before no more are read for it.
const QUEUED_BYTES_MAX: usize = 512 * 1024;
