//! Load balancing of a cluster: the fields `lb_policy`, `*_lb_config` and
//! `common_lb_config`, or in their place `load_balancing_policy`. Both forms
//! lower to one [`Balancing`].
//!
//! - `older.rs`: the fields of the cluster.
//! - `typed.rs`: `load_balancing_policy`.
//! - `client_side_weighted_round_robin.rs`: weights that hosts report, also
//!   inside `wrr_locality`.
//! - `override_host.rs`: requests that ask for hosts, before another policy.
//! - `peak_ewma.rs`: a policy whose message is written down here.
//! - `slow_start.rs`: what both say about new hosts.
//! - `subset.rs`: what both say about hosts by metadata.

mod client_side_weighted_round_robin;
mod older;
mod override_host;
mod peak_ewma;
mod slow_start;
mod subset;
mod typed;

pub use override_host::{AskedHosts, OverrideHost};
pub use subset::criteria;

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::cluster::v3::cluster::common_lb_config::LocalityConfigSpecifier;
use envoy_types::pb::envoy::config::core::v3::RuntimeDouble;
use envoy_types::pb::envoy::r#type::v3::Percent;
use ringway_lb::client_side_weighted_round_robin::WeightConfig;
use ringway_lb::config::{Common, Config, LocalityBasis, LocalityMode, Policy, ZoneAware};

use crate::context::Cx;
use crate::discovery::Discovery;
use crate::endpoint;
use crate::route::HashPolicies;
use crate::runtime::{RuntimeKey, RuntimeKeys, RuntimeValue, RuntimeValues};

/// How a cluster is balanced, apart from its hosts.
#[derive(Clone, Debug)]
pub struct Balancing {
    /// As the file says.
    config: Config,
    /// Ring hash and Maglev hash the hostname of a host, not its address.
    pub hashes_hostname: bool,
    /// Hash policies of the cluster, which take the place of the route's.
    pub hash_policies: Option<Arc<HashPolicies>>,
    /// The cluster itself says where requests go (`CLUSTER_PROVIDED`), so that
    /// nothing else here matters.
    pub is_provided: bool,
    /// How the reports of hosts become weights, where they do.
    pub reported_weights: Option<Arc<WeightConfig>>,
    /// Where requests ask for hosts before the policy is asked, if they may.
    pub override_host: Option<Arc<OverrideHost>>,
    keys: Keys,
}

/// The runtime keys that override parts of it.
#[derive(Clone, Debug)]
struct Keys {
    healthy_panic_threshold: RuntimeKey,
    zone_routing_enabled: RuntimeKey,
    zone_min_cluster_size: RuntimeKey,
    active_request_bias: Option<RuntimeKey>,
    slow_start_aggression: Option<RuntimeKey>,
}

impl Keys {
    fn new(names: &RuntimeKeys) -> Self {
        Self {
            healthy_panic_threshold: names.id("upstream.healthy_panic_threshold"),
            zone_routing_enabled: names.id("upstream.zone_routing.enabled"),
            zone_min_cluster_size: names.id("upstream.zone_routing.min_cluster_size"),
            active_request_bias: None,
            slow_start_aggression: None,
        }
    }
}

impl Balancing {
    /// The policy as the file says.
    pub fn policy(&self) -> &Policy {
        &self.config.policy
    }

    /// Whether requests may be for a subset of the hosts.
    pub fn has_subsets(&self) -> bool {
        self.config.subset.is_some()
    }

    /// What holds for an assignment with this policy while the runtime has
    /// these values.
    pub fn in_force(&self, assignment: endpoint::Policy, runtime: &RuntimeValues) -> Config {
        let mut config = self.config.clone();
        let common = &mut config.common;
        common.overprovisioning_factor = assignment.overprovisioning_factor;
        common.weighted_priority_health = assignment.weighted_priority_health;
        let number = |key: RuntimeKey| runtime.get(key).and_then(RuntimeValue::as_number);
        if let Some(percent) = number(self.keys.healthy_panic_threshold) {
            common.healthy_panic_threshold = percent.min(ALL);
        }
        if let LocalityMode::ZoneAware(zones) = &mut common.locality {
            if let Some(percent) = number(self.keys.zone_routing_enabled) {
                zones.routing_enabled = percent.min(ALL);
            }
            zones.min_cluster_size =
                runtime.integer(self.keys.zone_min_cluster_size, zones.min_cluster_size);
        }
        if let Policy::LeastRequest { bias, .. } = &mut config.policy
            && let Some(given) = self.keys.active_request_bias.and_then(number)
        {
            *bias = given;
        }
        if let Policy::RoundRobin { slow_start }
        | Policy::ClientSideWeightedRoundRobin { slow_start }
        | Policy::LeastRequest { slow_start, .. } = &mut config.policy
            && let Some(slow_start) = slow_start
            && let Some(given) = self.keys.slow_start_aggression.and_then(number)
        {
            slow_start.aggression = given;
        }
        config
    }

    /// What a zone's share is made of, where zones matter.
    pub fn locality_basis(&self) -> Option<LocalityBasis> {
        match self.config.common.locality {
            LocalityMode::ZoneAware(zones) => Some(zones.locality_basis),
            LocalityMode::None | LocalityMode::Weighted => None,
        }
    }

    /// How long a host takes to get its full share.
    pub fn slow_start_window(&self) -> Option<Duration> {
        match self.config.policy {
            Policy::RoundRobin { slow_start }
            | Policy::LeastRequest { slow_start, .. }
            | Policy::ClientSideWeightedRoundRobin { slow_start } => {
                slow_start.map(|slow_start| Duration::from_millis(slow_start.window_ms))
            }
            Policy::Random
            | Policy::PeakEwma { .. }
            | Policy::RingHash { .. }
            | Policy::Maglev { .. } => None,
        }
    }
}

/// Lowers what a cluster says about balancing.
pub(crate) fn lower(proto: &pb::Cluster, cx: &mut Cx<'_>) -> Balancing {
    let mut balancing = Balancing {
        config: Config {
            policy: Policy::Random,
            subset: None,
            common: Common {
                healthy_panic_threshold: percent(
                    (proto.common_lb_config.as_ref())
                        .and_then(|common| common.healthy_panic_threshold),
                    Common::default().healthy_panic_threshold,
                ),
                // As Envoy's: zones matter wherever a cluster of this proxy's
                // own is known, whether or not they are configured.
                locality: LocalityMode::ZoneAware(ZoneAware::default()),
                ..Common::default()
            },
        },
        hashes_hostname: false,
        hash_policies: None,
        is_provided: false,
        reported_weights: None,
        override_host: None,
        keys: Keys::new(cx.runtime_keys),
    };
    match &proto.load_balancing_policy {
        Some(policies) => {
            check_older(proto, cx);
            cx.field("load_balancing_policy", |cx| {
                if balancing.take_first(policies, cx).is_none() {
                    cx.error("none of these policies is known");
                }
            });
        }
        None => balancing.take_older(proto, cx),
    }
    if balancing.is_provided {
        balancing.config.common.locality = LocalityMode::None;
    }
    balancing
}

/// Refuses a cluster whose type and policy do not fit.
pub(crate) fn check_provided(balancing: &Balancing, discovery: &Discovery, cx: &mut Cx<'_>) {
    match (balancing.is_provided, discovery.provides_balancing()) {
        (true, false) => cx.error_at(
            "lb_policy",
            "CLUSTER_PROVIDED is for clusters that say themselves where requests go, and this \
             type does not",
        ),
        (false, true) => cx.error_at(
            "lb_policy",
            "this type of cluster says itself where requests go, so it has to be CLUSTER_PROVIDED",
        ),
        (true, true) | (false, false) => {}
    }
}

/// What a policy of the newer form has fields of its own for must not be said
/// in those of the older one.
fn check_older(proto: &pb::Cluster, cx: &mut Cx<'_>) {
    let Some(common) = &proto.common_lb_config else {
        return;
    };
    let locality = common.locality_config_specifier.as_ref();
    let mut said = Vec::new();
    said.extend(locality.map(|mode| match mode {
        LocalityConfigSpecifier::ZoneAwareLbConfig(_) => "zone_aware_lb_config",
        LocalityConfigSpecifier::LocalityWeightedLbConfig(_) => "locality_weighted_lb_config",
    }));
    said.extend(
        (common.consistent_hashing_lb_config.as_ref()).map(|_| "consistent_hashing_lb_config"),
    );
    for field in said {
        cx.error_at(
            &format!("common_lb_config.{field}"),
            "cannot be combined with load_balancing_policy, whose policies have it in their own \
             fields",
        );
    }
}

/// The policy as `lb_policy` calls it.
pub fn policy_name(policy: &Policy) -> &'static str {
    match policy {
        Policy::RoundRobin { .. } => "ROUND_ROBIN",
        Policy::LeastRequest { .. } => "LEAST_REQUEST",
        Policy::Random => "RANDOM",
        Policy::RingHash { .. } => "RING_HASH",
        Policy::Maglev { .. } => "MAGLEV",
        // These are in the newer form only, by the names of their extensions.
        Policy::PeakEwma { .. } => "peak_ewma",
        Policy::ClientSideWeightedRoundRobin { .. } => "client_side_weighted_round_robin",
    }
}

/// Percent.
const ALL: f64 = 100.0;

fn percent(proto: Option<Percent>, default: f64) -> f64 {
    proto.map_or(default, |percent| percent.value)
}

/// A number and the runtime key that overrides it.
fn runtime_double(
    proto: Option<&RuntimeDouble>,
    default: f64,
    cx: &Cx<'_>,
) -> (f64, Option<RuntimeKey>) {
    let Some(proto) = proto else {
        return (default, None);
    };
    let key = (!proto.runtime_key.is_empty()).then(|| cx.runtime_keys.id(&proto.runtime_key));
    (proto.default_value, key)
}

/// A ring size or a table size in its limits.
fn ring_sizes(min: Option<u64>, max: Option<u64>, cx: &mut Cx<'_>) -> (u64, u64) {
    let (min, max) = (min.unwrap_or(RING_SIZE_MIN), max.unwrap_or(RING_SIZE_MAX));
    if min > max {
        cx.error_at(
            "minimum_ring_size",
            format!("{min} is more than the maximum_ring_size of {max}"),
        );
    }
    (min, max)
}

/// Envoy's defaults.
const RING_SIZE_MIN: u64 = 1024;
const RING_SIZE_MAX: u64 = 8 * 1024 * 1024;
const MAGLEV_TABLE_SIZE: u64 = 65_537;
const CHOICES: u32 = 2;
const BIAS: f64 = 1.0;

fn maglev_table_size(given: Option<u64>, cx: &mut Cx<'_>) -> u32 {
    let size = given.unwrap_or(MAGLEV_TABLE_SIZE);
    match u32::try_from(size) {
        Ok(size) if ringway_lb::maglev::is_prime(size) => size,
        _ => {
            cx.error_at("table_size", format!("{size} is not a prime number"));
            MAGLEV_TABLE_SIZE as u32
        }
    }
}
