//! When access logs are written (`access_log_options`).

use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use ringway_config::{Cx, core};

/// When access logs are written besides the end of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFlushes {
    /// When its route is known.
    pub on_new_request: bool,
    /// Again and again after this time.
    pub interval: Option<Duration>,
    /// When its host has agreed to another protocol.
    pub on_tunnel: bool,
}

impl LogFlushes {
    /// Lowers `access_log_options`, or the two fields that it has replaced.
    #[expect(deprecated, reason = "files written for older Envoys still use it")]
    pub(super) fn lower(proto: &pb::HttpConnectionManager, cx: &mut Cx<'_>) -> LogFlushes {
        const INTERVAL: &str = "access_log_flush_interval";
        let Some(options) = &proto.access_log_options else {
            return LogFlushes {
                on_new_request: proto.flush_access_log_on_new_request,
                interval: core::duration(proto.access_log_flush_interval, INTERVAL, cx),
                on_tunnel: false,
            };
        };
        for (is_set, name) in [
            (
                proto.flush_access_log_on_new_request,
                "flush_access_log_on_new_request",
            ),
            (proto.access_log_flush_interval.is_some(), INTERVAL),
        ] {
            if is_set {
                cx.error_at(name, "access_log_options says it already");
            }
        }
        cx.field("access_log_options", |cx| LogFlushes {
            on_new_request: options.flush_access_log_on_new_request,
            interval: core::duration(options.access_log_flush_interval, INTERVAL, cx),
            on_tunnel: options.flush_log_on_tunnel_successfully_established,
        })
    }
}
