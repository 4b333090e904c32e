//! Ringway beside its peers on the same machine, with equivalent configurations.
//!
//! Where to read on: [`scenario`] (what is measured), [`measure`] (by what), [`peers`] and [`configs`] (what is
//! started), [`results`], [`goals`] and [`table`] (what is made of it). The order of the proxies
//! is reversed from round to round (ABBA), so that a machine that drifts favours nobody.

use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;

use crate::child::{self, Running};
use crate::tls::Identity;
use crate::{duration, os};
use configs::Protocol;
use peers::{Kind, Peer, Proxy, Site, Subject};
use results::{Results, Row, Table};
use scenario::Sample;
pub use scenario::Scenario;

pub mod configs;
mod goals;
mod h2load;
pub mod measure;
pub mod peers;
pub mod results;
pub mod scenario;
pub mod table;

/// Measure Ringway, the byte forwarder and other proxies, and print a table.
///
/// Each proxy runs one worker on one core; the load generator and the origin share another.
/// The results are kept as JSON too.
#[derive(clap::Args)]
pub struct Options {
    /// Peers to compare with
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "envoy,haproxy,nginx"
    )]
    vs: Vec<Peer>,
    /// Ringway's program [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    ringway: Option<PathBuf>,
    /// Envoy's program [default: the first on PATH, then .peers/bin]
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// HAProxy's program [default: the first on PATH]
    #[arg(long, value_name = "PATH")]
    haproxy: Option<PathBuf>,
    /// nginx's program [default: the first on PATH]
    #[arg(long, value_name = "PATH")]
    nginx: Option<PathBuf>,
    #[command(flatten)]
    run: RunOptions,
}

/// What every comparison can be told.
#[derive(clap::Args)]
pub struct RunOptions {
    /// Rounds of every scenario
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of the measured part of a round
    #[arg(long, default_value = "3", value_parser = duration::parse)]
    seconds: std::time::Duration,
    /// Scenarios to run [default: all that apply]
    #[arg(long, value_enum, value_delimiter = ',')]
    scenarios: Vec<Scenario>,
    /// Keep-alive connections of the small-response scenarios
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests a second offered in the open loop
    #[arg(long, default_value_t = 10_000.0)]
    rate: f64,
    /// Connections held in the idle scenario
    #[arg(long, default_value_t = 10_000)]
    idle_connections: usize,
    /// Core of the proxy
    #[arg(long, default_value_t = 0)]
    proxy_core: usize,
    /// Core of the load generator and the origin
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Name of the results file [default: today's date]
    #[arg(long)]
    label: Option<String>,
    /// Directory of the results file
    #[arg(long, default_value = "perf/results", value_name = "DIR")]
    results: PathBuf,
}

/// The options as far as scenarios need them.
pub struct Settings {
    pub seconds: f64,
    pub connections: usize,
    pub rate: f64,
    pub idle_connections: usize,
    pub load_core: Option<usize>,
}

/// Runs the comparison, prints the table and keeps the results.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut subjects = Vec::new();
    let mut notes = Vec::new();
    let mut add = |subject: anyhow::Result<Subject>| match subject {
        Ok(subject) => subjects.push(subject),
        Err(error) => {
            eprintln!("SKIPPED: {error:#}");
            // Only the outermost message is kept: causes name paths.
            notes.push(error.to_string());
        }
    };
    add(Subject::ringway(options.ringway.as_deref()));
    add(Subject::built_in(Kind::Floor));
    for &peer in &options.vs {
        let given = match peer {
            Peer::Envoy => &options.envoy,
            Peer::Haproxy | Peer::HaproxySplice => &options.haproxy,
            Peer::Nginx => &options.nginx,
        };
        add(Subject::peer(peer, given.as_deref()));
    }
    let scenarios = Scenario::value_variants();
    let mut results = measure_all(&subjects, scenarios, &options.run, notes)?;
    results.goals = goals::judge(&results);
    finish(&results, "compare", "ringway", &options.run)
}

/// Prints the results and keeps them.
pub fn finish(
    results: &Results,
    kind: &str,
    reference: &str,
    options: &RunOptions,
) -> anyhow::Result<()> {
    println!("{}", table::render(results, reference));
    let path = results.write(kind, &options.results)?;
    eprintln!("kept in {}", path.display());
    Ok(())
}

/// Measures every subject in every scenario that it is asked for, or in `defaults`.
pub fn measure_all(
    subjects: &[Subject],
    defaults: &[Scenario],
    options: &RunOptions,
    mut notes: Vec<String>,
) -> anyhow::Result<Results> {
    anyhow::ensure!(options.rounds > 0, "--rounds must be at least 1");
    let cores = std::thread::available_parallelism()?.get();
    let scenarios = if options.scenarios.is_empty() {
        defaults
    } else {
        &options.scenarios
    };
    let (proxy_core, load_core) =
        choose_cores((options.proxy_core, options.load_core), cores, &mut notes);
    warn_if_busy(&mut notes);
    let settings = Settings {
        seconds: options.seconds.as_secs_f64(),
        connections: options.connections,
        rate: options.rate,
        idle_connections: allowed_connections(options.idle_connections, &mut notes)?,
        load_core,
    };

    let dir = tempfile::Builder::new()
        .prefix("ringway-bench-")
        .tempdir()?;
    child::clean_up_on_interrupt(dir.path().to_owned())?;
    let (_origin, origin) =
        Running::start_tool("origin", &["origin", "--port", "0"], load_core, dir.path())?;
    let arguments = ["grpc-origin", "--port", "0"];
    let (_grpc_origin, grpc_origin) =
        Running::start_tool("grpc-origin", &arguments, load_core, dir.path())?;
    Identity::create(dir.path())?;
    let connections = settings.idle_connections.max(settings.connections) + SPARE_CONNECTIONS;

    let mut tables = Vec::new();
    for &scenario in scenarios {
        let site = Site {
            dir: dir.path(),
            origin: match scenario.protocol() {
                Protocol::Grpc => grpc_origin,
                _ => origin,
            },
            core: proxy_core,
            connections,
        };
        let mut running = Vec::new();
        for subject in subjects {
            if scenario.applies_to(subject.kind) {
                let proxy = subject
                    .start(&site, scenario.protocol())
                    .with_context(|| format!("starting {}", subject.name))?;
                running.push((subject, proxy));
            }
        }
        let samples = rounds(scenario, &running, &site, &settings, options.rounds);
        let rows = (running.iter().zip(&samples))
            .map(|((subject, _), samples)| Row::new(subject.name, scenario, samples))
            .collect();
        tables.push(Table {
            scenario,
            title: scenario.title(&settings),
            rows,
        });
    }
    let versions = subjects
        .iter()
        .filter(|subject| !subject.version.is_empty());
    let date = results::today();
    Ok(Results {
        label: options.label.clone().unwrap_or_else(|| date.clone()),
        date,
        kernel: results::kernel_version(),
        cores,
        rounds: options.rounds,
        seconds_per_round: settings.seconds,
        versions: versions
            .map(|subject| (subject.name.to_owned(), subject.version.clone()))
            .collect(),
        tables,
        goals: Vec::new(),
        notes,
    })
}

/// Runs one scenario's rounds and returns each proxy's samples.
fn rounds(
    scenario: Scenario,
    running: &[(&Subject, Proxy)],
    site: &Site<'_>,
    settings: &Settings,
    rounds: usize,
) -> Vec<Vec<Sample>> {
    let mut samples: Vec<Vec<Sample>> = running.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..running.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let (subject, proxy) = &running[index];
            let progress = format!("{scenario:?} {}/{rounds}: {}", round + 1, subject.name);
            match measure::measure(scenario, subject, proxy, site, settings) {
                Ok(sample) => {
                    let cost = sample.values.last().copied().unwrap_or_default();
                    let unit = scenario
                        .metrics()
                        .last()
                        .map_or("", |metric| metric.heading);
                    eprintln!("{progress}: {cost:.3} {unit}");
                    samples[index].push(sample);
                }
                // A round that cannot be measured must not throw away the others.
                Err(error) => eprintln!("{progress}: FAILED: {error:#}"),
            }
        }
    }
    samples
}

/// The two cores, or none where the machine does not have them.
pub fn choose_cores(
    (proxy, load): (usize, usize),
    cores: usize,
    notes: &mut Vec<String>,
) -> (Option<usize>, Option<usize>) {
    if proxy != load && proxy.max(load) < cores {
        return (Some(proxy), Some(load));
    }
    let note =
        format!("cores {proxy} and {load} are not two of {cores} usable ones: nothing was pinned");
    eprintln!("WARNING: {note}");
    notes.push(note);
    (None, None)
}

/// Latencies, above all, mean little while others use the same cores.
pub fn warn_if_busy(notes: &mut Vec<String>) {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text
        .split(' ')
        .next()
        .and_then(|first| first.parse().ok())
        .unwrap_or_default();
    if load > IDLE_LOAD_MAX {
        let note = format!("the machine was not idle at the start (load average {load})");
        eprintln!("WARNING: {note}");
        notes.push(note);
    }
}

/// As many connections as the limit of open files lets every process hold.
fn allowed_connections(wanted: usize, notes: &mut Vec<String>) -> anyhow::Result<usize> {
    // HAProxy wants two descriptors for every connection that it is configured for.
    let needed = 2 * (wanted + SPARE_CONNECTIONS) as u64 + SPARE_FILES;
    let limit = os::raise_open_files(needed)?;
    if limit >= wanted as u64 + SPARE_CONNECTIONS as u64 + SPARE_FILES {
        return Ok(wanted);
    }
    let room = usize::try_from(limit.saturating_sub(SPARE_FILES))?
        .saturating_sub(SPARE_CONNECTIONS)
        .max(1);
    let note = format!(
        "{wanted} idle connections need more open files than the limit of {limit} (ulimit -n): {room} were held"
    );
    eprintln!("WARNING: {note}");
    notes.push(note);
    Ok(room)
}

/// A load average that a machine has when nothing but a shell and this program runs.
const IDLE_LOAD_MAX: f64 = 0.5;

/// Connections that proxies are configured for beyond those of the scenarios.
const SPARE_CONNECTIONS: usize = 1_000;

/// Open files of a proxy besides its connections.
const SPARE_FILES: u64 = 100;
