use super::super::super::{
    HeadReader,
    Http1Error::{self, *},
    RequestHead, RequestOptions,
};
use super::{Event, accepted, error_of, line, post, read, side, side_with};
use crate::header::{HeaderId, HeaderMap};

#[test]
fn https_urls_are_refused_where_that_is_asked_for() {
    let refusing = side_with(|o| o.refuse_https_url = true);
    for (target, refused) in [
        ("https://b/x", true),
        ("HTTPS://b", true),
        ("http://b/x", false),
        ("/https://b/x", false),
    ] {
        let input = line(format!("GET {target} HTTP/1.1").as_bytes());
        accepted(&side(), &input);
        match refused {
            true => assert_eq!(error_of(&refusing, &input), HttpsUrl, "{target}"),
            false => {
                accepted(&refusing, &input);
            }
        }
    }
    let paths = side_with(|o| {
        o.refuse_https_url = true;
        o.allow_absolute_url = false;
    });
    accepted(&paths, &line(b"GET https://b/x HTTP/1.1"));
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
        (b"GET /x HTTP/1.32", MalformedVersion),
        (b"GET /x http/1.1", MalformedVersion),
        (b"GET /x HTTP/4294967295.255", MalformedVersion),
        (b"GET /x HTTP/1", MalformedVersion),
        (b"GET /x HTTP/01.1", MalformedVersion),
        (b"GET /x HTTP/1.", MalformedVersion),
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
        (b"QUERY /x HTTP/1.1", QueryWithoutContentType),
        // White space.
        (b" GET /x HTTP/1.1", RequestLine),
        (b" G\0T /x HTTP/1.1", RequestLine),
        (b"GET  /x HTTP/1.1", RequestLine),
        (b"GET\t/x HTTP/1.1", RequestLine),
        (b"GET /x  HTTP/1.1", MalformedVersion),
        (b"GET /x HTTP/1.1 ", LineEnd),
        (b"GET /a b HTTP/1.1", MalformedVersion),
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

#[test]
fn hosts() {
    let table: &[(&[u8], Http1Error)] = &[
        (b"", MissingHost),
        (b"Host: a\r\nHost: b\r\n", DuplicateHost),
        (b"Host: a\r\nX: y\r\nhOST: a\r\n", DuplicateHost),
        (b"Host: a b\r\n", InvalidAuthority),
        (b"Host: [::1\r\n", MalformedAuthority),
        (b"Host:\r\n", MalformedAuthority),
        (b"Host: a/b\r\n", InvalidAuthority),
        (b"Host: a@b\r\n", MalformedAuthority),
        (b"Host: a:b\r\n", MalformedAuthority),
        (b"Host: a:99999\r\n", MalformedAuthority),
        (b"Host: a:b\r\nHost: a b\r\n", InvalidAuthority),
        (b"Host: a b\r\nHost: a\r\n", InvalidAuthority),
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
fn what_envoy_finds_first_is_told_first() {
    let table: &[(&[u8], Http1Error)] = &[
        (b"GET /x HTTP/1.0\r\n\r\n", LowVersion),
        (b"GET /x HTTP/3.7\r\n\r\n", LowVersion),
        (b"GET /x HTTP/1.0\r\nHost: a b\r\n\r\n", LowVersion),
        (b"GET /x#f HTTP/1.0\r\nHost: a\r\n\r\n", LowVersion),
        (
            b"GET /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            LowVersion,
        ),
        (
            b"GET /x HTTP/1.2\r\nTransfer-Encoding: gzip\r\n\r\n",
            InvalidTransferEncoding,
        ),
        (
            b"GET /x HTTP/2.0\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            ContentLengthAndChunked,
        ),
        (
            b"GET /x HTTP/1.0\r\nContent-Length: x\r\n\r\n",
            InvalidContentLength,
        ),
        (b"GET ftp://a HTTP/1.0\r\n\r\n", InvalidScheme),
        (
            b"CONNECT a:80 HTTP/1.0\r\nContent-Length: 3\r\n\r\n",
            BodyDisallowed,
        ),
        (
            b"GET /x HTTP/1.1\r\nHost: a b\r\nTransfer-Encoding: gzip\r\n\r\n",
            InvalidTransferEncoding,
        ),
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
fn the_answer_has_the_version_of_the_request() {
    use super::super::super::Version::{self, Http10, Http11};
    let table: &[(&[u8], bool, Version)] = &[
        (b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", true, Http10),
        (b"GET / HTTP/2.0\r\nHost: a b\r\n\r\n", true, Http10),
        (b"GET / HTTP/1.0\r\n\r\n", true, Http10),
        (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", true, Http10),
        (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", false, Http11),
        (b"GET / HTTP/1.0\r\nContent-Length: x\r\n\r\n", true, Http11),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", true, Http11),
    ];
    for (input, accept_http_10, expected) in table {
        let o = RequestOptions {
            accept_http_10: *accept_http_10,
            ..RequestOptions::default()
        };
        for cut in 1..input.len() {
            let mut reader = HeadReader::new();
            let mut h = HeaderMap::new();
            for piece in [&input[..cut], &input[cut..]] {
                let _ = reader.request(piece, &o, &mut h);
            }
            assert_eq!(reader.version(), *expected, "{}", input.escape_ascii());
        }
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
        (HttpsUrl, 403, "http1.https_url_on_plaintext_connection"),
        (PathWithFragment, 400, "path_normalization_failed"),
        (MissingHost, 400, "missing_host_header"),
        (QueryWithoutContentType, 400, "query_missing_content_type"),
        (InvalidAuthority, 400, "http.invalid_authority"),
        (MalformedAuthority, 400, "http.invalid_authority"),
        (HeadersTooLarge, 431, "http1.headers_too_large"),
        (TooManyHeaders, 431, "http1.too_many_headers"),
        (UnexpectedUnderscore, 400, "http1.unexpected_underscore"),
        (BodyDisallowed, 400, "http1.body_disallowed"),
        (ChunkSize, 400, "http1.codec_error"),
    ];
    for (error, status, details) in table {
        assert_eq!((error.status(), error.details()), (*status, *details));
        let by_manager = matches!(
            error,
            MissingHost | PathWithFragment | QueryWithoutContentType
        );
        assert_eq!(error.is_protocol_error(), !by_manager);
        assert_eq!(error.tells_headers(), matches!(error, MalformedAuthority));
    }
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
    let o = RequestOptions::default();
    let mut h = HeaderMap::new();
    let fragment = HeadReader::new().request(&line(b"GET /x#f HTTP/1.1"), &o, &mut h);
    let refused = |read: Result<Option<(RequestHead, usize)>, _>| read.unwrap().unwrap().0.refused;
    assert_eq!(refused(fragment), Some(PathWithFragment));
    assert_eq!(h.get(HeaderId::Path), Some(&b"/x#f"[..]));
    let missing = HeadReader::new().request(b"GET /x HTTP/1.1\r\nA: b\r\n\r\n", &o, &mut h);
    assert_eq!(refused(missing), Some(MissingHost));
    assert_eq!(h.len(), 3);
    let port =
        HeadReader::new().request(b"GET /x HTTP/1.1\r\nHost: a:b\r\nA: b\r\n\r\n", &o, &mut h);
    assert_eq!(port, Err(MalformedAuthority));
    assert_eq!(h.get(HeaderId::Authority), Some(&b"a:b"[..]));
    assert_eq!(h.get_name(b"a"), Some(&b"b"[..]));
    let bad = HeadReader::new().request(&post(b"Content-Length: x", b""), &o, &mut h);
    assert_eq!(bad, Err(InvalidContentLength));
    assert!(h.is_empty());
}

#[test]
fn the_end_of_a_refused_request_is_known() {
    let next = line(b"GET /next HTTP/1.1");
    let table: &[(&[u8], Http1Error)] = &[
        (b"GET /x HTTP/1.1\r\n\r\n", MissingHost),
        (
            b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nab",
            MissingHost,
        ),
        (
            b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            MissingHost,
        ),
        (b"GET /x#f HTTP/1.1\r\nHost: a\r\n\r\n", PathWithFragment),
        (
            b"QUERY /x HTTP/1.1\r\nHost: a\r\n\r\n",
            QueryWithoutContentType,
        ),
    ];
    for (input, expected) in table {
        let both = [input, &next[..]].concat();
        let events = read(&side(), &both);
        let requests: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Request(head, _, end) => Some((head.refused, *end)),
                _ => None,
            })
            .collect();
        assert_eq!(requests[0].0, Some(*expected));
        assert_eq!(requests[1], (None, both.len()), "{}", input.escape_ascii());
    }
}

#[test]
fn any_token_is_a_method_where_that_is_asked_for() {
    let custom = side_with(|o| o.allow_custom_methods = true);
    for method in ["FOO", "get", "Get", "A1-_!", "M-SEARCH", "PRI", "GET"] {
        let input = line(format!("{method} /x HTTP/1.1").as_bytes());
        let (_, fields) = accepted(&custom, &input);
        assert_eq!(fields[0], format!(":method: {method}"));
    }
    for (request_line, expected) in [
        (&b"G= /x HTTP/1.1"[..], RequestLine),
        (b"F\xe9 /x HTTP/1.1", RequestLine),
        (b"G\x01T /x HTTP/1.1", InvalidCharacters),
        (b"FOO * HTTP/1.1", InvalidUrl),
        (b"CONNECT /x HTTP/1.1", InvalidUrl),
        (b"FOO /x HTTP/1.0", LowVersion),
        (b"PRI * HTTP/1.1", InvalidUrl),
    ] {
        assert_eq!(
            error_of(&custom, &line(request_line)),
            expected,
            "{}",
            request_line.escape_ascii()
        );
    }
}

#[test]
fn errors_come_as_soon_as_they_are_certain() {
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
        (&[b"GET /x HT", b"TP/2.00\r\n"], MalformedVersion),
        (&[b"GET /x HT", b"TP/2.0\r\n", b"\r\n"], LowVersion),
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
