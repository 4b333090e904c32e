//! What listeners and clusters say of HTTP/2 (`Http2ProtocolOptions`). The
//! compiled type on top, its lowering below.
//!
//! Fields of which nothing is left here are in the support table, with the
//! reason. Ranges of numbers are rules of the messages themselves.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as pb;

use crate::context::Cx;
use crate::core;

/// HTTP/2 of one side of the proxy. The default is Envoy's.
#[derive(Clone, Debug, PartialEq)]
pub struct Http2ProtocolOptions {
    /// Bytes of the table with which the peer may compress its headers.
    pub header_table_bytes: u32,
    /// Streams that may be open on one connection at once: what clients are
    /// told, and how many requests a connection to a host gets whatever the
    /// host would take.
    pub streams_max: u32,
    /// Bytes that the peer may send on a stream before any is taken.
    pub stream_window: u32,
    /// Bytes that it may send on all streams together.
    pub connection_window: u32,
    /// Other protocols are spoken within a stream (RFC 8441).
    pub allow_connect: bool,
    /// A message that breaks the rules ends its stream and not the connection;
    /// `None` is what the connection manager says.
    pub stream_errors: Option<bool>,
    /// Pings that find out whether the peer is still there.
    pub keepalive: Option<Keepalive>,
    /// Frames that cost the peer little.
    pub frames: FrameLimits,
}

/// How many frames the peer may send that cost it little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// One behind the other that carry nothing and end nothing.
    pub idle_in_a_row: u32,
    /// `PRIORITY`, for each stream that was begun, and once more.
    pub priorities_per_stream: u32,
    /// `WINDOW_UPDATE`, for each DATA that it was sent.
    pub window_updates_per_data: u32,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            idle_in_a_row: 1,
            priorities_per_stream: 100,
            window_updates_per_data: 10,
        }
    }
}

/// `KeepaliveSettings`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keepalive {
    /// From an answer to the next ping; `None` sends none.
    pub interval: Option<Duration>,
    /// An answer that takes longer ends the connection.
    pub timeout: Duration,
    /// A random part of so many percent of the interval comes on top.
    pub jitter_percent: f64,
    /// The next stream of a connection that had none for so long is begun with
    /// a ping.
    pub idle_interval: Option<Duration>,
}

impl Default for Http2ProtocolOptions {
    fn default() -> Self {
        Self {
            header_table_bytes: 4096,
            streams_max: 1024,
            stream_window: 16 * 1024 * 1024,
            connection_window: 24 * 1024 * 1024,
            allow_connect: false,
            stream_errors: None,
            keepalive: None,
            frames: FrameLimits::default(),
        }
    }
}

impl Http2ProtocolOptions {
    /// Lowers the message at which `cx` is.
    #[expect(deprecated, reason = "Envoy still takes the older field")]
    pub fn lower(proto: &pb::Http2ProtocolOptions, cx: &mut Cx<'_>) -> Self {
        let default = Self::default();
        let stream_errors = (proto.override_stream_error_on_invalid_http_message)
            .map(|on| on.value)
            .or(proto.stream_error_on_invalid_http_messaging.then_some(true));
        Self {
            header_table_bytes: core::u32_or(proto.hpack_table_size, default.header_table_bytes),
            streams_max: core::u32_or(proto.max_concurrent_streams, default.streams_max),
            stream_window: core::u32_or(proto.initial_stream_window_size, default.stream_window),
            connection_window: core::u32_or(
                proto.initial_connection_window_size,
                default.connection_window,
            ),
            allow_connect: proto.allow_connect,
            stream_errors,
            keepalive: (proto.connection_keepalive.as_ref()).and_then(|proto| {
                cx.field("connection_keepalive", |cx| Keepalive::lower(proto, cx))
            }),
            frames: FrameLimits::lower(proto),
        }
    }
}

impl FrameLimits {
    fn lower(proto: &pb::Http2ProtocolOptions) -> Self {
        let default = Self::default();
        Self {
            idle_in_a_row: core::u32_or(
                proto.max_consecutive_inbound_frames_with_empty_payload,
                default.idle_in_a_row,
            ),
            priorities_per_stream: core::u32_or(
                proto.max_inbound_priority_frames_per_stream,
                default.priorities_per_stream,
            ),
            window_updates_per_data: core::u32_or(
                proto.max_inbound_window_update_frames_per_data_frame_sent,
                default.window_updates_per_data,
            ),
        }
    }
}

impl Keepalive {
    fn lower(proto: &pb::KeepaliveSettings, cx: &mut Cx<'_>) -> Option<Self> {
        let interval = core::duration_or_off(proto.interval, "interval", None, cx);
        let idle_interval = core::duration_or_off(
            proto.connection_idle_interval,
            "connection_idle_interval",
            None,
            cx,
        );
        Some(Self {
            interval,
            timeout: core::duration(proto.timeout, "timeout", cx)?,
            jitter_percent: (proto.interval_jitter.as_ref())
                .map_or(JITTER_PERCENT, |percent| percent.value),
            idle_interval,
        })
    }
}

/// Envoy's default.
const JITTER_PERCENT: f64 = 15.0;

#[cfg(test)]
mod tests {
    use super::*;

    use envoy_types::pb::envoy::r#type::v3::Percent;
    use envoy_types::pb::google::protobuf;

    use crate::diagnostics::{Diagnostics, Marks};
    use crate::names::Names;

    fn lower(proto: &pb::Http2ProtocolOptions) -> Http2ProtocolOptions {
        let (mut diagnostics, marks, names) =
            (Diagnostics::default(), Marks::default(), Names::default());
        Http2ProtocolOptions::lower(proto, &mut Cx::new(&mut diagnostics, &marks, None, &names))
    }

    fn number(value: u32) -> Option<protobuf::UInt32Value> {
        Some(protobuf::UInt32Value { value })
    }

    #[test]
    fn an_empty_message_is_the_default() {
        let empty = lower(&pb::Http2ProtocolOptions::default());
        assert_eq!(empty, Http2ProtocolOptions::default());
    }

    #[test]
    fn every_field_is_taken() {
        let proto = pb::Http2ProtocolOptions {
            hpack_table_size: number(0),
            max_concurrent_streams: number(7),
            initial_stream_window_size: number(65_536),
            initial_connection_window_size: number(70_000),
            allow_connect: true,
            override_stream_error_on_invalid_http_message: Some(protobuf::BoolValue {
                value: false,
            }),
            connection_keepalive: Some(pb::KeepaliveSettings {
                interval: Some(protobuf::Duration {
                    seconds: 3,
                    nanos: 0,
                }),
                timeout: Some(protobuf::Duration {
                    seconds: 1,
                    nanos: 500_000_000,
                }),
                interval_jitter: Some(Percent { value: 2.5 }),
                connection_idle_interval: None,
            }),
            max_consecutive_inbound_frames_with_empty_payload: number(0),
            max_inbound_priority_frames_per_stream: number(2),
            max_inbound_window_update_frames_per_data_frame_sent: number(3),
            ..pb::Http2ProtocolOptions::default()
        };
        assert_eq!(
            lower(&proto),
            Http2ProtocolOptions {
                header_table_bytes: 0,
                streams_max: 7,
                stream_window: 65_536,
                connection_window: 70_000,
                allow_connect: true,
                stream_errors: Some(false),
                keepalive: Some(Keepalive {
                    interval: Some(Duration::from_secs(3)),
                    timeout: Duration::from_millis(1500),
                    jitter_percent: 2.5,
                    idle_interval: None,
                }),
                frames: FrameLimits {
                    idle_in_a_row: 0,
                    priorities_per_stream: 2,
                    window_updates_per_data: 3,
                },
            }
        );
    }
}
