//! Load balancing of a cluster: the fields `lb_policy`, `*_lb_config` and
//! `common_lb_config`, or in their place `load_balancing_policy`. Both forms
//! lower to one [`ringway_lb::config::Config`].

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::cluster::v3::cluster as cluster_pb;
use envoy_types::pb::envoy::config::cluster::v3::cluster::common_lb_config::LocalityConfigSpecifier;
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3 as common_pb;
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3::locality_lb_config::{
    self as locality_pb, zone_aware_lb_config as zone_pb,
};
use envoy_types::pb::envoy::extensions::load_balancing_policies::{
    random::v3::Random, round_robin::v3::RoundRobin,
};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::Any;
use ringway_lb::config::{
    Common, Config, LocalityBasis, LocalityMode, Policy, SlowStart, ZoneAware,
};

use crate::context::{Cx, type_name, unpack};
use crate::core;

/// Lowers what a cluster says about balancing.
pub(crate) fn lower(proto: &pb::Cluster, cx: &mut Cx<'_>) -> Config {
    let common = common(proto.common_lb_config.as_ref());
    match &proto.load_balancing_policy {
        Some(policies) => cx.field("load_balancing_policy", |cx| typed(policies, common, cx)),
        None => Config {
            policy: by_enum(proto, cx),
            common,
        },
    }
}

/// The policy as `lb_policy` calls it.
pub fn policy_name(policy: &Policy) -> &'static str {
    match policy {
        Policy::RoundRobin { .. } => "ROUND_ROBIN",
        Policy::Random => "RANDOM",
    }
}

fn common(proto: Option<&cluster_pb::CommonLbConfig>) -> Common {
    let Some(proto) = proto else {
        return with_zones(Common::default());
    };
    let locality = match &proto.locality_config_specifier {
        None => LocalityMode::ZoneAware(ZoneAware::default()),
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)) => LocalityMode::Weighted,
        Some(LocalityConfigSpecifier::ZoneAwareLbConfig(zone)) => {
            LocalityMode::ZoneAware(ZoneAware {
                routing_enabled: percent(zone.routing_enabled, ALL),
                min_cluster_size: zone
                    .min_cluster_size
                    .map_or(ZoneAware::default().min_cluster_size, |size| size.value),
                fail_traffic_on_panic: zone.fail_traffic_on_panic,
                ..ZoneAware::default()
            })
        }
    };
    Common {
        healthy_panic_threshold: percent(
            proto.healthy_panic_threshold,
            Common::default().healthy_panic_threshold,
        ),
        locality,
        ..Common::default()
    }
}

/// As Envoy's: zones matter wherever a cluster of this proxy's own is known,
/// whether or not zone-aware routing is configured.
fn with_zones(common: Common) -> Common {
    Common {
        locality: LocalityMode::ZoneAware(ZoneAware::default()),
        ..common
    }
}

const ALL: f64 = 100.0;

fn percent(proto: Option<Percent>, default: f64) -> f64 {
    proto.map_or(default, |percent| percent.value)
}

/// The policy of the older form.
fn by_enum(proto: &pb::Cluster, cx: &mut Cx<'_>) -> Policy {
    use cluster_pb::{LbConfig, LbPolicy};
    match proto.lb_policy() {
        LbPolicy::Random => Policy::Random,
        LbPolicy::LoadBalancingPolicyConfig => {
            cx.error("lb_policy: LOAD_BALANCING_POLICY_CONFIG needs a load_balancing_policy");
            Policy::Random
        }
        // The support table refuses the others.
        _ => Policy::RoundRobin {
            slow_start: match &proto.lb_config {
                Some(LbConfig::RoundRobinLbConfig(config)) => {
                    cx.field("round_robin_lb_config", |cx| {
                        let slow_start = config.slow_start_config.as_ref()?;
                        cx.field("slow_start_config", |cx| older_slow_start(slow_start, cx))
                    })
                }
                _ => None,
            },
        },
    }
}

/// The policy of the newer form: as Envoy, the first one that is known.
fn typed(policies: &pb::LoadBalancingPolicy, common: Common, cx: &mut Cx<'_>) -> Config {
    for (i, policy) in policies.policies.iter().enumerate() {
        let Some(extension) = &policy.typed_extension_config else {
            continue;
        };
        let Some(any) = &extension.typed_config else {
            continue;
        };
        let lowered = cx.index("policies", i, |cx| {
            cx.field("typed_extension_config", |cx| {
                cx.field("typed_config", |cx| by_type(any, common, cx))
            })
        });
        if let Some(config) = lowered {
            return config;
        }
    }
    cx.error("none of the policies is known");
    Config {
        policy: Policy::Random,
        common,
    }
}

/// `None` for a type that is not known.
fn by_type(any: &Any, common: Common, cx: &mut Cx<'_>) -> Option<Config> {
    let at = |locality: Option<&common_pb::LocalityLbConfig>| Common {
        locality: locality_mode(locality),
        ..common
    };
    match type_name(&any.type_url) {
        "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin" => {
            let proto = unpack::<RoundRobin>(any, cx)?;
            Some(Config {
                policy: Policy::RoundRobin {
                    slow_start: slow_start(proto.slow_start_config.as_ref(), cx),
                },
                common: at(proto.locality_lb_config.as_ref()),
            })
        }
        "envoy.extensions.load_balancing_policies.random.v3.Random" => {
            let proto = unpack::<Random>(any, cx)?;
            Some(Config {
                policy: Policy::Random,
                common: at(proto.locality_lb_config.as_ref()),
            })
        }
        _ => None,
    }
}

fn locality_mode(proto: Option<&common_pb::LocalityLbConfig>) -> LocalityMode {
    use locality_pb::LocalityConfigSpecifier as Specifier;
    let specifier = proto.and_then(|proto| proto.locality_config_specifier.as_ref());
    match specifier {
        None => LocalityMode::ZoneAware(ZoneAware::default()),
        Some(Specifier::LocalityWeightedLbConfig(_)) => LocalityMode::Weighted,
        Some(Specifier::ZoneAwareLbConfig(zone)) => LocalityMode::ZoneAware(zone_aware(zone)),
    }
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

fn slow_start(proto: Option<&common_pb::SlowStartConfig>, cx: &mut Cx<'_>) -> Option<SlowStart> {
    let proto = proto?;
    cx.field("slow_start_config", |cx| {
        Some(SlowStart {
            window_ms: window_ms(proto.slow_start_window, cx)?,
            aggression: aggression(proto.aggression.as_ref().map(|value| value.default_value)),
            min_weight_percent: percent(proto.min_weight_percent, MIN_WEIGHT_PERCENT),
        })
    })
}

fn older_slow_start(proto: &cluster_pb::SlowStartConfig, cx: &mut Cx<'_>) -> Option<SlowStart> {
    Some(SlowStart {
        window_ms: window_ms(proto.slow_start_window, cx)?,
        aggression: aggression(proto.aggression.as_ref().map(|value| value.default_value)),
        min_weight_percent: percent(proto.min_weight_percent, MIN_WEIGHT_PERCENT),
    })
}

/// Envoy's defaults: linear, and a tenth at the least.
const MIN_WEIGHT_PERCENT: f64 = 10.0;

fn aggression(given: Option<f64>) -> f64 {
    given.unwrap_or(1.0)
}

fn window_ms(
    proto: Option<envoy_types::pb::google::protobuf::Duration>,
    cx: &mut Cx<'_>,
) -> Option<u64> {
    let window = core::duration(proto, "slow_start_window", cx)?;
    u64::try_from(window.as_millis()).ok()
}
