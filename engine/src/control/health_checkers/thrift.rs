//! `envoy.health_checkers.thrift`: a call without arguments, to which a host has
//! to answer with a result.
//!
//! Envoy 1.40 ends itself at an answer that is no message, and at any answer on an
//! unframed transport; here the one is a host that has failed, the other is read
//! like those on other transports.

use std::io;

use ringway_codecs::thrift::{Reply, read_reply, write_call};
use ringway_config::health_check::ThriftCheck;

use super::progress::{Failure, FailureKind, Outcome};
use super::socket::{Socket, Target};

/// The connection of a host's checks.
pub(super) struct Client {
    socket: Option<Socket>,
    call: Box<[u8]>,
}

impl Client {
    pub fn new(check: &ThriftCheck) -> Self {
        let mut call = Vec::new();
        write_call(check.transport, check.protocol, &check.method, &mut call);
        Self {
            socket: None,
            call: call.into(),
        }
    }

    pub fn close(&mut self) {
        self.socket = None;
    }

    /// Asks once.
    pub async fn check(&mut self, check: &ThriftCheck, target: &Target) -> io::Result<Outcome> {
        let kept = self.socket.take().and_then(Socket::quiet);
        let mut socket = match kept {
            Some(socket) => socket,
            None => Socket::connect(target).await?,
        };
        socket.write_all(&self.call).await?;
        let mut received = Vec::new();
        loop {
            match read_reply(check.transport, check.protocol, &received) {
                Ok(None) => socket.read(&mut received).await?,
                Ok(Some(Reply { is_result, bytes })) => {
                    // Where the transport does not say where the answer ends,
                    // or more has come, the next one would begin anywhere.
                    if bytes == Some(received.len()) {
                        self.socket = Some(socket);
                    }
                    return Ok(match is_result {
                        true => Outcome::Passed { degraded: false },
                        false => failed(),
                    });
                }
                Err(_invalid) => return Ok(failed()),
            }
        }
    }
}

fn failed() -> Outcome {
    Outcome::Failed(Failure {
        kind: FailureKind::Active,
        retriable: false,
        status: 0,
    })
}
