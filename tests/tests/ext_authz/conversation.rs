//! Connections of listeners that ask, one after the other: what is seen of each.

use ringway_tests::admin::Stats;
use ringway_tests::logs;
use ringway_tests::observation;
use ringway_tests::process::Program;

use crate::client::Client;
use crate::files::Files;
use crate::listener::Listener;
use crate::scene::{PATIENCE, Scene};
use crate::script::{as_in_envoy, python};

/// All that is seen of Envoy, which is what is seen of Ringway with each driver, and in
/// the end the calls that the server has had; `None` where the test cannot run.
pub fn compare(test: &str, all: &[(Listener, Client)]) -> Option<Vec<String>> {
    let python = python(test)?;
    let files = Files::new();
    as_in_envoy(test, |program: &Program| {
        let only: Vec<_> = all.iter().map(|(listener, _)| listener.clone()).collect();
        let flags = ["--concurrency", "1"];
        let mut scene = Scene::start(program, &python, &files, &only, &flags);
        play(&mut scene, &files, all)
    })
}

/// Statistics that are compared: those of the filter, of the clusters that are asked, of
/// requests of the proxy's own, and of connection managers.
fn is_counted(name: &str) -> bool {
    // Codecs count frames in their own ways, a server that is spoken to in HTTP/1 may be
    // the first to close, and Envoy asks nobody for a response of OCSP.
    let of_cluster = ["bytes", ".http2.", "cx_destroy", "ssl.ocsp_staple_"];
    let is_certain = |uncertain: &[&str]| !uncertain.iter().any(|part| name.contains(part));
    name.starts_with("ext_authz.")
        || name.starts_with("cluster.auth") && is_certain(&of_cluster)
        || name.starts_with("http.http") && is_certain(&["bytes"])
        || name.starts_with("http.async-client.")
}

fn play(scene: &mut Scene, files: &Files, all: &[(Listener, Client)]) -> Vec<String> {
    let mut seen = Vec::new();
    for (listener, client) in all {
        let name = &listener.name;
        let before = scene.still_stats();
        let said = client.act(listener, scene, files);
        seen.push(format!("{name} reads {said}"));
        for form in ["log", "json"] {
            let log = scene.process.folder().join(format!("{name}.{form}"));
            // Of several connections, whichever has ended first.
            let mut lines = logs::await_lines(&log, 0, client.connections(), PATIENCE);
            lines.sort();
            for line in lines {
                seen.push(format!("{name} logs {}", without_duration(&line)));
            }
        }
        let after: Stats = scene.still_stats();
        let moved = observation::moved(&before, &after, is_counted);
        seen.extend(
            moved
                .iter()
                .map(|(what, by)| format!("{name}: {what} {by:+}")),
        );
    }
    // A call that is given up may be over before the server has seen it.
    let calls = scene.stop_server();
    seen.extend(calls.into_iter().filter(|call| !call.contains("'slow'")));
    seen
}

/// A line without how long the check took, but that it was measured.
fn without_duration(line: &str) -> String {
    let Some((before, rest)) = line.split_once("\"ext_authz_duration\":") else {
        return line.to_owned();
    };
    let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    format!("{before}\"ext_authz_duration\":N{rest}")
}
