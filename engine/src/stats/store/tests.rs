use super::slots::OVERFLOW_SLOTS;
use super::*;

fn counters(store: &Store) -> Vec<String> {
    (store.snapshot(|_| true).counters.iter())
        .map(|counter| format!("{}={}", counter.name, counter.value))
        .collect()
}

#[test]
fn the_same_name_is_the_same_counter() {
    let store = Store::new();
    assert_eq!(store.counter("a"), store.counter("a"));
    assert_ne!(store.counter("a"), store.counter("b"));
    assert_ne!(store.counter("a").0, store.gauge("a").0);
    assert_eq!(
        store.histogram("h", Unit::Bytes),
        store.histogram("h", Unit::Bytes)
    );
}

#[test]
fn values_are_sums_over_threads() {
    let store = Store::new();
    let (requests, active) = (store.counter("requests"), store.gauge("active"));
    for worker in 0..4 {
        let shard = store.shard(Some(worker));
        let thread = std::thread::spawn(move || {
            shard.install();
            requests.add(10);
            requests.inc();
            // What the first thread opens, the others close.
            active.add(if worker == 0 { 5 } else { -1 });
        });
        thread.join().expect("the thread counts and ends");
    }
    assert_eq!(store.value("requests"), Some(44));
    assert_eq!(store.value("active"), Some(2));
    assert_eq!(store.worker_value(3, "requests"), Some(11));
    assert_eq!(store.value("unknown"), None);
}

#[test]
fn a_thread_without_a_shard_counts_into_nothing() {
    let store = Store::new();
    let (counter, gauge) = (store.counter("c"), store.gauge("g"));
    let histogram = store.histogram("h", Unit::Milliseconds);
    let thread = std::thread::spawn(move || {
        counter.inc();
        gauge.dec();
        histogram.record(5);
        Shard::flush();
    });
    thread.join().expect("nothing panics");
    store.merge();
    assert_eq!(store.value("c"), Some(0));
    assert_eq!(store.value("g"), Some(0));
    assert_eq!(store.snapshot(|_| true).histograms[0].cumulative.count(), 0);
}

#[test]
fn a_name_added_while_a_thread_counts_can_be_counted_at_once() {
    let store = Store::new();
    store.shard(Some(0)).install();
    let mut last = store.counter("first");
    for n in 0..5_000 {
        last = store.counter(&format!("counter_{n}"));
        last.add(n);
    }
    assert_eq!(store.counter_value(last), 4_999);
    assert_eq!(store.value("counter_17"), Some(17));
    assert_eq!(store.value("first"), Some(0));
}

#[test]
fn a_reset_keeps_the_workers_cells_and_what_was_used() {
    let store = Store::new();
    store.shard(Some(0)).install();
    let (counter, gauge) = (store.counter("c"), store.gauge("g"));
    counter.add(7);
    gauge.add(3);
    store.reset_counters();
    assert_eq!(store.value("c"), Some(0));
    assert_eq!(store.value("g"), Some(3));
    assert!(store.snapshot(|_| true).counters[0].used);
    counter.inc();
    assert_eq!(store.value("c"), Some(1));
}

#[test]
fn gauges_know_that_they_were_written() {
    let store = Store::new();
    store.shard(Some(0)).install();
    let (moved, set, _untouched) = (store.gauge("a"), store.gauge("b"), store.gauge("c"));
    moved.inc();
    moved.dec();
    set.set(u64::MAX);
    let gauges = store.snapshot(|_| true).gauges;
    let seen: Vec<_> = gauges
        .iter()
        .map(|gauge| (gauge.value, gauge.used))
        .collect();
    assert_eq!(seen, [(0, true), (u64::MAX, true), (0, false)]);
}

#[test]
fn a_sum_that_is_negative_for_a_moment_is_shown_as_zero() {
    let store = Store::new();
    let gauge = store.gauge("g");
    for n in [1, -2] {
        let shard = store.shard(None);
        let thread = std::thread::spawn(move || {
            shard.install();
            gauge.add(n);
        });
        thread.join().expect("the thread counts and ends");
    }
    assert_eq!(store.value("g"), Some(0));
}

#[test]
fn the_control_plane_counts_without_a_shard() {
    let store = Store::new();
    let (counter, gauge) = (store.counter("c"), store.gauge("g"));
    store.add(counter, 2);
    store.set(gauge, 4);
    store.set(gauge, 5);
    assert_eq!((store.value("c"), store.value("g")), (Some(2), Some(5)));
}

#[test]
fn histograms_have_the_last_interval_and_the_total() {
    let store = Store::new();
    store.shard(Some(0)).install();
    let histogram = store.histogram("h", Unit::Milliseconds);
    let counts = |store: &Store| {
        let histogram = store.snapshot(|_| true).histograms.remove(0);
        (histogram.interval.count(), histogram.cumulative.count())
    };
    histogram.record(1);
    histogram.record(2);
    assert_eq!(counts(&store), (0, 0), "nothing is merged before the flush");
    assert!(!store.snapshot(|_| true).histograms[0].used);
    Shard::flush();
    store.merge();
    assert_eq!(counts(&store), (2, 2));
    assert!(store.snapshot(|_| true).histograms[0].used);
    histogram.record(3);
    Shard::flush();
    assert_eq!(counts(&store), (2, 2), "the interval has not ended");
    store.merge();
    assert_eq!(counts(&store), (1, 3));
    store.merge();
    assert_eq!(counts(&store), (0, 3));
}

#[test]
fn a_thread_that_ends_hands_its_histograms_over() {
    let store = Store::new();
    let histogram = store.histogram("h", Unit::Bytes);
    let shard = store.shard(None);
    let thread = std::thread::spawn(move || {
        shard.install();
        histogram.record(1);
    });
    thread.join().expect("the thread counts and ends");
    store.merge();
    assert_eq!(store.snapshot(|_| true).histograms[0].cumulative.count(), 1);
}

#[test]
fn a_snapshot_is_sorted_and_filtered() {
    let store = Store::new();
    for name in [
        "http1.x",
        "http.b.x",
        "http.a.x",
        "cluster_manager.x",
        "cluster.x",
    ] {
        let _ = store.counter(name);
    }
    store.text_readout("text", "hello");
    assert_eq!(
        counters(&store),
        [
            "cluster.x=0",
            "cluster_manager.x=0",
            "http.a.x=0",
            "http.b.x=0",
            "http1.x=0"
        ]
    );
    let some = store.snapshot(|name| name.starts_with("http"));
    assert_eq!((some.counters.len(), some.text_readouts.len()), (3, 0));
}

#[test]
fn a_scope_takes_its_names_with_it() {
    let store = Store::new();
    store.shard(Some(0)).install();
    let first = store.scope("cluster.a.");
    let second = store.scope("cluster.a.");
    let inner = store.scope("cluster.a.b.");
    for name in ["cluster.a.x", "cluster.a.b.x", "cluster.ab.x"] {
        store.counter(name).inc();
    }
    store.gauge("cluster.a.g").inc();
    store.histogram("cluster.a.h", Unit::Bytes).record(1);
    store.text_readout("cluster.a.t", "text");

    drop(first);
    assert_eq!(
        counters(&store).len(),
        3,
        "another scope still has the prefix"
    );
    drop(second);
    assert_eq!(counters(&store), ["cluster.a.b.x=1", "cluster.ab.x=1"]);
    let left = store.snapshot(|_| true);
    assert!(left.gauges.is_empty() && left.histograms.is_empty() && left.text_readouts.is_empty());
    drop(inner);
    assert_eq!(counters(&store), ["cluster.ab.x=1"]);
}

#[test]
fn slots_are_used_again_only_when_every_thread_has_cleared_them() {
    let store = Store::new();
    let (first, second) = (store.shard(Some(0)), store.shard(Some(1)));
    let scope = store.scope("old.");
    let (old, gauge) = (store.counter("old.c"), store.gauge("old.g"));
    let histogram = store.histogram("old.h", Unit::Bytes);
    first.install();
    old.add(5);
    gauge.add(5);
    histogram.record(5);
    store.reset_counters();
    drop(scope);
    Shard::flush();
    store.merge();
    assert_ne!(
        store.counter("too_early"),
        old,
        "the second shard has not cleared it"
    );

    drop(second);
    store.merge();
    let (new, new_gauge) = (store.counter("new"), store.gauge("new"));
    assert_eq!(new_gauge, gauge, "slots are used again");
    assert!([old.0, histogram.used].contains(&new.0));
    assert_eq!(
        (store.value("new"), store.gauge_value(new_gauge)),
        (Some(0), 0)
    );
    let new_histogram = store.histogram("new.h", Unit::Bytes);
    assert_eq!(new_histogram.index, histogram.index);
    new_histogram.record(1);
    Shard::flush();
    store.merge();
    assert_eq!(
        store.snapshot(|name| name == "new.h").histograms[0]
            .cumulative
            .count(),
        1
    );
}

#[test]
fn churn_does_not_use_slots_up() {
    let store = Store::new();
    store.shard(Some(0)).install();
    for round in 0..50 {
        let scope = store.scope("c.");
        for n in 0..100 {
            store.counter(&format!("c.{n}")).inc();
            store.gauge(&format!("c.{n}")).inc();
        }
        assert_eq!(store.value("c.7"), Some(1), "round {round}");
        drop(scope);
        Shard::flush();
        store.merge();
    }
    let next = store.0.lock().expect("not poisoned").slots.next;
    assert!(next <= OVERFLOW_SLOTS + 300, "{next} slots for 300");
}

#[test]
fn beyond_the_limit_nothing_fails() {
    let store = Store::new();
    store.0.lock().expect("not poisoned").slots.next = StatCells::SLOTS_MAX - 1;
    store.shard(Some(0)).install();
    let last = store.counter("last");
    last.inc();
    let (counter, gauge) = (store.counter("over"), store.gauge("over"));
    counter.inc();
    gauge.inc();
    assert_eq!(store.value("last"), Some(1));
    assert_eq!((counter.0, gauge.0), (0, 0));
}
