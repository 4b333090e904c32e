//! What is written is read as it was meant, for random messages.

use super::super::{
    BodyOptions, CHUNK_END, Framing, HeadEnd, RequestOptions, ResponseOptions, Version,
    encode_chunk_header, encode_last_chunk, encode_request_head, encode_response_head,
};
use super::{Event, Side, read};
use crate::header::{HeaderId, HeaderMap, NameCase};
use fastrand::Rng;

/// Runs `property` with many generators, and names the seed that failed.
fn for_seeds(property: impl Fn(&mut Rng)) {
    struct Shout(u64);
    impl Drop for Shout {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with seed {}", self.0);
            }
        }
    }
    let first = fastrand::u64(..);
    for seed in (0..50).map(|n| first.wrapping_add(n)) {
        let shout = Shout(seed);
        property(&mut Rng::with_seed(seed));
        drop(shout);
    }
}

/// A token that names no header that the codec or the encoders act on.
fn name(rng: &mut Rng) -> Vec<u8> {
    let rest = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz".as_bytes();
    let length = rng.usize(0..20);
    let pick = |_| rest[rng.usize(..rest.len())];
    [b"r-".to_vec(), (0..length).map(pick).collect()].concat()
}

fn value(rng: &mut Rng) -> Vec<u8> {
    let length = rng.usize(0..40);
    let byte = |_| match rng.u8(..) {
        b if b >= b' ' && b != 0x7f => b,
        _ => b'\t',
    };
    let value: Vec<u8> = (0..length).map(byte).collect();
    value.trim_ascii().to_vec()
}

fn add_fields(rng: &mut Rng, h: &mut HeaderMap) {
    for _ in 0..rng.usize(0..20) {
        let value = value(rng);
        match rng.bool() {
            true => h.append_name(&name(rng), &value),
            false => h.append(HeaderId::UserAgent, &value),
        }
    }
}

/// Writes a body of random chunks; returns what it says.
fn add_body(rng: &mut Rng, out: &mut Vec<u8>, framing: Framing, trailers: &HeaderMap) -> Vec<u8> {
    let body: Vec<u8> = (0..rng.usize(0..300)).map(|_| rng.u8(..)).collect();
    match framing {
        Framing::Chunked => {
            for chunk in body.chunks(rng.usize(1..50)) {
                encode_chunk_header(out, chunk.len());
                out.extend_from_slice(chunk);
                out.extend_from_slice(CHUNK_END);
            }
            encode_last_chunk(out, Some(trailers));
            body
        }
        Framing::Length(length) => {
            out.extend_from_slice(&vec![b'x'; length as usize]);
            vec![b'x'; length as usize]
        }
        _ => Vec::new(),
    }
}

fn data_of(events: &[Event]) -> Vec<u8> {
    let data = events.iter().filter_map(|e| match e {
        Event::Data(data) => Some(&data[..]),
        _ => None,
    });
    data.flatten().copied().collect()
}

#[test]
fn requests() {
    for_seeds(|rng| {
        let mut h = HeaderMap::new();
        h.append(HeaderId::Method, b"POST");
        h.append(HeaderId::Path, b"/random");
        h.append(HeaderId::Authority, b"a.b:80");
        add_fields(rng, &mut h);
        let framing = match rng.bool() {
            true => Framing::Chunked,
            false => Framing::Length(rng.u64(0..50)),
        };
        if let Framing::Length(length) = framing {
            h.append(HeaderId::ContentLength, length.to_string().as_bytes());
        }
        let mut trailers = HeaderMap::new();
        add_fields(rng, &mut trailers);
        let mut out = Vec::new();
        let end = HeadEnd::of_request(&h, framing == Framing::Chunked);
        encode_request_head(&mut out, &h, end, NameCase::Lower);
        let body = add_body(rng, &mut out, framing, &trailers);
        let o = RequestOptions {
            trailers: true,
            ..RequestOptions::default()
        };
        let events = read(&Side::Requests(o), &out);
        let Event::Request(head, fields, _) = &events[0] else {
            panic!("{events:?}");
        };
        assert_eq!(head.framing, framing);
        assert_eq!(*fields, super::fuzz::fields(&h));
        assert_eq!(data_of(&events), body);
        if framing == Framing::Chunked {
            let end = Event::End(super::fuzz::fields(&trailers), out.len());
            assert_eq!(events.last(), Some(&end));
        }
    });
}

#[test]
fn responses() {
    for_seeds(|rng| {
        let mut h = HeaderMap::new();
        let status = rng.u16(205..304);
        h.append(HeaderId::Status, status.to_string().as_bytes());
        add_fields(rng, &mut h);
        let close = rng.bool();
        let version = match rng.bool() {
            true => Version::Http11,
            false => Version::Http10,
        };
        let chunked = version == Version::Http11 && rng.bool();
        let framing = match chunked {
            true => Framing::Chunked,
            false => Framing::Length(rng.u64(0..50)),
        };
        if let Framing::Length(length) = framing {
            h.append(HeaderId::ContentLength, length.to_string().as_bytes());
        }
        let mut out = Vec::new();
        let end = match framing {
            Framing::Chunked => HeadEnd::Chunked,
            Framing::Length(0) if rng.bool() => HeadEnd::Empty,
            _ => HeadEnd::Fields,
        };
        encode_response_head(&mut out, status, &h, end, close, version, NameCase::Lower);
        let body = add_body(rng, &mut out, framing, &HeaderMap::new());
        let side = Side::Responses {
            options: ResponseOptions::default(),
            head: false,
            connect: false,
        };
        let events = read(&side, &out);
        let Event::Response(head, fields, _) = &events[0] else {
            panic!("{events:?}");
        };
        assert_eq!((head.status, head.version), (status, version));
        assert_eq!((head.framing, head.keep_alive), (framing, !close));
        let mut expected = super::fuzz::fields(&h);
        match (close, version) {
            (true, _) => expected.push((b"connection".to_vec(), b"close".to_vec())),
            (_, Version::Http10) => {
                expected.push((b"connection".to_vec(), b"keep-alive".to_vec()));
            }
            _ => {}
        }
        if end == HeadEnd::Empty {
            // It is said behind everything else, whatever the fields said.
            let length = (b"content-length".to_vec(), b"0".to_vec());
            expected.retain(|field| *field != length);
            expected.push(length);
        }
        assert_eq!(*fields, expected);
        assert_eq!(data_of(&events), body);
    });
}

#[test]
fn chunk_headers() {
    for len in [1, 9, 10, 15, 16, 255, 256, 65_536, usize::MAX] {
        let mut out = Vec::new();
        encode_chunk_header(&mut out, len);
        assert_eq!(out, format!("{len:x}\r\n").as_bytes());
    }
    let mut out = Vec::new();
    encode_chunk_header(&mut out, 0);
    assert!(out.is_empty());
    // The largest lengths are ours to refuse when read, not to write.
    let o = BodyOptions::default();
    let events = read(&Side::Body(Framing::Chunked, o), b"ffffffffffffffff\r\n");
    assert!(matches!(events[..], [Event::Error(_)]));
}

#[test]
fn what_is_written() {
    let mut h = HeaderMap::new();
    h.append(HeaderId::Status, b"404");
    h.append(HeaderId::Connection, b"upgrade");
    h.append(HeaderId::TransferEncoding, b"gzip");
    h.append(HeaderId::ContentLength, b"5");
    h.append_name(b"x", b"y");
    let head = |status, end, close, version| {
        let mut out = Vec::new();
        encode_response_head(&mut out, status, &h, end, close, version, NameCase::Lower);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        head(404, HeadEnd::Chunked, true, Version::Http11),
        "HTTP/1.1 404 Not Found\r\nx: y\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    assert_eq!(
        head(404, HeadEnd::Empty, true, Version::Http11),
        "HTTP/1.1 404 Not Found\r\nx: y\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(
        head(999, HeadEnd::Fields, false, Version::Http10),
        "HTTP/1.0 999 Unknown\r\nconnection: upgrade\r\ncontent-length: 5\r\nx: y\r\n\r\n"
    );
    let mut connect = HeaderMap::new();
    connect.append(HeaderId::Method, b"CONNECT");
    connect.append(HeaderId::Authority, b"a:80");
    connect.append(HeaderId::Host, b"other");
    let mut out = Vec::new();
    encode_request_head(
        &mut out,
        &connect,
        HeadEnd::of_request(&connect, false),
        NameCase::Lower,
    );
    assert_eq!(out, b"CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n");
}

#[test]
fn requests_without_a_body_say_so_where_they_could_have_one() {
    use HeadEnd::{Chunked, Empty, Fields};
    for (method, length, has_body, end) in [
        ("GET", None, false, Fields),
        ("HEAD", None, false, Fields),
        ("DELETE", None, false, Fields),
        ("TRACE", None, false, Fields),
        ("CONNECT", None, false, Fields),
        ("POST", None, false, Empty),
        ("PUT", None, false, Empty),
        ("PATCH", None, false, Empty),
        ("OPTIONS", None, false, Empty),
        ("PURGE", None, false, Empty),
        ("POST", None, true, Chunked),
        ("GET", None, true, Chunked),
        ("POST", Some("0"), false, Fields),
        ("POST", Some("3"), true, Fields),
        ("GET", Some("0"), false, Fields),
    ] {
        let mut request = HeaderMap::new();
        request.append(HeaderId::Method, method.as_bytes());
        if let Some(length) = length {
            request.append(HeaderId::ContentLength, length.as_bytes());
        }
        let found = HeadEnd::of_request(&request, has_body);
        assert_eq!(found, end, "{method} {length:?} {has_body}");
    }
    let mut post = HeaderMap::new();
    post.append(HeaderId::Method, b"POST");
    post.append(HeaderId::Path, b"/");
    post.append(HeaderId::Authority, b"a");
    let mut out = Vec::new();
    encode_request_head(&mut out, &post, Empty, NameCase::Lower);
    assert_eq!(
        out,
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
    );
}
