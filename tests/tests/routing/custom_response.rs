//! `envoy.filters.http.custom_response`: pages in the place of responses.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;
use std::time::Duration;

const ROUTES: &str = include_str!("custom_response/routes.yaml");

const LISTENERS: &[Listener] = &[
    Listener {
        name: "pages",
        manager: include_str!("custom_response/filters.yaml"),
        hosts: ROUTES,
    },
    Listener {
        name: "mapped_pages",
        manager: concat!(
            include_str!("custom_response/filters.yaml"),
            "local_reply_config: { body_format: { text_format_source: { \
             inline_string: \"<%LOCAL_REPLY_BODY%|%RESPONSE_CODE%|%RESP(x-page)%>\" }, \
             content_type: text/mapped } }\n"
        ),
        hosts: ROUTES,
    },
    Listener {
        name: "tree_pages",
        manager: include_str!("custom_response/trees.yaml"),
        hosts: ROUTES,
    },
    Listener {
        name: "upgrade_pages",
        manager: include_str!("custom_response/upgrade_filters.yaml"),
        hosts: ROUTES,
    },
];

fn clusters(ports: Ports) -> String {
    [
        cluster("origin", ports.origin, ""),
        cluster("refused", ports.refused, ""),
    ]
    .concat()
}

fn get(path: &str) -> String {
    get_with(path, "")
}

fn get_with(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
}

fn answer(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: 2\r\n\r\nok")
}

fn cases() -> Vec<Case> {
    const GRPC: &str = "content-type: application/grpc\r\n";
    let not_found = answer(
        "404 Not Found",
        "x-origin: o\r\nset-cookie: a\r\ncontent-type: text/html\r\n",
    );
    let failed = answer("503 No", "x-origin: o\r\n");
    let chunks = "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
    vec![
        case("page", "pages", get("/x")).answer(&not_found),
        case("page kept", "pages", get("/x")).answer(answer("404 Not Found", "x-kept: yes\r\n")),
        case("page of a class", "pages", get("/x")).answer(&failed),
        case("page by header", "pages", get("/x"))
            .answer(answer("200 OK", "x-origin: match 1\r\n")),
        case("page by header twice", "pages", get("/x"))
            .answer(answer("200 OK", "x-twice: a\r\nx-twice: b\r\n")),
        case("page not", "pages", get("/x")).answer(answer("201 Created", "x-origin: no\r\n")),
        case("page of an endless body", "pages", get("/x")).answer(chunks),
        case("page of no body", "pages", get("/x"))
            .answer("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
        case(
            "page to HEAD",
            "pages",
            "HEAD /x HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .answer("HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\n")
        .to_head(),
        case("page of a direct response", "pages", get("/direct")),
        case("page not of a direct response", "pages", get("/gone")),
        case(
            "page of no host",
            "pages",
            "GET / HTTP/1.1\r\nhost: c\r\n\r\n",
        ),
        case("page of refused", "pages", get("/refused")),
        case("page of a timeout", "pages", get("/slow"))
            .origin([Act::Read, Act::Wait(Duration::from_millis(300))]),
        case("page of a reset", "pages", get("/x")).origin([Act::Read, Act::Reset]),
        case("page of the last try", "pages", get("/tries")).answer(&failed),
        case(
            "page after a body",
            "pages",
            "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        )
        .answer(&not_found),
        case(
            "page before the end of a body",
            "pages",
            "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\n\r\nhello",
        )
        .origin([
            Act::ReadHead,
            Act::Send(not_found.clone().into_bytes()),
            Act::Drain,
        ]),
        case(
            "page for HTTP/1.1 that closes",
            "pages",
            get_with("/x", "connection: close\r\n"),
        )
        .answer(&not_found),
        case("page of a host that closes", "pages", get("/x"))
            .answer(answer("404 Not Found", "connection: close\r\n")),
        case(
            "page twice from a host",
            "pages",
            [get("/x"), get("/x")].concat(),
        )
        .origin([Act::Read, Act::Send(not_found.clone().into_bytes())])
        .answers(2),
        case("page of the route", "pages", get("/own")).answer(&not_found),
        case("page behind the route's", "pages", get("/own")).answer(&failed),
        case(
            "page of the host behind the route's",
            "pages",
            "GET /own HTTP/1.1\r\nhost: b\r\n\r\n",
        )
        .answer(answer("410 Gone", "")),
        case(
            "page of the filter behind both",
            "pages",
            "GET /own HTTP/1.1\r\nhost: b\r\n\r\n",
        )
        .answer(&failed),
        case("page always", "pages", get("/always")).answer(answer("200 OK", "")),
        case("details of the response", "pages", get("/preserved")).answer(&failed),
        case("details of the page", "pages", get("/told")).answer(&failed),
        case("page for gRPC", "pages", get_with("/x", GRPC)).answer(&not_found),
        case("page not for gRPC", "pages", get_with("/direct", GRPC)),
        case(
            "page of a refused upgrade",
            "upgrade_pages",
            get_with("/x", "connection: upgrade\r\nupgrade: websocket\r\n"),
        )
        .answer(answer("403 Forbidden", "")),
        case("page not without an upgrade", "upgrade_pages", get("/x"))
            .answer(answer("403 Forbidden", "")),
        case("page of a tree", "tree_pages", get("/x")).answer(&not_found),
        case(
            "page of a tree, by the request",
            "tree_pages",
            get_with("/x", "x-asked: yes\r\n"),
        )
        .answer(&failed),
        case(
            "page not of a tree, by the request",
            "tree_pages",
            get_with("/x", "x-asked: no\r\n"),
        )
        .answer(&failed),
        case("page of a tree in a tree", "tree_pages", get("/x"))
            .answer(answer("410 Gone", "x-origin: abc\r\n")),
        case("page not of a tree in a tree", "tree_pages", get("/x"))
            .answer(answer("410 Gone", "x-origin: a\r\n")),
        case("page not of a tree", "tree_pages", get("/x")).answer(answer("201 Created", "")),
        case("page not of an early error", "pages", "nonsense\r\n\r\n"),
        case("page mapped", "mapped_pages", get("/x")).answer(&not_found),
        case(
            "page mapped of a direct response",
            "mapped_pages",
            get("/direct"),
        ),
        case("page mapped of refused", "mapped_pages", get("/refused")),
        case(
            "page twice",
            "pages",
            [get("/direct"), get("/gone")].concat(),
        )
        .answers(2),
    ]
}

#[test]
fn custom_response() {
    Comparison {
        suite: Suite::Routing("custom_response"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("custom_response");
}
