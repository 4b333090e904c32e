//! Which host a request goes to: what it tells the balancer, and what the
//! balancer makes of that.

use std::sync::Arc;

use ringway_config::cluster::Cluster;
use ringway_config::discovery::Discovery;
use ringway_config::load_balancing::AskedHosts;
use ringway_config::route::HashInput;
use ringway_lb::among::{Among, Which};
use ringway_lb::balancer::Request;
use ringway_lb::config::Policy;
use ringway_lb::metadata::Value as Field;
use ringway_lb::priority::PriorityLoads;
use serde_json::Value;

use super::fact::Fact;
use super::forward::Way;
use super::provided;
use crate::filters::http::router;
use crate::http::exchange::Exchange;
use crate::upstream::host_set::HostSet;

/// What is told of the choice.
pub(super) struct Explained {
    pub fact: Fact,
    /// There is no host that may take the request.
    pub finds_nobody: bool,
    /// What the host is called, which may be nothing, where that is certain:
    /// there is one, or all have the same name.
    pub hostname: Option<Arc<str>>,
}

/// What the request tells the balancer: its hash, and what the metadata of its
/// host must be; and the host, where that decides it.
pub(super) fn explain(way: &Way<'_>, cluster: &Cluster, exchange: &mut Exchange) -> Explained {
    if let Some(explained) = provided::of_request(cluster, exchange, way.cx.sources) {
        return explained;
    }
    let asked = asked_host(way, cluster, exchange);
    if let Some(Asked {
        fact,
        hostname: Some(hostname),
    }) = asked
    {
        return Explained {
            fact: Fact::new("choice of the host").parts(vec![fact]),
            finds_nobody: false,
            hostname: Some(hostname),
        };
    }
    let key = hash_key(way, cluster, exchange);
    let subset = router::subset(way.forward, cluster, exchange);
    let mut parts: Vec<_> = asked.into_iter().map(|asked| asked.fact).collect();
    parts.push(key.fact);
    if !subset.as_slice().is_empty() || cluster.balancing.has_subsets() {
        parts.push(criteria(way, cluster, exchange));
    }
    let mut finds_nobody = false;
    let mut hostname = common_hostname(cluster, way.cx.hosts(cluster));
    if let Some(set) = way.cx.hosts(cluster) {
        let picks = Picks::of(set, subset.as_slice(), key.hash);
        finds_nobody = picks.without_host == PICKS;
        if let Some(host) = picks.only.filter(|_| key.decides || picks.hosts.len() == 1) {
            parts.push(picked(host, set, cluster));
            if !is_bounded(cluster) {
                hostname = Some(Arc::clone(&set.members[host as usize].config.hostname));
            }
        }
        if picks.without_host > 0 {
            parts.push(
                Fact::new("requests without a host")
                    .value(format!("{} percent", picks.without_host))
                    .note("answered with 503, flag UH, details no_healthy_upstream"),
            );
        }
    }
    Explained {
        fact: Fact::new("choice of the host").parts(parts),
        finds_nobody,
        hostname,
    }
}

/// What all hosts of a cluster are called. Those that have not been looked up
/// are called by what is looked up.
fn common_hostname(cluster: &Cluster, set: Option<&HostSet>) -> Option<Arc<str>> {
    let names: Vec<&Arc<str>> = match (set, &cluster.discovery) {
        (Some(set), _) => (set.members.iter())
            .map(|member| &member.config.hostname)
            .collect(),
        (None, Discovery::Dns(dns)) => (dns.targets.iter())
            .map(|target| &target.host.hostname)
            .collect(),
        (None, _) => Vec::new(),
    };
    let (first, others) = names.split_first()?;
    (others.iter().all(|name| name == first)).then(|| Arc::clone(first))
}

/// The host that a request asks for.
struct Asked {
    fact: Fact,
    /// What it is called, if the cluster has it.
    hostname: Option<Arc<str>>,
}

/// What a request says about its host, where it may: that is what its first
/// try goes by. `None` where nobody asks it.
fn asked_host(way: &Way<'_>, cluster: &Cluster, exchange: &Exchange) -> Option<Asked> {
    let config = cluster.balancing.override_host.as_ref()?;
    let mut hosts = AskedHosts::default();
    config.ask(&exchange.request, exchange.info.metadata(), &mut hosts);
    let set = way.cx.hosts(cluster);
    let (mut first, mut found) = (None, None);
    while found.is_none()
        && let Some(host) = hosts.take_next()
    {
        first.get_or_insert_with(|| host.to_owned());
        found = set.and_then(|set| {
            let place = *set.by_asked.get(host)?;
            let hostname = Arc::clone(&set.members[place as usize].config.hostname);
            Some((host.to_owned(), hostname))
        });
    }
    let note = match (&found, &first, set.is_some()) {
        (Some(_), ..) => "takes the request, whatever its health",
        (None, None, _) => "the request asks for none: unless a filter does, the policy picks it",
        (None, Some(_), true) => "the cluster has none that the request asks for: the policy picks",
        (None, Some(_), false) => "takes the request if it is one of the cluster's then",
    };
    let sources = config.sources().into_iter().map(Fact::new);
    let fact = Fact::new("host asked for").items(sources.collect());
    let (host, hostname) = match found {
        Some((host, hostname)) => (Some(host), Some(hostname)),
        None => (first, None),
    };
    Some(Asked {
        fact: fact.value(host).note(note),
        hostname,
    })
}

/// The host that is picked every time.
fn picked(host: u32, set: &HostSet, cluster: &Cluster) -> Fact {
    let address = set.members[host as usize].config.address.to_string();
    let fact = Fact::new("host").value(address);
    match is_bounded(cluster) {
        true => fact.note("unless it has more than its part of the requests"),
        false => fact,
    }
}

/// Whether a host that has too many requests is passed over.
fn is_bounded(cluster: &Cluster) -> bool {
    match cluster.balancing.policy() {
        Policy::RingHash { balance_factor, .. } | Policy::Maglev { balance_factor, .. } => {
            balance_factor.is_some()
        }
        _ => false,
    }
}

/// What a balancer answers to one request, asked once for each percent of the
/// random numbers that decide about priorities.
pub(super) struct Picks {
    /// The hosts that are picked from, as places in the set.
    pub hosts: Vec<u32>,
    /// Which these are; `None` when nobody is asked for.
    pub which: Option<Which>,
    /// The priorities that they are in.
    pub priorities: Option<PriorityLoads>,
    /// How many of [`PICKS`] find no host.
    without_host: u32,
    /// The host of all picks, if it is always the same.
    only: Option<u32>,
}

/// Priorities share percents.
const PICKS: u32 = 100;

impl Picks {
    /// Asks the balancer of `set`. A hash is asked for by some policies only.
    pub(super) fn of(set: &HostSet, subset: &[(Arc<str>, Field)], hash: Option<u64>) -> Self {
        let mut picks = Self {
            hosts: Vec::new(),
            which: None,
            priorities: None,
            without_host: 0,
            only: None,
        };
        let mut found = Vec::new();
        let mut cursor = set.balancer.cursor(0);
        for percent in 0..PICKS {
            let mut asked = Unsent {
                hash,
                percent,
                rng: fastrand::Rng::with_seed(percent.into()),
                subset,
                among: None,
            };
            let pick = set.balancer.pick(&mut cursor, &mut asked);
            match pick.host {
                None => picks.without_host += 1,
                Some(host) if !found.contains(&host) => found.push(host),
                Some(_) => {}
            }
            if let Some((which, hosts, priorities)) = asked.among {
                picks.which = Some(which);
                picks.hosts = hosts;
                picks.priorities = priorities;
            }
        }
        if let [host] = found[..]
            && picks.without_host == 0
        {
            picks.only = Some(host);
        }
        picks
    }
}

/// A request that is never sent.
struct Unsent<'a> {
    hash: Option<u64>,
    percent: u32,
    rng: fastrand::Rng,
    subset: &'a [(Arc<str>, Field)],
    /// What the balancer has picked from.
    among: Option<(Which, Vec<u32>, Option<PriorityLoads>)>,
}

impl Request for Unsent<'_> {
    fn hash(&mut self) -> Option<u64> {
        self.hash
    }

    fn random(&mut self) -> u64 {
        let hundreds = self.rng.u64(..u64::MAX / 100);
        hundreds * 100 + u64::from(self.percent)
    }

    fn now_ms(&self) -> u64 {
        0
    }

    fn active_requests(&self, _host: u32) -> u32 {
        0
    }

    fn subset(&self) -> &[(Arc<str>, Field)] {
        self.subset
    }

    fn among(&mut self, among: Among<'_>) {
        self.among = Some((among.which, among.hosts(), among.priorities().cloned()));
    }
}

/// The hash of a request.
struct HashKey {
    fact: Fact,
    hash: Option<u64>,
    /// It alone decides about the host.
    decides: bool,
}

fn hash_key(way: &Way<'_>, cluster: &Cluster, exchange: &Exchange) -> HashKey {
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
        return HashKey {
            fact: fact.value(Value::Null).note(note),
            hash: None,
            decides: false,
        };
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
    let found = asked.iter().filter(|(_, found)| found.is_some());
    let found: Vec<_> = found.map(|(policy, _)| policy.to_string()).collect();
    let note = match (hashes, hash, makes_cookie) {
        (false, ..) => "nobody asks for it: the cluster's policy does not hash".into(),
        (true, _, true) => {
            "the client gets a cookie, which is a function of its connection, and its hash counts, \
             too"
            .into()
        }
        (true, None, false) => "the request has none: the host is a random one".into(),
        (true, Some(_), false) => format!("by {}", found.join(" and ")),
    };
    HashKey {
        fact: fact.value(hash).note(note).items(items.collect()),
        hash: hash.filter(|_| !makes_cookie),
        decides: hashes && hash.is_some() && !makes_cookie,
    }
}

fn criteria(way: &Way<'_>, cluster: &Cluster, exchange: &Exchange) -> Fact {
    let subset = router::subset(way.forward, cluster, exchange);
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
