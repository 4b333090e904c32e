//! How names look when heads are written.

use super::super::{
    HeadEnd, HeadReader, RequestOptions, ResponseOptions, Version, encode_request_head,
    encode_response_head,
};
use crate::header::{HeaderId, HeaderMap, NameCase, PreserveCase};

fn request(h: &HeaderMap, end: HeadEnd, case: NameCase) -> String {
    let mut out = Vec::new();
    encode_request_head(&mut out, h, end, case);
    String::from_utf8(out).unwrap()
}

/// Reads a request that comes in two pieces, cut at every place.
fn received(
    input: &str,
    preserve_case: Option<PreserveCase>,
    mut then: impl FnMut(&mut HeaderMap),
) {
    let o = RequestOptions {
        preserve_case,
        ..RequestOptions::default()
    };
    let mut h = HeaderMap::new();
    for cut in 0..input.len() {
        let mut reader = HeadReader::new();
        let (first, last) = input.as_bytes().split_at(cut);
        assert_eq!(reader.request(first, &o, &mut h), Ok(None));
        assert!(matches!(reader.request(last, &o, &mut h), Ok(Some(_))));
        then(&mut h);
    }
}

#[test]
fn words_begin_with_capitals() {
    let mut h = HeaderMap::new();
    h.append(HeaderId::Method, b"PUT");
    h.append(HeaderId::Path, b"/p");
    h.append(HeaderId::Authority, b"h");
    for name in ["x-a-bc", "x_y.z", "x1y", "a--b-", "foo!bar", "1a-2b"] {
        h.append_name(name.as_bytes(), b"v w");
    }
    assert_eq!(
        request(&h, HeadEnd::Chunked, NameCase::Proper),
        "PUT /p HTTP/1.1\r\nHost: h\r\nX-A-Bc: v w\r\nX_Y.Z: v w\r\nX1y: v w\r\nA--B-: v w\r\n\
         Foo!Bar: v w\r\n1a-2b: v w\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut out = Vec::new();
    let (end, version) = (HeadEnd::Empty, Version::Http10);
    encode_response_head(&mut out, 404, &h, end, true, version, NameCase::Proper);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("HTTP/1.0 404 Not Found\r\nX-A-Bc: v w\r\n"));
    assert!(text.ends_with("Connection: close\r\nContent-Length: 0\r\n\r\n"));
}

#[test]
fn received_names_are_kept() {
    const INPUT: &str = "POST / HTTP/1.1\r\nhOST: h\r\nX-One: 1\r\nX-ONE: 2\r\n\
                         TRANSFER-encoding: chunked\r\nx-GONE: 3\r\n\r\n";
    received(INPUT, Some(PreserveCase::default()), |h| {
        h.remove_name(b"x-gone");
        h.append_name(b"x-new", b"4");
        assert_eq!(
            request(h, HeadEnd::Chunked, NameCase::Proper),
            "POST / HTTP/1.1\r\nhOST: h\r\nX-One: 1\r\nX-One: 2\r\nx-new: 4\r\n\
             TRANSFER-encoding: chunked\r\n\r\n"
        );
        // Set again, it looks as before.
        h.set_name(b"x-gone", b"5");
        assert!(request(h, HeadEnd::Fields, NameCase::Lower).ends_with("\r\nx-GONE: 5\r\n\r\n"));
        h.forget_spelling();
        assert_eq!(
            request(h, HeadEnd::Chunked, NameCase::Lower),
            "POST / HTTP/1.1\r\nhost: h\r\nx-one: 1\r\nx-one: 2\r\nx-new: 4\r\nx-gone: 5\r\n\
             transfer-encoding: chunked\r\n\r\n"
        );
    });
    let proper = PreserveCase {
        others: NameCase::Proper,
        reason_phrase: false,
    };
    received(INPUT, Some(proper), |h| {
        h.set(HeaderId::XRequestId, b"4");
        let text = request(h, HeadEnd::Fields, NameCase::Lower);
        assert!(
            text.contains("\r\nX-One: 2\r\nx-GONE: 3\r\nX-Request-Id: 4\r\n\r\n"),
            "{text}"
        );
    });
    received(INPUT, None, |h| {
        let text = request(h, HeadEnd::Fields, NameCase::Lower);
        assert!(
            text.contains("\r\nx-one: 1\r\nx-one: 2\r\nx-gone: 3\r\n\r\n"),
            "{text}"
        );
    });
}

#[test]
fn a_list_that_kept_names_forgets_them_with_its_message() {
    let mut h = HeaderMap::new();
    let keeping = RequestOptions {
        preserve_case: Some(PreserveCase::default()),
        ..RequestOptions::default()
    };
    for (o, expected) in [
        (&keeping, "GET / HTTP/1.1\r\nHOST: a\r\n\r\n"),
        (
            &RequestOptions::default(),
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
    ] {
        let input = b"GET / HTTP/1.1\r\nHOST: a\r\n\r\n";
        assert!(HeadReader::new().request(input, o, &mut h).is_ok());
        assert_eq!(request(&h, HeadEnd::Fields, NameCase::Lower), expected);
    }
}

#[test]
fn reason_phrases_are_kept_where_that_is_asked_for() {
    let answered = |line: &str, reason_phrase| {
        let o = ResponseOptions {
            preserve_case: Some(PreserveCase {
                others: NameCase::Lower,
                reason_phrase,
            }),
            ..ResponseOptions::default()
        };
        let mut h = HeaderMap::new();
        let input = format!("{line}\r\nX-A: b\r\n\r\n");
        let read = HeadReader::new().response(input.as_bytes(), &o, false, false, &mut h);
        let (head, _) = read.unwrap().unwrap();
        let mut out = Vec::new();
        let end = HeadEnd::Fields;
        encode_response_head(
            &mut out,
            head.status,
            &h,
            end,
            false,
            Version::Http11,
            NameCase::Lower,
        );
        String::from_utf8(out).unwrap()
    };
    for (line, reason_phrase, expected) in [
        ("HTTP/1.1 200 Very good", true, "HTTP/1.1 200 Very good"),
        ("HTTP/1.1 200 Very good", false, "HTTP/1.1 200 OK"),
        ("HTTP/1.1 299 Odd", true, "HTTP/1.1 299 Odd"),
        ("HTTP/1.1 200 ", true, "HTTP/1.1 200 OK"),
        ("HTTP/1.1 200", true, "HTTP/1.1 200 OK"),
    ] {
        let text = answered(line, reason_phrase);
        assert_eq!(text, format!("{expected}\r\nX-A: b\r\n\r\n"), "{line}");
    }
}

#[test]
fn interim_heads_say_nothing_of_lengths_and_connections() {
    let mut h = HeaderMap::new();
    h.append(HeaderId::ContentLength, b"0");
    h.append_name(b"link", b"l");
    let mut out = Vec::new();
    let end = HeadEnd::Fields;
    encode_response_head(
        &mut out,
        103,
        &h,
        end,
        false,
        Version::Http10,
        NameCase::Lower,
    );
    assert!(
        out.ends_with(b"\r\nlink: l\r\n\r\n"),
        "{}",
        out.escape_ascii()
    );
}
