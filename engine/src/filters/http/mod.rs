//! HTTP filters (`envoy.filters.http.*`): what a request runs through between
//! its route and the router.
//!
//! A filter is one file, named as its extension is, and one line in the
//! registry. Its compiled configuration is immutable and shared by all
//! workers; [`HttpFilter::request_headers`] is a plain call that allocates
//! nothing. The router is the terminal filter and is not in the chain: the
//! connection manager calls it when every filter has let the request pass.

pub mod custom_response;
pub mod dynamic_forward_proxy;
pub mod fault;
mod grpc;
pub mod grpc_http1_bridge;
pub mod grpc_http1_reverse_bridge;
pub mod grpc_json_transcoder;
pub mod grpc_stats;
pub mod grpc_web;
pub mod header_to_metadata;
pub mod health_check;
mod overrides;
pub mod peak_ewma;
pub mod router;
pub mod set_filter_state;
pub mod set_metadata;

use std::future::Future;
use std::pin::Pin;

use envoy_types::pb::google::protobuf::Any;
use ringway_codecs::header::HeaderMap;
use ringway_config::context::Cx;
use ringway_config::route::{OverridesId, SelectedRoute};

pub use self::overrides::{OverrideTable, Said};
use super::WorkerContext;
use super::network::http_connection_manager::local_reply::LocalReply;
use crate::http::body_filter::{self, Answer, BodyFilter, HeadFlow, Refused};
use crate::http::exchange::{Exchange, FetchedPage};
use crate::reactor::Chunk;
use crate::stats::{Counter, Store};

/// A compiled HTTP filter.
pub trait HttpFilter: Send + Sync {
    /// The name of the extension, which is also its path.
    fn name(&self) -> &'static str;

    /// Registers the filter's statistics below `prefix`, which is the
    /// connection manager's.
    fn register(&mut self, _store: &Store, _prefix: &str) {}

    /// Compiles what a route, a virtual host or the whole route configuration
    /// says in place of the filter's own configuration, and keeps it under the
    /// number that [`StreamContext::settings`] then has.
    fn compile_override(&mut self, _config: &Any, cx: &mut Cx<'_>) -> Option<u32> {
        let name = self.name();
        cx.error(format!(
            "{name} cannot be configured for a part of the routes"
        ));
        None
    }

    /// Says that the override `inner` stands in front of `outer`, which a wider
    /// level has, for filters that look at both.
    fn link_overrides(&mut self, _inner: u32, _outer: u32) {}

    /// Sees the request's headers, in the order of the configuration.
    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow;

    /// Goes on after the filter has made the request wait, or its body was
    /// discarded.
    fn resume(&self, _stream: &mut StreamContext<'_>) -> Flow {
        Flow::Continue
    }

    /// Sees the response's headers, in the opposite order, also those of an
    /// answer that has kept the request from this filter, and not those of a
    /// response that a filter behind this one has put something in the place of.
    fn response_headers(&self, _stream: &mut StreamContext<'_>) {}

    /// Whether [`HttpFilter::replace_response`] may ever answer.
    fn replaces_responses(&self) -> bool {
        false
    }

    /// Sees the response's headers before any filter has changed them, and may
    /// put something in the response's place. It clears the response if it
    /// answers itself; the body is then appended to `body`, whatever the reply
    /// says. What has been replaced once is not asked about again.
    fn replace_response<'s>(
        &'s self,
        _stream: &mut StreamContext<'_>,
        _body: &mut Vec<u8>,
    ) -> Option<Replacement<'s>> {
        None
    }

    /// Sees the response to a request of [`Fetch`], before any filter has
    /// changed it; `policy` is the number in there, and `instead_of` the status
    /// of the response that this one replaces. Gives the status that it gets.
    fn finish_page(&self, _policy: u32, _instead_of: u16, stream: &mut StreamContext<'_>) -> u16 {
        stream.exchange.info.response_code
    }
}

/// What comes in a response's place.
pub enum Replacement<'s> {
    /// This answer.
    Reply(LocalReply<'s>),
    /// What another request is answered with.
    Fetch(Fetch),
}

/// How far the headers of a response came.
pub enum HeadStep<'s> {
    /// Through all filters.
    Done,
    /// To the filter at this place, which has something for the response's place.
    Replaced(usize, Replacement<'s>),
    /// To the filter at this place, which holds them back.
    Held(usize),
    /// To a filter that answers.
    Answered(Box<Answer>),
}

/// A request whose response takes the place of another one.
pub struct Fetch {
    /// Its headers; it has no body.
    pub request: HeaderMap,
    /// The filter's name for what is to be done with the response.
    pub policy: u32,
    /// Counts that the request has no route, and the response stays.
    pub no_route: Counter,
}

/// What a filter may read and change of a request and its response.
pub struct StreamContext<'a> {
    /// The request and its response.
    pub exchange: &'a mut Exchange,
    /// The worker that handles it.
    pub worker: &'a WorkerContext,
    /// The request's route, if it has one; none when the response is looked
    /// at.
    pub route: Option<SelectedRoute<'a>>,
    /// The number of the configuration that the route has for this filter;
    /// `None` is the filter's own.
    pub settings: Option<u32>,
    /// The filter's place in its chain.
    pub place: usize,
}

impl StreamContext<'_> {
    /// Whether no earlier filter has kept the request from this one.
    #[must_use]
    pub fn has_seen_request(&self) -> bool {
        self.place < self.exchange.filters_entered
    }

    /// Shows what follows of the request, and of its response, to `filter`; what
    /// has arrived of the body already it sees at once.
    pub fn watch_bodies(&mut self, filter: Box<dyn BodyFilter>) -> Flow {
        let place = self.place;
        self.exchange.with_bodies(|bodies, exchange| {
            bodies.add(place, filter);
            if !exchange.has_body() || exchange.replay.is_empty() && !exchange.request_complete {
                return Flow::Continue;
            }
            let mut data = Chunk::from(&exchange.replay[..]);
            let mut seen = bodies.request_data((place, usize::MAX), &mut data, exchange);
            if seen.is_ok() && exchange.request_complete {
                let last = bodies.request_end(place, exchange);
                seen = last.map(|last| body_filter::append(&mut data, last));
            }
            match (seen, bodies.answer.take()) {
                (Err(Refused), Some(answer)) => Flow::Answer(answer),
                _ => {
                    exchange.replay.clear();
                    exchange.replay.extend_from_slice(&data);
                    Flow::Continue
                }
            }
        })
    }

    /// Asks that the route is looked up again: something that it may depend on
    /// has changed.
    pub fn clear_route_cache(&mut self) {
        self.exchange.route_cleared = true;
    }
}

/// Where a request goes after a filter.
pub enum Flow {
    /// To the next filter.
    Continue,
    /// To the next filter, once the connection manager has looked the route up
    /// again. Filters ask for it by [`StreamContext::clear_route_cache`].
    Reroute,
    /// Nowhere: this is the answer.
    Reply(LocalReply<'static>),
    /// Nowhere: this is the answer, whose text depends on the request.
    Answer(Box<Answer>),
    /// Nowhere until all of the request's body is in the exchange's `replay`,
    /// as filters in front have made it; then [`HttpFilter::resume`] says where,
    /// and may change it. The connection's buffer limit bounds it.
    Buffer,
    /// Nowhere until the future is ready; then [`HttpFilter::resume`] says
    /// where. Meanwhile the connection manager watches the client and the
    /// deadlines, and keeps what arrives of the request's body.
    Wait(Pin<Box<dyn Future<Output = ()>>>),
    /// Nowhere until the request's body has arrived, of which nothing is kept;
    /// then [`HttpFilter::resume`] says where.
    Discard,
}

/// What a connection manager's `http_filters` compile to.
#[derive(Default)]
pub struct HttpFilters {
    /// The filters before the router.
    pub chain: FilterChain,
    /// The router.
    pub router: router::Config,
    /// The filters of each of the `upgrade_configs` that has its own.
    pub upgrades: Vec<Option<HttpFilters>>,
}

/// The filters of a connection manager, without the router at their end.
#[derive(Default)]
pub struct FilterChain {
    filters: Box<[Box<dyn HttpFilter>]>,
    overrides: OverrideTable,
    /// Whether any of them may replace responses.
    replaces_responses: bool,
}

impl FilterChain {
    /// Filters in the order of the configuration, with what routes say to
    /// them.
    #[must_use]
    pub fn new(filters: Vec<Box<dyn HttpFilter>>, overrides: OverrideTable) -> Self {
        Self {
            replaces_responses: filters.iter().any(|filter| filter.replaces_responses()),
            filters: filters.into(),
            overrides,
        }
    }

    /// Registers the statistics of every filter.
    pub fn register(&mut self, store: &Store, prefix: &str) {
        for filter in &mut self.filters {
            filter.register(store, prefix);
        }
    }

    /// Runs the request's headers through the filters that have not seen them
    /// yet, until one answers or has to wait. The number of filters that saw
    /// the request is kept in the exchange.
    #[inline]
    pub fn request_headers(
        &self,
        exchange: &mut Exchange,
        worker: &WorkerContext,
        route: Option<SelectedRoute<'_>>,
    ) -> Flow {
        if self.filters.is_empty() {
            return Flow::Continue;
        }
        Self::set_overrides(exchange, route);
        self.run(exchange, worker, route)
    }

    /// Notes what the request's route says to the filters.
    #[inline]
    pub fn set_overrides(exchange: &mut Exchange, route: Option<SelectedRoute<'_>>) {
        exchange.filter_overrides = route.map_or_else(OverridesId::default, |selected| {
            selected.route.filter_overrides_of(exchange.cluster)
        });
    }

    /// What becomes of each filter, in the order of the configuration, once it
    /// is noted what the route says.
    pub fn said(&self, exchange: &Exchange) -> impl Iterator<Item = Said> {
        let row = self.overrides.row(exchange);
        (0..self.filters.len()).map(|place| row.said(place))
    }

    /// Goes on with the filter that has made the request wait.
    pub fn resume(
        &self,
        exchange: &mut Exchange,
        worker: &WorkerContext,
        route: Option<SelectedRoute<'_>>,
    ) -> Flow {
        let place = exchange.filters_entered - 1;
        let row = self.overrides.row(exchange);
        let flow = self.filters[place].resume(&mut StreamContext {
            exchange,
            worker,
            route,
            settings: row.settings(place),
            place,
        });
        match flow {
            Flow::Continue if std::mem::take(&mut exchange.route_cleared) => Flow::Reroute,
            Flow::Continue => self.run(exchange, worker, route),
            decided => decided,
        }
    }

    fn run(
        &self,
        exchange: &mut Exchange,
        worker: &WorkerContext,
        route: Option<SelectedRoute<'_>>,
    ) -> Flow {
        let row = self.overrides.row(exchange);
        let from = exchange.filters_entered;
        for (place, filter) in self.filters.iter().enumerate().skip(from) {
            exchange.filters_entered = place + 1;
            if row.is_off(place) {
                continue;
            }
            let flow = filter.request_headers(&mut StreamContext {
                exchange,
                worker,
                route,
                settings: row.settings(place),
                place,
            });
            if !matches!(flow, Flow::Continue) {
                return flow;
            }
            if std::mem::take(&mut exchange.route_cleared) {
                return Flow::Reroute;
            }
        }
        Flow::Continue
    }

    /// Whether a filter may have something for a response's place.
    #[inline]
    pub fn replaces_responses(&self) -> bool {
        self.replaces_responses
    }

    /// Runs the response's headers through the filters before place `before`,
    /// last one first, until one has something for the response's place: that,
    /// and the place of the filter. The body of a reply is appended to `body`.
    #[inline]
    pub fn replace_response<'s>(
        &'s self,
        exchange: &mut Exchange,
        worker: &WorkerContext,
        before: usize,
        body: &mut Vec<u8>,
    ) -> Option<(usize, Replacement<'s>)> {
        let row = self.overrides.row(exchange);
        for (place, filter) in self.filters.iter().enumerate().take(before).rev() {
            if row.is_off(place) {
                continue;
            }
            let mut stream = StreamContext {
                exchange,
                worker,
                route: None,
                settings: row.settings(place),
                place,
            };
            if let Some(replacement) = filter.replace_response(&mut stream, body) {
                return Some((place, replacement));
            }
            filter.response_headers(&mut stream);
        }
        None
    }

    /// Lets the filter that has fetched a page see the response, unless it is
    /// not on the page's way. Gives the status that the client gets.
    pub fn finish_page(
        &self,
        page: FetchedPage,
        exchange: &mut Exchange,
        worker: &WorkerContext,
    ) -> u16 {
        let row = self.overrides.row(exchange);
        if row.is_off(page.filter) {
            return exchange.info.response_code;
        }
        let mut stream = StreamContext {
            exchange,
            worker,
            route: None,
            settings: row.settings(page.filter),
            place: page.filter,
        };
        self.filters[page.filter].finish_page(page.policy, page.instead_of, &mut stream)
    }

    /// The same for a request whose bodies filters see: runs the response's
    /// headers through the filters before place `before`, until one does not let
    /// them pass. `whole` says that nothing follows them.
    pub fn filtered_response<'s>(
        &'s self,
        exchange: &mut Exchange,
        worker: &WorkerContext,
        (before, may_replace, whole): (usize, bool, bool),
        body: &mut Vec<u8>,
    ) -> HeadStep<'s> {
        let row = self.overrides.row(exchange);
        for (place, filter) in self.filters.iter().enumerate().take(before).rev() {
            if row.is_off(place) {
                continue;
            }
            let mut stream = StreamContext {
                exchange,
                worker,
                route: None,
                settings: row.settings(place),
                place,
            };
            if may_replace && let Some(replacement) = filter.replace_response(&mut stream, body) {
                return HeadStep::Replaced(place, replacement);
            }
            filter.response_headers(&mut stream);
            let seen = exchange
                .with_bodies(|bodies, exchange| bodies.response_headers(place, exchange, whole));
            match seen {
                HeadFlow::Continue => {}
                HeadFlow::Hold => return HeadStep::Held(place),
                HeadFlow::Answer(answer) => return HeadStep::Answered(answer),
            }
        }
        HeadStep::Done
    }

    /// Runs the response's headers through the filters, last one first: as in
    /// Envoy through all of them, also where an earlier one has answered and
    /// those behind it have not seen the request.
    #[inline]
    pub fn response_headers(&self, exchange: &mut Exchange, worker: &WorkerContext) {
        let row = self.overrides.row(exchange);
        for (place, filter) in self.filters.iter().enumerate().rev() {
            if row.is_off(place) {
                continue;
            }
            filter.response_headers(&mut StreamContext {
                exchange,
                worker,
                route: None,
                settings: row.settings(place),
                place,
            });
        }
    }
}

#[cfg(test)]
mod tests;
