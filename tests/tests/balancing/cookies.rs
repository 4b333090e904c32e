//! Cookies that a hash policy gives to clients: which, when, and that they lead
//! to the host that took the first request.

use crate::picks::{Expected, Route, Setup, ask, start};
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::fleet::Fleet;
use ringway_tests::message::Message;
use ringway_tests::process::Program;
use std::net::TcpStream;
use xxhash_rust::xxh64::xxh64;

const HOSTS: &str = "{ lb_endpoints: [ { HOST0 }, { HOST1 }, { HOST2 }, { HOST3 }, { HOST4 } ] }";
const DEAD: &str = "{ lb_endpoints: [ { HOST5 } ] }";

macro_rules! cookie {
    ($fields:literal) => {
        concat!(
            "route: { cluster: ring, hash_policy: [ { cookie: { name: c, ",
            $fields,
            " } } ] }"
        )
    };
}

const fn route(path: &'static str, action: &'static str) -> Route {
    Route {
        path,
        action,
        requests: Vec::new,
        expected: Expected::Envoys,
    }
}

const ROUTES: &[Route] = &[
    route("/session", cookie!("ttl: 0s")),
    route("/age", cookie!("ttl: 3600s")),
    route("/part-of-a-second", cookie!("ttl: 7.9s")),
    route("/path", cookie!("ttl: 7s, path: /some/where")),
    route(
        "/attributes",
        cookie!(
            "ttl: 7s, path: /p, attributes: [ { name: SameSite, value: Lax }, { name: Secure } ]"
        ),
    ),
    route("/without-ttl", cookie!("path: /p")),
    route(
        "/several",
        "route: { cluster: ring, hash_policy: [ { cookie: { name: c, ttl: 1s } }, \
         { cookie: { name: d, ttl: 2s } }, { cookie: { name: c, ttl: 3s } } ] }",
    ),
    route(
        "/not-reached",
        "route: { cluster: ring, hash_policy: [ { header: { header_name: x-key }, terminal: true \
         }, { cookie: { name: c, ttl: 1s } } ] }",
    ),
    route(
        "/turns",
        "route: { cluster: turns, hash_policy: [ { cookie: { name: c, ttl: 1s } } ] }",
    ),
    route("/own", "route: { cluster: own }"),
    route(
        "/dead",
        "route: { cluster: dead, hash_policy: [ { cookie: { name: c, ttl: 1s } } ] }",
    ),
    route(
        "/changed",
        "response_headers_to_add: [ { header: { key: x-after, value: a } }, { header: { key: \
         set-cookie, value: of-route=1 } } ], route: { cluster: ring, hash_policy: [ { cookie: { \
         name: c, ttl: 1s } } ] }",
    ),
    route(
        "/removed",
        "response_headers_to_remove: [ set-cookie ], route: { cluster: ring, hash_policy: [ { \
         cookie: { name: c, ttl: 1s } } ] }",
    ),
    route(
        "/weighted",
        "route: { weighted_clusters: { use_hash_policy: true, clusters: [ { name: ring, weight: 1 \
         } ] }, hash_policy: [ { cookie: { name: c, ttl: 1s } } ] }",
    ),
];

const SETUP: Setup = Setup {
    manager: "",
    clusters: &[
        ("ring", "lb_policy: RING_HASH,", HOSTS),
        ("turns", "", HOSTS),
        ("dead", "lb_policy: MAGLEV,", DEAD),
        (
            "own",
            "load_balancing_policy: { policies: [ { typed_extension_config: { name: x, \
             typed_config: { \"@type\": type.googleapis.com/envoy.extensions.\
             load_balancing_policies.maglev.v3.Maglev, consistent_hashing_lb_config: { \
             hash_policy: [ { cookie: { name: c, ttl: 9s } } ] } } } } ] },",
            HOSTS,
        ),
    ],
    routes: ROUTES,
    dead: &[],
};

/// Requests: a path and header lines.
const REQUESTS: &[(&str, &str)] = &[
    ("/session", ""),
    ("/session", "cookie: c=mine\r\n"),
    ("/session", "cookie: c=\r\n"),
    ("/session", "cookie: d=1\r\n"),
    ("/age", ""),
    ("/part-of-a-second", ""),
    ("/path", ""),
    ("/attributes", ""),
    ("/without-ttl", ""),
    ("/several", ""),
    ("/several", "cookie: d=1\r\n"),
    ("/not-reached", "x-key: 1\r\n"),
    ("/not-reached", ""),
    ("/turns", ""),
    ("/own", ""),
    ("/dead", ""),
    ("/changed", ""),
    ("/removed", ""),
    ("/weighted", ""),
];

/// The answers' cookies, with `VALUE` for the one that belongs to the
/// connection, and their headers in order.
fn play(program: &Program, fleet: &Fleet) -> Vec<String> {
    let process = start(program, &SETUP, fleet);
    let address = process.listener("picks");
    let mut stream = TcpStream::connect(address).expect("a connection");
    let local = stream.local_addr().expect("an address");
    let value = format!("{:016x}", xxh64(format!("{local}{address}").as_bytes(), 0));
    let mut seen = Vec::new();
    for (path, lines) in REQUESTS {
        let answer = ask(&mut stream, path, lines);
        let headers: Vec<_> = answer
            .headers
            .iter()
            .filter(|(name, _)| name != "date" && name != "x-envoy-upstream-service-time")
            .map(|(name, text)| match name.as_str() {
                "set-cookie" => format!("{name}: {}", plain(text).replace(&value, "VALUE")),
                _ => name.clone(),
            })
            .collect();
        seen.push(format!("{path} {lines:?}: {}", headers.join(", ")));
    }
    // A connection of its own, because the value is the connection's.
    let mut other = TcpStream::connect(address).expect("a connection");
    let first = ask(&mut other, "/session", "");
    let given = value_of(&first);
    for path in ["/session", "/without-ttl"] {
        let lines = format!("cookie: c={given}\r\n");
        let again = ask(&mut stream, path, &lines);
        assert_eq!(
            again.header("x-host"),
            first.header("x-host"),
            "{path} of {}",
            program.name()
        );
        assert_eq!(again.header("set-cookie"), None, "{path}");
    }
    assert_eq!(
        value_of(&ask(&mut other, "/age", "")),
        given,
        "of one connection"
    );
    seen
}

/// The text of a header, which messages show with its quotation marks escaped.
fn plain(text: &str) -> String {
    text.replace('\\', "")
}

/// The value of the cookie that an answer sets.
fn value_of(answer: &Message) -> String {
    let cookie = plain(answer.header("set-cookie").expect("a cookie"));
    let value = cookie
        .strip_prefix("c=\"")
        .and_then(|rest| rest.split_once('"'));
    let (value, _) = value.unwrap_or_else(|| panic!("{cookie} is no cookie of ours"));
    value.to_owned()
}

#[test]
fn clients_get_the_cookies_that_envoy_gives() {
    let mut fleet = Fleet::start(6);
    fleet.kill(5);
    let test = "clients_get_the_cookies_that_envoy_gives";
    if let Some(seen) = as_in_envoy(test, |program| play(program, &fleet)) {
        assert!(
            seen[0].contains("set-cookie: c=\"VALUE\"; HttpOnly"),
            "{seen:#?}"
        );
    }
}
