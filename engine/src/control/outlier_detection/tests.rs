//! Detectors on a clock of the tests' own.

use std::sync::mpsc::{Receiver, channel};

use ringway_config::bootstrap;
use ringway_config::load::{Format, LoadOptions, load};

use super::*;
use crate::upstream::outlier_detection::{Outcome, Report, Reported};

/// A cluster with four hosts.
struct Bench {
    store: Store,
    runtime: RuntimeValues,
    members: Vec<Member>,
    detector: OutlierDetector,
    reports: Receiver<Report>,
    start: Instant,
}

impl Bench {
    fn new(fields: &str) -> Self {
        let hosts: Vec<_> = (1..=4)
            .map(|port| {
                format!(
                    "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, \
                     port_value: {port} }} }} }} }}"
                )
            })
            .collect();
        let text = format!(
            "static_resources: {{ clusters: [ {{ name: c, type: STATIC, load_assignment: {{ \
             cluster_name: c, endpoints: [ {{ lb_endpoints: [ {} ] }} ] }}, {fields} }} ] }}",
            hosts.join(", ")
        );
        let loaded = load(&text, "test.yaml", Format::Yaml, &LoadOptions::default()).unwrap();
        let config = Arc::clone(&bootstrap::lower(&loaded).unwrap().clusters[0]);
        let store = Store::new();
        store.shard(None).install();
        let (sender, reports) = channel();
        let report = move |report| sender.send(report).unwrap();
        let watch = Watch::new(&config, Instant::now(), Box::new(report)).unwrap();
        let members = config.assignment.hosts.iter().map(|host| Member {
            shared: SharedHost::new(Arc::clone(host), Some(&watch), &store),
            config: Arc::clone(host),
        });
        Self {
            members: members.collect(),
            detector: OutlierDetector::new(&config, watch, None, &store),
            runtime: RuntimeValues::default(),
            start: Instant::now(),
            reports,
            store,
        }
    }

    fn note(&self, host: usize, outcome: Outcome, times: usize) {
        let shared = &self.members[host].shared;
        for _ in 0..times {
            shared.monitor().unwrap().on_outcome(outcome, shared);
        }
    }

    fn with<R>(&mut self, ms: u64, f: impl FnOnce(&mut OutlierDetector, Scene<'_>) -> R) -> R {
        let scene = Scene {
            members: &self.members,
            store: &self.store,
            runtime: &self.runtime,
            now: self.start + Duration::from_millis(ms),
        };
        f(&mut self.detector, scene)
    }

    /// Takes in what was reported by then; how many ejections it leads to.
    fn take_reports(&mut self, ms: u64) -> usize {
        let reports: Vec<_> = self.reports.try_iter().collect();
        let mut ejections = 0;
        for report in reports {
            let Reported::Run(streak) = report.what else {
                panic!("nothing else was noted");
            };
            let ejected = self.with(ms, |detector, scene| {
                detector.on_run(&report.host, streak, scene)
            });
            ejections += usize::from(ejected);
        }
        ejections
    }

    fn sweep(&mut self, ms: u64) -> bool {
        self.with(ms, OutlierDetector::sweep)
    }

    fn ejected(&self) -> Vec<usize> {
        let is = |host: &usize| {
            let shared = &self.members[*host].shared;
            shared.has(HealthFlag::FailedOutlierCheck)
        };
        (0..self.members.len()).filter(is).collect()
    }

    fn backoff(&self, host: usize) -> u32 {
        let monitor = self.members[host].shared.monitor().unwrap();
        monitor.record(|record| record.backoff)
    }
}

const ERROR: Outcome = Outcome::Response(500);

#[test]
fn a_run_is_reported_once_and_counts_anew_after_a_success() {
    let bench = Bench::new("outlier_detection: { consecutive_5xx: 3 }");
    bench.note(0, ERROR, 2);
    bench.note(0, Outcome::Response(404), 1);
    bench.note(0, ERROR, 2);
    assert_eq!(bench.reports.try_iter().count(), 0);
    bench.note(0, ERROR, 5);
    let streaks: Vec<_> = bench.reports.try_iter().map(|report| report.what).collect();
    assert_eq!(streaks, [Reported::Run(Streak::ServerError)]);
}

#[test]
fn ejections_last_longer_each_time_up_to_the_maximum() {
    let mut bench = Bench::new(
        "outlier_detection: { consecutive_5xx: 1, interval: 1s, base_ejection_time: 10s, \
         max_ejection_time: 25s, max_ejection_percent: 100 }",
    );
    let mut now = 0;
    for lasts in [10_000, 20_000, 25_000, 25_000] {
        bench.note(2, ERROR, 1);
        assert_eq!(bench.take_reports(now), 1);
        assert_eq!(bench.ejected(), [2]);
        assert!(!bench.sweep(now + lasts - 1), "after {lasts} ms");
        // The sweep's own interval passes.
        bench.detector.next_sweep = Some(bench.start);
        assert!(bench.sweep(now + lasts), "after {lasts} ms");
        assert!(bench.ejected().is_empty());
        now += lasts;
        bench.detector.next_sweep = Some(bench.start);
    }
    // Behaving pays: an interval after the other takes a step back.
    let before = bench.backoff(2);
    assert!(!bench.sweep(now + 500));
    assert_eq!(bench.backoff(2), before, "not a whole interval yet");
    bench.detector.next_sweep = Some(bench.start);
    bench.sweep(now + 1000);
    assert_eq!(bench.backoff(2), before - 1);
}

#[test]
fn no_more_hosts_are_ejected_than_allowed() {
    let mut bench =
        Bench::new("outlier_detection: { consecutive_5xx: 1, max_ejection_percent: 50 }");
    for host in 0..4 {
        bench.note(host, ERROR, 1);
    }
    assert_eq!(bench.take_reports(0), 2);
    assert_eq!(bench.ejected(), [0, 1]);
    let overflow = bench
        .store
        .value("cluster.c.outlier_detection.ejections_overflow");
    assert_eq!(overflow, Some(2));
    let active = bench
        .store
        .value("cluster.c.outlier_detection.ejections_active");
    assert_eq!(active, Some(2));
}

#[test]
fn a_check_that_passes_takes_a_host_back() {
    for (wanted, more) in [
        (true, ""),
        (false, "successful_active_health_check_uneject_host: false,"),
    ] {
        let mut bench = Bench::new(&format!(
            "outlier_detection: {{ {more} consecutive_5xx: 1, max_ejection_percent: 50 }}"
        ));
        bench.note(0, ERROR, 1);
        assert_eq!(bench.take_reports(0), 1);
        let host = Arc::clone(&bench.members[0].shared);
        let changed = bench.with(5, |detector, scene| detector.on_check_passed(&host, scene));
        assert_eq!(changed, wanted);
        assert_eq!(bench.ejected().is_empty(), wanted);
    }
}

#[test]
fn split_errors_are_counted_apart() {
    let mut bench = Bench::new(
        "outlier_detection: { split_external_local_origin_errors: true, consecutive_5xx: 2, \
         consecutive_local_origin_failure: 2, max_ejection_percent: 100 }",
    );
    for _ in 0..3 {
        bench.note(0, Outcome::Failed, 1);
        bench.note(0, Outcome::Connected, 1);
        bench.note(0, ERROR, 1);
        bench.note(0, Outcome::Response(200), 1);
    }
    assert_eq!(bench.take_reports(0), 0);
    bench.note(1, Outcome::TimedOut(504), 2);
    assert_eq!(bench.take_reports(0), 1);
    let name = "cluster.c.outlier_detection.ejections_enforced_consecutive_local_origin_failure";
    assert_eq!(bench.store.value(name), Some(1));
}

#[test]
fn a_host_that_calls_itself_degraded_is_so_for_longer_each_time() {
    let mut bench = Bench::new(
        "outlier_detection: { interval: 1s, base_ejection_time: 10s, max_ejection_time: 25s, \
         max_ejection_percent: 0, detect_degraded_hosts: true }",
    );
    let host = Arc::clone(&bench.members[2].shared);
    let say = |bench: &mut Bench, ms| {
        for _ in 0..2 {
            host.monitor().unwrap().on_degraded(&host);
        }
        let reports: Vec<_> = bench.reports.try_iter().collect();
        let changes = reports.iter().filter(|report| {
            assert_eq!(report.what, Reported::Degraded);
            bench.with(ms, |detector, scene| {
                detector.on_degraded(&report.host, scene)
            })
        });
        changes.count()
    };
    let mut now = 0;
    for lasts in [10_000, 20_000, 25_000, 25_000] {
        assert_eq!(say(&mut bench, now), 1, "two workers may report it");
        assert!(host.has(HealthFlag::DegradedOutlierDetection));
        assert_eq!(say(&mut bench, now + 1), 0, "it is known already");
        bench.detector.next_sweep = Some(bench.start);
        assert!(!bench.sweep(now + lasts - 1), "after {lasts} ms");
        bench.detector.next_sweep = Some(bench.start);
        assert!(bench.sweep(now + lasts), "after {lasts} ms");
        assert!(!host.has(HealthFlag::DegradedOutlierDetection));
        now += lasts;
    }
    // An interval without takes a step back.
    let backoff = || {
        let monitor = host.monitor().unwrap();
        monitor.record(|record| record.degradation.backoff)
    };
    let before = backoff();
    bench.detector.next_sweep = Some(bench.start);
    bench.sweep(now + 1000);
    assert_eq!(backoff(), before - 1);
    let name = "cluster.c.outlier_detection.ejections_detected_degradation";
    assert_eq!(bench.store.value(name), Some(4));
}

#[test]
fn degradation_is_noted_where_it_is_asked_for() {
    let bench = Bench::new("outlier_detection: {}");
    let host = &bench.members[0].shared;
    host.monitor().unwrap().on_degraded(host);
    assert_eq!(bench.reports.try_iter().count(), 0);
}

/// A request of each host takes so many milliseconds, ten times.
fn take(bench: &Bench, times: [u64; 4]) {
    for (member, ms) in bench.members.iter().zip(times) {
        for _ in 0..10 {
            let took = || Some(Duration::from_millis(ms));
            member.shared.monitor().unwrap().on_latency(took);
        }
    }
}

const LATENCY: &str = "metadata: { filter_metadata: { ringway.latency_outlier: { \
                       interval_ms: 100, base_ejection_ms: 1000 } } }";

#[test]
fn a_slow_host_is_ejected_after_two_intervals_and_comes_back() {
    let mut bench = Bench::new(LATENCY);
    take(&bench, [1, 1, 100, 2]);
    assert!(!bench.sweep(1000), "once may be an accident");
    take(&bench, [1, 1, 100, 2]);
    assert!(bench.sweep(2000));
    assert_eq!(bench.ejected(), [2]);
    let monitor = bench.members[2].shared.monitor().unwrap();
    let ejection = monitor.record(|record| record.ejected.clone()).unwrap();
    assert_eq!(ejection.by, Detector::Latency);
    assert_eq!(
        ejection.reason,
        "mean 100.0 ms over 10 requests in 100 ms, 2 intervals in a row; the median of 3 peers \
         is 1.0 ms, the limit 11.0 ms"
    );
    assert!(!bench.sweep(2999));
    assert!(bench.sweep(3100));
    assert!(bench.ejected().is_empty());
    // What was slow before does not count against it now.
    take(&bench, [1, 1, 100, 2]);
    assert!(!bench.sweep(3300));
}

#[test]
fn hosts_that_are_slow_together_or_hardly_asked_are_no_outliers() {
    let mut bench = Bench::new(LATENCY);
    for interval in 1..5 {
        take(&bench, [100, 110, 120, 100]);
        assert!(!bench.sweep(interval * 1000), "all are slow");
    }
    for interval in 5..9 {
        take(&bench, [1, 1, 9, 1]);
        assert!(!bench.sweep(interval * 1000), "less than min_excess");
    }
    for interval in 9..13 {
        take(&bench, [1, 1, 1, 1]);
        let slow = bench.members[0].shared.monitor().unwrap();
        slow.on_latency(|| Some(Duration::from_millis(90)));
        assert!(!bench.sweep(interval * 1000), "one request of eleven");
    }
}

#[test]
fn hosts_of_clusters_without_detection_have_no_monitor() {
    let store = Store::new();
    let bench = Bench::new(LATENCY);
    let host = SharedHost::new(Arc::clone(&bench.members[0].config), None, &store);
    assert!(host.monitor().is_none());
}
