//! Regular expressions in RE2's syntax: what is taken, what is refused, and
//! what texts they match, which are bytes and nothing more.

use ringway_tests::bootstrap::{Listener, bootstrap, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::programs;
use std::path::Path;

const LISTENERS: &[Listener] = &[Listener {
    name: "regexes",
    manager: "",
    hosts: include_str!("regexes/routes.yaml"),
}];

fn clusters(ports: Ports) -> String {
    cluster("origin", ports.origin, "")
}

/// Each path is a route for one expression, which `x-a` must match.
fn cases() -> Vec<Case> {
    let ask = |name, path: &str, value: &[u8]| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-a: ");
        case(
            name,
            "regexes",
            [head.as_bytes(), value, b"\r\n\r\n"].concat(),
        )
    };
    vec![
        ask("braces without a number", "/braces", b"x{,3}"),
        ask("braces are no repetition", "/braces", b"xxx"),
        ask("braces with a letter", "/letter", b"/br/{a}"),
        ask("leading zero", "/zero", b"x{01}"),
        ask("no repetition with a leading zero", "/zero", b"x"),
        ask("octal", "/octal", b"aA1"),
        ask("one byte of two", "/byte", "\u{e9}".as_bytes()),
        ask("one byte", "/byte", b"\xe9"),
        ask("dot is a byte", "/dot", b"\xe9"),
        ask("dot is no character", "/dot", "\u{e9}".as_bytes()),
        ask("two dots", "/dots", "\u{e9}".as_bytes()),
        ask("letter of two bytes", "/letters", "\u{e9}".as_bytes()),
        ask("letter of Latin-1", "/letters", b"\xe9"),
        ask("letters of ASCII", "/letters", b"a"),
        ask("no letter", "/letters", b"1"),
        ask("no Greek letter", "/not_greek", b"a"),
        ask("half a Greek letter", "/not_greek", b"\xce"),
        ask("a Greek letter", "/not_greek", "\u{3b1}".as_bytes()),
        ask("last byte repeated", "/repeated", b"\xc3\xa9\xa9"),
        ask("character repeated", "/repeated", "\u{e9}\u{e9}".as_bytes()),
        ask("class of bytes", "/class", "\u{e9}".as_bytes()),
        ask("class of one byte", "/class", b"\xa9"),
        ask("quoted bytes", "/quoted", "\u{e9}.".as_bytes()),
        ask("not quoted bytes", "/quoted", "\u{e9}a".as_bytes()),
        ask("digits behind a dash", "/dash", b"1-z"),
        ask("no range behind a class", "/dash", b"a"),
        ask("a range from a dash", "/dashes", b"-.9AZa"),
        ask("beyond a range from a dash", "/dashes", b"b"),
        ask("before a range from a dash", "/dashes", b","),
        ask(
            "a range to a dash and one from it",
            "/more_dashes",
            b"+,-.A",
        ),
        ask("beyond both ranges", "/more_dashes", b"b"),
        ask("names twice", "/names", b"ab"),
        ask("flags twice", "/flags", b"Abc"),
        ask("flags turned off", "/flags", b"ABC"),
        ask("nothing in a class", "/nothing", b"c"),
        ask("no script of two bytes", "/nothing", "\u{6f22}".as_bytes()),
    ]
}

#[test]
fn regular_expressions_match_what_envoys_match() {
    let suite = Comparison {
        suite: Suite::Routing("regexes"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    suite.run("regular_expressions_match_what_envoys_match");
}

/// Expressions that one of the two engines reads otherwise than the other.
const TAKEN: &[&str] = &[
    "x{,3}",
    "/br/{a}",
    r"\141",
    r"\C",
    "a{,}",
    "a{",
    "{",
    "a{-1}",
    "a{1,-1}",
    "a{01}",
    "a{99999999999}",
    "x{1,2,3}",
    "x{1",
    "x{1,",
    "x{1,2",
    "{a}",
    "a{a}*",
    "a{,3}*",
    "a{,3}{2}",
    "(?P<n>a)(?P<n>b)",
    "(?P<1>a)",
    "(?<n>a)",
    "(?i-i)a",
    "(?ii)a",
    "(?)a",
    r"\0",
    r"\07",
    r"\0123",
    r"\377",
    r"\12",
    r"\p{^Greek}",
    r"\P{^Greek}",
    r"[\d-z]",
    r"[\w-a]",
    r"[\101]",
    r"[\0]",
    r"[\p{^Greek}]",
    r"\p{Han}{100}",
    r"\pN",
    r"\p{Any}",
    r"\Qa.b",
    "[a&&b]",
    "[[a]",
    r"\<",
    "(a{10}){5}",
    "a{90}",
];

const REFUSED: &[&str] = &[
    "a++",
    "a**",
    "a*+",
    "a*??",
    "a{2}{3}",
    "a{2}+",
    "a{0}*",
    "a{1001}",
    "a{1001,}",
    "((a{1000}){10})",
    "(a{10}){101}",
    "(a{501}){2}",
    "(?:a{1,100}){1,11}",
    "(?u)a",
    "(?x)a",
    "(?R)a",
    "(?-)a",
    "(?P<\u{e9}>a)",
    "(?P<n-a>a)",
    r"\u0041",
    r"\x{100}",
    r"\x{10FFFF}",
    r"\400",
    r"\1",
    r"(a)\1",
    r"\p{Lower}",
    r"\p{greek}",
    r"\p{LC}",
    r"\p{Letter}",
    r"\p{Script=Greek}",
    "[[:foo:]]",
    "(?=a)",
    "a)(b",
    "[z-a]",
    "[a--b]",
];

/// Those that a program takes as a route's.
fn taken(program: &Path) -> Vec<&'static str> {
    let is_taken = |pattern: &&str| {
        let quoted = pattern.replace('\'', "''");
        let hosts = format!(
            "- name: all\n  domains: [\"*\"]\n  routes:\n  - {{ match: {{ safe_regex: {{ \
             regex: '{quoted}' }} }}, direct_response: {{ status: 200 }} }}\n"
        );
        let listener = Listener {
            name: "one",
            manager: "",
            hosts: Box::leak(hosts.into_boxed_str()),
        };
        programs::refusal(program, &bootstrap(&[listener], "")).is_none()
    };
    let all = [TAKEN, REFUSED].into_iter().flatten().copied();
    all.filter(is_taken).collect()
}

#[test]
fn the_same_expressions_are_taken_as_by_envoy() {
    if let Some(envoy) = programs::envoy("the_same_expressions_are_taken_as_by_envoy") {
        assert_eq!(taken(&envoy), TAKEN);
    }
    assert_eq!(taken(&programs::ringway()), TAKEN);
}
