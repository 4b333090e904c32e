//! `envoy.filters.http.custom_response`: pages in the place of responses.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::{self, Comparison};
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::{Ports, Scene};
use ringway_tests::origin::{self, Act};
use ringway_tests::process::Program;

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
    Listener {
        name: "fetched",
        manager: include_str!("custom_response/fetching.yaml"),
        hosts: include_str!("custom_response/fetching_routes.yaml"),
    },
    Listener {
        name: "mapped_fetched",
        manager: concat!(
            include_str!("custom_response/fetching.yaml"),
            "local_reply_config: { body_format: { text_format_source: { \
             inline_string: \"<%LOCAL_REPLY_BODY%|%RESPONSE_CODE%>\" } } }\n"
        ),
        hosts: include_str!("custom_response/fetching_routes.yaml"),
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
    let mut all = pages();
    all.extend(fetched());
    all
}

/// The origin gives these answers, one after the other.
fn turns(answers: &[&str]) -> Act {
    let turn = |answer: &&str| vec![Act::Read, Act::Send(answer.as_bytes().to_vec())];
    Act::Turns(answers.iter().map(turn).collect())
}

const PAGE: &str =
    "HTTP/1.1 200 OK\r\nx-page: yes\r\nx-page2: yes\r\ncontent-length: 4\r\n\r\npage";

/// `RedirectPolicy`
fn fetched() -> Vec<Case> {
    // The response whose place a page takes.
    let of = |status: u16| {
        format!(
            "HTTP/1.1 {status} No\r\nx-origin: o\r\nset-cookie: a\r\ncontent-length: 4\r\n\r\norig"
        )
    };
    let fetched = |name, status| {
        case(name, "fetched", get_with("/x?q=a", "x-in: in\r\n"))
            .origin([turns(&[&of(status), PAGE])])
    };
    let page =
        |name, page: &str| case(name, "fetched", get("/x")).origin([turns(&[&of(500), page])]);
    let post = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: a/b\r\ncontent-length: 5\r\n\r\nhello"
        )
    };
    let chunks = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\nx-a: b\r\n\r\n"
        )
    };
    let no_chunks = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
    };
    vec![
        fetched("fetched", 404),
        fetched("fetched with a status", 410),
        fetched("fetched by path", 411),
        fetched("fetched by host", 412),
        fetched("fetched by all parts", 413),
        fetched("fetched from no route", 414),
        fetched("fetched direct response", 415),
        fetched("fetched root", 417),
        fetched("fetched from a refused host", 418),
        fetched("fetched redirect", 419),
        fetched("fetched by format", 420),
        fetched("fetched without query", 421),
        fetched("fetched from no URL", 422),
        fetched("fetched with headers overwritten", 423),
        fetched("fetched and changed", 424),
        fetched("fetched where TLS is required", 426),
        fetched("fetched without fragment", 427),
        fetched("fetched with no content", 428),
        fetched("fetched with an odd status", 429),
        fetched("fetched not", 430),
        fetched("fetched from a slow host", 504).origin([Act::Turns(vec![
            vec![Act::Read, Act::Send(of(504).into_bytes())],
            vec![Act::Read, Act::Drain],
        ])]),
        case("fetched and redirected", "fetched", get("/x")).origin([turns(&[
            &of(425),
            "HTTP/1.1 302 Found\r\nlocation: http://pages.host/other\r\ncontent-length: 0\r\n\r\n",
            PAGE,
        ])]),
        case("fetched page that would be replaced", "fetched", get("/x"))
            .origin([turns(&[&of(416), &of(404)])]),
        case("fetched after a body", "fetched", post("/x")).origin([turns(&[&of(404), PAGE])]),
        case(
            "fetched after chunks",
            "fetched",
            "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )
        .origin([turns(&[&of(404), PAGE])]),
        case("fetched after tries of a body", "fetched", post("/tries"))
            .origin([turns(&[&of(500), &of(500), PAGE])]),
        case("fetched after a try of a body", "fetched", post("/tries"))
            .origin([turns(&[&of(404), PAGE])]),
        case("fetched after a try of chunks", "fetched", chunks("/tries"))
            .origin([turns(&[&of(404), PAGE])]),
        case("fetched after a try of no chunks", "fetched", no_chunks("/tries"))
            .origin([turns(&[&of(404), PAGE])]),
        case("fetched direct response after a try of a body", "fetched", post("/tries"))
            .origin([turns(&[&of(415)])]),
        case("fetched after a body too large for tries", "fetched", post("/small-tries"))
            .origin([turns(&[&of(404), PAGE])]),
        case("fetched after a body of limited tries", "fetched", post("/hurried-tries"))
            .origin([turns(&[&of(404), PAGE])]),
        case("fetched after a body where redirects are followed", "fetched", post("/followed"))
            .origin([turns(&[&of(404), PAGE])]),
        case("fetched after a body that waited", "fetched", post("/delayed"))
            .origin([turns(&[&of(404), PAGE])]),
        case("fetched after tries of a body that waited", "fetched", post("/delayed-tries"))
            .origin([turns(&[&of(404), PAGE])]),
        case("fetched after a body for no host", "fetched", post("/refused-tries")).answer(PAGE),
        case("fetched after a body for no host that waited", "fetched", post("/delayed-refused"))
            .answer(PAGE),
        case("fetched after an abort of a body that waited", "fetched", post("/delayed-abort"))
            .answer(PAGE),
        case("fetched after a body that waited for no cluster", "fetched", post("/delayed-nowhere"))
            .answer(PAGE),
        case("fetched after an abort that waited", "fetched", get("/delayed-abort"))
            .answer(PAGE),
        case("fetched after tries without time", "fetched", post("/slow-tries")).origin([
            Act::Turns(vec![
                vec![Act::Read, Act::Drain],
                origin::answer(PAGE),
            ]),
        ]),
        case("fetched after two bodies", "fetched", post("/tries"))
            .then(Step::Await(1))
            .then_send(post("/tries"))
            .origin([turns(&[&of(404), PAGE, &of(404), PAGE])])
            .answers(2),
        case(
            "fetched not before the end of a body",
            "fetched",
            "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\n\r\nhello",
        )
        .origin([
            Act::ReadHead,
            Act::Send(of(404).into_bytes()),
            Act::Drain,
        ]),
        case("fetched by HEAD", "fetched", "HEAD /x HTTP/1.1\r\nhost: a\r\n\r\n")
            .origin([Act::Turns(vec![
                vec![
                    Act::Read,
                    Act::Send(b"HTTP/1.1 404 No\r\ncontent-length: 4\r\n\r\n".to_vec()),
                ],
                vec![
                    Act::Read,
                    Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()),
                ],
            ])])
            .to_head(),
        case("fetched for a direct response", "fetched", get("/direct")).answer(PAGE),
        case("fetched not for half a request", "fetched", post("/direct")).answer(PAGE),
        case(
            "fetched for no host",
            "fetched",
            "GET / HTTP/1.1\r\nhost: zzz\r\n\r\n",
        )
        .answer(PAGE),
        case("fetched for refused", "fetched", get("/refused")).answer(PAGE),
        case("fetched for a timeout", "fetched", get("/slow")).origin([Act::Turns(vec![
            vec![Act::Read, Act::Drain],
            origin::answer("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate"),
        ])]),
        case("fetched after rewrites", "fetched", get("/rewritten/a"))
            .origin([turns(&[&of(404), PAGE])]),
        case("fetched from rewritten", "fetched", get("/rewritten/a"))
            .origin([turns(&[&of(411), PAGE])]),
        case("fetched after tries", "fetched", get("/tries"))
            .origin([turns(&[&of(500), &of(500), PAGE])]),
        case(
            "fetched for gRPC",
            "fetched",
            get_with("/x", "content-type: application/grpc\r\n"),
        )
        .origin([turns(&[&of(404), PAGE])]),
        case("fetched for an endless body", "fetched", get("/x")).origin([turns(&[
            "HTTP/1.1 404 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
            PAGE,
        ])]),
        case("fetched for no body", "fetched", get("/x"))
            .origin([turns(&["HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", PAGE])]),
        page("fetched nothing", "HTTP/1.1 204 No\r\nx-page: y\r\n\r\n"),
        page("fetched not modified", "HTTP/1.1 304 No\r\nx-page: y\r\n\r\n"),
        page("fetched found", "HTTP/1.1 302 F\r\nlocation: /b\r\ncontent-length: 2\r\n\r\npg"),
        page("fetched not found", "HTTP/1.1 404 N\r\nx-page: y\r\ncontent-length: 2\r\n\r\npg"),
        page("fetched broken", "nonsense\r\n\r\n"),
        page(
            "fetched chunks",
            "HTTP/1.1 200 O\r\ntransfer-encoding: chunked\r\n\r\n2\r\npg\r\n0\r\n\r\n",
        ),
        page(
            "fetched after hints",
            "HTTP/1.1 103 Hints\r\nx-a: b\r\n\r\nHTTP/1.1 200 O\r\ncontent-length: 2\r\n\r\npg",
        ),
        case("fetched for the route", "fetched", get("/own")).origin([turns(&[&of(200), PAGE])]),
        case(
            "fetched twice on one connection",
            "fetched",
            [get("/x"), get("/x")].concat(),
        )
        .origin([turns(&[&of(404), PAGE, &of(404), PAGE])])
        .answers(2),
        case(
            "fetched for a connection that closes",
            "fetched",
            get_with("/x", "connection: close\r\n"),
        )
        .origin([turns(&[&of(404), PAGE])]),
        case(
            "fetched not for an upgrade",
            "fetched",
            get_with("/upgrade", "connection: upgrade\r\nupgrade: websocket\r\n"),
        )
        .answer(of(404)),
        case("fetched from a refused host, mapped", "mapped_fetched", get("/x"))
            .origin([turns(&[&of(418)])]),
        case("fetched for refused, mapped", "mapped_fetched", get("/refused")).answer(PAGE),
    ]
}

fn pages() -> Vec<Case> {
    const GRPC: &str = "content-type: application/grpc\r\n";
    let not_found = answer(
        "404 Not Found",
        "x-origin: o\r\nset-cookie: a\r\ncontent-type: text/html\r\n",
    );
    let failed = answer("503 No", "x-origin: o\r\n");
    let of_b = |name, path| {
        case(
            name,
            "pages",
            format!("GET {path} HTTP/1.1\r\nhost: b\r\n\r\n"),
        )
    };
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
        case("page of a timeout", "pages", get("/slow")).origin([Act::Read, Act::Drain]),
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
        of_b("page for a route's answer", "/gone"),
        of_b("page for a route's redirect", "/moved"),
        of_b("page for a host's answer", "/forwarded_gone")
            .answer("HTTP/1.1 410 No\r\ncontent-length: 4\r\n\r\ngone"),
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

/// A listener whose filter picks `own` for every response, and whose route
/// picks `of_route`; nothing is picked where they are empty.
macro_rules! counted {
    ($name:literal, $own:expr, $of_route:expr) => {
        Listener {
            name: $name,
            manager: concat!(
                "http_filters:\n- name: envoy.filters.http.custom_response\n  typed_config: { \
                 \"@type\": type.googleapis.com/envoy.extensions.filters.http.custom_response.v3.\
                 CustomResponse, ",
                $own,
                " }\n- name: router\n  typed_config: { \"@type\": \
                 type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }\n"
            ),
            hosts: concat!(
                "- name: a\n  domains: [a]\n  routes:\n  - match: { prefix: / }\n    \
                 route: { cluster: origin }\n    typed_per_filter_config:\n      \
                 envoy.filters.http.custom_response: { \"@type\": type.googleapis.com/\
                 envoy.extensions.filters.http.custom_response.v3.CustomResponse, ",
                $of_route,
                " }\n"
            ),
        }
    };
}

macro_rules! redirect {
    ($uri:literal) => {
        concat!(
            "custom_response_matcher: { on_no_match: { action: { name: page, typed_config: { \
             \"@type\": type.googleapis.com/envoy.extensions.http.custom_response.\
             redirect_policy.v3.RedirectPolicy, uri: \"http://",
            $uri,
            "/\" } } } }"
        )
    };
}

/// What was and was not counted, by listeners whose filters and routes fetch
/// pages or have none.
fn counters_of_pages(program: &Program) -> Vec<Vec<String>> {
    let listeners: &[&[Listener]] = &[
        &[counted!("neither", "", "")],
        &[counted!("own", redirect!("nobody"), "")],
        &[counted!("route", "", redirect!("nobody"))],
        &[counted!("both", redirect!("nobody"), redirect!("no-one"))],
    ];
    let look = |listeners: &&[Listener]| {
        let scene = Scene::start(program, listeners, clusters);
        for listener in *listeners {
            drop(scene.play(&case("asked", listener.name, get("/"))));
        }
        let text = scene
            .process
            .admin()
            .get("/stats?filter=custom_response_")
            .text();
        text.lines().map(ToOwned::to_owned).collect()
    };
    listeners.iter().map(look).collect()
}

#[test]
fn pages_are_counted_where_envoy_counts_them() {
    let test = "pages_are_counted_where_envoy_counts_them";
    let Some(seen) = comparison::as_in_envoy(test, counters_of_pages) else {
        return;
    };
    assert!(seen[0].is_empty());
    let own = "http.own.custom_response_redirect_no_route: 1";
    assert!(seen[1].iter().any(|line| line == own), "{seen:?}");
    let of_route = "custom_response_redirect_no_route: 1";
    assert!(seen[2].iter().any(|line| line == of_route), "{seen:?}");
}
