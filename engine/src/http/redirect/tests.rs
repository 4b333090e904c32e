//! The `Location`s that Envoy 1.40 sent.

use super::super::test_headers::headers;
use super::*;
use ringway_config::route::{Case, PathRewrite, Rewriting};

fn redirect() -> Redirect {
    Redirect {
        status: 301,
        scheme: SchemeRedirect::Keep,
        host: None,
        port: None,
        path: PathRedirect::Keep,
        strip_query: false,
    }
}

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

/// What format strings say, by number.
const FORMATTED: [&str; 4] = ["/np", "np?z=1", "", "/n p"];

/// `proto` is the scheme, and what `x-forwarded-proto` says.
fn location(redirect: &Redirect, proto: &str, authority: &str, path: &str) -> String {
    let mut request = headers(&format!(
        ":scheme: {proto}\n:path: {path}\nx-forwarded-proto: {proto}"
    ));
    request.append(HeaderId::Authority, authority.as_bytes());
    if let PathRedirect::Rewrite(rewrite) = &redirect.path {
        let mut with = Rewriting {
            keep_originals: true,
            scratch: &mut Vec::new(),
            format: &mut |_, _, _| panic!("no rewrite here has a format"),
        };
        rewrite.apply(&mut request, &mut with);
    }
    let mut response = HeaderMap::new();
    set_location(redirect, &request, &mut response, |id, out| {
        out.extend_from_slice(FORMATTED[id.0 as usize].as_bytes());
    });
    String::from_utf8(response.get(HeaderId::Location).unwrap().to_vec()).unwrap()
}

#[test]
fn schemes_and_ports() {
    let https = Redirect {
        scheme: SchemeRedirect::Https,
        ..redirect()
    };
    let ftp = Redirect {
        scheme: SchemeRedirect::To(bytes("ftp")),
        ..redirect()
    };
    let port = Redirect {
        port: Some(8443),
        ..redirect()
    };
    let https_443 = Redirect {
        scheme: SchemeRedirect::Https,
        port: Some(443),
        ..redirect()
    };
    for (redirect, proto, authority, expected) in [
        (&https, "http", "h.com", "https://h.com/a?b"),
        (&https, "https", "h.com", "https://h.com/a?b"),
        (&https, "http", "h.com:80", "https://h.com/a?b"),
        (&https, "https", "h.com:80", "https://h.com:80/a?b"),
        (&https, "http", "h.com:443", "https://h.com:443/a?b"),
        (&https, "http", "h.com:8080", "https://h.com:8080/a?b"),
        (&https, "http", "[::1]:80", "https://[::1]/a?b"),
        (&https, "http", "[::1]", "https://[::1]/a?b"),
        (&ftp, "http", "h.com:80", "ftp://h.com/a?b"),
        (&ftp, "https", "h.com:80", "ftp://h.com:80/a?b"),
        (&ftp, "http", "h.com:443", "ftp://h.com:443/a?b"),
        (&ftp, "https", "h.com:443", "ftp://h.com/a?b"),
        (&port, "http", "h.com", "http://h.com:8443/a?b"),
        (&port, "http", "h.com:80", "http://h.com:8443/a?b"),
        (&port, "http", "[::1]:80", "http://[::1]:8443/a?b"),
        (&https_443, "http", "h.com:80", "https://h.com:443/a?b"),
        (
            &self::redirect(),
            "https",
            "h.com:443",
            "https://h.com:443/a?b",
        ),
        (&self::redirect(), "http", "h.com:80", "http://h.com:80/a?b"),
    ] {
        assert_eq!(
            location(redirect, proto, authority, "/a?b"),
            expected,
            "{redirect:?} {proto} {authority}"
        );
    }
}

#[test]
fn hosts() {
    for (host, port, expected) in [
        ("n.com", None, "http://n.com/a"),
        ("n.com:99", None, "http://n.com:99/a"),
        ("n.com", Some(70_000), "http://n.com:70000/a"),
    ] {
        let redirect = Redirect {
            host: Some(bytes(host)),
            port,
            ..redirect()
        };
        assert_eq!(location(&redirect, "http", "h.com:80", "/a"), expected);
    }
}

#[test]
fn paths() {
    let prefix = |matched: &str, with: &str| {
        PathRedirect::Rewrite(PathRewrite::Prefix {
            matched: bytes(matched),
            case: Case::Sensitive,
            replacement: bytes(with),
        })
    };
    let whole = |with: &str| PathRedirect::Rewrite(PathRewrite::Whole(bytes(with)));
    for (path, strip_query, request, expected) in [
        (
            PathRedirect::To(bytes("/np")),
            false,
            "/path?q=1",
            "/np?q=1",
        ),
        (
            PathRedirect::To(bytes("/np?z=1")),
            false,
            "/pq?q=1",
            "/np?z=1",
        ),
        (PathRedirect::To(bytes("/np")), true, "/p?q", "/np"),
        (PathRedirect::To(bytes("/np?z=1")), true, "/p?q", "/np?z=1"),
        (PathRedirect::To(bytes("np")), false, "/p", "/np"),
        (PathRedirect::To(bytes("/np#f")), false, "/p?q", "/np#f?q"),
        (PathRedirect::Keep, true, "/strip?q", "/strip"),
        (PathRedirect::Keep, false, "/keep/?q", "/keep/?q"),
        (prefix("/pre", "/new"), false, "/pre/x?q", "/new/x?q"),
        (
            prefix("/pre", "/new?a=b"),
            false,
            "/pre/x?q",
            "/new?a=b/x?q",
        ),
        (prefix("/pre", "/new?a=b"), true, "/pre/x?q", "/new"),
        (prefix("/pre", "np"), false, "/pre/x", "/np/x"),
        (whole("/new"), false, "/exact?q", "/new?q"),
        (PathRedirect::Format(FormatId(0)), false, "/p?q", "/np?q"),
        (PathRedirect::Format(FormatId(0)), true, "/p?q", "/np"),
        (PathRedirect::Format(FormatId(1)), true, "/p?q", "/np?z=1"),
        (PathRedirect::Format(FormatId(2)), false, "/p?q", "/p?q"),
        (PathRedirect::Format(FormatId(2)), true, "/p?q", "/p"),
        (PathRedirect::Format(FormatId(3)), false, "/p", "/n%20p"),
    ] {
        let redirect = Redirect {
            path,
            strip_query,
            ..redirect()
        };
        assert_eq!(
            location(&redirect, "http", "h.com", request),
            format!("http://h.com{expected}"),
            "{redirect:?} {request}"
        );
    }
}
