//! Statistics of gRPC calls and their messages (`envoy.filters.http.grpc_stats`).

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use envoy_types::pb::envoy::extensions::filters::http::grpc_stats::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use pb::filter_config::PerMethodStatSpecifier;
use ringway_codecs::grpc::FrameReader;
use ringway_config::context::{Cx, unpack};
use ringway_config::filter_state::Object;

use super::grpc::{charge, is_grpc_response, names_of, scope_of};
use super::{Flow, HttpFilter, StreamContext};
use crate::formatter::grpc::is_grpc;
use crate::http::body_filter::{BodyFilter, BodyFlow, HeadFlow};
use crate::http::exchange::Exchange;
use crate::reactor::{self, Chunk};
use crate::stats::grpc::GrpcScope;
use crate::stream_info::TimePoint;

/// The compiled filter.
pub struct GrpcStats {
    emits_filter_state: bool,
    upstream_stats: bool,
    methods: Methods,
}

/// Whose calls are counted under their names.
enum Methods {
    None,
    All {
        replaces_dots: bool,
    },
    /// Services with their methods.
    Listed(HashMap<Box<[u8]>, HashSet<Box<[u8]>>>),
}

impl GrpcStats {
    /// Compiles `envoy.extensions.filters.http.grpc_stats.v3.FilterConfig`.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::FilterConfig>(any, cx)?;
        let bytes = |text: &str| Box::from(text.as_bytes());
        let methods = match &proto.per_method_stat_specifier {
            Some(PerMethodStatSpecifier::StatsForAllMethods(all)) if all.value => Methods::All {
                replaces_dots: proto.replace_dots_in_grpc_service_name,
            },
            Some(PerMethodStatSpecifier::IndividualMethodStatsAllowlist(list)) => {
                let mut listed: HashMap<_, HashSet<_>> = HashMap::new();
                for service in &list.services {
                    let methods = listed.entry(bytes(&service.name)).or_default();
                    methods.extend(service.method_names.iter().map(|name| bytes(name)));
                }
                Methods::Listed(listed)
            }
            Some(PerMethodStatSpecifier::StatsForAllMethods(_)) | None => Methods::None,
        };
        Some(Self {
            emits_filter_state: proto.emit_filter_state,
            upstream_stats: proto.enable_upstream_stats,
            methods,
        })
    }

    fn scope(&self, stream: &StreamContext<'_>) -> Option<Rc<GrpcScope>> {
        let (service, method) = names_of(&stream.exchange.request)?;
        match &self.methods {
            Methods::All {
                replaces_dots: true,
            } => {
                let service: Vec<_> = service
                    .iter()
                    .map(|byte| if *byte == b'.' { b'_' } else { *byte })
                    .collect();
                scope_of("grpc", Some((&service, method)), stream)
            }
            Methods::All { .. } => scope_of("grpc", Some((service, method)), stream),
            Methods::Listed(listed) => {
                let methods = listed.get(service);
                let is_listed = methods.is_some_and(|methods| methods.contains(method));
                let names = is_listed.then_some((service, method));
                scope_of("grpc", names, stream)
            }
            Methods::None => scope_of("grpc", None, stream),
        }
    }
}

impl HttpFilter for GrpcStats {
    fn name(&self) -> &'static str {
        "envoy.filters.http.grpc_stats"
    }

    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow {
        if !is_grpc(&stream.exchange.request) {
            return Flow::Continue;
        }
        let scope = self.scope(stream);
        stream.watch_bodies(Box::new(Call {
            scope,
            emits_filter_state: self.emits_filter_state,
            upstream_stats: self.upstream_stats,
            request: FrameReader::default(),
            response: FrameReader::default(),
            is_grpc_response: false,
        }))
    }
}

/// What is counted of one call.
#[derive(Debug)]
struct Call {
    scope: Option<Rc<GrpcScope>>,
    emits_filter_state: bool,
    upstream_stats: bool,
    request: FrameReader,
    response: FrameReader,
    is_grpc_response: bool,
}

impl Call {
    fn note_messages(&self, exchange: &mut Exchange) {
        if self.emits_filter_state {
            let counts = Object::GrpcMessages {
                request: self.request.begun(),
                response: self.response.begun(),
            };
            let state = exchange.info.filter_state_mut();
            state.set("envoy.filters.http.grpc_stats", counts);
        }
    }

    /// How long the host took, from the last byte of the request.
    fn note_time(&self, exchange: &Exchange) {
        let info = &exchange.info;
        if self.upstream_stats
            && let Some(scope) = &self.scope
            && let Some(sent) = info.elapsed(TimePoint::UpstreamTxEnd)
        {
            let took = reactor::now().saturating_duration_since(info.start + sent);
            scope.upstream_time(took.as_millis() as u64);
        }
    }
}

/// How many frames begin in `data`.
fn count(frames: &mut FrameReader, data: &[u8]) -> u64 {
    let before = frames.begun();
    let mut rest = data;
    while frames.next(&mut rest).is_some() {}
    frames.begun() - before
}

impl BodyFilter for Call {
    fn request_data(&mut self, data: &mut Chunk, exchange: &mut Exchange) -> BodyFlow {
        let begun = count(&mut self.request, data);
        if begun > 0 {
            self.note_messages(exchange);
            if let Some(scope) = &self.scope {
                scope.request_messages(begun);
            }
        }
        BodyFlow::Continue
    }

    fn response_headers(&mut self, exchange: &mut Exchange, whole: bool) -> HeadFlow {
        self.is_grpc_response = is_grpc_response(&exchange.response, whole);
        charge(self.scope.as_ref(), &exchange.response);
        if whole {
            self.note_time(exchange);
        }
        HeadFlow::Continue
    }

    fn response_data(&mut self, data: &mut Chunk, exchange: &mut Exchange) -> BodyFlow {
        if !self.is_grpc_response {
            return BodyFlow::Continue;
        }
        let begun = count(&mut self.response, data);
        if begun > 0 {
            self.note_messages(exchange);
            if let Some(scope) = &self.scope {
                scope.response_messages(begun);
            }
        }
        BodyFlow::Continue
    }

    fn response_end(&mut self, _data: &mut Chunk, exchange: &mut Exchange) -> BodyFlow {
        if !exchange.response_trailers.is_empty() {
            charge(self.scope.as_ref(), &exchange.response_trailers);
            self.note_time(exchange);
        }
        BodyFlow::Continue
    }
}
