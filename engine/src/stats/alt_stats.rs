//! Responses of a cluster counted once more under names that requests of
//! internal clients bring (`x-envoy-upstream-alt-stat-name`).
//!
//! The names come from outside, so there may be only so many: a worker makes
//! statistics for a name when it first sees it, and beyond the limit counts
//! that it did not.

use std::cell::RefCell;

use super::Store;
use super::cluster::OriginStats;

/// Names for which a worker keeps statistics of one cluster. Real ones name
/// callers or endpoints; this many lines of `/stats` are still readable.
const NAMES_MAX: usize = 64;

/// The longest name in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Which name a request is counted under: its place in the worker's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AltStatId(u8);

/// The names that a worker has seen at a cluster. Few, if any: they are looked
/// for one after the other. An empty list owns no memory.
#[derive(Default)]
pub struct AltStats {
    named: RefCell<Vec<(Box<[u8]>, OriginStats)>>,
}

impl AltStats {
    /// The statistics of `name` below `prefix`, which is the cluster's and ends
    /// with a dot; `None` when there are too many already.
    pub fn find(
        &self,
        name: &[u8],
        prefix: impl Fn() -> String,
        store: &Store,
    ) -> Option<AltStatId> {
        // Envoy's names have no dots at their ends.
        let end = name.iter().rposition(|byte| *byte != b'.');
        let name = &name[..end.map_or(0, |end| end + 1)];
        let mut named = self.named.borrow_mut();
        let known = named.iter().position(|(known, _)| **known == *name);
        let place = match known {
            Some(place) => place,
            None if named.len() == NAMES_MAX || name.len() > NAME_BYTES_MAX => return None,
            None => {
                let prefix = format!("{}{}.", prefix(), String::from_utf8_lossy(name));
                named.push((name.into(), OriginStats::new(store, &prefix)));
                named.len() - 1
            }
        };
        u8::try_from(place).ok().map(AltStatId)
    }

    /// Calls `f` with the statistics of a name.
    pub fn with(&self, id: AltStatId, f: impl FnOnce(&OriginStats)) {
        if let Some((_, stats)) = self.named.borrow().get(usize::from(id.0)) {
            f(stats);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_and_are_only_so_many() {
        let store = Store::new();
        store.shard(None).install();
        let stats = AltStats::default();
        let find = |name: &str| stats.find(name.as_bytes(), || "cluster.c.".into(), &store);
        let first = find("first").expect("there is room");
        assert_eq!(find("first.."), Some(first));
        assert_ne!(find(""), Some(first));
        for n in 2..NAMES_MAX {
            assert!(find(&n.to_string()).is_some(), "{n}");
        }
        assert_eq!(find("one too many"), None);
        assert_eq!(find("first"), Some(first));
        stats.with(first, |stats| stats.code(503, true, false));
        for name in ["upstream_rq_503", "internal.upstream_rq_5xx"] {
            let name = format!("cluster.c.first.{name}");
            assert_eq!(store.value(&name), Some(1), "{name}");
        }
    }

    #[test]
    fn long_names_are_refused() {
        let (store, stats) = (Store::new(), AltStats::default());
        let find = |len| stats.find(&vec![b'n'; len], String::new, &store);
        assert_eq!(find(NAME_BYTES_MAX + 1), None);
        assert!(find(NAME_BYTES_MAX).is_some());
    }
}
