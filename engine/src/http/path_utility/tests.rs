//! What Envoy 1.40 made of these paths, for each set of rules.

use super::*;

/// The path that goes on, `>` and the path that the client is sent to, or
/// `400`.
fn result(path: &str, rules: PathRules) -> String {
    let mut headers = HeaderMap::new();
    headers.append(HeaderId::Path, path.as_bytes());
    let outcome = apply(&mut headers, rules);
    let path = String::from_utf8(headers.get(HeaderId::Path).unwrap().to_vec()).unwrap();
    match outcome {
        Ok(PathOutcome::Forward) => path,
        Ok(PathOutcome::Redirect) => format!(">{path}"),
        Err(BadPath) => "400".to_owned(),
    }
}

/// `=` stands for a path that stays.
fn check(rules: PathRules, table: &[(&str, &str)]) {
    for (path, expected) in table {
        let expected = if *expected == "=" { path } else { expected };
        assert_eq!(result(path, rules), *expected, "{path} {rules:?}");
    }
}

const KEEP: PathRules = PathRules {
    normalize: false,
    merge_slashes: false,
    escaped_slashes: EscapedSlashes::Keep,
};

#[test]
fn without_rules_only_fragments_and_nul_are_refused() {
    check(
        KEEP,
        &[
            ("/a/../b\\c", "="),
            ("//a%2f", "="),
            ("/a#x", "400"),
            ("/a?b#x", "400"),
            // Stricter than Envoy, which lets it through without
            // normalize_path.
            ("/a%00", "400"),
            ("/a?%00", "="),
            ("*", "="),
        ],
    );
    let mut empty = HeaderMap::new();
    assert_eq!(apply(&mut empty, KEEP), Ok(PathOutcome::Forward));
}

#[test]
fn normalized() {
    check(
        PathRules {
            normalize: true,
            ..KEEP
        },
        &[
            ("/", "="),
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("/..", "/"),
            ("/../x", "/x"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/b/../../..", "/"),
            ("/a//b", "="),
            ("//a", "="),
            ("/a/%2e%2e/b", "/b"),
            ("/a/%2E/b", "/a/b"),
            ("/a/.%2e/b", "/b"),
            ("/a%2fb", "="),
            ("/a%2F..%2fb", "="),
            ("/a%5cb", "="),
            (r"/a\b", "/a/b"),
            (r"/a\..\b", "/b"),
            ("/%61%7E", "/a~"),
            ("/%zz", "="),
            ("/%", "="),
            ("/%4", "="),
            ("/a%00", "400"),
            ("/a;x=1/../b", "/b"),
            ("/a/..;/b", "/b"),
            ("/a/..;x=1/b", "/b"),
            ("/a/..;;/b", "/b"),
            (r"/a/..;x\y/b", "/b"),
            ("/a/.;x/b", "/a/b"),
            ("/a/.;x", "/a/"),
            ("/a/..;", "/"),
            ("/..;", "/"),
            ("/a/..;?x=1", "/?x=1"),
            ("/a/b;/..;x/./.;/c", "/a/c"),
            ("/a/x;/..;/../b", "/b"),
            ("/a/..;/..;/..;/b", "/b"),
            ("//..;/a", "/a"),
            ("/a//..;/b", "/a/b"),
            ("/a/..;a=%2fb/c", "/c"),
            ("/a/..%3b/b", "="),
            ("/a/...;/b", "="),
            ("/a/b;/c", "="),
            // Stricter than Envoy, which makes `..;` of it and no more.
            ("/a/%2e%2e;/b", "/b"),
            ("/a/%2e;x/b", "/a/b"),
            ("/a?x=/../y", "="),
            ("/a%20b", "="),
            ("/a%c3%a9", "="),
            (r#"/a"b<c>`{|}^"#, "/a%22b%3Cc%3E%60%7B%7C%7D%5E"),
            ("/a'()*!$&,;=:@+~_-", "="),
            ("/...", "="),
            ("/a/...", "="),
            ("/a/.../b", "="),
            ("/.a", "="),
            ("/a/..b", "="),
            ("/a?%2f", "="),
            ("/a//?b//c", "="),
            ("/a///", "="),
            ("/%2F", "="),
            ("/a%2f%2e%2e%2fb", "/a%2f..%2fb"),
            ("/[x]", "="),
            ("/a%2525", "="),
            ("/%7f", "="),
            ("/%0a", "="),
            ("/a%3Fb", "="),
            ("/a%23b", "="),
            ("/A%2D%5F", "/A-_"),
        ],
    );
}

#[test]
fn merged() {
    check(
        PathRules {
            merge_slashes: true,
            ..KEEP
        },
        &[
            ("/a//b", "/a/b"),
            ("//a", "/a"),
            (r"/a\b", "="),
            (r"/a\..\b", "="),
            ("/a//?b//c", "/a/?b//c"),
            ("/a///", "/a/"),
        ],
    );
}

#[test]
fn normalized_and_merged() {
    check(
        PathRules {
            normalize: true,
            merge_slashes: true,
            ..KEEP
        },
        &[
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("/..", "/"),
            ("/../x", "/x"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/b/../../..", "/"),
            ("/a//b", "/a/b"),
            ("//a", "/a"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/%2E/b", "/a/b"),
            ("/a/.%2e/b", "/b"),
            (r"/a\b", "/a/b"),
            (r"/a\..\b", "/b"),
            ("/%61%7E", "/a~"),
            ("/a%00", "400"),
            ("/a;x=1/../b", "/b"),
            (r#"/a"b<c>`{|}^"#, "/a%22b%3Cc%3E%60%7B%7C%7D%5E"),
            ("/a//?b//c", "/a/?b//c"),
            ("/a///", "/a/"),
            ("/a%2f%2e%2e%2fb", "/a%2f..%2fb"),
            ("/A%2D%5F", "/A-_"),
        ],
    );
}

#[test]
fn escaped_slashes_refused() {
    check(
        PathRules {
            escaped_slashes: EscapedSlashes::Reject,
            ..KEEP
        },
        &[
            ("/a/%2e%2e/b", "="),
            ("/a/%2E/b", "="),
            ("/a/.%2e/b", "="),
            ("/a%2fb", "400"),
            ("/a%2F..%2fb", "400"),
            ("/a%5cb", "400"),
            ("/%61%7E", "="),
            ("/%zz", "="),
            ("/%", "="),
            ("/%4", "="),
            ("/a%20b", "="),
            ("/a%c3%a9", "="),
            ("/a?%2f", "="),
            ("/%2F", "400"),
            ("/a%2f%2e%2e%2fb", "400"),
            ("/a%2525", "="),
            ("/%7f", "="),
            ("/%0a", "="),
            ("/a%3Fb", "="),
            ("/a%23b", "="),
            ("/A%2D%5F", "="),
        ],
    );
}

#[test]
fn escaped_slashes_redirected() {
    check(
        PathRules {
            escaped_slashes: EscapedSlashes::UnescapeAndRedirect,
            ..KEEP
        },
        &[
            ("/a/%2e%2e/b", "="),
            ("/a/%2E/b", "="),
            ("/a/.%2e/b", "="),
            ("/a%2fb", ">/a/b"),
            ("/a%2F..%2fb", ">/a/../b"),
            ("/a%5cb", r">/a\b"),
            ("/%61%7E", "="),
            ("/%zz", "="),
            ("/%", "="),
            ("/%4", "="),
            ("/a%20b", "="),
            ("/a%c3%a9", "="),
            ("/a?%2f", "="),
            ("/%2F", ">//"),
            ("/a%2f%2e%2e%2fb", ">/a/%2e%2e/b"),
            ("/a%2525", "="),
            ("/%7f", "="),
            ("/%0a", "="),
            ("/a%3Fb", "="),
            ("/a%23b", "="),
            ("/A%2D%5F", "="),
        ],
    );
}

#[test]
fn escaped_slashes_unescaped() {
    check(
        PathRules {
            escaped_slashes: EscapedSlashes::UnescapeAndForward,
            ..KEEP
        },
        &[
            ("/a/%2e%2e/b", "="),
            ("/a/%2E/b", "="),
            ("/a/.%2e/b", "="),
            ("/a%2fb", "/a/b"),
            ("/a%2F..%2fb", "/a/../b"),
            ("/a%5cb", r"/a\b"),
            ("/%61%7E", "="),
            ("/%zz", "="),
            ("/%", "="),
            ("/%4", "="),
            ("/a%20b", "="),
            ("/a%c3%a9", "="),
            ("/a?%2f", "="),
            ("/%2F", "//"),
            ("/a%2f%2e%2e%2fb", "/a/%2e%2e/b"),
            ("/a%2525", "="),
            ("/%7f", "="),
            ("/%0a", "="),
            ("/a%3Fb", "="),
            ("/a%23b", "="),
            ("/A%2D%5F", "="),
        ],
    );
}

#[test]
fn all_rules_forwarding() {
    check(
        PathRules {
            normalize: true,
            merge_slashes: true,
            escaped_slashes: EscapedSlashes::UnescapeAndForward,
        },
        &[
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("/..", "/"),
            ("/../x", "/x"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/b/../../..", "/"),
            ("/a//b", "/a/b"),
            ("//a", "/a"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/%2E/b", "/a/b"),
            ("/a/.%2e/b", "/b"),
            ("/a%2fb", "/a/b"),
            ("/a%2F..%2fb", "/b"),
            ("/a%5cb", "/a/b"),
            (r"/a\b", "/a/b"),
            (r"/a\..\b", "/b"),
            ("/%61%7E", "/a~"),
            ("/a%00", "400"),
            ("/a;x=1/../b", "/b"),
            (r#"/a"b<c>`{|}^"#, "/a%22b%3Cc%3E%60%7B%7C%7D%5E"),
            ("/a//?b//c", "/a/?b//c"),
            ("/a///", "/a/"),
            ("/%2F", "//"),
            ("/a%2f%2e%2e%2fb", "/b"),
            ("/A%2D%5F", "/A-_"),
        ],
    );
}

#[test]
fn all_rules_redirecting() {
    check(
        PathRules {
            normalize: true,
            merge_slashes: true,
            escaped_slashes: EscapedSlashes::UnescapeAndRedirect,
        },
        &[
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("/..", "/"),
            ("/../x", "/x"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/b/../../..", "/"),
            ("/a//b", "/a/b"),
            ("//a", "/a"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/%2E/b", "/a/b"),
            ("/a/.%2e/b", "/b"),
            ("/a%2fb", ">/a/b"),
            ("/a%2F..%2fb", ">/b"),
            ("/a%5cb", ">/a/b"),
            (r"/a\b", "/a/b"),
            (r"/a\..\b", "/b"),
            ("/%61%7E", "/a~"),
            ("/a%00", "400"),
            ("/a;x=1/../b", "/b"),
            (r#"/a"b<c>`{|}^"#, "/a%22b%3Cc%3E%60%7B%7C%7D%5E"),
            ("/a//?b//c", "/a/?b//c"),
            ("/a///", "/a/"),
            ("/%2F", ">//"),
            ("/a%2f%2e%2e%2fb", ">/b"),
            ("/A%2D%5F", "/A-_"),
        ],
    );
}

#[test]
fn normalized_paths_have_no_dot_segments() {
    let mut rng = fastrand::Rng::with_seed(11);
    let parts = [
        "/", "..", ".", "%2e", "%2E", "\\", "a", "%2f", "%", "%41", "{", "%zz",
    ];
    for _ in 0..20_000 {
        let path: String = (0..rng.usize(..12))
            .map(|_| parts[rng.usize(..parts.len())])
            .collect();
        let once = normalize(format!("/{path}").as_bytes());
        let text = String::from_utf8(once.clone()).unwrap();
        assert!(text.starts_with('/'), "{path} {text}");
        assert!(
            !text
                .split('/')
                .any(|segment| segment == ".." || segment == "."),
            "{path} {text}"
        );
    }
}
