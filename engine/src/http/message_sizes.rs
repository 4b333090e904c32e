//! How large a request and its response are
//! (`track_cluster_stats.request_response_sizes`).

use ringway_codecs::header::HeaderMap;

use crate::stats::cluster::RequestResponseSizeStats;

/// A try whose sizes are recorded when it is over, which is when this is
/// dropped: tries end in many ways.
#[derive(Debug)]
pub struct MessageSizes {
    recorded: Option<RequestResponseSizeStats>,
    request: HeaderSize,
    request_body: u64,
    response: Option<HeaderSize>,
    response_body: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct HeaderSize {
    bytes: u64,
    count: u64,
}

impl HeaderSize {
    fn of(headers: &HeaderMap) -> Self {
        Self {
            bytes: headers.byte_size() as u64,
            count: headers.len() as u64,
        }
    }
}

impl MessageSizes {
    /// A try that has nothing of a body and no response yet.
    #[must_use]
    pub fn of(request: &HeaderMap, recorded: RequestResponseSizeStats) -> Self {
        Self {
            recorded: Some(recorded),
            request: HeaderSize::of(request),
            request_body: 0,
            response: None,
            response_body: 0,
        }
    }

    /// Notes headers of the response, those of interim ones too. `is_chunked`
    /// says that they have said how its body is sent.
    pub fn on_response(&mut self, headers: &HeaderMap, is_chunked: bool) {
        let mut all = self.response.unwrap_or_default();
        let one = HeaderSize::of(headers);
        all.bytes += one.bytes;
        all.count += one.count;
        if is_chunked {
            // Envoy's lists have it as they were sent.
            all.bytes += CHUNKED_BYTES;
            all.count += 1;
        }
        self.response = Some(all);
    }

    /// Notes a part of the request's body.
    pub fn on_request_data(&mut self, bytes: usize) {
        self.request_body += bytes as u64;
    }

    /// Notes a part of the response's body.
    pub fn on_response_data(&mut self, bytes: usize) {
        self.response_body += bytes as u64;
    }

    /// Forgets a try that is made again as if it had not been.
    pub fn forget(mut self) {
        self.recorded = None;
    }
}

impl Drop for MessageSizes {
    fn drop(&mut self) {
        let Some(stats) = self.recorded else {
            return;
        };
        stats.upstream_rq_headers_size.record(self.request.bytes);
        stats.upstream_rq_headers_count.record(self.request.count);
        stats.upstream_rq_body_size.record(self.request_body);
        if let Some(response) = self.response {
            stats.upstream_rs_headers_size.record(response.bytes);
            stats.upstream_rs_headers_count.record(response.count);
            stats.upstream_rs_body_size.record(self.response_body);
        }
    }
}

/// `transfer-encoding` and `chunked`.
const CHUNKED_BYTES: u64 = 24;
