//! What the HTTP/1 codec costs: heads read, heads written, bodies followed.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringway_codecs::header::{HeaderMap, NameCase};
use ringway_codecs::http1::{
    BodyDecoder, BodyOptions, Framing, HeadEnd, HeadReader, RequestOptions, ResponseOptions,
    Version, encode_request_head, encode_response_head,
};

/// What load generators send.
const SMALL_REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n";

/// What browsers send.
const BROWSER_REQUEST: &[u8] = b"GET /static/app.js?v=20260101 HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example.com/\r\n\
    Cookie: session=0123456789abcdef; theme=dark; consent=1\r\n\
    Sec-Fetch-Dest: script\r\n\
    Sec-Fetch-Mode: no-cors\r\n\
    Connection: keep-alive\r\n\r\n";

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    Content-Type: text/plain\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\n";

fn read_heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("http1/read");
    let (mut headers, mut reader) = (HeaderMap::new(), HeadReader::new());
    let options = RequestOptions::default();
    for (name, text) in [
        ("small request", SMALL_REQUEST),
        ("browser request", BROWSER_REQUEST),
    ] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                headers.clear();
                reader
                    .request(black_box(text), &options, &mut headers)
                    .expect("valid")
                    .expect("complete")
                    .1
            });
        });
        group.bench_function(format!("{name} in two pieces"), |b| {
            b.iter(|| {
                headers.clear();
                let (first, second) = black_box(text).split_at(text.len() / 2);
                assert!(
                    reader
                        .request(first, &options, &mut headers)
                        .expect("valid")
                        .is_none()
                );
                reader
                    .request(second, &options, &mut headers)
                    .expect("valid")
                    .expect("complete")
                    .1
            });
        });
    }
    let options = ResponseOptions::default();
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    group.bench_function("response", |b| {
        b.iter(|| {
            headers.clear();
            let read = reader.response(black_box(RESPONSE), &options, false, false, &mut headers);
            read.expect("valid").expect("complete").1
        });
    });
    group.finish();
}

fn write_heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("http1/write");
    let (mut headers, mut out) = (HeaderMap::new(), Vec::new());
    let read = HeadReader::new().request(BROWSER_REQUEST, &RequestOptions::default(), &mut headers);
    assert!(matches!(read, Ok(Some(_))), "a valid request");
    group.bench_function("browser request", |b| {
        b.iter(|| {
            out.clear();
            encode_request_head(
                &mut out,
                black_box(&headers),
                HeadEnd::Fields,
                NameCase::Lower,
            );
            out.len()
        });
    });
    headers.clear();
    let read = HeadReader::new().response(
        RESPONSE,
        &ResponseOptions::default(),
        false,
        false,
        &mut headers,
    );
    assert!(matches!(read, Ok(Some(_))), "a valid response");
    group.bench_function("response", |b| {
        b.iter(|| {
            out.clear();
            encode_response_head(
                &mut out,
                200,
                black_box(&headers),
                HeadEnd::Fields,
                false,
                Version::Http11,
                NameCase::Lower,
            );
            out.len()
        });
    });
    group.finish();
}

fn follow_bodies(c: &mut Criterion) {
    let mut group = c.benchmark_group("http1/body");
    let mut chunked = Vec::new();
    for _ in 0..16 {
        chunked.extend_from_slice(b"1000\r\n");
        chunked.extend_from_slice(&[b'x'; 0x1000]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let options = BodyOptions::default();
    let mut trailers = HeaderMap::new();
    for (name, framing, body) in [
        (
            "64 KiB of a length",
            Framing::Length(1 << 16),
            &vec![b'x'; 1 << 16],
        ),
        ("64 KiB in 16 chunks", Framing::Chunked, &chunked),
    ] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| {
            b.iter_batched(
                || BodyDecoder::new(framing, &options),
                |mut decoder| {
                    let mut at = 0;
                    while !decoder.is_done() {
                        at += decoder
                            .decode(&body[at..], &mut trailers)
                            .expect("valid")
                            .consumed;
                    }
                    at
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, read_heads, write_heads, follow_bodies);
criterion_main!(benches);
