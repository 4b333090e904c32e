//! Clients of HTTP/1 that speak gRPC without trailers
//! (`envoy.filters.http.grpc_http1_bridge`): the response is put together, and
//! its status goes into the headers. Bare protobuf can be framed on its way.

use envoy_types::pb::envoy::extensions::filters::http::grpc_http1_bridge::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use ringway_codecs::grpc::HEADER_BYTES;
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::context::{Cx, unpack};

use super::grpc::{GRPC, framed};
use super::{Flow, HttpFilter, StreamContext};
use crate::formatter::grpc::is_grpc;
use crate::http::body_filter::{BodyFilter, BodyFlow, HeadFlow, empty};
use crate::http::exchange::Exchange;
use crate::reactor::Chunk;
use crate::stream_info::Protocol;

/// What bare protobuf calls itself.
const PROTOBUF: &[u8] = b"application/x-protobuf";

/// The compiled filter.
pub struct GrpcHttp1Bridge {
    upgrades_protobuf: bool,
    ignores_query: bool,
}

impl GrpcHttp1Bridge {
    /// Compiles `envoy.extensions.filters.http.grpc_http1_bridge.v3.Config`.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::Config>(any, cx)?;
        Some(Self {
            upgrades_protobuf: proto.upgrade_protobuf_to_grpc,
            ignores_query: proto.ignore_query_parameters,
        })
    }
}

impl HttpFilter for GrpcHttp1Bridge {
    fn name(&self) -> &'static str {
        "envoy.filters.http.grpc_http1_bridge"
    }

    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow {
        let exchange = &*stream.exchange;
        let speaks_grpc = is_grpc(&exchange.request);
        let is_http1 = matches!(exchange.protocol, Protocol::Http10 | Protocol::Http11);
        let frames =
            self.upgrades_protobuf && exchange.request.get(HeaderId::ContentType) == Some(PROTOBUF);
        if !is_http1 || !speaks_grpc && !frames {
            return Flow::Continue;
        }
        let exchange = &mut *stream.exchange;
        exchange.speaks_grpc = Some(speaks_grpc);
        if frames {
            exchange.request.set(HeaderId::ContentType, GRPC);
            exchange.request.remove(HeaderId::ContentLength);
        }
        if self.ignores_query {
            drop_query(&mut exchange.request);
        }
        if frames {
            stream.clear_route_cache();
        }
        stream.watch_bodies(Box::new(Call {
            frames,
            request: Vec::new(),
            response: Vec::new(),
            holds: false,
        }))
    }
}

fn drop_query(request: &mut HeaderMap) {
    let path = request.get(HeaderId::Path).unwrap_or_default();
    if let Some(query) = memchr::memchr(b'?', path) {
        let path = path[..query].to_vec();
        request.set(HeaderId::Path, &path);
    }
}

/// One call.
#[derive(Debug)]
struct Call {
    frames: bool,
    request: Vec<u8>,
    response: Vec<u8>,
    holds: bool,
}

impl BodyFilter for Call {
    fn request_data(&mut self, data: &mut Chunk, _exchange: &mut Exchange) -> BodyFlow {
        if self.frames {
            self.request.extend_from_slice(data);
            *data = empty();
        }
        BodyFlow::Continue
    }

    fn request_end(&mut self, data: &mut Chunk, _exchange: &mut Exchange) -> BodyFlow {
        if self.frames {
            *data = Chunk::from(bytes::Bytes::from(framed(&self.request)));
            self.request = Vec::new();
        }
        BodyFlow::Continue
    }

    fn response_headers(&mut self, _exchange: &mut Exchange, whole: bool) -> HeadFlow {
        if whole {
            return HeadFlow::Continue;
        }
        self.holds = true;
        HeadFlow::Hold
    }

    fn response_data(&mut self, data: &mut Chunk, _exchange: &mut Exchange) -> BodyFlow {
        if self.holds {
            self.response.extend_from_slice(data);
            *data = empty();
        }
        BodyFlow::Continue
    }

    fn kept(&self) -> usize {
        self.request.len() + self.response.len()
    }

    fn response_end(&mut self, data: &mut Chunk, exchange: &mut Exchange) -> BodyFlow {
        let (response, trailers) = (&mut exchange.response, &exchange.response_trailers);
        if !self.holds {
            return BodyFlow::Continue;
        }
        let mut body = std::mem::take(&mut self.response);
        if !trailers.is_empty() {
            if self.frames {
                body.drain(..body.len().min(HEADER_BYTES));
            }
            if let Some(status) = trailers.get(HeaderId::GrpcStatus) {
                if !is_ok(status) {
                    response.set(HeaderId::Status, b"503");
                }
                response.set(HeaderId::GrpcStatus, status);
            }
            if let Some(message) = trailers.get(HeaderId::GrpcMessage) {
                response.set(HeaderId::GrpcMessage, message);
            }
            response.set_decimal(HeaderId::ContentLength, body.len());
        }
        *data = Chunk::from(bytes::Bytes::from(body));
        BodyFlow::Continue
    }
}

fn is_ok(status: &[u8]) -> bool {
    let status = std::str::from_utf8(status).ok();
    status.and_then(|text| text.parse::<u64>().ok()) == Some(0)
}
