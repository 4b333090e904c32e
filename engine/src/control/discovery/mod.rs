//! Finding the hosts of clusters that do not have them in the file.
//!
//! A [`Finder`] spawns a task for each such cluster, which tells what it finds as
//! [`ClusterEvent`](super::cluster_manager::ClusterEvent)s for as long as the
//! cluster is there. `dns.rs` looks names up, again and again, `dns_cache.rs` those
//! that requests ask for; `resolver.rs` is who they ask. `eds.rs` reads who the
//! hosts are. All of it is on the control plane, on tokio.

mod dns;
mod dns_cache;
mod eds;
mod interfaces;
mod name_servers;
mod resolver;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;
use std::{fmt, io};

use ringway_config::Source;
use ringway_config::config_source::PathSource;
use ringway_config::discovery::Discovery;
use ringway_config::dns::Resolver as ResolverConfig;
use ringway_config::dns_cache::{DnsCache as DnsCacheConfig, DnsCacheId};
use ringway_config::names::Names as Numbering;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use self::dns::Names;
use self::eds::Subscription;
use self::resolver::Resolver;
use super::cluster_manager::Events;
use super::file_watcher::{FileWatcher, Moves};
use crate::stats::Store;
use crate::upstream::cluster::SharedCluster;
use crate::upstream::dns_cache::SharedDnsCache;

/// Looks for hosts.
pub struct Finder {
    /// The numbering of the configuration.
    numbering: Arc<Numbering>,
    events: Events,
    store: Store,
    /// Clusters that ask alike share sockets and answers.
    resolvers: HashMap<ResolverConfig, Arc<Resolver>>,
    watcher: Option<FileWatcher>,
}

impl Finder {
    /// One that has looked for none yet.
    #[must_use]
    pub fn new(numbering: &Arc<Numbering>, events: &Events, store: &Store) -> Self {
        Self {
            numbering: Arc::clone(numbering),
            events: events.clone(),
            store: store.clone(),
            resolvers: HashMap::new(),
            watcher: None,
        }
    }

    /// Looks for the hosts of a cluster from now on, if they have to be looked for.
    /// `warm` is let go when they are known first, whatever came of it. Fails where
    /// files cannot be watched.
    pub fn start(
        &mut self,
        cluster: &Arc<SharedCluster>,
        warm: Option<Warm>,
    ) -> Result<Option<AbortHandle>, Unwatched> {
        let task = match &cluster.config.discovery {
            // Workers find the hosts of the first themselves, the second has none.
            Discovery::Static | Discovery::OriginalDst(_) | Discovery::Aggregate(_) => {
                return Ok(None);
            }
            // Its cache looks for them, or its clusters do.
            Discovery::DynamicForwardProxy(_) | Discovery::SubClusters(_) => return Ok(None),
            Discovery::Dns(dns) => {
                let resolver = self
                    .resolvers
                    .entry(dns.resolver.clone())
                    .or_insert_with(|| Arc::new(Resolver::new(&dns.resolver)));
                let names = Names::new(cluster, dns, resolver, &self.events);
                tokio::spawn(names.look_up(warm))
            }
            Discovery::Eds(eds) => {
                let Self {
                    numbering,
                    events,
                    store,
                    ..
                } = &*self;
                let hosts = Subscription::new(cluster, eds, numbering, events, store);
                let moves = self.watch(&eds.source).map_err(|error| Unwatched {
                    cluster: cluster.config.source.clone(),
                    error,
                })?;
                tokio::spawn(hosts.follow(moves, warm))
            }
        };
        Ok(Some(task.abort_handle()))
    }

    /// Watches a file with the one watcher, which is made for the first.
    fn watch(&mut self, source: &PathSource) -> io::Result<Moves> {
        if let Some(watcher) = &self.watcher {
            return watcher.watch(source);
        }
        let watcher = FileWatcher::new()?;
        let moves = watcher.watch(source);
        let running = watcher.clone();
        tokio::spawn(async {
            if let Err(error) = running.run().await {
                tracing::error!(%error, "files are not watched any more");
            }
        });
        self.watcher = Some(watcher);
        moves
    }
}

/// A cache of names, which nobody looks up yet.
pub struct DnsCache {
    /// What workers get.
    pub shared: Arc<SharedDnsCache>,
    asked: mpsc::UnboundedReceiver<Arc<str>>,
}

impl DnsCache {
    /// A cache in which nothing is known.
    #[must_use]
    pub fn new(config: &Arc<DnsCacheConfig>, store: &Store) -> Self {
        let (asks, asked) = mpsc::unbounded_channel();
        // Nobody listens any more only while the process ends.
        let ask = move |name| drop(asks.send(name));
        Self {
            shared: Arc::new(SharedDnsCache::new(
                config,
                Instant::now(),
                store,
                Box::new(ask),
            )),
            asked,
        }
    }
}

/// Looks the names of these caches up from now on. They are in the order of
/// their numbers.
pub fn start_caches(caches: Vec<DnsCache>, events: &Events) {
    let mut resolvers: HashMap<ResolverConfig, Arc<Resolver>> = HashMap::new();
    for (number, cache) in (0..).zip(caches) {
        let config = &cache.shared.config.resolver;
        let resolver = resolvers
            .entry(config.clone())
            .or_insert_with(|| Arc::new(Resolver::new(config)));
        let id = DnsCacheId(number);
        let names = dns_cache::Names::new(id, &cache.shared, resolver, events);
        tokio::spawn(names.look_up(cache.asked));
    }
}

/// The file with the hosts of a cluster cannot be watched.
#[derive(Debug)]
pub struct Unwatched {
    cluster: Source,
    error: io::Error,
}

impl fmt::Display for Unwatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, error } = self;
        write!(
            f,
            "{cluster}: the file of the hosts cannot be watched: {error}"
        )
    }
}

impl std::error::Error for Unwatched {}

/// Clusters whose first hosts are still looked for. Each task holds a sender
/// until it has told what it found.
pub struct Warming(mpsc::Receiver<Infallible>);

impl Warming {
    /// Waits until the first hosts of every cluster that listeners wait for
    /// have been told of, or that there are none. Returns at once from then on.
    pub async fn done(&mut self) {
        let None = self.0.recv().await;
    }
}

impl Warming {
    /// What tasks hold, and who waits until none does.
    #[must_use]
    pub fn new() -> (Warm, Self) {
        let (warm, warming) = mpsc::channel(1);
        (warm, Self(warming))
    }
}

/// Held by a task until its cluster is warm.
pub type Warm = mpsc::Sender<Infallible>;
