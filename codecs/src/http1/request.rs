//! The head of a request: one pass of httparse, then the strict checks.

use super::framing::{Coding, FramingFields};
use super::head::{self, HeadBytes, with_slots};
use super::target::{self, Port, Target};
use super::{Framing, HEADERS_MAX, Http1Error, REQUEST_HEAD_BYTES_MAX, Version, chars, method};
use crate::header::{HeaderId, HeaderMap, PreserveCase, Range};
use httparse::{ParserConfig, Status};

/// What to do with field names that contain an underscore, which some
/// backends take for a dash.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum HeadersWithUnderscores {
    /// Keep them.
    #[default]
    Allow,
    /// Refuse the request with 400.
    RejectRequest,
    /// Leave them out.
    DropHeader,
}

/// Envoy's `Http1ProtocolOptions` and `HttpProtocolOptions`, as far as they
/// concern the codec.
#[derive(Clone, Debug)]
pub struct RequestOptions {
    /// The largest head in bytes, request line and line ends included.
    pub head_bytes_max: usize,
    /// The largest number of fields.
    pub headers_max: usize,
    /// Take `GET http://host/path` apart; otherwise the whole URL is the path,
    /// which no route of ours matches.
    pub allow_absolute_url: bool,
    /// Refuse `GET https://host/path`: the connection is in plain text, and
    /// nobody before us has taken TLS off.
    pub refuse_https_url: bool,
    /// Let HTTP/1.0 in, instead of 426.
    pub accept_http_10: bool,
    /// The authority of HTTP/1.0 requests without Host.
    pub default_host_for_http_10: Option<Box<str>>,
    /// What to do with names that have an underscore.
    pub underscores: HeadersWithUnderscores,
    /// Let Content-Length with `Transfer-Encoding: chunked` in and drop the
    /// former, instead of 400.
    pub allow_chunked_length: bool,
    /// Pass trailers on (`enable_trailers`).
    pub trailers: bool,
    /// Let methods in that Envoy's parser does not know.
    pub allow_custom_methods: bool,
    /// Send names on as they are received.
    pub preserve_case: Option<PreserveCase>,
}

impl Default for RequestOptions {
    /// Envoy's defaults.
    fn default() -> RequestOptions {
        RequestOptions {
            head_bytes_max: REQUEST_HEAD_BYTES_MAX,
            headers_max: HEADERS_MAX,
            allow_absolute_url: true,
            refuse_https_url: false,
            accept_http_10: false,
            default_host_for_http_10: None,
            underscores: HeadersWithUnderscores::Allow,
            allow_chunked_length: false,
            trailers: false,
            allow_custom_methods: false,
            preserve_case: None,
        }
    }
}

/// What a request head says besides its fields.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct RequestHead {
    /// The version of the request line.
    pub version: Version,
    /// Where the body ends. `None` for CONNECT: what follows is the tunnel's.
    pub framing: Framing,
    /// The connection may stay open after the response.
    pub keep_alive: bool,
    /// The client awaits `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// `Connection: upgrade` with an Upgrade field.
    pub upgrade: bool,
    /// The method is HEAD.
    pub is_head: bool,
    /// The method is CONNECT; there is no `:path` then.
    pub is_connect: bool,
    /// The size of the head in bytes, without empty lines before it.
    pub head_bytes: usize,
    /// The number of fields that [`HeadersWithUnderscores::DropHeader`] left
    /// out.
    pub dropped_underscore_headers: u32,
    /// Why the request is to be refused, though it is a message whose end is
    /// known.
    pub refused: Option<Http1Error>,
}

impl HeadBytes for RequestHead {
    fn head_bytes(&self) -> usize {
        self.head_bytes
    }
}

/// What is known of a head whose fields were understood, also of a refused one.
#[derive(Copy, Clone, Debug)]
pub(super) struct Understood {
    /// The size of the fields.
    pub(super) field_bytes: u32,
    /// What the client may be answered in.
    pub(super) version: Version,
}

impl Default for Understood {
    fn default() -> Understood {
        Understood::NOTHING
    }
}

impl Understood {
    pub(super) const NOTHING: Understood = Understood {
        field_bytes: 0,
        version: Version::Http11,
    };
}

/// Parses the head at the start of `bytes`, which does not begin with an empty
/// line, into `out`, which is empty. `None` when it is not complete.
pub(super) fn parse(
    bytes: &[u8],
    o: &RequestOptions,
    out: &mut HeaderMap,
    understood: &mut Understood,
) -> Result<Option<RequestHead>, Http1Error> {
    // Errors behind the limit must not be seen: how the bytes are cut into
    // buffers would then decide which error is reported.
    let window = &bytes[..bytes.len().min(o.head_bytes_max)];
    with_slots(o.headers_max, o.head_bytes_max, |slots| {
        let mut raw = httparse::Request::new(&mut []);
        match ParserConfig::default().parse_request_with_uninit_headers(&mut raw, window, slots) {
            Ok(Status::Complete(end)) => {
                let parsed = interpret(&window[..end], &raw, o, out, &mut understood.field_bytes);
                match &parsed {
                    Ok(head) => understood.version = head.version,
                    Err(error) => note_refused(*error, &raw, o, understood),
                }
                parsed.map(Some)
            }
            Ok(Status::Partial) if bytes.len() > window.len() => Err(Http1Error::HeadersTooLarge),
            Ok(Status::Partial) => Ok(None),
            Err(e) => match syntax_error(e, window, o) {
                Some(Http1Error::LowVersion) => parse_as_http_10(bytes, o, out, understood),
                Some(error) => Err(error),
                None if bytes.len() > window.len() => Err(Http1Error::HeadersTooLarge),
                None => Ok(None),
            },
        }
    })
}

/// Parses a head of another version as Envoy understands it: what is not
/// HTTP/1.1 is HTTP/1.0.
#[cold]
fn parse_as_http_10(
    bytes: &[u8],
    o: &RequestOptions,
    out: &mut HeaderMap,
    understood: &mut Understood,
) -> Result<Option<RequestHead>, Http1Error> {
    // One byte more than allowed shows that the head is too large.
    let mut bytes = bytes[..bytes.len().min(o.head_bytes_max.saturating_add(1))].to_vec();
    let line_end = memchr::memchr(b'\n', &bytes).ok_or(Http1Error::RequestLine)?;
    let line = &mut bytes[..line_end];
    let version_end = line.trim_ascii_end().len();
    line[version_end - HTTP_10.len()..version_end].copy_from_slice(HTTP_10);
    parse(&bytes, o, out, understood)
}

/// Notes what is known of a head that is refused.
#[cold]
fn note_refused(
    error: Http1Error,
    raw: &httparse::Request<'_, '_>,
    o: &RequestOptions,
    understood: &mut Understood,
) {
    if error.is_syntax_error() {
        return;
    }
    understood.field_bytes = head::all_field_bytes(raw.headers);
    if raw.version == Some(0) && o.accept_http_10 {
        understood.version = Version::Http10;
    }
}

/// Fills `out` and decides everything that the fields decide.
#[inline]
fn interpret(
    head: &[u8],
    raw: &httparse::Request<'_, '_>,
    o: &RequestOptions,
    out: &mut HeaderMap,
    field_bytes: &mut u32,
) -> Result<RequestHead, Http1Error> {
    let (Some(method), Some(target), Some(minor)) = (raw.method, raw.path, raw.version) else {
        return Err(Http1Error::RequestLine);
    };
    let method = method.as_bytes();
    if !head::head_ends_in_crlf(head) {
        return Err(Http1Error::LineEnd);
    }
    if !method::is_let_in(method, o.allow_custom_methods) {
        return Err(Http1Error::UnknownMethod);
    }
    let version = match minor {
        0 => Version::Http10,
        _ => Version::Http11,
    };
    let base = out.store_received(head);
    let range = |part: &[u8]| Range {
        start: base + head::offset(head, part) as u32,
        len: part.len() as u32,
    };

    if let Some(options) = o.preserve_case {
        out.keep_spelling(options);
    }
    let host = raw.headers.iter().find(|h| is_host(h.name));
    let form = match target::parse(method, target.as_bytes())? {
        Target::Absolute { .. } if !o.allow_absolute_url => Target::Path,
        Target::Absolute {
            scheme: "https", ..
        } if o.refuse_https_url => return Err(Http1Error::HttpsUrl),
        form => form,
    };
    let is_connect = form == Target::Authority;
    out.push_known(HeaderId::Method, range(method));
    let target = target.as_bytes();
    let authority = match form {
        Target::Path => {
            out.push_known(HeaderId::Path, range(target));
            host.map(|h| h.value)
        }
        Target::Authority => Some(target),
        Target::Absolute {
            scheme,
            authority,
            path,
        } => {
            push_path(out, range(&target[path.clone()]), &target[path]);
            out.append(HeaderId::Scheme, scheme.as_bytes());
            Some(&target[authority])
        }
    };
    match (authority, &o.default_host_for_http_10) {
        (Some(authority), _) => out.push_known(HeaderId::Authority, range(authority)),
        (None, Some(host)) if version == Version::Http10 => {
            out.append(HeaderId::Authority, host.as_bytes());
        }
        (None, _) => {}
    }

    let mut fields = Fields::default();
    let mut sum = 0;
    for field in &*raw.headers {
        let name = field.name.as_bytes();
        if !head::line_before_ends_in_crlf(head, head::offset(head, name)) {
            return Err(Http1Error::LineEnd);
        }
        sum += head::field_bytes(name.len(), field.value.len());
        if o.underscores != HeadersWithUnderscores::Allow && memchr::memchr(b'_', name).is_some() {
            if o.underscores == HeadersWithUnderscores::RejectRequest {
                return Err(Http1Error::UnexpectedUnderscore);
            }
            fields.dropped += 1;
            continue;
        }
        if o.preserve_case.is_some() {
            out.push_spelling(name);
        }
        if is_host(field.name) {
            fields.on_host(field.value);
            continue;
        }
        if let Some(id) = out.push_received(range(name), range(field.value)) {
            fields.on_known(id, field.value)?;
        }
    }

    out.join_repeated();
    let framing = fields.framing(is_connect, o, out)?;
    if version == Version::Http10 {
        if !o.accept_http_10 {
            return Err(Http1Error::LowVersion);
        }
        // A proxy of HTTP/1.0 before us knows no coding, and has taken the
        // request to end elsewhere (RFC 9112 section 6.1).
        if framing == Framing::Chunked {
            return Err(Http1Error::TransferEncodingNotAllowed);
        }
    }
    if let Some(error) = fields.bad_host {
        return Err(error);
    }
    *field_bytes = head::head_field_bytes(sum);
    let mixed = fields.mixed_lengths();
    Ok(RequestHead {
        version,
        framing,
        keep_alive: fields.keeps_alive(version) && !mixed,
        expect_continue: out
            .get(HeaderId::Expect)
            .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue")),
        upgrade: fields.framing.upgrade && fields.upgrade_named,
        is_head: method == b"HEAD",
        is_connect,
        head_bytes: head.len(),
        dropped_underscore_headers: fields.dropped,
        refused: refusal(method, target, out),
    })
}

/// Why a request is refused that breaks no rule of the protocol's grammar.
#[inline]
fn refusal(method: &[u8], target: &[u8], out: &HeaderMap) -> Option<Http1Error> {
    if !out.contains(HeaderId::Authority) {
        return Some(Http1Error::MissingHost);
    }
    if memchr::memchr(b'#', target).is_some() {
        return Some(Http1Error::PathWithFragment);
    }
    let is_query = method == b"QUERY" && !out.contains(HeaderId::ContentType);
    is_query.then_some(Http1Error::QueryWithoutContentType)
}

/// What the fields say, gathered in one walk.
#[derive(Default)]
struct Fields {
    framing: FramingFields,
    hosts: u32,
    bad_host: Option<Http1Error>,
    dropped: u32,
    upgrade_named: bool,
}

impl Fields {
    /// Never fails: what is wrong with the framing or the version is reported
    /// first, as by Envoy.
    fn on_host(&mut self, value: &[u8]) {
        self.hosts += 1;
        let error = match target::is_authority(value, Port::Optional) {
            true if self.hosts == 1 => return,
            true => Http1Error::DuplicateHost,
            false if value.iter().all(|&b| chars::is_authority(b)) => {
                Http1Error::MalformedAuthority
            }
            false => Http1Error::InvalidAuthority,
        };
        if self.bad_host != Some(Http1Error::InvalidAuthority) {
            self.bad_host = Some(error);
        }
    }

    #[inline]
    fn on_known(&mut self, id: HeaderId, value: &[u8]) -> Result<(), Http1Error> {
        match id {
            HeaderId::ContentLength => self.framing.on_content_length(value)?,
            HeaderId::TransferEncoding => self.framing.on_transfer_encoding(value),
            HeaderId::Connection => self.framing.on_connection(value),
            HeaderId::ProxyConnection => self.framing.on_proxy_connection(value),
            HeaderId::Upgrade => self.upgrade_named |= !value.is_empty(),
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112 section 6.3 for requests, in Envoy's order of complaints.
    fn framing(
        &self,
        is_connect: bool,
        o: &RequestOptions,
        out: &mut HeaderMap,
    ) -> Result<Framing, Http1Error> {
        let f = &self.framing;
        if f.coding != Coding::Absent {
            if f.content_length.is_some() && !o.allow_chunked_length {
                return Err(Http1Error::ContentLengthAndChunked);
            }
            if f.coding == Coding::Other || is_connect {
                return Err(Http1Error::InvalidTransferEncoding);
            }
            out.remove(HeaderId::TransferEncoding);
            out.remove(HeaderId::ContentLength);
            return Ok(Framing::Chunked);
        }
        match f.content_length {
            None => Ok(Framing::None),
            Some(0) if is_connect => {
                out.remove(HeaderId::ContentLength);
                Ok(Framing::None)
            }
            Some(_) if is_connect => Err(Http1Error::BodyDisallowed),
            Some(length) => {
                if f.rewrite_length {
                    out.set(HeaderId::ContentLength, length.to_string().as_bytes());
                }
                Ok(Framing::Length(length))
            }
        }
    }

    /// Content-Length and Transfer-Encoding were both there: RFC 9112 section
    /// 6.1 wants the connection closed after the response.
    fn mixed_lengths(&self) -> bool {
        self.framing.coding != Coding::Absent && self.framing.content_length.is_some()
    }

    fn keeps_alive(&self, version: Version) -> bool {
        let asked = version == Version::Http11 || self.framing.keep_alive;
        asked && !self.framing.close
    }
}

#[inline]
fn is_host(name: &str) -> bool {
    name.len() == 4 && name.eq_ignore_ascii_case("host")
}

/// The path of an absolute-form target: an empty one is `/` (RFC 9112 section
/// 3.2.2), also before a query.
fn push_path(out: &mut HeaderMap, range: Range, path: &[u8]) {
    match path.first() {
        Some(b'/') => out.push_known(HeaderId::Path, range),
        _ => out.append_with(HeaderId::Path, |value| {
            value.push(b'/');
            value.extend_from_slice(path);
        }),
    }
}

/// The reason for an error of httparse; `None` when it takes more bytes to
/// tell.
fn syntax_error(error: httparse::Error, head: &[u8], o: &RequestOptions) -> Option<Http1Error> {
    let line_end = memchr::memchr(b'\n', head);
    match error {
        httparse::Error::Token => Some(match first_bad_line_byte(head) {
            Some(b) if chars::is_forbidden_control(b) => Http1Error::InvalidCharacters,
            _ => Http1Error::RequestLine,
        }),
        // Whether it is a version at all shows when the line is complete.
        httparse::Error::Version => Some(version_error(&head[..line_end?], o)),
        e => {
            let fields = line_end.map_or(head.len(), |at| at + 1);
            Some(head::field_error(e, &head[fields..]))
        }
    }
}

/// The first byte of the request line that can be in neither a method nor a
/// target at its place.
fn first_bad_line_byte(head: &[u8]) -> Option<u8> {
    let method = head.iter().position(|&b| !chars::is_token(b))?;
    if method == 0 || head[method] != b' ' {
        return Some(head[method]);
    }
    let target = &head[method + 1..];
    target
        .iter()
        .copied()
        .find(|&b| b <= b' ' || b == 0x7f)
        .filter(|&b| b != b' ')
}

/// `line` has a well-formed method and target, and a version that is neither
/// 1.0 nor 1.1.
fn version_error(line: &[u8], o: &RequestOptions) -> Http1Error {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut parts = line.splitn(3, |&b| b == b' ');
    let method = parts.next().unwrap_or_default();
    if !method::is_let_in(method, o.allow_custom_methods) {
        return Http1Error::UnknownMethod;
    }
    match parts.nth(1).unwrap_or_default() {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Http1Error::LowVersion
        }
        _ => Http1Error::MalformedVersion,
    }
}

/// The digits of the version that all others but HTTP/1.1 are taken for.
const HTTP_10: &[u8; 3] = b"1.0";
