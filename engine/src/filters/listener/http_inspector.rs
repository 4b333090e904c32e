//! `envoy.filters.listener.http_inspector`: whether a client begins with HTTP,
//! and which version.

use envoy_types::pb::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector as HttpInspectorPb;
use envoy_types::pb::google::protobuf::Any;
use ringway_codecs::http1::inspect::{self, inspect};
use ringway_config::context::Cx;
use ringway_config::unpack;

use super::{Inspected, Peeked, Refused};
use crate::reactor::Stream;
use crate::stats::Store;
use crate::stats_struct;

stats_struct! {
    /// All connections that inspectors of the process have seen, under
    /// `http_inspector.`.
    pub struct HttpInspectorStats {
        counters: [http10_found, http11_found, http2_found, http_not_found, read_error],
    }
}

/// An inspector that counts.
pub struct HttpInspector {
    stats: HttpInspectorStats,
}

/// What is kept of a first line that does not end; Envoy's.
const BYTES_MAX: usize = 64 * 1024;

/// Checks its message, which says nothing.
pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<()> {
    unpack::<HttpInspectorPb>(any, cx).map(drop)
}

impl HttpInspector {
    /// Registers what it counts.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            stats: HttpInspectorStats::new(store, "http_inspector."),
        }
    }

    /// Reads as much as it takes to know. What is known to be something else is
    /// not looked at.
    pub(super) async fn inspect(
        &self,
        stream: &Stream,
        inspected: &mut Inspected,
    ) -> Result<(), Refused> {
        let stats = &self.stats;
        if inspected.transport_protocol.is_some() {
            return Ok(());
        }
        let mut peeked = Peeked::new(stream);
        let mut known = 0;
        let protocol = loop {
            peeked.more().await?;
            // In whatever pieces they arrive: what is behind is not looked at.
            let all = peeked.all();
            let looked_at = &all[..all.len().min(BYTES_MAX)];
            match inspect(looked_at, known) {
                inspect::Inspected::Incomplete if looked_at.len() == BYTES_MAX => {
                    stats.read_error.inc();
                    return Err(Refused::ByFilter);
                }
                inspect::Inspected::Incomplete => known = looked_at.len(),
                inspect::Inspected::Http10 => {
                    stats.http10_found.inc();
                    break "http/1.0";
                }
                inspect::Inspected::Http11 => {
                    stats.http11_found.inc();
                    break "http/1.1";
                }
                inspect::Inspected::Http2 => {
                    stats.http2_found.inc();
                    break "h2c";
                }
                inspect::Inspected::NotHttp => {
                    stats.http_not_found.inc();
                    return Ok(());
                }
            }
        };
        inspected.application_protocols = vec![protocol.as_bytes().into()];
        Ok(())
    }
}
