//! The clusters that there are, for admin: it looks from a thread of its own while
//! clusters come and go.

use std::sync::Arc;

use crate::upstream::cluster::SharedCluster;
use crate::worker::shared::Locked;

/// All clusters of the process.
#[derive(Default)]
pub struct ClusterList(Locked<Lists>);

#[derive(Default)]
struct Lists {
    active: Vec<Arc<SharedCluster>>,
    warming: Vec<Arc<SharedCluster>>,
}

impl ClusterList {
    /// Those that workers have.
    #[must_use]
    pub fn active(&self) -> Vec<Arc<SharedCluster>> {
        self.0.with(|lists| lists.active.clone())
    }

    /// Those whose first hosts are looked for or checked.
    #[must_use]
    pub fn warming(&self) -> Vec<Arc<SharedCluster>> {
        self.0.with(|lists| lists.warming.clone())
    }

    /// How many there are of either kind; the control plane alone changes that.
    #[must_use]
    pub fn counts(&self) -> [u64; 2] {
        self.0
            .with(|lists| [lists.active.len() as u64, lists.warming.len() as u64])
    }

    /// Another one.
    pub fn add_warming(&self, cluster: &Arc<SharedCluster>) {
        self.0.with(|lists| lists.warming.push(Arc::clone(cluster)));
    }

    /// Workers have it from now on.
    pub fn activate(&self, cluster: &Arc<SharedCluster>) {
        self.0.with(|lists| {
            lists.warming.retain(|other| !Arc::ptr_eq(other, cluster));
            lists.active.push(Arc::clone(cluster));
        });
    }

    /// It has ended.
    pub fn remove(&self, cluster: &Arc<SharedCluster>) {
        self.0.with(|lists| {
            let stays = |other: &Arc<SharedCluster>| !Arc::ptr_eq(other, cluster);
            lists.active.retain(stays);
            lists.warming.retain(stays);
        });
    }
}
