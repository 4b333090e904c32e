//! Metadata and filter state: filters that set them, routes that depend on
//! them, and log formats that show them.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;

const LISTENERS: &[Listener] = &[
    Listener {
        name: "filters",
        manager: include_str!("metadata/filters.yaml"),
        hosts: include_str!("metadata/routes.yaml"),
    },
    Listener {
        name: "bare",
        manager: "",
        hosts: include_str!("metadata/routes.yaml"),
    },
    Listener {
        name: "not_cleared",
        manager: include_str!("metadata/not_cleared.yaml"),
        hosts: include_str!("metadata/routes.yaml"),
    },
    Listener {
        name: "layered",
        manager: include_str!("metadata/layered.yaml"),
        hosts: include_str!("metadata/layered_routes.yaml"),
    },
];

fn clusters(ports: Ports) -> String {
    let origin = cluster(
        "origin",
        ports.origin,
        "metadata: { filter_metadata: { cns: { k: of cluster, num: 1 } } }",
    );
    let second = cluster("second", ports.origin, "");
    let with_host = "lb_endpoints:\n      - metadata: { filter_metadata: { uns: { k: of host } } }\n        endpoint";
    [
        origin,
        second.replace("lb_endpoints:\n      - endpoint", with_host),
    ]
    .concat()
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
}

fn cases() -> Vec<Case> {
    let filters = |name, path, headers: &str| case(name, "filters", get(path, headers));
    let long = |bytes: usize| format!("x-v: {}\r\n", "v".repeat(bytes));
    let layered = |name, path| case(name, "layered", get(path, ""));
    vec![
        layered("layers of filter and host", "/"),
        layered("layers of route", "/over"),
        layered("layers off", "/off"),
        layered("layers that clear the route", "/clear"),
        layered("layers of a weighted cluster", "/weighted"),
        filters("nothing", "/rest", ""),
        filters("text", "/a", "x-v: text\r\n"),
        filters("text in several lines", "/rest", "x-v: a\r\nx-v: b\r\n"),
        filters("text empty", "/rest", "x-v:\r\n"),
        filters("text of odd bytes", "/rest", "x-v: \"\\\t\u{e9}\r\n"),
        filters("text almost too long", "/rest", &long(8191)),
        filters("text too long", "/rest", &long(8192)),
        filters("constant", "/rest", "x-constant: whatever\r\n"),
        filters("number", "/rest", "x-n:  12.50 \r\n"),
        filters("number exact", "/rest", "x-n: 4.2e1\r\n"),
        filters("number small", "/rest", "x-n: 0.000001\r\n"),
        filters("number large", "/rest", "x-n: 123456789012345678\r\n"),
        filters("number not", "/rest", "x-n: 12x\r\n"),
        filters("number of hex", "/rest", "x-n: 0x10\r\n"),
        filters("base64", "/rest", "x-b: aGVsbG8=\r\n"),
        filters("base64 without padding", "/rest", "x-b: aGVsbG8\r\n"),
        filters("base64 of URLs", "/rest", "x-b: -_8\r\n"),
        filters("base64 not", "/rest", "x-b: !!!!\r\n"),
        filters("value number", "/rest", "x-p: EQAAAAAAAPg/\r\n"),
        filters("value struct", "/rest", "x-p: KgcKBQoBYRIA\r\n"),
        filters("value not", "/rest", "x-p: /w==\r\n"),
        filters("cookie", "/rest", "cookie: a=b; ck=chip; ck=other\r\n"),
        filters("cookie quoted", "/rest", "cookie: ck=\"chip\"\r\n"),
        filters("cookie empty", "/rest", "cookie: ck=\r\n"),
        filters("rewrite", "/rest", "x-rewrite: banana\r\n"),
        filters("rewrite to nothing", "/rest", "x-rewrite: aaa\r\n"),
        filters("answer", "/rest", "")
            .answer("HTTP/1.1 200 OK\r\nx-answer: yes\r\ncontent-length: 0\r\n\r\n"),
        filters("answer with nothing", "/rest", "").answer("HTTP/1.1 204 No\r\n\r\n"),
        filters("direct", "/direct", "x-v: a\r\n"),
        filters("no route", "/none", "x-v: a\r\n"),
        filters("no cluster", "/nowhere", ""),
        filters("two requests", "/rest", "x-v: first\r\nx-fs: first\r\n")
            .then(Step::Await(1))
            .then_send(get("/rest", ""))
            .answers(2),
        filters("route by both", "/a", "x-v: both of them\r\nx-n: 1\r\n"),
        filters(
            "route by one of both",
            "/rest",
            "x-v: both of them\r\nx-n: 10\r\n",
        ),
        filters("route by text that is no number", "/rest", "x-v: both\r\n"),
        filters("route by list", "/list", ""),
        filters("route by struct", "/struct", ""),
        filters("route by present false", "/absent", ""),
        filters("route by present false of a value", "/absent", "x-v: a\r\n"),
        filters("route by not present", "/inverted", ""),
        filters("route by not present of a value", "/inverted", "x-v: a\r\n"),
        filters("route by not this", "/not-this", "x-v: that\r\n"),
        filters("route by not this of this", "/not-this", "x-v: this\r\n"),
        filters("route by not this of nothing", "/not-this", ""),
        filters("state", "/a", "x-fs: go1\r\n"),
        filters("state not", "/rest", "x-fs: go\r\n"),
        filters("state of odd bytes", "/rest", "x-fs: \"\\\t\u{e9}\r\n"),
        filters("state empty", "/empty", ""),
        filters("state of nobody", "/nobody", ""),
        filters("address", "/a", "x-ip: 10.1.2.3\r\n"),
        filters("address of IPv6", "/a", "x-ip: fd00::1\r\n"),
        filters("address with a port", "/rest", "x-ip: 10.1.2.3:80\r\n"),
        filters("address not", "/rest", "x-ip: ten\r\n"),
        filters("address elsewhere", "/elsewhere", "x-ip: 1.2.3.4\r\n"),
        filters(
            "address not elsewhere",
            "/elsewhere",
            "x-ip: 192.168.1.1\r\n",
        ),
        filters("address as text", "/a", "x-ip: 9.9.9.9\r\n"),
        filters("text as address", "/as-address", "x-fs: 1.2.3.4\r\n"),
        filters("text as no address", "/as-no-address", "x-fs: 1.2.3.4\r\n"),
        case("bare", "bare", get("/rest", "x-v: text\r\n")),
        case("bare not present", "bare", get("/inverted", "")),
        case("bare absent", "bare", get("/absent", "")),
        case(
            "route not cleared",
            "not_cleared",
            get("/rest", "x-v: text\r\n"),
        ),
    ]
}

#[test]
fn metadata() {
    Comparison {
        suite: Suite::Routing("metadata"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("metadata");
}
