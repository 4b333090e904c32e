//! Header changes by configuration: `request_headers_to_add` and its like at
//! every level, with every action, on every kind of response.

use ringway_tests::bootstrap::{Listener, cluster, empty_cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;

const LEVELS: &str = include_str!("headers/levels.yaml");
const VALUES: &str = include_str!("headers/values.yaml");

const LISTENERS: &[Listener] = &[
    Listener {
        name: "levels",
        manager: "",
        hosts: LEVELS,
    },
    Listener {
        name: "specific",
        manager: "",
        hosts: concat!(
            include_str!("headers/levels.yaml"),
            "most_specific_header_mutations_wins: true\n"
        ),
    },
    Listener {
        name: "values",
        manager: "",
        hosts: VALUES,
    },
    Listener {
        name: "via",
        manager: "via: edge\nserver_name: named",
        hosts: VALUES,
    },
    Listener {
        name: "server_absent",
        manager: "server_header_transformation: APPEND_IF_ABSENT",
        hosts: VALUES,
    },
    Listener {
        name: "server_pass",
        manager: "server_header_transformation: PASS_THROUGH\nvia: edge",
        hosts: VALUES,
    },
];

fn clusters(ports: Ports) -> String {
    [
        cluster("origin", ports.origin, ""),
        cluster("refused", ports.refused, ""),
        cluster(
            "no_requests",
            ports.origin,
            "circuit_breakers: { thresholds: [{ max_requests: 0 }] }",
        ),
        empty_cluster("empty"),
    ]
    .concat()
}

fn get(path: &str) -> String {
    get_with(path, "")
}

fn get_with(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
}

/// An error, then an answer.
fn retried() -> Vec<Act> {
    let no = b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec();
    let ok = ok_with("").into_bytes();
    let turns = vec![vec![Act::Send(no)], vec![Act::Send(ok)]];
    vec![Act::Read, Act::Turns(turns)]
}

/// An answer with these headers.
fn ok_with(headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}content-length: 2\r\n\r\nok")
}

fn cases() -> Vec<Case> {
    let mut all = levels();
    all.extend(local_replies());
    all.extend(values());
    all.extend(tries());
    all.extend(identity());
    all
}

fn levels() -> Vec<Case> {
    const SENT: &str = "x-order: client\r\nx-last: client\r\nx-by-route: 1\r\nx-by-host: 1\r\nx-by-configuration: 1\r\n";
    const ANSWERED: &str =
        "x-order: origin\r\nx-last: origin\r\nx-from-origin: 1\r\nx-by-route: origin\r\n";
    vec![
        case("levels", "levels", get_with("/found/", SENT)).answer(ok_with(ANSWERED)),
        case("levels specific", "specific", get_with("/found/", SENT)).answer(ok_with(ANSWERED)),
        case("levels of a bare route", "levels", get_with("/bare", SENT)).answer(ok_with(ANSWERED)),
        case("levels of a bare host", "levels", {
            format!("GET /found/ HTTP/1.1\r\nhost: unmoved.example\r\n{SENT}\r\n")
        })
        .answer(ok_with(ANSWERED)),
        case(
            "levels before rewrites",
            "levels",
            get_with("/rewritten/x?q=1", SENT),
        ),
        case(
            "levels before rewrites specific",
            "specific",
            get_with("/rewritten/x?q=1", SENT),
        ),
        case("levels of an error status", "levels", get("/found/"))
            .answer("HTTP/1.1 500 No\r\nx-order: origin\r\ncontent-length: 0\r\n\r\n"),
        case(
            "levels of a weighted cluster",
            "levels",
            get_with("/weighted/", SENT),
        )
        .answer(ok_with(ANSWERED)),
        case(
            "levels of a weighted cluster specific",
            "specific",
            get_with("/weighted/", SENT),
        )
        .answer(ok_with(ANSWERED)),
        case(
            "levels of a weighted cluster with a host",
            "levels",
            get("/weighted-host/"),
        ),
        case(
            "levels of a weighted cluster with a host specific",
            "specific",
            get("/weighted-host/"),
        ),
        case(
            "levels of a weighted cluster with a host retried",
            "levels",
            get("/weighted-host/"),
        )
        .origin(retried()),
        case(
            "levels of a weighted cluster with a host retried specific",
            "specific",
            get("/weighted-host/"),
        )
        .origin(retried()),
        case(
            "levels of a weighted cluster that refuses",
            "levels",
            get("/weighted-only/"),
        ),
        case("levels not of 100", "levels", get("/found/")).answer(
            "HTTP/1.1 100 Continue\r\nx-order: interim\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ),
        case(
            "levels of HEAD",
            "levels",
            "HEAD /found/ HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
        .to_head(),
    ]
}

fn local_replies() -> Vec<Case> {
    vec![
        case("local direct", "levels", get("/direct")),
        case("local direct specific", "specific", get("/direct")),
        case(
            "local direct to HEAD",
            "levels",
            "HEAD /direct HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .to_head(),
        case("local redirect", "levels", get("/redirect")),
        case("local unknown cluster", "levels", get("/unknown")),
        case("local refused", "levels", get("/refused")),
        case("local no host", "levels", get("/empty")),
        case("local overflow", "levels", get("/overflow")),
        case("local timeout", "levels", get("/slow")).origin([Act::Read, Act::Drain]),
        case("local reset", "levels", get("/found/")).origin([Act::Read, Act::Reset]),
        case("local protocol error", "levels", get("/found/")).answer("nonsense\r\n\r\n"),
        case("local no route", "levels", get("/none")),
        case(
            "local bad request",
            "levels",
            "GET /found/ HTTP/1.1\r\nhost: a b\r\n\r\n",
        ),
        case(
            "local upgrade refused",
            "levels",
            get_with("/found/", "connection: upgrade\r\nupgrade: other\r\n"),
        ),
        case(
            "local upgrade refused of a direct response",
            "levels",
            get_with("/direct", "connection: upgrade\r\nupgrade: other\r\n"),
        ),
        case(
            "local upgrade refused of a redirect",
            "levels",
            get_with("/redirect", "connection: upgrade\r\nupgrade: other\r\n"),
        ),
        case("local body", "values", get("/body")),
        case("local no body", "values", get("/no-body")),
        case("local no content", "values", get("/no-content")),
    ]
}

fn values() -> Vec<Case> {
    const PRESENT: &str = "x-removed: 1\r\nx-removed: 2\r\nx-again: 1\r\nx-append: 1\r\n\
        x-absent: 1\r\nx-overwrite: 1\r\nx-overwrite: 2\r\nx-exists: 1\r\nx-exists: 2\r\n\
        x-old-false: 1\r\nx-old-true: 1\r\nx-mixed: 1\r\n";
    vec![
        case("actions", "values", get_with("/actions", PRESENT)).answer(ok_with(PRESENT)),
        case("actions on nothing", "values", get("/actions")),
        case(
            "empty values",
            "values",
            get_with("/empty", "x-overwritten-not: 1\r\nx-emptied: 1\r\naccept: 1\r\n"),
        ),
        case("empty values on nothing", "values", get("/empty")),
        case(
            "joined values",
            "values",
            get_with(
                "/joined",
                "x-forwarded-for: 10.0.0.1\r\naccept: text/c\r\naccept-language: en\r\ncookie: a=1\r\nuser-agent: first\r\n",
            ),
        )
        .answer(ok_with(
            "cache-control: no-store\r\nvary: origin\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nlocation: here\r\n",
        )),
        case("joined values on nothing", "values", get("/joined")),
        case("hop by hop", "values", get("/hop")),
        case(
            "envoy headers added",
            "values",
            get("/envoy"),
        ),
        case(
            "lengths removed",
            "values",
            "POST /lengths HTTP/1.1\r\nhost: a\r\ncontent-type: a\r\ncontent-length: 5\r\n\r\nhello",
        ),
        case(
            "lengths removed of chunks",
            "values",
            "POST /lengths HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )
        .answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        case(
            "lengths removed of nothing",
            "values",
            "POST /lengths HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        )
        .answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        case(
            "length removed of HEAD",
            "values",
            "HEAD /lengths HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
        .to_head(),
        case("length removed of 204", "values", get("/lengths"))
            .answer("HTTP/1.1 204 No Content\r\n\r\n"),
        case("length removed of 304", "values", get("/lengths"))
            .answer("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"),
        case("host of a request", "values", get("/host")),
        case("hostile query", "values", get("/hostile?q=a%0d%0ax-evil:%201&r=b%0d%0a%0d%0aHTTP/1.1")),
        case("hostile NUL", "values", get("/hostile?q=%00&r=%7f")),
    ]
}

/// Several requests to the origin for one of the client.
fn tries() -> Vec<Case> {
    let twice = |first: &str, second: &str| {
        [
            Act::Read,
            Act::Send(first.as_bytes().to_vec()),
            Act::Read,
            Act::Send(second.as_bytes().to_vec()),
        ]
    };
    let failed = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://a/there\r\ncontent-length: 0\r\n\r\n";
    let ok = ok_with("");
    vec![
        case("tries", "values", get("/tries")).origin(twice(failed, &ok)),
        case("tries that all fail", "values", get("/tries")).answer(failed),
        case("tries that are reset", "values", get("/tries")).origin([Act::Read, Act::Reset]),
        case("tries that the route asks for", "values", get("/asked")).origin(twice(failed, &ok)),
        case("redirected within", "values", get("/redirected")).origin(twice(moved, &ok)),
    ]
}

fn identity() -> Vec<Case> {
    let mut all = Vec::new();
    for (name, of_origin, listener) in [
        ("identity", "identity of an origin", "values"),
        ("identity with via", "identity with via of an origin", "via"),
        (
            "identity if absent",
            "identity if absent of an origin",
            "server_absent",
        ),
        (
            "identity passed",
            "identity passed of an origin",
            "server_pass",
        ),
    ] {
        all.push(case(name, listener, get("/identity")));
        all.push(case(of_origin, listener, get("/identity")).answer(ok_with(
            "server: origin\r\nvia: origin\r\ndate: Wed, 25 Nov 2026 00:00:00 GMT\r\n",
        )));
    }
    all.push(case("identity of a local reply", "via", get("/body")));
    all.push(case(
        "identity of a local reply passed",
        "server_pass",
        get("/body"),
    ));
    all
}

#[test]
fn headers() {
    Comparison {
        suite: Suite::Routing("headers"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("headers");
}
