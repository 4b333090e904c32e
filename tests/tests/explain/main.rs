//! `/explain` and `ringway explain` say what really happens: the same requests
//! are sent and asked about.

mod asking;
mod balancing;
mod filters;
mod headers;
mod host_names;
mod hosts;
mod limits;
mod mapped;
mod refused;
mod runtime_keys;
mod setting;
mod words;

use crate::asking::{Headers, text};
use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::message::Message;
use ringway_tests::observation::{Observation, Ports, Scene};
use ringway_tests::process::Program;
use ringway_tests::programs::{self, Driver};
use serde_json::Value;
use std::process::Command;

const LISTENERS: &[Listener] = &[
    Listener {
        name: "routed",
        manager: "normalize_path: true\nvia: a-via",
        hosts: include_str!("routes.yaml"),
    },
    Listener {
        name: "edge",
        manager: "use_remote_address: true",
        hosts: include_str!("routes.yaml"),
    },
];

fn clusters(ports: Ports) -> String {
    [
        cluster("origin", ports.origin, "connect_timeout: 3s"),
        cluster("other", ports.origin, ""),
    ]
    .concat()
}

/// Host, path, headers.
const REQUESTS: &[(&str, &str, Headers)] = &[
    ("a.example", "/exact", &[]),
    ("a.example", "/a/../exact", &[]),
    ("a.example", "/exactly", &[]),
    ("a.example", "/by-header", &[("x-version", "2")]),
    ("a.example", "/by-header", &[("x-version", "3")]),
    ("a.example", "/by-header", &[]),
    ("a.example", "/q?v=2", &[]),
    ("a.example", "/q?v=3", &[]),
    ("a.example", "/rewritten/x?y=z", &[]),
    ("a.example", "/redirected/x?y=z", &[]),
    ("a.example", "/answered", &[]),
    ("a.example", "/nowhere", &[]),
    ("A.Example", "/exact", &[]),
    ("b.example", "/exact", &[]),
    ("elsewhere", "/exact", &[]),
    ("c.example", "/in", &[("x-version", "2")]),
    ("c.example", "/out", &[("x-version", "2")]),
    ("c.example", "/any", &[("x-version", "3")]),
    ("c.example", "/in", &[]),
    ("d.example", "/secure?x=y", &[]),
];

/// What the proxy did, as far as an explanation tells it too.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    route: String,
    cluster: String,
    /// The status of an answer that the proxy gives itself.
    answer: Option<String>,
    location: Option<String>,
    /// Path and host that the origin gets.
    upstream: Option<(String, String)>,
    /// A header that the route adds.
    added: Option<String>,
}

#[test]
fn explanations_are_what_happens() {
    for driver in programs::drivers() {
        let scene = Scene::start(&Program::Ringway(driver), LISTENERS, clusters);
        for listener in LISTENERS {
            for (host, path, headers) in REQUESTS {
                let request = asking::get(host, path, headers);
                let seen = scene.play(&request.case(listener.name));
                let told = ask(&scene, listener.name, host, path, headers);
                assert_eq!(
                    explained(&told),
                    observed(&seen),
                    "{} {host}{path} {headers:?}\n{told:#}",
                    listener.name
                );
            }
        }
    }
}

/// A matcher's routes are not tried one after the other: nothing is said of
/// those that it did not lead to.
#[test]
fn a_matcher_is_named_instead_of_earlier_routes() {
    let driver = programs::drivers()[0];
    let scene = Scene::start(&Program::Ringway(driver), LISTENERS, clusters);
    let told = ask(&scene, "routed", "c.example", "/any", &[("x-version", "3")]);
    assert_eq!(told["route"]["value"], "second-of-list", "{told:#}");
    assert_eq!(told["route"]["note"], "by the matcher tree", "{told:#}");
    let missed = ask(&scene, "routed", "c.example", "/out", &[("x-version", "2")]);
    assert_eq!(
        missed["route"]["note"], "the matcher tree leads to none, or to none that matches /out",
        "{missed:#}"
    );
    for told in [told, missed] {
        assert!(told["routes_that_do_not_match"].is_null(), "{told:#}");
    }
    let listed = ask(&scene, "routed", "a.example", "/nowhere", &[]);
    assert!(listed["routes_that_do_not_match"].is_object(), "{listed:#}");
}

/// The explanation for one listener.
fn ask(
    scene: &Scene,
    listener: &str,
    host: &'static str,
    path: &'static str,
    headers: Headers,
) -> Value {
    asking::get(host, path, headers).ask(scene, listener, "")
}

fn explained(told: &Value) -> Outcome {
    let value = |name: &str| Some(&told[name]["value"]).filter(|value| !value.is_null());
    let sent = told["request_as_it_is_sent_upstream"]["items"].as_array();
    let header = |name: &str| {
        sent.and_then(|lines| lines.iter().find(|line| line["name"] == name))
            .map(|line| text(&line["value"]))
    };
    Outcome {
        route: value("route").map_or_else(|| "-".into(), text),
        cluster: value("cluster").map_or_else(|| "-".into(), text),
        answer: value("answer").map(text),
        location: told["answer"]["note"]
            .as_str()
            .and_then(|note| note.strip_prefix("redirect to "))
            .map(str::to_owned),
        upstream: header(":path").zip(header(":authority")),
        added: header("x-added"),
    }
}

fn observed(seen: &Observation) -> Outcome {
    let get = |name: &str| seen.get(name).cloned();
    let log = |name: &str| get(&format!("log[0].{name}")).unwrap_or_else(|| "-".into());
    let sent_on = get("upstream[0].line");
    let route = log("route");
    Outcome {
        route,
        cluster: log("cluster"),
        answer: sent_on.is_none().then(|| log("code")),
        location: get("response[0].header.location"),
        upstream: sent_on.map(|line| {
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let host = get("upstream[0].header.host").unwrap_or_default();
            (path, host)
        }),
        added: get("upstream[0].header.x-added"),
    }
}

#[test]
fn every_decision_names_its_line() {
    let scene = Scene::start(&Program::Ringway(Driver::Epoll), LISTENERS, clusters);
    let told = ask(
        &scene,
        "routed",
        "a.example",
        "/by-header",
        &[("x-version", "3")],
    );
    let line_of = |place: &Value| asking::line_of(&scene, place);
    let before = told["routes_that_do_not_match"]["items"]
        .as_array()
        .expect("a list");
    let version_two = before
        .iter()
        .find(|route| route["name"] == "version-two")
        .expect("it comes before");
    let note = version_two["note"].as_str().expect("a reason");
    assert!(note.starts_with("x-version is \"3\", it wants {"), "{note}");
    assert!(line_of(&version_two["set_at"]).contains("x-version"));
    assert!(line_of(&told["route"]["set_at"]).contains("name: other-version"));
    assert!(line_of(&told["cluster"]["set_at"]).contains("cluster: other"));
    assert!(line_of(&told["timeouts"]["route"]["set_at"]).contains("timeout: 7s"));
    assert_eq!(told["timeouts"]["idle"]["set_at"], "default");
    assert_eq!(told["timeouts"]["route"]["value"], "7s");
}

#[test]
fn the_scope_is_named() {
    const SCOPED: &[Listener] = &[Listener {
        name: "scoped",
        manager: include_str!("../routing/scoped/index.yaml"),
        hosts: "",
    }];
    let scene = Scene::start(&Program::Ringway(Driver::Epoll), SCOPED, clusters);
    let ask = |headers: Headers| ask(&scene, "scoped", "own", "/only", headers);

    let told = ask(&[("x-s", "x;b")]);
    assert_eq!(told["scope"]["value"], "b");
    assert_eq!(told["scope"]["note"], "by its key \"b\"");
    let place = told["scope"]["set_at"].as_str().expect("a place");
    assert!(place.contains(".yaml:"), "{place}");
    assert_eq!(told["route_configuration"]["value"], "b");
    assert_eq!(told["answer"]["value"], 201);

    let told = ask(&[("x-s", "x;none")]);
    assert_eq!(told["scope"]["value"], Value::Null);
    let note = "none of 3 scopes has the key \"none\"";
    assert_eq!(told["scope"]["note"], note);
    assert_eq!(told["answer"]["value"], 404);

    let told = ask(&[]);
    assert_eq!(
        told["scope"]["note"],
        "none of 3 scopes has the key (missing)"
    );
}

#[test]
fn the_command_says_what_the_server_says() {
    let scene = Scene::start(&Program::Ringway(Driver::Epoll), LISTENERS, clusters);
    let file = scene
        .process
        .folder()
        .join(ringway_tests::process::CONFIGURATION);
    for (format, server) in [
        (
            "text",
            "/explain?listener=routed&host=a.example&path=/by-header&h.x-version=3",
        ),
        (
            "json",
            "/explain?listener=routed&host=a.example&path=/by-header&h.x-version=3&format=json",
        ),
    ] {
        let output = Command::new(programs::ringway())
            .arg("explain")
            .arg("-c")
            .arg(&file)
            .args([
                "--listener",
                "routed",
                "--host",
                "a.example",
                "--path",
                "/by-header",
            ])
            .args(["-H", "x-version: 3", "--format", format])
            .output()
            .expect("ringway runs");
        assert!(output.status.success(), "{output:?}");
        let told = scene.process.admin().get(server);
        let [command, server] = [output.stdout, told.body].map(|text| same(format, &text));
        assert_eq!(command, server, "{format}");
    }
}

/// What both must say: the ports that were bound are known to the server only,
/// and JSON is laid out in two ways.
fn same(format: &str, answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer).into_owned();
    let text = match format {
        "json" => {
            let value: Value = serde_json::from_slice(answer).expect("JSON");
            value.to_string()
        }
        _ => text,
    };
    let mut out = String::new();
    let mut rest = &*text;
    while let Some(at) = rest.find("127.0.0.1:") {
        let (before, port) = rest.split_at(at + "127.0.0.1:".len());
        out.push_str(before);
        rest = port.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out + rest
}

#[test]
fn mistakes_in_the_question_are_named() {
    let scene = Scene::start(&Program::Ringway(Driver::Epoll), LISTENERS, clusters);
    for (query, expected) in [
        ("/explain?paht=/x", "\"paht\" is not a parameter"),
        (
            "/explain?listener=nobody",
            "no listener has the name or port \"nobody\"",
        ),
        (
            "/explain?path=/x%0d%0ah:1",
            "path: a value cannot hold a line end",
        ),
        (
            "/explain?all_routes=1",
            "all_routes: \"1\" is neither true nor false",
        ),
        ("/explain?h.a%0d%0ab=1", "is not a token"),
        ("/explain?h.a=1%0d%0ab:2", "a value cannot hold a line end"),
        (
            "/explain?format=xml",
            "format: \"xml\" is neither text nor json",
        ),
    ] {
        let answer: Message = scene.process.admin().get(query);
        assert!(
            answer.first_line.contains("400"),
            "{query}: {}",
            answer.first_line
        );
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(body.contains(expected), "{query}: {body}");
    }
    let output = Command::new(programs::ringway())
        .args(["explain", "-c", "/nonexistent.yaml"])
        .output()
        .expect("ringway runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
