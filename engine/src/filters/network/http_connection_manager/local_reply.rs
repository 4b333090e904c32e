//! Responses that the proxy makes itself.

use std::io::Write as _;

use ringway_codecs::header::HeaderId;

use super::{ConnectionManager, grpc};
use crate::http::downstream::{Downstream, ResponseFraming};
use crate::http::exchange::Exchange;
use crate::stream_info::ResponseFlag;

/// A response of the proxy's own.
#[derive(Debug, Clone, Copy)]
pub struct LocalReply<'a> {
    /// The status.
    pub status: u16,
    /// The body; `text/plain` unless the headers already say otherwise.
    pub body: &'a [u8],
    /// `%RESPONSE_CODE_DETAILS%`; empty keeps those that are already set.
    pub details: &'static str,
    /// The response flag, if there is one for the cause.
    pub flag: Option<ResponseFlag>,
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
            details,
            flag: None,
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

impl ConnectionManager {
    /// Queues a local reply. Headers that `exchange.response` already holds
    /// (a redirect's `location`, `x-envoy-overloaded`) are kept.
    pub fn reply(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        reply: LocalReply<'_>,
    ) {
        if let Some(flag) = reply.flag {
            exchange.info.flags.set(flag);
        }
        if !reply.details.is_empty() {
            exchange.info.details.set(reply.details);
        }
        let for_grpc = grpc::reply(&reply, exchange);
        // To HEAD, Envoy does not say that a gRPC response has no body.
        let framing = match for_grpc {
            Some(_) if exchange.facts.is_head => ResponseFraming::Unknown,
            _ => ResponseFraming::Described,
        };
        let reply = for_grpc.unwrap_or(reply);
        let response = &mut exchange.response;
        response.set_with(HeaderId::Status, |out| {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{}", reply.status);
        });
        let is_described = framing == ResponseFraming::Described;
        if is_described && reply.status != 204 && reply.status != 304 {
            response.set_with(HeaderId::ContentLength, |out| {
                // Writing to a Vec cannot fail.
                let _ = write!(out, "{}", reply.body.len());
            });
        }
        if !reply.body.is_empty() && !response.contains(HeaderId::ContentType) {
            response.append(HeaderId::ContentType, b"text/plain");
        }
        self.send_response_head(downstream, exchange, reply.status, framing);
        downstream.send_bytes(exchange, reply.body);
        downstream.send_end(exchange);
    }
}
