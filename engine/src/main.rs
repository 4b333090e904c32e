//! The binary `ringway`: reads the command line and runs the server.

use std::process::ExitCode;

use ringway::cli::Options;

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: ringway::worker::shared::allocations::Counting =
    ringway::worker::shared::allocations::Counting;

fn main() -> ExitCode {
    match ringway::server::run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringway: {error:#}");
            ExitCode::FAILURE
        }
    }
}
