//! What is measured of a proxy: each scenario's load and the figures that it yields.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Serialize;

use super::Settings;
use super::peers::{Kind, Proxy, Site, Subject};
use crate::load::Report;
use crate::{child, cpu, hold};

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// Small responses as fast as they come
    Closed,
    /// Small responses at a fixed offered rate
    Open,
    /// Bodies of 1 MiB
    Bodies,
    /// Memory of idle connections
    Idle,
}

/// A figure of a scenario.
pub struct Metric {
    pub key: &'static str,
    pub heading: &'static str,
    pub decimals: usize,
}

/// The figures of one measurement, in the order of [`Scenario::metrics`].
pub struct Sample {
    pub values: Vec<f64>,
    /// Responses and connections that were not as they should be.
    pub faults: u64,
}

const fn metric(key: &'static str, heading: &'static str, decimals: usize) -> Metric {
    Metric {
        key,
        heading,
        decimals,
    }
}

impl Scenario {
    /// What the table is headed with.
    pub fn title(self, settings: &Settings) -> String {
        let Settings {
            connections,
            rate,
            idle_connections,
            ..
        } = settings;
        match self {
            Scenario::Closed => {
                format!("Closed loop, {connections} keep-alive connections, 100-byte responses")
            }
            Scenario::Open => format!(
                "Open loop, {rate} requests/s offered over {connections} connections, 100-byte responses"
            ),
            Scenario::Bodies => {
                format!("Closed loop, {BODY_CONNECTIONS} connections, 1 MiB responses")
            }
            Scenario::Idle => format!("{idle_connections} idle connections"),
        }
    }

    /// The figures; proxies are compared by the last one, of which less is better.
    pub fn metrics(self) -> &'static [Metric] {
        const CLOSED: &[Metric] = &[
            metric("requests_per_second", "requests/s", 0),
            metric("core_share", "core busy", 2),
            metric("user_share", "in user space", 2),
            metric(CPU_PER_REQUEST, "CPU µs/request", 2),
        ];
        const OPEN: &[Metric] = &[
            metric(P50, "p50 µs", 0),
            metric(P99, "p99 µs", 0),
            metric("p999_us", "p99.9 µs", 0),
            metric(CPU_PER_REQUEST, "CPU µs/request", 2),
        ];
        const BODIES: &[Metric] = &[
            metric("gb_per_second", "GB/s", 2),
            metric(CPU_PER_GB, "CPU s/GB", 3),
        ];
        const IDLE: &[Metric] = &[
            metric("start_mib", "RSS at start, MiB", 1),
            metric("idle_mib", "RSS then, MiB", 1),
            metric(BYTES_PER_CONNECTION, "bytes/connection", 0),
        ];
        match self {
            Scenario::Closed => CLOSED,
            Scenario::Open => OPEN,
            Scenario::Bodies => BODIES,
            Scenario::Idle => IDLE,
        }
    }

    /// Whether the scenario says anything about such a proxy.
    pub fn applies_to(self, kind: Kind) -> bool {
        // The floor opens an upstream connection for every idle client, which no proxy does.
        self != Scenario::Idle || kind != Kind::Floor
    }

    /// Measures a proxy that is running. For [`Scenario::Idle`] a fresh one is started instead,
    /// because an allocator that has seen load would hide what connections take.
    pub fn measure(
        self,
        subject: &Subject,
        proxy: &Proxy,
        site: &Site<'_>,
        settings: &Settings,
    ) -> anyhow::Result<Sample> {
        let connections = settings.connections;
        match self {
            Scenario::Closed => {
                let report = load(proxy, settings, "/", 100, connections, None)?;
                let cpu = watched(&report)?;
                let values = vec![
                    report.requests_per_second,
                    cpu.seconds / report.seconds,
                    cpu.user_share,
                    cpu_per_request(&report)?,
                ];
                Ok(Sample {
                    values,
                    faults: faults(&report),
                })
            }
            Scenario::Open => {
                let report = load(proxy, settings, "/", 100, connections, Some(settings.rate))?;
                let l = report.latency_us;
                let values = vec![l.p50, l.p99, l.p999, cpu_per_request(&report)?];
                Ok(Sample {
                    values,
                    faults: faults(&report),
                })
            }
            Scenario::Bodies => {
                let path = format!("/bytes/{BODY_BYTES}");
                let report = load(proxy, settings, &path, BODY_BYTES, BODY_CONNECTIONS, None)?;
                let gigabytes = report.body_bytes as f64 / 1e9;
                anyhow::ensure!(gigabytes > 0.0, "no body arrived");
                let values = vec![
                    gigabytes / report.seconds,
                    watched(&report)?.seconds / gigabytes,
                ];
                Ok(Sample {
                    values,
                    faults: faults(&report),
                })
            }
            Scenario::Idle => idle(&subject.start(site)?, settings),
        }
    }
}

/// Runs the load generator against a proxy.
fn load(
    proxy: &Proxy,
    settings: &Settings,
    path: &str,
    body_bytes: u64,
    connections: usize,
    rate: Option<f64>,
) -> anyhow::Result<Report> {
    let mut arguments = vec![
        format!("--connections={connections}"),
        format!("--duration={}", settings.seconds),
        format!("--expect-bytes={body_bytes}"),
    ];
    arguments.extend(rate.map(|rate| format!("--rate={rate}")));
    load_with(proxy, path, &arguments, settings.load_core)
}

/// Runs the load generator with these arguments against a proxy whose CPU it watches.
pub fn load_with(
    proxy: &Proxy,
    path: &str,
    arguments: &[String],
    core: Option<usize>,
) -> anyhow::Result<Report> {
    let url = format!("http://{}{path}", proxy.address);
    let watched = format!("--watch-pid={}", proxy.running.pid());
    let warm_up = format!("--warmup={WARM_UP}");
    let mut all = vec!["load", "--json", &url, &watched, &warm_up];
    all.extend(arguments.iter().map(String::as_str));
    let output = child::this_tool(&all, core)?.output()?;
    if !output.status.success() {
        bail!(
            "the load generator failed: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    serde_json::from_slice(&output.stdout).context("reading the load generator's report")
}

/// Memory before and while connections are held.
fn idle(proxy: &Proxy, settings: &Settings) -> anyhow::Result<Sample> {
    let (pid, count) = (proxy.running.pid(), settings.idle_connections);
    let start = cpu::resident_bytes(pid)?;
    let (target, connections) = (proxy.address.to_string(), format!("--connections={count}"));
    let mut command = child::this_tool(&["hold", &target, &connections], settings.load_core)?;
    let mut holder = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(holder.stdout.take().context("stdout is piped")?).read_line(&mut line)?;
    let holding = line.trim_end() == hold::HOLDING;
    if holding {
        std::thread::sleep(SETTLING);
    }
    let with_idle = cpu::resident_bytes(pid)?;
    drop(holder.stdin.take());
    let output = holder.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        holding && output.status.success(),
        "holding connections: {}",
        said.trim_end()
    );
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let per_connection = with_idle.saturating_sub(start) as f64 / count as f64;
    Ok(Sample {
        values: vec![mib(start), mib(with_idle), per_connection],
        faults: 0,
    })
}

fn watched(report: &Report) -> anyhow::Result<crate::load::WatchedCpu> {
    report
        .watched_cpu
        .context("the load generator did not report the proxy's CPU")
}

/// CPU time of the proxy for each answered request, in microseconds.
pub fn cpu_per_request(report: &Report) -> anyhow::Result<f64> {
    anyhow::ensure!(report.requests > 0, "no request was answered");
    Ok(watched(report)?.seconds * 1e6 / report.requests as f64)
}

/// Answers that were not as they should be.
pub fn faults(report: &Report) -> u64 {
    let errors = report.socket_errors;
    report.non_2xx
        + report.invalid
        + report.unfinished
        + errors.connect
        + errors.read
        + errors.write
}

/// Keys that goals refer to.
pub const CPU_PER_REQUEST: &str = "cpu_us_per_request";
pub const CPU_PER_GB: &str = "cpu_s_per_gb";
pub const BYTES_PER_CONNECTION: &str = "bytes_per_connection";
pub const P50: &str = "p50_us";
pub const P99: &str = "p99_us";

/// The size of large bodies.
const BODY_BYTES: u64 = 1 << 20;

/// Enough to keep the proxy busy while each connection waits for its next body.
const BODY_CONNECTIONS: usize = 16;

/// Long enough for upstream connections to be opened and caches to be warm.
const WARM_UP: &str = "500ms";

/// Time for a proxy to put away what it needed for the last request.
const SETTLING: Duration = Duration::from_millis(500);
