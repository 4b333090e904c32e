//! Heap allocations per proxied request, counted by the proxy itself.
//!
//! Ringway must be built with `--features count-allocations`, which counts in its allocator and
//! shows the sum as `server.allocations`. Both that and the number of requests are read twice
//! while load is running, so that neither starting nor connecting is counted.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::child::{self, Running};
use crate::compare::configs;
use crate::compare::peers::{Proxy, Site, Subject};
use crate::duration;

/// Count Ringway's heap allocations per proxied request.
///
/// Needs a Ringway built with --features count-allocations. Fails when there are more than
/// --max, which is how CI notices.
#[derive(clap::Args)]
pub struct Options {
    /// Ringway's program [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    ringway: Option<PathBuf>,
    /// Allocations per request that are allowed
    #[arg(long, default_value_t = 0.05)]
    max: f64,
    /// Keep-alive connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Length of the counted part
    #[arg(long, default_value = "2s", value_parser = duration::parse)]
    duration: Duration,
}

/// Counts and judges.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let ringway = Subject::ringway(options.ringway.as_deref())?;
    let dir = tempfile::Builder::new()
        .prefix("ringway-bench-")
        .tempdir()?;
    child::clean_up_on_interrupt(dir.path().to_owned())?;
    let (_origin, origin) =
        Running::start_tool("origin", &["origin", "--port", "0"], None, dir.path())?;
    let site = Site {
        dir: dir.path(),
        origin,
        core: None,
        connections: options.connections,
    };
    let proxy = ringway.start_with(&site, |listen, admin| {
        configs::envoy::routes(listen, admin, origin, ROUTES)
    })?;
    for (name, path) in PATHS {
        let per_request = count(options, &proxy, path)?;
        println!("{per_request:.4} allocations per request of {name}");
        ensure!(
            per_request <= options.max,
            "more than {} allocations per request",
            options.max
        );
    }
    Ok(())
}

/// Heap allocations of each request for a path.
fn count(options: &Options, proxy: &Proxy, path: &str) -> anyhow::Result<f64> {
    let admin = proxy.admin.context("Ringway has an admin interface")?;
    // What reading costs by itself is taken off below. The first read is dearer than others.
    Counts::read(admin)?;
    let before = Counts::read(admin)?;
    let cost_of_reading = Counts::read(admin)?.allocations - before.allocations;

    let url = format!("http://{}{path}", proxy.address);
    let warm_up = format!("--warmup={}", WARM_UP.as_secs_f64());
    let length = format!("--duration={}", (options.duration + MARGIN).as_secs_f64());
    let connections = format!("--connections={}", options.connections);
    let arguments = ["load", "--json", &url, &warm_up, &length, &connections];
    let mut load = child::this_tool(&arguments, None)?
        .stdout(Stdio::null())
        .spawn()?;
    std::thread::sleep(WARM_UP);
    let first = Counts::read(admin)?;
    std::thread::sleep(options.duration);
    let second = Counts::read(admin)?;
    ensure!(load.wait()?.success(), "the load generator failed");
    per_request(first, second, cost_of_reading)
}

/// Two of the proxy's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    allocations: u64,
    requests: u64,
}

impl Counts {
    fn read(admin: SocketAddr) -> anyhow::Result<Counts> {
        let mut stream = TcpStream::connect(admin).context("connecting to the admin interface")?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let path = format!("/stats?filter={ALLOCATIONS}%7C{REQUESTS}");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n"
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Counts::parse(&text)
    }

    fn parse(text: &str) -> anyhow::Result<Counts> {
        let value = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.and_then(|value| value.trim().parse().ok())
        };
        let allocations = value(ALLOCATIONS);
        Ok(Counts {
            allocations: allocations.with_context(|| {
                format!("no {ALLOCATIONS}: build ringway with --features count-allocations")
            })?,
            requests: value(REQUESTS)
                .with_context(|| format!("no {REQUESTS} in the statistics"))?,
        })
    }
}

fn per_request(first: Counts, second: Counts, cost_of_reading: u64) -> anyhow::Result<f64> {
    let requests = second.requests.saturating_sub(first.requests);
    ensure!(requests > 0, "no request was proxied");
    let allocations = second
        .allocations
        .saturating_sub(first.allocations)
        .saturating_sub(cost_of_reading);
    Ok(allocations as f64 / requests as f64)
}

/// Requests that do not use a feature must not pay for it, and those that do no more than they
/// must: one try of a route that may retry is like that of any other.
const ROUTES: &str = r#"- match: { prefix: /retried }
  route:
    cluster: origin
    retry_policy:
      retry_on: 5xx,reset
      num_retries: 2
      per_try_timeout: 5s
      retry_host_predicate:
      - name: envoy.retry_host_predicates.previous_hosts
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate
- match: { prefix: / }
  route: { cluster: origin }
"#;

/// What is counted, and a path of it.
const PATHS: [(&str, &str); 2] = [
    ("a route", "/"),
    ("a route with a retry policy", "/retried"),
];

const ALLOCATIONS: &str = "server.allocations";
const REQUESTS: &str = "http.http.downstream_rq_total";

/// Load before the first reading: pools, buffers and tables have grown by then.
const WARM_UP: Duration = Duration::from_secs(2);

/// Load goes on a little longer than the counted part.
const MARGIN: Duration = Duration::from_secs(1);

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_the_statistics() {
        let text = "HTTP/1.1 200 OK\r\nserver: x\r\n\r\nhttp.http.downstream_rq_total: 12\nserver.allocations: 34\n";
        assert_eq!(
            Counts::parse(text).expect("both"),
            Counts {
                allocations: 34,
                requests: 12
            }
        );
        let error =
            Counts::parse("http.http.downstream_rq_total: 12\n").expect_err("one is missing");
        assert!(error.to_string().contains("count-allocations"), "{error}");
    }

    #[test]
    fn reading_is_not_counted() {
        let counts = |allocations, requests| Counts {
            allocations,
            requests,
        };
        assert_eq!(
            per_request(counts(100, 10), counts(150, 30), 10).expect("requests"),
            2.0
        );
        assert_eq!(
            per_request(counts(100, 10), counts(105, 30), 10).expect("requests"),
            0.0
        );
        assert!(per_request(counts(100, 10), counts(105, 10), 0).is_err());
    }
}
