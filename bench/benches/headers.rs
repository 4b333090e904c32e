//! What the header list costs: looking up, adding, replacing, walking.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ringway_codecs::header::{HeaderId, HeaderMap};

/// A browser's request, as the codec leaves it.
fn browser_request() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (":method", "GET"),
        (":path", "/static/app.js?v=20260101"),
        (":authority", "shop.example.com"),
        (":scheme", "https"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        (
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ),
        ("accept-language", "en-GB,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "https://shop.example.com/"),
        ("cookie", "session=0123456789abcdef; theme=dark"),
        ("sec-fetch-dest", "script"),
        ("sec-fetch-mode", "no-cors"),
        ("x-forwarded-for", "192.0.2.7"),
    ] {
        headers.append_name(name.as_bytes(), value.as_bytes());
    }
    headers
}

fn look_up(c: &mut Criterion) {
    let headers = browser_request();
    let mut group = c.benchmark_group("headers/get");
    group.bench_function("known, present", |b| {
        b.iter(|| black_box(&headers).get(HeaderId::Authority));
    });
    group.bench_function("known, absent", |b| {
        b.iter(|| black_box(&headers).get(HeaderId::ContentLength));
    });
    group.bench_function("other, present", |b| {
        b.iter(|| black_box(&headers).get_name(black_box(b"sec-fetch-mode")));
    });
    group.bench_function("other, absent", |b| {
        b.iter(|| black_box(&headers).get_name(black_box(b"x-tenant")));
    });
    group.finish();
}

fn change(c: &mut Criterion) {
    let mut group = c.benchmark_group("headers/change");
    let headers = browser_request();
    // Lists are cleared and used again, as a connection does from request to request.
    let mut list = HeaderMap::new();
    group.bench_function("append 13 by name", |b| {
        b.iter(|| {
            list.clear();
            for (name, value) in headers.iter() {
                list.append_name(name.as_bytes(), value);
            }
            list.len()
        });
    });
    group.bench_function("append, set and remove by id", |b| {
        b.iter(|| {
            list.clear();
            list.append(HeaderId::ContentLength, black_box(b"100"));
            list.set(HeaderId::ContentLength, black_box(b"200"));
            list.remove(HeaderId::ContentLength)
        });
    });
    group.bench_function("clone", |b| b.iter(|| black_box(&headers).clone()));
    group.finish();
}

fn walk(c: &mut Criterion) {
    let headers = browser_request();
    c.bench_function("headers/iterate 13", |b| {
        b.iter(|| {
            black_box(&headers)
                .iter()
                .map(|(name, value)| name.as_bytes().len() + value.len())
                .sum::<usize>()
        });
    });
}

criterion_group!(benches, look_up, change, walk);
criterion_main!(benches);
