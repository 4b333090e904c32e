//! The same file and the same bytes for Ringway and for the real Envoy: what
//! the client, the origin, the access log and the statistics see must be equal,
//! apart from what `intended_differences.rs` lists.
//!
//! `RINGWAY_CASES=part` plays only the cases whose names contain `part`, and
//! then the table is not checked for entries without use.

use crate::bootstrap::Listener;
use crate::case::Case;
use crate::intended_differences::{Ledger, Suite};
use crate::observation::{self, Observation, Ports, Scene};
use crate::process::{Program, compared_programs};
use crate::programs;
use std::collections::HashSet;
use std::fmt::Debug;
use std::thread;

/// What `play` sees of Envoy, once it has seen the same of Ringway with each
/// driver; `None` where there is no Envoy. `test` is the name of the test.
///
/// # Panics
/// When it has seen something else.
pub fn as_in_envoy<T: Debug + PartialEq>(test: &str, play: impl Fn(&Program) -> T) -> Option<T> {
    let theirs = play(&Program::Envoy(programs::envoy(test)?));
    for program in programs::drivers().into_iter().map(Program::Ringway) {
        assert_eq!(play(&program), theirs, "{test} on {}", program.name());
    }
    Some(theirs)
}

/// A suite of cases that are played on one configuration.
#[derive(Clone, Copy)]
pub struct Comparison {
    /// Its entries in the table of intended differences.
    pub suite: Suite,
    /// The listeners.
    pub listeners: &'static [Listener],
    /// The clusters, a YAML list at the left margin.
    pub clusters: fn(Ports) -> String,
    /// The cases.
    pub cases: fn() -> Vec<Case>,
}

impl Comparison {
    /// Plays all cases on Envoy and on Ringway with each driver. `test` is the
    /// name of the test, for the message when there is no Envoy.
    ///
    /// # Panics
    /// When there is a difference that is not intended, or none that is.
    pub fn run(&self, test: &str) {
        self.run_with(test, "");
    }

    /// [`Comparison::run`] with `more` fields of the bootstrap, in YAML at the
    /// left margin.
    ///
    /// # Panics
    /// As [`Comparison::run`] does.
    pub fn run_with(&self, test: &str, more: &str) {
        self.run_after(test, more, &[]);
    }

    /// [`Comparison::run_with`], after these paths were posted to the admin
    /// server.
    ///
    /// # Panics
    /// As [`Comparison::run`] does.
    pub fn run_after(&self, test: &str, more: &str, posted: &[&str]) {
        let Some(listed) = compared_programs(test) else {
            return;
        };
        let wanted = std::env::var("RINGWAY_CASES").unwrap_or_default();
        let mut cases = (self.cases)();
        let names: HashSet<_> = cases.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), cases.len(), "two cases have the same name");
        cases.retain(|case| case.name.contains(&wanted));
        let cases = &cases;
        let results: Vec<(String, Vec<Observation>)> = thread::scope(|scope| {
            let running: Vec<_> = listed
                .into_iter()
                .map(|program| scope.spawn(move || self.play(&program, cases, (more, posted))))
                .collect();
            running
                .into_iter()
                .map(|one| one.join().expect("a program's cases were played"))
                .collect()
        });
        let (envoy, ours) = results.split_first().expect("Envoy's results");
        let mut ledger = Ledger::new(self.suite);
        for (name, observations) in ours {
            for ((case, theirs), mine) in cases.iter().zip(&envoy.1).zip(observations) {
                for (what, theirs, mine) in observation::compare(theirs, mine) {
                    ledger.note(name, case.name, &what, &theirs, &mine);
                }
            }
        }
        programs::say(&format!(
            "{:?}: {} cases against {} programs",
            self.suite,
            cases.len(),
            ours.len()
        ));
        ledger.judge(wanted.is_empty());
    }

    fn play(
        &self,
        program: &Program,
        cases: &[Case],
        (more, posted): (&str, &[&str]),
    ) -> (String, Vec<Observation>) {
        let mut scene = Scene::start_with(program, self.listeners, self.clusters, more);
        for path in posted {
            scene.process.admin().post(path);
        }
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
}
