//! What filters, upgrades, mirrors, time limits and retries do with a request is
//! what is told of it.

use crate::asking::{Request, connect, get, items, line_of, text};
use ringway_tests::bootstrap::{Listener, cluster, empty_cluster};
use ringway_tests::observation::{Observation, Ports, Scene};
use ringway_tests::origin::Act;
use ringway_tests::process::Program;
use ringway_tests::programs;
use serde_json::Value;
use std::collections::BTreeMap;

pub(crate) const LISTENERS: &[Listener] = &[
    // An address of this range in x-forwarded-for makes a request internal.
    Listener {
        name: "decisions",
        manager: "internal_address_config: { cidr_ranges: [ \
                  { address_prefix: 10.0.0.0, prefix_len: 8 } ] }\n\
                  upgrade_configs:\n\
                  - { upgrade_type: websocket }\n\
                  - { upgrade_type: closed, enabled: false }\n\
                  - { upgrade_type: CONNECT }\n",
        hosts: include_str!("decisions.yaml"),
    },
    Listener {
        name: "filtered",
        manager: include_str!("filters_manager.yaml"),
        hosts: include_str!("filters.yaml"),
    },
];

pub(crate) fn clusters(ports: Ports) -> String {
    [
        cluster("origin", ports.origin, "connect_timeout: 3s"),
        cluster("other", ports.origin, ""),
        cluster("mirror", ports.mirror, ""),
        cluster("mirror2", ports.mirror, ""),
        cluster(
            "brief",
            ports.origin,
            "typed_extension_protocol_options: { \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
             \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
             common_http_protocol_options: { max_stream_duration: 0.1s }, \
             explicit_http_config: { http_protocol_options: {} } } }",
        ),
        empty_cluster("empty"),
    ]
    .concat()
}

/// Runs with a scene for each driver.
fn on_each_driver(test: impl Fn(&Scene)) {
    for driver in programs::drivers() {
        test(&Scene::start(
            &Program::Ringway(driver),
            LISTENERS,
            clusters,
        ));
    }
}

const INTERNAL: (&str, &str) = ("x-forwarded-for", "10.1.1.1");
const UPGRADE: (&str, &str) = ("connection", "upgrade");

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
struct Result {
    /// The status of an answer that the proxy gives itself.
    answer: Option<String>,
    /// The request line and all headers that the host gets.
    sent: Option<BTreeMap<String, String>>,
    /// The hosts of the copies, sorted.
    copies: Vec<String>,
}

impl Result {
    fn told(told: &Value) -> Self {
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

    fn seen(seen: &Observation) -> Self {
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

/// The faults of the filters all apply, so that the status tells which filter
/// was the first one, and with which configuration.
#[test]
fn the_filters_that_run_are_told() {
    const OFF_HERE: &str = "off, turned off in the list of filters";
    const OFF: &str = "off, turned off by the route";
    const OWN: &str = "runs, with its own configuration";
    const OF_ROUTE: &str = "runs, with the configuration of the route";
    const OF_HOST: &str = "runs, with the configuration of the virtual host";
    const LAST: &str = "runs, the last one";
    const UPGRADE_TO_OWN: &[(&str, &str)] = &[UPGRADE, ("upgrade", "own")];
    let table: &[(Request, &str, &[&str])] = &[
        (
            get("a.example", "/plain", &[]),
            "501",
            &[OWN, OWN, OFF_HERE, LAST],
        ),
        (
            get("a.example", "/nowhere", &[]),
            "501",
            &[OWN, OWN, OFF_HERE, LAST],
        ),
        (get("nobody", "/", &[]), "501", &[OWN, OWN, OFF_HERE, LAST]),
        (
            get("a.example", "/first-off", &[]),
            "502",
            &[OFF, OWN, OFF_HERE, LAST],
        ),
        (
            get("a.example", "/both-off", &[]),
            "200",
            &[OFF, OFF, OFF_HERE, LAST],
        ),
        (
            get("a.example", "/sleeper", &[]),
            "503",
            &[OFF, OFF, OWN, LAST],
        ),
        (
            get("a.example", "/route", &[]),
            "511",
            &[OF_ROUTE, OWN, OFF_HERE, LAST],
        ),
        (
            get("a.example", "/weighted", &[("x-random", "0")]),
            "521",
            &[
                "runs, with the configuration of the weighted cluster",
                OWN,
                OFF_HERE,
                LAST,
            ],
        ),
        (
            get("a.example", "/weighted", &[("x-random", "1")]),
            "522",
            &[OF_ROUTE, OWN, OFF_HERE, LAST],
        ),
        (
            get("b.example", "/plain", &[]),
            "531",
            &[OF_HOST, OWN, OFF_HERE, LAST],
        ),
        (
            get("b.example", "/on", &[]),
            "531",
            &[OF_HOST, OWN, OFF_HERE, LAST],
        ),
        (
            get("b.example", "/nowhere", &[]),
            "501",
            &[OWN, OWN, OFF_HERE, LAST],
        ),
        (
            get("a.example", "/plain", UPGRADE_TO_OWN),
            "541",
            &[OWN, LAST],
        ),
    ];
    on_each_driver(|scene| {
        for (request, status, expected) in table {
            let told = request.ask(scene, "filtered", "");
            let filters = items(&told["filters"]);
            let short = |one: &Value| format!("{}, {}", text(&one["value"]), text(&one["note"]));
            let found: Vec<_> = filters.iter().map(short).collect();
            assert_eq!(&found, expected, "{request:?}\n{told:#}");

            let seen = scene.play(&request.case("filtered"));
            assert_eq!(&seen["log[0].code"], status, "{request:?}");
            let mut running = filters.iter().filter(|one| one["value"] == "runs");
            let first = running.next().expect("the router, if no other");
            let line = line_of(scene, &first["set_at"]);
            let says_so = line.contains(&format!("http_status: {status},"));
            assert!(says_so || *status == "200", "{request:?}: {line}");
            for off in filters.iter().filter(|one| one["value"] == "off") {
                let line = line_of(scene, &off["set_at"]);
                assert!(line.contains("disabled: true"), "{request:?}: {line}");
            }
        }
        let told = get("a.example", "/sleeper", &[]).ask(scene, "filtered", "");
        let sleeper = &items(&told["filters"])[2];
        assert_eq!(sleeper["turned_on_by"]["value"], "the route");
        let line = line_of(scene, &sleeper["turned_on_by"]["set_at"]);
        assert!(line.starts_with("sleeper:"), "{line}");
    });
}

#[test]
fn who_decides_about_an_upgrade_is_told() {
    let scene = Scene::start(
        &Program::Ringway(programs::drivers()[0]),
        LISTENERS,
        clusters,
    );
    for (path, kind, allowed, who, line) in [
        (
            "/plain",
            "websocket",
            true,
            "allowed: the connection manager",
            "websocket",
        ),
        (
            "/plain",
            "closed",
            false,
            "refused: the connection manager",
            "enabled: false",
        ),
        (
            "/open",
            "rare",
            true,
            "allowed: the route",
            "upgrade_type: rare",
        ),
        (
            "/shut",
            "websocket",
            false,
            "refused: the route",
            "enabled: false",
        ),
        (
            "/plain",
            "rare",
            false,
            "refused: neither route nor connection manager knows it",
            "",
        ),
    ] {
        let request = get("a", path, &[UPGRADE]);
        let told = request.ask(&scene, "decisions", &format!("&h.upgrade={kind}"));
        let upgrade = &told["upgrade"];
        assert_eq!(upgrade["value"], kind, "{told:#}");
        assert_eq!(upgrade["allowed"], allowed, "{told:#}");
        assert_eq!(upgrade["note"], who, "{told:#}");
        match line {
            "" => assert_eq!(upgrade["set_at"], "default"),
            line => assert!(
                line_of(&scene, &upgrade["set_at"]).contains(line),
                "{told:#}"
            ),
        }
    }
    // This one ends here: no head goes to the host.
    let told = connect("a:443", &[("x-ends", "1")]).ask(&scene, "decisions", "");
    assert_eq!(told["upgrade"]["note"], "allowed: the route", "{told:#}");
    let sent = &told["request_as_it_is_sent_upstream"];
    assert!(
        sent["value"].is_null() && sent["items"].is_null(),
        "{told:#}"
    );
    assert!(line_of(&scene, &sent["set_at"]).contains("connect_config"));
}

#[test]
fn the_share_of_a_mirror_is_decided_by_the_random_number() {
    let scene = Scene::start(
        &Program::Ringway(programs::drivers()[0]),
        LISTENERS,
        clusters,
    );
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

/// The host says nothing: whichever limit is told to be the shortest ends the
/// request.
#[test]
fn the_shortest_limit_that_is_told_ends_the_request() {
    const PER_TRY: (&str, &str) = ("x-envoy-upstream-rq-per-try-timeout-ms", "60");
    const ROUTE: (&str, &str) = ("x-envoy-upstream-rq-timeout-ms", "70");
    const STREAM: (&str, &str) = ("x-envoy-upstream-stream-duration-ms", "65");
    const NO_RETRY: (&str, &str) = ("x-envoy-max-retries", "0");
    const ALT: (&str, &str) = ("x-envoy-upstream-rq-timeout-alt-response", "1");
    let table = [
        (
            get("a", "/slow", &[("grpc-timeout", "100m")]),
            "stream",
            "grpc-timeout",
        ),
        // As much as the route allows.
        (
            get("a", "/slow", &[("grpc-timeout", "30S")]),
            "stream",
            "grpc-timeout",
        ),
        (get("a", "/plain", &[INTERNAL, ROUTE]), "route", ROUTE.0),
        (
            get("a", "/plain", &[INTERNAL, ROUTE, ALT]),
            "route",
            ROUTE.0,
        ),
        (
            get("a", "/plain", &[INTERNAL, STREAM, NO_RETRY]),
            "upstream_stream",
            STREAM.0,
        ),
        (get("a", "/limits", &[]), "per_try_idle", ""),
        (
            get("a", "/limits", &[INTERNAL, ROUTE, NO_RETRY]),
            "route",
            ROUTE.0,
        ),
        (
            get("a", "/limits", &[INTERNAL, PER_TRY, NO_RETRY]),
            "per_try",
            PER_TRY.0,
        ),
        (get("a", "/idle", &[]), "idle", ""),
        (
            get("a", "/brief", &[INTERNAL, NO_RETRY]),
            "upstream_stream",
            "",
        ),
    ];
    on_each_driver(|scene| {
        for (request, shortest, header) in &table {
            let told = request.ask(scene, "decisions", "");
            let timeouts = told["timeouts"].as_object().expect("an object");
            let limits = timeouts
                .iter()
                .filter_map(|(name, limit)| Some((seconds(limit["value"].as_str()?)?, name)));
            let (_, first) = limits
                .min_by(|one, other| one.0.total_cmp(&other.0))
                .expect("a limit");
            assert_eq!(first, shortest, "{request:?}\n{told:#}");
            let place = text(&timeouts[first]["set_at"]);
            match *header {
                "" => assert!(place.contains(".yaml:"), "{place}"),
                header => assert_eq!(place, format!("the request's header {header}")),
            }
            let case = request.case("decisions");
            let seen = scene.play(&case.origin([Act::Read, Act::Drain]));
            let details = match *shortest {
                "route" => "response_timeout",
                "per_try" => "upstream_per_try_timeout",
                "per_try_idle" => "upstream_per_try_idle_timeout",
                "upstream_stream" => "upstream_max_stream_duration_reached",
                "stream" => "max_duration_timeout",
                _ => "stream_idle_timeout",
            };
            assert_eq!(seen["log[0].details"], details, "{request:?}\n{told:#}");
            if details == "response_timeout" {
                let status = text(&told["timeouts"]["status"]["value"]);
                assert_eq!(seen["log[0].code"], status, "{request:?}\n{told:#}");
            }
        }
    });
}

/// A time as it is told.
fn seconds(text: &str) -> Option<f64> {
    match text.strip_suffix("ms") {
        Some(ms) => ms.parse::<f64>().ok().map(|ms| ms / 1000.0),
        None => text.strip_suffix('s')?.parse().ok(),
    }
}

/// The host refuses every try with 503, so that all retries are made that there
/// are.
#[test]
fn the_retries_that_are_told_are_made() {
    const ON: (&str, &str) = ("x-envoy-retry-on", "retriable-4xx, 5xx");
    const GRPC: (&str, &str) = ("x-envoy-retry-grpc-on", "internal");
    const THREE: (&str, &str) = ("x-envoy-max-retries", "3");
    const CODES: (&str, &str) = ("x-envoy-retriable-status-codes", "503,404");
    const ON_CODES: (&str, &str) = ("x-envoy-retry-on", "retriable-status-codes");
    let table: &[(Request, usize, &[&str])] = &[
        (get("a", "/plain", &[]), 2, &["gateway-error"]),
        (get("a", "/plain", &[THREE]), 2, &["gateway-error"]),
        (
            get("a", "/plain", &[INTERNAL, THREE]),
            3,
            &["gateway-error"],
        ),
        (
            get("a", "/plain", &[INTERNAL, ON, GRPC]),
            2,
            &["5xx", "gateway-error", "retriable-4xx", "internal"],
        ),
        (get("a", "/limits", &[]), 0, &["5xx"]),
        (get("a", "/limits", &[INTERNAL, THREE]), 3, &["5xx"]),
        (get("a", "/chosen", &[("x-again", "1")]), 1, &["5xx"]),
        (get("a", "/chosen", &[]), 0, &[]),
        (get("told.example", "/", &[]), 0, &[]),
        (get("told.example", "/", &[INTERNAL, THREE]), 0, &[]),
        (
            get("told.example", "/", &[INTERNAL, THREE, ON_CODES, CODES]),
            3,
            &["retriable-status-codes"],
        ),
    ];
    on_each_driver(|scene| {
        for (request, retries, on) in table {
            let told = request.ask(scene, "decisions", "");
            let conditions = items(&told["retries"]["on"]).iter();
            let names: Vec<_> = conditions.map(|one| text(&one["name"])).collect();
            assert_eq!(&names, on, "{request:?}\n{told:#}");
            // Without a condition nothing is tried again, however often it may.
            let times = told["retries"]["value"].as_u64().unwrap_or(0);
            let times = if on.is_empty() { 0 } else { times };
            assert_eq!(times, *retries as u64, "{request:?}\n{told:#}");

            let case = request.case("decisions");
            let refusal = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
            let seen = scene.play(&case.answer(refusal));
            let attempts = (retries + 1).to_string();
            assert_eq!(seen["log[0].attempts"], attempts, "{request:?}\n{told:#}");
        }
        let told = get("a", "/plain", &[INTERNAL, ON, GRPC, THREE]).ask(scene, "decisions", "");
        let retries = &told["retries"];
        assert_eq!(
            retries["set_at"],
            "the request's header x-envoy-max-retries"
        );
        let places = items(&retries["on"]).iter().map(|one| text(&one["set_at"]));
        let places: Vec<_> = places.collect();
        assert_eq!(places[0], "the request's header x-envoy-retry-on");
        assert!(places[1].contains(".yaml:"), "{places:?}");
        assert_eq!(places[3], "the request's header x-envoy-retry-grpc-on");
        assert_eq!(retries["hedging"]["value"], true, "{told:#}");
        let line = line_of(scene, &retries["hedging"]["set_at"]);
        assert!(line.contains("hedge_on_per_try_timeout: true"), "{line}");
        let told = get("a", "/limits", &[]).ask(scene, "decisions", "");
        assert_eq!(told["retries"]["hedging"]["value"], false, "{told:#}");
    });
}

#[test]
fn redirects_that_are_followed_are_told() {
    on_each_driver(|scene| {
        let redirect = |status: u16| {
            let head = format!(
                "HTTP/1.1 {status} Away\r\nlocation: http://a/followed\r\ncontent-length: 0\r\n\r\n"
            );
            let case = get("a", "/followed", &[]).case("decisions");
            scene.play(&case.answer(head))
        };
        let told = get("a", "/followed", &[]).ask(scene, "decisions", "");
        let policy = &told["internal_redirect_policy"];
        let most = policy["redirects_at_most"].as_u64().expect("a number");
        let followed = policy["followed_statuses"].as_array().expect("a list");
        for status in [301, 302, 307] {
            let seen = redirect(status);
            let tries = seen.keys().filter(|name| name.starts_with("upstream["));
            let tries = tries.filter(|name| name.ends_with(".line")).count() as u64;
            let expected = match followed.contains(&status.into()) {
                true => 1 + most,
                false => 1,
            };
            assert_eq!(tries, expected, "{status} {policy:#} {seen:#?}");
        }
        let told = get("a", "/plain", &[]).ask(scene, "decisions", "");
        assert!(told["internal_redirect_policy"]["value"].is_null());
    });
}

#[test]
fn what_only_filters_would_know_is_told_to_be_unknown() {
    let scene = Scene::start(
        &Program::Ringway(programs::drivers()[0]),
        LISTENERS,
        clusters,
    );
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
    let scene = Scene::start(
        &Program::Ringway(programs::drivers()[0]),
        LISTENERS,
        clusters,
    );
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
