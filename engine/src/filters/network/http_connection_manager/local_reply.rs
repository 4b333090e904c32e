//! Responses that the proxy makes itself.

use std::io::Write as _;

use ringway_codecs::header::HeaderId;

use super::ConnectionManager;
use crate::http::downstream::{Downstream, ResponseFraming};
use crate::http::exchange::Exchange;
use crate::http::header_parser::Message;
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
        let response = &mut exchange.response;
        response.set_with(HeaderId::Status, |out| {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{}", reply.status);
        });
        self.apply_route_mutations(Message::Response, exchange);
        let response = &mut exchange.response;
        if reply.status != 204 && reply.status != 304 {
            response.set_with(HeaderId::ContentLength, |out| {
                // Writing to a Vec cannot fail.
                let _ = write!(out, "{}", reply.body.len());
            });
        }
        if reply.body.is_empty() {
            response.remove(HeaderId::ContentType);
        } else if !response.contains(HeaderId::ContentType) {
            response.append(HeaderId::ContentType, b"text/plain");
        }
        self.send_response_head(
            downstream,
            exchange,
            reply.status,
            ResponseFraming::Described,
        );
        downstream.send_bytes(exchange, reply.body);
        downstream.send_end(exchange);
    }
}
