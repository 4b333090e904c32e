//! Cluster names as small numbers, so that no request compares strings.

use std::sync::Arc;

use crate::names::Interner;

/// A cluster's number: its place in a worker's array of clusters. Valid with
/// the [`ClusterNames`] that gave it, for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u32);

/// Gives every cluster name a number and never takes it back.
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
