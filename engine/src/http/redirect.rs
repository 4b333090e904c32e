//! The `Location` of a route's `redirect`.

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::{PathRedirect, Redirect, SchemeRedirect, without_query};
use std::io::Write;

/// Puts the new URL for a request into the response, as Envoy composes it.
/// Gives the status.
pub fn set_location(redirect: &Redirect, request: &HeaderMap, response: &mut HeaderMap) -> u16 {
    response.set_with(HeaderId::Location, |out| {
        write_location(redirect, request, out);
    });
    redirect.status
}

/// Puts the URL of a request that should have come over TLS into the response:
/// the same with `https`, its port kept. Gives the status.
pub fn set_tls_location(request: &HeaderMap, response: &mut HeaderMap) -> u16 {
    response.set_with(HeaderId::Location, |out| {
        out.extend_from_slice(b"https://");
        out.extend_from_slice(request.get(HeaderId::Authority).unwrap_or_default());
        out.extend_from_slice(request.get(HeaderId::Path).unwrap_or_default());
    });
    301
}

fn write_location(redirect: &Redirect, request: &HeaderMap, out: &mut Vec<u8>) {
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
    write_path(redirect, request, out);
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

fn write_path(redirect: &Redirect, request: &HeaderMap, out: &mut Vec<u8>) {
    let path_and_query = request.get(HeaderId::Path).unwrap_or(b"/");
    let start = out.len();
    match &redirect.path {
        PathRedirect::Keep => out.extend_from_slice(path_and_query),
        PathRedirect::Rewrite(rewrite) => rewrite.write(path_and_query, out),
        PathRedirect::To(path) => {
            out.extend_from_slice(path);
            // A query of its own wins over the request's and is not stripped.
            if !path.contains(&b'?') && !redirect.strip_query {
                let path_bytes = without_query(path_and_query).len();
                out.extend_from_slice(&path_and_query[path_bytes..]);
            }
        }
    }
    if redirect.strip_query
        && !matches!(redirect.path, PathRedirect::To(_))
        && let Some(query) = memchr::memchr(b'?', &out[start..])
    {
        out.truncate(start + query);
    }
    if out.get(start) != Some(&b'/') {
        out.insert(start, b'/');
    }
}

#[cfg(test)]
mod tests;
