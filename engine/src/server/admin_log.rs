//! The admin server's own access log (`admin.access_log`, and the deprecated
//! `admin.access_log_path`).

use std::rc::Rc;
use std::sync::{Arc, Once};
use std::time::Instant;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::runtime::RuntimeValues;

use super::runtime::Runtime;
use crate::access_loggers::{AccessLog, FlushCause, LogHandle, flush_local};
use crate::admin::{Access, AccessSink};
use crate::formatter::{AccessLogType, Context};
use crate::network::address::NO_ADDRESS;
use crate::stream_info::{ConnectionInfo, Protocol, StreamInfo, TimePoint, details};

/// Writes a line to each of `logs` for every admin request; `None` when there
/// are none. The lines are handed over at once: admin requests are few, and
/// whoever made one wants to see it.
pub fn sink(logs: Vec<AccessLog>, handle: LogHandle, runtime: Arc<Runtime>) -> Option<AccessSink> {
    if logs.is_empty() {
        return None;
    }
    let installed = Once::new();
    Some(Box::new(move |access| {
        installed.call_once(|| handle.clone().install());
        log(&logs, access, &runtime.values());
        flush_local(FlushCause::Request);
    }))
}

fn log(logs: &[AccessLog], access: &Access, runtime: &RuntimeValues) {
    let remote = access.remote.unwrap_or(NO_ADDRESS);
    let connection = Rc::new(ConnectionInfo::new(0, remote, NO_ADDRESS));
    let now = Instant::now();
    let start = now.checked_sub(access.duration).unwrap_or(now);
    let mut info = StreamInfo::new(connection, start, access.start);
    info.protocol = Some(match access.protocol {
        "HTTP/1.0" => Protocol::Http10,
        _ => Protocol::Http11,
    });
    info.response_code = access.response_code;
    info.bytes_sent = access.bytes_sent;
    info.details.set(details::ADMIN_FILTER_RESPONSE);
    info.mark(TimePoint::RequestComplete, now);

    let mut request = HeaderMap::new();
    for (id, value) in [
        (HeaderId::Method, &access.method),
        (HeaderId::Path, &access.path),
        (HeaderId::Authority, &access.authority),
        (HeaderId::UserAgent, &access.user_agent),
    ] {
        if !value.is_empty() {
            request.append(id, value.as_bytes());
        }
    }
    let context = Context {
        request: &request,
        kind: AccessLogType::DownstreamEnd,
        ..Context::of_connection(&info)
    };
    for log in logs {
        log.log(&context, runtime);
    }
}
