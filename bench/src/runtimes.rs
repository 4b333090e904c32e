//! The same minimal proxy on several event loops, beside the byte forwarder.

use clap::ValueEnum;

use crate::compare::peers::{Kind, Subject};
use crate::compare::{self, RunOptions, Scenario};
use crate::proxy::Runtime;

/// Compare event loops by the same minimal proxy on each.
#[derive(clap::Args)]
pub struct Options {
    /// Event loops to compare [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    runtimes: Vec<Runtime>,
    #[command(flatten)]
    run: RunOptions,
}

/// Runs the comparison, prints the table and keeps the results.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let runtimes = match options.runtimes.as_slice() {
        [] => Runtime::value_variants(),
        chosen => chosen,
    };
    let kinds = runtimes.iter().map(|&runtime| Kind::Minimal(runtime));
    let kinds = std::iter::once(Kind::Floor).chain(kinds);
    let subjects = kinds
        .map(Subject::built_in)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let scenarios = [
        Scenario::Closed,
        Scenario::Open,
        Scenario::Bodies,
        Scenario::Idle,
    ];
    let results = compare::measure_all(&subjects, &scenarios, &options.run, Vec::new())?;
    compare::finish(&results, "runtimes", Runtime::Reactor.name(), &options.run)
}
