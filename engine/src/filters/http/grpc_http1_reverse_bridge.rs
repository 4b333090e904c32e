//! Hosts that know nothing of gRPC behind clients that do
//! (`envoy.filters.http.grpc_http1_reverse_bridge`): the request's one message
//! becomes a body, with or without its frame, and the response a message with a
//! status in its trailers.

use envoy_types::pb::envoy::extensions::filters::http::grpc_http1_reverse_bridge::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use ringway_codecs::grpc::{HEADER_BYTES, header};
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::context::{Cx, unpack};

use super::grpc::framed;
use super::{Flow, HttpFilter, StreamContext};
use crate::formatter::grpc::{from_http, is_grpc};
use crate::http::body_filter::{Answer, BodyFilter, BodyFlow, HeadFlow, empty};
use crate::http::exchange::Exchange;
use crate::reactor::Chunk;

/// The statuses of gRPC that the filter knows by name.
const UNKNOWN: u64 = 2;
const INTERNAL: u64 = 13;

/// What a route says is a number, see [`HttpFilter::compile_override`].
const ENABLED: u32 = 0;
const DISABLED: u32 = 1;

/// The compiled filter.
pub struct GrpcHttp1ReverseBridge {
    content_type: Box<[u8]>,
    withholds_frames: bool,
    /// The header of responses that says how long their bodies are.
    size_header: Option<Box<[u8]>>,
}

impl GrpcHttp1ReverseBridge {
    /// Compiles
    /// `envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfig`.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::FilterConfig>(any, cx)?;
        let size_header = proto.response_size_header.to_ascii_lowercase();
        Some(Self {
            content_type: proto.content_type.as_bytes().into(),
            withholds_frames: proto.withhold_grpc_frames,
            size_header: (!size_header.is_empty()).then(|| size_header.as_bytes().into()),
        })
    }
}

impl HttpFilter for GrpcHttp1ReverseBridge {
    fn name(&self) -> &'static str {
        "envoy.filters.http.grpc_http1_reverse_bridge"
    }

    fn compile_override(&mut self, config: &Any, cx: &mut Cx<'_>) -> Option<u32> {
        let proto = unpack::<pb::FilterConfigPerRoute>(config, cx)?;
        Some(if proto.disabled { DISABLED } else { ENABLED })
    }

    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow {
        let is_off = stream.settings == Some(DISABLED);
        let exchange = &mut *stream.exchange;
        if is_off || !exchange.has_body() || !is_grpc(&exchange.request) {
            return Flow::Continue;
        }
        let request = &mut exchange.request;
        let content_type = request
            .get(HeaderId::ContentType)
            .unwrap_or_default()
            .into();
        request.set(HeaderId::ContentType, &self.content_type);
        request.set(HeaderId::Accept, &self.content_type);
        if self.withholds_frames {
            adjust_length(request, |length| length.wrapping_sub(HEADER_BYTES as u64));
        }
        exchange.speaks_grpc = Some(true);
        stream.clear_route_cache();
        stream.watch_bodies(Box::new(Call {
            content_type,
            of_host: self.content_type.clone(),
            withholds_frames: self.withholds_frames,
            size_header: self.size_header.clone(),
            is_prefix_stripped: false,
            size: 0,
            received: 0,
            is_begun: false,
            is_whole: false,
            body: Vec::new(),
            status: 0,
        }))
    }
}

fn adjust_length(headers: &mut HeaderMap, adjusted: impl FnOnce(u64) -> u64) {
    let length = headers.get(HeaderId::ContentLength);
    let length = length.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    if let Some(length) = length
        && length != 0
    {
        headers.set_decimal(HeaderId::ContentLength, adjusted(length));
    }
}

/// One call.
#[derive(Debug)]
struct Call {
    /// What the client speaks.
    content_type: Box<[u8]>,
    /// What the host must speak.
    of_host: Box<[u8]>,
    withholds_frames: bool,
    size_header: Option<Box<[u8]>>,
    is_prefix_stripped: bool,
    /// How long the host says that its message is, and how much has come.
    size: u32,
    received: u64,
    is_begun: bool,
    /// The response has no body.
    is_whole: bool,
    /// The message of the response, which is framed when it is complete.
    body: Vec<u8>,
    status: u32,
}

fn answer(text: &str, grpc_status: u64, details: &'static str) -> Box<Answer> {
    Box::new(Answer {
        status: 200,
        body: text.as_bytes().to_vec(),
        details,
        grpc_status: Some(grpc_status),
    })
}

impl Call {
    fn wrong_type(&self, response: &HeaderMap) -> HeadFlow {
        let text = |id| String::from_utf8_lossy(response.get(id).unwrap_or_default());
        let status = text(HeaderId::Status);
        let said = match response.contains(HeaderId::ContentType) {
            true => format!(
                "envoy reverse bridge: upstream responded with unsupported content-type {}, \
                 status code {status}",
                text(HeaderId::ContentType)
            ),
            false => format!(
                "envoy reverse bridge: upstream responded with no content-type header, \
                 status code {status}"
            ),
        };
        HeadFlow::Answer(answer(&said, UNKNOWN, "grpc_bridge_content_type_wrong"))
    }

    /// The first value of the header that says how long the message is.
    fn told_size(&self, name: &[u8], response: &HeaderMap) -> Option<u32> {
        let value = response.get_name(name)?;
        let end = memchr::memchr(b',', value).unwrap_or(value.len());
        std::str::from_utf8(&value[..end]).ok()?.trim().parse().ok()
    }
}

impl BodyFilter for Call {
    fn request_data(&mut self, data: &mut Chunk, _exchange: &mut Exchange) -> BodyFlow {
        if !self.withholds_frames || self.is_prefix_stripped {
            return BodyFlow::Continue;
        }
        if data.len() < HEADER_BYTES {
            let details = "grpc_bridge_data_too_small";
            return BodyFlow::Answer(answer("invalid request body", UNKNOWN, details));
        }
        data.advance(HEADER_BYTES);
        self.is_prefix_stripped = true;
        BodyFlow::Continue
    }

    fn response_headers(&mut self, exchange: &mut Exchange, whole: bool) -> HeadFlow {
        let response = &mut exchange.response;
        if response.get(HeaderId::ContentType).unwrap_or_default() != &*self.of_host {
            return self.wrong_type(response);
        }
        response.set(HeaderId::ContentType, &self.content_type);
        if self.withholds_frames {
            if let Some(name) = &self.size_header {
                let Some(size) = self.told_size(name, response) else {
                    return HeadFlow::Answer(answer(
                        "envoy reverse bridge: upstream did not set content length",
                        INTERNAL,
                        "grpc_bridge_content_length_missing",
                    ));
                };
                self.size = size;
                let framed = u64::from(size) + HEADER_BYTES as u64;
                response.set_decimal(HeaderId::ContentLength, framed);
            } else {
                adjust_length(response, |length| length.wrapping_add(HEADER_BYTES as u64));
            }
        }
        self.status = match exchange.info.response_code {
            200 => 0,
            status => from_http(status),
        };
        response.set(HeaderId::Status, b"200");
        if whole && self.withholds_frames {
            response.set_decimal(HeaderId::ContentLength, HEADER_BYTES);
            self.is_whole = true;
            return HeadFlow::Hold;
        }
        HeadFlow::Continue
    }

    fn response_data(&mut self, data: &mut Chunk, _exchange: &mut Exchange) -> BodyFlow {
        self.received += data.len() as u64;
        if !self.withholds_frames {
            return BodyFlow::Continue;
        }
        if self.size_header.is_none() {
            self.body.extend_from_slice(data);
            *data = empty();
        } else if !std::mem::replace(&mut self.is_begun, true) {
            let begun = [&header(0, self.size)[..], data].concat();
            *data = Chunk::from(bytes::Bytes::from(begun));
        }
        BodyFlow::Continue
    }

    fn kept(&self) -> usize {
        self.body.len()
    }

    fn response_end(&mut self, data: &mut Chunk, exchange: &mut Exchange) -> BodyFlow {
        let had_trailers = !exchange.response_trailers.is_empty();
        (exchange.response_trailers).set_decimal(HeaderId::GrpcStatus, self.status);
        if !self.withholds_frames {
            return BodyFlow::Continue;
        }
        if self.is_whole {
            *data = Chunk::from(&header(0, 0)[..]);
        } else if self.size_header.is_none() {
            *data = Chunk::from(bytes::Bytes::from(framed(&self.body)));
        } else if !had_trailers && self.received != u64::from(self.size) {
            let text = "envoy reverse bridge: upstream set incorrect content length";
            let details = "grpc_bridge_content_length_wrong";
            return BodyFlow::Answer(answer(text, INTERNAL, details));
        }
        BodyFlow::Continue
    }
}
