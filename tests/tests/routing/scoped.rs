//! Scoped routes: which route configuration a request gets by its headers, and
//! that everything else about it comes from the same one.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin;

const LISTENERS: &[Listener] = &[
    listener("index", include_str!("scoped/index.yaml")),
    listener("keyed", include_str!("scoped/keyed.yaml")),
    listener("tables", include_str!("scoped/tables.yaml")),
    listener("internal", include_str!("scoped/internal.yaml")),
];

const fn listener(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: "",
    }
}

fn clusters(ports: Ports) -> String {
    cluster("origin", ports.origin, "")
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: own\r\n{headers}\r\n")
}

fn cases() -> Vec<Case> {
    let mut all = keys();
    all.extend(tables());
    all.extend(internal_only());
    all
}

/// How a header makes a key.
fn keys() -> Vec<Case> {
    let with = |name, listener, headers| case(name, listener, get("/", headers));
    vec![
        with("index first scope", "index", "x-s: x;a\r\n"),
        with("index more elements", "index", "x-s: x;a;b\r\n"),
        with("index empty element", "index", "x-s: x;\r\n"),
        with("index spaces count", "index", "x-s: x; a\r\n"),
        with("index case counts", "index", "x-s: x;A\r\n"),
        with("index too few elements", "index", "x-s: a\r\n"),
        with("index empty header", "index", "x-s:\r\n"),
        with("index no header", "index", ""),
        with("index first line", "index", "x-s: x;a\r\nx-s: x;b\r\n"),
        with(
            "index lines are not joined",
            "index",
            "x-s: x\r\nx-s: x;a\r\n",
        ),
        case("index scope", "index", get("/only", "x-s: x;b\r\n")),
        with("index no route in the scope", "index", "x-s: x;b\r\n"),
        case(
            "no scope for head",
            "index",
            "HEAD / HTTP/1.1\r\nhost: own\r\n\r\n",
        )
        .to_head(),
        case(
            "no scope for a post",
            "index",
            "POST / HTTP/1.1\r\nhost: own\r\ncontent-length: 5\r\n\r\nhello",
        ),
        with(
            "no scope for an upgrade",
            "index",
            "connection: upgrade\r\nupgrade: websocket\r\n",
        ),
        case(
            "no scope for connect",
            "index",
            "CONNECT own:80 HTTP/1.1\r\nhost: own:80\r\n\r\n",
        ),
        with("keyed only element", "keyed", "x-s: k=a\r\n"),
        with("keyed later element", "keyed", "x-s: j=b,k=a\r\n"),
        with("keyed first of two", "keyed", "x-s: k=a,k=z\r\n"),
        with("keyed first of two is unknown", "keyed", "x-s: k=z,k=a\r\n"),
        with("keyed no separator", "keyed", "x-s: k\r\n"),
        with("keyed no value", "keyed", "x-s: k=\r\n"),
        with("keyed two separators", "keyed", "x-s: k=a=b\r\n"),
        with("keyed separator twice", "keyed", "x-s: k==a\r\n"),
        with("keyed space before the key", "keyed", "x-s: j=b, k=a\r\n"),
        with("keyed case counts", "keyed", "x-s: K=a\r\n"),
        with("keyed empty elements", "keyed", "x-s: ,,k=a\r\n"),
        with("keyed no key", "keyed", "x-s: =a\r\n"),
        with("keyed empty header", "keyed", "x-s:\r\n"),
    ]
}

/// Header changes, formats, bodies, overrides and statistics of the scope.
fn tables() -> Vec<Case> {
    let second = |name, path| case(name, "tables", get(path, "x-s: b\r\n"));
    vec![
        case("tables first", "tables", get("/", "x-s: a\r\n")),
        second("tables counted", "/counted"),
        second("tables not counted", "/other"),
        second("tables page", "/page"),
        second("tables redirect", "/away"),
        second("tables rewrite", "/rewritten"),
        second("tables override", "/fault"),
        case("tables no override", "tables", get("/fault", "x-s: a\r\n")),
        case(
            "tables one fragment is missing",
            "tables",
            get("/", "x-t: a\r\n"),
        ),
        case(
            "tables one fragment is another",
            "tables",
            "GET / HTTP/1.1\r\nhost: elsewhere\r\nx-s: b\r\n\r\n",
        ),
        case(
            "tables the host counts with its port",
            "tables",
            "GET / HTTP/1.1\r\nhost: own:80\r\nx-s: a\r\n\r\n",
        ),
        case(
            "tables one connection, several scopes",
            "tables",
            get("/page", "x-s: b\r\n"),
        )
        .then(Step::Await(1))
        .then_send(get("/page", ""))
        .then(Step::Await(2))
        .then_send(get("/away", "x-s: b\r\n"))
        .answers(3),
        redirected("redirected to another scope", "http://elsewhere/x"),
        redirected("redirected to no scope", "http://nowhere/x"),
        redirected("redirected within the scope", "http://own/x"),
    ]
}

/// A case whose first answer is followed.
fn redirected(name: &'static str, location: &str) -> Case {
    let moved = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    let mut acts = origin::answer(moved);
    acts.extend(origin::answer_ok());
    case(name, "tables", get("/moved", "x-s: a\r\n")).origin(acts)
}

/// `internal_only_headers` are those of the scope that the client asks for.
fn internal_only() -> Vec<Case> {
    let with = |name, headers| case(name, "internal", get("/", headers));
    vec![
        with("internal the key itself", "x-s: key\r\n"),
        with("internal another header", "x-s: other\r\nx-secret: 1\r\n"),
        with(
            "internal other scopes' header",
            "x-s: open\r\nx-secret: 1\r\n",
        ),
        with("internal no scope", "x-s: none\r\nx-secret: 1\r\n"),
        with(
            "internal no scope for an upgrade that is known",
            "connection: upgrade\r\nupgrade: websocket\r\n",
        ),
    ]
}

#[test]
fn scopes_are_envoys() {
    Comparison {
        suite: Suite::Routing("scoped"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("scopes_are_envoys");
}
