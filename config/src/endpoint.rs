//! Endpoints (`envoy.config.endpoint.v3`): the hosts of a cluster. Compiled
//! types on top, lowering below.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::HealthStatus;
use envoy_types::pb::envoy::config::endpoint::v3 as pb;
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::policy::DropOverload as DropOverloadProto;

use crate::context::Cx;
use crate::core::{self, Address, Locality};
use crate::happy_eyeballs::HappyEyeballs;
use crate::matcher::HostMetadata;
use crate::metadata::Metadata;
use crate::proxy_protocol::{self, Tlv};
use crate::runtime::{FractionalPercent, RuntimeKey, RuntimeValues};

/// The hosts of a cluster and how they are grouped
/// (`endpoint.v3.ClusterLoadAssignment`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assignment {
    /// All hosts, in the order of the configuration.
    pub hosts: Arc<[Arc<Host>]>,
    /// The groups that hosts name by [`Host::group`].
    pub groups: Arc<[Group]>,
    /// How the assignment as a whole is to be read.
    pub policy: Policy,
}

impl Assignment {
    /// Of a cluster whose hosts come as they are needed: they are all alike.
    pub(crate) fn on_demand() -> Self {
        let group = Group {
            locality: Arc::default(),
            priority: 0,
            weight: None,
        };
        Self {
            groups: Arc::new([group]),
            ..Self::default()
        }
    }
}

/// `endpoint.v3.ClusterLoadAssignment.Policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Percent: hosts of a priority are taken for enough as long as this part
    /// of them times the healthy ones makes 100.
    pub overprovisioning_factor: u32,
    /// A priority's health is the healthy part of its weight, not of the
    /// number of its hosts.
    pub weighted_priority_health: bool,
    /// Requests that are refused because whoever assigns the hosts knows that
    /// they are too many (`drop_overloads`).
    pub drop_overload: Option<DropOverload>,
}

/// What part of the requests is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropOverload {
    /// Of a million.
    pub parts: u32,
    /// `load_balancing_policy.drop_overload_limit`, in percent: more are not.
    pub limit_key: RuntimeKey,
}

impl DropOverload {
    /// Whether the request with this random number is refused.
    #[must_use]
    pub fn refuses(self, number: u64, runtime: &RuntimeValues) -> Option<Refused> {
        match self.parts_now(runtime) {
            PARTS => Some(Refused::All),
            parts => (number % PARTS < parts).then_some(Refused::Some),
        }
    }

    /// The percentage that is refused, as the runtime is now.
    #[must_use]
    pub fn percent(self, runtime: &RuntimeValues) -> f64 {
        self.parts_now(runtime) as f64 * 100.0 / PARTS as f64
    }

    fn parts_now(self, runtime: &RuntimeValues) -> u64 {
        let limit = runtime.integer(self.limit_key, 100).min(100) * (PARTS / 100);
        u64::from(self.parts).min(limit)
    }
}

/// A request is refused, with a part of the others or with all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// All.
    All,
    /// A part.
    Some,
}

/// Of which so many requests are refused.
const PARTS: u64 = 1_000_000;

/// Envoy's defaults.
impl Default for Policy {
    fn default() -> Self {
        Self {
            overprovisioning_factor: 140,
            weighted_priority_health: false,
            drop_overload: None,
        }
    }
}

/// Hosts of one locality and one priority (`endpoint.v3.LocalityLbEndpoints`).
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Where they run.
    pub locality: Arc<Locality>,
    /// 0 is the first choice.
    pub priority: u32,
    /// The locality's share of its priority's requests, relative to the other
    /// localities'. Only locality-weighted balancing reads it.
    pub weight: Option<u32>,
}

/// One upstream host (`endpoint.v3.LbEndpoint`).
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Where to connect to.
    pub address: Address,
    /// The endpoint's `hostname`, for `auto_host_rewrite` and logs; empty
    /// when not given.
    pub hostname: Arc<str>,
    /// Share of the requests, relative to its peers; at least 1.
    pub weight: u32,
    /// Index of its [`Group`] in the assignment.
    pub group: u32,
    /// What whoever configured it knows of its health.
    pub health: AssignedHealth,
    /// What the configuration says of it, for balancing and logs.
    pub metadata: Arc<Metadata>,
    /// It is on trial (`canary` in the metadata of the load balancer): what it
    /// answers is counted apart, too.
    pub canary: bool,
    /// What few hosts have.
    pub rare: Option<Box<Rare>>,
}

impl Host {
    /// All its addresses in the order in which they are tried; empty when it
    /// has but the one.
    #[must_use]
    pub fn attempts(&self) -> &[Address] {
        self.rare.as_ref().map_or(&[], |rare| &rare.attempts)
    }

    /// How its health is checked in another way than its peers'.
    #[must_use]
    pub fn health_check(&self) -> Option<&HostCheck> {
        self.rare.as_ref()?.health_check.as_ref()
    }

    /// What is said of it and of all hosts of its locality, for matchers.
    #[must_use]
    pub fn described(&self) -> HostMetadata<'_> {
        let rare = self.rare.as_ref();
        HostMetadata {
            own: (!self.metadata.is_empty()).then_some(&*self.metadata),
            locality: rare.and_then(|rare| rare.locality_metadata.as_deref()),
        }
    }

    /// What headers of PROXY protocol say to it, besides what they say to its
    /// peers.
    #[must_use]
    pub fn proxy_protocol(&self) -> &[Tlv] {
        self.rare.as_ref().map_or(&[], |rare| &rare.proxy_protocol)
    }
}

/// What few hosts have, apart so that the others are small: there may be ten
/// thousands of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Rare {
    /// See [`Host::attempts`].
    pub attempts: Box<[Address]>,
    /// See [`Host::health_check`].
    pub health_check: Option<HostCheck>,
    /// What is said of all hosts of its locality.
    pub locality_metadata: Option<Arc<Metadata>>,
    /// See [`Host::proxy_protocol`].
    pub proxy_protocol: Box<[Tlv]>,
}

impl Host {
    /// A host of which no configuration says anything, the only kind in its
    /// cluster.
    #[must_use]
    pub fn at(address: Address, hostname: Arc<str>) -> Self {
        Self {
            address,
            hostname,
            weight: 1,
            canary: false,
            group: 0,
            health: AssignedHealth::default(),
            metadata: Arc::default(),
            rare: None,
        }
    }
}

/// `endpoint.v3.Endpoint.HealthCheckConfig`.
#[derive(Clone, Debug, PartialEq)]
pub struct HostCheck {
    /// Where it is checked, if not at its own address.
    pub address: Option<Address>,
    /// The authority of checks.
    pub hostname: Box<str>,
    /// It is not checked, and taken for healthy.
    pub disabled: bool,
}

/// A host whose addresses have to be found first.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The name, or an address that is written like one.
    pub name: Arc<str>,
    /// The port of every address.
    pub port: u16,
    /// The host that an address makes; its own is the unspecified one.
    pub host: Host,
}

impl Target {
    /// The host with one of the addresses that were found.
    #[must_use]
    pub fn host_at(&self, ip: IpAddr) -> Host {
        let mut host = Host {
            address: Address::Socket(SocketAddr::new(ip, self.port)),
            ..self.host.clone()
        };
        // Checked at another port, but not at another address.
        if let Some(rare) = &mut host.rare
            && let Some(check) = &mut rare.health_check
            && let Some(Address::Socket(address)) = &mut check.address
            && address.ip().is_unspecified()
        {
            address.set_ip(ip);
        }
        host
    }
}

/// `endpoint.v3.LbEndpoint.health_status`, as far as Envoy tells the values
/// apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AssignedHealth {
    /// `HEALTHY`, `UNKNOWN`.
    #[default]
    Healthy,
    /// `DEGRADED`: used when the healthy ones are too few.
    Degraded,
    /// `UNHEALTHY`, `TIMEOUT`.
    Unhealthy,
    /// `DRAINING`: as unhealthy, for a reason of its own.
    Draining,
}

/// Lowers hosts that have addresses.
pub(crate) fn lower(
    proto: &pb::ClusterLoadAssignment,
    order: HappyEyeballs,
    cx: &mut Cx<'_>,
) -> Assignment {
    let mut hosts = Vec::new();
    let lowering = Lowering {
        order,
        ..Lowering::default()
    };
    let groups = lower_groups(lowering, proto, cx, |lowering, endpoint, group, cx| {
        hosts.extend(lowering.host(endpoint, group, cx).map(Arc::new));
    });
    Assignment {
        hosts: hosts.into(),
        groups,
        policy: policy(proto.policy.as_ref(), cx),
    }
}

/// Lowers the names of a cluster that looks them up: an assignment without
/// hosts, and what they are to be made of.
pub(crate) fn lower_targets(
    proto: &pb::ClusterLoadAssignment,
    cx: &mut Cx<'_>,
) -> (Assignment, Vec<Target>) {
    let mut targets = Vec::new();
    let lowering = Lowering::default();
    let groups = lower_groups(lowering, proto, cx, |lowering, endpoint, group, cx| {
        targets.extend(lowering.target(endpoint, group, cx));
    });
    let assignment = Assignment {
        hosts: Arc::default(),
        groups,
        policy: policy(proto.policy.as_ref(), cx),
    };
    (assignment, targets)
}

fn lower_groups(
    mut lowering: Lowering,
    proto: &pb::ClusterLoadAssignment,
    cx: &mut Cx<'_>,
    mut each: impl FnMut(&Lowering, &pb::LbEndpoint, u32, &mut Cx<'_>),
) -> Arc<[Group]> {
    for (i, group) in proto.endpoints.iter().enumerate() {
        cx.index("endpoints", i, |cx| lowering.group(group, cx, &mut each));
    }
    lowering.groups.into()
}

fn policy(proto: Option<&pb::cluster_load_assignment::Policy>, cx: &mut Cx<'_>) -> Policy {
    let default = Policy::default();
    proto.map_or(default, |proto| Policy {
        overprovisioning_factor: core::u32_or(
            proto.overprovisioning_factor,
            default.overprovisioning_factor,
        ),
        weighted_priority_health: proto.weighted_priority_health,
        drop_overload: cx.field("policy", |cx| drop_overload(&proto.drop_overloads, cx)),
    })
}

fn drop_overload(protos: &[DropOverloadProto], cx: &mut Cx<'_>) -> Option<DropOverload> {
    let first = protos.first()?;
    if protos.len() > 1 {
        let reason = "only one category is known, as in Envoy";
        cx.index("drop_overloads", 1, |cx| cx.error(reason));
        return None;
    }
    let share = first
        .drop_percentage
        .as_ref()
        .map(FractionalPercent::lower)?;
    if share.numerator > share.denominator {
        cx.index("drop_overloads", 0, |cx| {
            cx.error_at(
                "drop_percentage",
                "more than all requests cannot be refused",
            );
        });
        return None;
    }
    let parts = u64::from(share.numerator) * PARTS / u64::from(share.denominator);
    let drop = DropOverload {
        parts: parts as u32,
        limit_key: (cx.runtime_keys).id("load_balancing_policy.drop_overload_limit"),
    };
    (parts > 0).then_some(drop)
}

/// What hosts share is made once: there may be ten thousands of them.
#[derive(Default)]
struct Lowering {
    groups: Vec<Group>,
    order: HappyEyeballs,
    no_name: Arc<str>,
    no_metadata: Arc<Metadata>,
    /// That of the last group.
    locality_metadata: Option<Arc<Metadata>>,
}

impl Lowering {
    fn group(
        &mut self,
        proto: &pb::LocalityLbEndpoints,
        cx: &mut Cx<'_>,
        each: &mut impl FnMut(&Lowering, &pb::LbEndpoint, u32, &mut Cx<'_>),
    ) {
        let group = self.groups.len() as u32;
        let weight = proto.load_balancing_weight.map(|weight| weight.value);
        self.groups.push(Group {
            locality: Arc::new(core::locality(proto.locality.as_ref())),
            priority: proto.priority,
            weight,
        });
        self.check_sum(proto.priority, weight, cx);
        let metadata = proto.metadata.as_ref();
        self.locality_metadata = metadata.map(|given| Arc::new(Metadata::from_proto(Some(given))));
        for (i, endpoint) in proto.lb_endpoints.iter().enumerate() {
            cx.index("lb_endpoints", i, |cx| each(self, endpoint, group, cx));
        }
    }

    /// Envoy adds the weights of a priority's localities up in 32 bits.
    fn check_sum(&self, priority: u32, weight: Option<u32>, cx: &mut Cx<'_>) {
        if weight.is_none() {
            return;
        }
        let of_priority = self.groups.iter().filter(|one| one.priority == priority);
        let sum: u64 = of_priority
            .filter_map(|one| one.weight)
            .map(u64::from)
            .sum();
        if sum > u64::from(u32::MAX) {
            cx.error_at(
                "load_balancing_weight",
                format!(
                    "the weights of the localities of priority {priority} add up to {sum}, \
                     more than {}",
                    u32::MAX
                ),
            );
        }
    }

    /// The addresses of a host that has more than one.
    fn attempts(
        &self,
        first: &Address,
        endpoint: &pb::Endpoint,
        cx: &mut Cx<'_>,
    ) -> Box<[Address]> {
        if endpoint.additional_addresses.is_empty() {
            return Box::default();
        }
        let mut all = vec![first.clone()];
        for (i, more) in endpoint.additional_addresses.iter().enumerate() {
            let address = cx.field("endpoint", |cx| {
                cx.index("additional_addresses", i, |cx| {
                    cx.field("address", |cx| {
                        core::address(more.address.as_ref(), NOT_AN_IP_HINT, cx)
                    })
                })
            });
            all.extend(address.map(|one| one.address));
        }
        self.order.order(all).into()
    }

    /// A host by its address.
    fn host(&self, proto: &pb::LbEndpoint, group: u32, cx: &mut Cx<'_>) -> Option<Host> {
        let endpoint = endpoint(proto, cx)?;
        let address = cx.field("endpoint", |cx| {
            cx.field("address", |cx| {
                core::address(endpoint.address.as_ref(), NOT_AN_IP_HINT, cx)
            })
        })?;
        let attempts = self.attempts(&address.address, endpoint, cx);
        Some(self.host_at(address.address, attempts, proto, (endpoint, group), cx))
    }

    /// A host by its name.
    fn target(&self, proto: &pb::LbEndpoint, group: u32, cx: &mut Cx<'_>) -> Option<Target> {
        let endpoint = endpoint(proto, cx)?;
        let (name, port) = cx.field("endpoint", |cx| {
            cx.field("address", |cx| {
                core::named_address(endpoint.address.as_ref(), cx)
            })
        })?;
        if !endpoint.additional_addresses.is_empty() {
            cx.field("endpoint", |cx| {
                cx.error_at(
                    "additional_addresses",
                    "not supported yet for hosts that are looked up by name",
                );
            });
        }
        let nowhere = Address::Socket((Ipv4Addr::UNSPECIFIED, port).into());
        let mut host = self.host_at(nowhere, Box::default(), proto, (endpoint, group), cx);
        let name: Arc<str> = name.into();
        if host.hostname.is_empty() {
            host.hostname = Arc::clone(&name);
        }
        Some(Target { name, port, host })
    }

    fn host_at(
        &self,
        address: Address,
        attempts: Box<[Address]>,
        proto: &pb::LbEndpoint,
        (endpoint, group): (&pb::Endpoint, u32),
        cx: &mut Cx<'_>,
    ) -> Host {
        let health_check = endpoint.health_check_config.as_ref().map(|config| {
            cx.field("endpoint.health_check_config", |cx| {
                host_check(config, &address, cx)
            })
        });
        let proxy_protocol = proxy_protocol::of_host(proto.metadata.as_ref(), cx);
        let is_rare = !attempts.is_empty()
            || health_check.is_some()
            || !proxy_protocol.is_empty()
            || self.locality_metadata.is_some();
        let metadata = match &proto.metadata {
            None => Arc::clone(&self.no_metadata),
            given => Arc::new(Metadata::from_proto(given.as_ref())),
        };
        Host {
            rare: is_rare.then(|| {
                Box::new(Rare {
                    attempts,
                    health_check,
                    locality_metadata: self.locality_metadata.clone(),
                    proxy_protocol,
                })
            }),
            canary: metadata.is_canary(),
            address,
            hostname: match endpoint.hostname.as_str() {
                "" => Arc::clone(&self.no_name),
                name => name.into(),
            },
            weight: core::u32_or(proto.load_balancing_weight, 1).max(1),
            group,
            health: assigned_health(proto.health_status()),
            metadata,
        }
    }
}

fn endpoint<'a>(proto: &'a pb::LbEndpoint, cx: &mut Cx<'_>) -> Option<&'a pb::Endpoint> {
    match &proto.host_identifier {
        Some(pb::lb_endpoint::HostIdentifier::Endpoint(endpoint)) => Some(endpoint),
        _ => {
            cx.error("an endpoint with an address is needed here");
            None
        }
    }
}

fn host_check(
    proto: &pb::endpoint::HealthCheckConfig,
    own: &Address,
    cx: &mut Cx<'_>,
) -> HostCheck {
    let given = proto.address.as_ref().and_then(|address| {
        let address = cx.field("address", |cx| {
            core::address(Some(address), NOT_AN_IP_HINT, cx)
        })?;
        Some(address.address)
    });
    let port = u16::try_from(proto.port_value).unwrap_or(0);
    let address = match (given.as_ref().unwrap_or(own), port) {
        (Address::Socket(socket), 1..) => Some(Address::Socket(SocketAddr::new(socket.ip(), port))),
        _ => given,
    };
    HostCheck {
        address,
        hostname: proto.hostname.as_str().into(),
        disabled: proto.disable_active_health_check,
    }
}

fn assigned_health(proto: HealthStatus) -> AssignedHealth {
    match proto {
        HealthStatus::Unknown | HealthStatus::Healthy => AssignedHealth::Healthy,
        HealthStatus::Unhealthy | HealthStatus::Timeout => AssignedHealth::Unhealthy,
        HealthStatus::Draining => AssignedHealth::Draining,
        HealthStatus::Degraded => AssignedHealth::Degraded,
    }
}

const NOT_AN_IP_HINT: &str =
    "; the hosts of a STATIC cluster are IP addresses, names need type STRICT_DNS or LOGICAL_DNS";
