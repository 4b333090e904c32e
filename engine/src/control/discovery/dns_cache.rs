//! Caches of names that requests ask for: each name is looked up when a request
//! first wants it, again when its answer is old, and forgotten when no request
//! has wanted it for long.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_config::core::Address;
use ringway_config::dns_cache::{DnsCacheId, split_key};
use ringway_config::endpoint::{Host, Rare};
use ringway_config::happy_eyeballs::HappyEyeballs;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::dns::{back_off, is_same_set};
use super::resolver::{Answer, Resolver, Unknown};
use crate::control::cluster_manager::{ClusterEvent, Events};
use crate::upstream::dns_cache::{Known, KnownName, SharedDnsCache};

/// The names of one cache.
pub struct Names {
    id: DnsCacheId,
    shared: Arc<SharedDnsCache>,
    resolver: Arc<Resolver>,
    events: Events,
    names: HashMap<Arc<str>, Name>,
    /// In the order in which they came: hosts are listed in it.
    order: u64,
}

/// What is known of a name.
struct Name {
    order: u64,
    addresses: Vec<IpAddr>,
    host: Option<Arc<Host>>,
    /// What workers know; `None` before the first look-up is over.
    known: Option<Arc<KnownName>>,
    /// Failures since the last answer.
    failures: u32,
}

/// What a task has to say of a name.
enum Done {
    /// What came of asking for it; `None` when that took too long.
    Asked(Option<Result<Answer, Unknown>>),
    /// It is time to ask again.
    Due,
}

type Tasks = JoinSet<(Arc<str>, Done)>;

impl Names {
    /// A cache without names.
    #[must_use]
    pub fn new(
        id: DnsCacheId,
        shared: &Arc<SharedDnsCache>,
        resolver: &Arc<Resolver>,
        events: &Events,
    ) -> Self {
        Self {
            id,
            shared: Arc::clone(shared),
            resolver: Arc::clone(resolver),
            events: events.clone(),
            names: HashMap::new(),
            order: 0,
        }
    }

    /// Looks names up, those of the configuration first and then whatever is
    /// `asked` for, until nobody asks any more.
    pub async fn look_up(mut self, mut asked: UnboundedReceiver<Arc<str>>) {
        let mut tasks = Tasks::new();
        for name in &self.shared.config.clone().preresolved {
            self.add((**name).into(), &mut tasks);
        }
        loop {
            let mut changed = false;
            tokio::select! {
                name = asked.recv() => match name {
                    Some(name) => changed |= self.add(name, &mut tasks),
                    None => return,
                },
                Some(done) = tasks.join_next() => changed |= self.on_done(done, &mut tasks),
            }
            // What has come meanwhile is told at once with it.
            while let Ok(name) = asked.try_recv() {
                changed |= self.add(name, &mut tasks);
            }
            while let Some(done) = tasks.try_join_next() {
                changed |= self.on_done(done, &mut tasks);
            }
            if changed && !self.tell() {
                return;
            }
        }
    }

    /// A request wants a name. True if there is something to tell: that it is
    /// known already, because it was not when the request asked.
    fn add(&mut self, name: Arc<str>, tasks: &mut Tasks) -> bool {
        if let Some(there) = self.names.get(&name) {
            return there.known.is_some();
        }
        self.shared.stats.host_added.inc();
        self.order += 1;
        self.names.insert(
            Arc::clone(&name),
            Name {
                order: self.order,
                addresses: Vec::new(),
                host: None,
                known: None,
                failures: 0,
            },
        );
        self.shared.stats.num_hosts.set(self.names.len() as u64);
        self.ask(name, tasks);
        false
    }

    fn ask(&self, name: Arc<str>, tasks: &mut Tasks) {
        let (shared, resolver) = (Arc::clone(&self.shared), Arc::clone(&self.resolver));
        shared.stats.dns_query_attempt.inc();
        tasks.spawn(async move {
            let config = &shared.config;
            let (bare, _) = split_key(&name);
            let answer = resolver.resolve(bare, config.family);
            let result = match config.query_timeout {
                Some(limit) => tokio::time::timeout(limit, answer).await.ok(),
                None => Some(answer.await),
            };
            (name, Done::Asked(result))
        });
    }

    /// Goes on with a name; true if something has changed.
    fn on_done(
        &mut self,
        done: Result<(Arc<str>, Done), tokio::task::JoinError>,
        tasks: &mut Tasks,
    ) -> bool {
        // Only a panic ends such a task early; its name stays as it is.
        let Ok((name, done)) = done else { return false };
        match done {
            Done::Due => self.refresh(name, tasks),
            Done::Asked(result) => {
                let (changed, again_in) = self.take(&name, result.as_ref());
                tasks.spawn(async move {
                    tokio::time::sleep(again_in).await;
                    (name, Done::Due)
                });
                changed
            }
        }
    }

    /// Asks for a name again, or forgets it; true if that is so.
    fn refresh(&mut self, name: Arc<str>, tasks: &mut Tasks) -> bool {
        let known = self.names.get(&name).and_then(|one| one.known.as_ref());
        let now = self.shared.at(Instant::now());
        let unused = known.map(|known| now.saturating_sub(known.last_use.get()));
        if unused.is_some_and(|unused| unused < self.shared.config.host_ttl) {
            self.ask(name, tasks);
            return false;
        }
        self.names.remove(&name);
        self.shared.stats.host_removed.inc();
        self.shared.stats.num_hosts.set(self.names.len() as u64);
        true
    }

    /// Takes what came of asking, and says whether workers have to know, and
    /// when to ask again.
    fn take(
        &mut self,
        key: &Arc<str>,
        result: Option<&Result<Answer, Unknown>>,
    ) -> (bool, Duration) {
        let (stats, config) = (&self.shared.stats, &self.shared.config);
        let Some(name) = self.names.get_mut(key) else {
            return (false, config.refresh);
        };
        let failure = match result {
            Some(Ok(answer)) if !answer.addresses.is_empty() => None,
            // An address of a family that is not asked for.
            Some(Ok(_)) if is_literal(key) => Some(Unknown::BAD_NAME),
            Some(Ok(answer)) => Some(answer.absence),
            Some(Err(unknown)) => Some(unknown.reason),
            None => {
                stats.dns_query_timeout.inc();
                Some(TIMED_OUT)
            }
        };
        // That there is no address is an answer, too.
        match failure {
            Some(Unknown::BAD_NAME) => stats.dns_query_failure.inc(),
            _ if matches!(result, Some(Ok(_))) => stats.dns_query_success.inc(),
            _ => stats.dns_query_failure.inc(),
        }
        let is_first = name.known.is_none();
        let mut changed = is_first;
        let again_in = match result {
            Some(Ok(answer)) if failure.is_none() => {
                name.failures = 0;
                if !is_same_set(name.addresses.iter().copied(), &answer.addresses) {
                    stats.host_address_changed.inc();
                    name.addresses.clone_from(&answer.addresses);
                    name.host = Some(Arc::new(host(key, &answer.addresses)));
                    changed = true;
                }
                answer.ttl.unwrap_or(config.refresh).max(config.refresh_min)
            }
            _ => {
                name.failures = name.failures.saturating_add(1);
                match &config.failure_refresh {
                    Some(rate) => back_off(rate, name.failures),
                    None => config.refresh,
                }
            }
        };
        // A failure does not change what was found before.
        let failure = failure.filter(|_| name.host.is_none());
        let before = name.known.as_ref().and_then(|known| known.failure);
        if is_first || before != failure {
            changed = true;
            let last_use = match &name.known {
                Some(before) => before.last_use.get(),
                None => self.shared.at(Instant::now()),
            };
            name.known = Some(Arc::new(KnownName::new(failure, last_use)));
        }
        (changed, again_in)
    }

    /// Tells all that is known, and says whether anybody listens: nobody does
    /// while the process ends.
    fn tell(&self) -> bool {
        let known = self.names.iter().filter_map(|(name, one)| {
            let known = one.known.as_ref()?;
            Some((Arc::clone(name), Arc::clone(known)))
        });
        let known = Arc::new(Known(known.collect()));
        let mut hosts: Vec<_> = (self.names.values())
            .filter_map(|one| Some((one.order, Arc::clone(one.host.as_ref()?))))
            .collect();
        hosts.sort_unstable_by_key(|(order, _)| *order);
        let hosts = hosts.into_iter().map(|(_, host)| host).collect();
        let event = ClusterEvent::Names {
            cache: self.id,
            known,
            hosts,
        };
        self.events.send(event).is_ok()
    }
}

/// The host that a name with its port is.
fn host(key: &Arc<str>, addresses: &[IpAddr]) -> Host {
    let (_, port) = split_key(key);
    let all: Vec<_> = (addresses.iter())
        .map(|ip| Address::Socket(SocketAddr::new(*ip, port)))
        .collect();
    let mut host = Host::at(all[0].clone(), Arc::clone(key));
    if all.len() > 1 {
        let attempts = HappyEyeballs::default().order(all).into();
        host.rare = Some(Box::new(Rare {
            attempts,
            health_check: None,
            locality_metadata: None,
            proxy_protocol: Box::default(),
        }));
    }
    host
}

/// Whether the host of a key is an address.
fn is_literal(key: &str) -> bool {
    split_key(key).0.parse::<IpAddr>().is_ok()
}

/// What is said of a look-up that `dns_query_timeout` has ended.
const TIMED_OUT: &str = "resolve_timeout";
