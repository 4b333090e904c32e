//! How the host of a request is chosen: the policy, the hosts that it chooses
//! from, and what the request tells it.

use ringway_config::cluster::Cluster;
use ringway_config::endpoint::{AssignedHealth, Host};
use ringway_config::load_balancing::policy_name;
use ringway_config::route::HashInput;
use ringway_lb::balancer::Balancer;
use ringway_lb::config::{Config, FallbackPolicy, HashFunction, LocalityMode, Policy, Selection};
use ringway_lb::members::{self, Describe, Health, Members};
use ringway_lb::metadata::Value as Field;
use serde_json::Value;
use std::borrow::Cow;

use super::context::Context;
use super::fact::{Fact, Place};
use super::forward::Way;
use crate::filters::http::router;
use crate::http::exchange::Exchange;
use crate::upstream::health::coarse;

/// The policy with its parameters, its hosts with their health, and the shares
/// of the priorities.
pub(super) fn explain(cluster: &Cluster, cx: &Context<'_>) -> Vec<Fact> {
    let path = &cluster.source.path;
    let set = |field: &str| cx.place(&format!("{path}.{field}"));
    let policy = cluster.assignment.policy;
    let config = cluster.balancing.in_force(policy, cx.sources.runtime);
    let candidates = candidates(cluster, cx);
    let place = match set("load_balancing_policy") {
        Place::Default => set("lb_policy"),
        written => written,
    };
    let hosts = candidates.iter().map(Candidate::fact).collect();
    vec![
        Fact::new("balancing")
            .value(policy_name(&config.policy))
            .place(place)
            .parts(parameters(&config, cluster)),
        Fact::new("candidate hosts")
            .place(match candidates.is_empty() {
                true => Place::Default,
                false => set("load_assignment"),
            })
            .items(hosts),
        loads(&config, &candidates),
    ]
}

/// A host that may be chosen.
struct Candidate<'a> {
    host: &'a Host,
    priority: u32,
    health: Health,
}

/// The hosts that the cluster has now; as they are configured, where nothing
/// runs.
fn candidates<'a>(cluster: &'a Cluster, cx: &Context<'a>) -> Vec<Candidate<'a>> {
    let mut published = cx.sources.hosts.iter();
    if let Some((_, set)) = published.find(|(id, _)| *id == cluster.id) {
        let of = |member: &'a crate::upstream::host_set::Member| Candidate {
            host: &member.config,
            priority: set.group(member).priority,
            health: coarse(&member.shared),
        };
        return set.members.iter().map(of).collect();
    }
    let assignment = &cluster.assignment;
    let of = |host: &'a std::sync::Arc<Host>| Candidate {
        host,
        priority: assignment.groups[host.group as usize].priority,
        health: match host.health {
            AssignedHealth::Healthy => Health::Healthy,
            AssignedHealth::Degraded => Health::Degraded,
            AssignedHealth::Unhealthy | AssignedHealth::Draining => Health::Unhealthy,
        },
    };
    assignment.hosts.iter().map(of).collect()
}

impl Candidate<'_> {
    fn fact(&self) -> Fact {
        let mut parts = vec![
            Fact::new("weight").value(self.host.weight),
            Fact::new("priority").value(self.priority),
            Fact::new("health").value(match self.health {
                Health::Healthy => "healthy",
                Health::Degraded => "degraded",
                Health::Unhealthy => "unhealthy",
            }),
        ];
        if !self.host.hostname.is_empty() {
            parts.push(Fact::new("hostname").value(&*self.host.hostname));
        }
        Fact::new(self.host.address.to_string()).parts(parts)
    }
}

fn parameters(config: &Config, cluster: &Cluster) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |name: &str, value: Value| facts.push(Fact::new(name).value(value));
    match &config.policy {
        Policy::LeastRequest {
            choices,
            bias,
            selection,
            ..
        } => {
            match selection {
                Selection::NChoices => add("hosts that are compared", (*choices).into()),
                Selection::FullScan => add("hosts that are compared", "all".into()),
            }
            add("active request bias", (*bias).into());
        }
        Policy::RingHash {
            min_size,
            max_size,
            function,
            ..
        } => {
            add("minimum ring size", (*min_size).into());
            add("maximum ring size", (*max_size).into());
            let function = match function {
                HashFunction::XxHash => "XX_HASH",
                HashFunction::MurmurHash2 => "MURMUR_HASH_2",
            };
            add("hash function", function.into());
        }
        Policy::Maglev { table_size, .. } => add("table size", (*table_size).into()),
        Policy::PeakEwma { default_rtt_ms, .. } => {
            add("default round trip in ms", (*default_rtt_ms).into());
        }
        Policy::RoundRobin { .. }
        | Policy::Random
        | Policy::ClientSideWeightedRoundRobin { .. } => {}
    }
    if let Policy::RingHash { balance_factor, .. } | Policy::Maglev { balance_factor, .. } =
        &config.policy
    {
        let hashed = match cluster.balancing.hashes_hostname {
            true => "hostname",
            false => "address",
        };
        add("what is hashed of a host", hashed.into());
        if let Some(percent) = balance_factor {
            add("hash balance factor", (*percent).into());
        }
    }
    if config.common.locality == LocalityMode::Weighted {
        add("localities", "by their weights".into());
    }
    add(
        "healthy panic threshold",
        config.common.healthy_panic_threshold.into(),
    );
    if let Some(subset) = &config.subset {
        let selectors = subset.selectors.iter().map(|selector| {
            let keys = selector.keys.iter();
            keys.map(|key| Value::from(&**key)).collect()
        });
        let selectors: Vec<Value> = selectors.collect();
        add("subsets by", selectors.into());
        let fallback = match subset.fallback_policy {
            FallbackPolicy::NoFallback => "NO_FALLBACK",
            FallbackPolicy::AnyEndpoint => "ANY_ENDPOINT",
            FallbackPolicy::DefaultSubset => "DEFAULT_SUBSET",
        };
        add("without a subset", fallback.into());
    }
    facts
}

/// Which share of the requests each priority gets.
fn loads(config: &Config, candidates: &[Candidate<'_>]) -> Fact {
    let hosts: Vec<_> = candidates
        .iter()
        .map(|candidate| members::Host {
            weight: candidate.host.weight,
            priority: candidate.priority,
            locality: 0,
            health: candidate.health,
            excluded: false,
            slow_start_since_ms: None,
        })
        .collect();
    // The shares do not depend on the policy, and this one has no table.
    let config = Config {
        policy: Policy::Random,
        common: config.common,
        subset: None,
    };
    let members = Members {
        hosts: &hosts,
        localities: &[],
        local: None,
        describe: &Nobody,
    };
    let balancer = Balancer::new(&config, &members);
    let state = balancer.priorities();
    let items = (0..state.loads.healthy.len()).map(|priority| {
        let mut parts = vec![Fact::new("healthy hosts").value(state.loads.healthy[priority])];
        if state.loads.degraded[priority] > 0 {
            parts.push(Fact::new("degraded hosts").value(state.loads.degraded[priority]));
        }
        let fact = Fact::new(priority.to_string()).parts(parts);
        match state.panic[priority] {
            true => fact.note("in panic: all hosts are used, whatever their health"),
            false => fact,
        }
    });
    Fact::new("priorities")
        .note("percent of the requests")
        .items(items.collect())
}

/// Says nothing about hosts: nobody asks.
struct Nobody;

impl Describe for Nobody {
    fn hash_key(&self, _host: u32) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn metadata(&self, _host: u32, _key: &str) -> Option<Field> {
        None
    }
}

/// What the request tells the balancer: its hash, and what the metadata of its
/// host must be.
pub(super) fn of_request(way: &Way<'_>, cluster: &Cluster, exchange: &Exchange) -> Fact {
    let mut parts = vec![hash_key(way, cluster, exchange)];
    let subset = router::subset(way.forward, exchange);
    if !subset.as_slice().is_empty() || cluster.balancing.has_subsets() {
        parts.push(criteria(way, cluster, exchange));
    }
    Fact::new("choice of the host").parts(parts)
}

fn hash_key(way: &Way<'_>, cluster: &Cluster, exchange: &Exchange) -> Fact {
    let fact = Fact::new("hash key");
    let hashes = matches!(
        cluster.balancing.policy(),
        Policy::RingHash { .. } | Policy::Maglev { .. }
    );
    let Some(policies) = router::hash_policies(way.forward, cluster) else {
        let note = match hashes {
            true => "the route has no hash_policy: the host is a random one",
            false => "the route has no hash_policy",
        };
        return fact.value(Value::Null).note(note);
    };
    let mut makes_cookie = false;
    let input = HashInput {
        headers: &exchange.request,
        remote: exchange.info.remote().ip(),
        filter_state: exchange.info.filter_state(),
    };
    let (hash, asked) = policies.explain(input, |_| {
        makes_cookie = true;
        None
    });
    let items = asked.iter().map(|(policy, found)| {
        let fact = Fact::new(policy.to_string()).place(way.cx.place(&policy.source.path));
        match found {
            Some(found) => fact.value(*found),
            None => fact.value(Value::Null).note("the request has none"),
        }
    });
    let note = match (hashes, hash, makes_cookie) {
        (false, ..) => "nobody asks for it: the cluster's policy does not hash",
        (true, _, true) => {
            "the client gets a cookie, which is a function of its connection, and its hash counts, \
             too"
        }
        (true, None, false) => "the request has none: the host is a random one",
        (true, Some(_), false) => "by these policies",
    };
    fact.value(hash).note(note).items(items.collect())
}

fn criteria(way: &Way<'_>, cluster: &Cluster, exchange: &Exchange) -> Fact {
    let subset = router::subset(way.forward, exchange);
    let items = subset
        .as_slice()
        .iter()
        .map(|(name, value)| Fact::new(&**name).value(json(value)));
    let place = match way.forward.cluster.weighted(exchange.cluster) {
        Some(weighted) => format!("{}.metadata_match", weighted.source.path),
        None => format!("{}.metadata_match", way.path),
    };
    let fact = Fact::new("metadata of the host")
        .place(way.cx.place(&place))
        .items(items.collect());
    match cluster.balancing.has_subsets() {
        true => fact,
        false => fact.note("nobody asks for it: the cluster has no subsets"),
    }
}

fn json(value: &Field) -> Value {
    match value {
        Field::Null => Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Number(value) => (*value).into(),
        Field::String(text) => (&**text).into(),
        Field::List(values) => values.iter().map(json).collect(),
        Field::Struct(fields) => {
            let fields = fields.iter();
            Value::Object(
                fields
                    .map(|(name, value)| (name.to_string(), json(value)))
                    .collect(),
            )
        }
    }
}
