//! What HTTP filters do to the bodies and trailers of one request.
//!
//! A filter that wants to see them makes a [`BodyFilter`] when it sees the
//! request's headers; whatever it has to remember of the request is in there.
//! Requests for which no filter has made one have an empty place in their
//! exchange, which is all that they pay.
//!
//! The request's body runs through the body filters in the order of the chain
//! where it is read from the client ([`Downstream::poll_body`]), so that all who
//! take it see the same: hosts, further tries, copies for other clusters. The
//! response's runs through them in the opposite order on its way to the client,
//! by the connection manager's `send_data` and `send_end`.
//!
//! [`Downstream::poll_body`]: super::downstream::Downstream::poll_body

use std::fmt::Debug;

use bytes::Bytes;

use super::downstream::ResponseFraming;
use super::exchange::Exchange;
use crate::reactor::Chunk;
use crate::stream_info::details;

/// What a filter does to the bodies of one request. Every call may leave the
/// data as it is, put something in its place, or empty it, and then those
/// behind see nothing of it. A filter that changes the length of a body takes
/// `content-length` off when it sees the headers.
///
/// Data never comes empty. What a filter keeps back it gives at the end, at the
/// latest; [`BodyFilter::request_end`] and [`BodyFilter::response_end`] get
/// empty data, and append to it. Trailers lie in the exchange then, to be read
/// and changed, or added.
pub trait BodyFilter: Debug {
    /// Sees a part of the request's body.
    fn request_data(&mut self, _data: &mut Chunk, _exchange: &mut Exchange) -> BodyFlow {
        BodyFlow::Continue
    }

    /// Sees the end of a request that has a body, or may have had one.
    fn request_end(&mut self, _data: &mut Chunk, _exchange: &mut Exchange) -> BodyFlow {
        BodyFlow::Continue
    }

    /// Sees the response's headers, which are `whole` if nothing follows. It is
    /// called where [`HttpFilter::response_headers`] is.
    ///
    /// [`HttpFilter::response_headers`]: crate::filters::http::HttpFilter::response_headers
    fn response_headers(&mut self, _exchange: &mut Exchange, _whole: bool) -> HeadFlow {
        HeadFlow::Continue
    }

    /// Sees a part of the response's body. While the filter holds the headers
    /// back it keeps all data.
    fn response_data(&mut self, _data: &mut Chunk, _exchange: &mut Exchange) -> BodyFlow {
        BodyFlow::Continue
    }

    /// How many bytes of bodies the filter keeps back. More than the client's
    /// buffer limit allows end the request, with 413 or 500.
    fn kept(&self) -> usize {
        0
    }

    /// Sees the end of the response. Headers that are still held back go on
    /// behind it, in front of the data.
    fn response_end(&mut self, _data: &mut Chunk, _exchange: &mut Exchange) -> BodyFlow {
        BodyFlow::Continue
    }
}

/// Where data goes.
#[derive(Debug)]
pub enum BodyFlow {
    /// On.
    Continue,
    /// On, and the headers that the filter has held back go first.
    Release,
    /// Nowhere: this is the answer. If the response has begun, it is broken off.
    Answer(Box<Answer>),
}

/// Where the headers of a response go.
#[derive(Debug)]
pub enum HeadFlow {
    /// To the next filter.
    Continue,
    /// Nowhere, until the filter lets them go: they may change with what
    /// follows. A filter that adds to a response without a body must hold them.
    Hold,
    /// Nowhere: this is the answer, which no filter sees.
    Answer(Box<Answer>),
}

/// An answer of a filter whose text depends on the request.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// `%RESPONSE_CODE_DETAILS%`; empty keeps those that are already set.
    pub details: &'static str,
    /// The status for a gRPC client; by default it follows from `status`.
    pub grpc_status: Option<u64>,
}

/// The body filters of a request, and where its response is between them.
#[derive(Debug, Default)]
pub struct BodyFilters {
    /// With their places in the chain, in order.
    filters: Vec<(usize, Box<dyn BodyFilter>)>,
    /// All of the request's body has been given out.
    is_request_over: bool,
    /// A filter has refused the body: nothing more of it is given out.
    is_refused: bool,
    /// The answer of a filter that has refused the request's body.
    pub answer: Option<Box<Answer>>,
    /// No filter sees the response: it is an answer in the place of one.
    pub skips_filters: bool,
    /// The response's headers, held back at a place in the chain.
    pub held: Option<HeldHead>,
    /// From this place on filters have seen that nothing follows the headers,
    /// and see no end besides.
    whole_from: Option<usize>,
}

/// The headers of a response that a filter holds back.
#[derive(Debug, Clone, Copy)]
pub struct HeldHead {
    /// The filter's place.
    pub place: usize,
    /// The response's status.
    pub status: u16,
    /// How its body is framed, as far as it is known.
    pub framing: ResponseFraming,
}

/// A filter does not take what it sees.
#[derive(Debug)]
pub struct Refused;

/// How far data of a response came.
pub enum Passed {
    /// Through all filters, or as far as there was any of it.
    All,
    /// This filter lets the headers go. Those in front of it are next.
    Released(usize),
    /// A filter answers.
    Answered(Box<Answer>),
}

impl BodyFilters {
    /// Adds the filter at `place` of the chain, which is behind all others.
    pub fn add(&mut self, place: usize, filter: Box<dyn BodyFilter>) {
        self.filters.push((place, filter));
    }

    /// Whether the end of the request has been given out.
    #[must_use]
    pub fn is_request_over(&self) -> bool {
        self.is_request_over
    }

    /// Runs a part of the request's body through the filters from `from` on.
    ///
    /// # Errors
    /// A filter refuses it.
    pub fn request_data(
        &mut self,
        (from, kept_max): (usize, usize),
        data: &mut Chunk,
        exchange: &mut Exchange,
    ) -> Result<(), Refused> {
        if self.is_refused {
            *data = empty();
            return Ok(());
        }
        for place in self.behind(from) {
            if data.is_empty() {
                return Ok(());
            }
            let filter = &mut self.filters[place].1;
            let mut flow = filter.request_data(data, exchange);
            if filter.kept() > kept_max {
                flow = BodyFlow::Answer(Box::new(Answer {
                    status: 413,
                    body: b"Payload Too Large".to_vec(),
                    details: details::REQUEST_PAYLOAD_TOO_LARGE,
                    grpc_status: None,
                }));
            }
            self.judge(flow)?;
        }
        Ok(())
    }

    /// Runs the end of the request through the filters from `from` on, and gives
    /// what they have kept of the body.
    ///
    /// # Errors
    /// A filter refuses it.
    pub fn request_end(&mut self, from: usize, exchange: &mut Exchange) -> Result<Chunk, Refused> {
        self.is_request_over = true;
        let mut data = empty();
        for place in self.behind(from) {
            if self.is_refused {
                break;
            }
            let filter = &mut self.filters[place].1;
            let mut flow = BodyFlow::Continue;
            if !data.is_empty() {
                flow = filter.request_data(&mut data, exchange);
            }
            if !matches!(flow, BodyFlow::Answer(_)) {
                let mut last = empty();
                flow = filter.request_end(&mut last, exchange);
                append(&mut data, last);
            }
            self.judge(flow)?;
        }
        Ok(data)
    }

    fn behind(&self, from: usize) -> std::ops::Range<usize> {
        let first = self.filters.partition_point(|(at, _)| *at < from);
        first..self.filters.len()
    }

    fn judge(&mut self, flow: BodyFlow) -> Result<(), Refused> {
        match flow {
            BodyFlow::Continue | BodyFlow::Release => Ok(()),
            BodyFlow::Answer(answer) => {
                self.answer = Some(answer);
                self.is_refused = true;
                Err(Refused)
            }
        }
    }

    /// Shows the response's headers to the body filter at `place`, if there is
    /// one.
    pub fn response_headers(
        &mut self,
        place: usize,
        exchange: &mut Exchange,
        whole: bool,
    ) -> HeadFlow {
        let flow = match self.filters.binary_search_by_key(&place, |(at, _)| *at) {
            Ok(found) => self.filters[found].1.response_headers(exchange, whole),
            Err(_) => HeadFlow::Continue,
        };
        if whole && !matches!(flow, HeadFlow::Hold) {
            self.whole_from = Some(place);
        }
        flow
    }

    /// Runs a part of the response's body through the filters in front of
    /// `before`, last one first.
    pub fn response_data(
        &mut self,
        (before, kept_max): (usize, usize),
        data: &mut Chunk,
        exchange: &mut Exchange,
    ) -> Passed {
        for (place, filter) in self.filters.iter_mut().rev() {
            if *place >= before {
                continue;
            }
            if data.is_empty() {
                break;
            }
            let flow = filter.response_data(data, exchange);
            if filter.kept() > kept_max {
                return Passed::Answered(Box::new(Answer {
                    status: 500,
                    body: b"Internal Server Error".to_vec(),
                    details: details::RESPONSE_PAYLOAD_TOO_LARGE,
                    grpc_status: None,
                }));
            }
            match flow {
                BodyFlow::Continue => {}
                BodyFlow::Release => return Passed::Released(*place),
                BodyFlow::Answer(answer) => return Passed::Answered(answer),
            }
        }
        Passed::All
    }

    /// Runs the end of the response through the filters in front of `before`,
    /// behind what `data` is of its body. Where a filter holds the headers
    /// back, they go first.
    pub fn response_end(
        &mut self,
        before: usize,
        data: &mut Chunk,
        exchange: &mut Exchange,
    ) -> Passed {
        let held = self.held.map(|held| held.place);
        for (place, filter) in self.filters.iter_mut().rev() {
            if *place >= before || self.whole_from.is_some_and(|from| *place >= from) {
                continue;
            }
            let mut flow = BodyFlow::Continue;
            if !data.is_empty() {
                flow = filter.response_data(data, exchange);
            }
            if !matches!(flow, BodyFlow::Answer(_)) {
                let mut last = empty();
                flow = filter.response_end(&mut last, exchange);
                append(data, last);
            }
            match flow {
                BodyFlow::Answer(answer) => return Passed::Answered(answer),
                BodyFlow::Continue | BodyFlow::Release => {}
            }
            if held == Some(*place) {
                return Passed::Released(*place);
            }
        }
        Passed::All
    }
}

/// No data.
#[must_use]
pub fn empty() -> Chunk {
    Chunk::from(Bytes::new())
}

/// Puts `more` behind `data`.
pub fn append(data: &mut Chunk, more: Chunk) {
    if data.is_empty() {
        *data = more;
    } else if !more.is_empty() {
        let joined = [&data[..], &more[..]].concat();
        *data = Chunk::from(Bytes::from(joined));
    }
}

impl Exchange {
    /// Calls `f` with the request's body filters, which it must have.
    pub fn with_bodies<T>(&mut self, f: impl FnOnce(&mut BodyFilters, &mut Self) -> T) -> T {
        let mut bodies = self.bodies.take().unwrap_or_default();
        let result = f(&mut bodies, self);
        self.bodies = Some(bodies);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::{Instant, SystemTime};

    use super::*;
    use crate::http::exchange::ExchangePool;
    use crate::network::address::NO_ADDRESS;
    use crate::stream_info::ConnectionInfo;

    /// Puts its name behind every part and keeps the last byte until the end.
    #[derive(Debug)]
    struct Marks {
        name: u8,
        kept: Vec<u8>,
        holds: bool,
        refuses: u8,
    }

    impl Marks {
        fn mark(&mut self, data: &mut Chunk) -> BodyFlow {
            if data.contains(&self.refuses) {
                return BodyFlow::Answer(Box::new(Answer {
                    status: 400,
                    body: Vec::new(),
                    details: "",
                    grpc_status: None,
                }));
            }
            let mut bytes = std::mem::take(&mut self.kept);
            bytes.extend_from_slice(data);
            self.kept = bytes.split_off(bytes.len() - 1);
            if !bytes.is_empty() {
                bytes.push(self.name);
            }
            *data = Chunk::from(Bytes::from(bytes));
            BodyFlow::Continue
        }

        fn end(&mut self, data: &mut Chunk) -> BodyFlow {
            *data = Chunk::from(Bytes::from(std::mem::take(&mut self.kept)));
            BodyFlow::Continue
        }
    }

    impl BodyFilter for Marks {
        fn request_data(&mut self, data: &mut Chunk, _: &mut Exchange) -> BodyFlow {
            self.mark(data)
        }

        fn request_end(&mut self, data: &mut Chunk, _: &mut Exchange) -> BodyFlow {
            self.end(data)
        }

        fn response_headers(&mut self, _: &mut Exchange, _: bool) -> HeadFlow {
            match self.holds {
                true => HeadFlow::Hold,
                false => HeadFlow::Continue,
            }
        }

        fn response_data(&mut self, data: &mut Chunk, _: &mut Exchange) -> BodyFlow {
            self.mark(data)
        }

        fn response_end(&mut self, data: &mut Chunk, _: &mut Exchange) -> BodyFlow {
            self.end(data)
        }

        fn kept(&self) -> usize {
            self.kept.len()
        }
    }

    fn marks(names: &[u8]) -> BodyFilters {
        let mut bodies = BodyFilters::default();
        for (place, name) in names.iter().enumerate() {
            let filter = Marks {
                name: *name,
                kept: Vec::new(),
                holds: *name == b'h',
                refuses: b'!',
            };
            bodies.add(place, Box::new(filter));
        }
        bodies
    }

    fn exchange() -> Box<Exchange> {
        let connection = Rc::new(ConnectionInfo::new(1, NO_ADDRESS, NO_ADDRESS));
        ExchangePool::default().take(connection, Instant::now(), SystemTime::now())
    }

    #[test]
    fn requests_run_forward_and_responses_backward() {
        let mut exchange = exchange();
        let parts = [&b"abc"[..], b"d", b"ef"];
        let run = |names: &[u8], exchange: &mut Exchange| {
            let mut bodies = marks(names);
            let mut out = Vec::new();
            for part in parts {
                let mut data = Chunk::from(part);
                let seen = bodies.request_data((0, usize::MAX), &mut data, exchange);
                assert!(seen.is_ok());
                out.extend_from_slice(&data);
            }
            out.extend_from_slice(&bodies.request_end(0, exchange).expect("no refusal"));
            assert!(bodies.is_request_over());
            out
        };
        assert_eq!(run(b"", &mut exchange), b"abcdef");
        assert_eq!(run(b"1", &mut exchange), b"ab1c1de1f");
        assert_eq!(run(b"12", &mut exchange), b"ab21c21de212f");
        let mut bodies = marks(b"12");
        let mut out = Vec::new();
        for part in parts {
            let mut data = Chunk::from(part);
            let passed = bodies.response_data((usize::MAX, usize::MAX), &mut data, &mut exchange);
            assert!(matches!(passed, Passed::All));
            out.extend_from_slice(&data);
        }
        let mut data = empty();
        bodies.response_end(usize::MAX, &mut data, &mut exchange);
        out.extend_from_slice(&data);
        // The one behind comes first.
        assert_eq!(out, b"ab12c12de121f");
    }

    #[test]
    fn what_is_refused_is_given_to_nobody() {
        let mut exchange = exchange();
        let mut bodies = marks(b"1");
        let all = (0, usize::MAX);
        let mut data = Chunk::from(&b"a!"[..]);
        assert!(bodies.request_data(all, &mut data, &mut exchange).is_err());
        assert!(bodies.answer.is_some());
        let mut data = Chunk::from(&b"more"[..]);
        assert!(bodies.request_data(all, &mut data, &mut exchange).is_ok());
        assert!(data.is_empty());
        assert!(
            bodies
                .request_end(0, &mut exchange)
                .expect("once")
                .is_empty()
        );
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let mut exchange = exchange();
        let mut bodies = marks(b"1");
        let mut data = Chunk::from(&b"ab"[..]);
        assert!(
            bodies
                .request_data((0, 0), &mut data, &mut exchange)
                .is_err()
        );
        assert_eq!(
            bodies.answer.as_ref().map(|answer| answer.status),
            Some(413)
        );
        let mut data = Chunk::from(&b"ab"[..]);
        let passed = bodies.response_data((usize::MAX, 0), &mut data, &mut exchange);
        assert!(matches!(passed, Passed::Answered(answer) if answer.status == 500));
    }

    #[test]
    fn headers_that_are_held_go_in_front_of_what_follows() {
        let mut exchange = exchange();
        let mut bodies = marks(b"1h");
        assert!(matches!(
            bodies.response_headers(1, &mut exchange, true),
            HeadFlow::Hold
        ));
        bodies.held = Some(HeldHead {
            place: 1,
            status: 200,
            framing: ResponseFraming::Empty,
        });
        let mut data = empty();
        let passed = bodies.response_end(usize::MAX, &mut data, &mut exchange);
        assert!(matches!(passed, Passed::Released(1)));
        bodies.held = None;
        // The next one sees that nothing follows, and no end besides.
        assert!(matches!(
            bodies.response_headers(0, &mut exchange, true),
            HeadFlow::Continue
        ));
        assert!(matches!(
            bodies.response_end(1, &mut data, &mut exchange),
            Passed::All
        ));
    }
}
