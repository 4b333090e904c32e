//! Balancing as fields of the cluster: `lb_policy`, a `*_lb_config`, and
//! `common_lb_config`.

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::cluster::v3::cluster as cluster_pb;
use envoy_types::pb::envoy::config::cluster::v3::cluster::common_lb_config::LocalityConfigSpecifier;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{LbConfig, LbPolicy};
use envoy_types::pb::google::protobuf::UInt64Value;
use ringway_lb::config::{HashFunction, LocalityMode, Policy, Selection, ZoneAware};

use super::{
    ALL, BIAS, Balancing, CHOICES, maglev_table_size, percent, ring_sizes, runtime_double, subset,
};
use crate::context::Cx;
use crate::core;

impl Balancing {
    pub(super) fn take_older(&mut self, proto: &pb::Cluster, cx: &mut Cx<'_>) {
        let common = proto.common_lb_config.as_ref();
        if let Some(mode) = common.and_then(|common| common.locality_config_specifier.as_ref()) {
            self.config.common.locality = locality_mode(mode);
        }
        let hashing = common.and_then(|common| common.consistent_hashing_lb_config);
        self.hashes_hostname = hashing.is_some_and(|hashing| hashing.use_hostname_for_hashing);
        // As Envoy. The newer form takes names wherever hosts have some.
        if self.hashes_hostname && !is_strict_dns(proto) {
            cx.error_at(
                "common_lb_config.consistent_hashing_lb_config.use_hostname_for_hashing",
                "needs a cluster of type STRICT_DNS; use load_balancing_policy",
            );
        }
        let balance_factor = hashing
            .and_then(|hashing| hashing.hash_balance_factor)
            .map(|factor| factor.value);
        let weighted = self.config.common.locality == LocalityMode::Weighted;
        self.config.subset = (proto.lb_subset_config.as_ref()).and_then(|config| {
            cx.field("lb_subset_config", |cx| {
                subset::lower_older(config, weighted, cx)
            })
        });
        let given = proto.lb_config.as_ref();
        self.config.policy = match proto.lb_policy() {
            LbPolicy::Random => Policy::Random,
            LbPolicy::LeastRequest => self.least_request(given, cx),
            LbPolicy::RingHash => ring_hash(given, balance_factor, cx),
            LbPolicy::Maglev => maglev(given, balance_factor, cx),
            LbPolicy::LoadBalancingPolicyConfig => {
                cx.error_at(
                    "lb_policy",
                    "LOAD_BALANCING_POLICY_CONFIG needs a load_balancing_policy",
                );
                Policy::Random
            }
            LbPolicy::ClusterProvided => {
                self.is_provided = true;
                if proto.lb_subset_config.is_some() {
                    cx.error_at("lb_subset_config", "CLUSTER_PROVIDED knows no subsets");
                }
                Policy::Random
            }
            LbPolicy::RoundRobin => self.round_robin(given, cx),
        };
    }

    fn round_robin(&mut self, given: Option<&LbConfig>, cx: &mut Cx<'_>) -> Policy {
        let slow_start = match given {
            Some(LbConfig::RoundRobinLbConfig(config)) => cx.field("round_robin_lb_config", |cx| {
                let fields = config.slow_start_config.as_ref();
                self.slow_start(fields.map(Into::into), cx)
            }),
            _ => None,
        };
        Policy::RoundRobin { slow_start }
    }

    fn least_request(&mut self, given: Option<&LbConfig>, cx: &mut Cx<'_>) -> Policy {
        let config = match given {
            Some(LbConfig::LeastRequestLbConfig(config)) => config.clone(),
            _ => cluster_pb::LeastRequestLbConfig::default(),
        };
        cx.field("least_request_lb_config", |cx| {
            let (bias, key) = runtime_double(config.active_request_bias.as_ref(), BIAS, cx);
            self.keys.active_request_bias = key;
            Policy::LeastRequest {
                choices: core::u32_or(config.choice_count, CHOICES),
                bias,
                selection: Selection::NChoices,
                slow_start: self.slow_start(config.slow_start_config.as_ref().map(Into::into), cx),
            }
        })
    }
}

fn is_strict_dns(proto: &pb::Cluster) -> bool {
    use cluster_pb::{ClusterDiscoveryType, DiscoveryType};
    match &proto.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => *kind == DiscoveryType::StrictDns as i32,
        Some(ClusterDiscoveryType::ClusterType(_)) | None => false,
    }
}

fn ring_hash(given: Option<&LbConfig>, balance_factor: Option<u32>, cx: &mut Cx<'_>) -> Policy {
    use cluster_pb::ring_hash_lb_config::HashFunction as Given;
    let config = match given {
        Some(LbConfig::RingHashLbConfig(config)) => *config,
        _ => cluster_pb::RingHashLbConfig::default(),
    };
    cx.field("ring_hash_lb_config", |cx| {
        let size = |size: Option<_>| size.map(|size: UInt64Value| size.value);
        let (min_size, max_size) = ring_sizes(
            size(config.minimum_ring_size),
            size(config.maximum_ring_size),
            cx,
        );
        Policy::RingHash {
            min_size,
            max_size,
            function: match config.hash_function() {
                Given::XxHash => HashFunction::XxHash,
                Given::MurmurHash2 => HashFunction::MurmurHash2,
            },
            balance_factor,
        }
    })
}

fn maglev(given: Option<&LbConfig>, balance_factor: Option<u32>, cx: &mut Cx<'_>) -> Policy {
    let size = match given {
        Some(LbConfig::MaglevLbConfig(config)) => config.table_size.map(|size| size.value),
        _ => None,
    };
    cx.field("maglev_lb_config", |cx| Policy::Maglev {
        table_size: maglev_table_size(size, cx),
        balance_factor,
    })
}

fn locality_mode(specifier: &LocalityConfigSpecifier) -> LocalityMode {
    let default = ZoneAware::default();
    match specifier {
        LocalityConfigSpecifier::LocalityWeightedLbConfig(_) => LocalityMode::Weighted,
        LocalityConfigSpecifier::ZoneAwareLbConfig(zone) => LocalityMode::ZoneAware(ZoneAware {
            routing_enabled: percent(zone.routing_enabled, ALL),
            min_cluster_size: zone
                .min_cluster_size
                .map_or(default.min_cluster_size, |size| size.value),
            fail_traffic_on_panic: zone.fail_traffic_on_panic,
            ..default
        }),
    }
}
