//! Measuring a scenario: which tool makes the load, and what is made of its report.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};

use super::Settings;
use super::configs::Protocol;
use super::h2load::{self, Load};
use super::peers::{Proxy, Site, Subject};
use super::scenario::{BODY_CONNECTIONS, HANDSHAKES_AT_ONCE, Sample, Scenario};
use crate::load::Report;
use crate::tls::Identity;
use crate::{child, cpu, handshakes, hold, steady};

/// Measures a proxy that is running. For idle connections a fresh one is started instead,
/// because an allocator that has seen load would hide what connections take.
pub fn measure(
    scenario: Scenario,
    subject: &Subject,
    proxy: &Proxy,
    site: &Site<'_>,
    settings: &Settings,
) -> anyhow::Result<Sample> {
    let connections = settings.connections;
    match scenario {
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
        Scenario::Bodies | Scenario::TcpBytes => {
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
        Scenario::Idle | Scenario::TlsIdle => idle(
            &subject.start(site, scenario.protocol())?,
            scenario,
            site,
            settings,
        ),
        Scenario::TlsHandshakes => handshakes(false, proxy, site, settings),
        Scenario::TlsResumptions => handshakes(true, proxy, site, settings),
        Scenario::TlsStorm => storm(proxy, site, settings),
        Scenario::Tls => requests(
            Load {
                over_tls: true,
                connections,
                streams: 1,
                more: &["--h1"],
                path: "/",
            },
            proxy,
            settings,
        ),
        Scenario::TlsBodies => {
            let load = Load {
                over_tls: true,
                connections: BODY_CONNECTIONS,
                streams: 1,
                more: &["--h1"],
                path: &format!("/bytes/{BODY_BYTES}"),
            };
            let (outcome, seconds, cpu) = h2load::run(load, proxy, settings)?;
            let gigabytes = outcome.body_bytes as f64 / 1e9;
            anyhow::ensure!(gigabytes > 0.0, "no body arrived");
            Ok(Sample {
                values: vec![gigabytes / seconds, cpu.seconds / gigabytes],
                faults: outcome.faults,
            })
        }
        Scenario::H2cOne | Scenario::H2cTen | Scenario::H2TlsOne | Scenario::H2TlsTen => {
            let load = Load {
                over_tls: scenario.protocol() == Protocol::Tls,
                connections: match scenario {
                    Scenario::H2cOne | Scenario::H2TlsOne => 1,
                    _ => 10,
                },
                streams: 100,
                more: &[],
                path: "/",
            };
            requests(load, proxy, settings)
        }
        Scenario::Grpc => {
            let call = site.dir.join("call");
            std::fs::write(&call, GRPC_CALL)?;
            let load = Load {
                over_tls: false,
                connections: 10,
                streams: 10,
                more: &[
                    "--header=content-type: application/grpc",
                    "--header=te: trailers",
                    &format!("--data={}", call.display()),
                ],
                path: "/bench.Echo/Say",
            };
            requests(load, proxy, settings)
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

/// Requests of h2load and what each costs.
fn requests(load: Load<'_>, proxy: &Proxy, settings: &Settings) -> anyhow::Result<Sample> {
    let (outcome, seconds, cpu) = h2load::run(load, proxy, settings)?;
    anyhow::ensure!(outcome.requests > 0, "no request was answered");
    let requests = outcome.requests as f64;
    Ok(Sample {
        values: vec![
            requests / seconds,
            cpu.seconds / seconds,
            cpu.seconds * 1e6 / requests,
        ],
        faults: outcome.faults,
    })
}

/// Handshakes and what each costs, its connection and its request included.
fn handshakes(
    resume: bool,
    proxy: &Proxy,
    site: &Site<'_>,
    settings: &Settings,
) -> anyhow::Result<Sample> {
    let target = proxy.address.to_string();
    let certificate = format!(
        "--certificate={}",
        Identity::certificate(site.dir).display()
    );
    let arguments = [
        format!("--duration={}", settings.seconds),
        format!("--connections={HANDSHAKES_AT_ONCE}"),
        format!("--watch-pid={}", proxy.running.pid()),
        format!("--warmup={WARM_UP}"),
    ];
    let mut all = vec!["handshakes", &target, &certificate];
    all.extend(arguments.iter().map(String::as_str));
    all.extend(resume.then_some("--resume"));
    let output = child::this_tool(&all, settings.load_core)?.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "handshakes: {}", said.trim_end());
    let report: handshakes::Report = serde_json::from_slice(&output.stdout)?;
    anyhow::ensure!(report.connections > 0, "no handshake: {}", said.trim_end());
    let cpu = report.watched_cpu.context("the proxy was watched")?;
    let connections = report.connections as f64;
    Ok(Sample {
        values: vec![
            connections / report.seconds,
            cpu.seconds / report.seconds,
            cpu.seconds * 1e6 / connections,
        ],
        faults: report.faults,
    })
}

/// How long keep-alive connections wait while nothing else goes on, and while others shake
/// hands.
fn storm(proxy: &Proxy, site: &Site<'_>, settings: &Settings) -> anyhow::Result<Sample> {
    let calm = steady(proxy, site, settings)?;
    let target = proxy.address.to_string();
    let certificate = format!(
        "--certificate={}",
        Identity::certificate(site.dir).display()
    );
    let arguments = [
        "handshakes",
        &target,
        &certificate,
        &format!("--duration={}", settings.seconds),
        &format!("--connections={HANDSHAKES_AT_ONCE}"),
        &format!("--warmup={WARM_UP}"),
        // They share a core with the clients that are measured.
        "--give-way",
    ];
    let mut command = child::this_tool(&arguments, settings.load_core)?;
    let storm = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stormy = steady(proxy, site, settings);
    let output = storm.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "handshakes: {}", said.trim_end());
    let (report, stormy): (handshakes::Report, _) =
        (serde_json::from_slice(&output.stdout)?, stormy?);
    Ok(Sample {
        values: vec![
            calm.p50,
            calm.p99,
            calm.p999,
            report.connections as f64 / report.seconds,
            stormy.p50,
            stormy.p999,
            stormy.p99,
        ],
        faults: report.faults,
    })
}

/// Requests at a fixed pace.
fn steady(proxy: &Proxy, site: &Site<'_>, settings: &Settings) -> anyhow::Result<steady::Report> {
    let target = proxy.address.to_string();
    let certificate = format!(
        "--certificate={}",
        Identity::certificate(site.dir).display()
    );
    let arguments = [
        "steady",
        &target,
        &certificate,
        &format!("--duration={}", settings.seconds),
        &format!("--warmup={WARM_UP}"),
    ];
    let output = child::this_tool(&arguments, settings.load_core)?.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "steady: {}", said.trim_end());
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Memory before and while connections are held.
fn idle(
    proxy: &Proxy,
    scenario: Scenario,
    site: &Site<'_>,
    settings: &Settings,
) -> anyhow::Result<Sample> {
    let (pid, count) = (proxy.running.pid(), settings.idle_connections);
    let start = cpu::resident_bytes(pid)?;
    let (target, connections) = (proxy.address.to_string(), format!("--connections={count}"));
    let certificate = format!(
        "--certificate={}",
        Identity::certificate(site.dir).display()
    );
    let mut all = vec!["hold", &target, &connections];
    all.extend((scenario == Scenario::TlsIdle).then_some(certificate.as_str()));
    let mut command = child::this_tool(&all, settings.load_core)?;
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

/// The size of large bodies.
const BODY_BYTES: u64 = 1 << 20;

/// A gRPC message with a field of eight bytes.
const GRPC_CALL: &[u8] = b"\0\0\0\0\x0a\x0a\x08ringway!";

/// Long enough for upstream connections to be opened and caches to be warm.
const WARM_UP: &str = "500ms";

/// Time for a proxy to put away what it needed for the last request.
const SETTLING: Duration = Duration::from_millis(500);
