//! How much of their time requests and tries take: how many samples each kind
//! of end leaves, and about which.

use ringway_tests::admin::Admin;
use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison;
use ringway_tests::observation::{Ports, Scene};
use ringway_tests::origin::{self, Act};
use ringway_tests::process::Program;
use ringway_tests::tries::one_of_some;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const LISTENERS: &[Listener] = &[Listener {
    name: "budgets",
    manager: "",
    hosts: include_str!("timeout_budgets/routes.yaml"),
}];

const TRACKED: &str = "track_cluster_stats: { timeout_budgets: true }\nconnect_timeout: 0.6s";

/// A request to a cluster that no other case has to do with.
pub(super) struct Told {
    pub(super) case: Case,
    port: fn(Ports) -> u16,
}

pub(super) fn origin(ports: Ports) -> u16 {
    ports.origin
}

pub(super) fn refused(ports: Ports) -> u16 {
    ports.refused
}

fn stuck(ports: Ports) -> u16 {
    ports.stuck
}

pub(super) fn asks(name: &'static str, path: &str) -> Told {
    let told = name.replace(' ', "_");
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\ncluster: {told}\r\n\r\n");
    Told {
        case: case(name, "budgets", request),
        port: origin,
    }
}

impl Told {
    /// It talks to this listener instead.
    pub(super) fn on(mut self, listener: &'static str) -> Told {
        self.case.listener = listener;
        self
    }

    /// The client sends this instead.
    pub(super) fn sending(mut self, bytes: String) -> Told {
        self.case.steps = vec![Step::Send(bytes.into_bytes())];
        self
    }

    pub(super) fn at(self, port: fn(Ports) -> u16) -> Told {
        Told { port, ..self }
    }

    pub(super) fn mirror(self, acts: Vec<Act>) -> Told {
        Told {
            case: self.case.mirror(acts),
            ..self
        }
    }

    pub(super) fn answered(self, acts: Vec<Act>) -> Told {
        Told {
            case: self.case.origin(acts),
            ..self
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const ERROR: &str = "HTTP/1.1 503 Some\r\ncontent-length: 0\r\n\r\n";

/// An answer that takes this long to begin, or to end.
pub(super) fn after(ms: u64, first: &str, rest: &str) -> Vec<Act> {
    vec![
        Act::Read,
        Act::Send(first.into()),
        Act::Wait(Duration::from_millis(ms)),
        Act::Send(rest.into()),
    ]
}

fn cases() -> Vec<Told> {
    const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345";
    let turns = |turns: &[&str]| {
        let turns = turns.iter().map(|turn| vec![Act::Send((*turn).into())]);
        vec![Act::Read, Act::Turns(turns.collect())]
    };
    let late = || vec![Act::Wait(Duration::from_millis(1000)), Act::Send(OK.into())];
    vec![
        asks("at once", "/"),
        asks("half of the time", "/short").answered(after(400, "", OK)),
        asks("without limit", "/unlimited").answered(after(100, "", OK)),
        asks("too long", "/short").answered(after(1600, "", OK)),
        asks("too long for its body", "/short").answered(after(1600, HALF, "12345")),
        asks("no answer", "/").answered(vec![Act::Read, Act::Close]),
        asks("half an answer", "/").answered(vec![Act::Read, Act::Send(HALF.into()), Act::Close]),
        asks("refused", "/").at(refused),
        asks("stuck", "/").at(stuck),
        asks("stuck longer than the route", "/quick").at(stuck),
        asks("no route to the end", "/idle").answered(after(1000, "", OK)),
        asks("an error", "/").answered(origin::answer(ERROR)),
        asks("an error again", "/tries").answered(turns(&[ERROR, ERROR])),
        asks("an error, then well", "/tries").answered(turns(&[ERROR, OK])),
        asks("a try too long, then well", "/tries").answered(vec![
            Act::Read,
            Act::Turns(vec![late(), vec![Act::Send(OK.into())]]),
        ]),
        asks("both tries too long", "/tries")
            .answered(vec![Act::Read, Act::Turns(vec![late(), late()])]),
        asks("half of a try", "/tries").answered(after(300, "", OK)),
        asks("refused twice", "/tries").at(refused),
        asks("tried until the end", "/trying").answered(after(1600, "", OK)),
        asks("one slow try of two", "/hedged").answered(vec![
            Act::Read,
            Act::Turns(vec![late(), vec![Act::Send(OK.into())]]),
        ]),
        asks("redirected", "/redirects").answered(turns(&[
            "HTTP/1.1 302 Some\r\nlocation: http://a/\r\ncontent-length: 0\r\n\r\n",
            OK,
        ])),
        asks("copied", "/copied").mirror(after(100, "", OK)),
        asks("copied too long", "/copied-short").mirror(after(1600, "", OK)),
        asks("copied to no answer", "/copied-short").mirror(vec![Act::Read, Act::Close]),
        asks("older", "/"),
        asks("silent", "/"),
        asks("last", "/"),
    ]
}

fn clusters(ports: Ports) -> String {
    clusters_of(cases(), ports, |name| match name {
        "older" => "track_timeout_budgets: true",
        "silent" => "track_cluster_stats: {}",
        _ => TRACKED,
    })
}

/// A cluster for each case, and the one for copies.
pub(super) fn clusters_of(
    cases: Vec<Told>,
    ports: Ports,
    tracked: fn(&str) -> &'static str,
) -> String {
    let all = cases.into_iter().map(|told| {
        let name = told.case.name.replace(' ', "_");
        cluster(&name, (told.port)(ports), tracked(told.case.name))
    });
    all.chain([cluster("copies", ports.mirror, tracked("copies"))])
        .collect()
}

/// How many samples a histogram has, by about how large they are: next to
/// nothing, a part of the time, all of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Samples([u64; 3]);

impl Samples {
    /// Reads a list of buckets: `0,0:4, 100,10:1`, their lower bounds, widths and
    /// counts.
    fn of(buckets: &str) -> Samples {
        let mut samples = Samples::default();
        for bucket in buckets.split(", ").filter(|bucket| !bucket.is_empty()) {
            let (bounds, count) = bucket.split_once(':').expect("a bucket has a count");
            let lower = bounds.split(',').next().unwrap_or(bounds);
            let lower: f64 = lower.parse().expect("a bucket has a lower bound");
            let about = match lower {
                ..20.0 => 0,
                // A timer may come a moment early for the clock.
                ..95.0 => 1,
                _ => 2,
            };
            samples.0[about] += count.parse::<u64>().expect("a count is a number");
        }
        samples
    }
}

/// All histograms of budgets by their names.
fn budgets(admin: &Admin) -> BTreeMap<String, Samples> {
    let found = histograms(admin, |name| name.contains("_timeout_budget_"));
    let samples = |(name, buckets): (String, String)| (name, Samples::of(&buckets));
    found.into_iter().map(samples).collect()
}

/// The buckets of histograms by their names.
pub(super) fn histograms(admin: &Admin, wanted: fn(&str) -> bool) -> BTreeMap<String, String> {
    let text = admin.get("/stats?histogram_buckets=detailed").text();
    let mut found = BTreeMap::new();
    let mut of = "";
    for line in text.lines() {
        if let Some(buckets) = line.strip_prefix("  totals=") {
            if wanted(of) {
                found.insert(of.to_owned(), buckets.to_owned());
            }
        } else if let Some((name, rest)) = line.split_once(':')
            && !line.starts_with(' ')
        {
            of = name.trim_start_matches("cluster.");
            if rest == " No recorded values" && wanted(of) {
                found.insert(of.to_owned(), String::new());
            }
        }
    }
    found
}

/// What the cases leave in the histograms of their clusters.
fn samples_of(program: &Program) -> BTreeMap<String, Samples> {
    let more = "stats_flush_interval: 0.1s\n";
    let scene = Scene::start_with(program, LISTENERS, clusters, more);
    for told in cases() {
        drop(scene.play(&told.case));
    }
    // Samples are shown after they were merged: all of them by the time that
    // those of the last case are.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found = budgets(scene.process.admin());
        let last = &found["last.upstream_rq_timeout_budget_per_try_percent_used"];
        if *last != Samples::default() {
            return found;
        }
        assert!(Instant::now() < deadline, "nothing is shown: {found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn timeout_budgets_are_recorded_as_in_envoy() {
    let test = "timeout_budgets_are_recorded_as_in_envoy";
    let Some(found) = one_of_some(|| comparison::as_in_envoy(test, samples_of)) else {
        return;
    };
    let of = |case: &str, what: &str| {
        let name = format!("{case}.upstream_rq_timeout_budget_{what}percent_used");
        found[&name].0
    };
    assert_eq!(of("too_long", ""), [0, 0, 1]);
    assert_eq!(of("too_long", "per_try_"), [0, 0, 0]);
    assert_eq!(of("half_of_the_time", ""), [0, 1, 0]);
    assert_eq!(of("no_answer", ""), [0, 0, 0]);
    assert_eq!(of("half_of_a_try", "per_try_"), [0, 1, 0]);
    assert_eq!(of("both_tries_too_long", "per_try_"), [0, 0, 2]);
    assert!(!found.keys().any(|name| name.starts_with("silent")));
}
