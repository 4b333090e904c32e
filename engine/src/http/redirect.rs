//! The `Location` of a route's `redirect`.

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::{PathRedirect, Redirect, SchemeRedirect, without_query};
use std::io::Write;

/// Appends the new URL for a request, as Envoy composes it.
pub fn write_location(redirect: &Redirect, request: &HeaderMap, out: &mut Vec<u8>) {
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
    let path = without_query(path_and_query);
    let query = match redirect.strip_query {
        true => &b""[..],
        false => &path_and_query[path.len()..],
    };
    match &redirect.path {
        PathRedirect::Keep => {
            out.extend_from_slice(path);
            out.extend_from_slice(query);
        }
        PathRedirect::To(path) => {
            out.extend_from_slice(path);
            // A query of its own wins over the request's.
            if !path.contains(&b'?') {
                out.extend_from_slice(query);
            }
        }
        PathRedirect::Rewrite(rewrite) => {
            rewrite.write(path, out);
            out.extend_from_slice(query);
        }
    }
}
