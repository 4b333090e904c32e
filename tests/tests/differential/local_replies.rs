//! Answers that come from the proxy itself: limits and errors of the client.
//!
//! The strict answers to hostile input are in `bad_inputs.rs`; these are the
//! ones where both must agree.

use ringway_tests::case::{Case, case};

pub fn cases() -> Vec<Case> {
    let mut all = limits();
    all.extend(errors());
    all
}

fn limits() -> Vec<Case> {
    let many: String = (0..12).map(|number| format!("x-{number}: v\r\n")).collect();
    let hundred: String = (0..101)
        .map(|number| format!("x-{number}: v\r\n"))
        .collect();
    let ninety: String = (0..90).map(|number| format!("x-{number}: v\r\n")).collect();
    vec![
        case(
            "head too large",
            "small_limits",
            format!(
                "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
                "v".repeat(5000)
            ),
        ),
        case(
            "head large enough",
            "small_limits",
            format!(
                "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
                "v".repeat(3000)
            ),
        ),
        case(
            "path too large",
            "small_limits",
            format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "p".repeat(5000)),
        ),
        case(
            "too many headers",
            "small_limits",
            format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"),
        ),
        case(
            "default too many headers",
            "plain",
            format!("GET / HTTP/1.1\r\nhost: a\r\n{hundred}\r\n"),
        ),
        case(
            "default many headers",
            "plain",
            format!("GET / HTTP/1.1\r\nhost: a\r\n{ninety}\r\n"),
        ),
        case(
            "default head too large",
            "plain",
            format!(
                "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
                "v".repeat(62_000)
            ),
        ),
        case(
            "default head large",
            "plain",
            format!(
                "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
                "v".repeat(58_000)
            ),
        ),
        case(
            "default path large",
            "plain",
            format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "p".repeat(30_000)),
        ),
    ]
}

fn errors() -> Vec<Case> {
    let post =
        |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nhost: a\r\n{headers}\r\n{body}");
    vec![
        case(
            "length and chunked",
            "plain",
            post(
                "content-length: 5\r\ntransfer-encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
        ),
        case(
            "length and chunked allowed",
            "chunked_length",
            post(
                "content-length: 5\r\ntransfer-encoding: chunked\r\n",
                "1\r\na\r\n0\r\n\r\n",
            ),
        ),
        case(
            "unknown coding",
            "plain",
            post("transfer-encoding: gzip\r\n", ""),
        ),
        case(
            "coding twice",
            "plain",
            post("transfer-encoding: chunked, chunked\r\n", "0\r\n\r\n"),
        ),
        case(
            "coding identity",
            "plain",
            post("transfer-encoding: identity\r\n", ""),
        ),
        case(
            "two lengths",
            "plain",
            post("content-length: 5\r\ncontent-length: 6\r\n", "hello"),
        ),
        case(
            "two equal lengths",
            "plain",
            post("content-length: 5\r\ncontent-length: 5\r\n", "hello"),
        ),
        case(
            "length of nonsense",
            "plain",
            post("content-length: 5x\r\n", "hello"),
        ),
        case(
            "bad chunk size",
            "plain",
            post("transfer-encoding: chunked\r\n", "zz\r\n"),
        ),
        case(
            "bad chunk end",
            "plain",
            post("transfer-encoding: chunked\r\n", "1\r\naXX\r\n"),
        ),
        case(
            "header without colon",
            "plain",
            "GET / HTTP/1.1\r\nhost: a\r\nnonsense\r\n\r\n",
        ),
        case(
            "header with a space",
            "plain",
            "GET / HTTP/1.1\r\nhost: a\r\na : b\r\n\r\n",
        ),
        case(
            "header with a NUL",
            "plain",
            "GET / HTTP/1.1\r\nhost: a\r\na: b\0c\r\n\r\n",
        ),
        case(
            "header with a bad name",
            "plain",
            "GET / HTTP/1.1\r\nhost: a\r\na(b: c\r\n\r\n",
        ),
        case("no version", "plain", "GET /\r\n\r\n"),
        case("bad version", "plain", "GET / HTTP/1.32\r\nhost: a\r\n\r\n"),
        case("version 2.0", "plain", "GET / HTTP/2.0\r\nhost: a\r\n\r\n"),
        case(
            "early answer",
            "routes",
            "POST /direct HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\n\r\nabc",
        ),
        case("nonsense", "plain", "nonsense\r\n\r\n"),
        case(
            "tls hello",
            "plain",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ),
    ]
}
