//! What `local_reply_config` makes of the proxy's own answers is what is told
//! of it, with the lines that do it.

use crate::asking::{Request, connect, get, items, line_of, text};
use ringway_tests::bootstrap::{Listener, cluster, empty_cluster};
use ringway_tests::message::Message;
use ringway_tests::observation::{Ports, Scene};
use ringway_tests::process::Program;
use ringway_tests::programs;
use serde_json::Value;
use std::collections::BTreeMap;

const HOSTS: &str = r#"
- name: all
  domains: ["*"]
  response_headers_to_add: [ { header: { key: x-route, value: "yes" } } ]
  routes:
  - { match: { path: "/gone" }, direct_response: { status: 410, body: { inline_string: "it is gone" } } }
  - match: { path: "/made" }
    direct_response:
      status: 200
      body_format: { text_format_source: { inline_string: "made for %REQ(:path)%" }, content_type: text/made }
  - { match: { path: "/moved" }, redirect: { path_redirect: /new } }
  - { match: { path: "/empty" }, route: { cluster: empty } }
  - { match: { path: "/nowhere" }, route: { cluster: nowhere } }
  - { match: { prefix: "/sent" }, route: { cluster: origin } }
"#;

macro_rules! mapper {
    ($filter:literal, $rest:literal) => {
        concat!("- { filter: { ", $filter, " }, ", $rest, " }\n")
    };
}

const LISTENERS: &[Listener] = &[
    Listener {
        name: "mapped",
        manager: concat!(
            "local_reply_config:\n  mappers:\n  ",
            mapper!(
                "header_filter: { header: { name: x-teapot, present_match: true } }",
                "status_code: 418, body: { inline_string: teapot }, \
                 headers_to_add: [ { header: { key: x-tea, value: \"%RESPONSE_CODE%\" } } ]"
            ),
            "  ",
            mapper!(
                "status_code_filter: { comparison: { op: EQ, value: { default_value: 404, runtime_key: none } } }",
                "status_code: 299, body_format_override: { json_format: { code: \"%RESPONSE_CODE%\", \
                 body: \"%LOCAL_REPLY_BODY%\", details: \"%RESPONSE_CODE_DETAILS%\" } }"
            ),
            "  ",
            mapper!(
                "response_flag_filter: { flags: [ UH, NC ] }",
                "headers_to_add: [ { header: { key: content-type, value: text/own } } ]"
            ),
            "  body_format: { text_format_source: { inline_string: \
             \"<%LOCAL_REPLY_BODY%|%RESPONSE_CODE%|%RESPONSE_FLAGS%>\" } }\n"
        ),
        hosts: HOSTS,
    },
    Listener {
        name: "plain",
        manager: "local_reply_config: { mappers: [ { filter: { status_code_filter: { comparison: { op: GE, \
                  value: { default_value: 500, runtime_key: none } } } }, status_code: 599 } ] }",
        hosts: HOSTS,
    },
    Listener {
        name: "perhaps",
        manager: "local_reply_config: { mappers: [ \
                  { filter: { and_filter: { filters: [ { duration_filter: { comparison: { value: { \
                  default_value: 5, runtime_key: none } } } }, { header_filter: { header: { name: x-slow, \
                  present_match: true } } } ] } }, status_code: 598 }, \
                  { filter: { or_filter: { filters: [ { runtime_filter: { runtime_key: share, \
                  percent_sampled: { numerator: 50 } } }, { header_filter: { header: { name: x-sure, \
                  present_match: true } } } ] } }, status_code: 597 } ] }",
        hosts: HOSTS,
    },
    Listener {
        name: "unmapped",
        manager: "",
        hosts: HOSTS,
    },
];

fn clusters(ports: Ports) -> String {
    cluster("origin", ports.origin, "") + &empty_cluster("empty")
}

fn scene() -> Scene {
    let program = Program::Ringway(programs::drivers()[0]);
    let layers = "layered_runtime: { layers: [ { name: admin, admin_layer: {} } ] }\n";
    Scene::start_with(&program, LISTENERS, clusters, layers)
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");
const TEAPOT: (&str, &str) = ("x-teapot", "1");

const REQUESTS: &[Request] = &[
    get("a", "/gone", &[]),
    get("a", "/gone", &[TEAPOT]),
    get("a", "/gone", &[GRPC]),
    get("a", "/gone", &[GRPC, TEAPOT]),
    get("a", "/made", &[]),
    get("a", "/moved", &[]),
    get("a", "/empty", &[]),
    get("a", "/empty", &[GRPC]),
    get("a", "/nowhere", &[]),
    get("a", "/nowhere", &[TEAPOT]),
    get("a", "/none", &[]),
    get("a", "/none", &[GRPC]),
    get("a", "/none", &[TEAPOT]),
    get("a b", "/gone", &[]),
    get("a", "gone", &[]),
    get(
        "a",
        "/sent",
        &[("connection", "upgrade"), ("upgrade", "other")],
    ),
    connect("a:80", &[]),
];

/// What the client gets.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: String,
    body: String,
    kind: Option<String>,
    grpc_status: Option<String>,
    grpc_message: Option<String>,
    tea: Option<String>,
}

impl Outcome {
    fn told(told: &Value) -> Self {
        let of = &told["local_reply_config"];
        let plain = |fact: &Value| match fact {
            Value::Object(fact) => fact.get("value").filter(|it| !it.is_null()).map(text),
            Value::Null => None,
            other => Some(text(other)),
        };
        let body = plain(&of["body"]).unwrap_or_default();
        let headers: BTreeMap<_, _> = (items(&of["headers"]).iter())
            .map(|header| (text(&header["name"]), text(&header["value"])))
            .collect();
        let message = plain(&of["grpc_message"]).filter(|message| !message.is_empty());
        Self {
            status: plain(&of["status"]).unwrap_or_default(),
            kind: of["body"]["note"].as_str().map(str::to_owned),
            body,
            grpc_status: plain(&of["grpc_status"]),
            grpc_message: message,
            tea: headers.get("x-tea").cloned(),
        }
    }

    fn seen(answer: &Message) -> Self {
        let header = |name: &str| answer.header(name).map(str::to_owned);
        let is_grpc = header("grpc-status").is_some();
        Self {
            status: answer.status().to_string(),
            body: answer.text(),
            kind: header("content-type").filter(|_| !is_grpc),
            grpc_status: header("grpc-status"),
            // Messages are kept with their quotes escaped.
            grpc_message: header("grpc-message").map(|text| text.replace("\\\"", "\"")),
            tea: header("x-tea"),
        }
    }
}

#[test]
fn what_is_made_of_an_answer_is_what_the_client_gets() {
    let scene = scene();
    for listener in ["mapped", "plain"] {
        for request in REQUESTS {
            let (seen, outcome) = scene.play_with_outcome(&request.case(listener));
            let told = request.ask(&scene, listener, "");
            let answer = outcome.finals().next().expect("an answer");
            assert_eq!(
                Outcome::told(&told),
                Outcome::seen(answer),
                "{listener} {request:?}\n{told:#}\n{seen:#?}"
            );
        }
    }
}

#[test]
fn every_change_names_its_line() {
    let scene = scene();
    let of = |request: &Request| request.ask(&scene, "mapped", "")["local_reply_config"].clone();
    let line = |fact: &Value| line_of(&scene, &fact["set_at"]);

    let teapot = of(&get("a", "/gone", &[TEAPOT]));
    assert_eq!(line(&teapot), "mappers:", "{teapot:#}");
    assert_eq!(teapot["mapper"]["value"], 0);
    for fact in ["mapper", "status", "headers"] {
        assert!(line(&teapot[fact]).contains("x-tea"), "{fact} {teapot:#}");
    }
    // The body is the mapper's, and the format for all writes it.
    assert_eq!(teapot["body"]["value"], "<teapot|418|->", "{teapot:#}");
    assert!(line(&teapot["body"]).contains("LOCAL_REPLY_BODY"));

    let missing = of(&get("a", "/none", &[]));
    assert_eq!(missing["mapper"]["value"], 1, "{missing:#}");
    assert!(
        line(&missing["body"]).contains("json_format"),
        "{missing:#}"
    );

    let gone = of(&get("a", "/gone", &[]));
    assert!(gone["mapper"].is_null(), "{gone:#}");
    assert_eq!(gone["status"], 410, "{gone:#}");
    assert_eq!(gone["body"]["value"], "<it is gone|410|->", "{gone:#}");
}

#[test]
fn chance_is_told_to_be_one() {
    let scene = scene();
    let of = |request: &Request| request.ask(&scene, "perhaps", "")["local_reply_config"].clone();
    const CHANCE: &str = "if chance, or the time that it takes, will have it";
    for (request, mapper, note, status) in [
        (get("a", "/gone", &[]), 1, Some(CHANCE), Value::Null),
        (
            get("a", "/gone", &[("x-slow", "1")]),
            0,
            Some(CHANCE),
            Value::Null,
        ),
        (get("a", "/gone", &[("x-sure", "1")]), 1, None, 597.into()),
    ] {
        let told = of(&request);
        assert_eq!(told["mapper"]["value"], mapper, "{told:#}");
        assert_eq!(told["mapper"]["note"].as_str(), note, "{told:#}");
        let told_status = match &told["status"] {
            Value::Object(fact) => &fact["value"],
            other => other,
        };
        assert_eq!(told_status, &status, "{told:#}");
    }
    scene.process.admin().post("/runtime_modify?share=0");
    let told = of(&get("a", "/gone", &[]));
    assert!(
        told["mapper"].is_null() && told["status"] == 410,
        "{told:#}"
    );
}

#[test]
fn where_nothing_is_known_or_configured_nothing_is_told() {
    let scene = scene();
    let sent = get("a", "/sent", &[]).ask(&scene, "mapped", "");
    let note = "it may change status, headers and body of what the proxy answers itself";
    assert_eq!(sent["local_reply_config"]["note"], note, "{sent:#}");
    for request in [get("a", "/sent", &[]), get("a", "/gone", &[])] {
        let told = request.ask(&scene, "unmapped", "");
        assert!(told["local_reply_config"].is_null(), "{told:#}");
    }
}
