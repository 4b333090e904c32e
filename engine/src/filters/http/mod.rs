//! HTTP filters (`envoy.filters.http.*`): what a request runs through between
//! its route and the router.
//!
//! A filter is one file, named as its extension is, and one line in the
//! registry. Its compiled configuration is immutable and shared by all
//! workers; [`HttpFilter::request_headers`] is a plain call that allocates
//! nothing. The router is the terminal filter and is not in the chain: the
//! connection manager calls it when every filter has let the request pass.

pub mod header_to_metadata;
pub mod health_check;
pub mod router;
pub mod set_filter_state;
pub mod set_metadata;

use std::future::Future;
use std::pin::Pin;

use super::WorkerContext;
use super::network::http_connection_manager::local_reply::LocalReply;
use crate::http::exchange::Exchange;
use crate::stats::Store;

/// A compiled HTTP filter.
pub trait HttpFilter: Send + Sync {
    /// The name of the extension, which is also its path.
    fn name(&self) -> &'static str;

    /// Registers the filter's statistics below `prefix`, which is the
    /// connection manager's.
    fn register(&mut self, _store: &Store, _prefix: &str) {}

    /// Sees the request's headers, in the order of the configuration.
    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow;

    /// Sees the response's headers, in the opposite order, unless a filter
    /// before this one has answered the request.
    fn response_headers(&self, _stream: &mut StreamContext<'_>) {}
}

/// What a filter may read and change of a request and its response.
pub struct StreamContext<'a> {
    /// The request and its response.
    pub exchange: &'a mut Exchange,
    /// The worker that handles it.
    pub worker: &'a WorkerContext,
}

impl StreamContext<'_> {
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
    /// Nowhere: this is the answer.
    Reply(LocalReply<'static>),
    /// Not known yet: what the future says. With [`Flow::Continue`] the next
    /// filter is run.
    Wait(Pin<Box<dyn Future<Output = Flow>>>),
}

/// What a connection manager's `http_filters` compile to.
#[derive(Default)]
pub struct HttpFilters {
    /// The filters before the router.
    pub chain: FilterChain,
    /// The router.
    pub router: router::Config,
}

/// The filters of a connection manager, without the router at their end.
#[derive(Default)]
pub struct FilterChain {
    filters: Box<[Box<dyn HttpFilter>]>,
}

impl FilterChain {
    /// Filters in the order of the configuration.
    #[must_use]
    pub fn new(filters: Vec<Box<dyn HttpFilter>>) -> Self {
        Self {
            filters: filters.into(),
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
    /// the request is kept in the exchange: the response runs through these.
    #[inline]
    pub fn request_headers(&self, exchange: &mut Exchange, worker: &WorkerContext) -> Flow {
        for filter in &self.filters[exchange.filters_entered..] {
            exchange.filters_entered += 1;
            let flow = filter.request_headers(&mut StreamContext { exchange, worker });
            if !matches!(flow, Flow::Continue) {
                return flow;
            }
        }
        Flow::Continue
    }

    /// Runs the response's headers through the filters that saw the request,
    /// last one first.
    #[inline]
    pub fn response_headers(&self, exchange: &mut Exchange, worker: &WorkerContext) {
        let entered = exchange.filters_entered;
        for filter in self.filters.iter().take(entered).rev() {
            filter.response_headers(&mut StreamContext { exchange, worker });
        }
    }
}

#[cfg(test)]
mod tests;
