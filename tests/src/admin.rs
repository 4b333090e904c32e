//! Asking a running proxy's admin server.

use crate::message::{self, Kind, Message};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Values of `/stats` by name: counters and gauges.
pub type Stats = BTreeMap<String, u64>;

/// An admin server.
#[derive(Clone, Debug)]
pub struct Admin {
    address: SocketAddr,
}

impl Admin {
    /// The admin server at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Admin {
        Admin { address }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// GET.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn get(&self, path: &str) -> Message {
        self.try_get(path)
            .unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// POST without a body.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn post(&self, path: &str) -> Message {
        self.request("POST", path)
            .unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// GET that may fail.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn try_get(&self, path: &str) -> io::Result<Message> {
        self.request("GET", path)
    }

    /// Any method, on a connection of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn request(&self, method: &str, path: &str) -> io::Result<Message> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )?;
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 65536];
        let kind = Kind::Response {
            to_head: method == "HEAD",
        };
        loop {
            let count = match stream.read(&mut buffer) {
                // A machine that was stopped meanwhile.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count?,
            };
            bytes.extend_from_slice(&buffer[..count]);
            // Looking for the end of a long answer after every read would be slow.
            if count == 0 || count < buffer.len() {
                match message::read(&bytes, kind, count == 0) {
                    Some((message, _)) if message.complete => return Ok(message),
                    _ if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => {}
                }
            }
        }
    }

    /// All counters and gauges that have been used.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let text = self.get("/stats?usedonly").text();
        text.lines()
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(": ")?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect()
    }

    /// One counter or gauge; 0 when it has not been used.
    #[must_use]
    pub fn stat(&self, name: &str) -> u64 {
        self.stats().get(name).copied().unwrap_or(0)
    }

    /// Waits until `condition` holds for the stats, or `max` is over. Returns
    /// the last stats and whether it held.
    pub fn await_stats(
        &self,
        max: Duration,
        mut condition: impl FnMut(&Stats) -> bool,
    ) -> (Stats, bool) {
        let deadline = Instant::now() + max;
        loop {
            let stats = self.stats();
            if condition(&stats) {
                return (stats, true);
            }
            if Instant::now() > deadline {
                return (stats, false);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
