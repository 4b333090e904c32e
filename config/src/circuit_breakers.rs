//! Circuit breakers (`envoy.config.cluster.v3.CircuitBreakers`): how much of a
//! cluster, or of one host, may be open at once. Compiled types on top,
//! lowering below.

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::core::v3::RoutingPriority;

use crate::context::Cx;
use crate::core;
use crate::runtime::{RuntimeKeyFamily, RuntimeKeys, RuntimeValue, RuntimeValues};

/// All limits of a cluster; process-wide, not per worker.
#[derive(Clone, Debug)]
pub struct CircuitBreakers {
    /// By [`Priority`](crate::route::Priority): default, high.
    pub thresholds: [Thresholds; 2],
    /// Connections to one host, by priority; `None` is no limit.
    pub connections_per_host_max: [Option<u32>; 2],
    keys: [ThresholdKeys; 2],
}

/// Circuit breakers of one priority
/// (`cluster.v3.CircuitBreakers.Thresholds`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Connections to all hosts.
    pub max_connections: u32,
    /// Requests waiting for a connection.
    pub max_pending_requests: u32,
    /// Requests in flight.
    pub max_requests: u32,
    /// Retries in flight.
    pub max_retries: u32,
    /// Takes the place of `max_retries`.
    pub retry_budget: Option<RetryBudget>,
    /// Pools that have connections; `None` is no limit.
    pub max_connection_pools: Option<u32>,
    /// What is left is shown by statistics.
    pub track_remaining: bool,
}

/// `cluster.v3.CircuitBreakers.Thresholds.RetryBudget`: retries in flight as a
/// part of the requests in flight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// The part in percent.
    pub percent: f64,
    /// So many are always allowed.
    pub min_concurrency: u32,
    /// Instead of the requests in flight, those that have begun in this time.
    pub interval: Option<Duration>,
}

/// Envoy's limits where the configuration sets none.
impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
            retry_budget: None,
            max_connection_pools: None,
            track_remaining: false,
        }
    }
}

/// Envoy's budget where only one half of it is given.
impl Default for RetryBudget {
    fn default() -> Self {
        RetryBudget {
            percent: 20.0,
            min_concurrency: 3,
            interval: None,
        }
    }
}

impl CircuitBreakers {
    /// The limits of a cluster with the values that the runtime has now
    /// (`circuit_breakers.CLUSTER.PRIORITY.NAME`).
    #[must_use]
    pub fn with_runtime(&self, cluster: &str, runtime: &RuntimeValues) -> [Thresholds; 2] {
        let of = |priority: usize| {
            self.keys[priority].replace(self.thresholds[priority], cluster.as_bytes(), runtime)
        };
        [of(0), of(1)]
    }
}

/// The runtime keys of one priority, of all clusters: a cluster's name is the
/// part in which they differ, so ten thousand clusters need no keys of their
/// own.
#[derive(Clone, Copy, Debug)]
struct ThresholdKeys {
    max_connections: RuntimeKeyFamily,
    max_pending_requests: RuntimeKeyFamily,
    max_requests: RuntimeKeyFamily,
    max_retries: RuntimeKeyFamily,
    max_connection_pools: RuntimeKeyFamily,
    budget_percent: RuntimeKeyFamily,
    min_retry_concurrency: RuntimeKeyFamily,
}

impl ThresholdKeys {
    fn new(keys: &RuntimeKeys, priority: &str) -> Self {
        let family = |name: &str| keys.family(&format!("circuit_breakers.*.{priority}.{name}"));
        ThresholdKeys {
            max_connections: family("max_connections"),
            max_pending_requests: family("max_pending_requests"),
            max_requests: family("max_requests"),
            max_retries: family("max_retries"),
            max_connection_pools: family("max_connection_pools"),
            budget_percent: family("retry_budget.budget_percent"),
            min_retry_concurrency: family("retry_budget.min_retry_concurrency"),
        }
    }

    fn replace(
        &self,
        thresholds: Thresholds,
        cluster: &[u8],
        runtime: &RuntimeValues,
    ) -> Thresholds {
        let given = |family: RuntimeKeyFamily| {
            let value = runtime.get_of(family, cluster)?.as_integer()?;
            Some(u32::try_from(value).unwrap_or(u32::MAX))
        };
        let limit = |family, default| given(family).unwrap_or(default);
        let percent = runtime.get_of(self.budget_percent, cluster);
        let percent = percent.and_then(RuntimeValue::as_number);
        let min_concurrency = given(self.min_retry_concurrency);
        // A key alone is enough to have a budget.
        let mut retry_budget = thresholds.retry_budget;
        if percent.is_some() || min_concurrency.is_some() {
            let default = retry_budget.unwrap_or_default();
            retry_budget = Some(RetryBudget {
                percent: percent.unwrap_or(default.percent),
                min_concurrency: min_concurrency.unwrap_or(default.min_concurrency),
                interval: default.interval,
            });
        }
        Thresholds {
            max_connections: limit(self.max_connections, thresholds.max_connections),
            max_pending_requests: limit(self.max_pending_requests, thresholds.max_pending_requests),
            max_requests: limit(self.max_requests, thresholds.max_requests),
            max_retries: limit(self.max_retries, thresholds.max_retries),
            retry_budget,
            max_connection_pools: given(self.max_connection_pools)
                .or(thresholds.max_connection_pools),
            track_remaining: thresholds.track_remaining,
        }
    }
}

const PRIORITIES: [(RoutingPriority, &str); 2] = [
    (RoutingPriority::Default, "default"),
    (RoutingPriority::High, "high"),
];

/// Lowers the breakers of a cluster. Of two entries of a priority Envoy takes
/// the first and ignores the other.
pub(crate) fn lower(proto: Option<&pb::CircuitBreakers>, cx: &mut Cx<'_>) -> CircuitBreakers {
    let given = proto.map_or(&[][..], |proto| &proto.thresholds);
    let per_host = proto.map_or(&[][..], |proto| &proto.per_host_thresholds);
    cx.field("circuit_breakers", |cx| {
        for (i, entry) in per_host.iter().enumerate() {
            cx.index("per_host_thresholds", i, |cx| check_per_host(entry, cx));
        }
    });
    let thresholds = PRIORITIES.map(|(priority, _)| {
        let entry = (given.iter().enumerate()).find(|(_, entry)| entry.priority() == priority);
        entry.map_or_else(Thresholds::default, |(i, entry)| {
            cx.field("circuit_breakers", |cx| {
                cx.index("thresholds", i, |cx| thresholds(entry, cx))
            })
        })
    });
    let of_host = |priority| {
        let entry = per_host.iter().find(|entry| entry.priority() == priority)?;
        entry.max_connections.map(|max| max.value)
    };
    CircuitBreakers {
        thresholds,
        connections_per_host_max: PRIORITIES.map(|(priority, _)| of_host(priority)),
        keys: PRIORITIES.map(|(_, name)| ThresholdKeys::new(cx.runtime_keys, name)),
    }
}

fn thresholds(entry: &pb::circuit_breakers::Thresholds, cx: &mut Cx<'_>) -> Thresholds {
    let default = Thresholds::default();
    Thresholds {
        max_connections: core::u32_or(entry.max_connections, default.max_connections),
        max_pending_requests: core::u32_or(
            entry.max_pending_requests,
            default.max_pending_requests,
        ),
        max_requests: core::u32_or(entry.max_requests, default.max_requests),
        max_retries: core::u32_or(entry.max_retries, default.max_retries),
        retry_budget: entry.retry_budget.as_ref().map(|budget| {
            let default = RetryBudget::default();
            RetryBudget {
                percent: budget
                    .budget_percent
                    .map_or(default.percent, |percent| percent.value),
                min_concurrency: core::u32_or(
                    budget.min_retry_concurrency,
                    default.min_concurrency,
                ),
                interval: cx.field("retry_budget", |cx| {
                    core::duration_or_off(budget.budget_interval, "budget_interval", None, cx)
                }),
            }
        }),
        max_connection_pools: entry.max_connection_pools.map(|max| max.value),
        track_remaining: entry.track_remaining,
    }
}

/// Of a single host only connections are limited; Envoy refuses the rest too.
fn check_per_host(entry: &pb::circuit_breakers::Thresholds, cx: &mut Cx<'_>) {
    for (given, name) in [
        (entry.max_pending_requests.is_some(), "max_pending_requests"),
        (entry.max_requests.is_some(), "max_requests"),
        (entry.max_retries.is_some(), "max_retries"),
        (entry.max_connection_pools.is_some(), "max_connection_pools"),
        (entry.retry_budget.is_some(), "retry_budget"),
    ] {
        if given {
            cx.error_at(
                name,
                "only max_connections can be limited per host, in Envoy too",
            );
        }
    }
    if entry.track_remaining {
        cx.warn_at(
            "track_remaining",
            "has no effect per host, in Envoy neither",
        );
    }
}
