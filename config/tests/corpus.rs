//! Real configuration files, each with the verdict of the real Envoy.
//!
//! What Envoy accepts must load with no other error than "not supported yet";
//! what Envoy refuses for its syntax, its fields or its rules must be refused
//! for such a reason too. Differences are listed below, each with its reason.

use ringway_config::{LoadOptions, load_files};
use std::collections::HashSet;
use std::path::PathBuf;

/// Errors that we give on purpose where Envoy gives none: a file, part of the
/// error, and why.
const STRICTER: &[(&str, &str, &str)] = &[
    (
        "test/server/test_data/server/valid_v3_but_invalid_v2_bootstrap.yaml",
        "expected a list of envoy.config.cluster.v3.Cluster, got an object",
        OBJECT_FOR_LIST,
    ),
    (
        "test/server/test_data/server/runtime_bootstrap_ads_eds.yaml",
        "expected a list of envoy.config.core.v3.GrpcService, got an object",
        OBJECT_FOR_LIST,
    ),
    (
        "single-page-app/envoy.yml",
        "expected a list of envoy.config.route.v3.HeaderMatcher, got an object",
        OBJECT_FOR_LIST,
    ),
];

const OBJECT_FOR_LIST: &str = "an object where a list belongs is a mistake that Envoy lets pass";

/// Why Envoy refuses a file that may well load here: it looks at things that
/// this level does not see.
const LATER: &[(&str, &str)] = &[
    (
        "Failed to load incomplete private key",
        "reads certificates",
    ),
    ("Invalid path: certs/", "reads certificates"),
    (
        "malformed IP address: {{",
        "a template; addresses are read when lowering",
    ),
    (
        "setJsonLogFormat error",
        "builds the application log's format",
    ),
    ("Unable to open Maxmind database", "opens a database"),
    ("script load error", "compiles a Lua script"),
    ("paths must refer to an existing path", "watches a file"),
];

#[test]
fn every_file_gets_envoys_verdict() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/envoy-configs");
    let verdicts =
        std::fs::read_to_string(root.join("verdicts.tsv")).expect("the verdicts are there");
    let mut wrong = Vec::new();
    let mut stricter_seen = HashSet::new();
    let mut later_seen = HashSet::new();
    let mut files = 0;
    for line in verdicts.lines() {
        let columns: Vec<&str> = line.splitn(3, '\t').collect();
        let [verdict, file, reason] = columns[..] else {
            panic!("three columns are needed: {line}");
        };
        files += 1;
        let later = LATER.iter().position(|(part, _)| reason.contains(part));
        later_seen.extend(later);
        let errors = errors_of(&root.join(file));
        if verdict == "FAIL" && later.is_none() {
            if errors.is_empty() {
                wrong.push(format!("{file}: accepted, but Envoy says: {reason}"));
            }
            continue;
        }
        for error in errors {
            let known = STRICTER
                .iter()
                .position(|(name, part, _)| file.ends_with(name) && error.contains(part));
            match known {
                Some(known) => {
                    stricter_seen.insert(known);
                }
                None => wrong.push(format!("{error} (Envoy accepts it)")),
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(files, 149);
    assert_eq!(
        stricter_seen.len(),
        STRICTER.len(),
        "an exception is not needed"
    );
    assert_eq!(later_seen.len(), LATER.len(), "an exception is not needed");
}

/// The errors other than "not supported yet".
fn errors_of(path: &std::path::Path) -> Vec<String> {
    match load_files(Some(path), None, &LoadOptions::default()) {
        Ok(_) => Vec::new(),
        Err(found) => found
            .errors()
            .filter(|error| !error.reason.contains("not supported yet"))
            .map(ToString::to_string)
            .collect(),
    }
}
