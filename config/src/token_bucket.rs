//! Token buckets (`envoy.type.v3.TokenBucket`): how much may happen at once, and
//! how fast what was used up comes back.

use std::time::Duration;

use envoy_types::pb::envoy::r#type::v3 as pb;

use crate::context::Cx;
use crate::core;

/// A compiled bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// What it holds, and has in it at first.
    pub tokens_max: u32,
    /// What comes back in an interval.
    pub tokens_per_fill: u32,
    /// The interval. Tokens come one after the other, not all at its end.
    pub fill_interval: Duration,
}

/// Envoy's: with less it would be busy filling.
const FILL_INTERVAL_MIN: Duration = Duration::from_millis(50);

impl TokenBucket {
    /// Lowers the message of a local rate limit.
    pub fn lower(proto: &pb::TokenBucket, cx: &mut Cx<'_>) -> Option<Self> {
        let fill_interval = core::duration(proto.fill_interval, "fill_interval", cx)?;
        if fill_interval < FILL_INTERVAL_MIN {
            cx.error_at(
                "fill_interval",
                "local rate limit token bucket fill timer must be >= 50ms",
            );
        }
        Some(Self {
            tokens_max: proto.max_tokens,
            tokens_per_fill: core::u32_or(proto.tokens_per_fill, 1),
            fill_interval,
        })
    }
}
