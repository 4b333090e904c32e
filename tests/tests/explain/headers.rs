//! What a host gets of a request, and what other hosts get copies, is what is
//! told of it.

use crate::asking::{Request, connect, get, items, line_of, text};
use crate::setting::{INTERNAL, UPGRADE, on_each_driver, scene};
use ringway_tests::observation::Observation;
use serde_json::Value;
use std::collections::BTreeMap;

const REQUESTS: &[Request] = &[
    get("a", "/plain", &[]),
    Request {
        method: "POST",
        ..get("a", "/plain", &[])
    },
    get("a", "/plain", &[("x-envoy-upstream-rq-timeout-ms", "250")]),
    get(
        "a",
        "/plain",
        &[INTERNAL, ("x-envoy-upstream-rq-timeout-ms", "250")],
    ),
    get(
        "a",
        "/plain",
        &[INTERNAL, ("x-envoy-upstream-rq-timeout-ms", "0")],
    ),
    get(
        "a",
        "/plain",
        &[INTERNAL, ("x-envoy-upstream-rq-timeout-ms", "soon")],
    ),
    get(
        "a",
        "/plain",
        &[INTERNAL, ("x-envoy-upstream-rq-per-try-timeout-ms", "99")],
    ),
    get(
        "a",
        "/plain",
        &[
            INTERNAL,
            ("x-envoy-upstream-rq-per-try-timeout-ms", "99000"),
        ],
    ),
    get(
        "a",
        "/plain",
        &[
            INTERNAL,
            ("x-envoy-retry-on", "reset"),
            ("x-envoy-max-retries", "3"),
        ],
    ),
    get(
        "a",
        "/plain",
        &[
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-for", "10.1.1.1"),
        ],
    ),
    get(
        "a",
        "/plain",
        &[("te", "trailers, gzip"), ("keep-alive", "1")],
    ),
    get("a", "/slow", &[("grpc-timeout", "100m")]),
    get("a", "/slow", &[]),
    get("a", "/limits", &[]),
    get(
        "a",
        "/limits",
        &[INTERNAL, ("x-envoy-hedge-on-per-try-timeout", "true")],
    ),
    get(
        "a",
        "/limits",
        &[INTERNAL, ("x-envoy-upstream-rq-timeout-ms", "300")],
    ),
    get("a", "/added", &[("x-gone", "1"), ("x-twice", "1")]),
    get("a", "/weighted", &[("x-random", "0")]),
    get("a", "/weighted", &[("x-random", "1")]),
    get("a", "/mirrored", &[]),
    get("a", "/mirrored", &[("x-mirror", "mirror2")]),
    get("a", "/mirrored", &[("x-mirror", "nobody")]),
    get("a", "/nowhere", &[]),
    get("a", "/empty", &[]),
    get("a", "/followed", &[]),
    get("a", "/missing", &[]),
    get("told.example", "/told", &[]),
    get("a", "/plain", &[UPGRADE, ("upgrade", "websocket")]),
    get("a", "/plain", &[UPGRADE, ("upgrade", "WebSocket")]),
    get("a", "/plain", &[UPGRADE, ("upgrade", "closed")]),
    get("a", "/plain", &[UPGRADE, ("upgrade", "rare")]),
    get("a", "/open", &[UPGRADE, ("upgrade", "rare")]),
    get("a", "/shut", &[UPGRADE, ("upgrade", "websocket")]),
    get("a", "/missing", &[UPGRADE, ("upgrade", "websocket")]),
    get("a", "/missing", &[UPGRADE, ("upgrade", "rare")]),
    get("a", "/mirrored", &[UPGRADE, ("upgrade", "websocket")]),
    get("a", "/plain", &[UPGRADE, ("upgrade", "h2c")]),
    connect("a:443", &[]),
    connect("a:443", &[("x-on", "1")]),
    connect("a:443", &[("x-on", "1"), ("upgrade", "websocket"), UPGRADE]),
];

/// What comes of a request, as far as an explanation tells it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Result {
    /// The status of an answer that the proxy gives itself.
    answer: Option<String>,
    /// The request line and all headers that the host gets.
    sent: Option<BTreeMap<String, String>>,
    /// The hosts of the copies, sorted.
    copies: Vec<String>,
}

impl Result {
    pub(crate) fn told(told: &Value) -> Self {
        let answer = Some(&told["answer"]["value"]).filter(|value| !value.is_null());
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for header in items(&told["request_as_it_is_sent_upstream"]) {
            let name = match text(&header["name"]).as_str() {
                ":authority" => "host".into(),
                other => other.to_owned(),
            };
            headers
                .entry(name)
                .or_default()
                .push(text(&header["value"]));
        }
        let mut sent: BTreeMap<String, String> = headers
            .into_iter()
            .map(|(name, values)| (name, values.join(" || ")))
            .collect();
        let mut take = |name: &str| sent.remove(name);
        let (method, path, _) = (take(":method"), take(":path"), take(":scheme"));
        let target = path.or_else(|| sent.get("host").cloned());
        if let (Some(method), Some(target)) = (method, target) {
            sent.insert("".into(), format!("{method} {target} HTTP/1.1"));
        }
        let copied = items(&told["mirrors"]).iter();
        let copied = copied.filter(|one| one["value"] == "copied");
        let mut copies: Vec<_> = copied.map(|one| text(&one["authority"])).collect();
        copies.sort();
        Self {
            answer: answer.map(text),
            sent: (!sent.is_empty()).then_some(sent),
            copies,
        }
    }

    /// The host that the request names.
    pub(crate) fn host(&self) -> String {
        let sent = self.sent.as_ref().and_then(|sent| sent.get("host"));
        sent.cloned().unwrap_or_default()
    }

    /// The same with the origin's port as an observation names it.
    pub(crate) fn masked(mut self, port: u16) -> Self {
        let port = format!(":{port}");
        for value in self.sent.iter_mut().flat_map(BTreeMap::values_mut) {
            *value = value.replace(&port, ":ORIGIN");
        }
        self
    }

    pub(crate) fn seen(seen: &Observation) -> Self {
        let line = seen.get("upstream[0].line").cloned();
        let sent = line.map(|line| {
            let headers = seen.iter().filter_map(|(name, value)| {
                let name = name.strip_prefix("upstream[0].header.")?;
                Some((name.to_owned(), value.replace("<uuid>", "(random)")))
            });
            headers.chain([(String::new(), line)]).collect()
        });
        let copies = seen
            .iter()
            .filter(|(name, _)| name.starts_with("mirror[") && name.ends_with(".header.host"));
        let mut copies: Vec<_> = copies.map(|(_, host)| host.clone()).collect();
        copies.sort();
        Self {
            answer: (sent.is_none()).then(|| seen["log[0].code"].clone()),
            sent,
            copies,
        }
    }
}

#[test]
fn requests_are_told_to_the_last_header() {
    on_each_driver(|scene| {
        for request in REQUESTS {
            let case = request.case("decisions");
            let case = case.answer("HTTP/1.1 418 Tea\r\ncontent-length: 0\r\n\r\n");
            let seen = scene.play(&case);
            let told = request.ask(scene, "decisions", "");
            assert_eq!(
                Result::told(&told),
                Result::seen(&seen),
                "{request:?}\n{told:#}\n{seen:#?}"
            );
        }
    });
}

#[test]
fn the_share_of_a_mirror_is_decided_by_the_random_number() {
    let scene = scene();
    for (random, expected) in [(49, "copied"), (50, "not copied"), (149, "copied")] {
        let request = get("a", "/partly", &[]);
        let told = request.ask(&scene, "decisions", &format!("&random={random}"));
        let mirror = &items(&told["mirrors"])[0];
        assert_eq!(mirror["value"], expected, "{random} {told:#}");
        assert_eq!(mirror["name"], "mirror");
        assert!(line_of(&scene, &mirror["set_at"]).contains("cluster: mirror"));
        assert!(line_of(&scene, &mirror["share"]["set_at"]).contains("numerator: 50"));
    }
    let told = get("a", "/mirrored", &[]).ask(&scene, "decisions", "");
    let short = |one: &Value| format!("{}: {}", text(&one["name"]), text(&one["note"]));
    let found: Vec<_> = items(&told["mirrors"]).iter().map(short).collect();
    assert_eq!(
        found,
        [
            "mirror: null",
            "nowhere: there is no such cluster",
            "mirror2: the request is not in the share",
            "the cluster that x-mirror names: there is no such cluster",
        ]
    );
}
