//! The same file and the same bytes for Ringway and for the real Envoy: what
//! the client, the origin, the access log and the statistics see must be equal,
//! apart from what `intended_differences.rs` lists.
//!
//! `RINGWAY_CASES=part` plays only the cases whose names contain `part`, and
//! then the table is not checked for entries without use.

mod listeners;
mod local_replies;
mod logs;
mod messages;
mod peer_headers;
mod routing;
mod timeouts;
mod upstreams;

use ringway_tests::case::Case;
use ringway_tests::intended_differences::{Ledger, Suite};
use ringway_tests::observation::{self, Observation, Scene};
use ringway_tests::process::Program;
use ringway_tests::programs;
use std::collections::HashSet;
use std::thread;

fn cases() -> Vec<Case> {
    let mut all = messages::cases();
    all.extend(peer_headers::cases());
    all.extend(routing::cases());
    all.extend(local_replies::cases());
    all.extend(upstreams::cases());
    all.extend(timeouts::cases());
    all.extend(logs::cases());
    let names: HashSet<_> = all.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), all.len(), "two cases have the same name");
    all
}

#[test]
fn ringway_answers_as_envoy_does() {
    let Some(envoy) = programs::envoy("ringway_answers_as_envoy_does") else {
        return;
    };
    let wanted = std::env::var("RINGWAY_CASES").unwrap_or_default();
    let mut cases = cases();
    cases.retain(|case| case.name.contains(&wanted));
    let mut listed = vec![Program::Envoy(envoy)];
    listed.extend(programs::drivers().into_iter().map(Program::Ringway));
    let cases = &cases;
    let results: Vec<(String, Vec<Observation>)> = thread::scope(|scope| {
        let running: Vec<_> = listed
            .into_iter()
            .map(|program| scope.spawn(move || play_all(&program, cases)))
            .collect();
        running
            .into_iter()
            .map(|one| one.join().expect("a program's cases were played"))
            .collect()
    });
    let (envoy, ours) = results.split_first().expect("Envoy's results");
    let mut ledger = Ledger::new(Suite::Requests);
    for (name, observations) in ours {
        for ((case, theirs), mine) in cases.iter().zip(&envoy.1).zip(observations) {
            for (what, theirs, mine) in observation::compare(theirs, mine) {
                ledger.note(name, case.name, &what, &theirs, &mine);
            }
        }
    }
    println!("{} cases against {} programs", cases.len(), ours.len());
    ledger.judge(wanted.is_empty());
}

fn play_all(program: &Program, cases: &[Case]) -> (String, Vec<Observation>) {
    let mut scene = Scene::start(program, listeners::LISTENERS, listeners::clusters);
    let observations = cases
        .iter()
        .map(|case| {
            assert!(
                scene.process.is_running(),
                "{} ended before {}:\n{}",
                program.name(),
                case.name,
                scene.process.stderr()
            );
            scene.play(case)
        })
        .collect();
    (program.name(), observations)
}
