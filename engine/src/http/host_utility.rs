//! `:authority` on its way to route matching: ports and a trailing dot.

use super::value_copy::ValueCopy;
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::port_start;

/// Which ports are taken off the authority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StripPort {
    /// None.
    #[default]
    Never,
    /// `strip_matching_host_port`: the listener's own.
    Matching,
    /// `strip_any_host_port`.
    Any,
}

/// Applies `strip_trailing_host_dot` and the port rules, in this order.
/// `local_port` is the port that the client connected to. Gives the port that
/// was taken off.
pub fn normalize_host(
    headers: &mut HeaderMap,
    strip_trailing_dot: bool,
    strip_port: StripPort,
    local_port: Option<u16>,
) -> Option<u32> {
    if !strip_trailing_dot && strip_port == StripPort::Never {
        return None;
    }
    let authority = headers.get(HeaderId::Authority)?;
    let dot = if strip_trailing_dot {
        trailing_dot(authority)
    } else {
        None
    };
    let copy = ValueCopy::of(authority);
    let (host, port) = match port_start(&copy) {
        Some(start) => copy.split_at(start),
        None => (&copy[..], &b""[..]),
    };
    let dropped = dropped_port(port, strip_port, local_port);
    if dot.is_none() && dropped.is_none() {
        return None;
    }
    headers.set_with(HeaderId::Authority, |out| {
        match dot {
            Some(dot) if dot < host.len() => {
                out.extend_from_slice(&host[..dot]);
                out.extend_from_slice(&host[dot + 1..]);
            }
            _ => out.extend_from_slice(host),
        }
        if dropped.is_none() {
            out.extend_from_slice(port);
        }
    });
    dropped
}

/// Gives the authority of a CONNECT its port back, unless it has one: without
/// it nobody knows what is asked for.
pub fn restore_port(headers: &mut HeaderMap, port: u32) {
    let authority = headers.get(HeaderId::Authority).unwrap_or_default();
    if port_start(authority).is_some() {
        return;
    }
    let host = ValueCopy::of(authority);
    headers.set_with(HeaderId::Authority, |out| {
        out.extend_from_slice(&host);
        out.push(b':');
        out.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
    });
}

/// The last dot, if it ends the host.
fn trailing_dot(authority: &[u8]) -> Option<usize> {
    let dot = memchr::memrchr(b'.', authority)?;
    matches!(authority.get(dot + 1), None | Some(b':')).then_some(dot)
}

/// `port` begins with its colon. Something that is no number stays.
fn dropped_port(port: &[u8], strip_port: StripPort, local_port: Option<u16>) -> Option<u32> {
    let number = || {
        let digits = std::str::from_utf8(port.get(1..)?).ok()?;
        digits.parse().ok()
    };
    match strip_port {
        StripPort::Never => None,
        StripPort::Any => number(),
        StripPort::Matching => number().filter(|number| local_port.map(u32::from) == Some(*number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_was_taken_off_can_come_back() {
        for (host, strip_port, taken, restored) in [
            ("a:443", StripPort::Any, Some(443), "a:443"),
            ("a:0443", StripPort::Any, Some(443), "a:443"),
            ("[::1]:80", StripPort::Any, Some(80), "[::1]:80"),
            ("a:443", StripPort::Matching, None, "a:443"),
            ("a:8080", StripPort::Matching, Some(8080), "a:8080"),
            ("a:8080", StripPort::Never, None, "a:8080"),
            ("a", StripPort::Any, None, "a"),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(HeaderId::Authority, host.as_bytes());
            let found = normalize_host(&mut headers, false, strip_port, Some(8080));
            assert_eq!(found, taken, "{host} {strip_port:?}");
            if let Some(port) = found {
                restore_port(&mut headers, port);
            }
            let found = headers.get(HeaderId::Authority);
            assert_eq!(found, Some(restored.as_bytes()), "{host} {strip_port:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(HeaderId::Authority, b"other:1");
        restore_port(&mut headers, 443);
        assert_eq!(headers.get(HeaderId::Authority), Some(&b"other:1"[..]));
    }

    /// What the upstream of Envoy 1.40 saw, for a listener on port 8080.
    #[test]
    fn as_envoy_does() {
        use StripPort::{Any, Matching, Never};
        for (host, matching, any, dot, dot_any) in [
            ("a:8080", "a", "a", "a:8080", "a"),
            ("a:80", "a:80", "a", "a:80", "a"),
            ("a.", "a.", "a.", "a", "a"),
            ("a.:80", "a.:80", "a.", "a:80", "a"),
            ("a.:8080", "a.", "a.", "a:8080", "a"),
            ("[::1]:80", "[::1]:80", "[::1]", "[::1]:80", "[::1]"),
            ("[::1]", "[::1]", "[::1]", "[::1]", "[::1]"),
            ("a:", "a:", "a:", "a:", "a:"),
            ("a:x", "a:x", "a:x", "a:x", "a:x"),
            ("a..", "a..", "a..", "a.", "a."),
            (".", ".", ".", "", ""),
            ("a:080", "a:080", "a", "a:080", "a"),
            ("a:+80", "a:+80", "a", "a:+80", "a"),
            (":80", ":80", "", ":80", ""),
            ("a.b", "a.b", "a.b", "a.b", "a.b"),
            ("", "", "", "", ""),
        ] {
            for (strip_dot, strip_port, expected) in [
                (false, Never, host),
                (false, Matching, matching),
                (false, Any, any),
                (true, Never, dot),
                (true, Any, dot_any),
            ] {
                let mut headers = HeaderMap::new();
                headers.append(HeaderId::Authority, host.as_bytes());
                normalize_host(&mut headers, strip_dot, strip_port, Some(8080));
                assert_eq!(
                    headers.get(HeaderId::Authority),
                    Some(expected.as_bytes()),
                    "{host} {strip_dot} {strip_port:?}"
                );
            }
        }
    }
}
