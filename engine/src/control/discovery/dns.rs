//! Clusters of names: each name is looked up for itself, and again when its
//! answer is old.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ringway_config::core::Address;
use ringway_config::dns::{Dns, FailureRefresh};
use ringway_config::endpoint::{Assignment, Host};
use tokio::task::JoinSet;

use super::Warm;
use super::resolver::{Answer, Resolver, Unknown};
use crate::control::cluster_manager::{ClusterEvent, Events};
use crate::upstream::cluster::SharedCluster;

/// The names of one cluster and what is known of each.
pub struct Names {
    cluster: Arc<SharedCluster>,
    dns: Arc<Dns>,
    resolver: Arc<Resolver>,
    events: Events,
    known: Vec<Known>,
    /// There is something to tell.
    changed: bool,
}

/// What is known of a name.
#[derive(Default)]
struct Known {
    /// The hosts that it stands for. A failure does not change them.
    hosts: Vec<Arc<Host>>,
    /// Failures since the last answer.
    failures: u32,
}

/// A name, by its place, and what came of asking for it.
type Asked = (usize, Result<Answer, Unknown>);

impl Names {
    /// The names of `cluster`, of which nothing is known yet.
    #[must_use]
    pub fn new(
        cluster: &Arc<SharedCluster>,
        dns: &Arc<Dns>,
        resolver: &Arc<Resolver>,
        events: &Events,
    ) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            dns: Arc::clone(dns),
            resolver: Arc::clone(resolver),
            events: events.clone(),
            known: dns.targets.iter().map(|_| Known::default()).collect(),
            changed: false,
        }
    }

    /// Looks them up until nobody listens to the events any more. The cluster
    /// is warm once each has been asked for, whatever came of it.
    pub async fn look_up(mut self, mut warm: Option<Warm>) {
        let mut asking = JoinSet::new();
        for place in 0..self.known.len() {
            self.ask(place, Duration::ZERO, &mut asking);
        }
        let mut first = self.known.len();
        if first == 0 {
            warm = None;
        }
        while let Some(asked) = asking.join_next().await {
            let mut next = Some(asked);
            while let Some(asked) = next {
                // Only a panic ends such a task early; its name keeps its hosts.
                if let Ok((place, result)) = asked {
                    let again_in = match result {
                        Ok(answer) => self.take(place, &answer),
                        Err(unknown) => self.fail(place, &unknown),
                    };
                    self.ask(place, again_in, &mut asking);
                    first = first.saturating_sub(1);
                }
                let together = self.known.len() > TOLD_ONE_BY_ONE_MAX;
                next = together.then(|| asking.try_join_next()).flatten();
            }
            if std::mem::take(&mut self.changed) && !self.tell() {
                return;
            }
            if first == 0 {
                warm = None;
            }
        }
        drop(warm);
    }

    fn ask(&self, place: usize, delay: Duration, asking: &mut JoinSet<Asked>) {
        let (dns, resolver) = (Arc::clone(&self.dns), Arc::clone(&self.resolver));
        let attempts = self.cluster.stats.update_attempt;
        asking.spawn(async move {
            tokio::time::sleep(delay).await;
            attempts.inc();
            let name = &dns.targets[place].name;
            (place, resolver.resolve(name, dns.family).await)
        });
    }

    /// Takes an answer, and says when to ask again.
    fn take(&mut self, place: usize, answer: &Answer) -> Duration {
        let (stats, dns) = (&self.cluster.stats, &self.dns);
        if dns.is_logical && answer.addresses.is_empty() {
            // The one host that there is has to be somewhere.
            return self.fail(place, &Unknown::no_addresses());
        }
        stats.update_success.inc();
        let addresses = match dns.is_logical {
            true => &answer.addresses[..1],
            false => &answer.addresses[..],
        };
        let target = &dns.targets[place];
        (self.cluster).count_sockets(addresses.len(), Some(&target.host));
        if !dns.is_logical {
            // As Envoy, which weighs what it is told of one name.
            let weight = match addresses {
                [] => 1,
                _ => target.host.weight,
            };
            stats.max_host_weight.set(weight.into());
        }
        let known = &mut self.known[place];
        known.failures = 0;
        if is_same(&known.hosts, addresses) {
            stats.update_no_rebuild.inc();
        } else {
            known.hosts = addresses
                .iter()
                .map(|ip| Arc::new(target.host_at(*ip)))
                .collect();
            self.changed = true;
        }
        self.refresh(answer)
    }

    /// Counts a failure, and says when to ask again.
    fn fail(&mut self, place: usize, unknown: &Unknown) -> Duration {
        self.cluster.stats.update_failure.inc();
        let (cluster, name) = (&self.cluster.config.name, &self.dns.targets[place].name);
        tracing::debug!(%cluster, %name, %unknown, "a name could not be looked up");
        let known = &mut self.known[place];
        known.failures = known.failures.saturating_add(1);
        match &self.dns.failure_refresh {
            Some(rate) => back_off(rate, known.failures),
            None => self.dns.refresh,
        }
    }

    fn refresh(&self, answer: &Answer) -> Duration {
        let dns = &self.dns;
        let ttl = answer.ttl.filter(|ttl| !ttl.is_zero());
        let refresh = match (dns.respect_ttl, ttl) {
            (Some(least), Some(ttl)) => ttl.max(least),
            _ => dns.refresh,
        };
        refresh + below(dns.jitter)
    }

    /// Tells the hosts of all names, and says whether anybody listens: nobody
    /// does while the process ends.
    fn tell(&self) -> bool {
        let config = &self.cluster.config;
        let hosts = self.known.iter().flat_map(|known| known.hosts.iter());
        let assignment = Assignment {
            hosts: hosts.cloned().collect(),
            ..config.assignment.clone()
        };
        let event = ClusterEvent::Hosts(config.id, assignment);
        self.events.send(event).is_ok()
    }
}

/// Whether these are the hosts' addresses, in whatever order: servers rotate
/// their answers.
fn is_same(hosts: &[Arc<Host>], addresses: &[IpAddr]) -> bool {
    let known = hosts.iter().filter_map(|host| match &host.address {
        Address::Socket(address) => Some(address.ip()),
        Address::Pipe { .. } => None,
    });
    is_same_set(known, addresses)
}

/// Whether these are the addresses, each of which is there once.
pub(super) fn is_same_set(known: impl Iterator<Item = IpAddr>, addresses: &[IpAddr]) -> bool {
    let known: HashSet<_> = known.collect();
    known.len() == addresses.len() && addresses.iter().all(|ip| known.contains(ip))
}

/// A time below a bound that doubles with each failure.
pub(super) fn back_off(rate: &FailureRefresh, failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1));
    let bound = doubled.and_then(|by| rate.base.checked_mul(by));
    let bound = bound.map_or(rate.max, |bound| bound.min(rate.max));
    below(bound).max(AGAIN_MIN)
}

/// Any time below `bound`.
fn below(bound: Duration) -> Duration {
    let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    match nanos {
        0 => Duration::ZERO,
        _ => Duration::from_nanos(fastrand::u64(..nanos)),
    }
}

/// Every name that changes is told of by itself, which is how Envoy counts
/// `membership_change`. That takes time in the square of their number, so
/// clusters of more names tell what has come of them all at once.
const TOLD_ONE_BY_ONE_MAX: usize = 100;

/// A name server that fails at once is not asked faster than this.
const AGAIN_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::endpoint::Target;

    #[test]
    fn back_off_doubles_up_to_its_end() {
        let rate = FailureRefresh {
            base: Duration::from_millis(100),
            max: Duration::from_millis(350),
        };
        fastrand::seed(7);
        for (failures, bound_ms) in [(1, 100), (2, 200), (3, 350), (4, 350), (40, 350)] {
            let bound = Duration::from_millis(bound_ms);
            let drawn: Vec<_> = (0..1000).map(|_| back_off(&rate, failures)).collect();
            assert!(drawn.iter().all(|time| *time < bound && *time >= AGAIN_MIN));
            // Uniform: the mean is half of the bound, within six deviations.
            let mean = drawn.iter().sum::<Duration>() / 1000;
            let off = mean.abs_diff(bound / 2).as_secs_f64();
            assert!(off < 6.0 * bound.as_secs_f64() / 12_f64.sqrt() / 1000_f64.sqrt());
        }
    }

    #[test]
    fn the_order_of_addresses_does_not_matter() {
        let target = Target {
            name: "a".into(),
            port: 80,
            host: Host {
                address: Address::Socket(([0, 0, 0, 0], 80).into()),
                hostname: "a".into(),
                weight: 1,
                group: 0,
                health: Default::default(),
                metadata: Arc::default(),
                canary: false,
                rare: None,
            },
        };
        let ip = |last: u8| IpAddr::from([127, 0, 0, last]);
        let hosts = [ip(1), ip(2)].map(|ip| Arc::new(target.host_at(ip)));
        assert!(is_same(&hosts, &[ip(1), ip(2)]));
        assert!(is_same(&hosts, &[ip(2), ip(1)]));
        assert!(!is_same(&hosts, &[ip(1)]));
        assert!(!is_same(&hosts, &[ip(1), ip(3)]));
        assert!(!is_same(&hosts, &[ip(1), ip(2), ip(3)]));
        assert!(is_same(&[], &[]));
    }
}
