//! TCP: a connection, and perhaps an answer with the right bytes in it.

use std::io;

use ringway_config::health_check::TcpCheck;

use super::progress::Outcome;
use super::socket::{Socket, Target, contains_in_order};

/// The connection of a host's checks.
#[derive(Default)]
pub(super) struct Client {
    socket: Option<Socket>,
}

impl Client {
    pub fn close(&mut self) {
        self.socket = None;
    }

    /// Asks once.
    pub async fn check(&mut self, check: &TcpCheck, target: &Target) -> io::Result<Outcome> {
        let mut socket = match self.socket.take() {
            // A host that ends a connection between two checks has failed one,
            // as in Envoy.
            Some(kept) => kept.quiet().ok_or(io::ErrorKind::ConnectionReset)?,
            None => Socket::connect(target).await?,
        };
        if check.receive.is_empty() {
            // That it could be opened is all; what is to be sent stays unsent.
            return Ok(Outcome::Passed { degraded: false });
        }
        // As Envoy, which begins each check with a header, also on a connection
        // that has had one.
        let mut sent = match &check.header {
            Some(config) => socket.header(config),
            None => Vec::new(),
        };
        sent.extend_from_slice(&check.send);
        socket.write_all(&sent).await?;
        let mut received = Vec::new();
        while !contains_in_order(&check.receive, &received) {
            if received.len() > RECEIVED_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            socket.read(&mut received).await?;
        }
        self.socket = Some(socket);
        Ok(Outcome::Passed { degraded: false })
    }
}

/// A host that talks without end has failed; answers have a few bytes.
const RECEIVED_BYTES_MAX: usize = 64 * 1024;
