//! How a cluster is balanced: the `lb_policy` and `load_balancing_policy`
//! forms of Envoy's API, lowered to one.

use std::sync::Arc;

use crate::metadata::Value;

/// How a cluster is balanced.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Which of the hosts that may be used takes a request.
    pub policy: Policy,
    /// Which hosts may be used.
    pub common: Common,
    /// Which subset of the hosts a request is for.
    pub subset: Option<Subset>,
}

/// Which of the hosts that may be used takes a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// `envoy.load_balancing_policies.round_robin`.
    RoundRobin {
        /// `slow_start_config`.
        slow_start: Option<SlowStart>,
    },
    /// `envoy.load_balancing_policies.least_request`.
    LeastRequest {
        /// `choice_count`: so many random hosts are compared.
        choices: u32,
        /// `active_request_bias`: how much requests in flight count where
        /// weights differ.
        bias: f64,
        /// `selection_method`.
        selection: Selection,
        /// `slow_start_config`.
        slow_start: Option<SlowStart>,
    },
    /// `envoy.load_balancing_policies.random`.
    Random,
    /// `envoy.load_balancing_policies.peak_ewma`.
    PeakEwma {
        /// `decay_time`, in microseconds: what `Request::latency` is made
        /// with.
        decay_us: u64,
        /// `default_rtt`, in milliseconds: the latency of a host without
        /// samples.
        default_rtt_ms: f64,
        /// `penalty_value`: what a host costs that has requests in flight and
        /// has not answered one.
        penalty: f64,
    },
    /// `envoy.load_balancing_policies.client_side_weighted_round_robin`: round
    /// robin by the weights that are calculated from load reports.
    ClientSideWeightedRoundRobin {
        /// `slow_start_config`.
        slow_start: Option<SlowStart>,
    },
    /// `envoy.load_balancing_policies.ring_hash`.
    RingHash {
        /// `minimum_ring_size`.
        min_size: u64,
        /// `maximum_ring_size`, not below the minimum, at most 8 Mi.
        max_size: u64,
        /// `hash_function`.
        function: HashFunction,
        /// `hash_balance_factor` in percent.
        balance_factor: Option<u32>,
    },
    /// `envoy.load_balancing_policies.maglev`.
    Maglev {
        /// `table_size`, a prime number of at most 5,000,011
        /// (`maglev::is_prime`); another one counts as the next prime.
        table_size: u32,
        /// `hash_balance_factor` in percent.
        balance_factor: Option<u32>,
    },
}

/// `LeastRequest.SelectionMethod`: which hosts are compared where weights are
/// equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// `N_CHOICES`: some that are drawn at random.
    #[default]
    NChoices,
    /// `FULL_SCAN`: all.
    FullScan,
}

/// `RingHash.HashFunction`: what puts hosts on the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashFunction {
    /// `XX_HASH`.
    #[default]
    XxHash,
    /// `MURMUR_HASH_2`.
    MurmurHash2,
}

/// `SlowStartConfig`: a host that has just become healthy gets less at first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// `slow_start_window`, in milliseconds.
    pub window_ms: u64,
    /// `aggression`: 1 grows linearly, more grows faster at first.
    pub aggression: f64,
    /// `min_weight_percent`: the part of its weight, in percent, that a host
    /// has at least.
    pub min_weight_percent: f64,
}

/// Which hosts may be used
/// (`envoy.config.cluster.v3.Cluster.CommonLbConfig` and
/// `envoy.config.endpoint.v3.ClusterLoadAssignment.Policy`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Common {
    /// `healthy_panic_threshold` in percent; rounded to a whole number as
    /// Envoy does.
    pub healthy_panic_threshold: f64,
    /// `overprovisioning_factor` in percent.
    pub overprovisioning_factor: u32,
    /// `weighted_priority_health`: availability by weights, not by numbers.
    pub weighted_priority_health: bool,
    /// How localities share.
    pub locality: LocalityMode,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            healthy_panic_threshold: 50.0,
            overprovisioning_factor: 140,
            weighted_priority_health: false,
            locality: LocalityMode::None,
        }
    }
}

/// How the localities of a priority share its requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LocalityMode {
    /// They do not matter.
    None,
    /// `locality_weighted_lb_config`.
    Weighted,
    /// `zone_aware_lb_config`.
    ZoneAware(ZoneAware),
}

/// `zone_aware_lb_config`: requests stay in this proxy's own zone as far as
/// its share of the hosts goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZoneAware {
    /// `routing_enabled` in percent of the requests; rounded to a whole number
    /// as Envoy does.
    pub routing_enabled: f64,
    /// `min_cluster_size`: with fewer healthy hosts zones do not matter.
    pub min_cluster_size: u64,
    /// `fail_traffic_on_panic`: no host instead of all of them.
    pub fail_traffic_on_panic: bool,
    /// `force_local_zone.min_size`: everything stays in the own zone while it
    /// has so many healthy hosts. `force_locality_direct_routing` means 1.
    pub force_local_zone_min_size: Option<u32>,
    /// `locality_basis`: what a zone's share is made of.
    pub locality_basis: LocalityBasis,
}

/// `ZoneAwareLbConfig.LocalityBasis`: what the share of a zone is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalityBasis {
    /// `HEALTHY_HOSTS_NUM`.
    #[default]
    HealthyHostsNum,
    /// `HEALTHY_HOSTS_WEIGHT`.
    HealthyHostsWeight,
}

impl Default for ZoneAware {
    fn default() -> Self {
        Self {
            routing_enabled: 100.0,
            min_cluster_size: 6,
            fail_traffic_on_panic: false,
            force_local_zone_min_size: None,
            locality_basis: LocalityBasis::default(),
        }
    }
}

/// `envoy.load_balancing_policies.subset` and `LbSubsetConfig`: hosts are
/// chosen by their metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subset {
    /// `subset_selectors`; without one there are no subsets.
    pub selectors: Vec<Selector>,
    /// `fallback_policy`: what is done when no subset is right.
    pub fallback_policy: FallbackPolicy,
    /// `default_subset`.
    pub default_subset: Vec<(Arc<str>, Value)>,
    /// `allow_redundant_keys`: a request may ask for more than a selector has.
    pub allow_redundant_keys: bool,
    /// `locality_weight_aware`: localities keep their weights in subsets.
    pub locality_weight_aware: bool,
    /// `scale_locality_weight`: in proportion to the hosts that are left.
    pub scale_locality_weight: bool,
    /// `panic_mode_any`: any host when the fallback finds none.
    pub panic_mode_any: bool,
    /// `list_as_any`: a list of values means each of them.
    pub list_as_any: bool,
    /// `metadata_fallback_policy` is `FALLBACK_LIST`: the request's
    /// `fallback_list` is tried one by one.
    pub metadata_fallback_list: bool,
}

/// `LbSubsetSelector`: which keys a subset is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `keys`, in any order.
    pub keys: Vec<Arc<str>>,
    /// `fallback_policy` and `fallback_keys_subset`.
    pub fallback_policy: SelectorFallback,
    /// `single_host_per_subset`.
    pub single_host_per_subset: bool,
}

/// `LbSubsetFallbackPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FallbackPolicy {
    /// `NO_FALLBACK`: no host.
    #[default]
    NoFallback,
    /// `ANY_ENDPOINT`: all hosts.
    AnyEndpoint,
    /// `DEFAULT_SUBSET`: the hosts of the default subset.
    DefaultSubset,
}

/// `LbSubsetSelectorFallbackPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SelectorFallback {
    /// `NOT_DEFINED`: that of the whole.
    #[default]
    NotDefined,
    /// `NO_FALLBACK`.
    NoFallback,
    /// `ANY_ENDPOINT`.
    AnyEndpoint,
    /// `DEFAULT_SUBSET`.
    DefaultSubset,
    /// `KEYS_SUBSET`: once more with these keys only; they are some, not all,
    /// of the selector's keys.
    KeysSubset(Vec<Arc<str>>),
}
