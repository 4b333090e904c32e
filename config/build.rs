//! Prepares what the crate embeds: the table of supported fields, put together
//! from its files, and the protobuf descriptors of Envoy's API, copied out of
//! the envoy-types package.
//!
//! envoy-types carries them as a file but does not expose them. No path to a
//! dependency's sources is given to a build script, so cargo is asked, offline
//! and about a throwaway package that depends on envoy-types alone: asking
//! about this workspace would need every development dependency downloaded.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The file inside the envoy-types package: an encoded `FileDescriptorSet`.
const DESCRIPTORS: &str = "src/generated/types.bin";

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets this"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets this"));
    let lock = here.join("../Cargo.lock");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", lock.display());

    collect_support_tables(&here.join("src/support"), &out.join("support.txt"));

    let package = find_envoy_types(&out, &lock);
    let from = package.join(DESCRIPTORS);
    fs::copy(&from, out.join("types.bin"))
        .unwrap_or_else(|e| panic!("cannot copy {}: {e}", from.display()));
}

/// Joins all table files, in the order of their names, each behind a line
/// with its name.
fn collect_support_tables(from: &Path, to: &Path) {
    println!("cargo::rerun-if-changed={}", from.display());
    let entries = fs::read_dir(from).expect("the support directory can be listed");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the support directory can be listed").path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    let mut all = String::new();
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(file).expect("a support table can be read");
        all.push_str(&format!("## {name}\n{text}\n"));
    }
    fs::write(to, all).expect("OUT_DIR is writable");
}

/// The directory of the envoy-types package that this build uses.
fn find_envoy_types(out: &Path, lock: &Path) -> PathBuf {
    let probe = out.join("probe");
    fs::create_dir_all(&probe).expect("OUT_DIR is writable");
    fs::write(probe.join("lib.rs"), "").expect("OUT_DIR is writable");
    fs::write(
        probe.join("Cargo.toml"),
        format!(
            "[package]\nname = \"probe\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             [lib]\npath = \"lib.rs\"\n[workspace]\n\
             [dependencies]\nenvoy-types = \"={}\"\n",
            version_in(lock)
        ),
    )
    .expect("OUT_DIR is writable");
    fs::copy(lock, probe.join("Cargo.lock")).expect("the workspace has a Cargo.lock");

    let target = env::var("TARGET").expect("cargo sets this");
    let answer = Command::new(env::var_os("CARGO").expect("cargo sets this"))
        .args(["metadata", "--format-version=1", "--offline"])
        .arg(format!("--filter-platform={target}"))
        .current_dir(&probe)
        .output()
        .expect("cargo can be run");
    assert!(
        answer.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&answer.stderr)
    );
    let metadata: Value = serde_json::from_slice(&answer.stdout).expect("cargo prints JSON");
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "envoy-types")
        .and_then(|package| package["manifest_path"].as_str())
        .expect("envoy-types is a dependency of the probe");
    Path::new(manifest)
        .parent()
        .expect("a manifest lies in a directory")
        .to_owned()
}

/// The version of envoy-types that the workspace is locked to.
fn version_in(lock: &Path) -> String {
    let text =
        fs::read_to_string(lock).unwrap_or_else(|e| panic!("cannot read {}: {e}", lock.display()));
    text.split("[[package]]")
        .find(|package| package.contains("name = \"envoy-types\""))
        .and_then(|package| package.split("version = \"").nth(1))
        .and_then(|rest| rest.split('"').next())
        .expect("Cargo.lock names envoy-types")
        .to_owned()
}
