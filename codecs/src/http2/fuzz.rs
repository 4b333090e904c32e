//! What must hold for any bytes whatsoever: shared by the fuzz target and the
//! table tests. Not part of the API.

use super::{Frame, FrameScanner, HEAD_BYTES, PREFACE_BYTES};

/// Scans what a server or a client sends in pieces of each of some sizes. The
/// pieces make no difference, and every byte belongs to a frame or is the
/// beginning of one. Gives the frames.
pub fn frames(bytes: &[u8], of_client: bool) -> Vec<Frame> {
    let whole = scan(bytes, of_client, bytes.len().max(1));
    for size in [1, 2, 3, 5, 8, 9, 10, 17, 64] {
        assert_eq!(scan(bytes, of_client, size), whole, "in pieces of {size}");
    }
    let skipped = if of_client { PREFACE_BYTES as usize } else { 0 };
    let mut rest = bytes.get(skipped..).unwrap_or_default();
    for (place, frame) in whole.iter().enumerate() {
        let is_last = place + 1 == whole.len();
        let length = frame.wire_bytes() as usize;
        assert!(rest.len() >= length || is_last, "{frame:?}");
        assert_eq!(rest[3..5], [frame.kind, frame.flags]);
        rest = rest.get(length..).unwrap_or_default();
    }
    // Not even the longest of what is looked at.
    assert!(rest.len() < HEAD_BYTES + 8);
    whole
}

fn scan(bytes: &[u8], of_client: bool, size: usize) -> Vec<Frame> {
    let mut scanner = match of_client {
        true => FrameScanner::of_client(),
        false => FrameScanner::of_server(),
    };
    let mut found = Vec::new();
    for mut piece in bytes.chunks(size) {
        while let Some(frame) = scanner.next(&mut piece) {
            found.push(frame);
        }
        assert!(piece.is_empty());
    }
    found
}
