//! Whether the first bytes of a connection are HTTP, and which version, without
//! reading more than the first line. That is less strict than reading a
//! request: what is wrong with it is found by whoever serves it.

use super::chars::is_token;

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inspected {
    /// The beginning of HTTP, as far as can be said.
    Incomplete,
    /// Any version of HTTP/1 but 1.1, and what Envoy takes for such.
    Http10,
    /// HTTP/1.1
    Http11,
    /// The preface of HTTP/2 (RFC 9113 section 3.4).
    Http2,
    /// Something else.
    NotHttp,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Says what all bytes that have arrived so far are. In the first `known` of
/// them there is no end of a line.
#[must_use]
pub fn inspect(bytes: &[u8], known: usize) -> Inspected {
    if bytes.starts_with(PREFACE) {
        return Inspected::Http2;
    }
    if PREFACE.starts_with(bytes) {
        return Inspected::Incomplete;
    }
    let is_method_over = |byte: &u8| is_blank(*byte);
    let method = bytes.iter().position(|byte| !is_token(*byte));
    if method.is_some_and(|end| end == 0 || !is_method_over(&bytes[end])) {
        return Inspected::NotHttp;
    }
    // Those of a preface that turned out to be none may have an end.
    let known = if bytes.len() > PREFACE.len() {
        known
    } else {
        0
    };
    match memchr::memchr(b'\n', bytes.get(known..).unwrap_or_default()) {
        None => Inspected::Incomplete,
        Some(end) => line(&bytes[..known + end]),
    }
}

fn line(line: &[u8]) -> Inspected {
    let end = line.iter().rposition(|byte| !is_blank(*byte));
    let line = &line[..end.map_or(0, |last| last + 1)];
    let (method, rest) = word(line);
    let (target, version) = word(rest);
    let is_target = match target {
        [] => false,
        _ if method == b"CONNECT" => true,
        [b'/' | b'*', ..] => true,
        other => has_scheme(other),
    };
    if !is_target || target.iter().any(|byte| *byte >= 0x7f) {
        return Inspected::NotHttp;
    }
    match version {
        // HTTP/0.9
        b"" => Inspected::Http10,
        b"HTTP/1.1" => Inspected::Http11,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Inspected::Http10
        }
        _ => Inspected::NotHttp,
    }
}

/// The first word, and what follows the blanks behind it.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = line.iter().position(is_space).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let next = rest.iter().position(|byte| !is_space(byte));
    (word, &rest[next.unwrap_or(rest.len())..])
}

/// `scheme://`, as RFC 3986 section 3.1 spells schemes.
fn has_scheme(target: &[u8]) -> bool {
    let Some(end) = memchr::memmem::find(target, b"://") else {
        return false;
    };
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    match &target[..end] {
        [first, rest @ ..] => first.is_ascii_alphabetic() && rest.iter().all(is_part),
        [] => false,
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// What must hold whatever a client sends first: the pieces in which it arrives
/// make no difference.
///
/// # Panics
/// When it does not hold.
pub fn check(data: &[u8]) -> Inspected {
    let whole = inspect(data, 0);
    let mut known = 0;
    let mut in_pieces = Inspected::Incomplete;
    for length in 1..=data.len() {
        in_pieces = inspect(&data[..length], known);
        if in_pieces != Inspected::Incomplete {
            break;
        }
        known = length;
    }
    assert_eq!(whole, in_pieces, "at once and byte by byte");
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Envoy 1.40 took each of them.
    #[test]
    fn first_lines() {
        use Inspected::{Http10, Http11, Incomplete, NotHttp};
        for (line, expected) in [
            (&b"GET / HTTP/1.1"[..], Http11),
            (b"GET / HTTP/1.0", Http10),
            (b"GET / HTTP/1.2", Http10),
            (b"GET / HTTP/0.9", Http10),
            (b"GET / HTTP/2.0", Http10),
            (b"GET /", Http10),
            (b"get / HTTP/1.1 \t", Http11),
            (b"GET\t / \tHTTP/1.1", Http11),
            (b"M-SEARCH * HTTP/1.1", Http11),
            (b"1GET *x HTTP/1.1", Http11),
            (b"GET h-t://x HTTP/1.1", Http11),
            (b"CONNECT foo HTTP/1.1", Http11),
            (b"CONNECT [::1]:80 HTTP/1.0", Http10),
            (b"GET /\x01\0\"<>{} HTTP/1.1", Http11),
            (b"GET foo HTTP/1.1", NotHttp),
            (b"GET http:/foo HTTP/1.1", NotHttp),
            (b"GET ://x HTTP/1.1", NotHttp),
            (b"GET 1http://x HTTP/1.1", NotHttp),
            (b"GET /\xff HTTP/1.1", NotHttp),
            (b"GET /\x7f HTTP/1.1", NotHttp),
            (b"GET /a b HTTP/1.1", NotHttp),
            (b"GET  HTTP/1.1", NotHttp),
            (b"GET ", NotHttp),
            (b"GET", NotHttp),
            (b"", NotHttp),
            (b" GET / HTTP/1.1", NotHttp),
            (b"\r", NotHttp),
            (b"G(T / HTTP/1.1", NotHttp),
            (b"GE/ HTTP/1.1", NotHttp),
            (b"GET / HTTP/1.10", NotHttp),
            (b"GET / HTTP/1", NotHttp),
            (b"GET / HTTP/a.1", NotHttp),
            (b"GET / http/1.1", NotHttp),
            (b"GET / HTTP/1.1 x", NotHttp),
            (b"\x16\x03\x01\0\x05\x01", NotHttp),
        ] {
            for end in [&b"\r\n"[..], b"\n", b"\r\nhost: a\r\n\r\n"] {
                let bytes = [line, end].concat();
                assert_eq!(check(&bytes), expected, "{}", bytes.escape_ascii());
            }
            if expected != NotHttp {
                assert_eq!(check(line), Incomplete, "{}", line.escape_ascii());
            }
        }
        assert_eq!(check(b"GE/"), NotHttp);
        assert_eq!(check(b""), Incomplete);
    }

    #[test]
    fn prefaces() {
        assert_eq!(check(PREFACE), Inspected::Http2);
        assert_eq!(check(&[PREFACE, b"more"].concat()), Inspected::Http2);
        for length in 0..PREFACE.len() {
            assert_eq!(check(&PREFACE[..length]), Inspected::Incomplete);
        }
        // It has a first line, whatever follows.
        let mut other = PREFACE.to_vec();
        other[20] = b'X';
        assert_eq!(check(&other), Inspected::Http10);
        assert_eq!(check(b"PRI * HTTP/2.0\nmore"), Inspected::Http10);
    }
}
