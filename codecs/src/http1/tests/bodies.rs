//! Bodies: chunks, extensions, trailers, lengths and ends.

use super::super::Http1Error::{self, *};
use super::super::{BodyDecoder, BodyOptions, Framing};
use super::{Event, Side, error_of, lines, read};
use crate::header::HeaderMap;

fn chunked() -> Side {
    chunked_with(|_| {})
}

fn chunked_with(change: impl FnOnce(&mut BodyOptions)) -> Side {
    let mut o = BodyOptions {
        trailers: true,
        ..BodyOptions::default()
    };
    change(&mut o);
    Side::Body(Framing::Chunked, o)
}

/// One chunk with this size line, then the last chunk.
fn chunk(size_line: &[u8]) -> Vec<u8> {
    [size_line, b"\r\nhello\r\n0\r\n\r\n"].concat()
}

/// The last chunk with these trailer lines.
fn trailers(lines: &[u8]) -> Vec<u8> {
    [b"0\r\n", lines, b"\r\n\r\n"].concat()
}

#[test]
fn bad_chunks() {
    let table: &[(Vec<u8>, Http1Error)] = &[
        // 13: sizes.
        (chunk(b"0x5"), ChunkSize),
        (chunk(b"+5"), ChunkSize),
        (chunk(b"-0"), ChunkSize),
        (chunk(b"5_0"), ChunkSize),
        (chunk(b" 5"), ChunkSize),
        (chunk(b"\t5"), ChunkSize),
        (chunk(b""), ChunkSize),
        (chunk(b";a"), ChunkSize),
        (chunk(b"Z"), ChunkSize),
        (chunk(b"5Z"), ChunkSize),
        (chunk(b"5 5"), ChunkSize),
        (chunk(b"5,"), ChunkSize),
        (chunk(b"5\0"), ChunkSize),
        // 14: overflow.
        (chunk(b"11111111111111111"), ChunkSize),
        (chunk(b"00000000000000005"), ChunkSize),
        (chunk(b"ffffffffffffffff"), ChunkSize),
        (chunk(b"8000000000000000"), ChunkSize),
        // 15: the end of the line.
        (b"5\nhello\r\n0\r\n\r\n".to_vec(), ChunkLine),
        (b"5\rXhello\r\n0\r\n\r\n".to_vec(), ChunkLine),
        (b"5;a\nhello\r\n0\r\n\r\n".to_vec(), ChunkLine),
        (b"5 \nhello\r\n0\r\n\r\n".to_vec(), ChunkLine),
        (b"0\n\r\n".to_vec(), ChunkLine),
        // 16: the end of the data.
        (b"5\r\nhelloXX0\r\n\r\n".to_vec(), ChunkEnd),
        (b"5\r\nhello\n0\r\n\r\n".to_vec(), ChunkEnd),
        (b"5\r\nhello\rX0\r\n\r\n".to_vec(), ChunkEnd),
        (b"5\r\nhello0\r\n\r\n".to_vec(), ChunkEnd),
        // 17: extensions.
        (chunk(b"5;a\rb"), ChunkLine),
        (chunk(b"5;a\0b"), ChunkLine),
        (chunk(b"5;a\x01"), ChunkLine),
        (
            chunk(&[&b"5;"[..], &b"a".repeat(17_000)].concat()),
            ChunkExtensionsTooLarge,
        ),
        (
            chunk(&[&b"5"[..], &b" ".repeat(17_000)].concat()),
            ChunkExtensionsTooLarge,
        ),
        // Cut off.
        (b"5\r\nhell".to_vec(), UnexpectedEof),
        (b"0\r\n".to_vec(), UnexpectedEof),
        (b"0\r\nA: b\r\n".to_vec(), UnexpectedEof),
        (b"".to_vec(), UnexpectedEof),
    ];
    for (input, expected) in table {
        assert_eq!(
            error_of(&chunked(), input),
            *expected,
            "{}",
            input.escape_ascii()
        );
    }
}

#[test]
fn good_chunks() {
    let one = |data: &[u8], end: usize| vec![Event::Data(data.to_vec()), Event::End(vec![], end)];
    let ff: &[u8] = &[b'x'; 255];
    let table: &[(Vec<u8>, Vec<Event>)] = &[
        (chunk(b"5"), one(b"hello", 15)),
        (chunk(b"05"), one(b"hello", 16)),
        (chunk(b"0000000000000005"), one(b"hello", 30)),
        (chunk(b"5;"), one(b"hello", 16)),
        (chunk(b"5;a=b"), one(b"hello", 19)),
        (chunk(b"5;a=\"b;\t\";c"), one(b"hello", 25)),
        (chunk(b"5 ;a"), one(b"hello", 18)),
        (chunk(b"5 "), one(b"hello", 16)),
        (chunk(b"5\t"), one(b"hello", 16)),
        ([b"fF\r\n", ff, b"\r\n0\r\n\r\n"].concat(), one(ff, 266)),
        (
            b"2\r\nhe\r\n3\r\nllo\r\n000\r\n\r\nGET".to_vec(),
            one(b"hello", 22),
        ),
        (b"0\r\n\r\n".to_vec(), vec![Event::End(vec![], 5)]),
        // Data may look like framing.
        (
            b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n".to_vec(),
            one(b"\r\n0\r\n\r\n", 17),
        ),
    ];
    for (input, expected) in table {
        assert_eq!(
            read(&chunked(), input),
            *expected,
            "{}",
            input.escape_ascii()
        );
    }
}

#[test]
fn extensions_are_limited_for_the_whole_message() {
    let input = |n: usize| [b"1;aaaa\r\nx\r\n".repeat(n), b"0\r\n\r\n".to_vec()].concat();
    let side = chunked_with(|o| o.chunk_extension_bytes_max = 50);
    assert!(matches!(
        read(&side, &input(10)).last(),
        Some(Event::End(..))
    ));
    assert_eq!(error_of(&side, &input(11)), ChunkExtensionsTooLarge);
}

#[test]
fn trailers_are_kept_checked_or_dropped() {
    let kept = |side: &Side, input: &[u8]| match read(side, input).last() {
        Some(Event::End(fields, end)) => {
            assert_eq!(*end, input.len());
            lines(fields)
        }
        other => panic!("{}: {other:?}", input.escape_ascii()),
    };
    let input = trailers(b"X-T: 1\r\nGRPC-Status:  0 \r\nx-t: 2\r\nEmpty:");
    let expected = ["x-t: 1", "grpc-status: 0", "x-t: 2", "empty: "];
    assert_eq!(kept(&chunked(), &input), expected);
    let off = chunked_with(|o| o.trailers = false);
    assert!(kept(&off, &input).is_empty());
    // 18: never merged, never passed on.
    let hostile = trailers(
        b"Content-Length: 3\r\nA: b\r\nTransfer-Encoding: chunked\r\nHost: z\r\n\
          AUTHORIZATION: x\r\nTrailer: y\r\nConnection: close\r\nCookie: c",
    );
    assert_eq!(kept(&chunked(), &hostile), ["a: b"]);
}

#[test]
fn bad_trailers() {
    let table: &[(&[u8], Http1Error)] = &[
        (b"X T: 1", FieldName),
        (b"X : 1", FieldName),
        (b"X: 1\r\n b", FieldName),
        (b"nocolon", FieldName),
        (b":path: /", FieldName),
        (b"X\0: 1", InvalidCharacters),
        (b"X: \0", InvalidCharacters),
        (b"X: a\rb", InvalidCharacters),
        (b"X: a\nY: b", LineEnd),
        (b"X: a\r\n\nY: b", LineEnd),
    ];
    for (lines, expected) in table {
        let input = trailers(lines);
        for keep in [true, false] {
            let side = chunked_with(|o| o.trailers = keep);
            assert_eq!(
                error_of(&side, &input),
                *expected,
                "{}",
                input.escape_ascii()
            );
        }
    }
    let many = |n: usize| trailers(&b"A: b\r\n".repeat(n)[..n * 6 - 2]);
    assert!(matches!(
        read(&chunked(), &many(100)).last(),
        Some(Event::End(..))
    ));
    assert_eq!(error_of(&chunked(), &many(101)), TooManyHeaders);
    let large = trailers(&[&b"A: "[..], &b"b".repeat(62_000)].concat());
    assert_eq!(error_of(&chunked(), &large), HeadersTooLarge);
    // As a head: too large when the limit is passed, wherever the line ends.
    assert_eq!(error_of(&chunked(), &large[..61_500]), HeadersTooLarge);
}

#[test]
fn dropped_trailers_take_no_memory() {
    let mut trailers = HeaderMap::new();
    let o = BodyOptions::default();
    let mut body = BodyDecoder::new(Framing::Chunked, &o);
    let input = [&b"0\r\n"[..], &b"A: b\r\n".repeat(5000), b"\r\n"].concat();
    for piece in input.chunks(7) {
        let mut at = 0;
        while at < piece.len() {
            at += body.decode(&piece[at..], &mut trailers).unwrap().consumed;
            assert!(trailers.arena_len() < 20 && trailers.is_empty());
        }
    }
    assert!(body.is_done());
    assert_eq!(trailers.arena_len(), 0);
}

#[test]
fn other_framings() {
    let side = |framing| Side::Body(framing, BodyOptions::default());
    let five = vec![Event::Data(b"hello".to_vec()), Event::End(vec![], 5)];
    assert_eq!(read(&side(Framing::Length(5)), b"helloGET"), five);
    assert_eq!(read(&side(Framing::UntilClose), b"hello"), five);
    assert_eq!(error_of(&side(Framing::Length(6)), b"hello"), UnexpectedEof);
    let largest = side(Framing::Length(u64::MAX));
    assert_eq!(error_of(&largest, b"hello"), UnexpectedEof);
    for framing in [Framing::None, Framing::Length(0)] {
        let mut body = BodyDecoder::new(framing, &BodyOptions::default());
        assert!(body.is_done());
        let step = body.decode(b"GET", &mut HeaderMap::new()).unwrap();
        assert_eq!((step.consumed, step.data, step.done), (0, 0..0, true));
        assert_eq!(body.on_eof(), Ok(()));
    }
}

#[test]
fn a_list_that_the_caller_cleared_harms_nobody() {
    let o = BodyOptions {
        trailers: true,
        ..BodyOptions::default()
    };
    let mut body = BodyDecoder::new(Framing::Chunked, &o);
    let mut trailers = HeaderMap::new();
    body.decode(b"0\r\nAbc: d\r\nX", &mut trailers).unwrap();
    trailers.clear();
    assert_eq!(body.decode(b": y\r\n", &mut trailers), Err(LineEnd));
}
