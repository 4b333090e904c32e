use super::super::super::Http1Error::*;
use super::super::super::{Framing, HeadersWithUnderscores, Version};
use super::{Event, accepted, error_of, line, post, read, side, side_with};

#[test]
fn accepted_methods() {
    let methods = "ACL BIND CHECKOUT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY MKCALENDAR \
        MKCOL MOVE MSEARCH NOTIFY OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT REBIND \
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
fn query_names_its_language() {
    let input = b"QUERY / HTTP/1.1\r\nHost: a\r\nContent-Type: x\r\n\r\n";
    assert_eq!(accepted(&side(), input).1[0], ":method: QUERY");
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
    type Row = (
        &'static [u8],
        &'static [u8],
        Framing,
        &'static [&'static str],
    );
    let table: &[Row] = &[
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
    assert!(accepted(&side, expect).0.expect_continue);
    for other in ["HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/9.9"] {
        let input = format!("GET /x {other}\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n");
        let (head, fields) = accepted(&side, input.as_bytes());
        assert_eq!((head.version, head.keep_alive), (Version::Http10, false));
        assert_eq!(fields, [":method: GET", ":path: /x", ":authority: a"]);
    }
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
    for odd in [&b"\n"[..], b"\r", b"\n\r\n", b"\r\r\n", b"\r\n\n", b"\n\n"] {
        let (head, _) = accepted(&side(), &with(odd));
        assert_eq!(head.head_bytes, request.len(), "{odd:?}");
    }
    // However many there are, however they are cut, and before each request.
    for lines in [b"\r\n".repeat(9), b"\n".repeat(17), b"\r\n".repeat(500)] {
        let (head, _) = accepted(&side(), &with(&lines));
        assert_eq!(head.head_bytes, request.len());
        assert_eq!(read(&side(), &with(&lines).repeat(2)).len(), 2);
    }
    // And they are no request that has begun.
    assert_eq!(read(&side(), b"\r\n\r\n\r"), []);
}
