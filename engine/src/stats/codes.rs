//! Counters by response code, which appear when a code is first seen:
//! `upstream_rq_completed`, `upstream_rq_2xx`, `upstream_rq_200`.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::shard::{Counter, Shard};
use super::store::Store;

/// The counters by code under one prefix. There could be 500 a prefix and few
/// are ever used, so a name is registered when a thread first meets the code;
/// after that the thread finds its counters without the store.
#[derive(Clone, Debug)]
pub struct CodeStats {
    store: Store,
    prefix: Arc<str>,
    id: u32,
}

impl CodeStats {
    /// Counters named `<prefix>upstream_rq_…`; `prefix` ends with a dot.
    #[must_use]
    pub fn new(store: &Store, prefix: &str) -> Self {
        Self {
            store: store.clone(),
            prefix: prefix.into(),
            id: store.code_set(prefix),
        }
    }

    /// Counts one response.
    #[inline]
    pub fn record(&self, code: u16) {
        Shard::with(|shard| {
            let counters = shard.codes.get(self.id, code, || self.register(code));
            counters.completed.inc();
            counters.code.inc();
            if let Some(class) = counters.class {
                class.inc();
            }
        });
    }

    #[cold]
    fn register(&self, code: u16) -> Counters {
        let counter = |name: &str| {
            let name = format!("{}upstream_rq_{name}", self.prefix);
            self.store.counter(&name)
        };
        let known = (100..600).contains(&code);
        Counters {
            completed: counter("completed"),
            class: known.then(|| counter(&format!("{}xx", code / 100))),
            // One name for all others: a peer must not be able to fill the store.
            code: match known {
                true => counter(&code.to_string()),
                false => counter("unknown"),
            },
        }
    }
}

/// A thread's counters by prefix and code.
#[derive(Debug, Default)]
pub(super) struct CodeCounters {
    by_prefix: Vec<OfPrefix>,
}

#[derive(Debug, Default)]
struct OfPrefix {
    /// Most responses have the code of the one before.
    last: Option<(u16, Counters)>,
    by_code: FxHashMap<u16, Counters>,
}

#[derive(Clone, Copy, Debug)]
struct Counters {
    completed: Counter,
    class: Option<Counter>,
    code: Counter,
}

impl CodeCounters {
    #[inline]
    fn get(&mut self, prefix: u32, code: u16, register: impl FnOnce() -> Counters) -> Counters {
        match self.by_prefix.get(prefix as usize) {
            Some(OfPrefix {
                last: Some((last, counters)),
                ..
            }) if *last == code => *counters,
            _ => self.look_up(prefix as usize, code, register),
        }
    }

    fn look_up(
        &mut self,
        prefix: usize,
        code: u16,
        register: impl FnOnce() -> Counters,
    ) -> Counters {
        if prefix >= self.by_prefix.len() {
            self.by_prefix.resize_with(prefix + 1, OfPrefix::default);
        }
        let of_prefix = &mut self.by_prefix[prefix];
        let counters = *of_prefix.by_code.entry(code).or_insert_with(register);
        of_prefix.last = Some((code, counters));
        counters
    }

    pub(super) fn forget(&mut self, prefix: u32) {
        if let Some(of_prefix) = self.by_prefix.get_mut(prefix as usize) {
            *of_prefix = OfPrefix::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_appear_when_a_code_is_first_seen() {
        let store = Store::new();
        let codes = CodeStats::new(&store, "cluster.a.");
        store.shard(Some(0)).install();
        assert!(store.snapshot(|_| true).counters.is_empty());
        for code in [200, 200, 404, 200, 999, 0] {
            codes.record(code);
        }
        let listed: Vec<_> = (store.snapshot(|_| true).counters.iter())
            .map(|counter| format!("{} {}", counter.name, counter.value))
            .collect();
        assert_eq!(
            listed,
            [
                "cluster.a.upstream_rq_200 3",
                "cluster.a.upstream_rq_2xx 3",
                "cluster.a.upstream_rq_404 1",
                "cluster.a.upstream_rq_4xx 1",
                "cluster.a.upstream_rq_completed 6",
                "cluster.a.upstream_rq_unknown 2",
            ]
        );
    }

    #[test]
    fn threads_share_the_names() {
        let store = Store::new();
        let codes = CodeStats::new(&store, "p.");
        for worker in 0..3 {
            let shard = store.shard(Some(worker));
            let codes = codes.clone();
            let thread = std::thread::spawn(move || {
                shard.install();
                codes.record(503);
            });
            thread.join().expect("the thread counts and ends");
        }
        assert_eq!(store.value("p.upstream_rq_503"), Some(3));
        assert_eq!(store.value("p.upstream_rq_5xx"), Some(3));
    }

    #[test]
    fn a_removed_prefix_can_come_back() {
        let store = Store::new();
        let scope = store.scope("p.");
        store.shard(Some(0)).install();
        CodeStats::new(&store, "p.").record(200);
        drop(scope);
        assert_eq!(store.value("p.upstream_rq_200"), None);
        Shard::flush();
        store.merge();
        CodeStats::new(&store, "p.").record(200);
        assert_eq!(store.value("p.upstream_rq_200"), Some(1));
    }
}
