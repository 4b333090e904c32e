//! What finding a route costs, by the length of the list that it is in.
//!
//! Every proxy gets the same list, of routes or of virtual hosts, and answers by itself; all
//! requests are for the last entry. Where to read on: [`list`] (what the lists are), [`results`]
//! (what is made of the figures). The proxies of one list run at the same time and are measured
//! in turns, in reversed order from round to round.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;

use crate::compare::peers::{Kind, Peer, Proxy, Site, Subject};
use crate::compare::{self, measure};
use crate::{child, duration};
use list::List;
use results::{Cell, Results, Sample};

mod list;
mod results;

/// Measure what long lists of routes and virtual hosts cost, beside other proxies.
///
/// Each proxy runs one worker on one core and answers by itself; every request is for the last
/// entry of a list. The results are kept as JSON too.
#[derive(clap::Args)]
pub struct Options {
    /// Peers to compare with: envoy, nginx
    #[arg(long, value_enum, value_delimiter = ',', default_value = "envoy,nginx")]
    vs: Vec<Peer>,
    /// Ringway's program [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    ringway: Option<PathBuf>,
    /// Envoy's program [default: the first on PATH, then .peers/bin]
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// nginx's program [default: the first on PATH]
    #[arg(long, value_name = "PATH")]
    nginx: Option<PathBuf>,
    /// Kinds of lists [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    lists: Vec<List>,
    /// Lengths of the lists
    #[arg(long, value_delimiter = ',', default_value = "10,1000,10000")]
    lengths: Vec<usize>,
    /// Rounds of every list
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Length of the measured part of a round
    #[arg(long, default_value = "1.5", value_parser = duration::parse)]
    seconds: Duration,
    /// Keep-alive connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Core of the proxy
    #[arg(long, default_value_t = 0)]
    proxy_core: usize,
    /// Core of the load generator
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Name of the results file
    #[arg(long, default_value = "match")]
    label: String,
    /// Directory of the results file
    #[arg(long, default_value = "perf/results", value_name = "DIR")]
    results: PathBuf,
}

/// Runs the measurements, prints the table and keeps the results.
pub fn run(options: &Options) -> anyhow::Result<()> {
    anyhow::ensure!(options.rounds > 0, "--rounds must be at least 1");
    anyhow::ensure!(
        options.lengths.iter().all(|length| *length > 0),
        "--lengths must be at least 1"
    );
    let mut notes = Vec::new();
    let subjects = subjects(options, &mut notes)?;
    let cores = std::thread::available_parallelism()?.get();
    let wanted = (options.proxy_core, options.load_core);
    let (proxy_core, load_core) = compare::choose_cores(wanted, cores, &mut notes);
    compare::warn_if_busy(&mut notes);
    let dir = tempfile::Builder::new()
        .prefix("ringway-bench-")
        .tempdir()?;
    child::clean_up_on_interrupt(dir.path().to_owned())?;
    let site = Site {
        dir: dir.path(),
        // Nothing is forwarded.
        origin: SocketAddr::from((Ipv4Addr::LOCALHOST, 9)),
        core: proxy_core,
        connections: options.connections + SPARE_CONNECTIONS,
    };
    let lists = match options.lists.as_slice() {
        [] => List::value_variants(),
        chosen => chosen,
    };
    let mut results = Results::new(
        &options.label,
        &subjects,
        cores,
        options.rounds,
        options.seconds,
    );
    for &list in lists {
        for &length in &options.lengths {
            results
                .cells
                .extend(measure(list, length, &subjects, &site, load_core, options)?);
        }
    }
    results.notes = notes;
    println!("{}", results.render());
    let path = results.write(&options.results)?;
    eprintln!("kept in {}", path.display());
    Ok(())
}

fn subjects(options: &Options, notes: &mut Vec<String>) -> anyhow::Result<Vec<Subject>> {
    let mut subjects = vec![Subject::ringway(options.ringway.as_deref())?];
    for &peer in &options.vs {
        let given = match peer {
            Peer::Envoy => &options.envoy,
            Peer::Nginx => &options.nginx,
            Peer::Haproxy | Peer::HaproxySplice => {
                anyhow::bail!("HAProxy has no such list: it looks names up in maps")
            }
        };
        match Subject::peer(peer, given.as_deref()) {
            Ok(subject) => subjects.push(subject),
            Err(error) => {
                eprintln!("SKIPPED: {error:#}");
                notes.push(error.to_string());
            }
        }
    }
    Ok(subjects)
}

/// All proxies with one list.
fn measure(
    list: List,
    length: usize,
    subjects: &[Subject],
    site: &Site<'_>,
    load_core: Option<usize>,
    options: &Options,
) -> anyhow::Result<Vec<Cell>> {
    let able: Vec<&Subject> = subjects
        .iter()
        .filter(|subject| list.is_known_to(subject.kind))
        .collect();
    let mut proxies = Vec::new();
    for subject in &able {
        let started = subject.start_with(site, |address, admin| match subject.kind {
            Kind::Peer(Peer::Nginx) => list.nginx(length, address, site.dir),
            _ => list.envoy(length, address, admin),
        });
        proxies.push(started.with_context(|| {
            format!(
                "starting {} with {length} entries ({})",
                subject.name,
                list.title()
            )
        })?);
    }
    let mut samples: Vec<Vec<Sample>> = able.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds {
        let mut order: Vec<usize> = (0..able.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let sample = sample(list, length, &proxies[index], load_core, options)?;
            eprintln!(
                "{}, {length}, {}/{}: {}: {:.2} CPU µs/request",
                list.title(),
                round + 1,
                options.rounds,
                able[index].name,
                sample.cpu_us_per_request
            );
            samples[index].push(sample);
        }
    }
    Ok(able
        .iter()
        .zip(samples)
        .map(|(subject, samples)| Cell::new(list, length, subject.name, samples))
        .collect())
}

fn sample(
    list: List,
    length: usize,
    proxy: &Proxy,
    load_core: Option<usize>,
    options: &Options,
) -> anyhow::Result<Sample> {
    let (path, host) = list.last(length);
    let mut arguments = vec![
        format!("--connections={}", options.connections),
        format!("--duration={}", options.seconds.as_secs_f64()),
        format!("--expect-bytes={}", list::LAST_BODY.len()),
    ];
    arguments.extend(host.map(|host| format!("--header=host: {host}")));
    let report = measure::load_with(proxy, &path, &arguments, load_core)?;
    Ok(Sample {
        cpu_us_per_request: measure::cpu_per_request(&report)?,
        requests_per_second: report.requests_per_second,
        faults: measure::faults(&report),
    })
}

/// Connections that proxies are configured for beyond those of the load.
const SPARE_CONNECTIONS: usize = 100;
