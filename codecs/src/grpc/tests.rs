use super::*;

fn message(flags: u8, bytes: &[u8]) -> Message {
    Message {
        flags,
        bytes: bytes.to_vec(),
    }
}

#[test]
fn messages_are_put_together_however_they_arrive() {
    type Row = (
        &'static [u8],
        &'static [(u8, &'static [u8])],
        Result<bool, TooLarge>,
    );
    let table: &[Row] = &[
        (b"", &[], Ok(true)),
        (b"\0", &[], Ok(false)),
        (b"\0\0\0\0", &[], Ok(false)),
        (b"\0\0\0\0\0", &[(0, b"")], Ok(true)),
        (b"\x01\0\0\0\x02ab", &[(1, b"ab")], Ok(true)),
        (b"\0\0\0\0\x02a", &[], Ok(false)),
        (
            b"\0\0\0\0\x02ab\x80\0\0\0\0\xff\0\0\0\x01c",
            &[(0, b"ab"), (0x80, b""), (0xff, b"c")],
            Ok(true),
        ),
        (b"\0\0\0\0\x01a\0\0", &[(0, b"a")], Ok(false)),
        (
            b"\0\0\0\0\x01a\0\xff\xff\xff\xff",
            &[(0, b"a")],
            Err(TooLarge),
        ),
        (b"\0\0\x01\0\x01", &[], Err(TooLarge)),
        (b"\0\0\x01\0\0", &[], Ok(false)),
    ];
    for (bytes, expected, end) in table {
        let expected: Vec<_> = expected.iter().map(|(f, b)| message(*f, b)).collect();
        assert_eq!(fuzz::stream(bytes), (expected, *end), "{bytes:?}");
    }
}

#[test]
fn each_prefix_has_the_messages_that_are_complete_in_it() {
    let bytes = b"\0\0\0\0\x03abc\x01\0\0\0\0\0\0\0\0\x01d";
    let ends = [8, 13, 19];
    for end in 0..=bytes.len() {
        let (found, rest) = fuzz::stream(&bytes[..end]);
        assert_eq!(found.len(), ends.iter().filter(|at| **at <= end).count());
        assert_eq!(rest, Ok(end == 0 || ends.contains(&end)), "{end}");
    }
}

#[test]
fn a_frame_counts_from_its_first_byte() {
    let mut reader = FrameReader::default();
    let mut counts = Vec::new();
    for byte in b"\0\0\0\0\x01x\0" {
        let mut input = std::slice::from_ref(byte);
        while reader.next(&mut input).is_some() {}
        counts.push(reader.begun());
    }
    assert_eq!(counts, [1, 1, 1, 1, 1, 1, 2]);
}

#[test]
fn headers_are_read_as_they_are_written() {
    for (flags, length) in [
        (0, 0),
        (1, 1),
        (COMPRESSED, 0x0102_0304),
        (TRAILERS, u32::MAX),
    ] {
        let bytes = header(flags, length);
        let mut input = &bytes[..];
        let read = FrameReader::default().next(&mut input);
        assert_eq!(read, Some(Part::Begin { flags, length }));
    }
}

#[test]
fn paths_name_a_service_and_a_method() {
    for (path, expected) in [
        ("/a.B/C", Some(("a.B", "C"))),
        ("/a.B/C?x=/y", Some(("a.B", "C"))),
        ("a.B/C", Some(("a.B", "C"))),
        ("//a.B//C/", Some(("a.B", "C"))),
        ("/a.B", None),
        ("/a.B/", None),
        ("/a/b/c", None),
        ("/", None),
        ("", None),
    ] {
        let found = service_and_method(path.as_bytes());
        let expected = expected.map(|(s, m): (&str, &str)| (s.as_bytes(), m.as_bytes()));
        assert_eq!(found, expected, "{path}");
    }
}
