//! Response heads: what is let in, how long the body is, what is refused.

use super::super::Http1Error::{self, *};
use super::super::{Framing, ResponseHead, ResponseOptions};
use super::{Event, Side, error_of, lines, read};

fn side() -> Side {
    to(false, false)
}

/// Responses to HEAD or CONNECT.
fn to(head: bool, connect: bool) -> Side {
    Side::Responses {
        options: ResponseOptions::default(),
        head,
        connect,
    }
}

/// A response with this status and these header lines.
fn with(status: &str, headers: &[u8], body: &[u8]) -> Vec<u8> {
    let line = format!("HTTP/1.1 {status}\r\n");
    [line.as_bytes(), headers, b"\r\n\r\n", body].concat()
}

fn accepted(side: &Side, input: &[u8]) -> (ResponseHead, Vec<String>) {
    match &read(side, input)[..] {
        [Event::Response(head, fields, _), rest @ ..] => {
            assert!(!matches!(rest.last(), Some(Event::Error(_))), "{rest:?}");
            (*head, lines(fields))
        }
        other => panic!("{}: {other:?}", input.escape_ascii()),
    }
}

#[test]
fn bad_responses() {
    let line = |line: &[u8]| [line, b"\r\nContent-Length: 0\r\n\r\n"].concat();
    let table: &[(Vec<u8>, Http1Error)] = &[
        // 39: framing.
        (
            with(
                "200 OK",
                b"Content-Length: 5\r\nTransfer-Encoding: chunked",
                b"",
            ),
            ContentLengthAndChunked,
        ),
        (
            with("200 OK", b"Content-Length: 5\r\nContent-Length: 6", b""),
            DuplicateContentLength,
        ),
        (
            with("200 OK", b"Content-Length: 5\r\nContent-Length: 5", b""),
            DuplicateContentLength,
        ),
        (
            with("200 OK", b"Content-Length: 5, 5", b""),
            InvalidContentLength,
        ),
        (
            with("200 OK", b"Content-Length:", b""),
            InvalidContentLength,
        ),
        (
            with("200 OK", b"Content-Length: -1", b""),
            InvalidContentLength,
        ),
        (
            with(
                "200 OK",
                b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                b"",
            ),
            InvalidTransferEncoding,
        ),
        (
            with("200 OK", b"Transfer-Encoding: gzip", b""),
            InvalidTransferEncoding,
        ),
        (
            with("200 OK", b"Transfer-Encoding: gzip, chunked", b""),
            InvalidTransferEncoding,
        ),
        (
            with("200 OK", b"Transfer-Encoding: identity", b""),
            InvalidTransferEncoding,
        ),
        (
            with("200 OK", b"Transfer-Encoding: chunked", b"Z\r\n"),
            ChunkSize,
        ),
        (with("200 OK", b"X: a\r\n b", b""), FieldName),
        (with("200 OK", b"X : a", b""), FieldName),
        (with("200 OK", b"X (: a", b""), FieldName),
        (with("200 OK", b"X: a\0b", b""), InvalidCharacters),
        (with("200 OK", b"X: a\rb", b""), InvalidCharacters),
        // No body may be there.
        (
            with("204 No", b"Transfer-Encoding: chunked", b""),
            TransferEncodingNotAllowed,
        ),
        (with("204 No", b"Content-Length: 3", b""), BodyDisallowed),
        (
            with("100 C", b"Transfer-Encoding: chunked", b""),
            TransferEncodingNotAllowed,
        ),
        (with("101 S", b"Content-Length: 3", b""), BodyDisallowed),
        // 40: status lines.
        (line(b"hello world"), StatusLine),
        (line(b"ICY 200 OK"), StatusLine),
        (line(b"HTTP/1.1 99 X"), StatusLine),
        (line(b"HTTP/1.1 099 X"), StatusLine),
        (line(b"HTTP/1.1 000 X"), StatusLine),
        (line(b"HTTP/1.1 1000 X"), StatusLine),
        (line(b"HTTP/1.1 20"), StatusLine),
        (line(b"HTTP/1.1 2x0 OK"), StatusLine),
        (line(b"HTTP/1.1 200OK"), StatusLine),
        (line(b"HTTP/1.1 -20 OK"), StatusLine),
        (line(b"HTTP/1.1  200 OK"), StatusLine),
        (line(b"HTTP/1.1 200 O\0K"), StatusLine),
        (line(b"HTTP/1.1 200 O\rK"), StatusLine),
        (line(b"HTTP/2.0 200 OK"), StatusLine),
        (line(b"HTTP/1.2 200 OK"), StatusLine),
        (line(b"http/1.1 200 OK"), StatusLine),
        (line(b"\r\nHTTP/1.1 200 OK"), StatusLine),
        (line(b"\nHTTP/1.1 200 OK"), StatusLine),
        // Lines that end in LF.
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n".to_vec(), LineEnd),
        (
            b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n".to_vec(),
            LineEnd,
        ),
        (b"HTTP/1.1 200\nContent-Length: 0\r\n\r\n".to_vec(), LineEnd),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n".to_vec(),
            LineEnd,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n".to_vec(),
            LineEnd,
        ),
        (b"HTTP/1.1 200 OK\r\n\n".to_vec(), LineEnd),
    ];
    for (input, expected) in table {
        assert_eq!(
            error_of(&side(), input),
            *expected,
            "{}",
            input.escape_ascii()
        );
    }
}

#[test]
fn framings() {
    use Framing::{Chunked, Length, None, UntilClose};
    let cl: &[u8] = b"Content-Length: 5";
    let te: &[u8] = b"Transfer-Encoding: chunked";
    let x: &[u8] = b"X: y";
    // to HEAD, to CONNECT, status, header, framing
    let table: &[(bool, bool, &str, &[u8], Framing)] = &[
        (false, false, "200 OK", cl, Length(5)),
        (false, false, "200 OK", te, Chunked),
        (false, false, "200 OK", x, UntilClose),
        (false, false, "999 Odd", cl, Length(5)),
        (false, false, "205 Reset", cl, Length(5)),
        (false, false, "204 No", x, None),
        (false, false, "204 No", b"Content-Length: 0", None),
        (false, false, "304 Not", cl, None),
        (false, false, "304 Not", te, None),
        (false, false, "304 Not", x, None),
        (false, false, "100 Continue", x, None),
        (false, false, "103 Hints", x, None),
        (false, false, "101 Switch", x, None),
        (true, false, "200 OK", cl, None),
        (true, false, "200 OK", te, None),
        (true, false, "200 OK", x, None),
        (true, false, "404 No", cl, None),
        (false, true, "200 OK", cl, None),
        (false, true, "299 OK", te, None),
        (false, true, "200 OK", b"Transfer-Encoding: gzip", None),
        (false, true, "407 Auth", cl, Length(5)),
        (false, true, "407 Auth", x, UntilClose),
    ];
    for (head, connect, status, header, expected) in table {
        let body: &[u8] = match expected {
            Length(_) => b"hello",
            Chunked => b"5\r\nhello\r\n0\r\n\r\n",
            _ => b"",
        };
        let input = with(status, header, body);
        let (parsed, _) = accepted(&to(*head, *connect), &input);
        assert_eq!(parsed.framing, *expected, "{}", input.escape_ascii());
        assert_eq!(parsed.status.to_string(), status[..3]);
    }
}

#[test]
fn fields_that_stay() {
    let (_, fields) = accepted(
        &to(true, false),
        &with("200 OK", b"Content-Length: 05", b""),
    );
    assert_eq!(fields, [":status: 200", "content-length: 5"]);
    let (_, fields) = accepted(&side(), &with("304 Not", b"Content-Length: 5", b""));
    assert_eq!(fields, [":status: 304", "content-length: 5"]);
    let (_, fields) = accepted(
        &to(false, true),
        &with("200 OK", b"Content-Length: 5\r\nX: y", b""),
    );
    assert_eq!(fields, [":status: 200", "x: y"]);
    let (_, fields) = accepted(
        &side(),
        &with("200 OK", b"Transfer-Encoding: chunked", b"0\r\n\r\n"),
    );
    assert_eq!(fields, [":status: 200"]);
}

#[test]
fn reasons() {
    let long = format!("200 {}", "r".repeat(1000));
    for status in [long.as_str(), "200", "200 ", "200 a b\tc", "200 \u{e9}"] {
        let (head, _) = accepted(&side(), &with(status, b"Content-Length: 0", b""));
        assert_eq!(head.status, 200);
    }
}

#[test]
fn keep_alive() {
    let table: &[(&[u8], bool)] = &[
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\n\r\n", false),
        (b"HTTP/1.1 204 OK\r\n\r\n", true),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", true),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", false),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false),
    ];
    for (input, expected) in table {
        let (head, _) = accepted(&side(), input);
        assert_eq!(head.keep_alive, *expected, "{}", input.escape_ascii());
    }
}

#[test]
fn interim_responses_come_one_by_one() {
    let input = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let statuses: Vec<u16> = read(&side(), input)
        .iter()
        .filter_map(|e| match e {
            Event::Response(head, ..) => Some(head.status),
            _ => None,
        })
        .collect();
    assert_eq!(statuses, [100, 103, 200]);
}

#[test]
fn sizes_and_counts() {
    let padded = |total: usize| {
        let frame = with("200 OK", b"Content-Length: 0\r\nX: ", b"").len();
        let value = "a".repeat(total - frame);
        with(
            "200 OK",
            format!("Content-Length: 0\r\nX: {value}").as_bytes(),
            b"",
        )
    };
    accepted(&side(), &padded(80 * 1024));
    assert_eq!(error_of(&side(), &padded(80 * 1024 + 1)), HeadersTooLarge);
    let fields = |n: usize| with("204 No", &b"X: y\r\n".repeat(n)[..n * 6 - 2], b"");
    accepted(&side(), &fields(100));
    assert_eq!(error_of(&side(), &fields(101)), TooManyHeaders);
}

#[test]
fn a_close_within_a_response() {
    assert_eq!(read(&side(), b"HTTP/1.1 200 O"), [Event::Truncated]);
    let short = with("200 OK", b"Content-Length: 5", b"hell");
    assert_eq!(error_of(&side(), &short), UnexpectedEof);
    let short = with(
        "200 OK",
        b"Transfer-Encoding: chunked",
        b"5\r\nhello\r\n0\r\n",
    );
    assert_eq!(error_of(&side(), &short), UnexpectedEof);
    let events = read(&side(), &with("200 OK", b"X: y", b"hello"));
    assert_eq!(events[1], Event::Data(b"hello".to_vec()));
    assert!(matches!(events[2], Event::End(..)));
}
