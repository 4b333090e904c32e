//! What runtime keys make of a request is told, with the line that sets them or
//! the command that did.

use crate::asking::{get, items, line_of, text};
use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::observation::Scene;
use ringway_tests::process::Program;
use ringway_tests::programs;
use serde_json::Value;

const HOSTS: &str = r#"
- name: all
  domains: ["*"]
  routes:
  - { match: { path: "/closed" }, route: { cluster: closed } }
  - { match: { path: "/partly" }, route: { cluster: partly } }
  - match: { path: "/retried" }
    route: { cluster: open, retry_policy: { retry_on: 5xx } }
  - match: { path: "/own" }
    route: { cluster: open, retry_policy: { retry_on: 5xx, retry_back_off: { base_interval: 1s } } }
  - match: { path: "/copied" }
    route: { cluster: open, request_mirror_policies: [ { cluster: closed }, { cluster: partly } ] }
  - { match: { prefix: "/" }, route: { cluster: open } }
"#;

const LISTENERS: &[Listener] = &[Listener {
    name: "plain",
    manager: "",
    hosts: HOSTS,
}];

const LAYERS: &str = "\
layered_runtime:
  layers:
  - name: file
    static_layer:
      upstream.maintenance_mode.closed: 100
      upstream:
        use_retry: 40
        base_retry_backoff_ms: 7
        maintenance_mode:
          partly: 30
  - { name: admin, admin_layer: {} }
";

fn scene() -> Scene {
    let program = Program::Ringway(programs::drivers()[0]);
    let clusters = |ports: ringway_tests::observation::Ports| {
        ["open", "closed", "partly"]
            .map(|name| cluster(name, ports.origin, ""))
            .concat()
    };
    Scene::start_with(&program, LISTENERS, clusters, LAYERS)
}

fn ask(scene: &Scene, path: &'static str) -> Value {
    get("a", path, &[]).ask(scene, "plain", "")
}

#[test]
fn a_cluster_in_maintenance_is_told_with_what_says_so() {
    let scene = scene();
    let told = ask(&scene, "/closed");
    let answer = &told["answer"];
    assert_eq!(answer["value"], 503, "{told:#}");
    assert_eq!(
        line_of(&scene, &answer["set_at"]),
        "upstream.maintenance_mode.closed: 100"
    );
    let note = text(&answer["note"]);
    assert!(note.contains("flag UO, details maintenance_mode"), "{note}");
    assert!(told["request_as_it_is_sent_upstream"].is_null());

    let told = ask(&scene, "/partly");
    let part = &told["maintenance_mode"];
    assert_eq!(part["value"], "30%", "{told:#}");
    assert_eq!(line_of(&scene, &part["set_at"]), "partly: 30");
    assert!(!told["request_as_it_is_sent_upstream"].is_null());

    let told = ask(&scene, "/copied");
    let [closed, partly] = items(&told["mirrors"]) else {
        panic!("{told:#}");
    };
    assert_eq!(closed["value"], "not copied", "{told:#}");
    assert_eq!(partly["value"], "copied", "{told:#}");
    for (mirror, percent, line) in [
        (closed, "100%", "upstream.maintenance_mode.closed: 100"),
        (partly, "30%", "partly: 30"),
    ] {
        let part = &mirror["maintenance_mode"];
        assert_eq!(part["value"], percent, "{told:#}");
        assert_eq!(line_of(&scene, &part["set_at"]), line);
    }

    assert!(ask(&scene, "/")["maintenance_mode"].is_null());
    let change = "/runtime_modify?upstream.maintenance_mode.open=100\
                  &upstream.maintenance_mode.closed=0";
    assert_eq!(scene.process.admin().post(change).status(), 200);
    let answer = &ask(&scene, "/")["answer"];
    assert_eq!(answer["set_at"], "/runtime_modify", "{answer:#}");
    assert!(ask(&scene, "/closed")["answer"].is_null());
}

#[test]
fn what_the_runtime_changes_of_retries_is_told() {
    let scene = scene();
    let told = ask(&scene, "/retried");
    let retries = &told["retries"];
    assert_eq!(retries["made"]["value"], "40%", "{told:#}");
    assert_eq!(line_of(&scene, &retries["made"]["set_at"]), "use_retry: 40");
    let base = &retries["base_interval"];
    assert_eq!(base["value"], "7ms");
    assert_eq!(line_of(&scene, &base["set_at"]), "base_retry_backoff_ms: 7");
    let told = ask(&scene, "/own");
    assert!(told["retries"]["base_interval"].is_null(), "{told:#}");
    let change = "/runtime_modify?upstream.use_retry=100&upstream.base_retry_backoff_ms=9";
    assert_eq!(scene.process.admin().post(change).status(), 200);
    let retries = &ask(&scene, "/retried")["retries"];
    assert!(retries["made"].is_null(), "{retries:#}");
    assert_eq!(retries["base_interval"]["value"], "9ms");
    assert_eq!(retries["base_interval"]["set_at"], "/runtime_modify");
}
