//! Finding the hosts of clusters that do not have them in the file.
//!
//! [`start`] spawns a task for each such cluster, which tells what it finds as
//! [`ClusterEvent`](super::cluster_manager::ClusterEvent)s for as long as the
//! process runs. `dns.rs` looks names up, again and again, `dns_cache.rs` those
//! that requests ask for; `resolver.rs` is who they ask. `eds.rs` reads who the
//! hosts are. All of it is on the control plane, on tokio.

mod dns;
mod dns_cache;
mod eds;
mod interfaces;
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

use self::dns::Names;
use self::eds::Subscription;
use self::resolver::Resolver;
use super::cluster_manager::Events;
use super::file_watcher::{FileWatcher, Moves};
use crate::stats::Store;
use crate::upstream::cluster::SharedCluster;
use crate::upstream::dns_cache::SharedDnsCache;

/// Looks for the hosts of these clusters from now on. `numbering` is that of
/// the configuration that they are in. Fails where files cannot be watched.
pub fn start<'a>(
    clusters: impl Iterator<Item = &'a Arc<SharedCluster>>,
    numbering: &Arc<Numbering>,
    events: &Events,
    store: &Store,
) -> Result<Warming, Unwatched> {
    let (warm, warming) = mpsc::channel(1);
    let mut watcher = None;
    // Clusters that ask alike share sockets and answers.
    let mut resolvers: HashMap<&ResolverConfig, Arc<Resolver>> = HashMap::new();
    for cluster in clusters {
        let warm = cluster.config.wait_for_warm.then(|| warm.clone());
        match &cluster.config.discovery {
            // Workers find the hosts of the latter themselves.
            Discovery::Static | Discovery::OriginalDst(_) | Discovery::Aggregate(_) => {}
            // Its cache looks for them.
            Discovery::DynamicForwardProxy(_) => {}
            Discovery::Dns(dns) => {
                let resolver = resolvers
                    .entry(&dns.resolver)
                    .or_insert_with(|| Arc::new(Resolver::new(&dns.resolver)));
                let names = Names::new(cluster, dns, resolver, events);
                tokio::spawn(names.look_up(warm));
            }
            Discovery::Eds(eds) => {
                let hosts = Subscription::new(cluster, eds, numbering, events, store);
                let moves = watch(&eds.source, &mut watcher).map_err(|error| Unwatched {
                    cluster: cluster.config.source.clone(),
                    error,
                })?;
                tokio::spawn(hosts.follow(moves, warm));
            }
        }
    }
    if let Some(watcher) = watcher {
        tokio::spawn(async {
            if let Err(error) = watcher.run().await {
                tracing::error!(%error, "files are not watched any more");
            }
        });
    }
    Ok(Warming(warming))
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
/// Watches a file with the one watcher, which is made for the first.
fn watch(source: &PathSource, watcher: &mut Option<FileWatcher>) -> io::Result<Moves> {
    let watcher = match watcher {
        Some(watcher) => watcher,
        none => none.insert(FileWatcher::new()?),
    };
    watcher.watch(source)
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

/// Held by a task until its cluster is warm.
type Warm = mpsc::Sender<Infallible>;
