//! What documents name exists: files, functions, dependencies.

use std::collections::BTreeSet;

use crate::layout::libraries;
use crate::source::{File, paths, root, text, tree};

/// Top-level folders; a path in a document begins with one of them.
const FOLDERS: &[&str] = &[
    ".ci/", "bench/", "codecs/", "config/", "docs/", "engine/", "lb/", "perf/", "scripts/",
    "tests/",
];

/// The document with the table of dependencies, and what is around it.
const README: &str = "README.md";
const DEPENDENCIES: (&str, &str) = ("<!-- dependencies:begin -->", "<!-- dependencies:end -->");

/// The document whose tables name functions beside the files that they are in.
const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// The targets of links in a line that lead to files.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', '#', ' ']).next()?;
        (!target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
            .then_some(target)
    })
}

/// What stands between backticks in a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The paths of the workspace that a line quotes; patterns are left out.
fn quoted_paths(line: &str) -> impl Iterator<Item = &str> {
    quoted(line).filter(|text| {
        FOLDERS.iter().any(|folder| text.starts_with(folder))
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "/._-".contains(c))
    })
}

/// The functions that a line quotes, as `name()` or `Type::name()`.
fn quoted_functions(line: &str) -> impl Iterator<Item = &str> {
    quoted(line).filter_map(|text| {
        let path = text.strip_suffix("()")?;
        let name = path.rsplit("::").next()?;
        (!name.is_empty()
            && path
                .chars()
                .all(|c| c.is_alphanumeric() || "_:".contains(c)))
        .then_some(name)
    })
}

/// The variables of ours that a line quotes.
fn variables(line: &str) -> impl Iterator<Item = &str> {
    quoted(line)
        .filter_map(|text| text.split([' ', '=']).next())
        .filter(|name| name.starts_with("RINGWAY_") || name.starts_with("UPDATE_"))
}

/// The names in the first column of a table.
fn first_column(table: &str) -> BTreeSet<String> {
    table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|row| quoted_names(row.split('|').next().unwrap_or_default()))
        .collect()
}

/// `a`, `b` without the backtick at the start, which is cut off.
fn quoted_names(cell: &str) -> Vec<String> {
    cell.split('`')
        .step_by(2)
        .map(str::to_owned)
        .filter(|name| !name.trim().is_empty())
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut findings = Vec::new();
    for path in paths("md") {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in (1..).zip(text(&path).lines()) {
            for target in links(line) {
                if !root().join(folder).join(target).exists() {
                    findings.push(format!(
                        "{path}:{number}: the link to {target} leads nowhere"
                    ));
                }
            }
        }
    }
    crate::report(&findings);
}

#[test]
fn paths_in_documents_exist() {
    let mut findings = Vec::new();
    for path in paths("md") {
        for (number, line) in (1..).zip(text(&path).lines()) {
            for named in quoted_paths(line) {
                if !root().join(named).exists() {
                    findings.push(format!("{path}:{number}: there is no {named}"));
                }
            }
        }
    }
    crate::report(&findings);
}

/// An environment variable that a document names is read by something.
#[test]
fn variables_in_documents_exist() {
    let mut findings = Vec::new();
    for path in paths("md") {
        for (number, line) in (1..).zip(text(&path).lines()) {
            for variable in variables(line) {
                let is_read =
                    |file: &File| file.lines.iter().any(|line| line.text.contains(variable));
                if !tree().iter().any(is_read) {
                    findings.push(format!("{path}:{number}: nothing reads {variable}"));
                }
            }
        }
    }
    crate::report(&findings);
}

/// A row of a table that names files and functions promises that each function
/// is in one of the files.
#[test]
fn functions_in_the_architecture_are_where_it_says() {
    let mut findings = Vec::new();
    for (number, row) in (1..).zip(text(ARCHITECTURE).lines()) {
        let files: Vec<_> = quoted_paths(row)
            .filter(|path| path.ends_with(".rs"))
            .collect();
        if !row.starts_with('|') || files.is_empty() {
            continue;
        }
        let code: String = files
            .iter()
            .filter(|file| root().join(file).exists())
            .map(|file| text(file))
            .collect();
        for name in quoted_functions(row) {
            let is_there = [format!("fn {name}("), format!("fn {name}<")];
            if !is_there.iter().any(|start| code.contains(start.as_str())) {
                findings.push(format!(
                    "{ARCHITECTURE}:{number}: no function {name} in {}",
                    files.join(", ")
                ));
            }
        }
    }
    crate::report(&findings);
}

#[test]
fn the_readme_lists_every_dependency() {
    let readme = text(README);
    let (begin, end) = DEPENDENCIES;
    let table = readme
        .split_once(begin)
        .and_then(|(_, rest)| rest.split_once(end))
        .map(|(table, _)| table)
        .expect("README.md has a table of dependencies between its markers");
    let listed = first_column(table);
    let mut used = BTreeSet::new();
    for name in ["codecs", "lb", "config", "engine", "bench", "tests"] {
        let manifest = text(&format!("{name}/Cargo.toml"));
        let libraries = libraries(&manifest)
            .into_iter()
            .map(|(_, library)| library.to_owned());
        used.extend(libraries.filter(|library| !library.starts_with("ringway")));
    }
    let line = 1 + readme
        .split(begin)
        .next()
        .unwrap_or_default()
        .matches('\n')
        .count();
    let missing = used
        .difference(&listed)
        .map(|name| format!("{README}:{line}: {name} is not listed"));
    let gone = listed
        .difference(&used)
        .map(|name| format!("{README}:{line}: {name} is not used"));
    crate::report(&missing.chain(gone).collect::<Vec<_>>());
}

#[test]
fn documents_are_read_as_they_are_meant() {
    let line = "See [a](docs/a.md#x), [b](https://b.example) and `engine/src/a.rs`, `Type::go()`, `engine/src/*.rs`.";
    assert_eq!(links(line).collect::<Vec<_>>(), ["docs/a.md"]);
    assert_eq!(quoted_paths(line).collect::<Vec<_>>(), ["engine/src/a.rs"]);
    assert_eq!(quoted_functions(line).collect::<Vec<_>>(), ["go"]);
    let line = "Run `UPDATE_DOCS=1 cargo test`, not `RINGWAY_X` or `UPDATES`.";
    assert_eq!(
        variables(line).collect::<Vec<_>>(),
        ["UPDATE_DOCS", "RINGWAY_X"]
    );
    let table = "| library | why |\n|---|---|\n| `a-b`, `c` | both `x` |\n";
    assert_eq!(
        first_column(table).into_iter().collect::<Vec<_>>(),
        ["a-b", "c"]
    );
}
