//! Finding the hosts of clusters that do not have them in the file.
//!
//! [`start`] spawns a task for each such cluster, which tells what it finds as
//! [`ClusterEvent`](super::cluster_manager::ClusterEvent)s for as long as the
//! process runs. `dns.rs` looks names up, again and again; `resolver.rs` is who
//! it asks. All of it is on the control plane, on tokio.

mod dns;
mod resolver;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use ringway_config::discovery::Discovery;
use ringway_config::dns::Resolver as ResolverConfig;
use tokio::sync::mpsc;

use self::dns::Names;
use self::resolver::Resolver;
use super::cluster_manager::Events;
use crate::upstream::cluster::SharedCluster;

/// Looks for the hosts of these clusters from now on.
#[must_use]
pub fn start<'a>(
    clusters: impl Iterator<Item = &'a Arc<SharedCluster>>,
    events: &Events,
) -> Warming {
    let (warm, warming) = mpsc::channel(1);
    // Clusters that ask alike share sockets and answers.
    let mut resolvers: HashMap<&ResolverConfig, Arc<Resolver>> = HashMap::new();
    for cluster in clusters {
        let warm = cluster.config.wait_for_warm.then(|| warm.clone());
        match &cluster.config.discovery {
            Discovery::Static => {}
            Discovery::Dns(dns) => {
                let resolver = resolvers
                    .entry(&dns.resolver)
                    .or_insert_with(|| Arc::new(Resolver::new(&dns.resolver)));
                let names = Names::new(cluster, dns, resolver, events);
                tokio::spawn(names.look_up(warm));
            }
        }
    }
    Warming(warming)
}

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
