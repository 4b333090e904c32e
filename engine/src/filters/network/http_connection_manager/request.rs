//! What is done to a request before it is routed, and what is answered to one
//! that cannot be.

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_codecs::http1::{Http1Error, RequestHead, Version};

use super::ConnectionManager;
use super::config::{Config, HeadTimeout};
use super::local_reply::LocalReply;
use crate::filters::WorkerContext;
use crate::http::conn_manager_utility::{self, Edge, Peer, Reject, RejectKind};
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::network::address::NO_ADDRESS;
use crate::reactor;
use crate::stream_info::{ConnectionInfo, Protocol, ResponseFlag, TimePoint, details};

impl ConnectionManager {
    /// Counts a request that begins.
    pub(super) fn count_request(&self, protocol: Protocol) {
        let stats = self.stats();
        stats.downstream_rq_total.inc();
        stats.downstream_rq_active.inc();
        match protocol {
            Protocol::Http10 | Protocol::Http11 => stats.downstream_rq_http1_total.inc(),
            Protocol::Http2 => stats.downstream_rq_http2_total.inc(),
            Protocol::Http3 => stats.downstream_rq_http3_total.inc(),
        }
    }

    /// Records the head of a request that begins.
    pub(super) fn begin(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        head: &RequestHead,
    ) {
        self.count_request(downstream.protocol(head.version));
        exchange.note_head(head, downstream.protocol(head.version));
        // What follows a request for another protocol is not the request's.
        let is_for_tunnel =
            exchange.protocol == Protocol::Http2 && (head.is_connect || head.upgrade);
        exchange.request_complete = downstream.is_request_read() || is_for_tunnel;
        let timeouts = &self.config().timeouts;
        exchange.stream_limit.time = timeouts.stream;
        exchange.flush_limit = timeouts.flush(None);
        if head.dropped_underscore_headers > 0 {
            let dropped = u64::from(head.dropped_underscore_headers);
            let counted = match exchange.protocol {
                Protocol::Http2 => &self.worker.http2_stats().dropped_headers_with_underscores,
                _ => &self.worker.http1_stats().dropped_headers_with_underscores,
            };
            counted.add(dropped);
        }
        let info = &mut exchange.info;
        downstream.add_received(&mut info.downstream_bytes);
        if exchange.request_complete {
            info.mark(TimePoint::DownstreamRxEnd, reactor::now());
        }
    }

    /// Checks and normalises the request, and says whether it asks for an
    /// upgrade; the reply is for one that is refused.
    pub(super) fn prepare_request(
        &self,
        exchange: &mut Exchange,
        head: &RequestHead,
    ) -> Result<bool, LocalReply<'static>> {
        if let Some(error) = head.refused {
            let (status, details) = (error.status(), error.details());
            return Err(self.refuse(exchange, status, details, RejectKind::Close));
        }
        ignore_early_upgrade(&mut exchange.request, head.version);
        let peer = peer(&exchange.info.connection);
        // By the scope that the client asks for: rewritten headers may lead to
        // another one.
        let routes = &self.config().routes;
        let internal_only_headers = routes.internal_only_headers(&exchange.request);
        let prepared = conn_manager_utility::prepare_request(
            &mut exchange.request,
            &self.edge,
            &peer,
            internal_only_headers,
            &mut self.worker.rng.borrow_mut(),
        );
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(reject) => {
                return Err(self.refuse(exchange, reject.status, reject.details, reject.kind));
            }
        };
        if prepared.remote != peer.remote {
            exchange.info.remote_address = prepared.remote;
        }
        exchange.internal = prepared.internal;
        exchange.set_connect_port(&prepared);
        Ok(prepared.upgrade)
    }

    /// Brings the request that a redirect or a page has made into the form that
    /// is routed; the reply is for one that is refused.
    pub(super) fn prepare_redirected(
        &self,
        exchange: &mut Exchange,
    ) -> Result<(), LocalReply<'static>> {
        let peer = peer(&exchange.info.connection);
        conn_manager_utility::prepare_redirected(&mut exchange.request, &self.edge, &peer).map_err(
            |Reject {
                 status,
                 details,
                 kind,
             }| self.refuse(exchange, status, details, kind),
        )
    }

    fn refuse(
        &self,
        exchange: &mut Exchange,
        status: u16,
        details: &'static str,
        kind: RejectKind,
    ) -> LocalReply<'static> {
        match details {
            "path_normalization_failed" if status == 307 => {
                self.stats()
                    .downstream_rq_redirected_with_normalized_path
                    .inc();
            }
            "path_normalization_failed" => {
                self.stats().downstream_rq_failed_path_normalization.inc();
            }
            "absolute_path_rejected" => self.stats().downstream_rq_non_relative_path.inc(),
            _ => {}
        }
        match kind {
            RejectKind::ProtocolError => {
                exchange.request_complete = false;
                self.stats().downstream_cx_protocol_error.inc();
                exchange.keep_alive = false;
            }
            RejectKind::Close => exchange.keep_alive &= self.config().stays_after_bad_request,
            RejectKind::RedirectToPath => {
                let path = exchange.request.get(HeaderId::Path).unwrap_or_default();
                exchange.response.append(HeaderId::Location, path);
            }
            RejectKind::Reply => {}
        }
        reply_to_reject(status, details, kind)
    }

    /// Answers a request that broke the protocol; the connection ends with it.
    pub(super) fn reply_to_invalid(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        error: Http1Error,
    ) {
        let stats = self.stats();
        self.count_request(Protocol::Http11);
        exchange.keep_alive = false;
        let version = downstream.as_http1().version();
        exchange.protocol = downstream.protocol(version);
        // Envoy's codec has not told it to the log yet where it refuses.
        exchange.info.protocol = Some(match error.tells_headers() {
            true => exchange.protocol,
            false => Protocol::Http11,
        });
        if error == Http1Error::UnexpectedUnderscore {
            self.worker
                .http1_stats()
                .requests_rejected_with_underscores_in_headers
                .inc();
        }
        stats.downstream_cx_protocol_error.inc();
        self.reply(downstream, exchange, reply_to_error(error));
        // As in Envoy, the reply itself cannot tell of it yet.
        let flags = &mut exchange.info.flags;
        flags.set(ResponseFlag::DownstreamProtocolError);
    }

    /// Counts a request whose client left before its head was complete.
    pub(super) fn begin_abandoned(&self, exchange: &mut Exchange) {
        self.count_request(Protocol::Http11);
        let info = &mut exchange.info;
        info.protocol = Some(Protocol::Http11);
        info.flags
            .set(ResponseFlag::DownstreamConnectionTermination);
        info.details.set(details::DOWNSTREAM_REMOTE_DISCONNECT);
    }

    /// Answers a request whose head did not arrive in time.
    pub(super) fn reply_to_head_timeout(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) {
        let stats = self.stats();
        self.count_request(Protocol::Http11);
        exchange.keep_alive = false;
        exchange.info.protocol = Some(Protocol::Http11);
        let reply = match self.config().timeouts.head() {
            Some((_, HeadTimeout::Headers)) => {
                stats.downstream_rq_header_timeout.inc();
                LocalReply::new(
                    408,
                    "request header timeout",
                    details::REQUEST_HEADER_TIMEOUT,
                )
            }
            Some((_, HeadTimeout::Idle)) => {
                stats.downstream_rq_idle_timeout.inc();
                LocalReply::new(408, "stream timeout", details::STREAM_IDLE_TIMEOUT)
                    .flag(ResponseFlag::StreamIdleTimeout)
            }
            Some((_, HeadTimeout::Request)) | None => {
                stats.downstream_rq_timeout.inc();
                LocalReply::new(408, "request timeout", details::REQUEST_OVERALL_TIMEOUT)
            }
        };
        self.reply(downstream, exchange, reply);
    }
}

/// The client's connection, as far as headers depend on it.
fn peer(connection: &ConnectionInfo) -> Peer<'_> {
    let known = |address| (address != NO_ADDRESS).then_some(address);
    Peer {
        remote: known(connection.remote),
        local: known(connection.local),
        tls: connection.tls.as_deref(),
    }
}

/// The answer to what is no request.
pub fn reply_to_error(error: Http1Error) -> LocalReply<'static> {
    let status = error.status();
    let text = match error.is_protocol_error() {
        true => status_text(status),
        false => "",
    };
    LocalReply::new(status, text, error.details())
}

/// The answer to a request that is not routed.
pub fn reply_to_reject(
    status: u16,
    details: &'static str,
    kind: RejectKind,
) -> LocalReply<'static> {
    match kind {
        RejectKind::ProtocolError => LocalReply::new(status, status_text(status), details)
            .flag(ResponseFlag::DownstreamProtocolError),
        RejectKind::Close | RejectKind::RedirectToPath | RejectKind::Reply => {
            LocalReply::new(status, "", details)
        }
    }
}

/// RFC 9110 section 7.8: what a request of HTTP/1.0 says of upgrades must be
/// ignored.
pub fn ignore_early_upgrade(request: &mut HeaderMap, version: Version) {
    if version == Version::Http10 {
        request.remove(HeaderId::Upgrade);
    }
}

/// The texts of the statuses that a broken request is answered with.
fn status_text(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        413 => "Payload Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// The part of the configuration that decides how headers change.
pub(super) fn edge(config: &Config, worker: &WorkerContext) -> Edge {
    config.edge(&worker.node, Some(worker.local_address))
}
