//! What becomes of a client's connection of HTTP/2, and of its requests, for
//! what its frames alone tell: requests that the library refuses by itself, and
//! frames of which there are too many. As in Envoy they are counted and logged
//! like others, and a connection that breaks the rules ends.

use std::rc::Rc;

use super::ConnectionManager;
use super::connection::End;
use super::http2_connection::Http2Connection;
use crate::formatter::AccessLogType;
use crate::http::http2::observer::{Flood, Refusal};
use crate::http::http2::stream_bytes::StreamBytes;
use crate::reactor;
use crate::stream_info::{Protocol, ResponseFlag, details};

impl ConnectionManager {
    /// Counts and logs what the library has refused, once it has nothing more to
    /// give; says whether the connection ends for what came on it.
    pub(super) fn judge_frames(&self, connection: &Http2Connection) -> Option<End> {
        let observer = &connection.observer;
        if !observer.has_news() {
            return None;
        }
        let stats = self.worker.http2_stats();
        while let Some((refusal, bytes)) = observer.next_refused() {
            match refusal {
                Refusal::TooMany => {
                    stats.stream_refused_errors.inc();
                    stats.tx_reset.inc();
                }
                Refusal::Malformed => {
                    stats.tx_reset.inc();
                    let flag = ResponseFlag::DownstreamProtocolError;
                    let details = details::HTTP2_INVALID_HEADER_FIELD;
                    self.note_refused(connection, Some(flag), details, bytes);
                }
                Refusal::TooLarge => {
                    stats.header_list_size_too_large.inc();
                    let flag = ResponseFlag::DownstreamRemoteReset;
                    let details = details::HTTP2_HEADER_LIST_SIZE_TOO_LARGE;
                    self.note_refused(connection, Some(flag), details, bytes);
                }
            }
        }
        // Some of them are found out while they are told of.
        stats
            .rx_messaging_error
            .add(observer.take_messaging_errors());
        observer.is_over().then(|| self.end_for_frames(connection))
    }

    /// Counts what ends a connection before its time; `by_client` is what the
    /// library thinks.
    pub(super) fn judge_end(&self, by_client: bool, connection: &Http2Connection) -> End {
        let observer = &connection.observer;
        let end = self.judge_frames(connection);
        if by_client && end.is_none() {
            return End::ByClient;
        }
        if end.is_none() {
            self.stats().downstream_cx_protocol_error.inc();
            observer.end_for(details::HTTP2_CODEC_ERROR);
        }
        if end.is_none() && observer.ends_in_headers() {
            self.worker.http2_stats().rx_messaging_error.inc();
        }
        self.note_unseen(connection);
        End::ByUsWithUnread
    }

    /// Counts and logs requests that were begun and are lost with their
    /// connection.
    fn note_unseen(&self, connection: &Http2Connection) {
        while let Some(details) = connection.observer.forget_unseen() {
            let flag = ResponseFlag::DownstreamProtocolError;
            self.note_refused(connection, Some(flag), details, StreamBytes::default());
        }
    }

    fn end_for_frames(&self, connection: &Http2Connection) -> End {
        let stats = self.worker.http2_stats();
        let observer = &connection.observer;
        let details = match observer.flood() {
            Some(Flood::Empty) => {
                stats.inbound_empty_frames_flood.inc();
                details::HTTP2_TOO_MANY_EMPTY
            }
            Some(Flood::Priority) => {
                stats.inbound_priority_frames_flood.inc();
                details::HTTP2_TOO_MANY_PRIORITY
            }
            Some(Flood::WindowUpdate) => {
                stats.inbound_window_update_frames_flood.inc();
                details::HTTP2_TOO_MANY_WINDOW_UPDATE
            }
            None => {
                self.stats().downstream_cx_protocol_error.inc();
                details::HTTP2_CODEC_ERROR
            }
        };
        observer.end_for(details);
        self.note_unseen(connection);
        End::ByUsWithUnread
    }

    /// Counts and logs a request that nobody has seen.
    pub(super) fn note_refused(
        &self,
        connection: &Http2Connection,
        flag: Option<ResponseFlag>,
        details: &'static str,
        bytes: StreamBytes,
    ) {
        connection.has_lost.set(true);
        let mut exchange = self.worker.exchanges.borrow_mut().take(
            Rc::clone(&connection.info),
            reactor::now(),
            reactor::wall_clock(),
        );
        self.count_request(Protocol::Http2);
        let info = &mut exchange.info;
        info.protocol = Some(Protocol::Http2);
        if let Some(flag) = flag {
            info.flags.set(flag);
        }
        info.details.set(details);
        info.downstream_bytes.wire_sent = bytes.sent;
        self.stats().downstream_rq_rx_reset.inc();
        self.write_logs(AccessLogType::DownstreamEnd, &mut exchange);
        self.count_over(&exchange);
        self.worker.exchanges.borrow_mut().put(exchange);
    }
}
