//! Tunnels (`tunneling_config`): the bytes of a connection go through another proxy,
//! as what follows a CONNECT, or as the body of a POST.
//!
//! The other proxy's answer is waited for before anything is carried; one that is no
//! success is as bad as a host that cannot be reached. As RFC 9110 section 9.3.6 has
//! it, the end of the host's side is the end of both, and with HTTP/1 so is the end
//! of the client's; HTTP/2 can end one direction of a stream alone.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::TunnelingConfig;
use ringway_codecs::header::{HeaderId, HeaderMap, Lines};
use ringway_codecs::http1::HeadEnd;
use ringway_config::Cx;
use ringway_config::filter_state::Object;
use ringway_config::format_strings::FormatStrings;
use ringway_config::route::HeaderChanges;

use super::Session;
use super::propagated::{self, Propagated};
use crate::filters::http::router::{Asked, Codec, Interims, is_interim};
use crate::formatter::{Context as FormatContext, Formatter};
use crate::http::exchange::Tunnel as Becomes;
use crate::http::header_parser::{self, AddedHeaders, Message};
use crate::http::http1::reader::{BodyPart, ReadError, RequestFacts};
use crate::http::http2::error::Http2Error;
use crate::http::route_table::compile_formats;
use crate::reactor::{self, Chunk};
use crate::stream_info::StreamInfo;
use crate::upstream::conn_pool::{Lease, Speaks};

/// How tunnels are asked for.
pub struct TunnelConfig {
    hostname: Formatter,
    /// Of a POST; `None` is a CONNECT.
    post_path: Option<Box<[u8]>>,
    headers: AddedHeaders,
    propagated: Propagated,
}

impl TunnelConfig {
    /// Compiles the message.
    pub(super) fn compile(proto: &TunnelingConfig, cx: &mut Cx<'_>) -> Option<Self> {
        let hostname = match Formatter::parse(&proto.hostname) {
            Ok(format) => Some(format),
            Err(error) => {
                cx.error_at("hostname", error.to_string());
                None
            }
        };
        if !proto.use_post && !proto.post_path.is_empty() {
            cx.error_at("post_path", "has no use without use_post");
        }
        let path = match proto.post_path.as_str() {
            "" => "/",
            path => path,
        };
        let mut strings = FormatStrings::default();
        let field = "headers_to_add";
        let added = HeaderChanges::lower_request(field, &proto.headers_to_add, &mut strings, cx);
        let formats = compile_formats(&strings, cx);
        Some(Self {
            hostname: hostname?,
            post_path: proto.use_post.then(|| path.as_bytes().into()),
            headers: AddedHeaders {
                changes: added?,
                formats: formats?,
            },
            propagated: Propagated {
                headers: proto.propagate_response_headers,
                trailers: proto.propagate_response_trailers,
            },
        })
    }

    /// What a tunnel for this connection is asked for with.
    pub(super) fn request(&self, session: &mut Session) -> Request {
        let worker = &session.worker;
        let (now, wall) = (reactor::now(), reactor::wall_clock());
        let connection = Rc::clone(&session.info.connection);
        let mut exchange = worker.exchanges.borrow_mut().take(connection, now, wall);
        let mut authority = Vec::new();
        let context = FormatContext::of_connection(&session.info);
        self.hostname.write(&context, &mut authority);
        let mut head = HeaderMap::of(Lines::Request);
        match &self.post_path {
            None => head.set(HeaderId::Method, b"CONNECT"),
            Some(path) => {
                head.set(HeaderId::Method, b"POST");
                head.set(HeaderId::Path, path);
                head.set(HeaderId::Scheme, b"http");
            }
        }
        head.set(HeaderId::Authority, &authority);
        // Headers are made of what is known of the connection.
        std::mem::swap(&mut exchange.request, &mut head);
        std::mem::swap(&mut exchange.info, &mut session.info);
        let AddedHeaders { changes, formats } = &self.headers;
        let scratch = &mut *worker.header_scratch.borrow_mut();
        header_parser::apply(changes, formats, Message::Request, &mut exchange, scratch);
        std::mem::swap(&mut exchange.info, &mut session.info);
        std::mem::swap(&mut exchange.request, &mut head);
        worker.exchanges.borrow_mut().put(exchange);
        Request {
            head,
            posts: self.post_path.is_some(),
            propagated: self.propagated,
        }
    }
}

/// A request for a tunnel.
pub(super) struct Request {
    head: HeaderMap,
    posts: bool,
    propagated: Propagated,
}

/// What asking for a tunnel has led to.
pub(super) struct Opened {
    pub tunnel: Result<Tunnel, Refused>,
    /// The other proxy's headers, where somebody wants them.
    pub headers: Option<Object>,
}

/// Why there is no tunnel.
pub(super) enum Refused {
    /// The other proxy has answered with this status.
    Status(u16),
    /// Its answer is none.
    Protocol,
    /// It has broken off.
    Broken,
}

/// A tunnel on a connection to the other proxy.
pub(super) struct Tunnel {
    codec: Codec,
    posts: bool,
    /// The end of one direction is the end of both.
    is_http1: bool,
    trailers: HeaderMap,
    /// The trailers are to be told of.
    propagates_trailers: bool,
    is_finished: bool,
}

impl Tunnel {
    /// Asks for a tunnel and waits for the answer.
    pub(super) async fn open(lease: &Lease, request: &Request) -> Opened {
        let becomes = match request.posts {
            true => Becomes::None,
            false => Becomes::Connect,
        };
        let asked = Asked {
            end: match request.posts {
                true => HeadEnd::Chunked,
                false => HeadEnd::Fields,
            },
            has_body: true,
            tunnel: becomes,
        };
        let (codec, _) = Codec::start(lease, &request.head, asked);
        let mut tunnel = Self {
            codec,
            posts: request.posts,
            is_http1: lease.speaks() == Speaks::Http1,
            trailers: HeaderMap::of(Lines::ResponseTrailers),
            propagates_trailers: request.propagated.trailers,
            is_finished: false,
        };
        let (status, headers) = match tunnel.answer(lease).await {
            Ok(answer) => answer,
            Err(refused) => {
                return Opened {
                    tunnel: Err(refused),
                    headers: None,
                };
            }
        };
        let is_success = match tunnel.is_http1 {
            true => (200..300).contains(&status),
            false => status == 200,
        };
        let is_told = request.propagated.headers;
        Opened {
            tunnel: match is_success {
                true => Ok(tunnel),
                false => Err(Refused::Status(status)),
            },
            headers: is_told.then(|| propagated::object(&headers)),
        }
    }

    /// The answer: its status and its headers.
    async fn answer(&mut self, lease: &Lease) -> Result<(u16, HeaderMap), Refused> {
        let facts = RequestFacts {
            is_head: false,
            is_connect: !self.posts,
        };
        let mut interims = Interims::default();
        loop {
            let mut headers = HeaderMap::of(Lines::Response);
            let answer = poll_fn(|cx| self.codec.poll_response(lease, facts, &mut headers, cx));
            let head = answer.await.map_err(|error| match error {
                ReadError::Protocol(_) | ReadError::Http2(Http2Error::Protocol) => {
                    Refused::Protocol
                }
                _ => Refused::Broken,
            })?;
            if !is_interim(head.status) {
                return Ok((head.status, headers));
            }
            interims.note().map_err(|_| Refused::Protocol)?;
        }
    }

    /// Whether the end of the client's side is the end of both.
    pub(super) fn ends_with_client(&self) -> bool {
        self.is_http1
    }

    /// Polls until the other proxy takes more.
    pub(super) fn poll_room(
        &mut self,
        lease: &Lease,
        below: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match self.codec.poll_room(lease, below, cx) {
            // A proxy that has ended its stream wants no more, and what comes goes nowhere.
            // What is still to be read of the stream tells why, and is not lost.
            Poll::Ready(Err(())) if !self.is_http1 => Poll::Ready(Ok(())),
            room => room.map_err(|()| io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Polls for bytes of the host; `None` is its end.
    pub(super) fn poll_recv(
        &mut self,
        lease: &Lease,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        // Of a tunnel over HTTP/2 what follows the bytes may be wanted, too.
        let reads_body = self.posts || self.propagates_trailers && !self.is_http1;
        let read = match reads_body {
            false => self.codec.poll_raw(lease, cx),
            true => {
                let part = self.codec.poll_body(lease, &mut self.trailers, cx);
                part.map_ok(|part| match part {
                    BodyPart::Data(data) => Some(data),
                    BodyPart::End => None,
                })
            }
        };
        // Whatever the other proxy did, as in Envoy it has not reset the client's
        // connection.
        read.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Queues bytes of the client.
    pub(super) fn write(&mut self, lease: &Lease, chunk: Chunk) {
        match self.posts {
            false => self.codec.send_raw(lease, chunk),
            true => self.codec.send_data(lease, chunk, false),
        }
    }

    /// Ends the client's direction.
    pub(super) fn finish(&mut self, lease: &Lease) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        match self.posts {
            false => self.codec.end_raw(lease),
            true => {
                self.codec.send_end(lease, &mut HeaderMap::default());
            }
        }
    }

    /// Tells of the other proxy's trailers, if there were any and somebody wants them.
    pub(super) fn note_trailers(&self, info: &mut StreamInfo) {
        if self.propagates_trailers && !self.trailers.is_empty() {
            let object = propagated::object(&self.trailers);
            info.filter_state_mut().set(propagated::TRAILERS, object);
        }
    }

    /// Adds what has moved on the connection.
    pub(super) fn count(&mut self, lease: &Lease, info: &mut StreamInfo) {
        let moved = self.codec.take_moved(lease);
        moved.add_to(&mut info.upstream_bytes);
    }
}
