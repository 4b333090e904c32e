//! A request of the proxy's own on its connection to a host: both messages on their
//! way.

use std::task::{Context, Poll};

use ringway_codecs::header::{HeaderMap, Lines};
use ringway_codecs::http1::{Framing, HeadEnd, ResponseHead, Version};

use super::async_client::{AsyncRequest, Failure, Response};
use super::codec::{Asked, Codec};
use super::host_result;
use super::interim::{Interims, is_interim, is_known};
use super::sizes::begin_sizes;
use crate::http::body_copy::Copied;
use crate::http::downstream::SEND_QUEUE_BYTES_MAX;
use crate::http::exchange::Tunnel;
use crate::http::http1::reader::{BodyPart, ReadError};
use crate::http::http2::error::Http2Error;
use crate::http::message_sizes::MessageSizes;
use crate::reactor;
use crate::upstream::conn_pool::{ActiveRequest, Lease};
use crate::upstream::outlier_detection::Outcome;

/// A request on a connection to a host.
pub(super) struct AsyncStream {
    active: ActiveRequest,
    codec: Codec,
    send_queue_max: usize,
    head: Option<ResponseHead>,
    interims: Interims,
    is_interim_counted: bool,
    /// The host has agreed to another protocol.
    has_switched: bool,
    /// Only the end of the response tells how the host did.
    is_result_open: bool,
    /// What is read next: headers, then trailers.
    response: HeaderMap,
    /// What was read before, if somebody wants it.
    kept: Response,
    bytes: Vec<u8>,
    /// How much is sent and received, where that is recorded.
    sizes: Option<Box<MessageSizes>>,
}

impl AsyncStream {
    pub fn start(request: &AsyncRequest, lease: Lease) -> Self {
        let end = match request.tunnel {
            Tunnel::None => HeadEnd::of_request(&request.request, request.body.is_some()),
            _ => HeadEnd::Fields,
        };
        let asked = Asked {
            end,
            has_body: request.body.is_some(),
            tunnel: request.tunnel,
        };
        let (codec, _) = Codec::start(&lease, &request.request, asked);
        let limit = lease.cluster().config.buffer_limit.max(1) as usize;
        lease.host().note(Outcome::Connected);
        Self {
            active: ActiveRequest::new(lease),
            codec,
            send_queue_max: limit.min(SEND_QUEUE_BYTES_MAX),
            head: None,
            interims: Interims::default(),
            is_interim_counted: false,
            has_switched: false,
            is_result_open: false,
            response: HeaderMap::of(Lines::Response),
            kept: Response::default(),
            bytes: Vec::new(),
            sizes: begin_sizes(&request.cluster, &request.request),
        }
    }

    /// Whether its response has begun.
    pub fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// Whether only the end of the response tells how the host did.
    pub fn is_result_open(&self) -> bool {
        self.is_result_open
    }

    /// Moves both messages; ready when the response is complete or cannot be.
    pub fn poll(
        &mut self,
        request: &mut AsyncRequest,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        loop {
            match self.poll_response(request, cx) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => continue,
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => {}
            }
            match self.poll_request(request, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => return request.poll_stop(cx).map(Err),
            }
        }
    }

    /// Reads on and forgets; true at the end of the response.
    fn poll_response(
        &mut self,
        request: &AsyncRequest,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Failure>> {
        let lease = self.active.lease();
        let step = if self.has_switched {
            self.codec.poll_raw(lease, cx).map(|read| match read? {
                Some(_) => Ok(Step::More),
                None => Err(ReadError::Closed),
            })
        } else if self.head.is_some() {
            self.codec
                .poll_body(lease, &mut self.response, cx)
                .map_ok(|part| match part {
                    BodyPart::Data(data) => {
                        if let Some(sizes) = &mut self.sizes {
                            sizes.on_response_data(data.len());
                        }
                        match request.body_bytes_max {
                            None => Step::More,
                            Some(max) if self.kept.body.len() + data.len() > max => Step::TooMuch,
                            Some(_) => {
                                self.kept.body.extend_from_slice(&data);
                                Step::More
                            }
                        }
                    }
                    BodyPart::End => Step::End,
                })
        } else {
            self.codec
                .poll_response(lease, request.facts, &mut self.response, cx)
                .map_ok(Step::Head)
        };
        step.map(|step| match step {
            Ok(Step::Head(head)) => {
                let taken = self.on_head(head, request);
                // Trailers come into it next.
                if self.head.is_some() && request.body_bytes_max.is_some() {
                    self.kept.headers = self.response.clone();
                }
                self.response.clear();
                taken.map(|()| false)
            }
            Ok(Step::More) => Ok(false),
            Ok(Step::TooMuch) => Err(Failure::Cancelled),
            Ok(Step::End) => Ok(true),
            Err(ReadError::Closed) if self.head.is_none() => Err(Failure::Closed),
            Err(_) if self.has_switched => Err(Failure::Closed),
            Err(ReadError::Io(_)) if self.head.is_none() && !self.codec.is_within_head() => {
                Err(Failure::Closed)
            }
            Err(ReadError::Http2(error)) if error != Http2Error::Protocol => Err(Failure::Closed),
            Err(_) => Err(Failure::Protocol),
        })
    }

    fn on_head(&mut self, head: ResponseHead, request: &AsyncRequest) -> Result<(), Failure> {
        match request.tunnel {
            // Nobody asked for another protocol.
            Tunnel::None if head.status == 101 => return Err(Failure::Protocol),
            // As in Envoy, no handshake is no response.
            Tunnel::WebSocket if (200..400).contains(&head.status) => {
                return Err(Failure::Cancelled);
            }
            _ => self.has_switched = head.status == 101,
        }
        if let Some(sizes) = &mut self.sizes {
            sizes.on_response(&self.response, self.codec.says_chunked(&head));
        }
        if is_interim(head.status) {
            if is_known(head.status) && !std::mem::replace(&mut self.is_interim_counted, true) {
                request.count_code(head.status);
            }
            return self.interims.note().map_err(|_| Failure::Protocol);
        }
        request.count_code(head.status);
        let lease = self.active.lease();
        let host = lease.host();
        let status = match &lease.cluster().config.error_matcher {
            Some(matcher) => matcher.status_of(head.status, &self.response),
            None => head.status,
        };
        host.note(Outcome::Response(status));
        self.is_result_open = host_result::on_head(
            &host.stats,
            &head,
            &request.request,
            &self.response,
            request.counts_responses,
        );
        self.head = Some(head);
        Ok(())
    }

    /// Sends what has been copied of the body, while the queue has room.
    fn poll_request(
        &mut self,
        request: &mut AsyncRequest,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        let Some(body) = &request.body else {
            return Poll::Pending;
        };
        if request.tunnel != Tunnel::None && !self.has_switched {
            return Poll::Pending;
        }
        let lease = self.active.lease();
        match self.codec.poll_room(lease, self.send_queue_max, cx) {
            Poll::Ready(Ok(())) => {}
            // A connection that fails to send says so when it is read.
            Poll::Ready(Err(())) | Poll::Pending => return Poll::Pending,
        }
        match body.poll(&mut self.bytes, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Copied::Data) => {
                self.codec.send_bytes(lease, &self.bytes);
                if let Some(sizes) = &mut self.sizes {
                    sizes.on_request_data(self.bytes.len());
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Copied::End(mut trailers)) => {
                self.codec.send_end(lease, &mut trailers);
                request.body = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Copied::Cancelled) => Poll::Ready(Err(Failure::Cancelled)),
        }
    }

    /// Gives the connection back after a complete response.
    pub fn complete(mut self, request: &AsyncRequest) -> Response {
        let now = reactor::now();
        let took = now.duration_since(request.complete_at.unwrap_or(now));
        request.record_budget(now);
        if request.counts_responses {
            let responses = &request.cluster.shared.responses;
            responses.sent.time(took.as_millis() as u64, true, false);
        }
        if self.is_result_open {
            host_result::on_end(&self.active.lease().host().stats, &self.response);
        }
        let response = Response {
            status: self.head.as_ref().map_or(0, |head| head.status),
            trailers: std::mem::take(&mut self.response),
            ..std::mem::take(&mut self.kept)
        };
        let reusable = self.head.as_ref().is_some_and(|head| head.keep_alive);
        let until_close = self.head.as_ref().is_some_and(|head| {
            head.framing == Framing::UntilClose && head.version == Version::Http11
        });
        let stats = &self.active.lease().cluster().stats;
        if !reusable && !until_close {
            stats.upstream_cx_close_notify.inc();
        }
        if self.codec.has_unasked(self.active.lease()) {
            stats.upstream_cx_protocol_error.inc();
        }
        // A response that overtook its request leaves half a request on the
        // connection: dropping the lease closes it.
        if request.body.is_none() {
            let clean = self.codec.is_clean();
            self.active.finish().give_back(reusable && clean);
        }
        response
    }
}

/// What a response is read in.
enum Step {
    Head(ResponseHead),
    More,
    /// Its body is longer than it may be.
    TooMuch,
    End,
}
