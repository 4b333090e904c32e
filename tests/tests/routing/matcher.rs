//! `VirtualHost.matcher`: routes that a tree of matchers leads to.

use ringway_tests::bootstrap::{Listener, cluster, empty_cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;

const LISTENERS: &[Listener] = &[
    Listener {
        name: "lists",
        manager: "",
        hosts: include_str!("matcher/lists.yaml"),
    },
    Listener {
        name: "maps",
        manager: "",
        hosts: include_str!("matcher/maps.yaml"),
    },
    Listener {
        name: "custom",
        manager: "",
        hosts: include_str!("matcher/custom.yaml"),
    },
];

fn clusters(ports: Ports) -> String {
    [cluster("origin", ports.origin, ""), empty_cluster("empty")].concat()
}

fn get(host: &str, path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n")
}

fn cases() -> Vec<Case> {
    let mut all = lists();
    all.extend(maps());
    all.extend(custom());
    all
}

/// `matcher_list`: predicates, nesting, and what actions do.
fn lists() -> Vec<Case> {
    [
        (
            "the first that passes",
            "first",
            "/one",
            "x-a: 1\r\nx-b: 1\r\n",
        ),
        (
            "an action's own match fails",
            "first",
            "/",
            "x-a: 1\r\nx-b: 1\r\n",
        ),
        ("the second that passes", "first", "/", "x-b: 1\r\n"),
        ("on no match", "first", "/", ""),
        (
            "lines of a header are joined",
            "values",
            "/",
            "x-a: 1\r\nx-a: 2\r\n",
        ),
        ("a value with a comma", "values", "/", "x-a: 1,2\r\n"),
        (
            "a value with a comma and a space",
            "values",
            "/",
            "x-a: 1, 2\r\n",
        ),
        ("an empty value", "values", "/", "x-a:\r\n"),
        ("a prefix in any case", "values", "/", "x-ic: aBc\r\n"),
        (
            "a regex takes the whole value",
            "values",
            "/",
            "x-re: abcd\r\n",
        ),
        (
            "a regex that takes a part only",
            "values",
            "/",
            "x-re: abcd1\r\n",
        ),
        ("a suffix", "values", "/", "x-s: tail\r\n"),
        (
            "cookies of two lines",
            "values",
            "/",
            "cookie: a=1\r\ncookie: b=2\r\n",
        ),
        (
            "cookies of two lines are joined by",
            "values",
            "/",
            "cookie: c=1\r\ncookie: d=2\r\n",
        ),
        ("nothing leads anywhere", "values", "/", "x-other: 1\r\n"),
        ("a missing header is not the value", "logic", "/", ""),
        ("neither of two", "logic", "/", "x-z: 2\r\n"),
        ("one of two", "logic", "/", "x-z: 1\r\n"),
        ("both", "logic", "/", "x-and: 1\r\nx-too: 1\r\nx-z: 1\r\n"),
        ("one of both", "logic", "/", "x-and: 1\r\nx-z: 1\r\n"),
        ("the authority by host", "host", "/", ""),
        ("the authority by its name", "authority", "/", ""),
        ("the method", "authority", "/", "x-m: 1\r\n"),
        ("a nested matcher", "nested", "/", "x-a: 1\r\nx-b: 1\r\n"),
        (
            "a nested matcher without a match",
            "nested",
            "/",
            "x-a: 1\r\n",
        ),
        (
            "a nested matcher's own on_no_match",
            "nested",
            "/",
            "x-c: 1\r\n",
        ),
        (
            "the first of a list of routes",
            "routes",
            "/l1",
            "x-a: 1\r\n",
        ),
        (
            "the second of a list of routes",
            "routes",
            "/l2",
            "x-a: 1\r\n",
        ),
        ("none of a list of routes", "routes", "/l3", "x-a: 1\r\n"),
        ("an empty list of routes", "routes", "/l1", "x-e: 1\r\n"),
        ("a long list of routes", "routes", "/m9", "x-long: 1\r\n"),
        ("a matcher without anything", "empty", "/", ""),
        ("a cluster that does not exist", "unknown", "/", ""),
        ("TLS is required before the matcher", "tls", "/", ""),
    ]
    .map(|(name, host, path, headers)| case(name, "lists", get(host, path, headers)))
    .into()
}

/// `matcher_tree`: whole values and prefixes.
fn maps() -> Vec<Case> {
    [
        ("a whole value", "exact", "/", "x-a: a\r\n"),
        ("an empty whole value", "exact", "/", "x-a:\r\n"),
        ("a value that begins like one", "exact", "/", "x-a: ab\r\n"),
        ("a value in other case", "exact", "/", "x-a: A\r\n"),
        (
            "a value that leads to a matcher",
            "exact",
            "/",
            "x-a: n\r\nx-b: 1\r\n",
        ),
        (
            "a value that leads to a matcher without a match",
            "exact",
            "/",
            "x-a: n\r\n",
        ),
        ("no value for a map", "exact", "/", ""),
        (
            "values joined for a map",
            "exact",
            "/",
            "x-a: c\r\nx-a: d\r\n",
        ),
        ("the shortest prefix", "prefix", "/b", ""),
        ("a longer prefix", "prefix", "/a?ab", ""),
        (
            "a prefix that leads to a matcher",
            "prefix",
            "/abd",
            "x-b: 1\r\n",
        ),
        ("a prefix that leads to a shorter one", "prefix", "/abd", ""),
        ("the longest prefix", "prefix", "/abc/d", ""),
        (
            "the longest prefix whose route does not match",
            "prefix",
            "/abc",
            "",
        ),
        ("an empty prefix", "empty_prefix", "/", "x-a: y\r\n"),
        (
            "an empty prefix of an empty value",
            "empty_prefix",
            "/",
            "x-a:\r\n",
        ),
        ("no value for a map of prefixes", "empty_prefix", "/", ""),
    ]
    .map(|(name, host, path, headers)| case(name, "maps", get(host, path, headers)))
    .into()
}

/// Each value of a header, without and with what nested matchers want.
macro_rules! values {
    ($host:literal, $header:literal, [$($value:literal),* $(,)?]) => {
        [$(
            (
                concat!($host, ": '", $value, "'"),
                $host,
                concat!($header, ": ", $value, "\r\n"),
            ),
            (
                concat!($host, ": '", $value, "', x-b"),
                $host,
                concat!($header, ": ", $value, "\r\nx-b: 1\r\n"),
            ),
        )*]
    };
}

/// `custom_match`: addresses and names of servers, whoever says them.
fn custom() -> Vec<Case> {
    let addresses = values!(
        "ranges",
        "x-ip",
        [
            "9.255.255.255",
            "10.0.0.0",
            "10.1.1.255",
            "10.1.2.1",
            "10.255.255.255",
            "11.0.0.1",
            "2001:db8::7",
            "2001:DB8:0::7",
            "2001:db9::",
            "::ffff:10.0.0.1",
            "[2001:db8::7]",
            "10.1",
            "010.0.0.1",
            "10.0.0.1:80",
            "10.0.0.1, 10.1.1.1",
            "",
        ]
    );
    let names = values!(
        "names",
        "x-name",
        [
            "www.a.com",
            "x.www.a.com",
            "a.com",
            "com",
            ".com",
            "a.com.",
            "WWW.A.COM",
            "b.net",
            "c.b.net",
            "a.org",
            "*.com",
            "",
        ]
    );
    let absent = [
        ("ranges: no header", "ranges", ""),
        ("names: no header", "names", ""),
    ];
    let all = addresses.into_iter().chain(names).chain(absent);
    all.map(|(name, host, headers)| case(name, "custom", get(host, "/", headers)))
        .collect()
}

#[test]
fn matchers_lead_where_envoys_do() {
    Comparison {
        suite: Suite::Routing("matcher"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("matchers_lead_where_envoys_do");
}
