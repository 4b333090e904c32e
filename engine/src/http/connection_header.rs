//! The `Connection` header and what it governs: nominated headers, upgrades,
//! `TE`, and the removal of hop-by-hop headers (RFC 9110 section 7.6.1).

use super::value_copy::ValueCopy;
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::StringMatcher;

/// Why a `Connection` header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadConnection {
    /// Envoy's `http1.connection_header_rejected`: too many nominations, or of
    /// a header that must not vanish.
    Rejected,
    /// `Host` was nominated, and a request without it is refused.
    HostNominated,
}

/// Nominated headers allowed in one request, as in Envoy: each costs a search
/// of the list.
const NOMINATIONS_MAX: usize = 9;

/// Bytes of a `TE` header that is nominated, as in Envoy.
const NOMINATED_TE_BYTES_MAX: usize = 255;

/// Removes the headers that an HTTP/1 request's `Connection` nominates, before
/// any filter sees them.
///
/// `content-length` and `transfer-encoding` stay, which is stricter than
/// Envoy: the framing that the codec saw must be the framing that goes out.
pub fn remove_nominated(headers: &mut HeaderMap) -> Result<(), BadConnection> {
    let connection = match headers.get(HeaderId::Connection) {
        None => return Ok(()),
        Some(value) if is_plain(value) => return Ok(()),
        Some(value) => ValueCopy::of(value),
    };
    if tokens(&connection).count() > NOMINATIONS_MAX {
        return Err(BadConnection::Rejected);
    }
    for token in tokens(&connection) {
        remove_one(headers, &token.to_ascii_lowercase())?;
    }
    Ok(())
}

fn is_plain(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
}

fn remove_one(headers: &mut HeaderMap, name: &[u8]) -> Result<(), BadConnection> {
    match HeaderId::from_lower(name) {
        Some(
            HeaderId::Connection
            | HeaderId::KeepAlive
            | HeaderId::Upgrade
            | HeaderId::Http2Settings
            | HeaderId::ContentLength
            | HeaderId::TransferEncoding,
        ) => Ok(()),
        // Hiding where a request came from could change how it is judged.
        Some(HeaderId::XForwardedFor | HeaderId::XForwardedHost | HeaderId::XForwardedProto) => {
            Err(BadConnection::Rejected)
        }
        Some(HeaderId::Host) => Err(BadConnection::HostNominated),
        Some(HeaderId::Te) => {
            let te = headers.get(HeaderId::Te).unwrap_or_default();
            match te.len() > NOMINATED_TE_BYTES_MAX {
                true => Err(BadConnection::Rejected),
                // `keep_only_te_trailers` removes the rest.
                false => Ok(()),
            }
        }
        _ if name.starts_with(b":") => Err(BadConnection::Rejected),
        _ if name == b"close" => Ok(()),
        Some(id) => {
            headers.remove(id);
            Ok(())
        }
        None => {
            headers.remove_name(name);
            Ok(())
        }
    }
}

/// Whether a message asks for an upgrade: `Connection: upgrade` with an
/// `Upgrade` header.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains(HeaderId::Upgrade) && has_token(headers, HeaderId::Connection, b"upgrade")
}

/// Takes back a request's wish for HTTP/2 over cleartext, which is never
/// granted on this path: it goes on as a plain HTTP/1.1 request.
pub fn ignore_h2c_upgrade(headers: &mut HeaderMap) {
    let is_h2c = headers
        .get(HeaderId::Upgrade)
        .is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"h2c"));
    if is_h2c && is_upgrade(headers) {
        headers.remove(HeaderId::Upgrade);
        headers.remove(HeaderId::Http2Settings);
    }
}

/// Takes back a request's wish for the protocols that `ignored` matches: it goes
/// on as one that asks for the others, or for none.
pub fn ignore_upgrades(headers: &mut HeaderMap, ignored: &[StringMatcher]) {
    if !is_upgrade(headers) {
        return;
    }
    let asked = ValueCopy::of(headers.get(HeaderId::Upgrade).unwrap_or_default());
    let is_ignored = |protocol: &[u8]| ignored.iter().any(|matcher| matcher.matches(protocol));
    if !tokens(&asked).any(is_ignored) {
        return;
    }
    headers.set_with(HeaderId::Upgrade, |out| {
        let start = out.len();
        for protocol in tokens(&asked).filter(|protocol| !is_ignored(protocol)) {
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_slice(protocol);
        }
    });
    if headers.get(HeaderId::Upgrade).is_some_and(<[u8]>::is_empty) {
        headers.remove(HeaderId::Upgrade);
    }
}

/// Whether a list header holds `token`, in any case.
pub fn has_token(headers: &HeaderMap, id: HeaderId, token: &[u8]) -> bool {
    headers
        .get(id)
        .is_some_and(|value| tokens(value).any(|found| found.eq_ignore_ascii_case(token)))
}

/// Reduces a request's `TE` to `trailers`, which gRPC needs, or removes it:
/// this proxy codes and decodes transfers itself.
pub fn keep_only_te_trailers(headers: &mut HeaderMap) {
    let Some(value) = headers.get(HeaderId::Te) else {
        return;
    };
    let trailers = tokens(value).any(|token| token == b"trailers");
    match trailers {
        true => headers.set(HeaderId::Te, b"trailers"),
        false => {
            headers.remove(HeaderId::Te);
        }
    }
}

/// Removes from a request what concerns one connection only. An upgrade keeps
/// `Connection` and `Upgrade`, because it goes on to the upstream.
pub fn remove_request_hop_by_hop(headers: &mut HeaderMap, upgrade: bool) {
    if !upgrade {
        headers.remove(HeaderId::Connection);
        headers.remove(HeaderId::Upgrade);
        keep_only_te_trailers(headers);
    }
    headers.remove(HeaderId::KeepAlive);
    headers.remove(HeaderId::ProxyConnection);
    headers.remove(HeaderId::TransferEncoding);
}

/// Removes from a response what concerns one connection only. Headers that its
/// `Connection` nominates stay, as Envoy leaves them.
pub fn remove_response_hop_by_hop(headers: &mut HeaderMap, upgrade: bool) {
    if !upgrade {
        headers.remove(HeaderId::Connection);
        headers.remove(HeaderId::Upgrade);
    }
    headers.remove(HeaderId::TransferEncoding);
    headers.remove(HeaderId::KeepAlive);
    headers.remove(HeaderId::ProxyConnection);
}

/// The non-empty elements of a comma-separated list.
fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::test_headers::{headers, text};
    use super::*;
    use ringway_config::route::Case;

    const FIELDS: &str = "authorization: s\ncookie: c\nfoo-bar: y\nvia: v\n";

    #[test]
    fn ignored_upgrades_are_not_asked_for() {
        let ignored = [
            StringMatcher::Exact((*b"foo").into(), Case::Sensitive),
            StringMatcher::Prefix((*b"tls/").into(), Case::Insensitive),
        ];
        for (upgrade, left) in [
            ("foo", None),
            ("Foo", Some("Foo")),
            ("TLS/1.2", None),
            ("foo, TLS/1.0", None),
            ("bar, foo , baz", Some("bar,baz")),
            ("bar, baz", Some("bar, baz")),
        ] {
            let mut list = headers(&format!("connection: upgrade\nupgrade: {upgrade}\n"));
            ignore_upgrades(&mut list, &ignored);
            let found = list.get(HeaderId::Upgrade);
            assert_eq!(found, left.map(str::as_bytes), "{upgrade}");
        }
        let mut unasked = headers("connection: close\nupgrade: foo\n");
        ignore_upgrades(&mut unasked, &ignored);
        assert!(unasked.contains(HeaderId::Upgrade));
    }

    #[test]
    fn nominated_headers_are_removed() {
        for (connection, kept) in [
            ("Authorization", "cookie foo-bar via"),
            ("close, Authorization", "cookie foo-bar via"),
            ("cookie,FOO-Bar", "authorization via"),
            ("via", "authorization cookie foo-bar"),
            ("keep-alive", "authorization cookie foo-bar via"),
            ("Close", "authorization cookie foo-bar via"),
            ("foo-bar;x=1", "authorization cookie foo-bar via"),
            ("", "authorization cookie foo-bar via"),
            (",,", "authorization cookie foo-bar via"),
            ("a b", "authorization cookie foo-bar via"),
            ("a,b,c,d,e,f,g,h,via", "authorization cookie foo-bar"),
            ("connection", "authorization cookie foo-bar via"),
        ] {
            let mut map = headers(FIELDS);
            map.append(HeaderId::Connection, connection.as_bytes());
            assert_eq!(remove_nominated(&mut map), Ok(()), "{connection}");
            map.remove(HeaderId::Connection);
            let names: Vec<_> = map
                .iter()
                .map(|(name, _)| String::from_utf8_lossy(name.as_bytes()).into_owned())
                .collect();
            assert_eq!(names.join(" "), kept, "{connection}");
        }
    }

    #[test]
    fn what_may_not_be_nominated() {
        use BadConnection::{HostNominated, Rejected};
        for (connection, error) in [
            ("host", HostNominated),
            ("close, Host", HostNominated),
            ("x-forwarded-for", Rejected),
            ("X-Forwarded-Host", Rejected),
            ("x-forwarded-proto", Rejected),
            (":path", Rejected),
            (":foo", Rejected),
            ("a,b,c,d,e,f,g,h,i,j", Rejected),
        ] {
            let mut map = headers(FIELDS);
            map.append(HeaderId::Connection, connection.as_bytes());
            assert_eq!(remove_nominated(&mut map), Err(error), "{connection}");
        }
    }

    #[test]
    fn framing_is_never_nominated_away() {
        let mut map = headers("connection: content-length, transfer-encoding\ncontent-length: 5");
        assert_eq!(remove_nominated(&mut map), Ok(()));
        assert_eq!(map.get(HeaderId::ContentLength), Some(&b"5"[..]));
    }

    #[test]
    fn several_connection_headers_are_one_list() {
        let mut map = headers("connection: close\nconnection: Foo-Bar\nfoo-bar: 1\na: b");
        assert_eq!(remove_nominated(&mut map), Ok(()));
        assert_eq!(text(&map), "connection: close,Foo-Bar | a: b");
    }

    #[test]
    fn te() {
        for (te, left) in [
            ("te: trailers", "te: trailers"),
            ("te: gzip , trailers ", "te: trailers"),
            ("te: gzip\nte: trailers", "te: trailers"),
            ("te: Trailers", ""),
            ("te: trailers;q=1", ""),
            ("te: gzip", ""),
            ("te:", ""),
            ("a: b", "a: b"),
        ] {
            let mut map = headers(te);
            keep_only_te_trailers(&mut map);
            assert_eq!(text(&map), left, "{te}");
        }
        let long = format!("te: {},trailers", "g".repeat(300));
        let mut map = headers(&long);
        assert_eq!(remove_nominated(&mut map), Ok(()));
        map.append(HeaderId::Connection, b"te");
        assert_eq!(remove_nominated(&mut map), Err(BadConnection::Rejected));
    }

    #[test]
    fn upgrades() {
        for (fields, upgrade, after_h2c) in [
            ("connection: Upgrade\nupgrade: websocket", true, true),
            ("connection: keep-alive, upgrade\nupgrade: x", true, true),
            ("connection: upgrade", false, false),
            ("upgrade: x", false, false),
            (
                "connection: Upgrade, HTTP2-Settings\nupgrade: h2c\nhttp2-settings: AA",
                true,
                false,
            ),
            ("connection: Upgrade\nupgrade: H2C", true, false),
            ("connection: Upgrade\nupgrade: h2c, foo", true, true),
        ] {
            let mut map = headers(fields);
            assert_eq!(is_upgrade(&map), upgrade, "{fields}");
            ignore_h2c_upgrade(&mut map);
            assert_eq!(is_upgrade(&map), after_h2c, "{fields}");
            assert!(!map.contains(HeaderId::Http2Settings));
        }
    }

    #[test]
    fn hop_by_hop() {
        let fields = "connection: foo\nkeep-alive: t\nproxy-connection: p\nte: trailers, gzip\n\
            transfer-encoding: chunked\nupgrade: h3\ntrailer: t\nfoo: 1\nproxy-authorization: p";
        let mut map = headers(fields);
        remove_request_hop_by_hop(&mut map, false);
        assert_eq!(
            text(&map),
            "te: trailers | trailer: t | foo: 1 | proxy-authorization: p"
        );
        let mut map = headers(fields);
        remove_response_hop_by_hop(&mut map, false);
        assert_eq!(
            text(&map),
            "te: trailers, gzip | trailer: t | foo: 1 | proxy-authorization: p"
        );
        let mut map = headers("connection: upgrade\nupgrade: websocket\nkeep-alive: x");
        remove_request_hop_by_hop(&mut map, true);
        assert_eq!(text(&map), "connection: upgrade | upgrade: websocket");
    }
}
