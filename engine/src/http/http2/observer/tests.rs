use std::rc::Rc;

use ringway_codecs::http2::{END_HEADERS, END_STREAM, kind};
use ringway_config::http2_protocol_options::FrameLimits;

use super::{Flood, Observer, Refusal};
use crate::http::http2::stream_bytes::StreamBytes;
use crate::stream_info::details;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn headers(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS, stream, &[0x82; 20])
}

fn reset(stream: u32, reason: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &reason.to_be_bytes())
}

fn of_client(closes: bool) -> Rc<Observer> {
    let observer = Observer::of_client(FrameLimits::default(), closes);
    receive(&observer, &[b'P'; 24]);
    observer
}

fn of_host(head_bytes_max: u32) -> Rc<Observer> {
    Observer::of_host(FrameLimits::default(), head_bytes_max)
}

/// All of it may be read.
fn receive(observer: &Observer, bytes: &[u8]) {
    assert_eq!(observer.on_received(bytes), bytes.len());
}

#[test]
fn bytes_are_those_of_their_stream() {
    let observer = of_client(false);
    receive(&observer, &headers(1));
    receive(&observer, &headers(3));
    let (one, three) = (observer.take(1), observer.take(3));
    // In pieces, and with what is no part of a message between.
    for byte in frame(kind::DATA, 0, 3, &[0; 100]) {
        receive(&observer, &[byte]);
    }
    receive(&observer, &frame(kind::WINDOW_UPDATE, 0, 3, &[0, 0, 0, 1]));
    receive(
        &observer,
        &frame(kind::CONTINUATION, END_HEADERS, 3, &[0; 5]),
    );
    observer.on_sent(&frame(kind::HEADERS, END_HEADERS, 3, &[0; 7]));
    observer.on_sent(&frame(kind::DATA, END_STREAM, 3, &[0; 11]));
    observer.on_sent(&frame(kind::PING, 1, 0, &[0; 8]));
    let bytes = |received, header_received, sent, header_sent| StreamBytes {
        received,
        header_received,
        sent,
        header_sent,
    };
    assert_eq!(one.take_bytes(), bytes(29, 29, 0, 0));
    assert_eq!(three.take_bytes(), bytes(29 + 109 + 5, 34, 36, 16));
    assert_eq!(three.take_bytes(), StreamBytes::default());
    drop(three);
    receive(&observer, &reset(1, 8));
    receive(&observer, &reset(3, 8));
    assert!(one.is_reset_by_peer());
    assert_eq!(one.take_bytes(), bytes(13, 0, 0, 0));
    assert!(!observer.has_news());
}

#[test]
fn headers_are_on_their_way_until_somebody_has_them() {
    let observer = of_client(false);
    assert_eq!(observer.unfinished_head(), None);
    receive(&observer, &headers(1));
    assert_eq!(observer.unfinished_head(), Some(1));
    let one = observer.take(1);
    assert_eq!(observer.unfinished_head(), None);
    // As soon as their frame has begun.
    receive(&observer, &headers(3)[..9]);
    assert_eq!(observer.unfinished_head(), Some(3));
    receive(&observer, &headers(3)[9..]);
    receive(&observer, &frame(kind::CONTINUATION, 0, 3, &[0; 5]));
    assert_eq!(observer.unfinished_head(), Some(3));
    drop(one);
    drop(observer.take(3));
    assert_eq!(observer.unfinished_head(), None);
    // Nobody will ever have these.
    receive(&observer, &headers(5));
    observer.on_sent(&reset(5, 7));
    assert_eq!(observer.unfinished_head(), None);
    receive(&observer, &headers(7));
    receive(&observer, &reset(7, 8));
    assert_eq!(observer.unfinished_head(), None);
}

#[test]
fn streams_of_a_host_are_known_when_they_are_asked_for() {
    let observer = of_host(u32::MAX);
    let stream = observer.take(1);
    observer.on_sent(&[b'P'; 24]);
    observer.on_sent(&headers(1));
    receive(&observer, &headers(1));
    // It is not the host that begins streams.
    receive(&observer, &headers(2));
    let bytes = stream.take_bytes();
    assert_eq!((bytes.sent, bytes.received), (29, 29));
    assert_eq!(observer.next_refused(), None);
}

#[test]
fn streams_that_nobody_sees_are_told_of() {
    for closes in [false, true] {
        let observer = of_client(closes);
        for stream in [1, 3, 5, 7, 9] {
            receive(&observer, &headers(stream));
        }
        let _seen = (observer.take(1), observer.take(9));
        observer.on_sent(&reset(1, 8));
        assert!(!observer.has_news());
        observer.on_sent(&reset(3, 7));
        assert!(!observer.is_over());
        // A response of the library's own, and that it takes no more.
        observer.on_sent(&headers(5));
        observer.on_sent(&reset(5, 0));
        observer.on_sent(&reset(7, 1));
        assert!(observer.has_news());
        assert_eq!(observer.is_over(), closes);
        assert_eq!(observer.take_messaging_errors(), 1);
        let mut told: Vec<_> = std::iter::from_fn(|| observer.next_refused()).collect();
        told.sort_by_key(|(_, bytes)| bytes.sent);
        let refusals: Vec<_> = told
            .iter()
            .map(|(refusal, bytes)| (*refusal, bytes.sent))
            .collect();
        assert_eq!(
            refusals.iter().filter(|(_, sent)| *sent == 13).count(),
            2,
            "{refusals:?}"
        );
        assert!(refusals.contains(&(Refusal::TooMany, 13)));
        assert!(refusals.contains(&(Refusal::Malformed, 13)));
        assert!(refusals.contains(&(Refusal::TooLarge, 42)));
        assert_eq!(observer.has_news(), closes);
        assert_eq!(observer.forget_unseen(), None);
    }
}

#[test]
fn a_body_that_is_not_as_long_as_was_said_breaks_no_message() {
    let observer = of_client(true);
    receive(&observer, &headers(1));
    let _seen = observer.take(1);
    receive(&observer, &frame(kind::DATA, END_STREAM, 1, b"x"));
    observer.on_sent(&reset(1, 1));
    assert_eq!(
        (observer.take_messaging_errors(), observer.is_over()),
        (0, false)
    );
    // Its trailers do.
    receive(&observer, &headers(3));
    let _seen = observer.take(3);
    receive(&observer, &frame(kind::DATA, 0, 3, b"x"));
    receive(&observer, &headers(3));
    observer.on_sent(&reset(3, 1));
    assert_eq!(
        (observer.take_messaging_errors(), observer.is_over()),
        (1, true)
    );
}

#[test]
fn an_error_of_the_connection_is_why_streams_end() {
    let observer = of_client(false);
    receive(&observer, &headers(1));
    receive(&observer, &headers(3));
    let seen = observer.take(1);
    observer.on_sent(&frame(kind::GOAWAY, 0, 0, &[0; 8]));
    assert_eq!(seen.end_details(), None);
    observer.on_sent(&frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 1]));
    assert_eq!(seen.end_details(), Some(details::HTTP2_CODEC_ERROR));
    assert!(observer.ends_in_headers());
    seen.note_malformed();
    assert_eq!(seen.end_details(), Some(details::HTTP2_MESSAGING_RULE));
    // It is counted already.
    observer.on_sent(&reset(1, 1));
    assert_eq!(observer.take_messaging_errors(), 1);
    let unseen = observer.forget_unseen();
    assert_eq!(unseen, Some(details::HTTP2_INVALID_HEADER_FIELD));
    assert_eq!(observer.forget_unseen(), None);
}

/// What the library does with a stream that nobody has seen, and what that says
/// of it: that it breaks the rules is known at once where its headers came last,
/// and otherwise when it is asked for.
#[test]
fn what_a_refusal_says_is_found_out() {
    let data = || frame(kind::DATA, END_STREAM, 1, b"x");
    let prioritised = || frame(kind::PRIORITY, 0, 1, &[0; 5]);
    let continued = || frame(kind::CONTINUATION, END_HEADERS, 1, &[0; 5]);
    let cases = [
        ("headers", vec![], reset(1, 1), Refusal::Malformed, 1, 1),
        (
            "in pieces",
            continued(),
            reset(1, 1),
            Refusal::Malformed,
            1,
            1,
        ),
        ("with a body", data(), reset(1, 1), Refusal::Malformed, 0, 1),
        (
            "with more",
            prioritised(),
            reset(1, 1),
            Refusal::Malformed,
            0,
            1,
        ),
        ("too many", data(), reset(1, 7), Refusal::TooMany, 0, 0),
        ("too large", data(), headers(1), Refusal::TooLarge, 0, 0),
    ];
    for (name, behind, sent, refusal, at_once, in_all) in cases {
        for closes in [false, true] {
            let observer = of_client(closes);
            receive(&observer, &[headers(1), behind.clone()].concat());
            observer.on_sent(&sent);
            let mut errors = observer.take_messaging_errors();
            assert_eq!(errors, at_once, "{name}");
            assert_eq!(observer.is_over(), closes && at_once > 0, "{name}");
            let told = observer.next_refused().map(|(refusal, _)| refusal);
            assert_eq!(told, Some(refusal), "{name}");
            errors += observer.take_messaging_errors();
            assert_eq!(errors, in_all, "{name}");
            assert_eq!(observer.is_over(), closes && in_all > 0, "{name}");
            assert_eq!(observer.next_refused(), None, "{name}");
        }
    }
}

/// Headers of a host that the library refuses: they are too large on the wire, or
/// there is something wrong with them.
#[test]
fn headers_that_are_too_large_are_no_mistake() {
    let more = |bytes| frame(kind::CONTINUATION, END_HEADERS, 1, &vec![0; bytes]);
    let cases = [
        ("as large as allowed", vec![headers(1)], false),
        ("in pieces", vec![headers(1), more(10)], false),
        ("larger", vec![headers(1), more(11)], true),
        (
            "a small head behind a large one",
            vec![headers(1), more(11), headers(1)],
            false,
        ),
    ];
    for (name, frames, is_large) in cases {
        let observer = of_host(30);
        let stream = observer.take(1);
        receive(&observer, &frames.concat());
        observer.on_sent(&[&[b'P'; 24][..], &reset(1, 1)].concat());
        assert_eq!(stream.has_large_head(), is_large, "{name}");
        assert_eq!(stream.is_malformed(), !is_large, "{name}");
        let errors = observer.take_messaging_errors();
        assert_eq!(errors, u64::from(!is_large), "{name}");
    }
}

/// What came last before the library announced the end, and what is made of it.
#[test]
fn the_frame_that_ended_a_connection_is_the_last_that_could() {
    let acknowledgement = frame(kind::SETTINGS, 1, 0, &[]);
    let settings = frame(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]);
    let ping = frame(kind::PING, 0, 0, &[0; 8]);
    let data = frame(kind::DATA, 0, 1, b"x");
    let cases = [
        ("headers", vec![headers(1)], true),
        (
            "headers in pieces",
            vec![headers(1), frame(kind::CONTINUATION, 0, 1, &[0; 5])],
            true,
        ),
        (
            "an acknowledgement",
            vec![headers(1), acknowledgement.clone()],
            true,
        ),
        ("settings", vec![headers(1), settings], false),
        ("a ping", vec![headers(1), ping], false),
        ("a body", vec![headers(1), data.clone()], false),
        (
            "a body and an acknowledgement",
            vec![headers(1), data, acknowledgement],
            false,
        ),
        ("an even number", vec![headers(2)], false),
        (
            "an even number behind another",
            vec![headers(1), headers(2)],
            false,
        ),
    ];
    for (name, frames, in_headers) in cases {
        let observer = of_client(false);
        receive(&observer, &frames.concat());
        observer.on_sent(&frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 1]));
        assert_eq!(observer.ends_in_headers(), in_headers, "{name}");
        assert_eq!(observer.end_details(), Some(details::HTTP2_CODEC_ERROR));
        let told = std::iter::from_fn(|| observer.forget_unseen()).collect::<Vec<_>>();
        let expected = match (name, in_headers) {
            ("an even number", _) => vec![],
            (_, true) => vec![details::HTTP2_INVALID_HEADER_FIELD],
            (_, false) => vec![details::HTTP2_CODEC_ERROR],
        };
        assert_eq!(told, expected, "{name}");
    }
}

/// Numbers that begin a stream: a client's, and each above those before it.
#[test]
fn streams_begin_with_numbers_of_the_client_only() {
    let cases: [(&[u32], usize); 5] = [
        (&[1, 3, 5], 3),
        (&[2, 4], 0),
        (&[5, 3], 1),
        (&[2, 3], 1),
        (&[3, 3, 0], 1),
    ];
    for (numbers, known) in cases {
        let observer = of_client(false);
        for number in numbers {
            receive(&observer, &headers(*number));
        }
        observer.end_for("all");
        let told = std::iter::from_fn(|| observer.forget_unseen()).count();
        assert_eq!(told, known, "{numbers:?}");
    }
}

/// How many of these are borne behind what came before.
fn borne(observer: &Observer, unit: &[u8]) -> u32 {
    for count in 0..10_000 {
        let read = observer.on_received(unit);
        if observer.is_over() {
            // Nothing behind its head.
            assert_eq!(read, 9 + usize::from(unit[4] == 8));
            return count;
        }
        assert_eq!(read, unit.len());
    }
    10_000
}

#[test]
fn too_much_of_what_costs_little_is_found() {
    let priority = frame(kind::PRIORITY, 0, 1, &[0; 5]);
    let window = frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let empty = frame(kind::DATA, 0, 1, &[]);
    let padded = frame(kind::DATA, 8, 1, &[3, 0, 0, 0]);
    let cases = [
        (&priority, 100, 200, Flood::Priority),
        (&window, 5, 27, Flood::WindowUpdate),
        (&empty, 1, 1, Flood::Empty),
        (&padded, 1, 1, Flood::Empty),
    ];
    for (unit, alone, with_stream, flood) in cases {
        let observer = of_client(false);
        assert_eq!(borne(&observer, unit), alone, "{flood:?}");
        assert_eq!(observer.flood(), Some(flood));
        assert!(observer.has_news());
        // An open stream that has got a part of its response.
        let observer = of_client(false);
        receive(&observer, &headers(1));
        let seen = observer.take(1);
        observer.on_sent(&frame(kind::DATA, 0, 1, b"x"));
        assert_eq!(borne(&observer, unit), with_stream, "{flood:?}");
        observer.end_for("all");
        let expected = match flood {
            Flood::Empty => details::HTTP2_EMPTY_FRAMES,
            _ => "all",
        };
        assert_eq!(seen.end_details(), Some(expected));
    }
    let observer = of_client(false);
    for _ in 0..100 {
        receive(&observer, &empty);
        receive(&observer, &frame(kind::DATA, 0, 1, b"x"));
    }
    assert!(!observer.is_over());
}

#[test]
fn a_notice_goes_between_frames_and_not_into_headers() {
    let observer = of_client(false);
    let sent = [
        (frame(kind::SETTINGS, 0, 0, &[0; 12]), true),
        (frame(kind::HEADERS, 0, 1, &[0x82; 20]), false),
        (frame(kind::CONTINUATION, 0, 1, &[0x82; 5]), false),
        (frame(kind::CONTINUATION, END_HEADERS, 1, &[]), true),
        (frame(kind::DATA, 0, 1, &[b'x'; 100]), true),
        (frame(kind::RST_STREAM, 0, 1, &[0; 4]), true),
        (frame(kind::HEADERS, END_HEADERS | END_STREAM, 3, &[]), true),
    ];
    assert!(!observer.takes_notice());
    for (frame, has_end) in sent {
        for (at, byte) in frame.iter().enumerate() {
            observer.owe_notice();
            observer.on_sent(&[*byte]);
            let is_end = has_end && at + 1 == frame.len();
            assert_eq!(observer.takes_notice(), is_end, "byte {at} of {frame:?}");
            // Once is enough.
            assert!(!is_end || !observer.takes_notice());
        }
    }
}

#[test]
fn limits_are_as_they_are_configured() {
    let limits = FrameLimits {
        idle_in_a_row: 0,
        priorities_per_stream: u32::MAX,
        window_updates_per_data: u32::MAX,
    };
    let observer = Observer::of_client(limits, false);
    receive(&observer, &[b'P'; 24]);
    observer.on_sent(&frame(kind::DATA, 0, 1, b"x"));
    let (priority, window) = (kind::PRIORITY, kind::WINDOW_UPDATE);
    assert_eq!(borne(&observer, &frame(priority, 0, 1, &[0; 5])), 10_000);
    assert_eq!(borne(&observer, &frame(window, 0, 0, &[0; 4])), 10_000);
    assert_eq!(borne(&observer, &frame(kind::DATA, 0, 1, &[])), 0);
}
