//! Virtual clusters and routes with a `stat_prefix`.

use super::{get, get_with};
use ringway_tests::case::{Case, case};
use ringway_tests::origin::Act;

pub fn cases() -> Vec<Case> {
    let answer = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    vec![
        case("virtual cluster", "counted", get("/one")),
        case(
            "virtual cluster of two headers",
            "counted",
            get_with("/o", "x-v: 1\r\n"),
        ),
        case(
            "virtual cluster first of two",
            "counted",
            get_with("/one", "x-v: 1\r\n"),
        ),
        case(
            "virtual cluster by method",
            "counted",
            "POST /x HTTP/1.1\r\nhost: own\r\ncontent-length: 5\r\n\r\nhello",
        ),
        case("virtual cluster none", "counted", get("/other")),
        case(
            "virtual cluster that is called other",
            "counted",
            get_with("/x", "x-other: 1\r\n"),
        ),
        case(
            "virtual cluster with the name of the next",
            "counted",
            get_with("/x", "x-twice: 1\r\n"),
        ),
        case(
            "virtual cluster with the name of the one before",
            "counted",
            get_with("/x", "x-twice: 2\r\n"),
        ),
        case("virtual cluster not found", "counted", get("/one")).answer(answer("404 Not Found")),
        case("virtual cluster odd code", "counted", get("/one")).answer(answer("799 Odd")),
        case("virtual cluster interim", "counted", get("/one"))
            .answer("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        case(
            "virtual cluster direct response",
            "counted",
            get("/one/direct"),
        ),
        case(
            "virtual cluster unknown cluster",
            "counted",
            get("/one/none"),
        ),
        case("virtual cluster refused", "counted", get("/one/refused")),
        case("virtual cluster no host", "counted", get("/one/empty")),
        case("virtual cluster overflow", "counted", get("/one/overflow")),
        case(
            "virtual cluster no place in the queue",
            "counted",
            get("/one/pending"),
        ),
        case("virtual cluster timeout", "counted", get("/one/slow"))
            .origin([Act::Read, Act::Drain]),
        case("virtual cluster reset", "counted", get("/one")).origin([Act::Read, Act::Close]),
        case(
            "virtual cluster before the rewrite",
            "counted",
            get("/rewritten"),
        ),
        case("retries that end", "counted", get("/one/retry"))
            .answer(answer("503 Service Unavailable")),
        case("a retry that succeeds", "counted", get("/one/retry")).origin([
            Act::Read,
            Act::Send(answer("503 Service Unavailable").into_bytes()),
            Act::Read,
            Act::Send(answer("200 OK").into_bytes()),
        ]),
        case("tries that are too slow", "counted", get("/one/per_try"))
            .origin([Act::Read, Act::Drain]),
        case("a retry without a permit", "counted", get("/one/no_retry"))
            .answer(answer("503 Service Unavailable")),
        case("route with a stat prefix", "counted", get("/stat")),
        case("route with the same stat prefix", "counted", get("/same"))
            .answer(answer("503 Service Unavailable")),
        case("route none counted", "counted", get("/none")),
    ]
}
