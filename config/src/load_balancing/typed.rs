//! Balancing as extensions: `load_balancing_policy`, a list of which the first
//! policy that is known holds.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3 as common_pb;
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3::locality_lb_config as locality_pb;
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3::locality_lb_config::{
    LocalityConfigSpecifier, zone_aware_lb_config as zone_pb,
};
use envoy_types::pb::envoy::extensions::load_balancing_policies::{
    client_side_weighted_round_robin::v3::ClientSideWeightedRoundRobin,
    least_request::v3 as least_request_pb, maglev::v3::Maglev, override_host::v3::OverrideHost,
    random::v3::Random, ring_hash::v3 as ring_hash_pb, round_robin::v3::RoundRobin,
    subset::v3::Subset, wrr_locality::v3::WrrLocality,
};
use envoy_types::pb::google::protobuf::{Any, UInt32Value};
use ringway_lb::config::{HashFunction, LocalityBasis, LocalityMode, Policy, Selection, ZoneAware};

use super::peak_ewma::PeakEwma;
use super::{
    ALL, BIAS, Balancing, CHOICES, maglev_table_size, percent, ring_sizes, runtime_double, subset,
};
use crate::context::{Cx, type_name, unpack};
use crate::core;
use crate::route::HashPolicies;

impl Balancing {
    /// Lowers the first policy that is known, and gives its type.
    pub(super) fn take_first<'p>(
        &mut self,
        policies: &'p pb::LoadBalancingPolicy,
        cx: &mut Cx<'_>,
    ) -> Option<&'p str> {
        for (i, policy) in policies.policies.iter().enumerate() {
            let extension = policy.typed_extension_config.as_ref();
            let Some(any) = extension.and_then(|extension| extension.typed_config.as_ref()) else {
                continue;
            };
            let known = cx.index("policies", i, |cx| {
                cx.field("typed_extension_config", |cx| {
                    cx.field("typed_config", |cx| self.take(any, cx))
                })
            });
            if known {
                return Some(&any.type_url);
            }
        }
        None
    }

    /// False for a type that is not known.
    fn take(&mut self, any: &Any, cx: &mut Cx<'_>) -> bool {
        match type_name(&any.type_url) {
            "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin" => {
                if let Some(proto) = unpack::<RoundRobin>(any, cx) {
                    self.localities(proto.locality_lb_config.as_ref());
                    let fields = proto.slow_start_config.as_ref().map(Into::into);
                    let slow_start = self.slow_start(fields, cx);
                    self.config.policy = Policy::RoundRobin { slow_start };
                }
            }
            "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest" => {
                if let Some(proto) = unpack::<least_request_pb::LeastRequest>(any, cx) {
                    self.localities(proto.locality_lb_config.as_ref());
                    self.config.policy = self.typed_least_request(&proto, cx);
                }
            }
            "envoy.extensions.load_balancing_policies.random.v3.Random" => {
                if let Some(proto) = unpack::<Random>(any, cx) {
                    self.localities(proto.locality_lb_config.as_ref());
                    self.config.policy = Policy::Random;
                }
            }
            "envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin" => {
                if let Some(proto) = unpack::<ClientSideWeightedRoundRobin>(any, cx) {
                    self.take_reported_weights(&proto, cx);
                }
            }
            "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality" => {
                if let Some(proto) = unpack::<WrrLocality>(any, cx) {
                    self.take_wrr_locality(&proto, cx);
                }
            }
            "envoy.extensions.load_balancing_policies.peak_ewma.v3alpha.PeakEwma" => {
                if let Some(proto) = unpack::<PeakEwma>(any, cx) {
                    self.config.policy = proto.lower(cx);
                }
            }
            "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash" => {
                if let Some(proto) = unpack::<ring_hash_pb::RingHash>(any, cx) {
                    self.config.policy = self.typed_ring_hash(&proto, cx);
                }
            }
            "envoy.extensions.load_balancing_policies.maglev.v3.Maglev" => {
                if let Some(proto) = unpack::<Maglev>(any, cx) {
                    self.weigh_localities(proto.locality_weighted_lb_config.is_some());
                    let hashing = proto.consistent_hashing_lb_config.as_ref();
                    let balance_factor = self.consistent_hashing(hashing, cx);
                    let size = proto.table_size.map(|size| size.value);
                    self.config.policy = Policy::Maglev {
                        table_size: maglev_table_size(size, cx),
                        balance_factor,
                    };
                }
            }
            "envoy.extensions.load_balancing_policies.subset.v3.Subset" => {
                if let Some(proto) = unpack::<Subset>(any, cx) {
                    let policies = proto.subset_lb_policy.as_ref();
                    cx.field("subset_lb_policy", |cx| {
                        if policies
                            .and_then(|policies| self.take_first(policies, cx))
                            .is_none()
                        {
                            cx.error("none of these policies is known");
                        }
                    });
                    if self.override_host.is_some() {
                        cx.error_at(
                            "subset_lb_policy",
                            "an override_host policy inside of subsets is not supported: have the \
                             subsets in its fallback_policy",
                        );
                    }
                    if self.config.subset.is_some() {
                        cx.error_at("subset_lb_policy", "subsets of subsets are not supported");
                    }
                    self.config.subset = Some(subset::lower_typed(&proto, cx));
                }
            }
            "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost" => {
                if let Some(proto) = unpack::<OverrideHost>(any, cx) {
                    self.take_override_host(&proto, cx);
                }
            }
            "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided" => {
                self.is_provided = true;
            }
            _ => return false,
        }
        true
    }

    fn typed_least_request(
        &mut self,
        proto: &least_request_pb::LeastRequest,
        cx: &mut Cx<'_>,
    ) -> Policy {
        use least_request_pb::least_request::SelectionMethod;
        let (bias, key) = runtime_double(proto.active_request_bias.as_ref(), BIAS, cx);
        self.keys.active_request_bias = key;
        #[expect(deprecated, reason = "files written for older Envoys still use it")]
        let scan = core::bool_or(proto.enable_full_scan, false);
        Policy::LeastRequest {
            choices: core::u32_or(proto.choice_count, CHOICES),
            bias,
            selection: match proto.selection_method() {
                SelectionMethod::NChoices if !scan => Selection::NChoices,
                SelectionMethod::NChoices | SelectionMethod::FullScan => Selection::FullScan,
            },
            slow_start: self.slow_start(proto.slow_start_config.as_ref().map(Into::into), cx),
        }
    }

    #[expect(deprecated, reason = "files written for older Envoys still use it")]
    fn typed_ring_hash(&mut self, proto: &ring_hash_pb::RingHash, cx: &mut Cx<'_>) -> Policy {
        use ring_hash_pb::ring_hash::HashFunction as Given;
        self.weigh_localities(proto.locality_weighted_lb_config.is_some());
        let balance_factor = match &proto.consistent_hashing_lb_config {
            Some(hashing) => self.consistent_hashing(Some(hashing), cx),
            None => {
                self.hashes_hostname = proto.use_hostname_for_hashing;
                value(proto.hash_balance_factor)
            }
        };
        let (min_size, max_size) = ring_sizes(
            proto.minimum_ring_size.map(|size| size.value),
            proto.maximum_ring_size.map(|size| size.value),
            cx,
        );
        Policy::RingHash {
            min_size,
            max_size,
            function: match proto.hash_function() {
                Given::DefaultHash | Given::XxHash => HashFunction::XxHash,
                Given::MurmurHash2 => HashFunction::MurmurHash2,
            },
            balance_factor,
        }
    }

    /// Returns the balance factor.
    fn consistent_hashing(
        &mut self,
        proto: Option<&common_pb::ConsistentHashingLbConfig>,
        cx: &mut Cx<'_>,
    ) -> Option<u32> {
        let proto = proto?;
        self.hash_policies = cx.field("consistent_hashing_lb_config", |cx| {
            let policies = HashPolicies::lower(&proto.hash_policy, "hash_policy", cx);
            policies.flatten().map(Arc::new)
        });
        self.hashes_hostname = proto.use_hostname_for_hashing;
        value(proto.hash_balance_factor)
    }

    fn weigh_localities(&mut self, weighted: bool) {
        if weighted {
            self.config.common.locality = LocalityMode::Weighted;
        }
    }

    fn localities(&mut self, proto: Option<&common_pb::LocalityLbConfig>) {
        match proto.and_then(|proto| proto.locality_config_specifier.as_ref()) {
            None => {}
            Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)) => {
                self.weigh_localities(true);
            }
            Some(LocalityConfigSpecifier::ZoneAwareLbConfig(zones)) => {
                self.config.common.locality = LocalityMode::ZoneAware(zone_aware(zones));
            }
        }
    }
}

fn value(proto: Option<UInt32Value>) -> Option<u32> {
    proto.map(|value| value.value)
}

#[expect(deprecated, reason = "files written for older Envoys still use it")]
fn zone_aware(proto: &locality_pb::ZoneAwareLbConfig) -> ZoneAware {
    let min_cluster_size = proto.min_cluster_size.map(|size| size.value);
    ZoneAware {
        routing_enabled: percent(proto.routing_enabled, ALL),
        min_cluster_size: min_cluster_size.unwrap_or(ZoneAware::default().min_cluster_size),
        fail_traffic_on_panic: proto.fail_traffic_on_panic,
        force_local_zone_min_size: match &proto.force_local_zone {
            Some(force) => Some(core::u32_or(force.min_size, 1)),
            None => proto.force_locality_direct_routing.then_some(1),
        },
        locality_basis: match proto.locality_basis() {
            zone_pb::LocalityBasis::HealthyHostsNum => LocalityBasis::HealthyHostsNum,
            zone_pb::LocalityBasis::HealthyHostsWeight => LocalityBasis::HealthyHostsWeight,
        },
    }
}
