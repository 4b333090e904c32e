//! Request heads: what is let in, what is refused and with which answer.

use super::super::Http1Error::{self, *};
use super::super::{Framing, HeadersWithUnderscores, RequestHead, RequestOptions, Version};
use super::{Event, Side, error_of, lines, read};

fn side() -> Side {
    Side::Requests(RequestOptions::default())
}

fn side_with(change: impl FnOnce(&mut RequestOptions)) -> Side {
    let mut o = RequestOptions::default();
    change(&mut o);
    Side::Requests(o)
}

/// A POST with these header lines after Host.
fn post(headers: &[u8], body: &[u8]) -> Vec<u8> {
    [
        b"POST /x HTTP/1.1\r\nHost: a\r\n",
        headers,
        b"\r\n\r\n",
        body,
    ]
    .concat()
}

/// A request with this request line.
fn line(request_line: &[u8]) -> Vec<u8> {
    [request_line, b"\r\nHost: a\r\n\r\n"].concat()
}

/// The head and its entries as lines; the input must hold one whole request.
fn accepted(side: &Side, input: &[u8]) -> (RequestHead, Vec<String>) {
    match &read(side, input)[..] {
        [Event::Request(head, fields, _), rest @ ..] => {
            assert!(!matches!(rest.last(), Some(Event::Error(_))), "{rest:?}");
            (head.clone(), lines(fields))
        }
        other => panic!("{}: {other:?}", input.escape_ascii()),
    }
}

#[test]
fn bad_header_lines() {
    // Numbers are those of the list of bad inputs that the project keeps to.
    let table: &[(&[u8], Http1Error)] = &[
        // 1: two lengths.
        (
            b"Content-Length: 5\r\nTransfer-Encoding: chunked",
            ContentLengthAndChunked,
        ),
        (
            b"Transfer-Encoding: chunked\r\nContent-Length: 5",
            ContentLengthAndChunked,
        ),
        (
            b"Content-Length: 0\r\nTransfer-Encoding: gzip",
            ContentLengthAndChunked,
        ),
        // 2 to 6: anything but `chunked`.
        (
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            InvalidTransferEncoding,
        ),
        (
            b"Transfer-Encoding: chunked, chunked",
            InvalidTransferEncoding,
        ),
        (b"Transfer-Encoding: ,chunked", InvalidTransferEncoding),
        (b"Transfer-Encoding: chunked,", InvalidTransferEncoding),
        (b"Transfer-Encoding: gzip", InvalidTransferEncoding),
        (b"Transfer-Encoding: blegh", InvalidTransferEncoding),
        (b"Transfer-Encoding: xchunked", InvalidTransferEncoding),
        (b"Transfer-Encoding: identity", InvalidTransferEncoding),
        (b"Transfer-Encoding:", InvalidTransferEncoding),
        (b"Transfer-Encoding: chunked;a=b", InvalidTransferEncoding),
        (b"Transfer-Encoding: \"chunked\"", InvalidTransferEncoding),
        (b"Transfer-Encoding: chunked, gzip", InvalidTransferEncoding),
        (b"Transfer-Encoding: gzip, chunked", InvalidTransferEncoding),
        (b"Transfer-Encoding: \x0bchunked", InvalidCharacters),
        (b"Transfer-Encoding: chunked\0", InvalidCharacters),
        (
            b"Transfer-Encoding: \xa0chunked\xa0",
            InvalidTransferEncoding,
        ),
        (b"Transfer-Encoding: \xffchunked", InvalidTransferEncoding),
        // 8 to 12: lengths.
        (
            b"Content-Length: 5\r\nContent-Length: 6",
            DuplicateContentLength,
        ),
        (
            b"Content-Length: 5\r\nContent-Length: 5",
            DuplicateContentLength,
        ),
        (b"Content-Length: 5, 5", InvalidContentLength),
        (b"Content-Length: +5", InvalidContentLength),
        (b"Content-Length: -5", InvalidContentLength),
        (b"Content-Length: 0x5", InvalidContentLength),
        (b"Content-Length: 1_0", InvalidContentLength),
        (b"Content-Length: 1Z", InvalidContentLength),
        (b"Content-Length: 5 5", InvalidContentLength),
        (b"Content-Length:", InvalidContentLength),
        (
            b"Content-Length: \r\nContent-Length: 59",
            InvalidContentLength,
        ),
        (b"Content-Length: 9223372036854775808", InvalidContentLength),
        (
            b"Content-Length: 18446744073709551616",
            InvalidContentLength,
        ),
        (
            b"Content-Length: 999999999999999999999999999999",
            InvalidContentLength,
        ),
        // 19 to 23: lines and bytes.
        (b"Content-Length : 5", FieldName),
        (b"Content-Length\t: 5", FieldName),
        (b"X: a\r\n b", FieldName),
        (b"X: a\r\n\tb", FieldName),
        (b"X:\r\n b", FieldName),
        (b" X: a", FieldName),
        (b"nocolon", FieldName),
        (b": empty", FieldName),
        (b"X: a\0b", InvalidCharacters),
        (b"X: a\rb", InvalidCharacters),
        (b"X: a\x01b", InvalidCharacters),
        (b"X: a\x7fb", InvalidCharacters),
        (b"X\0: a", InvalidCharacters),
        (b"\0", InvalidCharacters),
        (b"X\x85: a", FieldName),
        (b"X(: a", FieldName),
        (b"X\": a", FieldName),
        // 24: LF alone.
        (b"X: a\nY: b", LineEnd),
        (b"X: a\nContent-Length: 5", LineEnd),
    ];
    for (headers, expected) in table {
        let input = post(headers, b"hello");
        assert_eq!(
            error_of(&side(), &input),
            *expected,
            "{}",
            input.escape_ascii()
        );
    }
}

#[test]
fn bad_request_lines() {
    let table: &[(&[u8], Http1Error)] = &[
        // 27 and 28: versions.
        (b"GET /\nHTTP/1.1", RequestLine),
        (b"GET /x HTTP/1.32", Version_),
        (b"GET /x http/1.1", Version_),
        (b"GET /x HTTP/4294967295.255", Version_),
        (b"GET /x HTTP/1", Version_),
        (b"GET /x HTTP/01.1", Version_),
        (b"GET /x HTTP/1.", Version_),
        (b"GET /x HTTP/1.11", LineEnd),
        (b"GET /x HTTP/2.0", LowVersion),
        (b"GET /x HTTP/1.2", LowVersion),
        (b"GET /x HTTP/0.9", LowVersion),
        (b"GET /x HTTP/1.0", LowVersion),
        (b"GET /x", RequestLine),
        (b"PRI * HTTP/2.0", UnknownMethod),
        // Methods.
        (b"G= /x HTTP/1.1", RequestLine),
        (b"FOO /x HTTP/1.1", UnknownMethod),
        (b"get /x HTTP/1.1", UnknownMethod),
        (b"GE /x HTTP/1.1", UnknownMethod),
        (b"GETT /x HTTP/1.1", UnknownMethod),
        (b"M-SEARCH /x HTTP/1.1", UnknownMethod),
        (b"\x16\x03\x01\x02", InvalidCharacters),
        // White space.
        (b" GET /x HTTP/1.1", RequestLine),
        (b"GET  /x HTTP/1.1", RequestLine),
        (b"GET\t/x HTTP/1.1", RequestLine),
        (b"GET /x  HTTP/1.1", Version_),
        (b"GET /x HTTP/1.1 ", LineEnd),
        (b"GET /a b HTTP/1.1", Version_),
        (b"GET /x\t HTTP/1.1", RequestLine),
        // Targets.
        (b"GET HTTP/1.1", RequestLine),
        (b"GET x HTTP/1.1", InvalidTarget),
        (b"GET ?x HTTP/1.1", InvalidTarget),
        (b"GET * HTTP/1.1", InvalidUrl),
        (b"GET /x\x80 HTTP/1.1", RequestLine),
        (b"GET /\xc3\xa9 HTTP/1.1", InvalidTarget),
        (b"GET /x\0 HTTP/1.1", InvalidCharacters),
        (b"GET /x\x7f HTTP/1.1", InvalidCharacters),
        (b"GET /x\x01 HTTP/1.1", InvalidCharacters),
        (b"GET /x#f HTTP/1.1", PathWithFragment),
        (b"GET http://b/x#f HTTP/1.1", PathWithFragment),
        (b"GET ftp://b/x HTTP/1.1", InvalidScheme),
        (b"GET http:///x HTTP/1.1", InvalidUrl),
        (b"GET http://[::1/x HTTP/1.1", InvalidUrl),
        (b"GET https:/x HTTP/1.1", InvalidTarget),
        (b"CONNECT a HTTP/1.1", InvalidUrl),
        (b"CONNECT /x HTTP/1.1", InvalidUrl),
    ];
    for (request_line, expected) in table {
        let input = line(request_line);
        assert_eq!(
            error_of(&side(), &input),
            *expected,
            "{}",
            input.escape_ascii()
        );
    }
}

/// The variant has the name of a type that is in scope here, too.
#[allow(non_upper_case_globals)]
const Version_: Http1Error = Http1Error::Version;

#[test]
fn hosts() {
    let table: &[(&[u8], Http1Error)] = &[
        (b"", MissingHost),
        (b"Host: a\r\nHost: b\r\n", DuplicateHost),
        (b"Host: a\r\nX: y\r\nhOST: a\r\n", DuplicateHost),
        (b"Host: a b\r\n", InvalidAuthority),
        (b"Host: [::1\r\n", InvalidAuthority),
        (b"Host:\r\n", InvalidAuthority),
        (b"Host: a/b\r\n", InvalidAuthority),
        (b"Host: a@b\r\n", InvalidAuthority),
        (b"Host: a:b\r\n", InvalidAuthority),
        (b"Host: \xff\r\n", InvalidAuthority),
        (b"Host: a\0b\r\n", InvalidCharacters),
        (b" Host: a\r\n", FieldName),
    ];
    for (host, expected) in table {
        let input = [b"GET /x HTTP/1.1\r\n", *host, b"\r\n"].concat();
        assert_eq!(
            error_of(&side(), &input),
            *expected,
            "{}",
            input.escape_ascii()
        );
    }
    // The target has an authority, and still Host must be right.
    for host in [&b"Host: a b\r\n"[..], b"Host: a\r\nHost: a\r\n"] {
        let input = [b"GET http://b/x HTTP/1.1\r\n", host, b"\r\n"].concat();
        assert_eq!(error_of(&side(), &input).status(), 400);
    }
}

#[test]
fn answers_are_envoys() {
    // Seen in the access log of Envoy 1.40 for such inputs.
    let table: &[(Http1Error, u16, &str)] = &[
        (
            ContentLengthAndChunked,
            400,
            "http1.content_length_and_chunked_not_allowed",
        ),
        (
            InvalidTransferEncoding,
            501,
            "http1.invalid_transfer_encoding",
        ),
        (InvalidCharacters, 400, "http1.invalid_characters"),
        (LowVersion, 426, "low_version"),
        (DuplicateContentLength, 400, "http1.codec_error"),
        (InvalidContentLength, 400, "http1.codec_error"),
        (FieldName, 400, "http1.codec_error"),
        (UnknownMethod, 400, "http1.codec_error"),
        (InvalidTarget, 400, "http1.codec_error"),
        (InvalidUrl, 400, "http1.invalid_url"),
        (InvalidScheme, 400, "http1.invalid_scheme"),
        (PathWithFragment, 400, "path_normalization_failed"),
        (MissingHost, 400, "missing_host_header"),
        (InvalidAuthority, 400, "http.invalid_authority"),
        (HeadersTooLarge, 431, "http1.headers_too_large"),
        (TooManyHeaders, 431, "http1.too_many_headers"),
        (UnexpectedUnderscore, 400, "http1.unexpected_underscore"),
        (BodyDisallowed, 400, "http1.body_disallowed"),
        (ChunkSize, 400, "http1.codec_error"),
    ];
    for (error, status, details) in table {
        assert_eq!((error.status(), error.details()), (*status, *details));
        let by_manager = matches!(error, MissingHost | PathWithFragment);
        assert_eq!(error.is_protocol_error(), !by_manager);
    }
}

#[test]
fn accepted_methods() {
    let methods = "ACL BIND CHECKOUT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY MKCALENDAR \
        MKCOL MOVE MSEARCH NOTIFY OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND \
        REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK UNSUBSCRIBE";
    for method in methods.split_ascii_whitespace() {
        let (head, fields) = accepted(&side(), &line(format!("{method} / HTTP/1.1").as_bytes()));
        assert_eq!(
            fields,
            [
                format!(":method: {method}"),
                ":path: /".into(),
                ":authority: a".into()
            ]
        );
        assert_eq!(head.is_head, method == "HEAD");
    }
}

#[test]
fn accepted_targets() {
    let table: &[(&str, &[&str])] = &[
        (
            "GET /x?y=/z",
            &[":method: GET", ":path: /x?y=/z", ":authority: a"],
        ),
        ("GET //x", &[":method: GET", ":path: //x", ":authority: a"]),
        (
            "GET /x\"<>\\^`{|}",
            &[":method: GET", ":path: /x\"<>\\^`{|}", ":authority: a"],
        ),
        (
            "OPTIONS *",
            &[":method: OPTIONS", ":path: *", ":authority: a"],
        ),
        (
            "GET http://B:8/x",
            &[
                ":method: GET",
                ":path: /x",
                ":scheme: http",
                ":authority: B:8",
            ],
        ),
        (
            "GET HTTPS://b",
            &[
                ":method: GET",
                ":path: /",
                ":scheme: https",
                ":authority: b",
            ],
        ),
        (
            "GET http://b?q",
            &[
                ":method: GET",
                ":path: /?q",
                ":scheme: http",
                ":authority: b",
            ],
        ),
        (
            "GET http://u@b/",
            &[":method: GET", ":path: /", ":scheme: http", ":authority: b"],
        ),
        (
            "GET http://[::1]:8/",
            &[
                ":method: GET",
                ":path: /",
                ":scheme: http",
                ":authority: [::1]:8",
            ],
        ),
        ("CONNECT b:80", &[":method: CONNECT", ":authority: b:80"]),
    ];
    for (request_line, expected) in table {
        let input = line(format!("{request_line} HTTP/1.1").as_bytes());
        let (head, fields) = accepted(&side(), &input);
        assert_eq!(fields, *expected, "{request_line}");
        assert_eq!(head.is_connect, request_line.starts_with("CONNECT"));
        assert_eq!(head.framing, Framing::None);
    }
}

#[test]
fn accepted_fields_keep_order_and_case_of_values() {
    let input = b"GET / HTTP/1.1\r\nX-B: 1\r\nHost: a\r\nACCEPT:  Text \t\r\nx-b: 2\r\n\
        Empty:\r\nSpace: \r\nObs: \x80\xff\r\n!#$%&'*+-.^_`|~9: token\r\n\r\n";
    let (head, fields) = accepted(&side(), input);
    assert_eq!(head.head_bytes, input.len());
    let expected = [
        ":method: GET",
        ":path: /",
        ":authority: a",
        "x-b: 1",
        "accept: Text",
        "x-b: 2",
        "empty: ",
        "space: ",
        "obs: \u{fffd}\u{fffd}",
        "!#$%&'*+-.^_`|~9: token",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn lengths_and_codings() {
    let table: &[(&[u8], &[u8], Framing, &[&str])] = &[
        (b"X: y", b"", Framing::None, &["x: y"]),
        (
            b"Content-Length: 0",
            b"",
            Framing::Length(0),
            &["content-length: 0"],
        ),
        (
            b"Content-Length: 5",
            b"hello",
            Framing::Length(5),
            &["content-length: 5"],
        ),
        (
            b"Content-Length: \t5 ",
            b"hello",
            Framing::Length(5),
            &["content-length: 5"],
        ),
        // 10: a decimal number, sent on so that nobody can take it for octal.
        (
            b"Content-Length: 010",
            b"0123456789",
            Framing::Length(10),
            &["content-length: 10"],
        ),
        (
            b"Transfer-Encoding: chunked",
            b"0\r\n\r\n",
            Framing::Chunked,
            &[],
        ),
        (
            b"Transfer-Encoding:  CHUNKED ",
            b"0\r\n\r\n",
            Framing::Chunked,
            &[],
        ),
    ];
    for (headers, body, framing, expected) in table {
        let (head, fields) = accepted(&side(), &post(headers, body));
        assert_eq!(head.framing, *framing);
        assert_eq!(fields[3..], **expected);
        assert!(head.keep_alive);
    }
}

#[test]
fn both_lengths_where_allowed() {
    let side = side_with(|o| o.allow_chunked_length = true);
    let headers = b"Content-Length: 5\r\nTransfer-Encoding: chunked";
    let (head, fields) = accepted(&side, &post(headers, b"0\r\n\r\n"));
    assert_eq!(head.framing, Framing::Chunked);
    assert!(!head.keep_alive);
    assert_eq!(fields.len(), 3);
    let headers = b"Content-Length: x\r\nTransfer-Encoding: chunked";
    assert_eq!(error_of(&side, &post(headers, b"")), InvalidContentLength);
    let headers = b"Content-Length: 5\r\nTransfer-Encoding: gzip";
    assert_eq!(
        error_of(&side, &post(headers, b"")),
        InvalidTransferEncoding
    );
}

#[test]
fn connect_has_no_body() {
    let connect = |header: &[u8]| {
        [
            b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n",
            header,
            b"\r\n\r\n",
        ]
        .concat()
    };
    assert_eq!(
        error_of(&side(), &connect(b"Content-Length: 3")),
        BodyDisallowed
    );
    let chunked = connect(b"Transfer-Encoding: chunked");
    assert_eq!(error_of(&side(), &chunked), InvalidTransferEncoding);
    let (head, fields) = accepted(&side(), &connect(b"Content-Length: 0"));
    assert_eq!(head.framing, Framing::None);
    assert_eq!(fields, [":method: CONNECT", ":authority: a:80"]);
}

#[test]
fn http_10() {
    let side = side_with(|o| {
        o.accept_http_10 = true;
        o.default_host_for_http_10 = Some("default".into());
    });
    let (head, fields) = accepted(&side, b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!((head.version, head.keep_alive), (Version::Http10, false));
    assert_eq!(fields[2], ":authority: default");
    let (head, _) = accepted(&side, b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert!(head.keep_alive);
    let both = b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n";
    assert!(!accepted(&side, both).0.keep_alive);
    let expect = b"POST / HTTP/1.0\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n";
    assert!(!accepted(&side, expect).0.expect_continue);
    // 7: chunked needs 1.1.
    let chunked = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(error_of(&side, chunked), TransferEncodingNotAllowed);
    // The default is not for 1.1.
    assert_eq!(error_of(&side, b"GET / HTTP/1.1\r\n\r\n"), MissingHost);
    let no_default = side_with(|o| o.accept_http_10 = true);
    assert_eq!(
        error_of(&no_default, b"GET / HTTP/1.0\r\n\r\n"),
        MissingHost
    );
}

#[test]
fn connection_fields() {
    // keep_alive, upgrade, expect_continue
    let table: &[(&[u8], [bool; 3])] = &[
        (b"X: y", [true, false, false]),
        (b"Connection: Close", [false, false, false]),
        (b"Connection: x, close", [false, false, false]),
        (b"Connection: x\r\nConnection: close", [false, false, false]),
        (b"Connection: closed", [true, false, false]),
        (b"Proxy-Connection: close", [false, false, false]),
        (b"Connection: Upgrade\r\nUpgrade: foo", [true, true, false]),
        (
            b"Upgrade: foo\r\nConnection: keep-alive, upgrade",
            [true, true, false],
        ),
        (b"Upgrade: foo", [true, false, false]),
        (b"Connection: upgrade", [true, false, false]),
        (b"Connection: upgrade\r\nUpgrade:", [true, false, false]),
        (b"Expect: 100-Continue", [true, false, true]),
        (b"Expect: foo", [true, false, false]),
    ];
    for (headers, expected) in table {
        let (head, fields) = accepted(&side(), &post(headers, b""));
        let flags = [head.keep_alive, head.upgrade, head.expect_continue];
        assert_eq!(flags, *expected, "{}", headers.escape_ascii());
        // They stay in the list: removing them is not the codec's.
        assert!(fields.len() > 3);
    }
}

#[test]
fn an_upgrade_does_not_swallow_the_next_request() {
    // 30: nothing is tunnelled before a 101.
    let input = b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n\
        GET /2 HTTP/1.1\r\nHost: b\r\n\r\n";
    let events = read(&side(), input);
    assert_eq!(events.len(), 2);
    assert!(matches!(&events[1], Event::Request(_, fields, _) if fields[1].1 == b"/2"));
}

#[test]
fn underscores() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\na_b: c\r\nX: y\r\nContent_Length: 5\r\n\r\n";
    let (head, fields) = accepted(&side(), input);
    assert_eq!((fields.len(), head.dropped_underscore_headers), (6, 0));
    let reject = side_with(|o| o.underscores = HeadersWithUnderscores::RejectRequest);
    assert_eq!(error_of(&reject, input), UnexpectedUnderscore);
    let drop = side_with(|o| o.underscores = HeadersWithUnderscores::DropHeader);
    let (head, fields) = accepted(&drop, input);
    assert_eq!(head.dropped_underscore_headers, 2);
    assert_eq!(fields[3..], ["x: y"]);
}

#[test]
fn empty_lines_before_a_request() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let with = |lines: &[u8]| [lines, request].concat();
    let (head, _) = accepted(&side(), &with(b"\r\n\r\n"));
    assert_eq!(head.head_bytes, request.len());
    accepted(&side(), &with(&b"\r\n".repeat(8)));
    assert_eq!(error_of(&side(), &with(&b"\r\n".repeat(9))), EmptyLines);
    assert_eq!(error_of(&side(), &with(b"\n")), LineEnd);
    assert_eq!(error_of(&side(), &with(b"\r")), LineEnd);
    // They are counted for each request.
    let many = with(&b"\r\n".repeat(8)).repeat(2);
    assert_eq!(read(&side(), &many).len(), 2);
    // And they are no request that has begun.
    assert_eq!(read(&side(), b"\r\n\r\n\r"), []);
}

#[test]
fn line_ends() {
    let table: &[&[u8]] = &[
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n",
        b"GET / HTTP/1.1\r\n\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\rX\r\nHost: a\r\n\r\n",
    ];
    for input in table {
        assert_eq!(
            error_of(&side(), input),
            LineEnd,
            "{}",
            input.escape_ascii()
        );
    }
}

#[test]
fn sizes() {
    let head: &[u8] = b"GET /x HTTP/1.1\r\nHost: a\r\n";
    let padded = |total: usize| {
        let value = total - head.len() - b"A: \r\n\r\n".len();
        [head, b"A: ", &b"a".repeat(value)[..], b"\r\n\r\n"].concat()
    };
    accepted(&side(), &padded(60 * 1024));
    assert_eq!(error_of(&side(), &padded(60 * 1024 + 1)), HeadersTooLarge);
    assert_eq!(error_of(&side(), &padded(100_000)), HeadersTooLarge);
    let uri = [
        b"GET /",
        &b"a".repeat(100 * 1024)[..],
        b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    .concat();
    assert_eq!(error_of(&side(), &uri), HeadersTooLarge);
    let spaces = [head, b"A: ", &b" ".repeat(62_000)[..], b"a\r\n\r\n"].concat();
    assert_eq!(error_of(&side(), &spaces), HeadersTooLarge);
    // Unfinished, and already too large.
    assert_eq!(
        error_of(&side(), &padded(100_000)[..61_441]),
        HeadersTooLarge
    );
    assert_eq!(
        read(&side(), &padded(100_000)[..61_440]),
        [Event::Truncated]
    );
}

#[test]
fn counts() {
    let with = |n: usize| {
        let fields = b"A: b\r\n".repeat(n);
        [b"GET /x HTTP/1.1\r\nHost: a\r\n", &fields[..], b"\r\n"].concat()
    };
    assert_eq!(accepted(&side(), &with(99)).1.len(), 3 + 99);
    assert_eq!(error_of(&side(), &with(100)), TooManyHeaders);
    assert_eq!(error_of(&side(), &with(300)), TooManyHeaders);
    // Beyond what fits the stack.
    let many = side_with(|o| o.headers_max = 1000);
    accepted(&many, &with(999));
    assert_eq!(error_of(&many, &with(1000)), TooManyHeaders);
    let endless = side_with(|o| o.headers_max = usize::MAX);
    accepted(&endless, &with(5000));
}

#[test]
fn a_refused_request_leaves_its_fields_only_where_the_manager_answers() {
    use super::super::HeadReader;
    use crate::header::{HeaderId, HeaderMap};
    let o = RequestOptions::default();
    let mut h = HeaderMap::new();
    let fragment = HeadReader::new().request(&line(b"GET /x#f HTTP/1.1"), &o, &mut h);
    assert_eq!(fragment, Err(PathWithFragment));
    assert_eq!(h.get(HeaderId::Path), Some(&b"/x#f"[..]));
    let missing = HeadReader::new().request(b"GET /x HTTP/1.1\r\nA: b\r\n\r\n", &o, &mut h);
    assert_eq!(missing, Err(MissingHost));
    assert_eq!(h.len(), 3);
    let bad = HeadReader::new().request(&post(b"Content-Length: x", b""), &o, &mut h);
    assert_eq!(bad, Err(InvalidContentLength));
    assert!(h.is_empty());
}

#[test]
fn errors_come_as_soon_as_they_are_certain() {
    use super::super::HeadReader;
    use crate::header::HeaderMap;
    let table: &[(&[&[u8]], Http1Error)] = &[
        (&[b"\x16\x03\x01"], InvalidCharacters),
        (&[b"GET /x HTTP/1.0\r\nbad name"], FieldName),
        (
            &[b"GET /x HTTP/1.1\r\nA: b\r\n", b"bad name\r\n"],
            FieldName,
        ),
        (
            &[b"GET /x HTTP/1.1\r\n", b"A: b\r\n", b"C", b"\x01: d\r\n"],
            InvalidCharacters,
        ),
        (&[b"GET /x HT", b"TP/2.0\r\n"], LowVersion),
    ];
    for (pieces, expected) in table {
        let mut reader = HeadReader::new();
        let mut h = HeaderMap::new();
        let (last, first) = pieces.split_last().unwrap();
        for piece in first {
            let result = reader.request(piece, &RequestOptions::default(), &mut h);
            assert_eq!(result, Ok(None));
        }
        let result = reader.request(last, &RequestOptions::default(), &mut h);
        assert_eq!(result, Err(*expected));
        assert!(reader.is_empty());
    }
}
