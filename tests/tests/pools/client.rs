//! A client that asks one request after the other on a connection.

use ringway_tests::patience;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take: nothing may hang.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

/// An answer, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the proxy listens");
        stream.set_nodelay(true).expect("a socket option");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket option");
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Where it comes from.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().expect("it is connected")
    }

    pub fn send(&mut self, method: &str, path: &str) {
        let length = if method == "POST" {
            "content-length: 0\r\n"
        } else {
            ""
        };
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{length}\r\n");
        // What fails is seen when the answer is read.
        let _ = self.stream.write_all(request.as_bytes());
    }

    pub fn send_body(&mut self, method: &str, path: &str, body: &[u8]) {
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        // What fails is seen when the answer is read.
        let _ = self.stream.write_all(&[head.as_bytes(), body].concat());
    }

    /// The next answer; an error when the connection ends within it, or before.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let end = loop {
            let end = self
                .received
                .windows(4)
                .position(|part| part == b"\r\n\r\n");
            match end {
                Some(end) => break end,
                None => self.read_more()?,
            }
        };
        let head = String::from_utf8_lossy(&self.received[..end]).to_lowercase();
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        while self.received.len() < end + 4 + length {
            self.read_more()?;
        }
        let body = String::from_utf8_lossy(&self.received[end + 4..end + 4 + length]).into_owned();
        self.received.drain(..end + 4 + length);
        Ok(Answer {
            status: status.unwrap_or(0),
            body,
        })
    }

    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send("GET", path);
        self.answer()
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut part = [0; 4096];
        match patience::read(&mut self.stream, &mut part)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.received.extend_from_slice(&part[..n]);
                Ok(())
            }
        }
    }
}
