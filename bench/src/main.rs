//! The measuring tools of Ringway, each a subcommand in a file of its own.
//!
//! Start reading at [`compare`]: it starts every other part as a process of its own, so that a
//! measured proxy shares nothing with what measures it.

use clap::{Parser, Subcommand};

mod alloc;
mod child;
mod compare;
mod cpu;
mod duration;
mod epoll;
mod flamegraph;
mod floor;
mod grpc_origin;
mod handshakes;
mod hold;
mod listener;
mod load;
mod origin;
mod os;
mod proxy;
mod routes;
mod runtimes;
mod steady;
mod tls;
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
    Compare(compare::Options),
    Runtimes(runtimes::Options),
    Routes(routes::Options),
    Origin(origin::Options),
    GrpcOrigin(grpc_origin::Options),
    Load(load::Options),
    Handshakes(handshakes::Options),
    Steady(steady::Options),
    Hold(hold::Options),
    Floor(floor::Options),
    Proxy(proxy::Options),
    Alloc(alloc::Options),
    Flamegraph(flamegraph::Options),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Compare(options) => compare::run(&options),
        Command::Runtimes(options) => runtimes::run(&options),
        Command::Routes(options) => routes::run(&options),
        Command::Origin(options) => origin::run(&options),
        Command::GrpcOrigin(options) => grpc_origin::run(&options),
        Command::Load(options) => load::run(&options),
        Command::Handshakes(options) => handshakes::run(&options),
        Command::Steady(options) => steady::run(&options),
        Command::Hold(options) => hold::run(&options),
        Command::Floor(options) => floor::run(&options),
        Command::Proxy(options) => proxy::run(&options),
        Command::Alloc(options) => alloc::run(&options),
        Command::Flamegraph(options) => flamegraph::run(&options),
    }
}
