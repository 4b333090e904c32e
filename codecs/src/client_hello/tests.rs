//! Messages as clients send them, and as they must not be.

use super::fuzz::check;
use super::{CLIENT_HELLO_BYTES_MAX, ClientHello, ClientHelloReader, Progress};

/// A field with its length in front.
fn field(length_bytes: usize, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u32).to_be_bytes();
    [&length[4 - length_bytes..], data].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &field(2, data)].concat()
}

fn name(kind: u8, name: &[u8]) -> Vec<u8> {
    extension(0, &field(2, &[&[kind][..], &field(2, name)].concat()))
}

fn protocols(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = names.iter().flat_map(|name| field(1, name)).collect();
    extension(16, &field(2, &list))
}

/// A message with these extensions; `None` is no list of them.
fn message(extensions: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(field(1, &[1, 2, 3]));
    body.extend(field(2, &[0x13, 0x01]));
    body.extend(field(1, &[0]));
    if let Some(extensions) = extensions {
        body.extend(field(2, extensions));
    }
    [&[1][..], &field(3, &body)].concat()
}

/// It in records of at most so many bytes.
fn records(message: &[u8], bytes_max: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1][..], &field(2, part)].concat();
    message.chunks(bytes_max).flat_map(record).collect()
}

fn hello(server_name: Option<&str>, protocols: &[&[u8]]) -> Progress {
    Progress::Complete(ClientHello {
        server_name: server_name.map(Box::from),
        protocols: protocols.iter().map(|name| (*name).into()).collect(),
        ..ClientHello::default()
    })
}

#[test]
fn what_clients_ask_for() {
    let both = [
        extension(10, &[0, 2, 0, 29]),
        name(0, b"A.test"),
        protocols(&[b"h2", b"http/1.1"]),
    ]
    .concat();
    for (extensions, expected) in [
        (None, hello(None, &[])),
        (Some(&[][..]), hello(None, &[])),
        (Some(&name(0, b"a")), hello(Some("a"), &[])),
        (Some(&protocols(&[b"x"])), hello(None, &[b"x"])),
        (Some(&both), hello(Some("A.test"), &[b"h2", b"http/1.1"])),
    ] {
        let message = message(extensions);
        for bytes_max in [1, 3, 4, 40, 16_384] {
            let sent = records(&message, bytes_max);
            assert_eq!(check(&sent), expected, "records of {bytes_max}");
            // What comes behind is of no interest.
            assert_eq!(check(&[&sent[..], b"more"].concat()), expected);
            for end in 0..sent.len() {
                assert_eq!(check(&sent[..end]), Progress::Incomplete, "{end}");
            }
        }
    }
}

#[test]
fn what_is_none() {
    let with = |extensions: &[u8]| records(&message(Some(extensions)), 16_384);
    let mut trailing = message(Some(&[]));
    trailing.push(0);
    trailing[3] += 1;
    for (what, sent) in [
        ("a request", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("another record", vec![23, 3, 1, 0, 1]),
        ("another version", vec![22, 2]),
        ("an empty record", vec![22, 3, 1, 0, 0]),
        ("a record that is too long", vec![22, 3, 1, 0x40, 1]),
        ("another message", vec![22, 3, 1, 0, 1, 2]),
        ("bytes behind extensions", records(&trailing, 16_384)),
        ("half an extension", with(&[0, 9, 0])),
        (
            "an extension twice",
            with(&[extension(9, &[]), extension(9, &[])].concat()),
        ),
        ("an empty name", with(&name(0, b""))),
        ("a name with a zero", with(&name(0, b"a\0b"))),
        ("a name that is no text", with(&name(0, b"\xff"))),
        ("a long name", with(&name(0, &[b'a'; 256]))),
        ("another kind of name", with(&name(1, b"a"))),
        ("no list of names", with(&extension(0, &[]))),
        ("no protocols", with(&protocols(&[]))),
        ("an empty protocol", with(&protocols(&[b"h2", b""]))),
        ("half a protocol", with(&extension(16, &[0, 2, 3, b'h']))),
    ] {
        assert_eq!(check(&sent), Progress::NotTls, "{what}");
    }
}

#[test]
fn no_more_is_read_than_may_be() {
    let with = |bytes: usize| message(Some(&extension(9, &vec![0; bytes])));
    for (bytes, record_bytes, expected) in [
        (20_000, 16_000, Progress::NotTls),
        (16_340, 16_000, Progress::NotTls),
        (16_200, 16_384, hello(None, &[])),
        (16_200, 500, Progress::TooLarge),
    ] {
        let seen = check(&records(&with(bytes), record_bytes));
        assert_eq!(seen, expected, "{bytes} in {record_bytes}");
    }
    // Known by the record's length, before it has come.
    let mut reader = ClientHelloReader::new(CLIENT_HELLO_BYTES_MAX);
    let sent = records(&with(20_000), 16_384);
    assert_eq!(reader.read(&sent[..5]), Progress::TooLarge);
    let fits = records(&message(Some(&extension(9, &[0; 200]))), 16_384);
    for (bytes_max, complete) in [(fits.len(), true), (100, false), (0, false)] {
        let seen = ClientHelloReader::new(bytes_max).read(&fits);
        assert_eq!(seen == hello(None, &[]), complete, "{bytes_max}");
        assert_eq!(seen == Progress::TooLarge, !complete, "{bytes_max}");
    }
}

#[test]
fn a_byte_changed_anywhere_does_no_harm() {
    let message = message(Some(
        &[name(0, b"a.test"), protocols(&[b"h2", b"http/1.1"])].concat(),
    ));
    let sent = records(&message, 30);
    for place in 0..sent.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = sent.clone();
            changed[place] = value;
            check(&changed);
        }
    }
}
