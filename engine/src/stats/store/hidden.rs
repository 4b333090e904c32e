//! Statistics without names, for what is shown elsewhere than in `/stats`: the
//! hosts of `/clusters`, of which there may be ten thousands.

use super::Store;
use super::slots::GAUGE_SLOTS;
use crate::stats::shard::{Counter, Gauge, Retire};

/// Some counters and some gauges that lie side by side, so that one number
/// stands for all of them. Give them back with [`Hidden::release`].
#[derive(Debug)]
pub struct Hidden<const COUNTERS: u32, const GAUGES: u32>(u32);

impl<const COUNTERS: u32, const GAUGES: u32> Hidden<COUNTERS, GAUGES> {
    const SLOTS: u32 = COUNTERS + GAUGES * GAUGE_SLOTS;

    /// New ones; all are 0.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self(store.state().slots.take(Self::SLOTS))
    }

    /// The counter with this number, from 0 on.
    #[must_use]
    pub const fn counter(&self, number: u32) -> Counter {
        assert!(number < COUNTERS);
        Counter(self.0 + number)
    }

    /// The gauge with this number, from 0 on.
    #[must_use]
    pub const fn gauge(&self, number: u32) -> Gauge {
        assert!(number < GAUGES);
        Gauge(self.0 + COUNTERS + number * GAUGE_SLOTS)
    }

    /// Gives them back. No thread may count with them any more.
    pub fn release(&self, store: &Store) {
        (store.state()).retire(Retire::Slots(self.0, Self::SLOTS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Shard;

    #[test]
    fn they_lie_side_by_side_and_come_back_empty() {
        let store = Store::new();
        store.shard(None).install();
        let one = Hidden::<2, 2>::new(&store);
        let other = Hidden::<2, 2>::new(&store);
        let [a, b] = [one.counter(0), one.counter(1)];
        let [c, d] = [one.gauge(0), one.gauge(1)];
        a.inc();
        b.add(2);
        c.inc();
        d.add(4);
        let read = |slots: &Hidden<2, 2>| {
            let counters = [0, 1].map(|number| store.counter_value(slots.counter(number)));
            (
                counters,
                [0, 1].map(|number| store.gauge_value(slots.gauge(number))),
            )
        };
        assert_eq!(read(&one), ([1, 2], [1, 4]));
        assert_eq!(read(&other), ([0, 0], [0, 0]));
        assert!(store.snapshot(|_| true).counters.is_empty(), "no names");
        one.release(&store);
        // The thread that counted lets go of them when it hands over.
        Shard::flush();
        store.merge();
        let next = Hidden::<2, 2>::new(&store);
        assert_eq!(next.counter(0), a, "the same slots");
        assert_eq!(read(&next), ([0, 0], [0, 0]));
    }
}
