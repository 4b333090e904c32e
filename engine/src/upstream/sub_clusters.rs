//! The sub-clusters of a dynamic forward proxy: a cluster for each host that
//! requests name, made by the control plane when one is first named and ended by it
//! when nobody has named it for some time.
//!
//! A worker finds them among its clusters by their names. One that it does not find
//! it asks for, once all workers together: the lock is met for such names only.

use std::collections::HashSet;
use std::sync::Arc;

use ringway_config::sub_clusters::SubClusters as Config;

use crate::worker::shared::Locked;

/// Tells the control plane of a sub-cluster that is to be made.
pub type Ask = Box<dyn Fn(Arc<str>) + Send + Sync>;

/// What all workers share of the sub-clusters of a cluster.
pub struct SharedSubClusters {
    /// How they are made.
    pub config: Arc<Config>,
    /// The names of those that there are or that are to be made.
    names: Locked<HashSet<Arc<str>>>,
    ask: Ask,
}

impl SharedSubClusters {
    /// There are none yet.
    #[must_use]
    pub fn new(config: &Arc<Config>, ask: Ask) -> Self {
        Self {
            config: Arc::clone(config),
            names: Locked::default(),
            ask,
        }
    }

    /// Has the cluster of this name made unless there is one; false if there are too
    /// many.
    pub fn want(&self, name: &str) -> bool {
        self.names.with(|names| {
            if names.contains(name) {
                return true;
            }
            if names.len() >= self.config.max as usize {
                return false;
            }
            let name: Arc<str> = name.into();
            names.insert(Arc::clone(&name));
            (self.ask)(name);
            true
        })
    }

    /// It has ended; the control plane only.
    pub fn forget(&self, name: &str) {
        self.names.with(|names| names.remove(name));
    }
}
