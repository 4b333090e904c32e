//! Escaping of values that have just been appended to a line, in place: no
//! second buffer, and nothing but a scan when there is nothing to escape.
//!
//! Values come from clients. A line end in one of them must never begin a
//! line of its own, nor end a JSON string. Envoy writes `%QUERY_PARAM(X)%` of
//! `?X=%0a…` with a real line end into text logs; here it is escaped.

/// Replaces control bytes in `out[start..]` by `\xNN`. The tab stays: it is
/// allowed in header values and ends no line.
pub(super) fn text(out: &mut Vec<u8>, start: usize) {
    const LENGTH: usize = 4;
    expand(out, start, |byte| match byte {
        b'\t' | b' '..=b'~' | 0x80.. => None,
        _ => {
            let [high, low] = hex(byte);
            Some(([b'\\', b'x', high, low, 0, 0], LENGTH))
        }
    });
}

/// Makes `out[start..]` the inside of a JSON string. What is not UTF-8 is
/// taken as Latin-1, as Envoy does, so that the line stays valid JSON.
pub(super) fn json(out: &mut Vec<u8>, start: usize) {
    let latin1 = std::str::from_utf8(&out[start..]).is_err();
    expand(out, start, |byte| {
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0..0x20 => return Some(unicode(byte)),
            0x80.. if latin1 => return Some(unicode(byte)),
            _ => return None,
        };
        Some(([b'\\', short, 0, 0, 0, 0], 2))
    });
}

/// The longest escape is `\u00NN`.
type Escape = ([u8; 6], usize);

fn unicode(byte: u8) -> Escape {
    let [high, low] = hex(byte);
    ([b'\\', b'u', b'0', b'0', high, low], 6)
}

fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]
}

/// Replaces the bytes of `out[start..]` for which `escape` knows an escape.
fn expand(out: &mut Vec<u8>, start: usize, escape: impl Fn(u8) -> Option<Escape>) {
    let extra: usize = out[start..]
        .iter()
        .filter_map(|b| escape(*b))
        .map(|(_, length)| length - 1)
        .sum();
    if extra == 0 {
        return;
    }
    // From the back, so that no byte is overwritten before it was moved.
    let mut from = out.len();
    let mut to = from + extra;
    out.resize(to, 0);
    while from > start {
        from -= 1;
        match escape(out[from]) {
            None => {
                to -= 1;
                out[to] = out[from];
            }
            Some((bytes, length)) => {
                to -= length;
                out[to..to + length].copy_from_slice(&bytes[..length]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(escape: fn(&mut Vec<u8>, usize), value: &[u8]) -> Vec<u8> {
        let mut out = b"\n".to_vec();
        out.extend_from_slice(value);
        escape(&mut out, 1);
        assert_eq!(out[0], b'\n', "what stood before is not touched");
        out.remove(0);
        out
    }

    #[test]
    fn text_has_no_control_bytes() {
        for (value, expected) in [
            (&b"plain"[..], &b"plain"[..]),
            (b"", b""),
            (b"a\r\nb", b"a\\x0d\\x0ab"),
            (b"\n\n", b"\\x0a\\x0a"),
            (b"a\tb", b"a\tb"),
            (b"\0\x1b[0m\x7f", b"\\x00\\x1b[0m\\x7f"),
            (b"say \"hi\" \\", b"say \"hi\" \\"),
            (b"\xc3\xa9\xff", b"\xc3\xa9\xff"),
        ] {
            assert_eq!(escaped(text, value), expected);
        }
    }

    #[test]
    fn json_is_the_inside_of_a_string() {
        for (value, expected) in [
            (&b"plain/<>&'"[..], &b"plain/<>&'"[..]),
            (b"\"\\", b"\\\"\\\\"),
            (
                b"\x08\x0c\n\r\t\0\x1f\x7f",
                b"\\b\\f\\n\\r\\t\\u0000\\u001f\x7f",
            ),
            ("é €😀\u{2028}".as_bytes(), "é €😀\u{2028}".as_bytes()),
            (b"\xc3\xa9\xff\x80", b"\\u00c3\\u00a9\\u00ff\\u0080"),
        ] {
            assert_eq!(escaped(json, value), expected);
        }
    }

    #[test]
    fn any_bytes_make_one_valid_json_string_and_one_text_line() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..2_000 {
            let value: Vec<u8> = (0..random.usize(..24)).map(|_| random.u8(..)).collect();
            let mut line = b"\"".to_vec();
            line.extend_from_slice(&escaped(json, &value));
            line.push(b'"');
            let back: String = serde_json::from_slice(&line).expect("valid JSON");
            match std::str::from_utf8(&value) {
                Ok(utf8) => assert_eq!(back, utf8),
                Err(_) => assert_eq!(
                    back,
                    value.iter().map(|b| char::from(*b)).collect::<String>()
                ),
            }
            assert!(!escaped(text, &value).iter().any(|b| b"\r\n\0".contains(b)));
        }
    }
}
