//! What logs tell of the size of streams: it is what the client has sent and
//! received, frame by frame, in Envoy and here.

use crate::PATIENCE;
use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::http2::{
    self, END_HEADERS, END_STREAM, Received, data, frame, get, headers, kind, request, reset,
};
use ringway_tests::logs;
use ringway_tests::observation::Scene;
use ringway_tests::origin::Act;
use ringway_tests::patience;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

const LISTENERS: &[Listener] = &[Listener {
    name: "wire",
    manager: r#"
access_log:
- name: file
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
    path: "{DIR}/wire.log"
    log_format:
      text_format_source:
        inline_string: "%DOWNSTREAM_WIRE_BYTES_RECEIVED% %DOWNSTREAM_HEADER_BYTES_RECEIVED% %DOWNSTREAM_WIRE_BYTES_SENT% %DOWNSTREAM_HEADER_BYTES_SENT% %DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED% %DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT%\n"
"#,
    hosts: r#"
- name: all
  domains: ["*"]
  # Its length is a matter of time.
  response_headers_to_remove: [ x-envoy-upstream-service-time ]
  routes:
  - match: { prefix: "/direct" }
    direct_response: { status: 200, body: { inline_string: "direct" } }
  - match: { prefix: "/" }
    route: { cluster: origin }
"#,
}];

/// What a client sends, and whether it waits for all of the response.
fn exchanges() -> Vec<(&'static str, Vec<u8>, bool)> {
    let post = |more: &str| request(1, "POST", "/x", more, false);
    let block = http2::block(":method: GET\n:scheme: http\n:path: /direct\n:authority: a");
    vec![
        ("direct", get(1, "/direct", ""), true),
        ("forwarded", get(1, "/x", "x-own: 1\ncookie: a=1"), true),
        ("late end", get(1, "/x", ""), true),
        (
            "headers in pieces",
            [
                frame(kind::HEADERS, END_STREAM, 1, &block[..10]),
                frame(kind::CONTINUATION, END_HEADERS, 1, &block[10..]),
            ]
            .concat(),
            true,
        ),
        (
            "padded headers",
            frame(
                kind::HEADERS,
                END_STREAM | END_HEADERS | 8,
                1,
                &[&[30][..], &block, &[0; 30]].concat(),
            ),
            true,
        ),
        (
            "body",
            [
                post(""),
                data(1, &[b'x'; 1000], false),
                frame(kind::DATA, 8, 1, &[2, b'a', b'b', 0, 0]),
                frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
                data(1, b"", true),
            ]
            .concat(),
            true,
        ),
        (
            "trailers",
            [
                post(""),
                data(1, b"abc", false),
                headers(1, "x-t: 1\nx-other: 2", true),
            ]
            .concat(),
            true,
        ),
        (
            "taken back",
            [get(1, "/stuck", ""), reset(1, 8)].concat(),
            false,
        ),
    ]
}

/// What is logged, less what the client knows of.
fn play(scene: &Scene, (name, frames, waits): &(&str, Vec<u8>, bool)) -> String {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\n";
    scene.origin.play(match waits {
        // The end finds the stream waiting for it.
        true if *name == "late end" => vec![
            Act::Read,
            Act::Send([&answer[..], &[b'y'; 39_000]].concat()),
            Act::Wait(Duration::from_millis(50)),
            Act::Send(vec![b'y'; 1000]),
        ],
        true => vec![
            Act::Read,
            Act::Send([&answer[..], &[b'y'; 40_000]].concat()),
        ],
        false => vec![Act::ReadHead, Act::ReadToEnd],
    });
    let path = scene.process.folder().join("wire.log");
    let start = std::fs::metadata(&path).map_or(0, |log| log.len() as usize);
    let mut client = TcpStream::connect(scene.address("wire")).expect("a connection");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client.write_all(&http2::preface()).expect("it is read");
    client.write_all(frames).expect("it is read");
    let received = match waits {
        true => read_response(&mut client),
        false => Vec::new(),
    };
    let lines = logs::await_lines(&path, start, 1, PATIENCE);
    let line = lines.first().expect("it is logged");
    let logged: Vec<i64> = line
        .split(' ')
        .map(|part| part.parse().expect("a number"))
        .collect();
    let sent = http2::frames(frames);
    let is_message = |frame: &&Received| frame.kind != kind::PRIORITY;
    let [wire_in, wire_out] = [&sent, &received].map(|all| size(all.iter().filter(is_message)));
    let is_of_headers =
        |frame: &&Received| matches!(frame.kind, kind::HEADERS | kind::CONTINUATION);
    let [head_in, head_out] = [&sent, &received].map(|all| size(all.iter().filter(is_of_headers)));
    format!(
        "{name}: {} {} {} {}, decompressed {} {}",
        logged[0] - wire_in,
        logged[1] - head_in,
        logged[2] - wire_out,
        logged[3] - head_out,
        logged[4],
        logged[5],
    )
}

/// Headers that go on in another frame are one for Envoy.
fn size<'a>(frames: impl Iterator<Item = &'a Received>) -> i64 {
    let head = |frame: &Received| i64::from(frame.kind != kind::CONTINUATION) * 9;
    frames
        .map(|frame| head(frame) + frame.payload.len() as i64)
        .sum()
}

/// The frames of stream 1, to its end.
fn read_response(client: &mut TcpStream) -> Vec<Received> {
    let mut bytes = Vec::new();
    let mut part = vec![0; 65_536];
    loop {
        let mut frames = http2::frames(&bytes);
        frames.retain(|frame| frame.stream == 1);
        if frames
            .iter()
            .any(|frame| frame.kind <= kind::HEADERS && frame.flags & END_STREAM != 0)
        {
            return frames;
        }
        let count = patience::read(&mut *client, &mut part).expect("a response");
        assert!(count > 0, "{frames:?}");
        bytes.extend_from_slice(&part[..count]);
    }
}

#[test]
fn what_is_logged_is_what_the_client_has_seen() {
    let seen = as_in_envoy("what_is_logged_is_what_the_client_has_seen", |program| {
        let scene = Scene::start(program, LISTENERS, |ports| {
            cluster("origin", ports.origin, "")
        });
        let all = exchanges();
        all.iter().map(|one| play(&scene, one)).collect::<Vec<_>>()
    });
    for line in seen.into_iter().flatten() {
        assert!(line.contains(": 0 0 0 0, "), "{line}");
    }
}
