//! The sub-clusters of a dynamic forward proxy: made when a request first names
//! their host, ended when none has for some time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::clusters::{ClusterId, ClusterNames};

use crate::upstream::cluster::SharedCluster;
use crate::upstream::sub_clusters::SharedSubClusters;

/// The sub-clusters of one cluster.
pub struct SubClusters {
    shared: Arc<SharedSubClusters>,
    made: HashMap<ClusterId, Arc<SharedCluster>>,
    /// When those are to be ended that nobody has used.
    due: Instant,
}

impl SubClusters {
    /// There are none yet.
    #[must_use]
    pub fn new(shared: &Arc<SharedSubClusters>) -> Self {
        Self {
            due: Instant::now() + shared.config.ttl,
            shared: Arc::clone(shared),
            made: HashMap::new(),
        }
    }

    /// When [`Self::take_unused`] has something to do.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// What the one of this name is to be. It has a number of its own until it ends.
    #[must_use]
    pub fn configure(&self, name: &Arc<str>, names: &ClusterNames) -> Option<ClusterConfig> {
        let id = names.take(name);
        let made = self.shared.config.make(name, id);
        if made.is_none() {
            names.give_back(id);
            self.shared.forget(name);
        }
        made
    }

    /// It was made.
    pub fn add(&mut self, cluster: &Arc<SharedCluster>) {
        self.made.insert(cluster.config.id, Arc::clone(cluster));
    }

    /// Ends those that nobody has used for some time. As in Envoy they are looked at
    /// that often, too, so that it may take twice as long.
    pub fn take_unused(&mut self, now: Instant) -> Vec<ClusterId> {
        let ttl = self.shared.config.ttl;
        self.due = now + ttl;
        // While it warms up, requests wait for it.
        let is_unused =
            |cluster: &SharedCluster| cluster.unused_for(now).is_some_and(|time| time > ttl);
        let ended = self.made.extract_if(|_, cluster| is_unused(cluster));
        ended
            .map(|(id, cluster)| {
                self.shared.forget(&cluster.config.name);
                id
            })
            .collect()
    }
}
