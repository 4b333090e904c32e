use super::parser::DEPTH_MAX;
use super::*;
use crate::formatter::fuzz::cel_expression;
use crate::formatter::golden::{Request, direct, forwarded, malformed};
use std::time::{Duration, Instant};

/// What an expression prints for a request; a dash for an error.
fn printed(text: &str, request: &Request) -> String {
    let expression = Expression::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut out = Vec::new();
    match expression.evaluate(&request.context()) {
        None => out.push(b'-'),
        Some(value) => value.write(&mut out),
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// All of these were seen in Envoy 1.40; the comparison suite has many more.
#[test]
fn values_are_envoys() {
    let request = forwarded();
    for (text, value) in [
        ("1 + 2 * 3", "7"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9223372036854775807 + 1", "-"),
        ("- 1.5", "-1.5"),
        ("--1", "1"),
        ("-1u", "-"),
        ("null", "NULL"),
        ("[1,2,]", "CelList value"),
        ("{,}", "CelMap value"),
        ("int", "CelType value"),
        ("\"a\" + \"b\"", "-"),
        ("1 == 1.0", "true"),
        ("(1/0 == 1) || true", "true"),
        ("1 && true", "-"),
        ("foo ? 1 : 2", "-"),
        ("{1: 1, 1u: 2}[1u]", "2"),
        ("{1: 1}[1.0]", "1"),
        ("1 in [1] in [true]", "true"),
        ("size(\"é\")", "1"),
        ("\"abc\".matches(\"^b\")", "false"),
        ("int(\" +5 \")", "5"),
        ("double(\"0x10\")", "16"),
        ("double(\"--1\")", "-"),
        ("request.path", "/u/x?q=abc%20d&e=&r=1"),
        ("request.url_path", "/u/x"),
        ("request.query", "q=abc%20d&e=&r=1"),
        ("request.headers['X-M']", "1,2"),
        ("request.headers.host", "a.b"),
        ("request.headers['x-none']", "-"),
        ("request.nope.more", "-"),
        ("has(request.headers.`x-a`)", "true"),
        ("request.duration", "1.4ms"),
        ("response.backend_latency", "1.120129ms"),
        ("request.time", "2026-11-23T12:51:02.553839+00:00"),
        ("response.code", "200"),
        ("upstream.port", "19972"),
        ("source.address", "1.2.3.4:0"),
        ("xds.filter_chain_name", "fc"),
        ("connection.tls_version", "-"),
    ] {
        assert_eq!(printed(text, &request), value, "{text}");
    }
}

#[test]
fn what_is_not_known_has_no_value() {
    let (direct, malformed) = (direct(), malformed(false));
    for (text, of_direct, of_malformed) in [
        ("request.path", "/d?q", "-"),
        ("request.query", "q", "-"),
        ("has(request.query)", "true", "false"),
        ("request.referer", "-", "-"),
        ("request.size", "0", "0"),
        ("upstream.address", "-", "-"),
        ("xds.cluster_name", "-", "-"),
        ("metadata.filter_metadata['a']", "-", "-"),
        ("has(metadata.filter_metadata)", "false", "false"),
        ("filter_state['a']", "-", "-"),
        ("response.code", "200", "400"),
    ] {
        assert_eq!(printed(text, &direct), of_direct, "{text}");
        assert_eq!(printed(text, &malformed), of_malformed, "{text}");
    }
}

#[test]
fn mistakes_are_refused_when_compiled() {
    for (text, reason) in [
        ("", "expected an expression, found the end at 1"),
        ("1 +", "expected an expression, found the end at 4"),
        ("(1", "expected ')', found the end at 3"),
        ("1)", "expected the end, found ')' at 2"),
        ("1 1", "expected the end, found a literal at 3"),
        ("a b", "expected the end, found 'b' at 3"),
        ("1 ? 2", "expected ':', found the end at 6"),
        ("true ? false ? 1 : 2 : 3", "expected ':', found '?' at 14"),
        ("[1", "expected ']', found the end at 3"),
        ("{1:2", "expected '}', found the end at 5"),
        ("--9223372036854775808", "invalid int literal at 3"),
        ("5 - 9223372036854775808", "invalid int literal at 5"),
        ("-9223372036854775809", "invalid int literal at 2"),
        ("[,1]", "expected ']', found a literal at 3"),
        ("[1,,]", "expected an expression, found ',' at 4"),
        ("{1}", "expected ':', found '}' at 3"),
        ("{,1:2}", "expected '}', found a literal at 3"),
        ("size('a',)", "expected an expression, found ')' at 10"),
        ("a.in", "expected a name, found 'in' at 3"),
        ("a.1", "expected the end, found a literal at 2"),
        ("`a`", "expected an expression, found '`a`' at 1"),
        ("as", "reserved identifier: as at 1"),
        ("9223372036854775808", "invalid int literal at 1"),
        ("18446744073709551616u", "invalid int literal at 1"),
        ("a.?b", "optional syntax is off at 3"),
        ("a[?b]", "optional syntax is off at 3"),
        ("[?1]", "unsupported syntax '?' at 2"),
        ("{?1:2}", "unsupported syntax '?' at 2"),
        ("has(1)", "has() argument must be a field selection at 1"),
        (
            "has(request)",
            "has() argument must be a field selection at 1",
        ),
        (
            "[1].exists(x, x == 1)",
            "Comprehension support is disabled: exists() at 5",
        ),
        (
            "[1].map(x, true, x)",
            "Comprehension support is disabled: map() at 5",
        ),
        (
            "string(1)",
            "No overload found in reference resolve step for string",
        ),
        (
            "size(1, 2)",
            "No overload found in reference resolve step for size",
        ),
        (
            "'a'.int()",
            "No overload found in reference resolve step for int",
        ),
        (
            "getHours(1)",
            "No overload found in reference resolve step for getHours",
        ),
        (
            "has(a.b, c.d)",
            "No overload found in reference resolve step for has",
        ),
        (
            "'a'.matches('(')",
            "invalid regular expression '(': unclosed group",
        ),
        // What Envoy accepts.
        ("request", "request as a whole is not supported yet"),
        (
            "request.headers == request.headers",
            "request.headers as a whole is not supported yet",
        ),
        (
            "[xds.cluster_metadata]",
            "xds.cluster_metadata as a whole is not supported yet",
        ),
        (
            "request[request.path]",
            "the key of request[…] has to be a literal",
        ),
        ("xds.node.id", "xds.node is not supported yet"),
        (
            "has(upstream.locality)",
            "has(upstream.locality) is not supported yet",
        ),
        (
            "upstream_filter_state.a",
            "upstream_filter_state is not supported yet",
        ),
        (
            "metadata.typed_filter_metadata",
            "metadata.typed_filter_metadata is not supported yet",
        ),
        ("'path' in request", "'in request' is not supported yet"),
        (
            "re.extract('a', 'b', 'c')",
            "re.extract() is not supported yet",
        ),
        ("a.b.C{d: 1}", "messages are not supported yet at 6"),
        (
            "'a'.matches(request.path)",
            "matches() with an expression that is no literal is not supported yet",
        ),
        (
            "timestamp(request.path)",
            "timestamp() of a text that is no literal is not supported yet",
        ),
        ("timestamp('soon')", "timestamp(\"soon\") cannot be read"),
        ("duration('1d')", "duration(\"1d\") cannot be read"),
        (
            "request.time.getHours('Europe/Berlin')",
            "time zones other than \"UTC\" and \"+01:00\" are not supported yet",
        ),
    ] {
        let error = Expression::compile(text).expect_err(text);
        assert_eq!(error, reason, "{text}");
    }
}

/// The depths at which Envoy stops.
#[test]
fn expressions_are_not_deep() {
    let nested = |open: &str, inside: &str, close: &str, count: usize| {
        format!("{}{inside}{}", open.repeat(count), close.repeat(count))
    };
    let make: [(&dyn Fn(usize) -> String, usize); 13] = [
        (&|n| nested("(", "1", ")", n), DEPTH_MAX),
        (&|n| nested("[", "1", "]", n), DEPTH_MAX - 1),
        (&|n| nested("size(", "''", ")", n), DEPTH_MAX - 1),
        (&|n| nested("!(", "true", ")", n), DEPTH_MAX - 1),
        (&|n| format!("1{}", "+1".repeat(n)), DEPTH_MAX - 1),
        (&|n| format!("1{}", "==1".repeat(n)), DEPTH_MAX - 1),
        (&|n| format!("a{}", ".b".repeat(n)), DEPTH_MAX - 1),
        (&|n| format!("a{}", "[0]".repeat(n)), DEPTH_MAX - 1),
        (&|n| format!("'a'{}", ".size()".repeat(n)), DEPTH_MAX - 1),
        (&|n| format!("{}1", "true?1:".repeat(n)), DEPTH_MAX - 1),
        (&|n| nested("{1:", "1", "}", n), DEPTH_MAX - 1),
        (&|n| format!("has(a{})", ".b".repeat(n)), DEPTH_MAX - 2),
        (&|n| nested("size([", "1", "])", n), DEPTH_MAX / 2 - 1),
    ];
    for (make, deepest) in make {
        let (deep, deeper) = (make(deepest), make(deepest + 1));
        assert!(Expression::compile(&deep).is_ok(), "{deep}");
        let error = Expression::compile(&deeper).expect_err(&deeper);
        assert!(error.contains("recursion depth of 32"), "{deeper}: {error}");
        // However deep: an error and no overflow of the stack.
        assert!(Expression::compile(&make(100_000)).is_err(), "{deep}");
    }
    for long in [
        format!("{}true", "!".repeat(100_001)),
        format!("{}1", "-".repeat(100_000)),
        format!("true{}", " && true".repeat(50_000)),
        format!("false{}", " || false".repeat(50_000)),
        format!("[1{}]", ",1".repeat(50_000)),
    ] {
        Expression::compile(&long).expect("chains are not deep");
    }
}

/// Whatever an expression is made of, it compiles and has its value, or not,
/// in bounded time.
#[test]
fn expressions_by_chance_do_no_harm() {
    const WORDS: &[&str] = &[
        "1",
        "-",
        "1u",
        "1.5",
        "9223372036854775807",
        "'a'",
        "\"\\u00e9\"",
        "b'\\xff'",
        "true",
        "null",
        "request",
        "response",
        ".",
        "path",
        "headers",
        "['x-a']",
        "metadata",
        "xds",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        ",",
        ":",
        "?",
        "+",
        "*",
        "/",
        "%",
        "==",
        "!=",
        "<",
        ">=",
        "in",
        "&&",
        "||",
        "!",
        "size(",
        "has(",
        "int(",
        "double(",
        "uint(",
        "timestamp(0)",
        "type(",
        "duration('1h')",
        ".matches('a+')",
        ".contains(",
        ".startsWith(",
        ".getHours()",
        ".getFullYear('+01:00')",
        "foo",
        "list",
        "filter_state",
        "source.port",
        "`x`",
        "//",
        "é",
    ];
    let request = forwarded();
    let (mut compiled, mut valued) = (0, 0);
    for seed in 0..30_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let text: String = match seed % 3 {
            // Words in any order, mostly refused.
            0 => (0..random.usize(1..12))
                .map(|_| WORDS[random.usize(..WORDS.len())])
                .collect(),
            // By the grammar.
            _ => by_grammar(&mut random, 5),
        };
        // The checks of the fuzz target, with two values of peers.
        let mut data = vec![random.u8(..), 1, 2, 3, 4];
        data.extend_from_slice(text.as_bytes());
        data.extend_from_slice(b"\xff/name\xff/path?q=a\xff\xff\xff\xff\xffa\tvalue");
        let (mut compiles, mut has_value) = (false, false);
        let mut took = || {
            let began = Instant::now();
            cel_expression(&data);
            if let Ok(expression) = Expression::compile(&text) {
                compiles = true;
                has_value = expression.evaluate(&request.context()).is_some();
            }
            began.elapsed()
        };
        // What keeps the machine busy for a second does so once in a while.
        let is_short = (0..5).any(|_| took() < Duration::from_secs(1));
        assert!(is_short, "seed {seed}: {text}");
        compiled += u32::from(compiles);
        valued += u32::from(has_value);
    }
    assert!(compiled > 10_000 && valued > 1_000, "{compiled} {valued}");
}

fn by_grammar(random: &mut fastrand::Rng, depth: usize) -> String {
    const LEAVES: &[&str] = &[
        "1",
        "-3",
        "2u",
        "0.5",
        "'a'",
        "b'a'",
        "true",
        "false",
        "null",
        "request.path",
        "request.headers['x-a']",
        "response.code",
        "request.time",
        "duration('1m')",
        "foo",
        "int",
        "source.port",
    ];
    const BETWEEN: &[&str] = &[
        "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", " in ", "&&", "||",
    ];
    const AROUND: &[&str] = &[
        "size", "int", "uint", "double", "bool", "bytes", "dyn", "type", "!", "-",
    ];
    if depth == 0 {
        return LEAVES[random.usize(..LEAVES.len())].to_owned();
    }
    let part = |random: &mut fastrand::Rng| {
        let depth = random.usize(..depth);
        by_grammar(random, depth)
    };
    match random.usize(..9) {
        0 => part(random),
        1..4 => {
            let (left, right) = (part(random), part(random));
            format!("({left}{}{right})", BETWEEN[random.usize(..BETWEEN.len())])
        }
        4 => format!("{}({})", AROUND[random.usize(..AROUND.len())], part(random)),
        5 => format!("({} ? {} : {})", part(random), part(random), part(random)),
        6 => format!("[{}, {}][{}]", part(random), part(random), part(random)),
        7 => format!("{{{}: {}}}[{}]", part(random), part(random), part(random)),
        _ => format!("({}).contains({})", part(random), part(random)),
    }
}

/// Cut off anywhere, an expression compiles or is refused, and does the same
/// in both cases.
#[test]
fn expressions_cut_anywhere_are_harmless() {
    const WHOLE: &str = r#"has(request.headers.`x-a`) && [1u, 0x1F, .5e3][0] in {"é\u00e9\101": b'\xff'}
        || -9223372036854775808 < size('''t''') ? !!true : request.time.getHours("+01:00") == duration('1h')"#;
    assert!(Expression::compile(WHOLE).is_ok());
    let mut refused = 0;
    for end in (0..WHOLE.len()).filter(|end| WHOLE.is_char_boundary(*end)) {
        for text in [&WHOLE[..end], &WHOLE[end..]] {
            refused += usize::from(Expression::compile(text).is_err());
            let mut data = vec![0xff, 0, 0, 0, 0];
            data.extend_from_slice(text.as_bytes());
            cel_expression(&data);
        }
    }
    assert!(refused > 200, "{refused}");
}
