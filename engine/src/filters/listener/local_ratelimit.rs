//! `envoy.filters.listener.local_ratelimit`: how many connections a listener
//! takes in a time. Those beyond are closed before anything is read.

use envoy_types::pb::envoy::extensions::filters::listener::local_ratelimit::v3::LocalRateLimit as LocalRateLimitPb;
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::Cx;
use ringway_config::runtime::RuntimeFeatureFlag;
use ringway_config::token_bucket::TokenBucket;
use ringway_config::unpack;

use super::Refused;
use crate::filters::WorkerContext;
use crate::reactor;
use crate::stats::Store;
use crate::stats_struct;
use crate::worker::shared::token_bucket::SharedTokenBucket;

stats_struct! {
    /// Under `listener_local_ratelimit.` and the filter's prefix.
    pub struct LocalRateLimitStats {
        counters: [rate_limited],
    }
}

/// Its configuration.
#[derive(Debug, Clone)]
pub struct Config {
    bucket: TokenBucket,
    enabled: Option<RuntimeFeatureFlag>,
    stat_prefix: Box<str>,
}

/// A filter that counts.
pub struct LocalRateLimit {
    bucket: SharedTokenBucket,
    enabled: Option<RuntimeFeatureFlag>,
    stats: LocalRateLimitStats,
}

impl Config {
    /// Compiles a filter.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<LocalRateLimitPb>(any, cx)?;
        // The rules of the message want one.
        let bucket = proto.token_bucket.as_ref()?;
        let bucket = cx.field("token_bucket", |cx| TokenBucket::lower(bucket, cx))?;
        let enabled = proto.runtime_enabled.as_ref();
        Some(Self {
            bucket,
            enabled: enabled.map(|flag| RuntimeFeatureFlag::lower(flag, cx)),
            stat_prefix: proto.stat_prefix.as_str().into(),
        })
    }
}

impl LocalRateLimit {
    /// A full bucket. Registers what the filter counts.
    #[must_use]
    pub fn new(config: &Config, store: &Store) -> Self {
        let prefix = format!("listener_local_ratelimit.{}.", config.stat_prefix);
        Self {
            bucket: SharedTokenBucket::new(config.bucket),
            enabled: config.enabled,
            stats: LocalRateLimitStats::new(store, &prefix),
        }
    }

    /// Takes a token for a connection.
    pub(super) fn inspect(&self, worker: &WorkerContext) -> Result<(), Refused> {
        let is_enabled = self
            .enabled
            .is_none_or(|flag| flag.is_on(&worker.runtime.borrow()));
        if !is_enabled || self.bucket.take(reactor::now()) {
            return Ok(());
        }
        self.stats.rate_limited.inc();
        Err(Refused::ByFilter)
    }
}
