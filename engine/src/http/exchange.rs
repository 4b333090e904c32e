//! One request and its response: the state that belongs to neither side alone.
//!
//! Exchanges are pooled by the worker. A connection takes one when a request
//! begins to arrive and gives it back when the response is out, so an idle
//! connection owns none, and a busy worker allocates none.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use ringway_codecs::header::HeaderMap;
use ringway_codecs::http1::Version;

use super::body_copy::BodyFeed;
use super::http1::reader::RequestFacts;
use crate::stream_info::{ConnectionInfo, Protocol, StreamInfo};

/// A header arena larger than this is shrunk when the exchange is pooled: one
/// client with huge headers must not make every later request carry them.
const POOLED_ARENA_BYTES_MAX: usize = 8 * 1024;

/// Exchanges kept for reuse; beyond this they are freed. More than this many
/// concurrent requests on one worker is a peak, not the steady state.
const POOLED_EXCHANGES_MAX: usize = 1024;

/// The state of one request and its response.
#[derive(Debug)]
pub struct Exchange {
    /// The request's headers, pseudo headers included.
    pub request: HeaderMap,
    /// Trailers of the request.
    pub request_trailers: HeaderMap,
    /// The response's headers.
    pub response: HeaderMap,
    /// Trailers of the response.
    pub response_trailers: HeaderMap,
    /// What access logs tell.
    pub info: StreamInfo,
    /// What the response's framing depends on.
    pub facts: RequestFacts,
    /// The client's version: HTTP/1.0 clients understand no chunks.
    pub version: Version,
    /// The connection may carry another request after this one.
    pub keep_alive: bool,
    /// The whole request has been received.
    pub request_complete: bool,
    /// The response's head has been queued.
    pub response_started: bool,
    /// The response has been queued to its end.
    pub response_complete: bool,
    /// The request comes from inside the trusted network.
    pub internal: bool,
    /// A random number that all decisions about the request share: route
    /// fractions, weighted clusters.
    pub random: u64,
    /// How many HTTP filters saw the request: the response runs through them.
    pub filters_entered: usize,
    /// A filter has changed what the route may depend on, and asks that it is
    /// looked up again.
    pub route_cleared: bool,
    /// The route's timeout, which runs from the end of the request.
    pub route_timeout: Option<Duration>,
    /// What ends the request if nothing else does.
    pub deadlines: Deadlines,
    /// The request's copies for other clusters have been started.
    pub mirrored: bool,
    /// Where copies of the request's body go.
    pub shadows: Vec<BodyFeed>,
}

impl Exchange {
    fn new(connection: Rc<ConnectionInfo>, now: Instant, wall: SystemTime) -> Self {
        Self {
            request: HeaderMap::new(),
            request_trailers: HeaderMap::new(),
            response: HeaderMap::new(),
            response_trailers: HeaderMap::new(),
            info: StreamInfo::new(connection, now, wall),
            facts: RequestFacts::default(),
            version: Version::Http11,
            keep_alive: true,
            request_complete: false,
            response_started: false,
            response_complete: false,
            internal: false,
            random: 0,
            filters_entered: 0,
            route_cleared: false,
            route_timeout: None,
            deadlines: Deadlines::new(now),
            mirrored: false,
            shadows: Vec::new(),
        }
    }

    /// Makes the exchange ready for a request that begins now.
    fn reset(&mut self, connection: Rc<ConnectionInfo>, now: Instant, wall: SystemTime) {
        for headers in [
            &mut self.request,
            &mut self.request_trailers,
            &mut self.response,
            &mut self.response_trailers,
        ] {
            headers.clear();
            headers.shrink(POOLED_ARENA_BYTES_MAX);
        }
        self.info.reset(connection, now, wall);
        self.facts = RequestFacts::default();
        self.version = Version::Http11;
        self.keep_alive = true;
        self.request_complete = false;
        self.response_started = false;
        self.response_complete = false;
        self.internal = false;
        self.random = 0;
        self.filters_entered = 0;
        self.route_cleared = false;
        self.mirrored = false;
        self.route_timeout = None;
        self.deadlines = Deadlines::new(now);
    }

    /// The protocol for logs.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self.version {
            Version::Http10 => Protocol::Http10,
            Version::Http11 => Protocol::Http11,
        }
    }
}

/// The exchanges that a worker keeps for reuse.
#[derive(Default)]
pub struct ExchangePool {
    #[allow(
        clippy::vec_box,
        reason = "a connection owns a box; moving 900 bytes in and out would cost more"
    )]
    free: Vec<Box<Exchange>>,
}

impl ExchangePool {
    /// An exchange for a request that begins now.
    pub fn take(
        &mut self,
        connection: Rc<ConnectionInfo>,
        now: Instant,
        wall: SystemTime,
    ) -> Box<Exchange> {
        match self.free.pop() {
            Some(mut exchange) => {
                exchange.reset(connection, now, wall);
                exchange
            }
            None => Box::new(Exchange::new(connection, now, wall)),
        }
    }

    /// Keeps an exchange for the next request.
    pub fn put(&mut self, mut exchange: Box<Exchange>) {
        if self.free.len() < POOLED_EXCHANGES_MAX {
            exchange.shadows.clear();
            exchange.info.release();
            self.free.push(exchange);
        }
    }
}

/// When a request is given up, and why. All of a request's timers share the
/// connection's one timer entry: only the nearest deadline is armed.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// `request_timeout`: the whole request must have been received.
    pub request: Option<Instant>,
    /// The route's timeout, which starts when the request is complete.
    pub route: Option<Instant>,
    /// `max_stream_duration` of the connection manager or the route.
    pub stream: Option<Instant>,
    /// The cluster's `max_stream_duration`.
    pub upstream: Option<Instant>,
    /// `stream_idle_timeout`, counted from the last progress.
    pub idle: Option<Duration>,
    last_progress: Instant,
}

/// Which deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// The request did not arrive in time.
    Request,
    /// The upstream did not answer in time.
    Route,
    /// The stream lived too long.
    Stream,
    /// The upstream request lived too long.
    Upstream,
    /// Nothing moved for too long.
    Idle,
}

impl Deadlines {
    fn new(now: Instant) -> Self {
        Self {
            request: None,
            route: None,
            stream: None,
            upstream: None,
            idle: None,
            last_progress: now,
        }
    }

    /// Notes that bytes have moved.
    pub fn progress(&mut self, now: Instant) {
        self.last_progress = now;
    }

    /// The nearest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let idle = self.idle.map(|idle| self.last_progress + idle);
        [self.request, self.route, self.stream, self.upstream, idle]
            .into_iter()
            .flatten()
            .min()
    }

    /// The deadline that has passed at `now`, if any.
    #[must_use]
    pub fn expired(&self, now: Instant) -> Option<Expired> {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        if passed(self.route) {
            Some(Expired::Route)
        } else if passed(self.stream) {
            Some(Expired::Stream)
        } else if passed(self.upstream) {
            Some(Expired::Upstream)
        } else if passed(self.request) {
            Some(Expired::Request)
        } else if passed(self.idle.map(|idle| self.last_progress + idle)) {
            Some(Expired::Idle)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_deadline_is_armed_and_named() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::new(now);
        assert_eq!(deadlines.next(), None);

        deadlines.idle = Some(Duration::from_secs(5));
        deadlines.stream = Some(after(9));
        assert_eq!(deadlines.next(), Some(after(5)));
        assert_eq!(deadlines.expired(after(4)), None);
        assert_eq!(deadlines.expired(after(5)), Some(Expired::Idle));

        deadlines.progress(after(6));
        assert_eq!(deadlines.next(), Some(after(9)));
        assert_eq!(deadlines.expired(after(9)), Some(Expired::Stream));

        deadlines.route = Some(after(8));
        assert_eq!(deadlines.expired(after(10)), Some(Expired::Route));
    }
}
