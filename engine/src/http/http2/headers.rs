//! Header lists as h2 has them, and back.
//!
//! What h2 hands on was checked by it: names are in lower case, values have no
//! control characters, nothing is of a connection, pseudo headers are complete
//! and in front. What is sent is checked here.

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderName as Name, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, request, uri};
use ringway_codecs::header::{HeaderId, HeaderMap, HeaderName};

/// A header list that HTTP/2 has no way to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsendable;

impl From<http::Error> for Unsendable {
    fn from(_: http::Error) -> Self {
        Self
    }
}

/// Reads the head of a request. As in Envoy, `host` stands in for a missing
/// authority and is otherwise left out, and the crumbs of a cookie are joined behind the rest.
pub fn read_request(head: &request::Parts, out: &mut HeaderMap) {
    let uri = &head.uri;
    out.append(HeaderId::Method, head.method.as_str().as_bytes());
    let host = head.headers.get(http::header::HOST);
    match (uri.authority(), host) {
        (Some(authority), _) => out.append(HeaderId::Authority, authority.as_str().as_bytes()),
        (None, Some(host)) => out.append(HeaderId::Authority, host.as_bytes()),
        (None, None) => {}
    }
    if let Some(path) = uri.path_and_query() {
        out.append(HeaderId::Path, path.as_str().as_bytes());
    }
    if let Some(scheme) = uri.scheme_str() {
        out.append(HeaderId::Scheme, scheme.as_bytes());
    }
    if let Some(protocol) = head.extensions.get::<h2::ext::Protocol>() {
        out.append(HeaderId::Protocol, protocol.as_str().as_bytes());
    }
    read_fields(&head.headers, out, |name| *name == http::header::HOST);
}

/// Reads the head of a response; its status is not among the headers.
pub fn read_response(headers: &http::HeaderMap, out: &mut HeaderMap) {
    read_fields(headers, out, |_| false);
}

/// Reads trailers.
pub fn read_trailers(trailers: &http::HeaderMap, out: &mut HeaderMap) {
    read_fields(trailers, out, |_| false);
}

fn read_fields(fields: &http::HeaderMap, out: &mut HeaderMap, is_left_out: impl Fn(&Name) -> bool) {
    for (name, value) in fields {
        if *name != http::header::COOKIE && !is_left_out(name) {
            out.append_received(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    out.join_repeated();
    let mut crumbs = fields.get_all(http::header::COOKIE).iter();
    if let Some(first) = crumbs.next() {
        // RFC 9113 section 8.2.3
        out.append_with(HeaderId::Cookie, |out| {
            out.extend_from_slice(first.as_bytes());
            for crumb in crumbs {
                out.extend_from_slice(b"; ");
                out.extend_from_slice(crumb.as_bytes());
            }
        });
    }
}

/// The head of a request that is sent to a host. Pseudo headers become what
/// they are, of which a plain CONNECT has only its authority (RFC 9113 section
/// 8.5); what is of an HTTP/1 connection is left out.
///
/// # Errors
/// A name, a value or the target cannot be sent.
pub fn write_request(headers: &HeaderMap) -> Result<Request<()>, Unsendable> {
    let values = Values::of(headers);
    let mut target = uri::Parts::default();
    let mut request = Request::new(());
    for (name, value) in values.iter(headers) {
        match name {
            HeaderName::Known(HeaderId::Method) => {
                *request.method_mut() = Method::from_bytes(&value).map_err(|_| Unsendable)?;
            }
            HeaderName::Known(HeaderId::Authority) => {
                let authority = uri::Authority::from_maybe_shared(value);
                target.authority = Some(authority.map_err(|_| Unsendable)?);
            }
            HeaderName::Known(HeaderId::Path) => {
                let path = uri::PathAndQuery::from_maybe_shared(value);
                target.path_and_query = Some(path.map_err(|_| Unsendable)?);
            }
            HeaderName::Known(HeaderId::Scheme) => {
                let scheme = uri::Scheme::try_from(&value[..]);
                target.scheme = Some(scheme.map_err(|_| Unsendable)?);
            }
            HeaderName::Known(HeaderId::Protocol) => {
                let protocol = std::str::from_utf8(&value).map_err(|_| Unsendable)?;
                let protocol = h2::ext::Protocol::from(protocol);
                request.extensions_mut().insert(protocol);
            }
            name if is_of_connection(name) => {}
            name => append(request.headers_mut(), name, value)?,
        }
    }
    let is_extended = request.extensions().get::<h2::ext::Protocol>().is_some();
    if *request.method() == Method::CONNECT && !is_extended {
        (target.scheme, target.path_and_query) = (None, None);
    }
    *request.uri_mut() = Uri::from_parts(target).map_err(|_| Unsendable)?;
    *request.version_mut() = http::Version::HTTP_2;
    Ok(request)
}

/// The head of a response. Pseudo headers and what is of an HTTP/1 connection
/// are left out.
///
/// # Errors
/// A name or a value cannot be sent.
pub fn write_response(status: u16, headers: &HeaderMap) -> Result<Response<()>, Unsendable> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| Unsendable)?;
    *response.headers_mut() = write_fields(headers)?;
    Ok(response)
}

/// Trailers, of either message.
///
/// # Errors
/// A name or a value cannot be sent.
pub fn write_trailers(trailers: &HeaderMap) -> Result<http::HeaderMap, Unsendable> {
    write_fields(trailers)
}

fn write_fields(headers: &HeaderMap) -> Result<http::HeaderMap, Unsendable> {
    let values = Values::of(headers);
    let mut out = http::HeaderMap::with_capacity(headers.len());
    for (name, value) in values.iter(headers) {
        if !is_of_connection(name) {
            append(&mut out, name, value)?;
        }
    }
    Ok(out)
}

/// Whether a header means nothing behind its HTTP/1 connection, or is no field
/// at all (RFC 9113 section 8.2.2).
fn is_of_connection(name: HeaderName<'_>) -> bool {
    match name {
        HeaderName::Known(
            HeaderId::Connection
            | HeaderId::KeepAlive
            | HeaderId::ProxyConnection
            | HeaderId::TransferEncoding
            | HeaderId::Upgrade,
        ) => true,
        name => name.as_bytes().first() == Some(&b':'),
    }
}

fn append(out: &mut http::HeaderMap, name: HeaderName<'_>, value: Bytes) -> Result<(), Unsendable> {
    let mut value = HeaderValue::from_maybe_shared(value).map_err(|_| Unsendable)?;
    value.set_sensitive(is_of_one_message(name));
    let name = match name {
        // Without a copy, whether http knows the name or not.
        HeaderName::Known(id) if let Some(name) = &NAMES[id as usize] => name.clone(),
        name => Name::from_bytes(name.as_bytes()).map_err(|_| Unsendable)?,
    };
    // Fails where the list has tens of thousands of entries.
    out.try_append(name, value).map_err(|_| Unsendable)?;
    Ok(())
}

/// Whether a header has another value in every message. h2 is told not to index it
/// (RFC 7541 section 6.2.3): the values of some fifty messages would fill its table,
/// which is searched through one by one, and push out what comes again.
fn is_of_one_message(name: HeaderName<'_>) -> bool {
    matches!(
        name,
        HeaderName::Known(
            HeaderId::B3
                | HeaderId::GrpcTimeout
                | HeaderId::Traceparent
                | HeaderId::XB3Parentspanid
                | HeaderId::XB3Spanid
                | HeaderId::XB3Traceid
                | HeaderId::XClientTraceId
                | HeaderId::XOtSpanContext
                | HeaderId::XRequestId
        )
    )
}

/// The names that we know as http has them, which goes through the text of a name to
/// tell which one it is. Of pseudo headers there are none.
static NAMES: LazyLock<[Option<Name>; HeaderId::COUNT]> = LazyLock::new(|| {
    let mut names = [const { None }; HeaderId::COUNT];
    for id in HeaderId::all() {
        let is_pseudo = id.as_str().starts_with(':');
        names[id as usize] = (!is_pseudo).then(|| Name::from_static(id.as_str()));
    }
    names
});

/// All values of a list in one piece of memory, which the entries of the other
/// list share.
struct Values(Bytes);

impl Values {
    fn of(headers: &HeaderMap) -> Self {
        let bytes = headers.iter().map(|(_, value)| value.len()).sum();
        let mut all = BytesMut::with_capacity(bytes);
        for (_, value) in headers.iter() {
            all.extend_from_slice(value);
        }
        Self(all.freeze())
    }

    /// The entries of the same list, in order.
    fn iter<'a>(
        mut self,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = (HeaderName<'a>, Bytes)> + 'a {
        headers
            .iter()
            .map(move |(name, value)| (name, self.0.split_to(value.len())))
    }
}
