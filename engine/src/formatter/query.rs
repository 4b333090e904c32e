//! The query of a path: `?a=1&b=2`.

/// What follows the first question mark.
pub(super) fn of(path: &[u8]) -> Option<&[u8]> {
    let mark = memchr::memchr(b'?', path)?;
    Some(&path[mark + 1..])
}

/// The path up to its query.
pub(super) fn without(path: &[u8]) -> &[u8] {
    &path[..memchr::memchr(b'?', path).unwrap_or(path.len())]
}

/// Appends the first value of the parameter `name`, percent-decoded; false
/// when there is none. Bad escapes are copied as they are, and `+` is a plus.
pub(super) fn write_parameter(path: &[u8], name: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(query) = of(path) else {
        return false;
    };
    for parameter in query.split(|b| *b == b'&') {
        let equals = memchr::memchr(b'=', parameter);
        let (key, value) = match equals {
            Some(at) => (&parameter[..at], &parameter[at + 1..]),
            None => (parameter, &b""[..]),
        };
        if key == name {
            decode(value, out);
            return true;
        }
    }
    false
}

fn decode(mut value: &[u8], out: &mut Vec<u8>) {
    while let Some(percent) = memchr::memchr(b'%', value) {
        out.extend_from_slice(&value[..percent]);
        let digits = value.get(percent + 1..percent + 3).and_then(|d| {
            let high = char::from(d[0]).to_digit(16)?;
            let low = char::from(d[1]).to_digit(16)?;
            Some((high * 16 + low) as u8)
        });
        match digits {
            Some(byte) => {
                out.push(byte);
                value = &value[percent + 3..];
            }
            None => {
                out.push(b'%');
                value = &value[percent + 1..];
            }
        }
    }
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(path: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        write_parameter(path.as_bytes(), b"q", &mut out).then_some(out)
    }

    /// The answers are those of Envoy 1.40.
    #[test]
    fn parameters_are_found_and_decoded() {
        for (path, expected) in [
            ("/u/x?q=a%0aF%20%22%00%zz%4", Some(&b"a\nF \"\0%zz%4"[..])),
            ("/?a=1&q=2&q=3", Some(b"2")),
            ("/?q", Some(b"")),
            ("/?Q=1", None),
            ("/?q=a+b", Some(b"a+b")),
            ("/?=5&q=", Some(b"")),
            ("/?q=%c3%A9%ff", Some(b"\xc3\xa9\xff")),
            ("/?q=a=b", Some(b"a=b")),
            ("/q=1", None),
            ("", None),
            ("?", None),
            ("/?q=%", Some(b"%")),
        ] {
            assert_eq!(parameter(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_path_is_split_at_its_first_question_mark() {
        assert_eq!(of(b"/a?b?c"), Some(&b"b?c"[..]));
        assert_eq!(of(b"/a"), None);
        assert_eq!(without(b"/a?b?c"), b"/a");
        assert_eq!(without(b"/a"), b"/a");
    }
}
