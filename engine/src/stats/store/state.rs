//! What is behind the store's lock: the tables, and the life of a slot.
//!
//! A slot that is given up still holds counts in every shard, and only a shard's
//! owner may write its cells. So each shard is asked to clear it, does so at its
//! next flush, and says so; when all have, the slot can be taken again.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, PoisonError};

use super::Computed;
use super::slots::{GAUGE_SLOTS, Slots};
use crate::stats::histogram::{Buckets, Unit};
use crate::stats::shard::{Counter, FromShard, Gauge, Histogram, Inbox, Retire, Retired};
use crate::worker::shared::StatCells;

#[derive(Debug)]
pub(super) struct State {
    /// By name, the slot.
    pub(super) counters: BTreeMap<Arc<str>, u32>,
    /// By name, the first of the two slots.
    pub(super) gauges: BTreeMap<Arc<str>, u32>,
    pub(super) computed: BTreeMap<Arc<str>, ComputedGauge>,
    pub(super) histograms: BTreeMap<Arc<str>, HistogramEntry>,
    /// The names of histograms by index; `None` is free.
    histogram_names: Vec<Option<Arc<str>>>,
    pub(super) text_readouts: BTreeMap<Arc<str>, Arc<str>>,
    /// The ids of the [`CodeStats`](super::CodeStats) by prefix, the free ones,
    /// and the number of all.
    pub(super) code_sets: BTreeMap<Arc<str>, u32>,
    pub(super) free_code_sets: Vec<u32>,
    pub(super) code_sets_made: u32,
    /// By slot of a counter, the sum that counts as zero since the last reset:
    /// workers' cells are never written from outside.
    pub(super) bases: HashMap<u32, u64>,
    /// How many scopes each prefix has.
    pub(super) scopes: BTreeMap<Box<str>, usize>,
    pub(super) slots: Slots,
    /// Written under the store's lock, by whoever has no shard.
    pub(super) own: &'static StatCells,
    pub(super) shards: Vec<ShardEntry>,
    /// What was removed and not yet cleared by all shards.
    retiring: HashMap<u64, Retiring>,
    retired_count: u64,
    pub(super) to_store: Sender<FromShard>,
    from_shards: Receiver<FromShard>,
}

/// A gauge that is asked for its value.
pub(super) struct ComputedGauge(pub(super) Box<dyn Fn() -> Computed + Send + Sync>);

impl fmt::Debug for ComputedGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ComputedGauge").finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) struct HistogramEntry {
    pub(super) handle: Histogram,
    pub(super) unit: Unit,
    pub(super) always_listed: bool,
    /// Handed over since the last merge.
    pub(super) recording: Buckets,
    pub(super) interval: Arc<Buckets>,
    pub(super) cumulative: Arc<Buckets>,
}

#[derive(Debug)]
pub(super) struct ShardEntry {
    pub(super) worker: Option<u32>,
    pub(super) cells: &'static StatCells,
    /// `None` when the owner is gone; the store owns the cells then.
    pub(super) inbox: Option<Arc<Inbox>>,
}

#[derive(Debug)]
struct Retiring {
    what: Retire,
    waiting_for: Vec<u32>,
}

impl State {
    pub(super) fn new() -> Self {
        let (to_store, from_shards) = mpsc::channel();
        let own: &'static StatCells = Box::leak(Box::default());
        Self {
            counters: BTreeMap::new(),
            gauges: BTreeMap::new(),
            computed: BTreeMap::new(),
            histograms: BTreeMap::new(),
            histogram_names: Vec::new(),
            text_readouts: BTreeMap::new(),
            code_sets: BTreeMap::new(),
            free_code_sets: Vec::new(),
            code_sets_made: 0,
            bases: HashMap::new(),
            scopes: BTreeMap::new(),
            slots: Slots::new(),
            own,
            shards: Vec::new(),
            retiring: HashMap::new(),
            retired_count: 0,
            to_store,
            from_shards,
        }
    }

    pub(super) fn counter(&mut self, name: &str) -> Counter {
        if let Some(&slot) = self.counters.get(name) {
            return Counter(slot);
        }
        let slot = self.slots.take(1);
        self.counters.insert(name.into(), slot);
        Counter(slot)
    }

    pub(super) fn gauge(&mut self, name: &str) -> Gauge {
        if let Some(&slot) = self.gauges.get(name) {
            return Gauge(slot);
        }
        let slot = self.slots.take(GAUGE_SLOTS);
        self.gauges.insert(name.into(), slot);
        Gauge(slot)
    }

    pub(super) fn histogram(&mut self, name: &str, unit: Unit, always_listed: bool) -> Histogram {
        if let Some(entry) = self.histograms.get_mut(name) {
            entry.always_listed |= always_listed;
            return entry.handle;
        }
        let name: Arc<str> = name.into();
        let free = self.histogram_names.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.histogram_names.push(None);
            self.histogram_names.len() - 1
        });
        self.histogram_names[index] = Some(Arc::clone(&name));
        let handle = Histogram {
            index: index as u32,
            used: self.slots.take(1),
        };
        self.histograms.insert(
            name,
            HistogramEntry {
                handle,
                unit,
                always_listed,
                recording: Buckets::default(),
                interval: Arc::default(),
                cumulative: Arc::default(),
            },
        );
        handle
    }

    pub(super) fn sum(&self, slot: u32) -> u64 {
        let own = self.own.get(slot);
        (self.shards.iter()).fold(own, |sum, shard| sum.wrapping_add(shard.cells.get(slot)))
    }

    /// The value since the last reset, and whether it ever counted.
    pub(super) fn counter_value(&self, slot: u32) -> (u64, bool) {
        let sum = self.sum(slot);
        let base = self.bases.get(&slot).copied().unwrap_or(0);
        (sum.wrapping_sub(base), sum > 0)
    }

    /// The value, and whether it was ever written.
    pub(super) fn gauge_value(&self, slot: u32) -> (u64, bool) {
        let sum = self.sum(slot);
        let writers = self.sum(slot + 1);
        // One shard may show what it took away before another shows what it
        // had added. A gauge with one writer may use all 64 bits.
        let torn = writers > 1 && (sum as i64) < 0;
        (if torn { 0 } else { sum }, writers > 0)
    }

    pub(super) fn leave_scope(&mut self, prefix: &str) {
        let Some(count) = self.scopes.get_mut(prefix) else {
            return;
        };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.scopes.remove(prefix);
        for (kind, name) in self.names_of(prefix) {
            match kind {
                Kind::Counter => {
                    if let Some(slot) = self.counters.remove(&name) {
                        self.retire(Retire::Slots(slot, 1));
                    }
                }
                Kind::Gauge => {
                    if let Some(slot) = self.gauges.remove(&name) {
                        self.retire(Retire::Slots(slot, GAUGE_SLOTS));
                    }
                }
                Kind::Computed => {
                    self.computed.remove(&name);
                }
                Kind::Histogram => {
                    if let Some(entry) = self.histograms.remove(&name) {
                        self.retire(Retire::Slots(entry.handle.used, 1));
                        self.retire(Retire::Histogram(entry.handle.index));
                    }
                }
                Kind::TextReadout => {
                    self.text_readouts.remove(&name);
                }
                Kind::Codes => {
                    if let Some(id) = self.code_sets.remove(&name) {
                        self.retire(Retire::Codes(id));
                    }
                }
            }
        }
    }

    /// The names that only a scope of `prefix` kept.
    fn names_of(&self, prefix: &str) -> Vec<(Kind, Arc<str>)> {
        fn below<'a, V>(
            names: &'a BTreeMap<Arc<str>, V>,
            prefix: &'a str,
        ) -> impl Iterator<Item = Arc<str>> + 'a {
            (names.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)))
                .map(|(name, _)| Arc::clone(name))
                .take_while(move |name| name.starts_with(prefix))
        }
        let kept_by_another =
            |name: &str| (self.scopes.keys()).any(|other| name.starts_with(&**other));
        let all = (below(&self.counters, prefix).map(|name| (Kind::Counter, name)))
            .chain(below(&self.gauges, prefix).map(|name| (Kind::Gauge, name)))
            .chain(below(&self.computed, prefix).map(|name| (Kind::Computed, name)))
            .chain(below(&self.histograms, prefix).map(|name| (Kind::Histogram, name)))
            .chain(below(&self.text_readouts, prefix).map(|name| (Kind::TextReadout, name)))
            .chain(below(&self.code_sets, prefix).map(|name| (Kind::Codes, name)));
        all.filter(|(_, name)| !kept_by_another(name)).collect()
    }

    /// Asks every shard to clear what was removed; it is free when all have.
    pub(super) fn retire(&mut self, what: Retire) {
        self.retired_count += 1;
        let id = self.retired_count;
        clear(self.own, what);
        let mut waiting_for = Vec::new();
        for (shard, entry) in self.shards.iter().enumerate() {
            match &entry.inbox {
                Some(inbox) => {
                    let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
                    inbox.push(Retired { id, what });
                    waiting_for.push(shard as u32);
                }
                None => clear(entry.cells, what),
            }
        }
        self.retiring.insert(id, Retiring { what, waiting_for });
        self.free_if_cleared(id);
    }

    fn free_if_cleared(&mut self, id: u64) {
        let Some(retiring) = self.retiring.get(&id) else {
            return;
        };
        if !retiring.waiting_for.is_empty() {
            return;
        }
        match retiring.what {
            Retire::Slots(start, len) => {
                self.bases.remove(&start);
                self.slots.give_back(start, len);
            }
            Retire::Histogram(index) => self.histogram_names[index as usize] = None,
            Retire::Codes(id) => self.free_code_sets.push(id),
        }
        self.retiring.remove(&id);
    }

    pub(super) fn receive(&mut self) {
        while let Ok(message) = self.from_shards.try_recv() {
            match message {
                FromShard::Recorded { histogram, counts } => self.recorded(histogram, &counts),
                FromShard::Cleared { shard, retired } => self.cleared(shard, retired),
                FromShard::Closed { shard } => self.closed(shard),
            }
        }
    }

    fn recorded(&mut self, histogram: u32, counts: &[(u16, u32)]) {
        let name = self.histogram_names.get(histogram as usize);
        let Some(Some(name)) = name else { return };
        // Absent when the histogram was removed and is not yet cleared.
        let Some(entry) = self.histograms.get_mut(name) else {
            return;
        };
        // The name may be in use again with another index.
        if entry.handle.index != histogram {
            return;
        }
        for &(index, n) in counts {
            entry.recording.add(index.into(), n.into());
        }
    }

    fn cleared(&mut self, shard: u32, retired: u64) {
        if let Some(retiring) = self.retiring.get_mut(&retired) {
            retiring.waiting_for.retain(|&waiting| waiting != shard);
            self.free_if_cleared(retired);
        }
    }

    fn closed(&mut self, shard: u32) {
        let entry = &mut self.shards[shard as usize];
        entry.inbox = None;
        let cells = entry.cells;
        let waiting: Vec<u64> = (self.retiring.iter())
            .filter(|(_, retiring)| retiring.waiting_for.contains(&shard))
            .map(|(&id, retiring)| {
                clear(cells, retiring.what);
                id
            })
            .collect();
        for id in waiting {
            self.cleared(shard, id);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Counter,
    Gauge,
    Computed,
    Histogram,
    TextReadout,
    Codes,
}

fn clear(cells: &StatCells, what: Retire) {
    if let Retire::Slots(start, len) = what {
        (start..start + len).for_each(|slot| cells.set(slot, 0));
    }
}
