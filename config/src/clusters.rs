//! Cluster names as small numbers, so that no request compares strings.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// A cluster's number: its place in a worker's array of clusters. Valid with
/// the [`ClusterNames`] that gave it, for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u32);

/// Gives every cluster name a number and never takes it back.
///
/// A route may name a cluster that does not exist yet (or never will), so a
/// number says nothing about existence. Used while lowering only; workers
/// carry the numbers.
#[derive(Debug, Default)]
pub struct ClusterNames {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ids: HashMap<Arc<str>, ClusterId>,
    names: Vec<Arc<str>>,
}

impl ClusterNames {
    /// No names yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of `name`, given now if it has none.
    pub fn id(&self, name: &str) -> ClusterId {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = inner.ids.get(name) {
            return *id;
        }
        let id = ClusterId(
            u32::try_from(inner.names.len()).expect("fewer than 2^32 names fit in memory"),
        );
        let name: Arc<str> = name.into();
        inner.names.push(name.clone());
        inner.ids.insert(name, id);
        id
    }

    /// The number of `name` if it has one.
    pub fn find(&self, name: &str) -> Option<ClusterId> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.ids.get(name).copied()
    }

    /// The name behind a number.
    ///
    /// # Panics
    /// When the number was not given by this object.
    pub fn name(&self, id: ClusterId) -> Arc<str> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.names[id.0 as usize].clone()
    }

    /// How many names have a number; numbers are all below this.
    pub fn len(&self) -> usize {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.names.len()
    }

    /// Whether no name has a number yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        let names = ClusterNames::new();
        assert_eq!(names.id("a"), ClusterId(0));
        assert_eq!(names.id("b"), ClusterId(1));
        assert_eq!(names.id("a"), ClusterId(0));
        assert_eq!(&*names.name(ClusterId(1)), "b");
        assert_eq!(names.find("c"), None);
        assert_eq!(names.len(), 2);
    }
}
