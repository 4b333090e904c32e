//! How an explanation reads, and what it admits not to know.

use crate::asking::{get, items, text};
use crate::setting::scene;
use ringway_tests::bootstrap::{self, Listener, cluster};
use ringway_tests::observation::{Ports, Scene};
use ringway_tests::process::Program;
use ringway_tests::programs::{self, Driver};
use serde_json::Value;
use std::process::Command;

#[test]
fn what_only_filters_would_know_is_told_to_be_unknown() {
    let scene = scene();
    const UNKNOWN: &str = "dynamic_metadata_and_filter_state";
    let told = get("told.example", "/told", &[]).ask(&scene, "decisions", "");
    assert_eq!(told["route"]["value"], "rest");
    assert_eq!(told[UNKNOWN]["value"], "unknown", "{told:#}");
    let told = get("a", "/plain", &[]).ask(&scene, "decisions", "");
    assert!(told[UNKNOWN].is_null(), "{told:#}");
}

/// The whole text, so that a change of it is seen as it will be read.
#[test]
fn the_text_reads_well() {
    let scene = scene();
    let query = "/explain?listener=decisions&host=a&path=/mirrored&h.x-mirror=mirror2\
                 &h.x-forwarded-for=10.1.1.1&h.x-envoy-max-retries=3\
                 &h.x-envoy-upstream-rq-timeout-ms=250";
    let answer = scene.process.admin().get(query);
    let text = String::from_utf8(answer.body).expect("text");
    let masked: String = text.lines().map(|line| masked(line) + "\n").collect();
    assert_eq!(masked, include_str!("golden.txt"), "\n{masked}");
}

/// A line without what the test's own configuration decides: ports, and the
/// places in its file.
fn masked(line: &str) -> String {
    let mut line = line.to_owned();
    const HOST: &str = "127.0.0.1:";
    if let Some(at) = line.find(HOST) {
        let port = at + HOST.len();
        let digits = line[port..].bytes().take_while(u8::is_ascii_digit).count();
        line.replace_range(port..port + digits, "PORT");
    }
    let place = line.rfind("  (").map(|at| at + "  (".len());
    if let Some(place) = place.filter(|place| line[*place..].contains(".yaml:")) {
        line.replace_range(place..line.len() - 1, "FILE:LINE:COLUMN");
    }
    line
}

/// What is in force is told, not only what the file says.
#[test]
fn runtime_values_are_told() {
    const LISTENER: Listener = Listener {
        name: "shifted",
        manager: "",
        hosts: "
- name: all
  domains: [\"*\"]
  routes:
  - match: { prefix: \"/\", runtime_fraction: { runtime_key: share, default_value: { numerator: 5 } } }
    direct_response: { status: 200 }
  - match: { path: \"/none\" }
    route: { weighted_clusters: { runtime_key_prefix: none, clusters: [ { name: origin, weight: 1 } ] } }
  - match: { path: \"/drawn\" }
    route: { weighted_clusters: { header_name: x-draw, clusters: [ { name: origin, weight: 30 }, { name: other, weight: 70 } ] } }
  - match: { path: \"/hashed\" }
    route:
      hash_policy: [ { header: { header_name: x-user } } ]
      weighted_clusters: { use_hash_policy: true, clusters: [ { name: origin, weight: 1 } ] }
  - match: { path: \"/fixed\" }
    route: { weighted_clusters: { clusters: [ { name: origin, weight: 7 } ] } }
  - match: { prefix: \"/\" }
    route: { weighted_clusters: { runtime_key_prefix: w, clusters: [ { name: origin, weight: 1 } ] } }
",
    };
    const LAYERS: &str = "layered_runtime: { layers: [ \
        { name: base, static_layer: { share: 0, w.origin: 20, none.origin: 0 } }, \
        { name: admin, admin_layer: {} } ] }\n";
    let program = Program::Ringway(Driver::Epoll);
    let clusters = |ports: Ports| cluster("origin", ports.origin, "");
    let scene = Scene::start_with(&program, &[LISTENER], clusters, LAYERS);
    let ask = |path| get("a", path, &[]).ask(&scene, "shifted", "&random=104");

    let told = ask("/none");
    let earlier = &told["routes_that_do_not_match"]["items"];
    let note = "the share is 0 of 100 by its runtime key and the request's number 4, it wants ";
    let share = earlier[0]["note"].as_str().unwrap_or_default();
    assert!(share.starts_with(note), "{told:#}");
    let note = "it matches, but runtime keys leave its clusters no weight";
    assert_eq!(earlier[1]["note"], note, "{told:#}");
    let note = "picked by weight: 20 of 20, as runtime keys and the file say";
    assert_eq!(told["cluster"]["note"], note, "{told:#}");

    let drawn = |headers| {
        let told = get("a", "/drawn", headers).ask(&scene, "shifted", "&random=104");
        let cluster = &told["cluster"];
        format!("{}: {}", text(&cluster["value"]), text(&cluster["note"]))
    };
    let by_chance = "origin: picked by weight: 30 of 100; chance decides, because the request";
    for (headers, expected) in [
        (
            &[("x-draw", "29")][..],
            "origin: picked by weight: 30 of 100; the request's header x-draw decides, which is 29"
                .to_owned(),
        ),
        (
            &[("x-draw", "1030")],
            "other: picked by weight: 70 of 100; the request's header x-draw decides, which is 1030"
                .to_owned(),
        ),
        (&[], format!("{by_chance} has no header x-draw")),
        (
            &[("x-draw", "half")],
            format!("{by_chance}'s header x-draw is \"half\", which is no number"),
        ),
        (
            &[("x-draw", "1"), ("x-draw", "2")],
            format!("{by_chance} has more than one header x-draw"),
        ),
    ] {
        assert_eq!(drawn(headers), expected, "{headers:?}");
    }
    let hashed = get("a", "/hashed", &[("x-user", "1")]).ask(&scene, "shifted", "");
    let note = text(&hashed["cluster"]["note"]);
    let expected = "picked by weight: 1 of 1; the hash policy decides, whose hash is ";
    assert!(note.starts_with(expected), "{note}");

    let told = ask("/fixed");
    assert_eq!(
        told["cluster"]["note"], "picked by weight: 7 of 7",
        "{told:#}"
    );
    scene.process.admin().post("/runtime_modify?share=4");
    let told = ask("/");
    let share = &told["routes_that_do_not_match"]["items"][0]["note"];
    let note = "the share is 4 of 100 by its runtime key and the request's number 4, ";
    let share = share.as_str().unwrap_or_default();
    assert!(share.starts_with(note), "{told:#}");
}

/// Of many routes the first are told, and all if that is asked for.
#[test]
fn a_long_list_of_routes_is_cut() {
    let route = |number: usize| {
        format!(
            "  - {{ name: r{number}, match: {{ path: /{number} }}, direct_response: {{ status: 200 }} }}\n"
        )
    };
    let routes: String = (0..300).map(route).collect();
    let hosts = format!("- name: all\n  domains: [\"*\"]\n  routes:\n{routes}");
    let listener = Listener {
        name: "many",
        manager: "",
        hosts: hosts.leak(),
    };
    let scene = Scene::start(&Program::Ringway(Driver::Epoll), &[listener], |ports| {
        cluster("origin", ports.origin, "")
    });
    let earlier = |more: &str| {
        let told = get("a", "/299", &[]).ask(&scene, "many", more);
        assert_eq!(told["route"]["value"], "r299", "{told:#}");
        told["routes_that_do_not_match"].clone()
    };
    let few = earlier("");
    let names: Vec<_> = items(&few).iter().map(|one| text(&one["name"])).collect();
    let first: Vec<_> = (0..10).map(|number| format!("r{number}")).collect();
    assert_eq!(names, first, "{few:#}");
    let note = "299, of which these are the first; all_routes shows all";
    assert_eq!(few["note"], note);
    let all = earlier("&all_routes=true");
    assert_eq!((items(&all).len(), &all["note"]), (299, &Value::Null));
}

/// A configuration needs no file, and a request no host and no path.
#[test]
fn the_command_takes_a_text() {
    const HOSTS: &str = r#"
- name: all
  domains: ["*"]
  routes:
  - match: { path: /plugin }
    route:
      inline_cluster_specifier_plugin:
        is_optional: true
        extension:
          name: mine
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.router.cluster_specifiers.lua.v3.LuaConfig
            source_code: { inline_string: "" }
            default_cluster: nowhere
  - match: { prefix: /old }
    redirect: { prefix_rewrite: /new }
  - match: { prefix: / }
    direct_response: { status: 204 }
"#;
    let listener = Listener {
        name: "main",
        manager: "",
        hosts: HOSTS,
    };
    let text = bootstrap::bootstrap(&[listener], "").replace("{DIR}", "/tmp");
    for (arguments, expected) in [
        (
            &["--path", "/old/page"][..],
            &[
                "request: GET /old/page\n",
                "answer: 301 - redirect to http://127.0.0.1:0/new/page  (",
            ][..],
        ),
        (
            &["--path", "/old/page", "--host", "a"],
            &["answer: 301 - redirect to http://a/new/page  ("],
        ),
        (
            &["--method", "CONNECT", "--host", "target.test:443"],
            &["request: CONNECT target.test:443\n"],
        ),
        (
            &["--method", "OPTIONS", "--path", "*"],
            &[
                "request: OPTIONS *\n",
                "answer: 404 - refused before routing",
            ],
        ),
        (
            &["--path", "/late", "--all-routes"],
            &["routes that do not match\n"],
        ),
        (
            &["--path", "/plugin", "--host", "a"],
            &["but its optional plugin is unknown", "answer: 204"],
        ),
    ] {
        let output = Command::new(programs::ringway())
            .args(["explain", "--config-yaml", &text])
            .args(arguments)
            .output()
            .expect("ringway runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        for part in expected {
            assert!(told.contains(part), "{part}\n{told}\n{output:?}");
        }
    }
}
