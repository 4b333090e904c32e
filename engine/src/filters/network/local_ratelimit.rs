//! `envoy.filters.network.local_ratelimit`: how many connections a filter chain
//! takes in a time. Those beyond are closed.

use envoy_types::pb::envoy::extensions::filters::network::local_ratelimit::v3::LocalRateLimit as LocalRateLimitPb;
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::Cx;
use ringway_config::runtime::RuntimeFeatureFlag;
use ringway_config::token_bucket::TokenBucket;
use ringway_config::unpack;

use super::{Connection, Flow, NetworkFilter};
use crate::reactor;
use crate::stats::Store;
use crate::stats_struct;
use crate::stream_info::ResponseFlag;
use crate::worker::shared::token_bucket::SharedTokenBucket;

stats_struct! {
    /// Under `local_rate_limit.` and the filter's prefix.
    pub struct LocalRateLimitStats {
        counters: [rate_limited],
    }
}

/// The compiled filter.
pub struct LocalRateLimit {
    bucket: SharedTokenBucket,
    enabled: Option<RuntimeFeatureFlag>,
    stat_prefix: Box<str>,
    /// Once they are registered.
    stats: Option<LocalRateLimitStats>,
}

impl LocalRateLimit {
    /// Compiles a filter, with a full bucket.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<LocalRateLimitPb>(any, cx)?;
        // The rules of the message want one.
        let bucket = proto.token_bucket.as_ref()?;
        let bucket = cx.field("token_bucket", |cx| TokenBucket::lower(bucket, cx))?;
        let enabled = proto.runtime_enabled.as_ref();
        Some(Self {
            bucket: SharedTokenBucket::new(bucket),
            enabled: enabled.map(|flag| RuntimeFeatureFlag::lower(flag, cx)),
            stat_prefix: proto.stat_prefix.as_str().into(),
            stats: None,
        })
    }
}

impl NetworkFilter for LocalRateLimit {
    fn register(&mut self, store: &Store) {
        let prefix = format!("local_rate_limit.{}.", self.stat_prefix);
        self.stats = Some(LocalRateLimitStats::new(store, &prefix));
    }

    fn on_new_connection(&self, connection: &mut Connection<'_>) -> Flow {
        let runtime = &connection.worker.runtime;
        let is_enabled = self
            .enabled
            .is_none_or(|flag| flag.is_on(&runtime.borrow()));
        if !is_enabled || self.bucket.take(reactor::now()) {
            return Flow::Continue;
        }
        if let Some(stats) = &self.stats {
            stats.rate_limited.inc();
        }
        // Envoy has no flag of connections for it, and takes this one.
        let flags = &mut connection.info.flags;
        flags.set(ResponseFlag::UpstreamRetryLimitExceeded);
        Flow::Close
    }
}
