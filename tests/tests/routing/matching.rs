//! Which route a request belongs to: every kind of condition, and the order.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;

macro_rules! listeners {
    ($($name:literal),* $(,)?) => {
        &[$(Listener {
            name: $name,
            manager: "",
            hosts: include_str!(concat!("matching/", $name, ".yaml")),
        }),*]
    };
}

const LISTENERS: &[Listener] = listeners![
    "paths",
    "templates",
    "headers",
    "queries",
    "cookies",
    "kinds",
    "parameters",
    "no_parameters",
    "vhost_header",
    "vhost_header_port",
    "vhost_header_only",
    "domains",
    "domains_without_ports",
];

fn clusters(ports: Ports) -> String {
    cluster("origin", ports.origin, "")
}

#[test]
fn matching() {
    Comparison {
        suite: Suite::Routing("matching"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("matching");
}

fn cases() -> Vec<Case> {
    let mut all = paths();
    all.extend(templates());
    all.extend(headers());
    all.extend(queries());
    all.extend(cookies());
    all.extend(kinds());
    all.extend(parameters());
    all.extend(virtual_hosts());
    all.extend(bad_inputs());
    all
}

/// A name that lives as long as the test, as the names of cases must.
fn name(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn get(listener: &'static str, path: &str, fields: &str) -> Case {
    let shown = fields.trim_end().replace("\r\n", ", ");
    case(
        name(format!("{listener} {path} {shown}").trim_end().to_owned()),
        listener,
        format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n"),
    )
}

fn all_of(listener: &'static str, paths: &[&str]) -> impl Iterator<Item = Case> {
    paths.iter().map(move |path| get(listener, path, ""))
}

fn paths() -> Vec<Case> {
    let mut all: Vec<_> = all_of(
        "paths",
        &[
            "/exact",
            "/exact?q",
            "/exact/",
            "/EXACT",
            "/exact/ANY",
            "/order/first/x",
            "/order/firs",
            "/order/exact",
            "/sep",
            "/sep/",
            "/sep/x?q",
            "/separate",
            "/sep?q",
            "/Sep",
            "/sep/aNY/x",
            "/sep/anyx",
            "/prefix/ANYthing",
            "/re/12",
            "/re/12x",
            "/re/12?x",
            "/part",
            "/part/x",
            "/one",
            "/two",
            "/three",
            "/FLAG",
            "/folded",
            "/enc%2fd",
            "/enc%2Fd",
            "/enc/d",
            "/",
            "/?q",
            "//double/x",
            "/nothing",
        ],
    )
    .collect();
    all.push(get("paths", "/cond", "x-c: 1\r\n"));
    all.push(get("paths", "/cond/x", ""));
    all.push(get("paths", "/exact", "x-empty-prefix: 1\r\n"));
    all.push(get("paths", "/nothing", "x-empty-prefix: 1\r\n"));
    all.push(case(
        "paths asterisk",
        "paths",
        "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    ));
    all
}

fn templates() -> Vec<Case> {
    all_of(
        "templates",
        &[
            "/a1/",
            "/a1/x",
            "/a1/x/",
            "/a1/x*y=z;v",
            "/a1/[x]",
            "/a1/x|",
            "/a1/%20?q",
            "/a2",
            "/a2/",
            "/a2/x/y",
            "/a3/x",
            "/a4/",
            "/a5/x/y.mpd",
            "/a5/.mpd",
            "/a6/.json",
            "/a6/x.json",
            "/a7/v",
            "/a7/v1",
            "/a8/1.json",
            "/a9/v1w",
            "/b4/xa/b",
            "/b4/a/b",
            "/b5//c",
            "/b5/c",
            "/b7/v1/2",
            "/b9",
            "/c1/x/",
            "/c4/a(b)+c.$",
            "/c6/a/b/c/z",
            "/c6/a/z",
            "/d1/x.json",
            "/r1/cat/dog?q=1",
            "/r2/lang/en/video.m4s",
            "/r3/hls/en-us/12345/en_193913.vtt",
            "/r4/",
            "/r4/a//b?q",
            "/r5/x",
            "/r6/x",
            "/r7/x",
        ],
    )
    .collect()
}

fn headers() -> Vec<Case> {
    let mut all = Vec::new();
    for path in [
        "present",
        "absent",
        "exact",
        "exact-empty",
        "not-exact",
        "exact-or-missing",
        "not-exact-or-missing",
        "present-or-missing",
        "not-absent",
        "old-exact-empty",
        "any",
        "none",
        "regex",
    ] {
        for fields in ["", "x-a:\r\n", "x-a: a\r\n", "X-A: b\r\nx-a: a\r\n"] {
            all.push(get("headers", &format!("/{path}"), fields));
        }
    }
    for (path, value) in [
        ("range", "-5"),
        ("range", "+9"),
        ("range", "10"),
        ("range", "1.0"),
        ("range", "0x1"),
        ("range", ""),
        ("range", "99999999999999999999"),
        ("not-range", "5"),
        ("not-range", "x"),
        ("old-prefix", "ab"),
        ("old-suffix", "abC"),
        ("old-contains", "aBc"),
        ("old-regex", "abcd"),
        ("old-regex", "abc"),
        ("contains-any-case", "abc"),
        ("suffix-any-case", "abc"),
        ("prefix-any-case", "abc"),
        ("exact-any-case", "abc"),
        ("exact-any-case", "abcd"),
        ("two", "a"),
    ] {
        all.push(get(
            "headers",
            &format!("/{path}"),
            &format!("x-a: {value}\r\n"),
        ));
    }
    all.push(get("headers", "/not-range", ""));
    all.push(get("headers", "/two", "x-a: a\r\nx-b: b\r\n"));
    for path in [
        "/host",
        "/authority",
        "/scheme",
        "/method",
        "/path?q=1",
        "/path?q=2",
        "/cookie-line",
    ] {
        all.push(get("headers", path, "cookie: a=1\r\ncookie: b=2\r\n"));
    }
    // What the connection manager takes away is not there to be matched.
    all.push(get("headers", "/connection", "connection: keep-alive\r\n"));
    all.push(get("headers", "/internal", "x-envoy-internal: true\r\n"));
    all.push(get("headers", "/retry", "x-envoy-max-retries: 9\r\n"));
    all.push(get(
        "headers",
        "/joined",
        "user-agent: a\r\nuser-agent: b\r\n",
    ));
    all.push(get(
        "headers",
        "/joined-accept",
        "accept: a\r\naccept: b\r\n",
    ));
    all
}

fn queries() -> Vec<Case> {
    all_of(
        "queries",
        &[
            "/present",
            "/present?k",
            "/present?x&k=",
            "/present?K",
            "/present?=k",
            "/present?&&k",
            "/present?%6b",
            "/absent",
            "/absent?k",
            "/given?k=1",
            "/empty?k",
            "/empty?k=",
            "/empty",
            "/any-case?k=v",
            "/any-case?k=w&k=v",
            "/any-case?k=%56",
            "/regex?k=12",
            "/regex?k=12x",
            "/odd?a&b",
            "/both?b=xy&a=1",
            "/both?a=1",
        ],
    )
    .collect()
}

fn cookies() -> Vec<Case> {
    let mut all = Vec::new();
    for cookie in [
        "",
        "cookie: a=1\r\n",
        "cookie: a=2; a=1\r\n",
        "cookie: b=2;a=1\r\n",
        "cookie: a=1 ; b\r\n",
        "cookie: a = 1\r\n",
        "cookie: A=1\r\n",
        "cookie: a=\"1\"\r\n",
        "cookie: b=1\r\ncookie: a=1\r\n",
        "cookie: a=2\r\ncookie: a=1\r\n",
        "cookie: a\r\n",
        "cookie: a=1=2\r\n",
        "cookie: ;;a=1;\r\n",
        "cookie: a=%31\r\n",
    ] {
        all.push(get("cookies", "/is", cookie));
        all.push(get("cookies", "/is-not", cookie));
    }
    for cookie in ["cookie: a=\r\n", "cookie: a=\"\"\r\n", "cookie: a\r\n"] {
        all.push(get("cookies", "/empty", cookie));
    }
    all.push(get("cookies", "/both", "cookie: a=1; b=xY\r\n"));
    all.push(get("cookies", "/both", "cookie: a=1\r\n"));
    all
}

fn kinds() -> Vec<Case> {
    let mut all = Vec::new();
    for content_type in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc;x",
        "application/grpc-web",
        "Application/grpc",
        "application/json",
    ] {
        let fields = format!("content-type: {content_type}\r\n");
        all.push(get("kinds", "/grpc", &fields));
    }
    let twice = "content-type: application/grpc+x\r\ncontent-type: text/plain\r\n";
    all.push(get("kinds", "/grpc", twice));
    all.extend(all_of(
        "kinds",
        &[
            "/grpc",
            "/presented",
            "/not-presented",
            "/validated",
            "/not-validated",
            "/either",
            "/always",
            "/never",
            "/more",
            "/million",
        ],
    ));
    all
}

fn parameters() -> Vec<Case> {
    let mut all = Vec::new();
    for listener in ["parameters", "no_parameters"] {
        all.extend(all_of(
            listener,
            &[
                "/p/a;v=1",
                "/p;v=1/a",
                "/e/a;v=1",
                "/e;v/a",
                "/e/a;v/b",
                "/s/a;v/b",
                "/s/ab;v",
                "/r/a;1",
                "/t/a;v",
                "/t;v/a",
                "/v;x?k=1",
                "/v;?k",
                "/v?;k",
                "/h;x",
                "/h;y",
                "/e/a%3bv",
                "/x;/",
                "/x/;",
                "/w;v/y?q;r",
                "/w/y;v?q",
                "/deep;v/b/c?q",
                "/deep/b;v/c?q",
                "/we;v?q",
                "/we",
                "/wr;v/x",
                "/re;v?q",
                "/rd;v/b/c",
                "/rd/b;v/c",
            ],
        ));
    }
    all
}

fn virtual_hosts() -> Vec<Case> {
    let mut all = Vec::new();
    for listener in ["vhost_header", "vhost_header_port", "vhost_header_only"] {
        for fields in [
            "",
            "x-tenant: a.example\r\n",
            "x-tenant: A.Example:80\r\n",
            "x-tenant: x.s.example\r\n",
            "x-tenant: p.q\r\n",
            "x-tenant: a.example\r\nx-tenant: x.s.example\r\n",
            "x-tenant:\r\n",
            "x-tenant: elsewhere\r\n",
        ] {
            all.push(get(listener, "/", fields));
        }
    }
    for (listener, hosts) in [
        (
            "domains",
            &[
                "a.example:8080",
                "A.EXAMPLE",
                "a.example:80",
                "x.example",
                "x.b.example",
                "x-c.b.example",
                "-c.b.example",
                ".b.example",
                "b.example",
                ".example",
                "d.e.f",
                "d.x",
                "d.e.",
                "d.",
                "f*g.test",
                "fxg.test",
                "127.0.0.1",
                "[::1]:80",
                "[::1]",
                "h.test",
            ][..],
        ),
        (
            "domains_without_ports",
            &[
                "a.example:8080",
                "a.example:1",
                "a.example:",
                "a.example",
                "[::1]:80",
                "[::1]",
                "b.example",
            ],
        ),
    ] {
        for host in hosts {
            all.push(case(
                name(format!("{listener} {host}")),
                listener,
                format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"),
            ));
        }
    }
    all
}

/// Paths that try to reach a route, or to miss one, by another spelling.
fn bad_inputs() -> Vec<Case> {
    let mut all: Vec<_> = all_of(
        "paths",
        &[
            "/a/..%2fadmin",
            "/x/../admin",
            "//admin",
            "/./admin",
            "/%2e%2e/admin",
            "/admin%00",
            "/adm%69n",
            "/admin#x",
            "/admin/../exact",
            "\\admin",
            "/\\admin",
            "/exact;x",
            "/exact%3fq",
            "/exact%23",
        ],
    )
    .collect();
    all.push(get("headers", "/present", "x_a: a\r\n"));
    all.push(get("headers", "/exact", "x-a : a\r\n"));
    all.push(get("headers", "/exact", "x-a: a\0\r\n"));
    all.push(get("headers", "/exact", "x-a:\ta\t \r\n"));
    all.push(get(
        "headers",
        "/exact",
        &format!("x-a: {}\r\n", "a".repeat(9_000)),
    ));
    all.push(get("queries", "/present?k\0", ""));
    all
}
