//! How large requests and responses are: what each kind of end leaves in the
//! histograms of its cluster.

use super::timeout_budgets::{Told, after, asks, clusters_of, histograms, origin, refused};
use ringway_tests::bootstrap::Listener;
use ringway_tests::comparison;
use ringway_tests::observation::Scene;
use ringway_tests::origin::{self as hosts, Act};
use ringway_tests::process::Program;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const LISTENERS: &[Listener] = &[Listener {
    name: "sizes",
    manager: "",
    hosts: include_str!("timeout_budgets/routes.yaml"),
}];

const TRACKED: &str = "track_cluster_stats: { request_response_sizes: true }";

const OK: &str = "HTTP/1.1 200 OK\r\nserver: some\r\ncontent-length: 5\r\n\r\n12345";
const ERROR: &str = "HTTP/1.1 503 Some\r\nx-why: so\r\ncontent-length: 3\r\n\r\n123";

fn cases() -> Vec<Told> {
    let told = |told: Told| told.on("sizes");
    let turns = |turns: &[&str]| {
        let turns = turns.iter().map(|turn| vec![Act::Send((*turn).into())]);
        vec![Act::Read, Act::Turns(turns.collect())]
    };
    let posts = |name: &'static str, rest: &str| {
        let cluster = name.replace(' ', "_");
        asks(name, "/").sending(format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncluster: {cluster}\r\n{rest}"
        ))
    };
    [
        asks("without bodies", "/").answered(turns(&[
            "HTTP/1.1 204 No\r\nx-some: 1\r\nx-some: 2\r\n\r\n",
        ])),
        asks("a response", "/").answered(turns(&[OK])),
        asks("in chunks", "/").answered(turns(&[
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
        ])),
        asks("interim", "/").answered(turns(&[
            "HTTP/1.1 100 Continue\r\nx-more: than nothing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ])),
        posts("a body", "content-length: 7\r\n\r\nseven b").answered(turns(&[OK])),
        posts(
            "a body in chunks",
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        )
        .answered(turns(&[OK])),
        asks("no answer", "/").answered(vec![Act::Read, Act::Close]),
        asks("half an answer", "/").answered(vec![
            Act::Read,
            Act::Send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345".into()),
            Act::Close,
        ]),
        asks("too long", "/short").answered(after(400, "", OK)),
        asks("refused", "/").at(refused),
        asks("refused twice", "/tries").at(refused),
        asks("an error, then well", "/tries").answered(turns(&[ERROR, OK])),
        asks("an error again", "/tries").answered(turns(&[ERROR, ERROR])),
        asks("copied", "/copied").mirror(hosts::answer(ERROR)),
        asks("last", "/").at(origin).answered(turns(&[OK])),
    ]
    .into_iter()
    .map(told)
    .collect()
}

/// What the cases leave in the histograms of their clusters.
fn sizes_of(program: &Program) -> BTreeMap<String, String> {
    let more = "stats_flush_interval: 0.1s\n";
    let scene = Scene::start_with(
        program,
        LISTENERS,
        |ports| clusters_of(cases(), ports, |_| TRACKED),
        more,
    );
    for told in cases() {
        drop(scene.play(&told.case));
    }
    // Samples are shown after they were merged: all of them by the time that
    // those of the last case are.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = histograms(scene.process.admin(), |name| {
            ["_size", "_headers_count"]
                .iter()
                .any(|end| name.ends_with(end))
        });
        if !found["last.upstream_rs_body_size"].is_empty()
            && !found["copies.upstream_rs_body_size"].is_empty()
        {
            return found;
        }
        assert!(Instant::now() < deadline, "nothing is shown: {found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn sizes_are_recorded_as_in_envoy() {
    let test = "sizes_are_recorded_as_in_envoy";
    let Some(found) = comparison::as_in_envoy(test, sizes_of) else {
        return;
    };
    let of = |case: &str, what: &str| &*found[&format!("{case}.upstream_{what}")];
    assert_eq!(of("in_chunks", "rs_body_size"), "7,0.1:1");
    assert_eq!(of("a_body", "rq_body_size"), "7,0.1:1");
    assert_eq!(of("refused", "rs_body_size"), "");
    assert_ne!(of("refused", "rq_headers_size"), "");
    assert_eq!(of("an_error,_then_well", "rs_body_size"), "0,0:1, 5,0.1:1");
}
