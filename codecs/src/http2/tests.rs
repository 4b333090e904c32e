use super::fuzz::frames;
use super::{END_STREAM, Frame, FrameScanner, PADDED, PREFACE_BYTES, Told, kind};

/// A frame, as bytes, of this many bytes of payload that begins like this.
fn bytes(kind: u8, flags: u8, stream: u32, payload: &[u8], length: usize) -> Vec<u8> {
    let mut out = (length as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out.resize(9 + length, 0xaa);
    out
}

fn frame(kind: u8, flags: u8, stream: u32, length: u32, told: Told) -> Frame {
    Frame {
        kind,
        flags,
        stream,
        length,
        told,
    }
}

#[test]
fn frames_are_told_of() {
    let nothing = Told::Nothing;
    let cases: &[(&[u8], Frame)] = &[
        (&bytes(kind::DATA, 0, 1, b"", 0), frame(0, 0, 1, 0, nothing)),
        (
            &bytes(kind::DATA, END_STREAM, 3, b"abc", 70_000),
            frame(0, 1, 3, 70_000, nothing),
        ),
        (
            &bytes(kind::DATA, PADDED, 3, &[4], 5),
            frame(0, 8, 3, 5, Told::Padding(5)),
        ),
        // Longer than its frame: whoever reads it finds out.
        (
            &bytes(kind::HEADERS, PADDED | 4, 5, &[255], 1),
            frame(1, 12, 5, 1, Told::Padding(256)),
        ),
        (
            &bytes(kind::HEADERS, PADDED, 5, &[], 0),
            frame(1, 8, 5, 0, nothing),
        ),
        (
            &bytes(kind::RST_STREAM, 0, 7, &[0, 0, 1, 8], 4),
            frame(3, 0, 7, 4, Told::Reset(264)),
        ),
        (
            &bytes(kind::RST_STREAM, 0, 7, &[0, 0, 1], 3),
            frame(3, 0, 7, 3, nothing),
        ),
        (
            &bytes(kind::GOAWAY, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 11], 20),
            frame(7, 0, 0, 20, Told::GoAway(11)),
        ),
        (
            &bytes(kind::GOAWAY, 0, 0, &[0; 7], 7),
            frame(7, 0, 0, 7, nothing),
        ),
        // The top bit of the stream's number is reserved.
        (
            &bytes(kind::WINDOW_UPDATE, 0, (1 << 31) | 9, &[], 4),
            frame(8, 0, 9, 4, nothing),
        ),
        (
            &bytes(0xff, 0xff, 0x7fff_ffff, &[], 0xff_ffff),
            frame(0xff, 0xff, 0x7fff_ffff, 0xff_ffff, nothing),
        ),
    ];
    let mut all = (Vec::new(), Vec::new());
    for (bytes, expected) in cases {
        // What is long is cut off: it changes nothing.
        let short = &bytes[..bytes.len().min(1000)];
        assert_eq!(frames(short, false), [*expected]);
        if bytes.len() < 100_000 {
            all.0.extend_from_slice(bytes);
            all.1.push(*expected);
        }
    }
    assert_eq!(frames(&all.0, false), all.1);
    let preface = [&[b'P'; PREFACE_BYTES as usize][..], &all.0].concat();
    assert_eq!(frames(&preface, true), all.1);
}

#[test]
fn a_connection_may_be_cut_anywhere() {
    let all = [
        bytes(kind::SETTINGS, 0, 0, &[], 18),
        bytes(kind::HEADERS, PADDED | 5, 1, &[3], 30),
        bytes(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8], 4),
        bytes(kind::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 2], 8),
        bytes(kind::DATA, 1, 3, b"", 12),
    ]
    .concat();
    let whole = frames(&all, false);
    assert_eq!(whole.len(), 5);
    for at in 0..=all.len() {
        let mut scanner = FrameScanner::of_server();
        let (mut first, mut second) = all.split_at(at);
        let mut found = Vec::new();
        for piece in [&mut first, &mut second] {
            while let Some(frame) = scanner.next(piece) {
                found.push(frame);
            }
        }
        assert_eq!(found, whole, "cut at {at}");
    }
}

#[test]
fn a_frame_is_told_of_before_its_payload_is_there() {
    let data = bytes(kind::DATA, 0, 1, &[], 100);
    let mut scanner = FrameScanner::of_server();
    assert_eq!(scanner.next(&mut &data[..8]), None);
    assert!(scanner.next(&mut &data[8..9]).is_some());
    assert_eq!(scanner.next(&mut &data[9..]), None);
}

#[test]
fn what_carries_and_ends_nothing_is_idle() {
    let is_idle = |bytes: &[u8]| frames(bytes, false)[0].is_idle();
    assert!(is_idle(&bytes(kind::DATA, 0, 1, b"", 0)));
    assert!(is_idle(&bytes(kind::DATA, PADDED, 1, &[9], 10)));
    assert!(!is_idle(&bytes(kind::DATA, PADDED, 1, &[9], 11)));
    assert!(!is_idle(&bytes(kind::DATA, END_STREAM, 1, b"", 0)));
    assert!(!is_idle(&bytes(kind::CONTINUATION, 0, 1, b"", 1)));
}

#[test]
fn any_bytes_are_scanned() {
    let mut seed = 1_u32;
    for length in 0..300 {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Small numbers make short frames.
                ((seed >> 24) as u8) & (seed >> 16) as u8 & (seed >> 8) as u8
            })
            .collect();
        drop(frames(&bytes, length % 2 == 0));
    }
}
