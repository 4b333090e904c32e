//! The methods that are let through.

use super::chars;

/// Whether a method is let in. With `allow_custom_methods` any token is, also
/// the one that the preface of HTTP/2 begins with: where that is spoken, the
/// preface is looked for before.
#[inline]
pub(super) fn is_let_in(method: &[u8], allow_custom_methods: bool) -> bool {
    is_known(method) || allow_custom_methods && is_custom(method)
}

#[cold]
fn is_custom(method: &[u8]) -> bool {
    !method.is_empty() && method.iter().all(|&b| chars::is_token(b))
}

/// True for the methods that Envoy 1.40 forwards. Any other token gets 400
/// there, and so it does here: routing rules can then rely on a closed set.
#[inline]
fn is_known(method: &[u8]) -> bool {
    matches!(
        method,
        b"GET" | b"POST" | b"PUT" | b"HEAD" | b"DELETE" | b"OPTIONS" | b"PATCH"
    ) || RARE.contains(&method)
}

/// Found by asking Envoy: HTTP's other methods, QUERY, and those of WebDAV,
/// versioning, UPnP (its `MSEARCH` has no dash) and caches.
const RARE: &[&[u8]] = &[
    b"CONNECT",
    b"TRACE",
    b"QUERY",
    b"PURGE",
    b"ACL",
    b"BIND",
    b"CHECKOUT",
    b"COPY",
    b"LINK",
    b"LOCK",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MOVE",
    b"MSEARCH",
    b"NOTIFY",
    b"PROPFIND",
    b"PROPPATCH",
    b"REBIND",
    b"REPORT",
    b"SEARCH",
    b"SOURCE",
    b"SUBSCRIBE",
    b"UNBIND",
    b"UNLINK",
    b"UNLOCK",
    b"UNSUBSCRIBE",
];
