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
/// `local_port` is the port that the client connected to. As in Envoy, a CONNECT
/// loses no port but the listener's own: it is half of what is asked for.
pub fn normalize_host(
    headers: &mut HeaderMap,
    strip_trailing_dot: bool,
    strip_port: StripPort,
    local_port: Option<u16>,
) {
    if !strip_trailing_dot && strip_port == StripPort::Never {
        return;
    }
    let Some(authority) = headers.get(HeaderId::Authority) else {
        return;
    };
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
    let is_connect = || headers.get(HeaderId::Method) == Some(b"CONNECT");
    let keeps_port = strip_port == StripPort::Any && is_connect();
    let drops_port = !keeps_port && drops_port(port, strip_port, local_port);
    if dot.is_none() && !drops_port {
        return;
    }
    headers.set_with(HeaderId::Authority, |out| {
        match dot {
            Some(dot) if dot < host.len() => {
                out.extend_from_slice(&host[..dot]);
                out.extend_from_slice(&host[dot + 1..]);
            }
            _ => out.extend_from_slice(host),
        }
        if !drops_port {
            out.extend_from_slice(port);
        }
    });
}

/// The last dot, if it ends the host.
fn trailing_dot(authority: &[u8]) -> Option<usize> {
    let dot = memchr::memrchr(b'.', authority)?;
    matches!(authority.get(dot + 1), None | Some(b':')).then_some(dot)
}

/// `port` begins with its colon. Something that is no number stays.
fn drops_port(port: &[u8], strip_port: StripPort, local_port: Option<u16>) -> bool {
    let number = || {
        let digits = std::str::from_utf8(port.get(1..)?).ok()?;
        digits.parse::<u32>().ok()
    };
    match strip_port {
        StripPort::Never => false,
        StripPort::Any => number().is_some(),
        StripPort::Matching => {
            number().is_some_and(|number| local_port.map(u32::from) == Some(number))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_keeps_its_port() {
        for (host, strip_port, expected) in [
            ("a:443", StripPort::Any, "a:443"),
            ("a:8080", StripPort::Any, "a:8080"),
            ("a:443", StripPort::Matching, "a:443"),
            ("a:8080", StripPort::Matching, "a"),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(HeaderId::Method, b"CONNECT");
            headers.append(HeaderId::Authority, host.as_bytes());
            normalize_host(&mut headers, false, strip_port, Some(8080));
            let found = headers.get(HeaderId::Authority);
            assert_eq!(found, Some(expected.as_bytes()), "{host} {strip_port:?}");
        }
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
