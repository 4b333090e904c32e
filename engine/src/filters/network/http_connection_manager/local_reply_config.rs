//! `HttpConnectionManager.local_reply_config`: how the proxy's own responses
//! are rewritten before they are sent.
//!
//! The first mapper whose filter passes may change status, body and headers;
//! then the body is written in a format: the mapper's, or the one for all.

use std::time::Instant;

use envoy_types::pb::envoy::config::core::v3 as core_pb;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use ringway_codecs::header::HeaderId;
use ringway_config::Cx;
use ringway_config::format_strings::FormatStrings;
use ringway_config::route::{HeaderChanges, MutableName};
use ringway_config::runtime::RuntimeValues;

use crate::access_loggers::Filter;
use crate::data_source;
use crate::formatter::{Context, Format, Formatter};
use crate::http::exchange::Exchange;
use crate::http::header_parser::{self, Message, Scratch};
use crate::http::route_table::compile_formats;
use crate::stream_info::TimePoint;

/// What a body is without a format that says otherwise.
pub(super) const TEXT_PLAIN: &[u8] = b"text/plain";

/// What a JSON format writes.
pub(super) const JSON: &[u8] = b"application/json";

/// A compiled `LocalReplyConfig`.
#[derive(Debug)]
pub struct LocalReplyConfig {
    mappers: Box<[Mapper]>,
    body_format: Option<BodyFormat>,
    formats: Box<[Formatter]>,
}

/// A compiled `ResponseMapper`.
#[derive(Debug)]
struct Mapper {
    filter: Filter,
    status: Option<u16>,
    body: Option<Box<[u8]>>,
    headers: HeaderChanges,
    /// Whether `headers` can say what the body is.
    tells_content_type: bool,
    body_format: Option<BodyFormat>,
}

#[derive(Debug)]
struct BodyFormat {
    format: Format,
    content_type: Box<[u8]>,
}

/// Which of the mappers takes a reply: the first whose filter passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taker {
    /// None does.
    Nobody,
    /// The one at this place.
    Mapper(usize),
    /// The one at this place, if chance or the time that it takes will have it.
    Perhaps(usize),
}

/// What a local reply is after it was rewritten.
#[derive(Debug, Clone, Copy)]
pub struct Rewritten<'c> {
    /// The status.
    pub status: u16,
    /// What the body is, unless a header says so already.
    pub content_type: &'c [u8],
    /// Whether this takes the place of a Content-Type that came from the route:
    /// what it told of is not there any more.
    pub replaces_content_type: bool,
}

impl LocalReplyConfig {
    /// Rewrites a reply whose headers are in `exchange.response`. The new body
    /// is appended to `out`, which is empty.
    pub(super) fn rewrite(
        &self,
        exchange: &mut Exchange,
        (status, body): (u16, &[u8]),
        runtime: &RuntimeValues,
        (now, scratch): (Instant, &mut Scratch),
        out: &mut Vec<u8>,
    ) -> Rewritten<'_> {
        self.prepare(exchange, status, now);
        let context = context(exchange, b"");
        let mut mappers = self.mappers.iter();
        let mapper = mappers.find(|mapper| mapper.filter.passes(&context, runtime));
        self.rewrite_by(mapper, exchange, (status, body), scratch, out)
    }

    /// For filters and formats, which run before the head is sent and the
    /// request is over.
    fn prepare(&self, exchange: &mut Exchange, status: u16, now: Instant) {
        exchange.info.response_code = status;
        exchange.info.mark(TimePoint::RequestComplete, now);
    }

    /// Which mapper would take a reply with this status at the time `now`.
    pub fn foresee(
        &self,
        exchange: &mut Exchange,
        status: u16,
        runtime: &RuntimeValues,
        now: Instant,
    ) -> Taker {
        self.prepare(exchange, status, now);
        let context = context(exchange, b"");
        for (place, mapper) in self.mappers.iter().enumerate() {
            match mapper.filter.foresee(&context, runtime) {
                Some(true) => return Taker::Mapper(place),
                Some(false) => {}
                None => return Taker::Perhaps(place),
            }
        }
        Taker::Nobody
    }

    /// What [`rewrite`](Self::rewrite) does where the mapper at `place` takes
    /// the reply, or none does.
    pub fn rewrite_as(
        &self,
        place: Option<usize>,
        exchange: &mut Exchange,
        reply: (u16, &[u8]),
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Rewritten<'_> {
        let mapper = place.map(|place| &self.mappers[place]);
        self.rewrite_by(mapper, exchange, reply, scratch, out)
    }

    fn rewrite_by<'c>(
        &'c self,
        mapper: Option<&'c Mapper>,
        exchange: &mut Exchange,
        (status, body): (u16, &[u8]),
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Rewritten<'c> {
        let mut rewritten = Rewritten {
            status,
            content_type: TEXT_PLAIN,
            replaces_content_type: false,
        };
        let mut text = body;
        let mut body_format = self.body_format.as_ref();
        let mut says_content_type = false;
        if let Some(mapper) = mapper {
            text = mapper.body.as_deref().unwrap_or(body);
            says_content_type = mapper.change_headers(&self.formats, exchange, scratch, out);
            if let Some(status) = mapper.status {
                rewritten.status = status;
                exchange.info.response_code = status;
                set_status(exchange, status);
            }
            body_format = mapper.body_format.as_ref().or(body_format);
        }
        match body_format {
            Some(BodyFormat {
                format,
                content_type,
            }) => {
                format.write(&context(exchange, text), out);
                rewritten.content_type = content_type;
            }
            None => out.extend_from_slice(text),
        }
        rewritten.replaces_content_type = !says_content_type && out != body;
        rewritten
    }
}

impl Mapper {
    /// Adds the mapper's headers and says whether they changed the Content-Type.
    /// `buffer` is empty, and is left so.
    fn change_headers(
        &self,
        formats: &[Formatter],
        exchange: &mut Exchange,
        scratch: &mut Scratch,
        buffer: &mut Vec<u8>,
    ) -> bool {
        let before = exchange.response.get(HeaderId::ContentType);
        buffer.extend_from_slice(before.unwrap_or_default());
        header_parser::apply(&self.headers, formats, Message::Response, exchange, scratch);
        let after = exchange.response.get(HeaderId::ContentType);
        let changed = self.tells_content_type && after.unwrap_or_default() != buffer.as_slice();
        buffer.clear();
        changed
    }
}

/// Makes `status` the response's.
pub(super) fn set_status(exchange: &mut Exchange, status: u16) {
    exchange.response.set_decimal(HeaderId::Status, status);
}

fn context<'a>(exchange: &'a Exchange, body: &'a [u8]) -> Context<'a> {
    Context {
        local_reply_body: body,
        ..exchange.format_context()
    }
}

impl LocalReplyConfig {
    /// Compiles the message, or reports why not.
    pub(super) fn compile(message: &pb::LocalReplyConfig, cx: &mut Cx<'_>) -> Option<Self> {
        let mut strings = FormatStrings::default();
        let mappers: Vec<_> = message
            .mappers
            .iter()
            .enumerate()
            .map(|(i, mapper)| {
                cx.index("mappers", i, |cx| Mapper::compile(mapper, &mut strings, cx))
            })
            .collect();
        let body_format = body_format("body_format", message.body_format.as_ref(), cx);
        let formats = compile_formats(&strings, cx);
        Some(LocalReplyConfig {
            mappers: mappers.into_iter().collect::<Option<_>>()?,
            body_format: body_format?,
            formats: formats?,
        })
    }
}

impl Mapper {
    fn compile(
        message: &pb::ResponseMapper,
        strings: &mut FormatStrings,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let filter = match &message.filter {
            Some(filter) => cx.field("filter", |cx| Filter::compile(filter, cx)),
            None => {
                cx.error_at("filter", "is required");
                None
            }
        };
        let body = match &message.body {
            None => Some(None),
            Some(source) => cx
                .field("body", |cx| data_source::read(source, cx))
                .map(Some),
        };
        let headers =
            HeaderChanges::lower_response("headers_to_add", &message.headers_to_add, strings, cx);
        let body_format = body_format(
            "body_format_override",
            message.body_format_override.as_ref(),
            cx,
        );
        let headers = headers?;
        Some(Mapper {
            filter: filter?,
            // The validation rules allow 200 to 599 only.
            status: message
                .status_code
                .and_then(|status| u16::try_from(status.value).ok()),
            body: body?,
            tells_content_type: headers
                .add
                .iter()
                .any(|header| header.name == MutableName::Known(HeaderId::ContentType)),
            headers,
            body_format: body_format?,
        })
    }
}

/// `Some(None)` when the field is not set, `None` after an error.
fn body_format(
    field: &str,
    message: Option<&core_pb::SubstitutionFormatString>,
    cx: &mut Cx<'_>,
) -> Option<Option<BodyFormat>> {
    let Some(message) = message else {
        return Some(None);
    };
    let format = cx.field(field, |cx| Format::compile(message, cx))?;
    let content_type = match (message.content_type.as_str(), &format) {
        ("", Format::Json(_)) => JSON.into(),
        ("", Format::Text(_)) => TEXT_PLAIN.into(),
        (given, _) => given.as_bytes().into(),
    };
    Some(Some(BodyFormat {
        format,
        content_type,
    }))
}
