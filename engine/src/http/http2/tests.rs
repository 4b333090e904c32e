//! The adapter for h2's traits, and header lists on their way through h2's.

use std::rc::Rc;

use bytes::Bytes;
use http::request;
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::http2_protocol_options::FrameLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::body;
use super::headers::{
    Unsendable, read_request, read_response, write_request, write_response, write_trailers,
};
use super::io::TokioSocket;
use super::observer::Observer;
use crate::http::test_headers::{headers, text};
use crate::reactor::{Options, Reactor, spawn};
use crate::test_support::{connected_pair, on_both_drivers};
use crate::transport_sockets::TransportSocket;

fn with_pair(test: impl AsyncFn(TransportSocket, TransportSocket)) {
    on_both_drivers(|driver| {
        let options = Options {
            driver,
            ..Options::default()
        };
        Reactor::new(&options).unwrap().block_on(async {
            let (client, server) = connected_pair().await;
            test(client.into(), server.into()).await;
        });
    });
}

fn adapted(socket: TransportSocket) -> TokioSocket {
    observed(Rc::new(socket))
}

fn observed(socket: Rc<TransportSocket>) -> TokioSocket {
    TokioSocket::new(socket, Observer::of_host(FrameLimits::default(), u32::MAX))
}

#[test]
fn tokio_code_echoes_over_our_sockets() {
    with_pair(async |client, server| {
        let task = spawn(async move {
            let (mut read, mut write) = tokio::io::split(adapted(server));
            tokio::io::copy(&mut read, &mut write).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let body: Vec<u8> = (0..=255).cycle().take(2_000_000).collect();
        let sent = body.clone();
        let (mut read, mut write) = tokio::io::split(adapted(client));
        spawn(async move {
            write.write_all(&sent).await.unwrap();
            write.flush().await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        read.read_to_end(&mut received).await.unwrap();
        assert!(received == body);
        assert!(task.is_finished());
    });
}

#[test]
fn vectored_writes_and_short_reads_keep_the_order() {
    with_pair(async |client, server| {
        let mut client = adapted(client);
        let slices = [std::io::IoSlice::new(b"ab"), std::io::IoSlice::new(b"cde")];
        assert_eq!(client.write_vectored(&slices).await.unwrap(), 5);
        let server = Rc::new(server);
        let mut adapted = observed(Rc::clone(&server));
        let mut read = [0; 3];
        adapted.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"abc");
        assert_eq!(&server.recv().await.unwrap().unwrap()[..], b"de");
    });
}

#[test]
fn received_parts_are_shared_and_not_copied() {
    let bytes = Bytes::from(vec![b'x'; 1000]);
    let start = bytes.as_ptr();
    let mut chunk = body::received(bytes);
    assert_eq!(chunk.as_ptr(), start);
    let head = chunk.split_to(10);
    assert_eq!((head.as_ptr(), head.len(), chunk.len()), (start, 10, 990));
    assert!(!body::to_send(chunk).is_lent());
}

fn request_head(uri: &str, fields: &[(&str, &str)]) -> request::Parts {
    let mut request = http::Request::builder().method("GET").uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

#[test]
fn requests_are_read() {
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(&str, Fields<'_>, &str)] = &[
        (
            "http://a.test/p?q",
            &[("x", "1")],
            ":method: GET | :authority: a.test | :path: /p?q | :scheme: http | x: 1",
        ),
        // The authority has precedence.
        (
            "http://a.test/",
            &[("host", "b.test")],
            ":method: GET | :authority: a.test | :path: / | :scheme: http",
        ),
        (
            "/",
            &[("host", "b.test")],
            ":method: GET | :authority: b.test | :path: /",
        ),
        (
            "http://a.test/",
            &[("cookie", "a=1"), ("y", "2"), ("cookie", "b=2")],
            ":method: GET | :authority: a.test | :path: / | :scheme: http \
             | y: 2 | cookie: a=1; b=2",
        ),
    ];
    for (uri, fields, expected) in cases {
        let mut out = HeaderMap::new();
        read_request(&request_head(uri, fields), &mut out);
        assert_eq!(text(&out), *expected, "{uri}");
    }
}

#[test]
fn requests_are_written() {
    let list = headers(
        ":method: PUT
        :authority: a.test:80
        :path: /p?q
        :scheme: http
        x-own: 1
        te: trailers",
    );
    let request = write_request(&list).unwrap();
    assert_eq!(request.method(), "PUT");
    assert_eq!(request.uri(), "http://a.test:80/p?q");
    assert_eq!(request.headers()["x-own"], "1");
    assert_eq!(request.headers()["te"], "trailers");
    assert_eq!(request.headers().len(), 2);
}

#[test]
fn a_plain_connect_has_only_its_authority() {
    let mut list = headers(":method: CONNECT\n:authority: a:1\n:scheme: http\n:path: /p");
    assert_eq!(write_request(&list).unwrap().uri(), "a:1");
    list.set(HeaderId::Protocol, b"other");
    assert_eq!(write_request(&list).unwrap().uri(), "http://a:1/p");
}

#[test]
fn what_http2_cannot_say_is_refused() {
    for line in [
        ":path: /a b",
        ":authority: a@@",
        ":method: A B",
        "x: a\u{1}b",
    ] {
        let mut list = headers(":method: GET\n:authority: a\n:path: /\n:scheme: http");
        let (name, value) = line.rsplit_once(": ").unwrap();
        list.set_name(name.as_bytes(), value.as_bytes());
        assert_eq!(write_request(&list).unwrap_err(), Unsendable, "{line}");
    }
}

#[test]
fn responses_leave_their_connection_behind() {
    let list = headers(
        ":status: 200
        content-type: text/plain
        connection: close
        keep-alive: timeout=5
        proxy-connection: close
        transfer-encoding: chunked
        upgrade: h2c
        x-a: 1
        x-a: 2",
    );
    let response = write_response(201, &list).unwrap();
    assert_eq!(response.status(), 201);
    let mut back = HeaderMap::new();
    read_response(response.headers(), &mut back);
    assert_eq!(text(&back), "content-type: text/plain | x-a: 1 | x-a: 2");
    assert!(write_trailers(&list).unwrap().contains_key("x-a"));
    assert!(write_response(1000, &list).is_err());
    let mut list = HeaderMap::new();
    list.append(HeaderId::Server, b"a\nb");
    assert!(write_response(200, &list).is_err());
}
