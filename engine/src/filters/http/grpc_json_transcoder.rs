//! JSON clients of gRPC hosts (`envoy.filters.http.grpc_json_transcoder`): a
//! request that a `google.api.http` rule describes becomes a call, and its
//! messages JSON. What is made of what says [`Transcoder`]; here is how it goes
//! through the proxy.

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::filters::http::grpc_json_transcoder::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use pb::grpc_json_transcoder::DescriptorSet;
use ringway_codecs::grpc::MessageReader;
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::context::{Cx, unpack};
use ringway_config::transcoding::{ArrayReader, Call, Framing, NoCall, Transcoder, Untranslatable};

use super::grpc::{GRPC, framed, is_grpc_response};
use super::{Flow, HttpFilter, StreamContext};
use crate::data_source;
use crate::formatter::grpc::{self, is_grpc};
use crate::http::body_filter::{Answer, BodyFilter, BodyFlow, HeadFlow, empty};
use crate::http::exchange::Exchange;
use crate::reactor::Chunk;
use crate::stream_info::{Protocol, details};

const JSON: &[u8] = b"application/json";

/// The compiled filter.
pub struct GrpcJsonTranscoder {
    /// `None` is a filter without services, which is off.
    own: Option<Arc<Transcoder>>,
    overrides: Vec<Option<Arc<Transcoder>>>,
}

impl GrpcJsonTranscoder {
    /// Compiles
    /// `envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder`.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        Some(Self {
            own: compile(any, cx)?,
            overrides: Vec::new(),
        })
    }

    fn settings(&self, stream: &StreamContext<'_>) -> Option<&Arc<Transcoder>> {
        match stream.settings {
            Some(number) => self.overrides[number as usize].as_ref(),
            None => self.own.as_ref(),
        }
    }
}

fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Option<Arc<Transcoder>>> {
    let proto = unpack::<pb::GrpcJsonTranscoder>(any, cx)?;
    if proto.services.is_empty() {
        return Some(None);
    }
    let (field, descriptors) = match &proto.descriptor_set {
        Some(DescriptorSet::ProtoDescriptorBin(bytes)) => ("proto_descriptor_bin", bytes.clone()),
        Some(DescriptorSet::ProtoDescriptor(name)) => {
            let read = cx.field("proto_descriptor", |cx| data_source::file(name, cx))?;
            ("proto_descriptor", read.into())
        }
        None => {
            cx.error("one of proto_descriptor and proto_descriptor_bin is needed");
            return None;
        }
    };
    match Transcoder::new(&descriptors, &proto) {
        Ok(transcoder) => Some(Some(Arc::new(transcoder))),
        Err((at, reason)) => {
            cx.error_at(if at.is_empty() { field } else { at }, reason);
            None
        }
    }
}

impl HttpFilter for GrpcJsonTranscoder {
    fn name(&self) -> &'static str {
        "envoy.filters.http.grpc_json_transcoder"
    }

    fn compile_override(&mut self, config: &Any, cx: &mut Cx<'_>) -> Option<u32> {
        let compiled = compile(config, cx)?;
        self.overrides.push(compiled);
        Some(self.overrides.len() as u32 - 1)
    }

    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow {
        let Some(transcoder) = self.settings(stream) else {
            return Flow::Continue;
        };
        let request = &stream.exchange.request;
        if is_grpc(request) {
            return Flow::Continue;
        }
        let part = |id| request.get(id).unwrap_or_default();
        let call = match transcoder.find(part(HeaderId::Method), part(HeaderId::Path)) {
            Ok(call) => call,
            Err(NoCall::Passed) => return Flow::Continue,
            Err(NoCall::Refused(status, text, code)) => {
                return refuse(stream.exchange, status, text, "early_", code);
            }
        };
        let is_whole = stream.exchange.request_complete;
        let content_type = part(HeaderId::ContentType).into();
        begin_call(transcoder, &call, stream.exchange);
        if !transcoder.keeps_route {
            stream.clear_route_cache();
        }
        let conversion = Conversion {
            array: (transcoder.streams_requests(&call)).then(ArrayReader::default),
            transcoder: Arc::clone(transcoder),
            call,
            content_type,
            request: Vec::new(),
            messages: MessageReader::new(usize::MAX),
            response: Vec::new(),
            state: State::Begun,
            has_messages: false,
            kept: 0,
        };
        if is_whole {
            let messages = match conversion.translate(b"") {
                Ok(messages) => messages,
                Err(Untranslatable(text)) => {
                    return refuse(stream.exchange, 400, text, "early_", INVALID_ARGUMENT);
                }
            };
            let flow = stream.watch_bodies(Box::new(conversion));
            stream.exchange.replay.extend_from_slice(&messages);
            return flow;
        }
        stream.watch_bodies(Box::new(conversion))
    }
}

/// The code of what is wrong with a request.
const INVALID_ARGUMENT: &str = "INVALID_ARGUMENT";

/// Answers a request that cannot be made into a call.
fn refuse(exchange: &mut Exchange, status: u16, text: String, early: &str, code: &str) -> Flow {
    Flow::Answer(failed(exchange, status, text, early, code))
}

fn failed(
    exchange: &mut Exchange,
    status: u16,
    text: String,
    early: &str,
    code: &str,
) -> Box<Answer> {
    let details = &mut exchange.info.details;
    details.compose(format_args!("{early}grpc_json_transcode_failure{{{code}}}"));
    Box::new(Answer {
        status,
        body: text.into_bytes(),
        details: "",
        grpc_status: None,
    })
}

/// Makes a request's headers those of a call.
fn begin_call(transcoder: &Transcoder, call: &Call, exchange: &mut Exchange) {
    exchange.speaks_grpc = Some(false);
    let request = &mut exchange.request;
    let copy = |request: &HeaderMap, id| request.get(id).unwrap_or_default().to_vec();
    let (path, method) = (
        copy(request, HeaderId::Path),
        copy(request, HeaderId::Method),
    );
    request.remove(HeaderId::ContentLength);
    request.set(HeaderId::ContentType, GRPC);
    request.set(HeaderId::XEnvoyOriginalPath, &path);
    request.set_name(b"x-envoy-original-method", &method);
    request.set(HeaderId::Path, transcoder.path(call).as_bytes());
    request.set(HeaderId::Method, b"POST");
    request.set(HeaderId::Te, b"trailers");
}

/// A request and its response.
#[derive(Debug)]
struct Conversion {
    transcoder: Arc<Transcoder>,
    call: Call,
    content_type: Box<[u8]>,
    /// The request's body, which is made into a message when it is complete.
    request: Vec<u8>,
    /// Of a request that has any number of messages, each of which is sent as
    /// soon as it is complete.
    array: Option<ArrayReader>,
    messages: MessageReader,
    /// What is kept of the response's body until its headers go.
    response: Vec<u8>,
    state: State,
    /// The response has had messages.
    has_messages: bool,
    /// Bytes of a message that is arriving.
    kept: usize,
}

/// How far the response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begun,
    /// It is none of gRPC, and goes on as it is.
    Passed,
    /// Its headers wait for its status.
    Held,
    /// Its headers wait for what its first message carries.
    HeldForType,
    /// Its headers are out.
    Streaming,
}

impl Conversion {
    fn translate(&self, body: &[u8]) -> Result<Vec<u8>, Untranslatable> {
        let messages = self
            .transcoder
            .request(&self.call, &self.content_type, body)?;
        Ok(messages
            .iter()
            .flat_map(|message| framed(message))
            .collect())
    }

    /// The messages that this part of a request completes.
    fn translate_part(
        &mut self,
        data: &[u8],
        exchange: &mut Exchange,
    ) -> Result<Vec<u8>, Box<Answer>> {
        let mut rest = data;
        let mut messages = Vec::new();
        let Some(array) = &mut self.array else {
            return Ok(messages);
        };
        let mut next = || {
            let value = array.next(&mut rest)?;
            value
                .map(|value| self.transcoder.one_of(&self.call, &value))
                .transpose()
        };
        loop {
            match next() {
                Ok(Some(message)) => messages.extend(framed(&message)),
                Ok(None) => break,
                Err(Untranslatable(text)) => {
                    return Err(failed(exchange, 400, text, "", INVALID_ARGUMENT));
                }
            }
        }
        match is_too_long(&self.transcoder, array.kept()) {
            true => Err(too_large()),
            false => Ok(messages),
        }
    }

    /// What the response is, unless it carries something that says so itself.
    fn content_type(&self) -> &'static [u8] {
        match self.streams() && self.transcoder.framing() == Framing::Events {
            true => b"text/event-stream",
            false => JSON,
        }
    }

    fn streams(&self) -> bool {
        self.transcoder.streams_responses(&self.call)
    }

    /// Makes what is complete of the response JSON.
    fn convert(&mut self, data: &[u8], exchange: &mut Exchange) -> Result<(), BodyFlow> {
        let mut rest = data;
        self.kept += data.len();
        while let Ok(Some(message)) = self.messages.next(&mut rest) {
            self.kept = rest.len();
            let written = match self.transcoder.carries_body(&self.call) {
                true => self.carry(&message.bytes, exchange),
                false => self.write(&message.bytes),
            };
            self.has_messages = true;
            if let Err(Untranslatable(text)) = written {
                let answer = failed(exchange, 502, text, "", "INTERNAL");
                return Err(BodyFlow::Answer(answer));
            }
        }
        Ok(())
    }

    fn write(&mut self, message: &[u8]) -> Result<(), Untranslatable> {
        let framing = self.streams().then(|| self.transcoder.framing());
        let out = &mut self.response;
        match framing {
            Some(Framing::Array) => out.push(if self.has_messages { b',' } else { b'[' }),
            Some(Framing::Events) => out.extend_from_slice(b"data: "),
            Some(Framing::Lines) | None => {}
        }
        self.transcoder.response(&self.call, message, out)?;
        match framing {
            Some(Framing::Lines) => out.push(b'\n'),
            Some(Framing::Events) => out.extend_from_slice(b"\n\n"),
            Some(Framing::Array) | None => {}
        }
        Ok(())
    }

    fn carry(&mut self, message: &[u8], exchange: &mut Exchange) -> Result<(), Untranslatable> {
        let body = self.transcoder.carried(&self.call, message)?;
        if !self.has_messages {
            let content_type = body.content_type.as_bytes();
            exchange.response.set(HeaderId::ContentType, content_type);
        }
        self.response.extend_from_slice(&body.data);
        Ok(())
    }

    fn take_response(&mut self) -> Chunk {
        Chunk::from(bytes::Bytes::from(std::mem::take(&mut self.response)))
    }

    /// Ends a response whose headers were held back; its status is in `trailers`.
    fn finish(&mut self, exchange: &mut Exchange, trailers: &HeaderMap) {
        let status = trailers.get(HeaderId::GrpcStatus);
        let code = status.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u32>().ok());
        let response = &mut exchange.response;
        let http = match code {
            Some(_) => grpc::http_status(trailers).unwrap_or(500),
            None => 503,
        };
        response.set_decimal(HeaderId::Status, http);
        if let Some(status) = status.filter(|_| code.is_some()) {
            response.set(HeaderId::GrpcStatus, status);
        }
        if let Some(message) = trailers.get(HeaderId::GrpcMessage) {
            response.set(HeaderId::GrpcMessage, message);
        }
        drop_trailer(exchange);
        let length = self.response.len();
        exchange
            .response
            .set_decimal(HeaderId::ContentLength, length);
    }

    /// Puts the status in `trailers` into the body, where there is no other and
    /// the configuration says so.
    fn convert_status(&mut self, exchange: &mut Exchange, trailers: &HeaderMap) -> bool {
        let status = trailers.get(HeaderId::GrpcStatus);
        let code = status.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u32>().ok());
        let Some(code) = code.filter(|code| *code != 0 && !self.has_messages) else {
            return false;
        };
        let message = trailers.get(HeaderId::GrpcMessage).unwrap_or_default();
        let text = grpc::read_message(message);
        let details = trailers.get(HeaderId::GrpcStatusDetailsBin);
        self.response.clear();
        if !(self.transcoder).status(code, &text, details, &mut self.response) {
            return false;
        }
        let http = grpc::http_status(trailers).unwrap_or(500);
        exchange.response.set_decimal(HeaderId::Status, http);
        drop_trailer(exchange);
        let response = &mut exchange.response;
        response.set(HeaderId::ContentType, JSON);
        response.set_decimal(HeaderId::ContentLength, self.response.len());
        true
    }
}

/// Whether more of a request waits than may.
fn is_too_long(transcoder: &Transcoder, bytes: usize) -> bool {
    let max = transcoder.request_bytes_max;
    max.is_some_and(|max| bytes > max as usize)
}

fn too_large() -> Box<Answer> {
    Box::new(Answer {
        status: 413,
        body: b"Payload Too Large".to_vec(),
        details: details::REQUEST_PAYLOAD_TOO_LARGE,
        grpc_status: None,
    })
}

/// Clients of HTTP/1 get no trailers here.
fn drop_trailer(exchange: &mut Exchange) {
    if matches!(exchange.protocol, Protocol::Http10 | Protocol::Http11) {
        exchange.response.remove(HeaderId::Trailer);
    }
}

impl BodyFilter for Conversion {
    fn request_data(&mut self, data: &mut Chunk, exchange: &mut Exchange) -> BodyFlow {
        if self.array.is_some() {
            return match self.translate_part(data, exchange) {
                Ok(messages) => {
                    *data = Chunk::from(bytes::Bytes::from(messages));
                    BodyFlow::Continue
                }
                Err(answer) => BodyFlow::Answer(answer),
            };
        }
        self.request.extend_from_slice(data);
        *data = empty();
        match is_too_long(&self.transcoder, self.request.len()) {
            true => BodyFlow::Answer(too_large()),
            false => BodyFlow::Continue,
        }
    }

    fn request_end(&mut self, data: &mut Chunk, exchange: &mut Exchange) -> BodyFlow {
        let body = std::mem::take(&mut self.request);
        let translated = match &self.array {
            Some(array) => array.end().map(|()| Vec::new()),
            None => self.translate(&body),
        };
        match translated {
            Ok(messages) => {
                *data = Chunk::from(bytes::Bytes::from(messages));
                BodyFlow::Continue
            }
            Err(Untranslatable(text)) => {
                BodyFlow::Answer(failed(exchange, 400, text, "", INVALID_ARGUMENT))
            }
        }
    }

    fn response_headers(&mut self, exchange: &mut Exchange, whole: bool) -> HeadFlow {
        if !is_grpc_response(&exchange.response, whole) {
            self.state = State::Passed;
            return HeadFlow::Continue;
        }
        if whole {
            // The headers are the trailers as well.
            let trailers = std::mem::take(&mut exchange.response);
            exchange.response.clone_from(&trailers);
            if self.convert_status(exchange, &trailers) {
                for id in [
                    HeaderId::GrpcStatus,
                    HeaderId::GrpcMessage,
                    HeaderId::GrpcStatusDetailsBin,
                ] {
                    exchange.response.remove(id);
                }
                self.state = State::Held;
                return HeadFlow::Hold;
            }
            self.finish(exchange, &trailers);
            if self.streams() {
                exchange
                    .response
                    .set(HeaderId::ContentType, self.content_type());
                let carries = self.transcoder.carries_body(&self.call);
                if !carries && self.transcoder.framing() == Framing::Array {
                    self.response.extend_from_slice(b"[]");
                    exchange.response.remove(HeaderId::ContentLength);
                }
            }
            self.state = State::Held;
            return HeadFlow::Hold;
        }
        let carries = self.transcoder.carries_body(&self.call);
        self.state = match (self.streams(), carries) {
            (true, true) => State::HeldForType,
            (true, false) => State::Streaming,
            (false, _) => State::Held,
        };
        if self.state != State::HeldForType {
            exchange
                .response
                .set(HeaderId::ContentType, self.content_type());
        }
        if self.state == State::Streaming {
            exchange.response.remove(HeaderId::ContentLength);
            return HeadFlow::Continue;
        }
        HeadFlow::Hold
    }

    fn response_data(&mut self, data: &mut Chunk, exchange: &mut Exchange) -> BodyFlow {
        if self.state == State::Passed {
            return BodyFlow::Continue;
        }
        if let Err(failed) = self.convert(data, exchange) {
            return failed;
        }
        if let Some(max) = self.transcoder.response_bytes_max
            && self.response.len() + self.kept > max as usize
        {
            return BodyFlow::Answer(Box::new(Answer {
                status: 500,
                body: b"Internal Server Error".to_vec(),
                details: details::RESPONSE_PAYLOAD_TOO_LARGE,
                grpc_status: None,
            }));
        }
        *data = empty();
        match self.state {
            State::Streaming => *data = self.take_response(),
            State::HeldForType if self.has_messages => {
                self.state = State::Streaming;
                exchange.response.remove(HeaderId::ContentLength);
                *data = self.take_response();
                return BodyFlow::Release;
            }
            _ => {}
        }
        BodyFlow::Continue
    }

    fn kept(&self) -> usize {
        let of_request = self.array.as_ref().map_or(0, ArrayReader::kept);
        of_request + self.request.len() + self.response.len() + self.kept
    }

    fn response_end(&mut self, data: &mut Chunk, exchange: &mut Exchange) -> BodyFlow {
        let trailers = std::mem::take(&mut exchange.response_trailers);
        let has_trailers = !trailers.is_empty();
        match self.state {
            State::Passed | State::Begun => {}
            State::Streaming => {
                if !self.transcoder.carries_body(&self.call)
                    && self.transcoder.framing() == Framing::Array
                {
                    let end: &[u8] = if self.has_messages { b"]" } else { b"[]" };
                    self.response.extend_from_slice(end);
                }
            }
            State::Held | State::HeldForType => {
                if has_trailers && !self.convert_status(exchange, &trailers) {
                    self.finish(exchange, &trailers);
                }
            }
        }
        exchange.response_trailers = trailers;
        if self.state != State::Passed {
            *data = self.take_response();
        }
        BodyFlow::Continue
    }
}
