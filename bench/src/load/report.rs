//! What a load run has seen, as text and as JSON.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Counts and latencies of the measured part of a run.
pub struct Measured {
    /// Nanoseconds.
    pub latency: Histogram<u64>,
    pub completed: u64,
    pub body_bytes: u64,
    pub non_2xx: u64,
    pub invalid: u64,
    pub unfinished: u64,
    pub reconnects: u64,
    pub errors: SocketErrors,
}

/// Errors of connections, by what was being done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketErrors {
    pub connect: u64,
    pub read: u64,
    pub write: u64,
}

/// The result of a run. What `--json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub connections: usize,
    pub pipeline: usize,
    /// Requests per second that the schedule asked for; absent in a closed loop.
    pub offered_rate: Option<f64>,
    pub seconds: f64,
    pub requests: u64,
    pub requests_per_second: f64,
    pub body_bytes: u64,
    pub non_2xx: u64,
    /// Responses whose length was not the expected one, or that could not be followed.
    pub invalid: u64,
    /// Requests that were due but had no complete answer when the run ended.
    pub unfinished: u64,
    /// Connections opened again because the server had closed them between two responses.
    pub reconnects: u64,
    pub socket_errors: SocketErrors,
    /// From sending in a closed loop, from when the request was due in an open one.
    pub latency_us: Latency,
    /// CPU of the process named by `--watch-pid` during the measured part.
    pub watched_cpu: Option<WatchedCpu>,
    /// CPU of the load generator itself: near `seconds`, it was the bottleneck.
    pub own_cpu_seconds: f64,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub p9999: f64,
    pub max: f64,
}

/// CPU time of another process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchedCpu {
    pub seconds: f64,
    /// The share spent in user space, from clock ticks and therefore coarse.
    pub user_share: f64,
}

impl Measured {
    /// A run that has seen nothing.
    pub fn new() -> anyhow::Result<Measured> {
        Ok(Measured {
            latency: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)?,
            completed: 0,
            body_bytes: 0,
            non_2xx: 0,
            invalid: 0,
            unfinished: 0,
            reconnects: 0,
            errors: SocketErrors::default(),
        })
    }

    /// Forgets what was seen while warming up.
    pub fn reset(&mut self) {
        self.latency.reset();
        let Measured {
            completed,
            body_bytes,
            non_2xx,
            invalid,
            unfinished,
            reconnects,
            errors,
            ..
        } = self;
        for count in [
            completed, body_bytes, non_2xx, invalid, unfinished, reconnects,
        ] {
            *count = 0;
        }
        *errors = SocketErrors::default();
    }

    /// Counts one request that took `ns`.
    pub fn record(&mut self, ns: u64) {
        self.latency.saturating_record(ns);
    }

    /// The latencies in the units that people read.
    pub fn latency(&self) -> Latency {
        if self.latency.is_empty() {
            return Latency::default();
        }
        let at = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1e3;
        Latency {
            min: self.latency.min() as f64 / 1e3,
            mean: self.latency.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: self.latency.max() as f64 / 1e3,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.offered_rate {
            Some(rate) => format!("open loop at {rate} requests/s"),
            None => format!("closed loop, {} in flight on each", self.pipeline),
        };
        writeln!(
            f,
            "{} connections, {kind}, {:.2} s",
            self.connections, self.seconds
        )?;
        let bytes_per_second = self.body_bytes as f64 / self.seconds;
        writeln!(
            f,
            "{} requests, {:.0} requests/s, {:.1} MB/s of bodies",
            self.requests,
            self.requests_per_second,
            bytes_per_second / 1e6
        )?;
        let l = &self.latency_us;
        writeln!(
            f,
            "latency µs: min {:.0}  mean {:.0}  p50 {:.0}  p90 {:.0}  p99 {:.0}  p99.9 {:.0}  p99.99 {:.0}  max {:.0}",
            l.min, l.mean, l.p50, l.p90, l.p99, l.p999, l.p9999, l.max
        )?;
        let SocketErrors {
            connect,
            read,
            write,
        } = self.socket_errors;
        writeln!(
            f,
            "non-2xx {}, invalid {}, unfinished {}, reconnects {}, socket errors: connect {connect}, read {read}, write {write}",
            self.non_2xx, self.invalid, self.unfinished, self.reconnects
        )?;
        if let Some(cpu) = self.watched_cpu {
            writeln!(
                f,
                "watched process: {:.2} µs of CPU per request ({:.0} % of a core, {:.0} % of it in user space)",
                cpu.seconds * 1e6 / self.requests.max(1) as f64,
                cpu.seconds / self.seconds * 100.0,
                cpu.user_share * 100.0
            )?;
        }
        write!(
            f,
            "load generator: {:.0} % of a core",
            self.own_cpu_seconds / self.seconds * 100.0
        )
    }
}

/// Longer latencies are recorded as this one.
const LATENCY_NS_MAX: u64 = Duration::from_secs(60).as_nanos() as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_microseconds_and_forget_the_warm_up() {
        let mut measured = Measured::new().expect("constant bounds");
        measured.record(u64::MAX);
        measured.errors.read = 3;
        measured.reset();
        assert_eq!(measured.latency(), Latency::default());
        for us in 1..=1_000 {
            measured.record(us * 1_000);
        }
        let latency = measured.latency();
        assert!((latency.p50 - 500.0).abs() < 1.0, "{latency:?}");
        assert!((latency.p99 - 990.0).abs() < 1.5, "{latency:?}");
        assert!((latency.max - 1_000.0).abs() < 1.0, "{latency:?}");
        assert_eq!(measured.errors, SocketErrors::default());
    }
}
