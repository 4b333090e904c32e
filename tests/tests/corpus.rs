//! Real configuration files through `ringway --mode validate`, beside the
//! verdicts of the real Envoy, which were recorded.
//!
//! A file that Envoy accepts is accepted, or refused only with "not supported
//! yet"; those are counted, and listed in `data/not-supported-yet.txt` so that
//! progress and regressions show. `RINGWAY_BLESS=1` rewrites the list.

use ringway_tests::programs;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Files that we refuse on purpose although Envoy accepts them: the file and
/// part of the message.
const STRICTER: &[(&str, &str)] = &[(
    "test/server/test_data/server/valid_v3_but_invalid_v2_bootstrap.yaml",
    "expected a list",
)];

/// Processes at once: each builds the descriptors of Envoy's whole API.
const AT_ONCE: usize = 2;

#[test]
fn every_file_gets_envoys_verdict() {
    let root = programs::workspace().join("tests/data/envoy-configs");
    let verdicts = std::fs::read_to_string(root.join("verdicts.tsv")).expect("the verdicts");
    let lines: Vec<&str> = verdicts.lines().collect();
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(line) = lines.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let file = line.split('\t').nth(1).expect("a file's name");
                    let verdict = validate(&root, file);
                    results.lock().expect("no panic").insert(*line, verdict);
                }
            });
        }
    });
    let mut wrong = Vec::new();
    let mut not_yet = Vec::new();
    let mut accepted = 0;
    let mut refused = 0;
    for (line, (status, output)) in &results.into_inner().expect("no panic") {
        let columns: Vec<_> = line.splitn(3, '\t').collect();
        let [envoys, file, reason] = columns[..] else {
            panic!("three columns are needed: {line}");
        };
        let mut errors: Vec<_> = output.lines().filter(|line| is_error(line)).collect();
        errors.sort_unstable();
        let only_not_yet = !errors.is_empty()
            && errors
                .iter()
                .all(|error| error.contains("not supported yet"));
        match (envoys, status) {
            ("OK", 0) => accepted += 1,
            ("FAIL", 1) => refused += 1,
            ("OK", 1) if only_not_yet => {
                let fields = errors.iter().map(|error| field(error)).collect::<Vec<_>>();
                not_yet.push(format!("{file}\n    {}\n", fields.join("\n    ")));
            }
            ("OK", 1) if is_stricter(file, output) => refused += 1,
            _ => wrong.push(format!(
                "{file}: status {status}, Envoy {envoys} {reason}\n{output}"
            )),
        }
    }
    programs::say(&format!(
        "{} files: {accepted} accepted, {refused} refused, {} need what is not supported yet",
        lines.len(),
        not_yet.len()
    ));
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    compare_with_golden(&not_yet.concat());
}

fn validate(root: &Path, file: &str) -> (i32, String) {
    let output = Command::new(programs::ringway())
        .args(["--mode", "validate", "-c", file])
        .args(["--service-cluster", "c", "--service-node", "n"])
        .current_dir(root)
        .output()
        .expect("ringway can be run");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Lines with a place in a file, apart from warnings.
fn is_error(line: &str) -> bool {
    !line.starts_with("warning:")
        && line.contains(": ")
        && line.contains(".y")
        && !line.starts_with("error initializing")
}

/// An error without the file's name.
fn field(error: &str) -> String {
    error
        .split_once(": ")
        .map_or(error, |(_, rest)| rest)
        .to_owned()
}

fn is_stricter(file: &str, output: &str) -> bool {
    STRICTER
        .iter()
        .any(|(name, part)| file.ends_with(name) && output.contains(part))
}

fn compare_with_golden(list: &str) {
    let path: PathBuf = programs::workspace().join("tests/data/not-supported-yet.txt");
    if std::env::var_os("RINGWAY_BLESS").is_some() {
        std::fs::write(&path, list).expect("the list can be written");
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == list,
        "tests/data/not-supported-yet.txt is not what is found now \
         (RINGWAY_BLESS=1 rewrites it):\n{}",
        changes(&golden, list)
    );
}

fn changes(old: &str, new: &str) -> String {
    let missing = old
        .lines()
        .filter(|line| !new.contains(line))
        .map(|line| format!("- {line}"));
    let added = new
        .lines()
        .filter(|line| !old.contains(line))
        .map(|line| format!("+ {line}"));
    missing.chain(added).collect::<Vec<_>>().join("\n")
}
