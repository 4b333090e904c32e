//! `envoy.health_checkers.redis`: `PING`, or `EXISTS` of a key that is there
//! while the host is not to be used.

use std::io;

use super::progress::{Failure, FailureKind, Outcome};
use super::socket::{Socket, Target};

/// The connection of a host's checks.
pub(super) struct Client {
    socket: Option<Socket>,
    request: Box<[u8]>,
}

impl Client {
    /// A client that asks for `key`, or just asks.
    pub fn new(key: &[u8]) -> Self {
        let request = match key {
            b"" => b"*1\r\n$4\r\nPING\r\n".to_vec(),
            key => {
                let head = format!("*2\r\n$6\r\nEXISTS\r\n${}\r\n", key.len());
                [head.as_bytes(), key, b"\r\n"].concat()
            }
        };
        Self {
            socket: None,
            request: request.into(),
        }
    }

    pub fn close(&mut self) {
        self.socket = None;
    }

    /// Asks once.
    pub async fn check(&mut self, asks_for_key: bool, target: &Target) -> io::Result<Outcome> {
        let kept = self.socket.take().and_then(Socket::quiet);
        let mut socket = match kept {
            Some(socket) => socket,
            None => Socket::connect(target).await?,
        };
        socket.write_all(&self.request).await?;
        let mut received = Vec::new();
        loop {
            if let Some(answer) = answer(&received) {
                let wanted: &[u8] = if asks_for_key { b":0" } else { b"+PONG" };
                self.socket = Some(socket);
                return Ok(match answer == wanted {
                    true => Outcome::Passed { degraded: false },
                    false => Outcome::Failed(Failure {
                        kind: FailureKind::Active,
                        retriable: false,
                        status: 0,
                    }),
                });
            }
            if received.len() > ANSWER_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            socket.read(&mut received).await?;
        }
    }
}

/// The answer, when its line is complete.
fn answer(received: &[u8]) -> Option<&[u8]> {
    let end = received.windows(2).position(|bytes| bytes == b"\r\n")?;
    Some(&received[..end])
}

/// The longest answer that is read: an error has a sentence.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers() {
        assert_eq!(&*Client::new(b"").request, b"*1\r\n$4\r\nPING\r\n");
        assert_eq!(
            &*Client::new(b"a b").request,
            b"*2\r\n$6\r\nEXISTS\r\n$3\r\na b\r\n"
        );
        let whole = b"+PONG\r\n";
        for end in 0..whole.len() {
            assert_eq!(answer(&whole[..end]), None);
        }
        assert_eq!(answer(whole), Some(&b"+PONG"[..]));
        assert_eq!(answer(b"\r\n"), Some(&b""[..]));
    }
}
