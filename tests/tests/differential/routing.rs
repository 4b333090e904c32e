//! Domains, route matching, rewrites, redirects, and the path options.

use ringway_tests::case::{Case, case};

pub fn cases() -> Vec<Case> {
    let mut all = domains();
    all.extend(matching());
    all.extend(redirects());
    all.extend(rewrites());
    all.extend(paths());
    all
}

fn to(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

fn get(path: &str) -> String {
    get_with(path, "")
}

fn get_with(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.example:81\r\n{headers}\r\n")
}

fn domains() -> Vec<Case> {
    vec![
        case("domain exact", "domains", to("a.foo.com")),
        case("domain exact in capitals", "domains", to("A.Foo.Com")),
        case("domain exact with a port", "domains", to("a.foo.com:8080")),
        case("domain with its port", "domains", to("ported.foo.com:8080")),
        case("domain suffix", "domains", to("x.foo.com")),
        case("domain longer suffix", "domains", to("x.b.foo.com")),
        case("domain of a suffix alone", "domains", to("foo.com")),
        case("domain prefix", "domains", to("foo.org")),
        case("domain unknown", "domains", to("unknown")),
    ]
}

fn matching() -> Vec<Case> {
    vec![
        case("route exact", "routes", get("/exact")),
        case("route exact with query", "routes", get("/exact?a=b")),
        case("route exact too long", "routes", get("/exact/")),
        case("route in any case", "routes", get("/nocase")),
        case("route regex", "routes", get("/re/123?x")),
        case("route regex not whole", "routes", get("/re/123x")),
        case("route separated", "routes", get("/sep/more")),
        case("route separated itself", "routes", get("/sep?q")),
        case("route separated not", "routes", get("/separate")),
        case("route header", "routes", get_with("/h", "x-version: 2\r\n")),
        case(
            "route header twice",
            "routes",
            get_with("/h", "x-version: 2\r\nx-version: 3\r\n"),
        ),
        case(
            "route header range",
            "routes",
            get_with("/h", "x-number: 19\r\n"),
        ),
        case(
            "route header range end",
            "routes",
            get_with("/h", "x-number: 20\r\n"),
        ),
        case(
            "route header range plus",
            "routes",
            get_with("/h", "x-number: +15\r\n"),
        ),
        case("route header absent", "routes", get("/absent")),
        case(
            "route header not absent",
            "routes",
            get_with("/absent", "x-here: 1\r\n"),
        ),
        case(
            "route method",
            "routes",
            "POST /post HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        ),
        case("route method not", "routes", get("/post")),
        case("route query", "routes", get("/q?a=1&v=2")),
        case("route query not", "routes", get("/q?v=3")),
        case("route query escaped", "routes", get("/q?v=%32")),
        case("route order", "routes", get("/order/deeper")),
        case("route none", "routes", get("/none")),
        case(
            "route none with body",
            "routes",
            "POST /none HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        ),
    ]
}

fn redirects() -> Vec<Case> {
    vec![
        case("direct response", "routes", get("/direct")),
        case(
            "direct response to head",
            "routes",
            "HEAD /direct HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .to_head(),
        case("direct response of nothing", "routes", get("/direct-empty")),
        case("direct response 204", "routes", get("/direct-204")),
        case("redirect https", "routes", get("/redirect-https?q=1")),
        case(
            "redirect https from port 80",
            "routes",
            "GET /redirect-https HTTP/1.1\r\nhost: a:80\r\n\r\n",
        ),
        case("redirect host", "routes", get("/redirect-host?q=1")),
        case("redirect port", "routes", get("/redirect-port")),
        case("redirect path", "routes", get("/redirect-path?y=2")),
        case("redirect prefix", "routes", get("/redirect-prefix/a/b?c")),
        case("redirect regex", "routes", get("/redirect-regex/abc/d?e")),
        case(
            "redirect without query",
            "routes",
            get("/redirect-strip?q=1"),
        ),
        case(
            "redirect of a spoofed scheme",
            "routes",
            get_with("/redirect-host", "x-forwarded-proto: https\r\n"),
        ),
    ]
}

fn rewrites() -> Vec<Case> {
    vec![
        case("rewrite prefix", "routes", get("/rewrite/a?b=c")),
        case(
            "rewrite regex",
            "routes",
            get("/rewrite-regex/one/two?three"),
        ),
        case("rewrite host", "routes", get("/rewrite-host")),
        case(
            "rewrite host appended",
            "routes",
            get_with("/append-host", "x-forwarded-host: b\r\n"),
        ),
    ]
}

fn paths() -> Vec<Case> {
    vec![
        case("path kept", "plain", get("/a/../b//c/./%2e%2E/%41?x=/../y")),
        case(
            "path normalised",
            "normalize",
            get("/a/../b//c/./d?x=/../y"),
        ),
        case(
            "path normalised escapes",
            "normalize",
            get("/%41%2e%2E/%2e%2e/b%2fc%7e%zz"),
        ),
        case("path normalised above root", "normalize", get("/../../b")),
        case("path normalised backslash", "normalize", get("/a\\..\\b")),
        case("path normalised NUL", "normalize", get("/a%00b")),
        case(
            "path normalised parameters",
            "normalize",
            get("/a/b;/..;x/.;y/c;z?q=/..;/d"),
        ),
        case(
            "path normalised parameters of all",
            "normalize_merge",
            get("//a//..;/..;x=%2f/b"),
        ),
        case("path slashes merged", "merge", get("//a///b//?c=//d")),
        case(
            "path normalised and merged",
            "normalize_merge",
            get("//a/..//b"),
        ),
        case("path escaped slash kept", "plain", get("/a%2Fb%5Cc")),
        case(
            "path escaped slash refused",
            "escaped_reject",
            get("/a%2Fb"),
        ),
        case(
            "path escaped backslash refused",
            "escaped_reject",
            get("/a%5Cb"),
        ),
        case(
            "path escaped slash redirected",
            "escaped_redirect",
            get("/a%2Fb%5cc?d=%2f"),
        ),
        case(
            "path escaped slash forwarded",
            "escaped_forward",
            get("/a%2Fb%5cc?d=%2f"),
        ),
        case("path without escapes", "escaped_reject", get("/a/b")),
    ]
}
