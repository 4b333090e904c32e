//! Requests that must be refused: framing, smuggling, syntax, limits.

use crate::on_every_driver;
use ringway_tests::client::{self, End, Expectation, Step};
use ringway_tests::message::Message;
use ringway_tests::observation::Scene;
use std::time::Duration;

/// A request that must be refused on its own, with its connection closed.
struct Bad {
    name: &'static str,
    bytes: Vec<u8>,
    /// Statuses of which any is a good answer.
    statuses: &'static [u16],
    /// A counter that must move, after `http.strict.` or whole.
    counter: &'static str,
}

const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

const PROTOCOL_ERROR: &str = "downstream_cx_protocol_error";
const ANSWERED_4XX: &str = "downstream_rq_4xx";

fn bad(
    name: &'static str,
    bytes: impl AsRef<[u8]>,
    statuses: &'static [u16],
    counter: &'static str,
) -> Bad {
    Bad {
        name,
        bytes: bytes.as_ref().to_vec(),
        statuses,
        counter,
    }
}

/// A POST with these header lines and a body.
fn post(name: &'static str, headers: &str, body: &str) -> Bad {
    let bytes = format!("POST / HTTP/1.1\r\nhost: a\r\n{headers}\r\n{body}");
    bad(name, bytes, &[400], PROTOCOL_ERROR)
}

/// A POST with this coding, which must not be taken for `chunked`.
fn coding(name: &'static str, value: &[u8]) -> Bad {
    let bytes = [
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: ",
        value,
        b"\r\n\r\n0\r\n\r\n",
    ]
    .concat();
    bad(name, bytes, &[400, 501], PROTOCOL_ERROR)
}

fn length(name: &'static str, value: &str) -> Bad {
    post(name, &format!("content-length: {value}\r\n"), "hello")
}

fn chunks(name: &'static str, body: &str) -> Bad {
    post(name, "transfer-encoding: chunked\r\n", body)
}

fn get(name: &'static str, headers: impl AsRef<[u8]>) -> Bad {
    let bytes = [b"GET / HTTP/1.1\r\nhost: a\r\n", headers.as_ref(), b"\r\n"].concat();
    bad(name, bytes, &[400], PROTOCOL_ERROR)
}

fn first_line(name: &'static str, line: &str, statuses: &'static [u16]) -> Bad {
    bad(
        name,
        format!("{line}\r\nhost: a\r\n\r\n"),
        statuses,
        PROTOCOL_ERROR,
    )
}

/// Inputs 1 to 17 of section A: how long a request is.
fn framing() -> Vec<Bad> {
    vec![
        post(
            "1 length and chunked",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        post(
            "1 chunked and length",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            "0\r\n\r\n",
        ),
        post(
            "2 chunked twice",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "0\r\n\r\n",
        )
        .or_501(),
        coding("2 chunked, chunked", b"chunked, chunked"),
        coding("3 comma before", b",chunked"),
        coding("3 comma after", b"chunked,"),
        coding("4 gzip", b"gzip"),
        coding("4 unknown", b"blegh"),
        coding("4 xchunked", b"xchunked"),
        coding("4 identity", b"identity"),
        coding("5 chunked not last", b"chunked, gzip"),
        coding("5 gzip, chunked", b"gzip, chunked"),
        coding("6 vertical tab", b"\x0bchunked"),
        coding("6 no-break spaces", b"\xa0chunked\xa0"),
        coding("6 high byte", b"\xffchunked"),
        coding("6 quoted", b"\"chunked\""),
        coding("6 parameter", b"chunked;a=b"),
        bad(
            "7 HTTP/1.0 with coding",
            "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400, 426],
            ANSWERED_4XX,
        ),
        post(
            "8 differing lengths",
            "content-length: 5\r\ncontent-length: 6\r\n",
            "hello",
        ),
        length("9 list of equal lengths", "5, 5"),
        post(
            "9 equal lengths",
            "content-length: 5\r\ncontent-length: 5\r\n",
            "hello",
        ),
        length("10 plus", "+5"),
        length("10 minus", "-5"),
        length("10 hexadecimal", "0x5"),
        length("10 underscore", "1_0"),
        length("10 letters", "1Z"),
        length("10 space inside", "5 5"),
        length("10 fraction", "5.0"),
        length("11 empty", ""),
        post(
            "11 empty, then a number",
            "content-length:\r\ncontent-length: 59\r\n",
            "hello",
        ),
        length("12 2^63", "9223372036854775808").or_413(),
        length("12 2^64", "18446744073709551616").or_413(),
        length("12 2^64 + 5", "18446744073709551621").or_413(),
        length("12 thirty digits", "100000000000000000000000000000").or_413(),
        chunks("13 hexadecimal prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        chunks("13 plus", "+5\r\nhello\r\n0\r\n\r\n"),
        chunks("13 minus", "-0\r\n\r\n"),
        chunks("13 underscore", "5_0\r\nhello\r\n0\r\n\r\n"),
        chunks("13 space before", " 5\r\nhello\r\n0\r\n\r\n"),
        chunks("13 empty", "\r\nhello\r\n0\r\n\r\n"),
        chunks("13 letter", "Z\r\nhello\r\n0\r\n\r\n"),
        chunks(
            "14 seventeen digits",
            "11111111111111115\r\nhello\r\n0\r\n\r\n",
        ),
        chunks("14 2^64", "10000000000000000\r\nhello\r\n0\r\n\r\n"),
        chunks("15 bare LF after a size", "5\nhello\r\n0\r\n\r\n"),
        chunks(
            "15 CR and another byte after a size",
            "5\rXhello\r\n0\r\n\r\n",
        ),
        chunks("15 bare LF after the data", "5\r\nhello\n0\r\n\r\n"),
        chunks("16 data too long", "5\r\nhelloXX0\r\n\r\n"),
        chunks("16 data too short", "5\r\nhell\r\n0\r\n\r\n"),
        chunks("17 CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        chunks("17 LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        post(
            "17 large extensions",
            "transfer-encoding: chunked\r\n",
            &format!("1;{}\r\na\r\n0\r\n\r\n", "e".repeat(20_000)),
        ),
        post(
            "17 many extensions",
            "transfer-encoding: chunked\r\n",
            &format!(
                "{}0\r\n\r\n",
                format!("1;{}\r\na\r\n", "e".repeat(1000)).repeat(20)
            ),
        ),
        chunks("18 trailer without colon", "0\r\nnonsense\r\n\r\n"),
        chunks("18 trailer with a space", "0\r\na : b\r\n\r\n"),
    ]
}

/// Inputs 19 to 29 of section A: syntax and limits.
fn syntax() -> Vec<Bad> {
    let hundred: String = (0..101)
        .map(|number| format!("x-{number}: v\r\n"))
        .collect();
    vec![
        post(
            "19 space before the colon",
            "content-length : 5\r\n",
            "hello",
        ),
        post(
            "19 tab before the colon",
            "content-length\t: 5\r\n",
            "hello",
        ),
        get("20 folded", "x: a\r\n b\r\n"),
        get("20 folded with a tab", "x: a\r\n\tb\r\n"),
        bad(
            "21 space before the first header",
            "GET / HTTP/1.1\r\n host: a\r\n\r\n",
            &[400],
            PROTOCOL_ERROR,
        ),
        bad(
            "21 tab before the first header",
            "GET / HTTP/1.1\r\n\thost: a\r\n\r\n",
            &[400],
            PROTOCOL_ERROR,
        ),
        get("21 no colon", "nonsense\r\n"),
        get("21 empty name", ": v\r\n"),
        get("22 NUL in a value", b"x: a\0b\r\n"),
        get("22 CR in a value", "x: a\rb\r\n"),
        get("22 CR at the end of a value", "x: a\r\r\n"),
        bad(
            "22 NUL in Host",
            b"GET / HTTP/1.1\r\nhost: a\0b\r\n\r\n",
            &[400],
            PROTOCOL_ERROR,
        ),
        get("22 control byte in a value", b"x: a\x01b\r\n"),
        get("22 DEL in a value", b"x: a\x7fb\r\n"),
        get("23 high byte in a name", b"x\x85: v\r\n"),
        get("23 parenthesis in a name", "x(: v\r\n"),
        get("23 quote in a name", "x\": v\r\n"),
        get("23 NUL in a name", b"x\0: v\r\n"),
        bad(
            "24 bare LF lines",
            "GET / HTTP/1.1\nhost: a\n\n",
            &[400],
            PROTOCOL_ERROR,
        ),
        bad(
            "24 a bare LF line",
            "GET / HTTP/1.1\r\nhost: a\nx: b\r\n\r\n",
            &[400],
            PROTOCOL_ERROR,
        ),
        bad("25 no Host", "GET / HTTP/1.1\r\n\r\n", &[400], ANSWERED_4XX),
        bad(
            "25 two Hosts",
            "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
            &[400],
            ANSWERED_4XX,
        ),
        bad(
            "25 two equal Hosts",
            "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
            &[400],
            ANSWERED_4XX,
        ),
        bad(
            "25 space in Host",
            "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
            &[400],
            ANSWERED_4XX,
        ),
        bad(
            "25 unclosed IPv6 in Host",
            "GET / HTTP/1.1\r\nhost: [::1\r\n\r\n",
            &[400],
            ANSWERED_4XX,
        ),
        bad(
            "25 empty Host",
            "GET / HTTP/1.1\r\nhost:\r\n\r\n",
            &[400],
            ANSWERED_4XX,
        ),
        bad(
            "25 path in Host",
            "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n",
            &[400],
            ANSWERED_4XX,
        ),
        first_line("26 odd scheme", "GET ftp://a/ HTTP/1.1", &[400]),
        bad(
            "27 LF in the request line",
            "GET /\nHTTP/1.1\r\nhost: a\r\n\r\n",
            &[400, 426, 505],
            ANSWERED_4XX,
        ),
        first_line("27 HTTP/1.32", "GET / HTTP/1.32", &[400, 426, 505]),
        first_line("27 lower-case version", "GET / http/1.1", &[400, 505]),
        first_line("27 huge version", "GET / HTTP/4294967295.255", &[400, 505]),
        first_line("27 HTTP/2.0", "GET / HTTP/2.0", &[400, 426, 505]),
        first_line("27 two spaces", "GET  / HTTP/1.1", &[400]),
        first_line("27 tabs", "GET\t/\tHTTP/1.1", &[400]),
        first_line("27 three words", "GET / a HTTP/1.1", &[400]),
        first_line("27 method with an equals sign", "G=\" / HTTP/1.1", &[400]),
        first_line("27 no method", " / HTTP/1.1", &[400]),
        bad("28 HTTP/0.9", "GET /\r\n\r\n", &[400], ANSWERED_4XX),
        bad(
            "28 HTTP/1.0",
            "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
            &[426],
            ANSWERED_4XX,
        ),
        bad(
            "29 long path",
            format!(
                "GET /{} HTTP/1.1\r\nhost: a\r\n\r\n",
                "p".repeat(100 * 1024)
            ),
            &[414, 431],
            ANSWERED_4XX,
        ),
        bad(
            "29 long path without end",
            format!("GET /{}", "p".repeat(100 * 1024)),
            &[414, 431],
            ANSWERED_4XX,
        ),
        get("29 large head", format!("x: {}\r\n", "v".repeat(61 * 1024)))
            .answered(&[431], ANSWERED_4XX),
        get("29 many headers", hundred).answered(&[431], ANSWERED_4XX),
        first_line("38 unknown method", "FOO / HTTP/1.1", &[400]),
        bad(
            "69 HTTP/2 preface",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &[400, 426, 505],
            ANSWERED_4XX,
        ),
        bad(
            "71 TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            &[400],
            ANSWERED_4XX,
        ),
    ]
}

impl Bad {
    fn answered(mut self, statuses: &'static [u16], counter: &'static str) -> Bad {
        self.statuses = statuses;
        self.counter = counter;
        self
    }

    fn or_501(self) -> Bad {
        let counter = self.counter;
        self.answered(&[400, 501], counter)
    }

    fn or_413(self) -> Bad {
        let counter = self.counter;
        self.answered(&[400, 413], counter)
    }
}

#[test]
fn bad_framing_is_refused() {
    on_every_driver(|scene| {
        framing()
            .iter()
            .flat_map(|bad| refused(scene, bad))
            .collect()
    });
}

#[test]
fn bad_syntax_is_refused() {
    on_every_driver(|scene| {
        syntax()
            .iter()
            .flat_map(|bad| refused(scene, bad))
            .collect()
    });
}

/// What is wrong with the answers to a bad request, however it is cut up.
fn refused(scene: &Scene, bad: &Bad) -> Vec<String> {
    let all = [bad.bytes.as_slice(), SMUGGLED].concat();
    // A byte at a time where that takes no minutes.
    let small = if all.len() > 4096 { 997 } else { 1 };
    let mut problems = Vec::new();
    for size in [all.len(), small, 7] {
        if size == 7 && all.len() > 4096 {
            continue;
        }
        scene.origin.play(ringway_tests::origin::answer_ok());
        let before = scene.process.admin().stats();
        let expected = Expectation {
            // Some are refused only by closing; the status is checked below.
            answers: 0,
            patience: Duration::from_secs(5),
            ..Expectation::default()
        };
        let outcome = client::converse(
            scene.address("strict"),
            &[Step::Pieces(all.clone(), size)],
            &expected,
        );
        let mut wrong = |what: String| {
            problems.push(format!("{} (in pieces of {size}): {what}", bad.name));
        };
        if outcome.end != End::Closed {
            wrong(format!("the connection is {:?}, not closed", outcome.end));
        }
        let statuses: Vec<u16> = outcome.messages.iter().map(Message::status).collect();
        // A close may overtake the answer when the client is still sending.
        let lost = statuses.is_empty() && all.len() > 4096;
        if !lost && (statuses.len() != 1 || !bad.statuses.contains(&statuses[0])) {
            wrong(format!(
                "answered {statuses:?}, not one of {:?}",
                bad.statuses
            ));
        }
        if !outcome.rest.is_empty() {
            wrong(format!("and then {}", outcome.rest.escape_ascii()));
        }
        if scene
            .origin
            .seen()
            .iter()
            .any(|seen| seen.request.first_line.contains("smuggled"))
        {
            wrong("what came after it was taken for a request".into());
        }
        let counter = format!("http.strict.{}", bad.counter);
        let old = before.get(&counter).copied().unwrap_or(0);
        let (_, moved) = scene
            .process
            .admin()
            .await_stats(Duration::from_secs(30), |stats| {
                stats.get(&counter).copied().unwrap_or(0) > old
            });
        if !moved {
            wrong(format!("{counter} did not move"));
        }
    }
    problems
}
