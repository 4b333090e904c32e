//! The binary `ringway`: reads the command line and runs the server.

use std::process::ExitCode;

use ringway::cli::Command;

// Streams of HTTP/2 are allocated, by h2 and as tasks of ours: a tenth of their time
// with the allocator of the C library, which is slow above a kilobyte.
#[cfg(not(feature = "count-allocations"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: ringway::worker::shared::allocations::Counting =
    ringway::worker::shared::allocations::Counting;

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Serve(options) => ringway::server::run(&options),
        Command::Explain(options) => ringway::server::explain(&options),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringway: {error:#}");
            ExitCode::FAILURE
        }
    }
}
