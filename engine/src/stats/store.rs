//! Names, slots and sums: what the control plane registers and readers see.
//!
//! The store is behind one lock, held for short times by the control plane, by
//! readers, and by a worker only when it meets a name for the first time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::histogram::{Buckets, Unit};
use super::shard::{Counter, Gauge, Histogram, Inbox, Shard};
use crate::worker::shared::StatCells;

mod hidden;
mod slots;
mod state;

pub use hidden::Hidden;

use state::{ComputedGauge, ShardEntry, State};

/// All statistics of the process. Clones are handles to the same store.
#[derive(Clone, Debug)]
pub struct Store(Arc<Mutex<State>>);

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State::new())))
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

    /// A gauge that nobody writes: `value` is asked whenever somebody reads it,
    /// with the store's lock held, so it must not use the store. It replaces
    /// one of that name.
    pub fn computed_gauge(&self, name: &str, value: impl Fn() -> Computed + Send + Sync + 'static) {
        let value = ComputedGauge(Box::new(value));
        self.state().computed.insert(name.into(), value);
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
        if let Some(&slot) = state.gauges.get(name) {
            return Some(state.gauge_value(slot).0);
        }
        (state.computed.get(name)).map(|gauge| (gauge.0)().value)
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

    /// Reads gauges from the threads that have a shard by now.
    #[must_use]
    pub fn gauge_reader(&self) -> GaugeReader {
        let state = self.state();
        let shards = state.shards.iter();
        GaugeReader(shards.map(|shard| (shard.worker, shard.cells)).collect())
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
        let mut snapshot = self.snapshot_of_all();
        // Without the lock: a worker that meets a new name must not wait for a
        // regular expression.
        snapshot.counters.retain(|counter| wanted(&counter.name));
        snapshot.gauges.retain(|gauge| wanted(&gauge.name));
        snapshot.text_readouts.retain(|text| wanted(&text.name));
        snapshot
            .histograms
            .retain(|histogram| wanted(&histogram.name));
        snapshot
    }

    fn snapshot_of_all(&self) -> Snapshot {
        let mut state = self.state();
        state.receive();
        let counters = state.counters.iter().map(|(name, &slot)| {
            let (value, used) = state.counter_value(slot);
            Value::new(name, value, used)
        });
        let gauges = state.gauges.iter().map(|(name, &slot)| {
            let (value, used) = state.gauge_value(slot);
            Value::new(name, value, used)
        });
        let computed = state.computed.iter().map(|(name, gauge)| {
            let Computed { value, used } = (gauge.0)();
            Value::new(name, value, used)
        });
        let mut gauges: Vec<_> = gauges.chain(computed).collect();
        gauges.sort_by(|a, b| a.name.cmp(&b.name));
        let text_readouts = (state.text_readouts.iter()).map(|(name, text)| TextReadout {
            name: Arc::clone(name),
            text: Arc::clone(text),
        });
        let histograms = state.histograms.iter().filter_map(|(name, entry)| {
            let is_listed = entry.always_listed || state.sum(entry.handle.used) > 0;
            is_listed.then(|| HistogramValue {
                name: Arc::clone(name),
                unit: entry.unit,
                used: entry.cumulative.count() > 0,
                interval: Arc::clone(&entry.interval),
                cumulative: Arc::clone(&entry.cumulative),
            })
        });
        Snapshot {
            counters: counters.collect(),
            gauges,
            text_readouts: text_readouts.collect(),
            histograms: histograms.collect(),
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

/// Reads gauges without the store's lock, for balancers: the sum over the
/// threads that had a shard when it was made. A worker makes it when all of
/// them have started.
#[derive(Clone, Debug)]
pub struct GaugeReader(Box<[(Option<u32>, &'static StatCells)]>);

impl GaugeReader {
    /// The gauge's value, as [`Store::gauge_value`] has it.
    #[must_use]
    pub fn read(&self, gauge: Gauge) -> u64 {
        let parts = (self.0.iter()).map(|(_, cells)| cells.get(gauge.0) as i64);
        // One thread may show what it took away before another shows what it
        // had added.
        parts.fold(0i64, i64::wrapping_add).max(0) as u64
    }

    /// Each worker's part, by its number.
    pub fn workers(&self) -> impl Iterator<Item = (u32, GaugePart)> {
        let parts = self.0.iter();
        parts.filter_map(|(worker, cells)| Some(((*worker)?, GaugePart(cells))))
    }
}

/// What one worker has counted.
#[derive(Clone, Copy, Debug)]
pub struct GaugePart(&'static StatCells);

impl GaugePart {
    /// Its part of a gauge's sum.
    #[must_use]
    pub fn read(self, gauge: Gauge) -> i64 {
        self.0.get(gauge.0) as i64
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

/// What [`Store::computed_gauge`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Computed {
    /// Its value now.
    pub value: u64,
    /// Whether it ever had another one than at first.
    pub used: bool,
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
    /// Whether anything was ever merged; as in Envoy, what was recorded since
    /// then is no use yet.
    pub used: bool,
    /// The values of the last complete interval.
    pub interval: Arc<Buckets>,
    /// All values merged so far.
    pub cumulative: Arc<Buckets>,
}

#[cfg(test)]
mod tests;
