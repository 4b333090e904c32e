//! Names as small numbers: what requests would have to compare as strings is
//! numbered while the configuration is lowered.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::clusters::ClusterNames;
use crate::dns_cache::DnsCaches;
use crate::runtime::RuntimeKeys;

/// All numberings of a process. A number is never taken back, so it stays valid
/// over updates of the configuration.
#[derive(Debug, Default)]
pub struct Names {
    /// Clusters.
    pub clusters: ClusterNames,
    /// Runtime keys.
    pub runtime_keys: RuntimeKeys,
    /// Caches of names that requests ask for.
    pub dns_caches: DnsCaches,
}

/// Gives names numbers from 0 on and never takes one back.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ids: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
    /// Numbers of names that were there for a time only.
    free: Vec<u32>,
}

impl Interner {
    /// The number of `name`, given now if it has none.
    pub fn id(&self, name: &str) -> u32 {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = inner.ids.get(name) {
            return *id;
        }
        let id = u32::try_from(inner.names.len()).expect("fewer than 2^32 names fit in memory");
        let name: Arc<str> = name.into();
        inner.names.push(name.clone());
        inner.ids.insert(name, id);
        id
    }

    /// A number for a name that is there for a time: the one that it has, or one that
    /// is [given back](Self::give_back). Others do not find it by the name.
    pub fn take(&self, name: &str) -> u32 {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = inner.ids.get(name) {
            return *id;
        }
        if let Some(id) = inner.free.pop() {
            inner.names[id as usize] = name.into();
            return id;
        }
        inner.names.push(name.into());
        u32::try_from(inner.names.len() - 1).expect("fewer than 2^32 names fit in memory")
    }

    /// The number stands for nothing any more, unless its name has it for good.
    pub fn give_back(&self, id: u32) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let name = &inner.names[id as usize];
        if inner.ids.get(name) != Some(&id) {
            inner.free.push(id);
        }
    }

    /// The number of `name` if it has one.
    pub fn find(&self, name: &str) -> Option<u32> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.ids.get(name).copied()
    }

    /// The name behind a number that this object gave.
    pub fn name(&self, id: u32) -> Arc<str> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.names[id as usize].clone()
    }

    /// How many names have a number; numbers are all below this.
    pub fn len(&self) -> usize {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        let names = Interner::default();
        assert_eq!(names.id("a"), 0);
        assert_eq!(names.id("b"), 1);
        assert_eq!(names.id("a"), 0);
        assert_eq!(&*names.name(1), "b");
        assert_eq!(names.find("c"), None);
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn numbers_that_are_given_back_are_taken_again() {
        let names = Interner::default();
        assert_eq!((names.id("a"), names.take("a")), (0, 0));
        assert_eq!((names.take("b"), names.take("c")), (1, 2));
        assert_eq!((&*names.name(1), names.find("b")), ("b", None));
        names.give_back(0);
        names.give_back(1);
        assert_eq!(names.take("d"), 1, "a keeps its number");
        assert_eq!((&*names.name(1), names.id("d"), names.len()), ("d", 3, 4));
    }
}
