//! Policies that hash requests: ring hash and Maglev, in both forms, and what
//! they have in common (`ConsistentHashingLbConfig`).

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::cluster as cluster_pb;
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3 as common_pb;
use envoy_types::pb::envoy::extensions::load_balancing_policies::maglev::v3::Maglev;
use envoy_types::pb::envoy::extensions::load_balancing_policies::ring_hash::v3::{
    RingHash, ring_hash as ring_pb,
};
use ringway_lb::config::{HashFunction, Policy};
use ringway_lb::maglev::{TABLE_SIZE_MAX, is_prime};

use crate::context::Cx;
use crate::route::HashPolicies;

/// What a policy that hashes needs besides its table.
#[derive(Clone, Debug, Default)]
pub struct Hashing {
    /// `use_hostname_for_hashing`: a host's place follows from its name instead
    /// of its address.
    pub by_hostname: bool,
    /// Hash policies of the cluster, which take the place of the route's.
    pub policies: Option<Arc<HashPolicies>>,
}

/// Envoy's defaults.
const RING_SIZE_MIN_DEFAULT: u64 = 1024;
const RING_SIZE_MAX_DEFAULT: u64 = 8 << 20;
const TABLE_SIZE_DEFAULT: u32 = 65_537;

/// The older form of ring hash; `common` is what the cluster says for all
/// policies that hash.
pub(super) fn older_ring_hash(
    config: Option<&cluster_pb::RingHashLbConfig>,
    common: Option<&Common>,
    cx: &mut Cx<'_>,
) -> Policy {
    use cluster_pb::ring_hash_lb_config::HashFunction as Function;
    let function = match config.map(|config| config.hash_function()) {
        None | Some(Function::XxHash) => HashFunction::XxHash,
        Some(Function::MurmurHash2) => HashFunction::MurmurHash2,
    };
    let sizes = [
        config.and_then(|config| config.minimum_ring_size),
        config.and_then(|config| config.maximum_ring_size),
    ]
    .map(|size| size.map(|size| size.value));
    cx.field("ring_hash_lb_config", |cx| {
        ring_hash(sizes, function, balance_factor(common), cx)
    })
}

/// The older form of Maglev.
pub(super) fn older_maglev(
    config: Option<&cluster_pb::MaglevLbConfig>,
    common: Option<&Common>,
    cx: &mut Cx<'_>,
) -> Policy {
    let size = config.and_then(|config| config.table_size);
    cx.field("maglev_lb_config", |cx| {
        maglev(size.map(|size| size.value), balance_factor(common), cx)
    })
}

/// What a cluster of the older form says of hashing.
pub(super) fn older_hashing(common: Option<&Common>) -> Hashing {
    Hashing {
        by_hostname: common.is_some_and(|common| common.use_hostname_for_hashing),
        policies: None,
    }
}

/// The older form of what policies that hash have in common.
pub(super) type Common = cluster_pb::common_lb_config::ConsistentHashingLbConfig;

fn balance_factor(common: Option<&Common>) -> Option<u32> {
    Some(common?.hash_balance_factor?.value)
}

/// The newer form of ring hash. Two of its fields are an older place for what
/// all policies that hash have in common, and the newer place wins.
#[expect(deprecated, reason = "files written for older Envoys still use them")]
pub(super) fn typed_ring_hash(proto: &RingHash, cx: &mut Cx<'_>) -> Option<(Policy, Hashing)> {
    use ring_pb::HashFunction as Function;
    let function = match proto.hash_function() {
        Function::DefaultHash | Function::XxHash => HashFunction::XxHash,
        Function::MurmurHash2 => HashFunction::MurmurHash2,
    };
    let (factor, hashing) = match &proto.consistent_hashing_lb_config {
        Some(common) => typed_common(common, cx)?,
        None => (
            proto.hash_balance_factor.map(|factor| factor.value),
            Hashing {
                by_hostname: proto.use_hostname_for_hashing,
                policies: None,
            },
        ),
    };
    let sizes = [proto.minimum_ring_size, proto.maximum_ring_size];
    let sizes = sizes.map(|size| size.map(|size| size.value));
    Some((ring_hash(sizes, function, factor, cx), hashing))
}

/// The newer form of Maglev.
pub(super) fn typed_maglev(proto: &Maglev, cx: &mut Cx<'_>) -> Option<(Policy, Hashing)> {
    let (factor, hashing) = match &proto.consistent_hashing_lb_config {
        Some(common) => typed_common(common, cx)?,
        None => Default::default(),
    };
    let size = proto.table_size.map(|size| size.value);
    Some((maglev(size, factor, cx), hashing))
}

fn typed_common(
    proto: &common_pb::ConsistentHashingLbConfig,
    cx: &mut Cx<'_>,
) -> Option<(Option<u32>, Hashing)> {
    cx.field("consistent_hashing_lb_config", |cx| {
        let policies = HashPolicies::lower(&proto.hash_policy, "hash_policy", cx)?;
        let hashing = Hashing {
            by_hostname: proto.use_hostname_for_hashing,
            policies: policies.map(Arc::new),
        };
        let factor = proto.hash_balance_factor.map(|factor| factor.value);
        Some((factor, hashing))
    })
}

fn ring_hash(
    [min, max]: [Option<u64>; 2],
    function: HashFunction,
    balance_factor: Option<u32>,
    cx: &mut Cx<'_>,
) -> Policy {
    let min_size = min.unwrap_or(RING_SIZE_MIN_DEFAULT);
    let max_size = max.unwrap_or(RING_SIZE_MAX_DEFAULT);
    if min_size > max_size {
        let max = cx.field("maximum_ring_size", |cx| cx.source());
        cx.error_at(
            "minimum_ring_size",
            format!("{min_size} is more than maximum_ring_size, which is {max_size} ({max})"),
        );
    }
    Policy::RingHash {
        min_size,
        max_size,
        function,
        balance_factor,
    }
}

fn maglev(size: Option<u64>, balance_factor: Option<u32>, cx: &mut Cx<'_>) -> Policy {
    let size = size.unwrap_or(u64::from(TABLE_SIZE_DEFAULT));
    let table_size = u32::try_from(size).ok().filter(|size| is_prime(*size));
    if table_size.is_none_or(|size| size > TABLE_SIZE_MAX) {
        cx.error_at(
            "table_size",
            format!("{size} is not a prime number of at most {TABLE_SIZE_MAX}"),
        );
    }
    Policy::Maglev {
        table_size: table_size.unwrap_or(TABLE_SIZE_DEFAULT),
        balance_factor,
    }
}
