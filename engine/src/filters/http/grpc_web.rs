//! gRPC for browsers (`envoy.filters.http.grpc_web`): a request of gRPC-Web
//! becomes one of gRPC, and the response's trailers become a last frame of its
//! body. In `grpc-web-text` bodies are base64.

use std::rc::Rc;

use envoy_types::pb::envoy::extensions::filters::http::grpc_web::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use ringway_codecs::base64::{decode_padded, encode};
use ringway_codecs::grpc::{FrameReader, Part, TRAILERS, header};
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::context::{Cx, unpack};

use super::grpc::{GRPC, charge, is_grpc_response, names_of, scope_of};
use super::{Flow, HttpFilter, StreamContext};
use crate::formatter::grpc::{from_http, write_message};
use crate::http::body_filter::{Answer, BodyFilter, BodyFlow, HeadFlow, empty};
use crate::http::exchange::Exchange;
use crate::reactor::Chunk;
use crate::stats::grpc::GrpcScope;

const BINARY: &[u8] = b"application/grpc-web";
const BINARY_PROTO: &[u8] = b"application/grpc-web+proto";
const TEXT: &[u8] = b"application/grpc-web-text";
const TEXT_PROTO: &[u8] = b"application/grpc-web-text+proto";

/// What is kept of a body that is no message, for `grpc-message`. Envoy's limit.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// The filter, which has no configuration.
pub struct GrpcWeb;

impl GrpcWeb {
    /// Compiles `envoy.extensions.filters.http.grpc_web.v3.GrpcWeb`.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        unpack::<pb::GrpcWeb>(any, cx).map(|_| Self)
    }
}

impl HttpFilter for GrpcWeb {
    fn name(&self) -> &'static str {
        "envoy.filters.http.grpc_web"
    }

    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow {
        let request = &stream.exchange.request;
        let is_text = match request.get(HeaderId::ContentType) {
            Some(BINARY | BINARY_PROTO) => false,
            Some(TEXT | TEXT_PROTO) => true,
            _ => return Flow::Continue,
        };
        if !request.contains(HeaderId::Path) {
            return Flow::Continue;
        }
        let answers_text = matches!(request.get(HeaderId::Accept), Some(TEXT | TEXT_PROTO));
        let scope = scope_of("grpc-web", names_of(request), stream);
        let exchange = &mut *stream.exchange;
        let request = &mut exchange.request;
        request.remove(HeaderId::ContentLength);
        request.set(HeaderId::ContentType, GRPC);
        request.set(HeaderId::Te, b"trailers");
        if !request.contains(HeaderId::GrpcAcceptEncoding) {
            request.set(HeaderId::GrpcAcceptEncoding, b"identity");
        }
        exchange.speaks_grpc = Some(false);
        stream.watch_bodies(Box::new(Call {
            scope,
            is_text,
            answers_text,
            undecoded: Vec::new(),
            frames: FrameReader::default(),
            frame: Vec::new(),
            message: None,
        }))
    }
}

/// One call.
#[derive(Debug)]
struct Call {
    scope: Option<Rc<GrpcScope>>,
    is_text: bool,
    answers_text: bool,
    /// Up to three characters of the request that are not decoded yet.
    undecoded: Vec<u8>,
    frames: FrameReader,
    /// The frame of the response that is arriving, which is encoded as a whole.
    frame: Vec<u8>,
    /// The body of a response that is none of gRPC, which becomes its message.
    message: Option<Vec<u8>>,
}

fn refuse(details: &'static str) -> BodyFlow {
    BodyFlow::Answer(Box::new(Answer {
        status: 400,
        body: b"Bad gRPC-web request, invalid base64 data.".to_vec(),
        details,
        grpc_status: None,
    }))
}

impl Call {
    /// Encodes what is complete, frame by frame.
    fn encode_frames(&mut self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = data;
        while let Some(part) = self.frames.next(&mut rest) {
            match part {
                Part::Begin { flags, length } => {
                    self.frame.clear();
                    self.frame.extend_from_slice(&header(flags, length));
                }
                Part::Data(bytes) => self.frame.extend_from_slice(bytes),
                Part::End => encode(&self.frame, &mut out),
            }
        }
        out
    }
}

impl BodyFilter for Call {
    fn request_data(&mut self, data: &mut Chunk, _exchange: &mut Exchange) -> BodyFlow {
        if !self.is_text {
            return BodyFlow::Continue;
        }
        self.undecoded.extend_from_slice(data);
        let whole = self.undecoded.len() / 4 * 4;
        let mut decoded = Vec::new();
        if !decode_padded(&self.undecoded[..whole], &mut decoded) {
            return refuse("grpc_base_64_decode_failed");
        }
        self.undecoded.drain(..whole);
        *data = Chunk::from(bytes::Bytes::from(decoded));
        BodyFlow::Continue
    }

    fn request_end(&mut self, _data: &mut Chunk, _exchange: &mut Exchange) -> BodyFlow {
        match self.undecoded.is_empty() {
            true => BodyFlow::Continue,
            false => refuse("grpc_base_64_decode_failed_bad_size"),
        }
    }

    fn response_headers(&mut self, exchange: &mut Exchange, whole: bool) -> HeadFlow {
        let response = &mut exchange.response;
        charge(self.scope.as_ref(), response);
        let is_answer = is_grpc_response(response, whole) || is_grpc_web(response);
        response.remove(HeaderId::ContentLength);
        response.set(
            HeaderId::ContentType,
            match self.answers_text {
                true => TEXT_PROTO,
                false => BINARY_PROTO,
            },
        );
        if whole || is_answer {
            return HeadFlow::Continue;
        }
        self.message = Some(Vec::new());
        HeadFlow::Hold
    }

    fn response_data(&mut self, data: &mut Chunk, _exchange: &mut Exchange) -> BodyFlow {
        if let Some(message) = &mut self.message {
            let room = MESSAGE_BYTES_MAX - message.len();
            message.extend_from_slice(&data[..data.len().min(room)]);
            *data = empty();
        } else if self.answers_text {
            *data = Chunk::from(bytes::Bytes::from(self.encode_frames(data)));
        }
        BodyFlow::Continue
    }

    fn kept(&self) -> usize {
        self.frame.len()
    }

    fn response_end(&mut self, data: &mut Chunk, exchange: &mut Exchange) -> BodyFlow {
        let trailers = &mut exchange.response_trailers;
        if !trailers.is_empty() {
            charge(self.scope.as_ref(), trailers);
        }
        if let Some(message) = self.message.take() {
            let response = &mut exchange.response;
            response.set_with(HeaderId::GrpcMessage, |out| write_message(&message, out));
            let status = from_http(exchange.info.response_code);
            response.set_decimal(HeaderId::GrpcStatus, status);
            response.set(HeaderId::ContentLength, b"0");
        } else if !trailers.is_empty() {
            let frame = trailers_frame(trailers);
            trailers.clear();
            *data = match self.answers_text {
                false => Chunk::from(bytes::Bytes::from(frame)),
                true => {
                    let mut text = Vec::new();
                    encode(&frame, &mut text);
                    Chunk::from(bytes::Bytes::from(text))
                }
            };
        }
        BodyFlow::Continue
    }
}

/// Whether a host has answered in gRPC-Web by itself.
fn is_grpc_web(response: &HeaderMap) -> bool {
    let content_type = response.get(HeaderId::ContentType).unwrap_or_default();
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    let name = content_type[..end].trim_ascii_end();
    response.get(HeaderId::Status) == Some(b"200")
        && (name.eq_ignore_ascii_case(BINARY) || name.eq_ignore_ascii_case(BINARY_PROTO))
}

/// Trailers as a frame.
fn trailers_frame(trailers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in trailers.iter() {
        lines.extend_from_slice(name.as_bytes());
        lines.push(b':');
        lines.extend_from_slice(value);
        lines.extend_from_slice(b"\r\n");
    }
    // Trailers are bounded by the limits of headers.
    let length = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    [&header(TRAILERS, length)[..], &lines].concat()
}
