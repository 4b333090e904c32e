//! The measuring tools of Ringway, each a subcommand in a file of its own.
//!
//! Start reading at [`compare`]: it starts every other part as a process of its own, so that a
//! measured proxy shares nothing with what measures it.

use clap::{Parser, Subcommand};

mod cpu;
mod duration;
mod epoll;
mod listener;
mod load;
mod origin;
mod os;
mod wire;

#[derive(Parser)]
#[command(
    name = "ringway-bench",
    version,
    about = "Load generator, origin, and comparisons of Ringway with its peers"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve fixed bytes over HTTP/1.1 as cheaply as possible
    Origin(origin::Options),
    /// Send requests in a closed loop, or at a fixed rate with corrected latencies
    Load(load::Options),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Origin(options) => origin::run(&options),
        Command::Load(options) => load::run(&options),
    }
}
