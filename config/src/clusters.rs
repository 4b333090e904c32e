//! Cluster names as small numbers, so that no request compares strings.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::names::Interner;
use crate::suggest;

/// A cluster's number: its place in a worker's array of clusters. Valid with
/// the [`ClusterNames`] that gave it, for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u32);

/// Gives every cluster name a number and never takes it back, but for those that are
/// [taken for a time](Self::take).
///
/// A route may name a cluster that does not exist yet (or never will), so a
/// number says nothing about existence. Used while lowering, and by routes
/// that take the cluster's name from a header; everything else carries the
/// numbers.
#[derive(Debug, Default)]
pub struct ClusterNames(Interner);

impl ClusterNames {
    /// The number of `name`, given now if it has none.
    pub fn id(&self, name: &str) -> ClusterId {
        ClusterId(self.0.id(name))
    }

    /// A number for a cluster that is there for a time; see [`Self::give_back`].
    pub fn take(&self, name: &str) -> ClusterId {
        ClusterId(self.0.take(name))
    }

    /// Lets others take a number, unless something refers to the cluster by its name.
    /// Nobody may have it any more.
    pub fn give_back(&self, id: ClusterId) {
        self.0.give_back(id.0);
    }

    /// The number of `name` if it has one.
    pub fn find(&self, name: &str) -> Option<ClusterId> {
        self.0.find(name).map(ClusterId)
    }

    /// The name behind a number.
    ///
    /// # Panics
    /// When the number was not given by this object.
    pub fn name(&self, id: ClusterId) -> Arc<str> {
        self.0.name(id.0)
    }

    /// How many names have a number; numbers are all below this.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no name has a number yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The clusters that there are, for the check of what names them.
#[derive(Debug)]
pub struct KnownClusters {
    ids: HashSet<ClusterId>,
    names: Vec<Arc<str>>,
}

/// Unknown clusters of one route table for which a similar name is looked for:
/// each is compared with all clusters.
pub(crate) const SUGGESTIONS_MAX: usize = 50;

impl KnownClusters {
    /// These clusters. `None` when one has no name, which only a broken file
    /// has: whatever is named may be that one.
    #[must_use]
    pub fn of(clusters: &[Arc<Cluster>]) -> Option<Self> {
        if clusters.iter().any(|cluster| cluster.name.is_empty()) {
            return None;
        }
        Some(Self {
            ids: clusters.iter().map(|cluster| cluster.id).collect(),
            names: clusters.iter().map(|one| Arc::clone(&one.name)).collect(),
        })
    }

    /// Whether there is such a cluster.
    pub fn has(&self, id: ClusterId) -> bool {
        self.ids.contains(&id)
    }

    /// What to say of a name that is no cluster's.
    pub fn unknown(&self, name: &str, suggests: bool) -> String {
        let mut reason = format!("unknown cluster \"{name}\"");
        let names = || self.names.iter().map(ToString::to_string);
        if suggests && let Some(near) = suggest::nearest(name, names()) {
            // Writing to a string cannot fail.
            let _ = write!(reason, ", did you mean \"{near}\"?");
        }
        reason
    }
}
