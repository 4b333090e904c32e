//! The binary's command line, run as a user runs it. (That these tests name
//! the binary is also what makes `cargo test --workspace` build it, before the
//! end-to-end tests of the `tests` crate start it.)

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn ringway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(arguments)
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples")
}

#[test]
fn help_names_envoys_flags_and_ours() {
    let output = ringway(&["--help"]);
    assert!(output.status.success());
    let help = text(&output.stdout);
    for flag in [
        "--config-path",
        "--config-yaml",
        "--mode",
        "--concurrency",
        "--drain-time-s",
        "--log-level",
        "--io-driver",
    ] {
        assert!(help.contains(flag), "{flag} is missing in:\n{help}");
    }
}

#[test]
fn version_is_one_line() {
    let output = ringway(&["--version"]);
    assert!(output.status.success());
    let line = text(&output.stdout);
    assert!(line.contains(env!("CARGO_PKG_VERSION")), "{line}");
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn every_example_is_valid() {
    let mut examples_seen = 0;
    for entry in std::fs::read_dir(examples()).expect("the examples are there") {
        let path = entry.expect("readable").path();
        let is_configuration = path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "json");
        if !is_configuration {
            continue;
        }
        examples_seen += 1;
        let name = path.to_str().expect("a UTF-8 path");
        let output = ringway(&["--mode", "validate", "-c", name]);
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), format!("configuration '{name}' OK\n"));
    }
    assert!(examples_seen > 0, "no example was found");
}

#[test]
fn mistakes_are_told_with_their_place_and_exit_status_1() {
    let output = ringway(&[
        "--config-validate",
        "--config-yaml",
        "static_resources:\n  clusters:\n  - name: a\n    conect_timeout: 1s",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(
        errors.contains(":4:5: static_resources.clusters[0].conect_timeout:"),
        "{errors}"
    );
    assert!(
        errors.contains("did you mean \"connect_timeout\"?"),
        "{errors}"
    );
    assert_eq!(ringway(&["--no-such-flag"]).status.code(), Some(1));
}
