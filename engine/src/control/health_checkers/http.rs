//! HTTP/1: a request that a healthy host answers with an expected status. What
//! is asked of an answer holds for HTTP/2 as well.

use std::io;

use ringway_codecs::header::{HeaderId, HeaderMap, NameCase};
use ringway_codecs::http1::{
    BodyDecoder, BodyOptions, HeadEnd, HeadReader, ResponseHead, ResponseOptions,
    encode_request_head,
};
use ringway_config::health_check::{HttpCheck, StatusRange};

use super::progress::{Failure, FailureKind, Outcome};
use super::socket::{Socket, Target, contains_in_order};

/// The connection of a host's checks.
pub(super) struct Client {
    socket: Option<Socket>,
    request: Box<[u8]>,
    is_head: bool,
}

/// What the host answered.
pub(super) struct Answer {
    pub outcome: Outcome,
    pub status: u16,
    /// It failed, and said that it is to be left out at once.
    pub fails_at_once: bool,
    /// What the host calls its service.
    pub service: Vec<u8>,
}

/// A response as far as it matters.
struct Response {
    head: ResponseHead,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Client {
    pub fn new(check: &HttpCheck, authority: &str, case: NameCase) -> Self {
        let mut request = check.request.clone();
        request.set(HeaderId::Authority, authority.as_bytes());
        let mut bytes = Vec::new();
        let end = HeadEnd::of_request(&request, !check.send.is_empty());
        encode_request_head(&mut bytes, &request, end, case);
        bytes.extend_from_slice(&check.send);
        Self {
            socket: None,
            request: bytes.into(),
            is_head: request.get(HeaderId::Method) == Some(b"HEAD"),
        }
    }

    pub fn close(&mut self) {
        self.socket = None;
    }

    /// Asks once.
    ///
    /// # Errors
    /// There is no connection, or no response that makes sense.
    pub async fn check(&mut self, check: &HttpCheck, target: &Target) -> io::Result<Answer> {
        let kept = self.socket.take().and_then(Socket::quiet);
        let mut socket = match kept {
            Some(socket) => socket,
            None => Socket::connect(target).await?,
        };
        socket.write_all(&self.request).await?;
        let response = self.response(check, &mut socket).await?;
        if response.head.keep_alive {
            self.socket = Some(socket);
        }
        Ok(judge(
            check,
            response.head.status,
            &response.headers,
            &response.body,
        ))
    }

    async fn response(&self, check: &HttpCheck, socket: &mut Socket) -> io::Result<Response> {
        let broken = |_| io::Error::from(io::ErrorKind::InvalidData);
        let mut headers = HeaderMap::new();
        let mut received = Vec::new();
        let mut interim = 0;
        let head = loop {
            // A new one for each look: what is not complete stays in `received`.
            let mut reader = HeadReader::new();
            let options = ResponseOptions::default();
            let parsed = reader
                .response(&received, &options, self.is_head, false, &mut headers)
                .map_err(broken)?;
            match parsed {
                Some((head, consumed)) => {
                    received.drain(..consumed);
                    if head.status >= 200 || head.status == 101 {
                        break head;
                    }
                    interim += 1;
                    if interim > INTERIM_RESPONSES_MAX {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                }
                None => socket.read(&mut received).await?,
            }
        };
        let wanted = body_bytes(check);
        let mut body = Vec::new();
        let mut decoder = BodyDecoder::new(head.framing, &BodyOptions::default());
        let mut trailers = HeaderMap::new();
        loop {
            let mut at = 0;
            while at < received.len() && !decoder.is_done() {
                let rest = &received[at..];
                let step = decoder.decode(rest, &mut trailers).map_err(broken)?;
                let data = &rest[step.data];
                let room = wanted.saturating_sub(body.len());
                body.extend_from_slice(&data[..data.len().min(room)]);
                at += step.consumed;
            }
            if decoder.is_done() {
                break;
            }
            received.clear();
            if let Err(error) = socket.read(&mut received).await {
                if error.kind() != io::ErrorKind::UnexpectedEof {
                    return Err(error);
                }
                decoder.on_eof().map_err(broken)?;
            }
        }
        Ok(Response {
            head,
            headers,
            body,
        })
    }
}

/// How much of a body is looked at.
pub(super) fn body_bytes(check: &HttpCheck) -> usize {
    match (check.receive.is_empty(), check.response_buffer_size) {
        (true, _) => 0,
        (false, 0) => BODY_BYTES_MAX,
        (false, size) => usize::try_from(size).unwrap_or(BODY_BYTES_MAX),
    }
}

/// What a response says of its host.
pub(super) fn judge(check: &HttpCheck, status: u16, headers: &HeaderMap, body: &[u8]) -> Answer {
    let is_in = |ranges: &[StatusRange]| ranges.iter().any(|range| range.contains(&status));
    let failed = |retriable| {
        Outcome::Failed(Failure {
            kind: FailureKind::Active,
            retriable,
            status,
        })
    };
    let outcome = if !contains_in_order(&check.receive, body) {
        failed(false)
    } else if is_in(&check.expected) {
        Outcome::Passed {
            degraded: headers.contains(HeaderId::XEnvoyDegraded),
        }
    } else {
        failed(is_in(&check.retriable))
    };
    let says_so = headers.contains(HeaderId::XEnvoyImmediateHealthCheckFail);
    let service = headers.get(HeaderId::XEnvoyUpstreamHealthcheckedCluster);
    Answer {
        outcome,
        status,
        fails_at_once: says_so && matches!(outcome, Outcome::Failed(_)),
        service: service.unwrap_or_default().to_vec(),
    }
}

/// As for requests of clients.
const INTERIM_RESPONSES_MAX: u32 = 64;

/// What is kept of a body that is to be looked at whole.
const BODY_BYTES_MAX: usize = 1024 * 1024;
