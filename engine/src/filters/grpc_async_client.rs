//! Calls of gRPC that filters make (Envoy: `grpc/async_client`).
//!
//! A call goes from its worker to a host of a cluster as a request of the worker's
//! own ([`AsyncRequest`]): through the cluster's balancer, breakers and pools, and
//! counted as traffic is. What a call is made with is compiled with the
//! configuration. Dropping the future gives the call up, which resets its stream.

use std::rc::Rc;
use std::time::Duration;

use ringway_codecs::grpc::{COMPRESSED, MessageReader, header};
use ringway_codecs::header::{HeaderId, HeaderMap, Lines};
use ringway_config::clusters::ClusterId;
use ringway_config::grpc_service::GrpcService;

use super::WorkerContext;
use super::http::router::{AsyncRequest, write_grpc_timeout};
use crate::formatter::grpc;
use crate::http::body_copy::body_copy;
use crate::http::forwarded_for;

/// The longest answer that is read: what libraries of gRPC take, too.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The statuses that calls end with here.
const OK: u32 = 0;
const UNKNOWN: u32 = 2;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;

/// A call has failed, with this status of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed(pub u32);

/// A method of a service, with a message and an answer each.
pub struct UnaryMethod {
    cluster: ClusterId,
    timeout: Option<Duration>,
    /// What the headers of each call are.
    headers: HeaderMap,
}

impl UnaryMethod {
    /// A method by its path, `/SERVICE/METHOD`.
    #[must_use]
    pub fn new(service: &GrpcService, path: &str) -> Self {
        let mut headers = HeaderMap::of(Lines::Request);
        headers.set(HeaderId::Method, b"POST");
        headers.set(HeaderId::Path, path.as_bytes());
        headers.set(HeaderId::Scheme, b"http");
        headers.set(HeaderId::Authority, service.authority.as_bytes());
        headers.set(HeaderId::Te, b"trailers");
        headers.set_with(HeaderId::GrpcTimeout, |out| {
            write_grpc_timeout(service.timeout, out);
        });
        headers.set(HeaderId::ContentType, b"application/grpc");
        for (name, value) in &service.initial_metadata {
            headers.append_name(name.as_bytes(), value.as_bytes());
        }
        headers.set(HeaderId::XEnvoyInternal, b"true");
        let timeout = (!service.timeout.is_zero()).then_some(service.timeout);
        if let Some(timeout) = timeout {
            let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            headers.set_decimal(HeaderId::XEnvoyExpectedRqTimeoutMs, ms);
        }
        Self {
            cluster: service.cluster,
            timeout,
            headers,
        }
    }

    /// Calls it, and gives the message of the answer.
    ///
    /// # Errors
    /// There is no answer, or it is no success.
    pub async fn call(
        &self,
        worker: &Rc<WorkerContext>,
        message: &[u8],
    ) -> Result<Vec<u8>, Failed> {
        let Some(cluster) = worker.clusters.get(self.cluster) else {
            return Err(Failed(UNAVAILABLE));
        };
        let mut headers = self.headers.clone();
        forwarded_for::append(&mut headers, worker.local_address);
        let (feed, body) = body_copy();
        let length = u32::try_from(message.len()).map_err(|_| Failed(INTERNAL))?;
        if !feed.data(&header(0, length)) || !feed.data(message) {
            return Err(Failed(INTERNAL));
        }
        feed.end(&HeaderMap::default());
        let mut request = AsyncRequest::new(worker, cluster, headers, Some(body));
        request.timeout = self.timeout;
        request.body_bytes_max = Some(ANSWER_BYTES_MAX);
        let response = request.run(*worker.async_client_stats()).await;
        let Some(response) = response else {
            return Err(Failed(UNAVAILABLE));
        };
        let status = match grpc::code(&response.trailers).or(grpc::code(&response.headers)) {
            None if response.status != 200 => grpc::from_http(response.status),
            None => UNKNOWN,
            Some(status) => status,
        };
        match status {
            OK => answer(&response.body).ok_or(Failed(INTERNAL)),
            status => Err(Failed(status)),
        }
    }
}

/// The message of an answer that has one, and which is not compressed.
fn answer(body: &[u8]) -> Option<Vec<u8>> {
    let mut reader = MessageReader::new(ANSWER_BYTES_MAX);
    let mut rest = body;
    let message = reader.next(&mut rest).ok()??;
    (message.flags & COMPRESSED == 0 && rest.is_empty()).then_some(message.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_message() {
        for (body, expected) in [
            (&b""[..], None),
            (b"\0\0\0\0", None),
            (b"\0\0\0\0\0", Some(&b""[..])),
            (b"\0\0\0\0\x02ab", Some(b"ab")),
            (b"\0\0\0\0\x02a", None),
            // Compressed, followed by another one, longer than any may be.
            (b"\x01\0\0\0\x02ab", None),
            (b"\0\0\0\0\x01a\0\0\0\0\0", None),
            (b"\0\xff\0\0\0ab", None),
        ] {
            assert_eq!(answer(body).as_deref(), expected, "{body:?}");
        }
    }
}
