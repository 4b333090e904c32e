//! The `Location` of a route's `redirect`.

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::format_strings::FormatId;
use ringway_config::route::{PathRedirect, Redirect, SchemeRedirect, escape_path, without_query};
use std::io::Write;

/// The URL of the request itself: Envoy points to it in direct responses whose
/// status wants a `Location`.
pub const SAME_PLACE: Redirect = Redirect {
    status: 302,
    scheme: SchemeRedirect::Keep,
    host: None,
    port: None,
    path: PathRedirect::Keep,
    strip_query: false,
};

/// Puts the new URL for a request into the response, as Envoy composes it. The
/// request's path is the rewritten one if the redirect rewrites it; `format`
/// appends what a format string says of the request.
pub fn set_location(
    redirect: &Redirect,
    request: &HeaderMap,
    response: &mut HeaderMap,
    format: impl FnOnce(FormatId, &mut Vec<u8>),
) {
    response.set_with(HeaderId::Location, |out| {
        write_location(redirect, request, format, out);
    });
}

/// Puts the URL of a request that should have come over TLS into the response:
/// the same with `https`, its port kept. None for a CONNECT, which has no path.
/// Gives the status.
pub fn set_tls_location(request: &HeaderMap, response: &mut HeaderMap) -> u16 {
    if let Some(path) = request.get(HeaderId::Path) {
        response.set_with(HeaderId::Location, |out| {
            out.extend_from_slice(b"https://");
            out.extend_from_slice(request.get(HeaderId::Authority).unwrap_or_default());
            out.extend_from_slice(path);
        });
    }
    301
}

/// Appends that URL.
pub fn write_location(
    redirect: &Redirect,
    request: &HeaderMap,
    format: impl FnOnce(FormatId, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let scheme = match &redirect.scheme {
        SchemeRedirect::Keep => request.get(HeaderId::Scheme).unwrap_or(b"http"),
        SchemeRedirect::Https => b"https",
        SchemeRedirect::To(scheme) => scheme,
    };
    out.extend_from_slice(scheme);
    out.extend_from_slice(b"://");
    match &redirect.host {
        Some(host) => out.extend_from_slice(host),
        None => out.extend_from_slice(kept_host(request, scheme, redirect.port.is_some())),
    }
    if let Some(port) = redirect.port {
        write!(out, ":{port}").expect("writing to memory cannot fail");
    }
    write_path(redirect, request, format, out);
}

/// The request's authority, without its port when another is set, or when it
/// is the default of a scheme that is being left.
fn kept_host<'r>(request: &'r HeaderMap, new_scheme: &[u8], new_port: bool) -> &'r [u8] {
    let authority = request.get(HeaderId::Authority).unwrap_or_default();
    let Some(start) = ringway_config::route::port_start(authority) else {
        return authority;
    };
    let (host, port) = authority.split_at(start);
    let old_scheme = request.get(HeaderId::XForwardedProto).unwrap_or_default();
    let was_default = matches!((old_scheme, port), (b"https", b":443") | (b"http", b":80"));
    match new_port || (was_default && old_scheme != new_scheme) {
        true => host,
        false => authority,
    }
}

fn write_path(
    redirect: &Redirect,
    request: &HeaderMap,
    format: impl FnOnce(FormatId, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let path_and_query = request.get(HeaderId::Path).unwrap_or(b"/");
    let query = &path_and_query[without_query(path_and_query).len()..];
    let start = out.len();
    match &redirect.path {
        PathRedirect::Keep | PathRedirect::Rewrite(_) => {}
        PathRedirect::To(path) => out.extend_from_slice(path),
        PathRedirect::Format(id) => {
            format(*id, out);
            escape_path(out, start);
        }
    }
    if out.len() == start {
        let query = memchr::memchr(b'?', path_and_query).filter(|_| redirect.strip_query);
        out.extend_from_slice(&path_and_query[..query.unwrap_or(path_and_query.len())]);
    } else if !redirect.strip_query && !out[start..].contains(&b'?') {
        // A query of its own wins over the request's and is not stripped.
        out.extend_from_slice(query);
    }
    if out.get(start) != Some(&b'/') {
        out.insert(start, b'/');
    }
}

#[cfg(test)]
mod tests;
