use super::*;
use ::regex::bytes::{Regex, RegexBuilder};

fn compile(pattern: &str) -> Result<Regex, String> {
    build(&translate(pattern)?)
}

fn build(translated: &str) -> Result<Regex, String> {
    RegexBuilder::new(translated)
        .unicode(false)
        .size_limit(usize::MAX)
        .build()
        .map_err(|error| error.to_string())
}

#[test]
fn usual_expressions_stay() {
    for pattern in [
        "",
        "/a/[0-9]+",
        r"^/v\d+(?:\.\d+)?/(.*)$",
        r"[^/\]]+",
        "[[:alpha:]_-]+",
        "[[:^digit:]x]",
        r"\\<",
        r"[a-z&-]",
        "a{2,3}?(?i:b){4}",
    ] {
        assert_eq!(translate(pattern).as_deref(), Ok(pattern));
    }
}

/// The expression, a text that RE2 matches as a whole, and one that it does
/// not.
#[test]
fn differences_are_translated() {
    let table: &[(&str, &[u8], &[u8])] = &[
        (r"\Qa.b*\E+", b"a.b**", b"axb"),
        (r"\Qa[", b"a[", b"a"),
        (r"\<b\>", b"<b>", b"b"),
        ("[a&&b]+", b"a&b", b"c"),
        (r"[\<\>]+", b"<>", b"\\<"),
        ("[+--]+", b"+,-", b"."),
        ("[--a]+", b"-.9AZa", b"b"),
        ("[^--a]+", b"xyz", b"a"),
        ("[+----a]+", b"+,-.A", b"b"),
        ("[-a]+", b"-a", b"."),
        ("[]-a]+", b"]^a", b"-"),
        ("[&-&-~]+", b"&-~", b"x"),
        ("[a~~b]+", b"a~b", b"c"),
        ("[^[]+", b"a]", b"["),
        ("[[]+", b"[[", b"]"),
        ("[]a]+", b"]a", b"["),
        ("[^]a]+", b"bc", b"]"),
        ("[[:digit:]&&5]+", b"1&5", b"a"),
        (r"[\&&]+", b"&&", b"a"),
        ("x{,3}", b"x{,3}", b"xx"),
        ("/br/{a}", b"/br/{a}", b"/br/a"),
        ("x{01}", b"x{01}", b"x"),
        ("x{1,2,3}", b"x{1,2,3}", b"xx"),
        ("a{,3}{2}", b"a{,3}}", b"a{,3}"),
        (r"\141\0\12", b"a\0\n", b"a"),
        (r"\0123", b"\n3", b"\x53"),
        (r"[\101\60-\62]+", b"A012", b"3"),
        (r"\x41\x{42}", b"AB", b"ab"),
        (r"\C\C", b"\n\xff", b"a"),
        (r"(?P<n>a)(?P<n>b)(?<1>c)", b"abc", b"ab"),
        ("(?ii)a(?)b(?i-i)c", b"Abc", b"ABC"),
        ("(?i-i:a)b", b"ab", b"Ab"),
        (r"[\d-z]+", b"1-z", b"a"),
        (r"[\w-]+", b"a-", b"."),
        (r"\pL\PL", b"\xc31", b"11"),
        (r"\p{^Greek}", b"a", b""),
        (r"[^\p{Any}]|b", b"b", b"a"),
        (r"\p{Han}|[\p{Han}]|c", b"c", b"\xe4"),
        ("é{2}", b"\xc3\xa9\xa9", "éé".as_bytes()),
        ("[é]{2}", "é".as_bytes(), b"\xe9"),
        (r"\Qé.\E", "é.".as_bytes(), "éa".as_bytes()),
        (".{2}", "é".as_bytes(), b"a"),
    ];
    for (pattern, yes, no) in table {
        let regex = build(&format!(r"\A(?:{})\z", translate(pattern).unwrap())).unwrap();
        assert!(regex.is_match(yes), "{pattern} {regex}");
        assert!(!regex.is_match(no), "{pattern} {regex}");
    }
}

#[test]
fn broken_expressions_stay_broken() {
    for pattern in [
        "a(",
        "[a",
        "[",
        "[^",
        "a\\",
        "[\\",
        "[[:alpha:",
        "*",
        "a)",
        ")",
        "(",
        "{1}",
        "|*",
        "(*)",
    ] {
        assert!(compile(pattern).is_err(), "{pattern}");
    }
}

/// What the crate would take and RE2 does not.
#[test]
fn what_re2_refuses_is_refused() {
    for pattern in [
        "a++",
        "a**",
        "a*+",
        "a*??",
        "a+*",
        "a???",
        "a?+",
        "a{2}{3}",
        "a{2}+",
        "a{2}??",
        "a{0}*",
        "a{1001}",
        "a{1,1001}",
        "a{1001,}",
        "a{3,2}",
        "(a{10}){101}",
        "((a{10}){10}){11}",
        "(a{501}){2}",
        "(?:a{1,100}){1,11}",
        "((a{1000}){10})",
        "(?u)a",
        "(?x)a",
        "(?R)a",
        "(?-)a",
        "(?i-)a",
        "(?i--s)a",
        "(?=a)",
        "(?P<>a)",
        "(?P<n-a>a)",
        "(?P<é>a)",
        "(?P<n",
        "(?i",
        r"\u0041",
        r"\U00000041",
        r"\u{41}",
        r"\x{100}",
        r"\x{10FFFF}",
        r"\x{+1}",
        r"\x4",
        r"\x",
        r"\x{}",
        r"\400",
        r"\1",
        r"(a)\1",
        r"\8",
        r"\é",
        r"[\é]",
        r"\p",
        r"\p{",
        r"\p{}",
        r"\p{greek}",
        r"\p{Lower}",
        r"\p{Letter}",
        r"\p{LC}",
        r"\p{Cn}",
        r"\p{ASCII}",
        r"\p{Script=Greek}",
        "[[:foo:]]",
        "[[:^foo:]]",
    ] {
        assert!(compile(pattern).is_err(), "{pattern}");
    }
}

#[test]
fn repetitions_of_repetitions_multiply() {
    for pattern in [
        "a{1000}",
        "(a{10}){100}",
        "(a{500}){2}",
        "(a*){1000}",
        "((a{10}){10}){10}",
        "(?:a{1,100}){1,10}",
        "(a{1000}b{1000})",
        "(a{1000}|b)*c{1000}",
        "(a{1000}){1}",
        "(?:a{1000}){0,1}",
    ] {
        assert!(translate(pattern).is_ok(), "{pattern}");
    }
}

/// Whatever is cut off, the rest is translated or refused.
#[test]
fn every_prefix_is_read_without_harm() {
    for pattern in [
        r"^(?P<n>a|\Qé.\E){2,3}?[^\d-z[:alpha:]\141\x{41}&&é]*(?i-s:\p{^Greek}\PL\C)$",
        r"[[:^word:]\p{Han}-][]a-](?<a>\x4f\07){1000,}",
    ] {
        for (end, _) in pattern.char_indices() {
            let _ = compile(&pattern[..end]);
            let _ = compile(&pattern[end..]);
        }
        assert!(compile(pattern).is_ok(), "{pattern}");
    }
}
