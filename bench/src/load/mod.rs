//! The load generator: one thread, one epoll, HTTP/1.1 keep-alive connections.
//!
//! In a closed loop every connection sends its next request when the one before is answered,
//! which finds the highest throughput and says little about latency. With `--rate` requests are
//! due at times fixed beforehand (see [`schedule`]), which is what latencies should be quoted from.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::{duration, os};
use connection::Plan;
use schedule::Arrivals;

mod connection;
mod meter;
mod report;
mod runner;
mod schedule;

pub use meter::Meter;
pub use report::{Report, WatchedCpu};

/// Send requests in a closed loop, or at a fixed rate with corrected latencies.
///
/// With --rate, a latency counts from when its request was due, so that a stall of the server is
/// counted against every request that it delayed.
#[derive(clap::Args)]
pub struct Options {
    /// Where to send requests: http://HOST:PORT/PATH
    #[arg(default_value = "http://127.0.0.1:8080/")]
    url: String,
    /// Keep-alive connections
    #[arg(long, short, default_value_t = 64)]
    connections: usize,
    /// Length of the measured part
    #[arg(long, short, default_value = "5s", value_parser = duration::parse)]
    duration: Duration,
    /// Length of the part before it that is not measured
    #[arg(long, default_value = "1s", value_parser = duration::parse)]
    warmup: Duration,
    /// Offer this many requests a second, however slow the answers are
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// How the requests of a fixed rate are spread
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    arrivals: Arrivals,
    /// Requests in flight on each connection
    #[arg(long, default_value_t = 1)]
    pipeline: usize,
    /// Request method
    #[arg(long, default_value = "GET")]
    method: String,
    /// Bytes of request body to send with every request
    #[arg(long, default_value_t = 0)]
    body_bytes: usize,
    /// Header line to add, as 'name: value'; a host takes the place of the URL's
    #[arg(long = "header", short = 'H', value_name = "LINE")]
    headers: Vec<String>,
    /// Length that every response body must have
    #[arg(long, value_name = "BYTES")]
    expect_bytes: Option<u64>,
    /// Core to run on
    #[arg(long)]
    core: Option<usize>,
    /// Report the CPU that this process uses during the measured part
    #[arg(long, value_name = "PID")]
    watch_pid: Option<u32>,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Runs the load and prints what it saw. Fails when no request was answered at all.
pub fn run(options: &Options) -> anyhow::Result<()> {
    anyhow::ensure!(options.connections > 0, "--connections must be at least 1");
    anyhow::ensure!(options.pipeline > 0, "--pipeline must be at least 1");
    anyhow::ensure!(
        options.rate.is_none_or(|r| r > 0.0),
        "--rate must be more than 0"
    );
    if let Some(core) = options.core {
        os::pin(core)?;
    }
    os::precise_timers();
    let needed = options.connections as u64 + SPARE_FILES;
    let limit = os::raise_open_files(needed)?;
    anyhow::ensure!(
        limit >= needed,
        "{} connections need {needed} open files, but the limit is {limit} (ulimit -n)",
        options.connections
    );
    let plan = plan(options)?;
    let report = runner::run(&plan, options)?;
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    anyhow::ensure!(report.requests > 0, "no request was answered");
    Ok(())
}

fn plan(options: &Options) -> anyhow::Result<Plan> {
    let (target, authority, path) = parse_url(&options.url)?;
    let mut request = format!("{} {path} HTTP/1.1\r\n", options.method);
    let names_host = |line: &String| line.to_ascii_lowercase().starts_with("host:");
    if !options.headers.iter().any(names_host) {
        request.push_str(&format!("host: {authority}\r\n"));
    }
    request.push_str("user-agent: ringway-bench\r\naccept: */*\r\n");
    for line in &options.headers {
        anyhow::ensure!(line.contains(':'), "header '{line}' has no colon");
        request.push_str(line);
        request.push_str("\r\n");
    }
    if options.body_bytes > 0 {
        request.push_str(&format!("content-length: {}\r\n", options.body_bytes));
    }
    request.push_str("\r\n");
    let mut request = request.into_bytes();
    request.resize(request.len() + options.body_bytes, b'x');
    Ok(Plan {
        target,
        request_bytes: request.len(),
        requests: request.repeat(options.pipeline + 1),
        request_is_head: options.method == "HEAD",
        pipeline: options.pipeline,
        expected_bytes: options.expect_bytes,
    })
}

/// The address, the authority and the path of a URL.
fn parse_url(url: &str) -> anyhow::Result<(SocketAddr, &str, &str)> {
    let Some(rest) = url.strip_prefix("http://") else {
        bail!("'{url}' does not begin with http://");
    };
    let split = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(split);
    let path = if path.is_empty() { "/" } else { path };
    let with_port = match authority.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
        _ => format!("{authority}:80"),
    };
    let mut addresses = with_port
        .to_socket_addrs()
        .with_context(|| format!("resolving '{authority}'"))?;
    let address = addresses
        .next()
        .with_context(|| format!("'{authority}' has no address"))?;
    Ok((address, authority, path))
}

/// Open files of the process besides its connections.
const SPARE_FILES: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for (url, expected) in [
            (
                "http://127.0.0.1:8080",
                (local(8080), "127.0.0.1:8080", "/"),
            ),
            (
                "http://127.0.0.1:1/a/b?c=http://d",
                (local(1), "127.0.0.1:1", "/a/b?c=http://d"),
            ),
            ("http://127.0.0.1/", (local(80), "127.0.0.1", "/")),
        ] {
            assert_eq!(parse_url(url).expect(url), expected);
        }
        assert!(parse_url("127.0.0.1:80").is_err());
        assert!(parse_url("https://127.0.0.1").is_err());
    }
}
