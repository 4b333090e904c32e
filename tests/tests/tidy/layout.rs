//! Files and manifests: sizes, names, words that are not left behind, and the
//! direction of dependencies between crates.

use crate::source::{File, find_word, paths, text};

/// Lines of a file, its tests apart.
const LINES_MAX: usize = 1000;

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "misc", "common"];

/// Macros that are for the time before a commit.
const UNFINISHED_CODE: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// Words in comments that announce work instead of doing it.
const UNFINISHED_COMMENTS: &[&str] = &["TODO", "FIXME", "XXX", "HACK"];

/// Which crates of the workspace a crate may depend on.
const CRATES: &[(&str, &[&str])] = &[
    ("codecs", &[]),
    ("lb", &[]),
    ("config", &["ringway-codecs", "ringway-lb"]),
    (
        "engine",
        &["ringway-codecs", "ringway-lb", "ringway-config"],
    ),
    ("bench", &["ringway-codecs", "ringway-config", "ringway"]),
    ("tests", &["ringway-codecs", "ringway-config"]),
];

fn sizes(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter_map(|file| {
            let lines = file.program().count();
            (lines > LINES_MAX).then(|| {
                file.finding(
                    LINES_MAX,
                    format!("{lines} lines; split it (at most {LINES_MAX})"),
                )
            })
        })
        .collect()
}

fn names(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| {
            file.path
                .trim_end_matches(".rs")
                .split('/')
                .any(|part| EMPTY_NAMES.contains(&part))
        })
        .map(|file| file.finding(1, "the name says nothing about what is here"))
        .collect()
}

fn unfinished(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        for (number, line) in file.numbered() {
            let code = UNFINISHED_CODE
                .iter()
                .filter(|word| find_word(&line.code, word).is_some());
            let comment = UNFINISHED_COMMENTS
                .iter()
                .filter(|word| find_word(&line.comment, word).is_some());
            for word in code.chain(comment) {
                // This file has to name them.
                if !file.path.starts_with("tests/tests/tidy/") {
                    findings.push(file.finding(number, format!("{word} is left over")));
                }
            }
            if line.code.contains("allow(dead_code)") {
                findings.push(file.finding(number, "dead code"));
            }
        }
    }
    findings
}

/// Files that do not begin by saying what they are about. Test modules say it
/// by their name and place.
fn undescribed(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.lines.first().is_none_or(|line| !line.is_test))
        .filter(|file| {
            !file
                .lines
                .iter()
                .take(10)
                .any(|line| line.text.starts_with("//!"))
        })
        .map(|file| file.finding(1, "the file does not say what it is about (`//!`)"))
        .collect()
}

/// Panics on values that are not there, outside of tests: `expect` says what
/// was relied on, and who reviews it can judge whether a peer can break it.
fn unwraps(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    let product = |file: &&File| {
        ["codecs/src/", "lb/src/", "config/src/", "engine/src/"]
            .iter()
            .any(|folder| file.path.starts_with(folder))
    };
    for file in files.iter().filter(product) {
        for (number, line) in file.program() {
            if line.code.contains(".unwrap()") {
                findings.push(file.finding(number, "unwrap() outside of tests"));
            }
        }
    }
    findings
}

/// The crates of the workspace that a manifest depends on, with lines.
fn own_dependencies(manifest: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(manifest.lines()).filter_map(|(number, line)| {
        let name = line.split(['.', ' ', '=']).next()?;
        (name == "ringway" || name.starts_with("ringway-")).then_some((number, name))
    })
}

/// All dependencies of a manifest, with lines.
pub fn libraries(manifest: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut inside = false;
    for (number, line) in (1..).zip(manifest.lines()) {
        if line.starts_with('[') {
            inside = line.trim_end().ends_with("dependencies]");
        } else if inside
            && let Some(name) = line.split(['.', ' ', '=', '#']).next()
            && !name.is_empty()
        {
            found.push((number, name));
        }
    }
    found
}

#[test]
fn no_file_is_too_long() {
    crate::report(&sizes(crate::source::tree()));
}

#[test]
fn names_say_what_is_inside() {
    crate::report(&names(crate::source::tree()));
}

#[test]
fn nothing_is_left_unfinished() {
    crate::report(&unfinished(crate::source::tree()));
}

#[test]
fn every_file_says_what_it_is_about() {
    crate::report(&undescribed(crate::source::tree()));
}

#[test]
fn nothing_is_unwrapped_outside_of_tests() {
    crate::report(&unwraps(crate::source::tree()));
}

#[test]
fn crates_depend_one_way() {
    let mut findings = Vec::new();
    for (name, allowed) in CRATES {
        let path = format!("{name}/Cargo.toml");
        for (line, dependency) in own_dependencies(&text(&path)) {
            if !allowed.contains(&dependency) {
                findings.push(format!(
                    "{path}:{line}: {name} must not depend on {dependency}"
                ));
            }
        }
    }
    crate::report(&findings);
}

/// A library that a manifest names and no source uses costs build time and
/// trust for nothing.
#[test]
fn dependencies_are_used() {
    let mut findings = Vec::new();
    for (name, _) in CRATES {
        let path = format!("{name}/Cargo.toml");
        let folder = format!("{name}/");
        let mut used = crate::source::tree()
            .iter()
            .filter(|file| file.path.starts_with(&folder));
        for (line, library) in libraries(&text(&path)) {
            let word = library.replace('-', "_");
            let is_used = |file: &File| {
                file.lines
                    .iter()
                    .any(|line| find_word(&line.code, &word).is_some())
            };
            if !used.clone().any(is_used) {
                findings.push(format!("{path}:{line}: {library} is not used"));
            }
        }
        assert!(used.next().is_some(), "{name} has no sources");
    }
    crate::report(&findings);
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let members = text("Cargo.toml");
    let mut findings = Vec::new();
    for path in paths("toml")
        .iter()
        .filter(|path| path.ends_with("/Cargo.toml"))
    {
        let name = path.trim_end_matches("/Cargo.toml");
        let is_member = members.contains(&format!("\"{name}\""));
        if is_member && !text(path).contains("[lints]\nworkspace = true") {
            findings.push(format!("{path}:1: `[lints] workspace = true` is missing"));
        }
        if is_member && !CRATES.iter().any(|(known, _)| *known == name) {
            findings.push(format!("{path}:1: {name} is not in CRATES"));
        }
    }
    crate::report(&findings);
}

#[test]
fn what_breaks_the_rules_of_files_is_found() {
    let long = "fn f() {}\n".repeat(LINES_MAX + 1);
    assert_eq!(sizes(&[File::new("a/src/x.rs", &long)]).len(), 1);
    assert_eq!(sizes(&[File::new("a/src/tests.rs", &long)]).len(), 0);
    assert_eq!(names(&[File::new("a/src/common/x.rs", "")]).len(), 1);
    assert_eq!(names(&[File::new("a/src/path_utility.rs", "")]).len(), 0);
    let text =
        "//! About.\ntodo!()\n// FIXME: later\nlet s = \"TODO\";\n#[allow(dead_code)]\ndbg!(s);";
    let found = unfinished(&[File::new("a/src/x.rs", text)]);
    let lines: Vec<_> = found.iter().map(|finding| &finding[..12]).collect();
    assert_eq!(
        lines,
        [
            "a/src/x.rs:2",
            "a/src/x.rs:3",
            "a/src/x.rs:5",
            "a/src/x.rs:6"
        ]
    );
    assert_eq!(undescribed(&[File::new("a/src/x.rs", text)]).len(), 0);
    assert_eq!(
        undescribed(&[File::new("a/src/x.rs", "fn f() {}")]).len(),
        1
    );
    let text = "a.unwrap();\nb.unwrap_or(1);\n#[cfg(test)]\nmod t { fn f() { c.unwrap(); } }";
    assert_eq!(unwraps(&[File::new("engine/src/x.rs", text)]).len(), 1);
    let manifest = "[dependencies]\nringway-lb.workspace = true\nregex.workspace = true\nringway = { path = \"\" }";
    let found: Vec<_> = own_dependencies(manifest).collect();
    assert_eq!(found, [(2, "ringway-lb"), (4, "ringway")]);
    let manifest = "[package]\nname = \"x\"\n[dependencies]\nregex.workspace = true\n\n# About.\n\
                    [dev-dependencies]\nmio = \"1\"\n[lints]\nworkspace = true";
    assert_eq!(libraries(manifest), [(4, "regex"), (8, "mio")]);
}
