use super::{Invalid, Protocol, Transport, fuzz, read_reply, write_call};
use Protocol::{Binary, Compact, LaxBinary};
use Transport::{Framed, Header, Unframed};

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = (hexadecimal.chars())
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] * 16 + pair[1])
        .collect()
}

/// The calls are those of Envoy 1.40, received from it.
#[test]
fn calls_are_those_of_envoy() {
    for (transport, protocol, call) in [
        (
            Framed,
            Binary,
            "00000012 80010001 00000004 70696e67 00000000 0000",
        ),
        (
            Framed,
            LaxBinary,
            "0000000f 00000004 70696e67 01 00000000 0000",
        ),
        (Framed, Compact, "0000000a 822100 04 70696e67 0000"),
        (Unframed, Binary, "80010001 00000004 70696e67 00000000 0000"),
        (Unframed, LaxBinary, "00000004 70696e67 01 00000000 0000"),
        (Unframed, Compact, "822100 04 70696e67 0000"),
        (
            Header,
            Binary,
            "00000020 0fff0000 00000000 0001 00000000 80010001 00000004 70696e67 00000000 0000",
        ),
        (
            Header,
            Compact,
            "00000018 0fff0000 00000000 0001 02000000 822100 04 70696e67 0000",
        ),
    ] {
        let mut out = Vec::new();
        write_call(transport, protocol, b"ping", &mut out);
        assert_eq!(out, bytes(call), "{transport:?} {protocol:?}");
    }
    let mut out = Vec::new();
    write_call(Unframed, Compact, &[b'x'; 300], &mut out);
    assert_eq!(out[..5], bytes("822100 ac02"));
}

/// Answers with what Envoy 1.40 takes them for; those for which it ends itself
/// are invalid.
const ANSWERS: &[(Transport, Protocol, &str, Result<bool, Invalid>)] = &[
    (
        Framed,
        Binary,
        "00000011 80010002 00000004 70696e67 00000000 00",
        Ok(true),
    ),
    // Another number, and another name.
    (
        Framed,
        Binary,
        "00000011 80010002 00000004 706f6e67 00000009 00",
        Ok(true),
    ),
    // A returned text.
    (
        Framed,
        Binary,
        "0000001a 80010002 00000004 70696e67 00000000 0b0000 00000002 6f6b 00",
        Ok(true),
    ),
    // An exception of the method's own, and one of the host's.
    (
        Framed,
        Binary,
        "00000015 80010002 00000004 70696e67 00000000 0c0001 00 00",
        Ok(false),
    ),
    (
        Framed,
        Binary,
        "00000021 80010003 00000004 70696e67 00000000 0b0001 00000002 6e6f 080002 00000001 00",
        Ok(false),
    ),
    (
        Framed,
        Binary,
        "00000011 80010001 00000004 70696e67 00000000 00",
        Ok(false),
    ),
    (
        Framed,
        Binary,
        "00000011 80010004 00000004 70696e67 00000000 00",
        Ok(false),
    ),
    (
        Framed,
        Binary,
        "00000011 80010009 00000004 70696e67 00000000 00",
        Err(Invalid),
    ),
    (
        Framed,
        Binary,
        "0000000e 00000004 70696e67 02 00000000 00",
        Err(Invalid),
    ),
    (Framed, Binary, "ffffffff", Err(Invalid)),
    (Framed, Binary, "00000000", Err(Invalid)),
    (
        Framed,
        LaxBinary,
        "0000000e 00000004 70696e67 02 00000000 00",
        Ok(true),
    ),
    (Framed, Compact, "00000009 824100 04 70696e67 00", Ok(true)),
    (
        Framed,
        Compact,
        "0000000e 824100 04 70696e67 0800 02 6f6b 00",
        Ok(true),
    ),
    (
        Framed,
        Compact,
        "0000000a 824100 04 70696e67 1c 00",
        Ok(false),
    ),
    (
        Framed,
        Compact,
        "0000000f 826100 04 70696e67 18 02 6e6f 15 02 00",
        Ok(false),
    ),
    (
        Framed,
        Compact,
        "00000009 824200 04 70696e67 00",
        Err(Invalid),
    ),
    (
        Framed,
        Compact,
        "00000009 8241 ffffffffff 0000",
        Err(Invalid),
    ),
    (
        Unframed,
        Binary,
        "80010002 00000004 70696e67 00000000 00",
        Ok(true),
    ),
    (
        Unframed,
        LaxBinary,
        "00000004 70696e67 03 00000000",
        Ok(false),
    ),
    (Unframed, LaxBinary, "80010002", Err(Invalid)),
    (
        Header,
        Binary,
        "0000001f 0fff0000 00000000 0001 00000000 80010002 00000004 70696e67 00000000 00",
        Ok(true),
    ),
    (
        Header,
        Compact,
        "00000017 0fff0000 00000000 0001 02000000 824100 04 70696e67 00",
        Ok(true),
    ),
    // A transform that nobody asked for.
    (
        Header,
        Compact,
        "00000017 0fff0000 00000000 0001 02010100 824100 04 70696e67 00",
        Err(Invalid),
    ),
    (
        Header,
        Binary,
        "00000017 0fff0000 00000000 0001 02000000 824100 04 70696e67 00",
        Err(Invalid),
    ),
    (
        Header,
        Binary,
        "00000011 80010002 00000004 70696e67 00000000 00",
        Err(Invalid),
    ),
    // An answer in HTTP.
    (Framed, Binary, "485454502f312e31", Err(Invalid)),
];

#[test]
fn answers_are_results_or_not_byte_by_byte() {
    for &(transport, protocol, answer, expected) in ANSWERS {
        let answer_bytes = bytes(answer);
        let found = read_reply(transport, protocol, &answer_bytes);
        let result = found.map(|reply| reply.expect("the answer is complete").is_result);
        assert_eq!(result, expected, "{transport:?} {protocol:?} {answer}");
        fuzz::check(&answer_bytes);
        // A frame says where it ends.
        if let (Ok(Some(reply)), true) = (found, transport != Unframed) {
            assert_eq!(reply.bytes, Some(answer_bytes.len()), "{answer}");
        }
    }
}
