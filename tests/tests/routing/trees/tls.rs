//! `require_tls` on a listener without TLS.

use ringway_tests::case::{Case, case};

fn to(host: &str, path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n")
}

pub fn cases() -> Vec<Case> {
    let https = "x-forwarded-proto: https\r\n";
    let internal = "x-forwarded-for: 10.0.0.1\r\n";
    vec![
        case("tls required", "tls", to("all.example", "/a?b=c", "")),
        case(
            "tls required with a port",
            "tls",
            to("all.example:8080", "/", ""),
        ),
        case(
            "tls required with port 80",
            "tls",
            to("all.example:80", "/", ""),
        ),
        case(
            "tls required with an address",
            "tls",
            to("[::1]:80", "/", ""),
        ),
        case(
            "tls required of a post",
            "tls",
            "POST / HTTP/1.1\r\nhost: all.example\r\ncontent-length: 5\r\n\r\nhello",
        ),
        case(
            "tls required of head",
            "tls",
            "HEAD / HTTP/1.1\r\nhost: all.example\r\n\r\n",
        )
        .to_head(),
        case(
            "tls required by an internal client",
            "tls",
            to("all.example", "/", internal),
        ),
        case(
            "tls required and used before us",
            "tls",
            to("all.example", "/found", https),
        ),
        case(
            "tls required, pretended before a proxy that says no",
            "tls",
            to(
                "all.example",
                "/found",
                "x-forwarded-proto: https\r\nx-forwarded-proto: http\r\n",
            ),
        ),
        case(
            "tls required and said twice",
            "tls",
            to(
                "all.example",
                "/found",
                "x-forwarded-proto: https\r\nx-forwarded-proto: https\r\n",
            ),
        ),
        case(
            "tls required, used, no route",
            "tls",
            to("all.example", "/", https),
        ),
        case(
            "tls required and pretended",
            "tls_edge",
            to("all.example", "/found", https),
        ),
        case(
            "tls required of outsiders",
            "tls",
            to("external.example", "/", ""),
        ),
        case(
            "tls not required of insiders",
            "tls",
            to("external.example", "/", internal),
        ),
        case(
            "tls required of insiders' clients",
            "tls",
            to(
                "external.example",
                "/",
                "x-forwarded-for: 10.0.0.1, 1.2.3.4\r\n",
            ),
        ),
        case(
            "tls of outsiders used",
            "tls",
            to("external.example", "/", https),
        ),
        case(
            "tls pretended insider",
            "tls",
            to("external.example", "/", "x-envoy-internal: true\r\n"),
        ),
        case("tls not required", "tls", to("none.example", "/", "")),
        case(
            "tls required of an upgrade",
            "tls",
            to(
                "all.example",
                "/",
                "connection: upgrade\r\nupgrade: websocket\r\n",
            ),
        ),
        case(
            "tls required of connect",
            "tls",
            "CONNECT all.example:80 HTTP/1.1\r\nhost: all.example:80\r\n\r\n",
        ),
    ]
}
