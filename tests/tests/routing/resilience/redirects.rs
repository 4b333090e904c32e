//! Responses that lead elsewhere (`internal_redirect_policy`): followed, handed on,
//! and told of.

use super::*;

fn to(code: u16, location: &str) -> Vec<Act> {
    say(status(code, &format!("location: {location}\r\n")))
}

fn redirected(name: &'static str, path: &str, first: Vec<Act>) -> Case {
    case(name, "redirects", get(path)).origin(turns([first, say(OK)]))
}

pub(super) fn redirects() -> Vec<Case> {
    vec![
        redirected("redirect not followed", "/off", to(302, "http://next/")),
        redirected("redirect", "/x", to(302, "http://next/b?c=d")),
        redirected("redirect with fragment", "/x", to(302, "http://next/b#e")),
        redirected("redirect without path", "/x", to(302, "http://next")),
        redirected("redirect with a port", "/x", to(302, "http://next:81/b")),
        redirected("redirect in capitals", "/x", to(302, "HTTP://NEXT/b")),
        redirected("redirect to the query", "/x", to(302, "http://next?b")),
        redirected("redirect code not listed", "/x", to(301, "http://next/b")),
        redirected("redirect by 301", "/codes", to(301, "http://next/b")),
        redirected(
            "redirect by 302 not listed",
            "/codes",
            to(302, "http://next/b"),
        ),
        redirected("redirect by 308", "/codes", to(308, "http://next/b")),
        redirected("redirect without location", "/x", say(status(302, ""))),
        redirected("redirect to nothing", "/x", to(302, "")),
        redirected("relative redirect", "/x", to(302, "/b")),
        redirected("redirect without scheme", "/x", to(302, "//next/b")),
        redirected("redirect to ftp", "/x", to(302, "ftp://next/b")),
        redirected("redirect to ftp allowed", "/cross", to(302, "ftp://next/b")),
        redirected(
            "redirect to ftp in capitals allowed",
            "/cross",
            to(302, "FTP://next/b"),
        ),
        redirected("redirect to ftp unsafe", "/safe", to(302, "ftp://next/b")),
        redirected(
            "redirect to any scheme allowed",
            "/cross",
            to(302, "x+y-1.0://next/b"),
        ),
        redirected(
            "redirect to no scheme allowed",
            "/cross",
            to(302, "x_y://next/b"),
        ),
        redirected(
            "redirect to a number allowed",
            "/cross",
            to(302, "1x://next/b"),
        ),
        redirected("redirect to https", "/x", to(302, "https://next/b")),
        redirected(
            "redirect to https allowed",
            "/cross",
            to(302, "https://next/b"),
        ),
        redirected(
            "redirect to https unsafe",
            "/safe",
            to(302, "https://next/b"),
        ),
        redirected("redirect to http safe", "/safe", to(302, "http://next/b")),
        redirected("redirect nowhere", "/x", to(302, "http://narrow/other")),
        redirected(
            "redirect to a route allowed",
            "/allowed",
            to(302, "http://narrow/only"),
        ),
        redirected(
            "redirect to a route not allowed",
            "/allowed",
            to(302, "http://next/b"),
        ),
        redirected("no redirects allowed", "/zero", to(302, "http://next/b")),
        redirected("redirect with user", "/x", to(302, "http://u@next/b")),
        redirected("redirect to TLS", "/x", to(302, "http://secure/b?c=d")),
        redirected(
            "redirect by https to TLS",
            "/cross",
            to(302, "https://secure/b"),
        ),
        redirected(
            "redirect to TLS not allowed",
            "/allowed",
            to(302, "http://secure/b"),
        ),
        redirected(
            "redirect to TLS from a new route",
            "/previous",
            to(302, "http://secure/b"),
        ),
        case(
            "redirect of a body to TLS",
            "redirects",
            post("/x", "some body"),
        )
        .origin(turns([to(302, "http://secure/b"), say(OK)])),
    ]
}

/// Places whose URLs Envoy takes or does not.
pub(super) fn redirects_to_odd_hosts() -> Vec<Case> {
    let odd = |name, location: &str| redirected(name, "/x", to(302, location));
    vec![
        odd("redirect to the fragment", "http://next#b"),
        odd("redirect to a query with fragment", "http://next?b#c"),
        odd("redirect to a slash with fragment", "http://next/#b"),
        odd("redirect to no port", "http://next:/b"),
        odd("redirect to no port and no path", "http://next:"),
        odd("redirect to a large port", "http://next:65536/b"),
        odd("redirect to port 0", "http://next:0/b"),
        odd("redirect to a port with a zero", "http://next:080/b"),
        odd("redirect to a signed port", "http://next:+1/b"),
        odd("redirect to a port with a letter", "http://next:8a/b"),
        odd("redirect to an asterisk", "http://*/b"),
        odd("redirect to two hosts", "http://next,a/b"),
        odd("redirect to a mark", "http://next!a/b"),
        odd("redirect to an underscore", "http://next_a/b"),
        odd("redirect to a tilde", "http://next~a/b"),
        odd("redirect to a percent sign", "http://n%65xt/b"),
        odd("redirect to a dash", "http://-next/b"),
        odd("redirect to a dot", "http://next./b"),
        odd("redirect to two dots", "http://next..a/b"),
        odd("redirect to capitals", "http://NEXT/b"),
        odd("redirect to a number", "http://123/b"),
        odd("redirect to an IPv4 address", "http://127.0.0.1:80/b"),
        odd("redirect to an IPv6 address", "http://[::1]:80/b"),
        odd("redirect to a mapped address", "http://[::ffff:1.2.3.4]/b"),
        odd("redirect to a bad IPv6 address", "http://[::x]/b"),
        odd("redirect to empty brackets", "http://[]/b"),
        odd("redirect to half brackets", "http://[::1/b"),
        odd("redirect to an address without brackets", "http://::1/b"),
        odd("redirect to an address with more", "http://[::1]a/b"),
        odd("redirect to a future address", "http://[v1.a]/b"),
    ]
}

/// Where a redirect leads to is brought into the same form as what clients ask
/// for, after its route was found once.
pub(super) fn normalized_redirects() -> Vec<Case> {
    let leads = |name, listener, location| {
        case(name, listener, get("/x")).origin(turns([to(302, location), say(OK)]))
    };
    vec![
        leads(
            "redirect, any port off",
            "redirects_any_port",
            "http://a:99/b",
        ),
        leads(
            "redirect, any port off, in capitals",
            "redirects_any_port",
            "HTTP://a:99/b",
        ),
        leads(
            "redirect, other port kept",
            "redirects_own_port",
            "http://a:99/b",
        ),
        leads("redirect, dot off", "redirects_normal", "http://a./b"),
        leads(
            "redirect, path normalized",
            "redirects_normal",
            "http://a/b/../c//d",
        ),
        leads(
            "redirect, path not normalized",
            "redirects",
            "http://a/b/../c//d",
        ),
        leads(
            "redirect, path refused",
            "redirects_normal",
            "http://a/b%2fc",
        ),
        leads(
            "redirect, path redirected",
            "redirects_unescaped",
            "http://a/b%2fc",
        ),
        leads("redirect, other scheme", "redirects_https", "http://a/b"),
    ]
}

/// Redirects to where there may be nothing. The response of one that is not
/// followed is still changed by the route that got it.
pub(super) fn redirects_to_unknown_hosts() -> Vec<Case> {
    let leads = |name, location| {
        case(name, "unknown_hosts", get("/x")).origin(turns([to(302, location), say(OK)]))
    };
    vec![
        leads("redirect to no virtual host", "http://nowhere/"),
        leads("redirect to no route", "http://narrow/"),
        leads("redirect to another host's answer", "http://narrow/direct"),
        leads("redirect to nonsense", "nonsense"),
    ]
}

pub(super) fn followed_redirects() -> Vec<Case> {
    let steps = |name, path: &str, acts: Vec<Vec<Act>>| {
        case(name, "redirects", get(path)).origin(turns(acts))
    };
    let twice = |first| turns([first, say(OK)]);
    vec![
        steps(
            "redirects until the limit",
            "/many",
            vec![
                to(302, "http://a/many/2"),
                to(302, "http://a/many/3"),
                to(302, "http://a/many/4"),
            ],
        ),
        steps(
            "redirects, the last route limits",
            "/many",
            vec![
                to(302, "http://next/loop/1"),
                to(302, "http://next/loop/2"),
                to(302, "http://next/loop/3"),
                to(302, "http://next/loop/4"),
            ],
        ),
        steps(
            "redirects, no route twice",
            "/previous",
            vec![to(302, "http://a/previous/2"), to(302, "http://a/previous/3")],
        ),
        redirected("redirect to a dead host", "/x", to(302, "http://next/dead")),
        redirected("redirect to a direct response", "/x", to(302, "http://next/direct")),
        redirected(
            "redirect with a body of its own",
            "/x",
            say("HTTP/1.1 302 Found\r\nlocation: http://next/b\r\ncontent-length: 4\r\n\r\nbody"),
        ),
        redirected("redirect copies headers", "/copy", say(status(
            302,
            "location: http://next/b\r\nx-copy: 1\r\nx-copy: 2\r\n",
        ))),
        case(
            "redirect copies no header",
            "redirects",
            "GET /copy HTTP/1.1\r\nhost: a\r\nx-gone: 1\r\nx-copy: 0\r\n\r\n",
        )
        .origin(twice(to(302, "http://next/b"))),
        case("redirect of a body", "redirects", post("/x", "some body"))
            .origin(twice(to(302, "http://next/b"))),
        case("redirect of a body by 307", "redirects", post("/codes", "some body"))
            .origin(twice(to(307, "http://next/b"))),
        case("redirect of a body by 303", "redirects", post("/codes", "some body"))
            .origin(twice(to(303, "http://next/b"))),
        case("redirect of a body over the limit", "redirects", post("/small", "some body"))
            .origin(twice(to(302, "http://next/b"))),
        case(
            "redirect of a chunked body",
            "redirects",
            "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        )
        .origin(twice(to(302, "http://next/b"))),
        case(
            "redirect before the body's end",
            "redirects",
            "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf",
        )
        .origin(vec![
            Act::ReadHead,
            Act::Send(status(302, "location: http://next/b\r\n").into_bytes()),
            Act::Drain,
        ]),
        steps(
            "redirect after a retry",
            "/retry",
            vec![to(302, "http://next/b"), to(302, "http://next/b"), say(OK)],
        ),
        case("redirect, then another request", "redirects", get("/x") + &get("/off"))
            .answers(2)
            .origin(turns([to(302, "http://next/b"), say(OK)])),
        case("redirect of HEAD", "redirects", "HEAD /x HTTP/1.1\r\nhost: a\r\n\r\n")
            .origin(turns([
                to(302, "http://next/b"),
                say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),
            ]))
            .to_head(),
    ]
}
