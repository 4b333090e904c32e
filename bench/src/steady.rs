//! Clients that keep their connections over TLS and send requests at a fixed pace: what
//! they wait for while something else goes on.
//!
//! A thread with a blocking socket for each. A latency counts from when its request was due,
//! so that a stall is counted against every request that it delayed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde::{Deserialize, Serialize};

use crate::{duration, os, tls};

/// Send requests on keep-alive connections over TLS at a fixed pace.
#[derive(clap::Args)]
pub struct Options {
    /// Address to connect to
    #[arg(default_value = "127.0.0.1:8443")]
    target: SocketAddr,
    /// The server's certificate, which signs itself
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// Keep-alive connections
    #[arg(long, short, default_value_t = 4)]
    connections: usize,
    /// Requests a second on each of them
    #[arg(long, value_name = "PER_SECOND", default_value_t = 250.0)]
    rate: f64,
    /// Length of the measured part
    #[arg(long, short, default_value = "5s", value_parser = duration::parse)]
    duration: Duration,
    /// Length of the part before it that is not measured
    #[arg(long, default_value = "1s", value_parser = duration::parse)]
    warmup: Duration,
    /// Core to run on
    #[arg(long)]
    core: Option<usize>,
}

/// The result of a run, printed as JSON.
#[derive(Serialize, Deserialize)]
pub struct Report {
    pub requests: u64,
    /// Microseconds.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

/// Runs the load that the options describe and prints what came of it.
pub fn run(options: &Options) -> anyhow::Result<()> {
    anyhow::ensure!(options.rate > 0.0, "--rate must be more than 0");
    if let Some(core) = options.core {
        os::pin(core)?;
    }
    os::precise_timers();
    let config = tls::client(&options.certificate, false)?;
    let begin = Instant::now();
    let period = Duration::from_secs_f64(1.0 / options.rate);
    let mut threads = Vec::with_capacity(options.connections);
    for i in 0..options.connections {
        let pace = Pace {
            target: options.target,
            config: Arc::clone(&config),
            // One after the other, not all at once.
            first: begin + period.mul_f64(i as f64 / options.connections as f64),
            period,
            measured_from: begin + options.warmup,
            end: begin + options.warmup + options.duration,
        };
        threads.push(std::thread::spawn(move || pace.keep()));
    }
    let mut all = histogram()?;
    for thread in threads {
        let own = thread
            .join()
            .map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        all.add(own)?;
    }
    let us = |quantile| all.value_at_quantile(quantile) as f64 / 1e3;
    let report = Report {
        requests: all.len(),
        p50: us(0.5),
        p99: us(0.99),
        p999: us(0.999),
    };
    println!("{}", serde_json::to_string(&report)?);
    anyhow::ensure!(report.requests > 0, "no request was answered");
    Ok(())
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)?)
}

/// One client.
struct Pace {
    target: SocketAddr,
    config: Arc<ClientConfig>,
    first: Instant,
    period: Duration,
    measured_from: Instant,
    end: Instant,
}

impl Pace {
    /// How long requests took that were due in the measured part, in nanoseconds.
    fn keep(&self) -> anyhow::Result<Histogram<u64>> {
        let socket = TcpStream::connect_timeout(&self.target, TIMEOUT)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let connection = ClientConnection::new(Arc::clone(&self.config), tls::server_name()?)?;
        let mut stream = StreamOwned::new(connection, socket);
        let mut latencies = histogram()?;
        let mut answer = Vec::with_capacity(4096);
        let mut due = self.first;
        while due < self.end {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            stream.write_all(REQUEST)?;
            read_answer(&mut stream, &mut answer)?;
            if due >= self.measured_from {
                let waited = due.elapsed().as_nanos() as u64;
                latencies.saturating_record(waited);
            }
            due += self.period;
        }
        Ok(latencies)
    }
}

/// Reads one answer with a `content-length`.
fn read_answer(stream: &mut impl Read, answer: &mut Vec<u8>) -> anyhow::Result<()> {
    answer.clear();
    let mut part = [0; 4096];
    loop {
        let length = stream.read(&mut part)?;
        anyhow::ensure!(length > 0, "the connection was closed");
        answer.extend_from_slice(&part[..length]);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(end) = head.parse(answer)? else {
            continue;
        };
        anyhow::ensure!(head.code == Some(200), "not answered with 200");
        let length =
            (head.headers.iter()).find(|it| it.name.eq_ignore_ascii_case("content-length"));
        let length = length.context("an answer without a content-length")?.value;
        let length: usize = std::str::from_utf8(length)?.parse()?;
        if answer.len() >= end + length {
            return Ok(());
        }
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// How long connecting or an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is longer counts as this long.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(&mut buffer[..1])
        }
    }

    #[test]
    fn answers_are_read_to_their_end() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let mut answer = Vec::new();
        read_answer(&mut Slow(whole), &mut answer).expect("it is whole");
        assert_eq!(answer, whole);
        for wrong in [
            &whole[..whole.len() - 1],
            b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"\x15\x03\x03",
        ] {
            assert!(read_answer(&mut Slow(wrong), &mut answer).is_err());
        }
    }
}
