//! The same minimal keep-alive proxy on several event loops, to see what the loop alone costs.
//!
//! [`heads`] is shared by all. [`serve`] is the proxy itself for loops that read into a buffer of
//! the caller; [`reactor`] has one of its own, because lending received buffers is the very
//! difference to be measured.

use std::net::SocketAddr;

use clap::ValueEnum;

use crate::os;

mod glommio;
mod heads;
mod monoio;
mod reactor;
mod serve;
mod tokio;

/// Run the minimal proxy that the runtimes are compared with.
///
/// It understands keep-alive and content-length, and nothing else: no chunked bodies, no
/// timeouts, no limits beyond its buffers.
#[derive(clap::Args)]
pub struct Options {
    /// The event loop to run on
    #[arg(long, value_enum)]
    runtime: Runtime,
    /// Address to listen on; port 0 takes a free one. The address is printed
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address of the origin
    #[arg(long, default_value = "127.0.0.1:9000")]
    upstream: SocketAddr,
    /// Core to run on
    #[arg(long)]
    core: Option<usize>,
}

/// An event loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// Ringway's own, on io_uring
    Reactor,
    /// Ringway's own, on epoll
    ReactorEpoll,
    /// monoio on io_uring, with its default ring
    Monoio,
    /// monoio on io_uring, with a ring set up like Ringway's
    MonoioTuned,
    /// glommio
    Glommio,
    /// tokio's current_thread runtime, on epoll
    Tokio,
}

impl Runtime {
    /// The name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Reactor => "reactor",
            Runtime::ReactorEpoll => "reactor-epoll",
            Runtime::Monoio => "monoio",
            Runtime::MonoioTuned => "monoio-tuned",
            Runtime::Glommio => "glommio",
            Runtime::Tokio => "tokio",
        }
    }
}

/// Serves until the process is killed.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(core) = options.core {
        os::pin(core)?;
    }
    os::raise_open_files(OPEN_FILES)?;
    let (listen, upstream) = (options.listen, options.upstream);
    match options.runtime {
        Runtime::Reactor => reactor::run(listen, upstream, ringway::reactor::DriverChoice::IoUring),
        Runtime::ReactorEpoll => {
            reactor::run(listen, upstream, ringway::reactor::DriverChoice::Epoll)
        }
        Runtime::Monoio => monoio::run(listen, upstream, false),
        Runtime::MonoioTuned => monoio::run(listen, upstream, true),
        Runtime::Glommio => glommio::run(listen, upstream),
        Runtime::Tokio => tokio::run(listen, upstream),
    }
}

/// Asked for at the start: 10,000 clients with room to spare.
const OPEN_FILES: u64 = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for runtime in Runtime::value_variants() {
            assert_eq!(Runtime::from_str(runtime.name(), false), Ok(*runtime));
        }
    }
}
