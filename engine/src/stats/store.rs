//! Names, slots and sums: what the control plane registers and readers see.
//!
//! The store is behind one lock, held for short times by the control plane, by
//! readers, and by a worker only when it meets a name for the first time.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::histogram::{Buckets, Unit};
use super::shard::{Counter, FromShard, Gauge, Histogram, Inbox, Retire, Retired, Shard};
use crate::worker::shared::StatCells;

/// All statistics of the process. Clones are handles to the same store.
#[derive(Clone, Debug)]
pub struct Store(Arc<Mutex<State>>);

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let (to_store, from_shards) = mpsc::channel();
        let own: &'static StatCells = Box::leak(Box::default());
        Self(Arc::new(Mutex::new(State {
            counters: BTreeMap::new(),
            gauges: BTreeMap::new(),
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
        })))
    }

    /// The counter with this name; made at the first call, listed from then on.
    #[must_use]
    pub fn counter(&self, name: &str) -> Counter {
        self.state().counter(name)
    }

    /// The gauge with this name; made at the first call, listed from then on.
    #[must_use]
    pub fn gauge(&self, name: &str) -> Gauge {
        self.state().gauge(name)
    }

    /// The histogram with this name; made at the first call, listed from then on.
    #[must_use]
    pub fn histogram(&self, name: &str, unit: Unit) -> Histogram {
        self.state().histogram(name, unit, true)
    }

    /// Like [`Store::histogram`], but listed only once it has recorded.
    #[must_use]
    pub fn histogram_when_used(&self, name: &str, unit: Unit) -> Histogram {
        self.state().histogram(name, unit, false)
    }

    /// Sets a text; an existing one is replaced.
    pub fn text_readout(&self, name: &str, text: &str) {
        (self.state().text_readouts).insert(name.into(), text.into());
    }

    /// The number under which each shard keeps the counters by code of a prefix.
    pub(super) fn code_set(&self, prefix: &str) -> u32 {
        let mut state = self.state();
        if let Some(&id) = state.code_sets.get(prefix) {
            return id;
        }
        let id = state.free_code_sets.pop().unwrap_or_else(|| {
            state.code_sets_made += 1;
            state.code_sets_made - 1
        });
        state.code_sets.insert(prefix.into(), id);
        id
    }

    /// A counter without a name, for what is shown elsewhere than in `/stats`
    /// (the hosts of `/clusters`). Give it back with [`Store::release_counter`].
    #[must_use]
    pub fn hidden_counter(&self) -> Counter {
        Counter(self.state().slots.take(1))
    }

    /// A gauge without a name; see [`Store::hidden_counter`].
    #[must_use]
    pub fn hidden_gauge(&self) -> Gauge {
        Gauge(self.state().slots.take(GAUGE_SLOTS))
    }

    /// Gives a hidden counter back. No thread may count with it any more.
    pub fn release_counter(&self, counter: Counter) {
        self.state().retire(Retire::Slots(counter.0, 1));
    }

    /// Gives a hidden gauge back. No thread may count with it any more.
    pub fn release_gauge(&self, gauge: Gauge) {
        self.state().retire(Retire::Slots(gauge.0, GAUGE_SLOTS));
    }

    /// Names that begin with `prefix` live until the last scope of that prefix
    /// is dropped, which may happen only when no thread counts with them any
    /// more. Names under a longer prefix that has a scope of its own stay.
    /// Names registered without any scope live as long as the process.
    #[must_use]
    pub fn scope(&self, prefix: &str) -> Scope {
        *self.state().scopes.entry(prefix.into()).or_insert(0) += 1;
        Scope {
            store: self.clone(),
            prefix: prefix.into(),
        }
    }

    /// The statistics of one more thread: worker `worker`, or another one.
    #[must_use]
    pub fn shard(&self, worker: Option<u32>) -> Shard {
        let mut state = self.state();
        let id = state.shards.len() as u32;
        // Totals outlive the thread that counted them.
        let cells: &'static StatCells = Box::leak(Box::default());
        let inbox = Arc::new(Inbox::default());
        state.shards.push(ShardEntry {
            worker,
            cells,
            inbox: Some(Arc::clone(&inbox)),
        });
        Shard::new(id, cells, state.to_store.clone(), inbox)
    }

    /// The value of the counter or gauge with this name, if there is one.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<u64> {
        let state = self.state();
        if let Some(&slot) = state.counters.get(name) {
            return Some(state.counter_value(slot).0);
        }
        (state.gauges.get(name)).map(|&slot| state.gauge_value(slot).0)
    }

    /// The value of a counter; the one to use for hidden ones.
    #[must_use]
    pub fn counter_value(&self, counter: Counter) -> u64 {
        self.state().counter_value(counter.0).0
    }

    /// The value of a gauge; the one to use for hidden ones.
    #[must_use]
    pub fn gauge_value(&self, gauge: Gauge) -> u64 {
        self.state().gauge_value(gauge.0).0
    }

    /// One worker's part of a counter or of a gauge's sum.
    #[must_use]
    pub fn worker_value(&self, worker: u32, name: &str) -> Option<u64> {
        let state = self.state();
        let slot = *(state.counters.get(name)).or_else(|| state.gauges.get(name))?;
        let of_worker = |shard: &&ShardEntry| shard.worker == Some(worker);
        Some(
            (state.shards.iter().filter(of_worker))
                .fold(0, |sum, shard| sum.wrapping_add(shard.cells.get(slot))),
        )
    }

    /// Adds to a counter from a thread without a shard (the control plane).
    pub fn add(&self, counter: Counter, n: u64) {
        self.state().own.add(counter.0, n);
    }

    /// Sets a gauge that no thread counts with: any thread may, the last wins.
    pub fn set(&self, gauge: Gauge, value: u64) {
        let state = self.state();
        state.own.set(gauge.0, value);
        state.own.set(gauge.0 + 1, 1);
    }

    /// Sets every listed counter to zero. Gauges and histograms stay.
    pub fn reset_counters(&self) {
        let mut state = self.state();
        let slots: Vec<u32> = state.counters.values().copied().collect();
        for slot in slots {
            let raw = state.sum(slot);
            state.bases.insert(slot, raw);
        }
    }

    /// Ends an interval of the histograms: what the shards handed over becomes
    /// the last interval and is added to the totals. The control plane calls it
    /// once every `stats_flush_interval`, after the workers' [`Shard::flush`].
    pub fn merge(&self) {
        let mut state = self.state();
        state.receive();
        for entry in state.histograms.values_mut() {
            let recorded = std::mem::take(&mut entry.recording);
            let has_recorded = recorded.count() > 0;
            if has_recorded {
                Arc::make_mut(&mut entry.cumulative).merge(&recorded);
            }
            if has_recorded || entry.interval.count() > 0 {
                entry.interval = Arc::new(recorded);
            }
        }
    }

    /// The listed statistics whose name passes `wanted`, sorted by name.
    #[must_use]
    pub fn snapshot(&self, wanted: impl Fn(&str) -> bool) -> Snapshot {
        let mut state = self.state();
        state.receive();
        let state = &*state;
        Snapshot {
            counters: (state.counters.iter())
                .filter(|(name, _)| wanted(name))
                .map(|(name, &slot)| {
                    let (value, used) = state.counter_value(slot);
                    Value::new(name, value, used)
                })
                .collect(),
            gauges: (state.gauges.iter())
                .filter(|(name, _)| wanted(name))
                .map(|(name, &slot)| {
                    let (value, used) = state.gauge_value(slot);
                    Value::new(name, value, used)
                })
                .collect(),
            text_readouts: (state.text_readouts.iter())
                .filter(|(name, _)| wanted(name))
                .map(|(name, text)| TextReadout {
                    name: Arc::clone(name),
                    text: Arc::clone(text),
                })
                .collect(),
            histograms: (state.histograms.iter())
                .filter(|(name, _)| wanted(name))
                .filter_map(|(name, entry)| {
                    let used = state.sum(entry.handle.used) > 0;
                    (used || entry.always_listed).then(|| HistogramValue {
                        name: Arc::clone(name),
                        unit: entry.unit,
                        used,
                        interval: Arc::clone(&entry.interval),
                        cumulative: Arc::clone(&entry.cumulative),
                    })
                })
                .collect(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps the names with a prefix registered; see [`Store::scope`].
#[derive(Debug)]
pub struct Scope {
    store: Store,
    prefix: Box<str>,
}

impl Scope {
    /// The prefix, with its last dot.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.store.state().leave_scope(&self.prefix);
    }
}

/// What a reader sees at one moment, each list sorted by name.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counters.
    pub counters: Vec<Value>,
    /// Gauges.
    pub gauges: Vec<Value>,
    /// Texts.
    pub text_readouts: Vec<TextReadout>,
    /// Histograms, as of the last [`Store::merge`].
    pub histograms: Vec<HistogramValue>,
}

/// A counter or gauge in a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its full name.
    pub name: Arc<str>,
    /// The sum over all threads.
    pub value: u64,
    /// Whether it was ever written, even if it is zero now.
    pub used: bool,
}

impl Value {
    fn new(name: &Arc<str>, value: u64, used: bool) -> Self {
        Self {
            name: Arc::clone(name),
            value,
            used,
        }
    }
}

/// A text in a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextReadout {
    /// Its full name.
    pub name: Arc<str>,
    /// The text.
    pub text: Arc<str>,
}

/// A histogram in a [`Snapshot`].
#[derive(Clone, Debug)]
pub struct HistogramValue {
    /// Its full name.
    pub name: Arc<str>,
    /// What its values mean.
    pub unit: Unit,
    /// Whether anything was ever recorded, merged or not.
    pub used: bool,
    /// The values of the last complete interval.
    pub interval: Arc<Buckets>,
    /// All values merged so far.
    pub cumulative: Arc<Buckets>,
}

#[derive(Debug)]
struct State {
    /// By name, the slot.
    counters: BTreeMap<Arc<str>, u32>,
    /// By name, the first of the two slots.
    gauges: BTreeMap<Arc<str>, u32>,
    histograms: BTreeMap<Arc<str>, HistogramEntry>,
    /// The names of histograms by index; `None` is free.
    histogram_names: Vec<Option<Arc<str>>>,
    text_readouts: BTreeMap<Arc<str>, Arc<str>>,
    /// The ids of the [`CodeStats`](super::CodeStats) by prefix, the free ones,
    /// and the number of all.
    code_sets: BTreeMap<Arc<str>, u32>,
    free_code_sets: Vec<u32>,
    code_sets_made: u32,
    /// By slot of a counter, the sum that counts as zero since the last reset:
    /// workers' cells are never written from outside.
    bases: HashMap<u32, u64>,
    /// How many scopes each prefix has.
    scopes: BTreeMap<Box<str>, usize>,
    slots: Slots,
    /// Written under the store's lock, by whoever has no shard.
    own: &'static StatCells,
    shards: Vec<ShardEntry>,
    /// What was removed and not yet cleared by all shards.
    retiring: HashMap<u64, Retiring>,
    retired_count: u64,
    to_store: Sender<FromShard>,
    from_shards: Receiver<FromShard>,
}

#[derive(Debug)]
struct HistogramEntry {
    handle: Histogram,
    unit: Unit,
    always_listed: bool,
    /// Handed over since the last merge.
    recording: Buckets,
    interval: Arc<Buckets>,
    cumulative: Arc<Buckets>,
}

#[derive(Debug)]
struct ShardEntry {
    worker: Option<u32>,
    cells: &'static StatCells,
    /// `None` when the owner is gone; the store owns the cells then.
    inbox: Option<Arc<Inbox>>,
}

#[derive(Debug)]
struct Retiring {
    what: Retire,
    waiting_for: Vec<u32>,
}

impl State {
    fn counter(&mut self, name: &str) -> Counter {
        if let Some(&slot) = self.counters.get(name) {
            return Counter(slot);
        }
        let slot = self.slots.take(1);
        self.counters.insert(name.into(), slot);
        Counter(slot)
    }

    fn gauge(&mut self, name: &str) -> Gauge {
        if let Some(&slot) = self.gauges.get(name) {
            return Gauge(slot);
        }
        let slot = self.slots.take(GAUGE_SLOTS);
        self.gauges.insert(name.into(), slot);
        Gauge(slot)
    }

    fn histogram(&mut self, name: &str, unit: Unit, always_listed: bool) -> Histogram {
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

    fn sum(&self, slot: u32) -> u64 {
        let own = self.own.get(slot);
        (self.shards.iter()).fold(own, |sum, shard| sum.wrapping_add(shard.cells.get(slot)))
    }

    /// The value since the last reset, and whether it ever counted.
    fn counter_value(&self, slot: u32) -> (u64, bool) {
        let sum = self.sum(slot);
        let base = self.bases.get(&slot).copied().unwrap_or(0);
        (sum.wrapping_sub(base), sum > 0)
    }

    /// The value, and whether it was ever written.
    fn gauge_value(&self, slot: u32) -> (u64, bool) {
        let sum = self.sum(slot);
        let writers = self.sum(slot + 1);
        // One shard may show what it took away before another shows what it
        // had added. A gauge with one writer may use all 64 bits.
        let torn = writers > 1 && (sum as i64) < 0;
        (if torn { 0 } else { sum }, writers > 0)
    }

    fn leave_scope(&mut self, prefix: &str) {
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
            .chain(below(&self.histograms, prefix).map(|name| (Kind::Histogram, name)))
            .chain(below(&self.text_readouts, prefix).map(|name| (Kind::TextReadout, name)))
            .chain(below(&self.code_sets, prefix).map(|name| (Kind::Codes, name)));
        all.filter(|(_, name)| !kept_by_another(name)).collect()
    }

    /// Asks every shard to clear what was removed; it is free when all have.
    fn retire(&mut self, what: Retire) {
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

    fn receive(&mut self) {
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
    Histogram,
    TextReadout,
    Codes,
}

fn clear(cells: &StatCells, what: Retire) {
    if let Retire::Slots(start, len) = what {
        (start..start + len).for_each(|slot| cells.set(slot, 0));
    }
}

/// Which slots are taken.
#[derive(Debug)]
struct Slots {
    next: u32,
    free: HashMap<u32, Vec<u32>>,
    exhausted: bool,
}

impl Slots {
    fn new() -> Self {
        Self {
            next: OVERFLOW_SLOTS,
            free: HashMap::new(),
            exhausted: false,
        }
    }

    /// The first of `len` slots. When all are taken, the ones that everything
    /// beyond the limit shares: nothing fails, those numbers mean nothing.
    fn take(&mut self, len: u32) -> u32 {
        if let Some(slot) = self.free.get_mut(&len).and_then(Vec::pop) {
            return slot;
        }
        if self.next > StatCells::SLOTS_MAX - len {
            if !std::mem::replace(&mut self.exhausted, true) {
                tracing::error!(
                    limit = StatCells::SLOTS_MAX,
                    "too many statistics: further ones are not counted"
                );
            }
            return 0;
        }
        let slot = self.next;
        self.next += len;
        slot
    }

    fn give_back(&mut self, slot: u32, len: u32) {
        if slot >= OVERFLOW_SLOTS {
            self.free.entry(len).or_default().push(slot);
        }
    }
}

/// A gauge's value, then whether it was written.
const GAUGE_SLOTS: u32 = 2;
/// Slots that everything beyond the limit shares: as many as the widest takes.
const OVERFLOW_SLOTS: u32 = GAUGE_SLOTS;

#[cfg(test)]
mod tests;
