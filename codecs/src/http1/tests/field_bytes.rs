//! The size of fields as Envoy counts it; the numbers are those of its access
//! logs (`%DOWNSTREAM_HEADER_BYTES_RECEIVED%`, `%UPSTREAM_HEADER_BYTES_RECEIVED%`).

use super::super::{
    BodyDecoder, BodyOptions, Framing, HeadReader, RequestOptions, ResponseOptions,
};
use super::positions;
use crate::header::HeaderMap;

/// Cut nowhere, at each place, and everywhere.
fn ways(len: usize) -> impl Iterator<Item = Vec<usize>> {
    let once = positions(len).map(|at| vec![at]);
    [vec![], (1..len).collect()].into_iter().chain(once)
}

/// The pieces of `input`, whose ends are `cuts`.
fn pieces<'a>(input: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([input.len()]);
    starts.zip(ends).map(|(start, end)| &input[start..end])
}

#[test]
fn of_requests() {
    let o = RequestOptions::default();
    for (head, bytes) in [
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", 8),
        ("GET / HTTP/1.1\r\nhost:a\r\n\r\n", 8),
        ("GET http://abc/b HTTP/1.1\r\nhost: a\r\n\r\n", 8),
        ("GET http://abc/b HTTP/1.1\r\nx-a: a\r\n\r\n", 7),
        ("CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\nx-a: b\r\n\r\n", 18),
        ("GET / HTTP/1.1\r\nhost: a\r\nx-a:\r\n\r\n", 14),
        ("GET / HTTP/1.1\r\nhost: a\r\nx-a: \r\n\r\n", 14),
        ("GET / HTTP/1.1\r\nhost: a\r\nx-a:   \r\nx-b:\r\n\r\n", 20),
        ("GET / HTTP/1.1\r\nx-a:  b  \r\nhost: a\r\n\r\n", 15),
        ("GET / HTTP/1.1\r\nhost: a\r\nx-a:\tb\t\r\nx-b:\r\n\r\n", 21),
        (
            "\r\n\r\nPOST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
            35,
        ),
        // Refused, but understood.
        ("GET / HTTP/1.1\r\n\r\n", 3),
        ("GET /a#b HTTP/1.1\r\nhost: a\r\nx-a: b\r\n\r\n", 15),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\
             x-a: b\r\n\r\n",
            60,
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\nx-a: b\r\n\r\n",
            39,
        ),
        ("GET / HTTP/1.0\r\nhost: a\r\n\r\n", 8),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 10),
        ("GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n", 8),
        // Not understood.
        ("GET / HTTP/1.1\r\nhost: a\r\nx-a: b\r\nx b: b\r\n\r\n", 0),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", 0),
        ("FOO / HTTP/1.1\r\nhost: a\r\n\r\n", 0),
        // Not complete.
        ("GET / HTTP/1.1\r\nhost: a\r\nx-a: b\r\n", 0),
    ] {
        for cuts in ways(head.len()) {
            let (mut reader, mut fields) = (HeadReader::new(), HeaderMap::new());
            // One that was read before must not be counted again.
            let before = b"GET / HTTP/1.1\r\nhost: another\r\n\r\n";
            let read = reader.request(before, &o, &mut fields);
            assert!(matches!(read, Ok(Some(_))));
            for piece in pieces(head.as_bytes(), &cuts) {
                if !matches!(reader.request(piece, &o, &mut fields), Ok(None)) {
                    break;
                }
            }
            assert_eq!(reader.field_bytes(), bytes, "{head:?} cut at {cuts:?}");
        }
    }
}

#[test]
fn of_responses() {
    let o = ResponseOptions::default();
    for (head, bytes) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", 18),
        ("HTTP/1.1 200\r\ncontent-length:2\r\n\r\n", 18),
        ("HTTP/1.1 200 OK\r\nx-a:\r\ncontent-length: 2\r\n\r\n", 24),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 27),
        ("HTTP/1.1 100 Continue\r\n\r\n", 3),
        ("HTTP/1.1 103 Hints\r\nx-a: b\r\n\r\n", 7),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx a: b\r\n\r\n", 0),
    ] {
        for cuts in ways(head.len()) {
            let (mut reader, mut fields) = (HeadReader::new(), HeaderMap::new());
            for piece in pieces(head.as_bytes(), &cuts) {
                if !matches!(
                    reader.response(piece, &o, false, false, &mut fields),
                    Ok(None)
                ) {
                    break;
                }
            }
            assert_eq!(reader.field_bytes(), bytes, "{head:?} cut at {cuts:?}");
        }
    }
}

#[test]
fn of_trailers() {
    for (body, kept, bytes) in [
        ("3\r\nabc\r\n0\r\n\r\n", true, 0),
        ("3\r\nabc\r\n0\r\nx-t: u\r\n\r\n", true, 7),
        ("3\r\nabc\r\n0\r\nx-t:\r\n\r\n", true, 6),
        ("3\r\nabc\r\n0\r\nx-t:  u \r\nx-u: 1\r\n\r\n", true, 14),
        // Not passed on, but received.
        ("0\r\nhost: u\r\n\r\n", true, 8),
        ("3\r\nabc\r\n0\r\nx-t: u\r\n\r\n", false, 0),
        // Not complete, and not understood.
        ("3\r\nabc\r\n0\r\nx-t: u\r\n", true, 0),
        ("3\r\nabc\r\n0\r\nx-t: u\r\nx- : b\r\n\r\n", true, 0),
    ] {
        let o = BodyOptions {
            trailers: kept,
            ..BodyOptions::default()
        };
        for cuts in ways(body.len()) {
            let mut decoder = BodyDecoder::new(Framing::Chunked, &o);
            let mut trailers = HeaderMap::new();
            'pieces: for mut piece in pieces(body.as_bytes(), &cuts) {
                while !piece.is_empty() {
                    let Ok(step) = decoder.decode(piece, &mut trailers) else {
                        break 'pieces;
                    };
                    piece = &piece[step.consumed..];
                }
            }
            assert_eq!(
                decoder.take_trailer_field_bytes(),
                bytes,
                "{body:?} cut at {cuts:?}"
            );
            assert_eq!(decoder.take_trailer_field_bytes(), 0);
        }
    }
}
