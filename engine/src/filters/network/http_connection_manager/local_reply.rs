//! Responses that the proxy makes itself.

use std::time::Instant;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::MutationLevels;

use super::local_reply_config::{JSON, Rewritten, TEXT_PLAIN, set_status};
use super::{ConnectionManager, Shared};
use crate::formatter::grpc;
use crate::http::downstream::{Downstream, ResponseFraming};
use crate::http::exchange::Exchange;
use crate::http::header_parser::{self, AddedHeaders, Message, Scratch};
use crate::reactor;
use crate::stream_info::ResponseFlag;

/// Bytes of a rewritten body that a worker keeps room for.
pub(super) const BODY_BYTES_KEPT_MAX: usize = 64 * 1024;

/// A response of the proxy's own.
#[derive(Debug, Clone, Copy)]
pub struct LocalReply<'a> {
    /// The status.
    pub status: u16,
    /// The body; `text/plain` unless the headers already say otherwise.
    pub body: &'a [u8],
    /// What the body is, whatever the route's changes say of it.
    pub content_type: Option<&'a [u8]>,
    /// `%RESPONSE_CODE_DETAILS%`; empty keeps those that are already set.
    pub details: &'static str,
    /// The response flag, if there is one for the cause.
    pub flag: Option<ResponseFlag>,
    /// The changes of headers of the route whose own answer it is. Any other
    /// reply has those of the exchange.
    pub mutations: Option<MutationLevels>,
    /// Headers that are added after the route's changes, by a reply that takes
    /// the place of a response.
    pub headers: Option<&'a AddedHeaders>,
    /// The header that tells the client that there is no room for its request:
    /// it says `true`.
    pub overloaded: Option<HeaderId>,
    /// The reply comes in the place of a host's, and says how many tries there
    /// were if the route wants that.
    pub tells_attempts: bool,
    /// The status for a gRPC client; by default it follows from `status`.
    pub grpc_status: Option<u64>,
}

impl<'a> LocalReply<'a> {
    /// A reply without a response flag.
    #[must_use]
    pub fn new(status: u16, body: &'a str, details: &'static str) -> Self {
        Self {
            status,
            body: body.as_bytes(),
            content_type: None,
            details,
            flag: None,
            mutations: None,
            headers: None,
            overloaded: None,
            tells_attempts: false,
            grpc_status: None,
        }
    }

    /// The same reply with a response flag.
    #[must_use]
    pub fn flag(mut self, flag: ResponseFlag) -> Self {
        self.flag = Some(flag);
        self
    }
}

/// Whether the client is told of replies in the words of gRPC.
#[must_use]
pub fn speaks_grpc(exchange: &Exchange) -> bool {
    if let Some(speaks) = exchange.speaks_grpc {
        return speaks;
    }
    grpc::is_grpc(&exchange.request) && exchange.request.contains(HeaderId::Path)
}

/// Says in the headers of a reply what its body is.
pub fn describe_body(reply: Rewritten<'_>, body: &[u8], response: &mut HeaderMap) {
    if is_bodiless(reply.status) || body.is_empty() {
        response.remove(HeaderId::ContentLength);
    } else {
        response.set_decimal(HeaderId::ContentLength, body.len());
    }
    if body.is_empty() {
        response.remove(HeaderId::ContentType);
    } else if reply.replaces_content_type || !response.contains(HeaderId::ContentType) {
        response.set(HeaderId::ContentType, reply.content_type);
    }
}

/// What a body is as a message of gRPC: a JSON format ends its line, which a
/// header cannot.
pub fn grpc_message<'b>(reply: Rewritten<'_>, body: &'b [u8]) -> &'b [u8] {
    match body.strip_suffix(b"\n") {
        Some(line) if reply.content_type == JSON => line,
        _ => body,
    }
}

/// Whether responses of this status have no body, whatever they say.
fn is_bodiless(status: u16) -> bool {
    status == 204 || status == 304
}

impl Shared {
    /// Makes `exchange` tell of a local reply, before anything but the route
    /// has changed it.
    pub fn prepare_reply(
        &self,
        reply: &LocalReply<'_>,
        now: Instant,
        exchange: &mut Exchange,
        scratch: &mut Scratch,
    ) {
        if let Some(flag) = reply.flag {
            exchange.info.flags.set(flag);
        }
        if !reply.details.is_empty() {
            exchange.info.details.set(reply.details);
        }
        if reply.status == 400 {
            // Envoy's rule, whoever says that the request is a bad one.
            exchange.keep_alive &= self.config.stays_after_bad_request;
        }
        set_status(exchange, reply.status);
        let levels = reply.mutations.unwrap_or(exchange.header_mutations);
        if !levels.is_empty() {
            self.apply_route_mutations(levels, Message::Response, now, exchange, scratch);
        }
        if let Some(content_type) = reply.content_type {
            exchange.response.set(HeaderId::ContentType, content_type);
        }
        if let Some(name) = reply.overloaded {
            exchange.response.set(name, b"true");
        }
        if reply.tells_attempts {
            exchange.set_attempt_count();
        }
        if let Some(added) = reply.headers {
            let (changes, formats) = (&added.changes, &added.formats);
            header_parser::apply(changes, formats, Message::Replacement, exchange, scratch);
        }
    }
}

impl ConnectionManager {
    /// Queues a local reply. Headers that `exchange.response` already holds
    /// (a redirect's `location`) are kept.
    pub fn reply(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        reply: LocalReply<'_>,
    ) {
        let now = reactor::now();
        let scratch = &self.worker.header_scratch;
        // Not borrowed while the reply is sent: filters may change it, too.
        (self.shared).prepare_reply(&reply, now, exchange, &mut scratch.borrow_mut());
        let Some(config) = &self.config().local_replies else {
            let as_is = Rewritten {
                status: reply.status,
                content_type: TEXT_PLAIN,
                replaces_content_type: false,
            };
            self.send_local_reply(downstream, exchange, as_is, (reply.grpc_status, reply.body));
            return;
        };
        let mut body = self.worker.local_reply_body.take();
        body.clear();
        body.shrink_to(BODY_BYTES_KEPT_MAX);
        let rewritten = config.rewrite(
            exchange,
            (reply.status, reply.body),
            &self.worker.runtime.borrow(),
            (now, &mut scratch.borrow_mut()),
            &mut body,
        );
        self.send_local_reply(downstream, exchange, rewritten, (reply.grpc_status, &body));
        self.worker.local_reply_body.replace(body);
    }

    fn send_local_reply(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        reply: Rewritten<'_>,
        (grpc_status, body): (Option<u64>, &[u8]),
    ) {
        if speaks_grpc(exchange) {
            let grpc_status = grpc_status.unwrap_or_else(|| grpc::from_http(reply.status).into());
            self.send_grpc_status(downstream, exchange, reply, (grpc_status, body));
            return;
        }
        describe_body(reply, body, &mut exchange.response);
        let bodiless = is_bodiless(reply.status);
        let framing = match body.is_empty() && !bodiless {
            // As in Envoy, the head alone says that a body could follow.
            true if exchange.facts.is_head => ResponseFraming::Unknown,
            true => ResponseFraming::Empty,
            false => ResponseFraming::Described,
        };
        if self.send_response_head(downstream, exchange, reply.status, framing) {
            self.send_local_body(downstream, exchange, body);
        }
    }

    /// Tells a gRPC client in its own words: status and message are headers of
    /// a response without a body. A status that the route set is kept.
    fn send_grpc_status(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        reply: Rewritten<'_>,
        (grpc_status, body): (u64, &[u8]),
    ) {
        set_status(exchange, 200);
        let is_head = exchange.facts.is_head;
        let response = &mut exchange.response;
        response.set(HeaderId::ContentType, b"application/grpc");
        if response
            .get(HeaderId::GrpcStatus)
            .is_none_or(<[u8]>::is_empty)
        {
            response.set_decimal(HeaderId::GrpcStatus, grpc_status);
        }
        if !body.is_empty() && !is_head {
            let message = grpc_message(reply, body);
            response.set_with(HeaderId::GrpcMessage, |out| {
                grpc::write_message(message, out);
            });
        }
        response.remove(HeaderId::ContentLength);
        let framing = match is_head {
            true => ResponseFraming::Unknown,
            false => ResponseFraming::Empty,
        };
        if self.send_response_head(downstream, exchange, 200, framing) {
            self.send_local_body(downstream, exchange, b"");
        }
    }
}
