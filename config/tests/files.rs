//! Files and the text of `--config-yaml` beside or over them.

use prost::Message;
use ringway_config::{LoadOptions, Loaded, load_files, to_json};
use serde_json::json;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(TempDir::new().expect("a temporary directory"))
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("it can be written");
        path
    }

    /// What loading says, without the folder's name.
    fn said(&self, path: Option<&Path>, yaml: Option<&str>) -> String {
        let found = match load_files(path, yaml, &LoadOptions::default()) {
            Ok(loaded) => loaded.diagnostics,
            Err(found) => found,
        };
        let folder = format!("{}/", self.0.path().display());
        found.to_string().replace(&folder, "")
    }
}

fn good(path: Option<&Path>, yaml: Option<&str>) -> Loaded {
    load_files(path, yaml, &LoadOptions::default()).unwrap_or_else(|found| panic!("{found}"))
}

#[test]
fn the_ending_decides_the_format() {
    let folder = Folder::new();
    for (name, content) in [
        ("a.yaml", "node: {id: me}"),
        ("a.yml", "node: {id: me}"),
        ("a.YAML", "node: {id: me}"),
        ("a.json", r#"{"node": {"id": "me"}}"#),
        ("a", r#"{"node": {"id": "me"}}"#),
        ("a.conf", r#"{"node": {"id": "me"}}"#),
    ] {
        let loaded = good(Some(&folder.write(name, content)), None);
        assert_eq!(loaded.bootstrap.node.expect("given").id, "me", "{name}");
        assert!(loaded.file.ends_with(name));
    }
    let said = folder.said(Some(&folder.write("b.conf", "node: {}")), None);
    assert_eq!(
        said,
        "b.conf: was read as JSON: only names that end in .yaml or .yml are read as YAML\n\
         b.conf:1:5: \"node\" is not a value; strings need quotes"
    );
    let said = folder.said(Some(&folder.write("b.pb_text", "node {}")), None);
    assert_eq!(
        said,
        "b.pb_text: protobuf text format is not supported yet, use YAML or JSON"
    );
}

#[test]
fn an_encoded_bootstrap_is_checked_too() {
    let folder = Folder::new();
    let bootstrap = good(None, Some("node: {id: me}\nstats_flush_interval: 1s")).bootstrap;
    let path = folder.write("a.pb", bootstrap.encode_to_vec());
    assert_eq!(good(Some(&path), None).bootstrap, bootstrap);

    let mut bad = bootstrap;
    bad.stats_flush_interval.get_or_insert_default().seconds = 1_000;
    let said = folder.said(Some(&folder.write("b.pb", bad.encode_to_vec())), None);
    assert_eq!(
        said,
        "b.pb: stats_flush_interval: 1000s given, must be less than 300s"
    );
    let said = folder.said(Some(&folder.write("c.pb", b"\x0a")), None);
    assert!(
        said.starts_with("c.pb: not an encoded envoy.config.bootstrap.v3.Bootstrap: "),
        "{said}"
    );
}

#[test]
fn unreadable_files_are_told_from_bad_ones() {
    let folder = Folder::new();
    let missing = folder.0.path().join("no.yaml");
    let said = folder.said(Some(&missing), None);
    assert_eq!(
        said,
        "no.yaml: cannot be read: No such file or directory (os error 2)"
    );
    let directory = folder.0.path().join("d.yaml");
    std::fs::create_dir(&directory).expect("it can be made");
    let said = folder.said(Some(&directory), None);
    assert_eq!(said, "d.yaml: is a directory; a file is needed");
    let latin = folder.write("l.yaml", b"node:\n  id: \xc3\xa9\xe9\n");
    assert_eq!(
        folder.said(Some(&latin), None),
        "l.yaml:2:8: this byte is not UTF-8"
    );
    let said = folder.said(Some(&folder.write("e.yaml", "")), None);
    assert_eq!(said, "e.yaml:1:1: the document is empty");
    assert_eq!(
        folder.said(None, None),
        "no configuration: give a file with -c or a text with --config-yaml"
    );
}

const BASE: &str = "\
node: {id: a, cluster: c}
static_resources:
  clusters:
  - {name: one, connect_timeout: 1s}
";

#[test]
fn the_text_is_merged_over_the_file_as_protobuf_merges() {
    let folder = Folder::new();
    let path = folder.write("a.yaml", BASE);
    let over = "{node: {id: b}, static_resources: {clusters: [{name: two, connect_timeout: 2s}]}}";
    let loaded = good(Some(&path), Some(over));
    assert_eq!(
        to_json(&loaded.message),
        json!({
            "node": {"id": "b", "cluster": "c"},
            "static_resources": {"clusters": [
                {"name": "one", "connect_timeout": "1s"},
                {"name": "two", "connect_timeout": "2s"},
            ]},
        })
    );
    let place = |path: &str| {
        let file = loaded.marks.file(path).expect("every path has a file");
        let name = file.rsplit('/').next().unwrap_or_default().to_owned();
        let position = loaded.marks.position(path).expect("and a position");
        format!("{name}:{position}")
    };
    assert_eq!(place("node.cluster"), "a.yaml:1:24");
    assert_eq!(place("node.id"), "--config-yaml:1:13");
    assert_eq!(place("static_resources.clusters[0].name"), "a.yaml:4:12");
    assert_eq!(
        place("static_resources.clusters[1].name"),
        "--config-yaml:1:54"
    );
}

#[test]
fn mistakes_name_the_text_they_are_in() {
    let folder = Folder::new();
    let path = folder.write("a.yaml", format!("{BASE}  - {{name: ''}}\nbogus: 1\n"));
    let over = "static_resources: {clusters: [{name: two}, {nam: x}]}";
    assert_eq!(
        folder.said(Some(&path), Some(over)),
        "--config-yaml:1:45: static_resources.clusters[1].nam: envoy.config.cluster.v3.Cluster has no such field, did you mean \"name\"?\n\
         a.yaml:5:12: static_resources.clusters[1].name: must not be empty\n\
         a.yaml:6:1: bogus: envoy.config.bootstrap.v3.Bootstrap has no such field"
    );
    // Text that cannot be read at all keeps nobody from seeing the other's mistakes.
    let path = folder.write("b.yaml", "bogus: 1");
    let said = folder.said(Some(&path), Some("["));
    assert!(said.starts_with("--config-yaml:2:1: "), "{said}");
    assert!(
        said.ends_with("b.yaml:1:1: bogus: envoy.config.bootstrap.v3.Bootstrap has no such field"),
        "{said}"
    );
}
