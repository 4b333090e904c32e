//! Reading messages off streams that misbehave: in pieces of any size, cut off
//! and reset at every byte. What is read is always a prefix of what was sent,
//! message by message, and the end says whether one was cut.

use std::future::poll_fn;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_codecs::http1::{BodyOptions, RequestOptions, ResponseOptions};

use super::reader::{BodyPart, MessageReader, ReadError, RequestFacts};
use super::writer::BodyWriter;
use crate::reactor::fault::{Plan, Side};
use crate::reactor::{Options, Reactor, spawn};
use crate::test_support::{connected_pair, on_both_drivers};
use crate::transport_sockets::TransportSocket;

/// Three requests: with a length, in chunks, without a body.
const REQUESTS: &[u8] = b"POST /a HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\n\r\nhello\
    POST /b HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n\
    3\r\nGET\r\nb\r\n /smuggled \r\n0\r\n\r\n\
    GET /c HTTP/1.1\r\nhost: t\r\n\r\n";

const EXPECTED: [(&str, &str); 3] = [("/a", "hello"), ("/b", "GET /smuggled "), ("/c", "")];

const SEEDS: u64 = 200;

/// Runs `test` with a connected pair, accepted side last, under a fault plan.
fn with_pair(plan: &Plan, test: impl AsyncFn(TransportSocket, TransportSocket)) {
    on_both_drivers(|driver| {
        let options = Options {
            driver,
            buffer_count: 16,
            buffer_bytes: 4096,
            faults: Some(plan.clone()),
            ..Options::default()
        };
        Reactor::new(&options).unwrap().block_on(async {
            let (client, server) = connected_pair().await;
            test(client.into(), server.into()).await;
        });
    });
}

/// Reads requests until the end: complete ones, and how it ended.
async fn read_requests(stream: &TransportSocket) -> (Vec<(String, String)>, ReadError) {
    let mut reader = MessageReader::default();
    let mut read = Vec::new();
    loop {
        let mut headers = HeaderMap::new();
        let (requests, bodies) = (RequestOptions::default(), BodyOptions::default());
        let head =
            poll_fn(|cx| reader.poll_request(stream, &requests, &bodies, &mut headers, cx)).await;
        if let Err(error) = head {
            return (read, error);
        }
        let path = text(headers.get(HeaderId::Path).unwrap_or_default());
        match read_body(&mut reader, stream).await {
            Ok(body) => read.push((path, text(&body))),
            Err(error) => return (read, error),
        }
    }
}

async fn read_body(
    reader: &mut MessageReader,
    stream: &TransportSocket,
) -> Result<Vec<u8>, ReadError> {
    let mut trailers = HeaderMap::new();
    let mut body = Vec::new();
    loop {
        match poll_fn(|cx| reader.poll_body(stream, &mut trailers, cx)).await? {
            BodyPart::Data(data) => body.extend_from_slice(&data),
            BodyPart::End => return Ok(body),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn assert_is_prefix(read: &[(String, String)], what: &str) {
    for (n, (path, body)) in read.iter().enumerate() {
        assert_eq!((&**path, &**body), EXPECTED[n], "{what}");
    }
}

#[test]
fn messages_are_the_same_in_pieces_of_any_size() {
    for seed in 0..SEEDS {
        let plan = Plan {
            seed,
            recv_max: Some(1 + (seed % 23) as usize),
            send_max: Some(1 + (seed % 19) as usize),
            delay: (seed % 16 == 0).then_some(std::time::Duration::from_millis(1)),
            ..Plan::default()
        };
        with_pair(&plan, async |client, server| {
            client.write(REQUESTS);
            client.shutdown_write();
            let (read, end) = read_requests(&server).await;
            assert_eq!(read.len(), EXPECTED.len());
            assert_is_prefix(&read, "in pieces");
            assert!(matches!(end, ReadError::Closed), "{end:?}");
        });
    }
}

#[test]
fn a_reset_at_any_byte_leaves_only_whole_messages() {
    for position in 0..REQUESTS.len() as u64 {
        let plan = Plan {
            seed: position,
            side: Side::Accepted,
            recv_max: Some(9),
            reset_after: Some(position),
            ..Plan::default()
        };
        with_pair(&plan, async |client, server| {
            client.write(REQUESTS);
            let (read, end) = read_requests(&server).await;
            assert!(read.len() < EXPECTED.len());
            assert_is_prefix(&read, "before the reset");
            assert!(matches!(end, ReadError::Io(_)), "{end:?}");
        });
    }
}

#[test]
fn an_end_at_any_byte_is_known_for_what_it_is() {
    let is_between = |position: usize| {
        let sent = &REQUESTS[..position];
        sent.is_empty() || sent.ends_with(b"\r\n\r\nhello") || sent.ends_with(b"\r\n0\r\n\r\n")
    };
    let plan = Plan {
        recv_max: Some(40),
        ..Plan::default()
    };
    for position in 0..REQUESTS.len() {
        with_pair(&plan, async |client, server| {
            client.write(&REQUESTS[..position]);
            client.shutdown_write();
            let (read, end) = read_requests(&server).await;
            assert_is_prefix(&read, "before the end");
            match end {
                ReadError::Closed => assert!(is_between(position), "{position}"),
                ReadError::Truncated => assert!(!is_between(position), "{position}"),
                other => panic!("{position}: {other:?}"),
            }
        });
    }
}

/// What the writer frames is what the reader reads, under short sends.
#[test]
fn written_bodies_are_read_back() {
    for seed in 0..SEEDS {
        let plan = Plan {
            seed,
            recv_max: Some(1 + (seed % 300) as usize),
            send_max: Some(1 + (seed % 170) as usize),
            ..Plan::default()
        };
        with_pair(&plan, async |client, server| {
            let body: Vec<u8> = (0..2_000u32).map(|n| (n * 31 % 251) as u8).collect();
            let chunked = seed % 2 == 0;
            let sent = body.clone();
            drop(spawn(async move {
                let (writer, head): (_, &[u8]) = if chunked {
                    (
                        BodyWriter::Chunked,
                        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                    )
                } else {
                    (
                        BodyWriter::Plain,
                        b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n",
                    )
                };
                server.write(head);
                writer.bytes(&server, &[]);
                for part in sent.chunks(1 + seed as usize) {
                    writer.bytes(&server, part);
                }
                writer.end(&server, &HeaderMap::new());
                // The next response is not part of this one.
                server.write(b"HTTP/1.1 204 No Content\r\n\r\n");
                poll_fn(|cx| server.poll_writable(cx, 1)).await.unwrap();
            }));
            let mut reader = MessageReader::default();
            assert_eq!(read_status(&mut reader, &client).await, 200);
            assert!(
                read_body(&mut reader, &client).await.unwrap() == body,
                "seed {seed}"
            );
            assert_eq!(read_status(&mut reader, &client).await, 204);
            assert_eq!(read_body(&mut reader, &client).await.unwrap(), b"");
            assert!(!reader.has_unread());
        });
    }
}

async fn read_status(reader: &mut MessageReader, stream: &TransportSocket) -> u16 {
    let mut headers = HeaderMap::new();
    let (responses, bodies) = (ResponseOptions::default(), BodyOptions::default());
    let facts = RequestFacts::default();
    let head =
        poll_fn(|cx| reader.poll_response(stream, &responses, &bodies, facts, &mut headers, cx));
    head.await.expect("a head").status
}
