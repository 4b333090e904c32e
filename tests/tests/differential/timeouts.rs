//! Timeouts, each with a value short enough to wait for.

use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::origin::Act;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const UNFINISHED: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc";

fn silent() -> Vec<Act> {
    vec![Act::Read, Act::Drain]
}

fn half_an_answer() -> Vec<Act> {
    vec![
        Act::Read,
        Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello".to_vec()),
        Act::Drain,
    ]
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

pub fn cases() -> Vec<Case> {
    let long = Duration::from_secs(4);
    vec![
        case("route timeout", "upstreams", get("/timeout")).origin(silent()),
        case("route timeout in the body", "upstreams", get("/timeout")).origin(half_an_answer()),
        case("route without timeout", "upstreams", get("/no-timeout")),
        case("route idle timeout", "upstreams", get("/route-idle")).origin(silent()),
        case(
            "route max stream duration",
            "upstreams",
            get("/route-max-stream"),
        )
        .origin(silent()),
        case(
            "upstream max stream duration",
            "upstreams",
            get("/max-stream"),
        )
        .origin(silent()),
        case("request timeout", "request_timeout", UNFINISHED)
            .origin(vec![Act::ReadHead, Act::Drain]),
        case("request timeout in time", "request_timeout", GET),
        case(
            "request headers timeout",
            "headers_timeout",
            "GET / HTTP/1.1\r\nho",
        ),
        case(
            "request headers timeout not for the body",
            "headers_timeout",
            UNFINISHED,
        )
        .then(Step::Wait(Duration::from_millis(1500)))
        .then_send("defghij"),
        case("stream idle, no answer", "stream_idle", GET).origin(silent()),
        case(
            "stream idle, head unfinished",
            "stream_idle",
            "GET / HTTP/1.1\r\nho",
        ),
        case(
            "stream idle, first line unfinished",
            "stream_idle",
            "GET / HT",
        ),
        case("stream idle, request unfinished", "stream_idle", UNFINISHED)
            .origin(vec![Act::ReadHead, Act::Drain]),
        case("stream idle, answer unfinished", "stream_idle", GET).origin(half_an_answer()),
        case("idle connection", "idle", GET).watch(long),
        case("idle connection without request", "idle", "").answers(0),
        case("idle before the first byte", "idle_unused", "").answers(0),
        case("aged before the first byte", "aged_unused", "").answers(0),
        case("max stream duration", "max_stream", GET).origin(silent()),
        case("max stream duration in the body", "max_stream", GET).origin(half_an_answer()),
        case("max connection duration", "max_connection", GET).watch(long),
    ]
}
