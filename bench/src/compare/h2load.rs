//! Runs h2load, the load generator for HTTP/2 and TLS, and reads what it says.

use std::process::Command;

use anyhow::{Context, bail};

use super::Settings;
use super::peers::{Proxy, find_program};
use crate::load::{Meter, WatchedCpu};
use crate::os;

/// A closed loop on keep-alive connections.
#[derive(Clone, Copy, Default)]
pub struct Load<'a> {
    pub over_tls: bool,
    pub connections: usize,
    /// Requests at once on each of them.
    pub streams: usize,
    pub path: &'a str,
    /// Further arguments.
    pub more: &'a [&'a str],
}

/// What came of it.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub requests: u64,
    pub body_bytes: u64,
    /// Requests that failed or were not answered with 2xx.
    pub faults: u64,
}

/// Loads a proxy for as long as the settings say. The proxy's CPU is that of the whole run, its
/// handshakes included: they are few beside the requests.
pub fn run(
    load: Load<'_>,
    proxy: &Proxy,
    settings: &Settings,
) -> anyhow::Result<(Outcome, f64, WatchedCpu)> {
    let program = find_program("h2load").context("h2load is not installed")?;
    let scheme = if load.over_tls { "https" } else { "http" };
    let mut command = Command::new(program);
    command
        .arg(format!("--duration={}", settings.seconds))
        .arg(format!("--clients={}", load.connections))
        .arg(format!("--max-concurrent-streams={}", load.streams))
        .args(load.more)
        .arg(format!("{scheme}://{}{}", proxy.address, load.path));
    os::pin_and_tie(&mut command, settings.load_core);
    let mut meter = Meter::new(Some(proxy.running.pid()));
    meter.start()?;
    let output = command.output().context("running h2load")?;
    let (seconds, cpu, _) = meter.stop()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("h2load failed: {text}");
    }
    let outcome = read(&text).with_context(|| format!("h2load said {text}"))?;
    Ok((outcome, seconds, cpu.context("the proxy was watched")?))
}

/// Reads its summary.
fn read(text: &str) -> Option<Outcome> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let requests = numbers(line("requests: ")?);
    let [_total, _started, done, succeeded, failed, errored, timeout] = requests[..] else {
        return None;
    };
    // "traffic: 1.2MB (1234567) total, 12KB (12345) headers (...), 1.1MB (1112222) data"
    let data = line("traffic: ")?.rsplit_once('(')?.1;
    Some(Outcome {
        requests: done,
        body_bytes: numbers(data).first().copied()?,
        faults: (done - succeeded.min(done)).max(failed) + errored + timeout,
    })
}

fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_read() {
        let text = "\
finished in 3.00s, 31415.33 req/s, 4.09MB/s
requests: 94246 total, 94346 started, 94246 done, 94240 succeeded, 6 failed, 0 errored, 0 timeout
status codes: 94240 2xx, 0 3xx, 0 4xx, 6 5xx
traffic: 12.27MB (12865812) total, 1.80MB (1885158) headers (space savings 91.30%), 8.99MB (9424600) data
";
        let expected = Outcome {
            requests: 94_246,
            body_bytes: 9_424_600,
            faults: 6,
        };
        assert_eq!(read(text), Some(expected));
        assert_eq!(read("error: no such host"), None);
    }
}
