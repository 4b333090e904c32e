//! What filters put in the place of responses: an answer of their own, or a
//! page, which is what another request is answered with. That request runs
//! through [`ConnectionManager::answer`] again, like one that a redirect leads
//! elsewhere.

use ringway_codecs::header::HeaderId;
use ringway_config::route::RouteMatch;

use super::ConnectionManager;
use super::local_reply::{BODY_BYTES_KEPT_MAX, LocalReply};
use super::local_reply_config::set_status;
use crate::filters::http::{Fetch, Replacement};
use crate::http::downstream::{Downstream, ResponseFraming};
use crate::http::exchange::{Exchange, FetchedPage};
use crate::stream_info::details;

impl ConnectionManager {
    /// Runs the response's headers through the filters, and puts what one of
    /// them has in its place; false if none has anything. As in Envoy, no filter
    /// before that one sees either.
    pub(super) fn replace_response(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> bool {
        let mut body = self.worker.replacement_body.take();
        body.clear();
        body.shrink_to(BODY_BYTES_KEPT_MAX);
        let filters = self.shared.filters_of(exchange);
        let mut before = usize::MAX;
        let replaced = loop {
            match filters.replace_response(exchange, &self.worker, before, &mut body) {
                None => break false,
                Some((_, Replacement::Reply(reply))) => {
                    exchange.response_replaced = true;
                    let reply = LocalReply {
                        body: &body,
                        ..reply
                    };
                    self.reply(downstream, exchange, reply);
                    break true;
                }
                Some((filter, Replacement::Fetch(fetch))) => {
                    if self.fetch(filter, fetch, exchange) {
                        break true;
                    }
                    before = filter;
                }
            }
        };
        self.worker.replacement_body.replace(body);
        replaced
    }

    /// Makes the request one for a page; false when that has no route, and the
    /// response stays.
    pub(super) fn fetch(&self, filter: usize, fetch: Fetch, exchange: &mut Exchange) -> bool {
        let found = self.find_route(&fetch.request, exchange);
        self.note_next_route(&found, &fetch.request, exchange);
        if matches!(found, RouteMatch::NoRoute(_) | RouteMatch::NoVirtualHost) {
            fetch.no_route.inc();
            return false;
        }
        exchange.request = fetch.request;
        // Who asked for the head only is not sent more.
        if !exchange.facts.is_head {
            exchange.request.set(HeaderId::Method, b"GET");
        }
        exchange.request.remove(HeaderId::ContentLength);
        exchange.request_trailers.clear();
        exchange.info.details.set(details::INTERNAL_REDIRECT);
        exchange.page = Some(FetchedPage {
            filter,
            policy: fetch.policy,
            instead_of: exchange.info.response_code,
            is_awaited: true,
        });
        true
    }

    /// Turns the response to a request for a page into the page.
    pub(super) fn finish_page(
        &self,
        page: FetchedPage,
        status: u16,
        framing: ResponseFraming,
        exchange: &mut Exchange,
    ) -> (u16, ResponseFraming) {
        let filters = self.shared.filters_of(exchange);
        let new = filters.finish_page(page, exchange, &self.worker);
        if new == status {
            return (status, framing);
        }
        set_status(exchange, new);
        exchange.info.response_code = new;
        let framing = match (is_bodiless(status), is_bodiless(new)) {
            // It has no body, and nothing that says so any more.
            (true, false) => ResponseFraming::Empty,
            (false, true) => {
                exchange.response.remove(HeaderId::ContentLength);
                ResponseFraming::Described
            }
            _ => framing,
        };
        (new, framing)
    }
}

/// Whether the request has just become one for a page.
pub(super) fn is_begun(exchange: &mut Exchange) -> bool {
    let page = exchange.page.as_mut();
    page.is_some_and(|page| std::mem::take(&mut page.is_awaited))
}

/// Whether a response of this status has no body.
fn is_bodiless(status: u16) -> bool {
    status == 204 || status == 304
}
