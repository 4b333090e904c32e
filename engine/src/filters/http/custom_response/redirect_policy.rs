//! `envoy.extensions.http.custom_response.redirect_policy`: the page is what
//! another request is answered with, a GET that the connection manager routes
//! anew. It has the status that the policy says, or that of the response whose
//! place it takes.
//!
//! As in Envoy the request must be complete and ask for no other protocol;
//! otherwise the response stays. The page itself is not replaced again.

use envoy_types::pb::envoy::extensions::http::custom_response::redirect_policy::v3 as pb;
use pb::redirect_policy::RedirectActionSpecifier;
use ringway_codecs::header::HeaderMap;
use ringway_config::context::Cx;
use ringway_config::format_strings::FormatStrings;
use ringway_config::route::{HeaderChanges, Redirect};

use super::super::StreamContext;
use crate::formatter::Formatter;
use crate::http::exchange::{Exchange, Tunnel};
use crate::http::header_parser::{self, AddedHeaders, Message};
use crate::http::redirect;
use crate::http::route_table::compile_formats;
use crate::http::url::Url;

/// A compiled `RedirectPolicy`.
#[derive(Debug)]
pub(super) struct RedirectPolicy {
    target: Target,
    status: Option<u16>,
    request: AddedHeaders,
    response: AddedHeaders,
}

/// Where the page is.
#[derive(Debug)]
enum Target {
    /// `uri`
    Url(Box<[u8]>),
    /// `redirect_action`
    Action(Redirect, Box<[Formatter]>),
}

impl RedirectPolicy {
    /// Whether a page can be fetched for the request.
    pub(super) fn may_fetch(exchange: &Exchange) -> bool {
        exchange.request_complete && exchange.tunnel == Tunnel::None && !exchange.facts.is_connect
    }

    /// The request for the page; `None` if the URL that was made for it is
    /// none.
    pub(super) fn request(&self, stream: &mut StreamContext<'_>) -> Option<HeaderMap> {
        let exchange = &mut *stream.exchange;
        // As in Envoy, values are made without the response.
        let response = std::mem::take(&mut exchange.response);
        let request = self.url(exchange).and_then(|url| {
            let mut request = exchange.request.clone();
            Url::parse(&url)?.put_into(&mut request);
            std::mem::swap(&mut request, &mut exchange.request);
            header_parser::apply(
                &self.request.changes,
                &self.request.formats,
                Message::Request,
                exchange,
                &mut stream.worker.header_scratch.borrow_mut(),
            );
            std::mem::swap(&mut request, &mut exchange.request);
            Some(request)
        });
        exchange.response = response;
        request
    }

    fn url(&self, exchange: &Exchange) -> Option<Vec<u8>> {
        let (action, formats) = match &self.target {
            Target::Url(url) => return Some(url.to_vec()),
            Target::Action(action, formats) => (action, formats),
        };
        let mut url = Vec::new();
        let context = exchange.format_context();
        redirect::write_location(
            action,
            &exchange.request,
            |id, out| formats[id.0 as usize].write(&context, out),
            &mut url,
        );
        Some(url)
    }

    /// Makes the response to that request the page; its status.
    pub(super) fn finish(&self, instead_of: u16, stream: &mut StreamContext<'_>) -> u16 {
        header_parser::apply(
            &self.response.changes,
            &self.response.formats,
            Message::Replacement,
            stream.exchange,
            &mut stream.worker.header_scratch.borrow_mut(),
        );
        self.status.unwrap_or(instead_of)
    }

    /// Compiles the message, or reports why not.
    pub(super) fn compile(message: &pb::RedirectPolicy, cx: &mut Cx<'_>) -> Option<Self> {
        let target = match &message.redirect_action_specifier {
            Some(RedirectActionSpecifier::Uri(uri)) => {
                let good = Url::parse(uri.as_bytes()).is_some();
                if !good {
                    cx.error_at("uri", format!("{uri:?} is not an absolute URL"));
                }
                good.then(|| Target::Url(uri.as_bytes().into()))
            }
            Some(RedirectActionSpecifier::RedirectAction(action)) => {
                cx.field("redirect_action", |cx| {
                    let mut strings = FormatStrings::default();
                    let redirect = Redirect::lower_without_route(action, &mut strings, cx);
                    let formats = compile_formats(&strings, cx);
                    Some(Target::Action(redirect?, formats?))
                })
            }
            None => {
                cx.error("one of uri and redirect_action is needed");
                None
            }
        };
        let request = added(cx, |formats, cx| {
            let add = &message.request_headers_to_add;
            HeaderChanges::lower_request("request_headers_to_add", add, formats, cx)
        });
        let response = added(cx, |formats, cx| {
            let add = &message.response_headers_to_add;
            HeaderChanges::lower_response("response_headers_to_add", add, formats, cx)
        });
        Some(Self {
            target: target?,
            // The validation rules allow 200 to 999 only.
            status: message
                .status_code
                .and_then(|status| u16::try_from(status.value).ok()),
            request: request?,
            response: response?,
        })
    }
}

/// Compiles a list of headers together with its formats.
pub(super) fn added(
    cx: &mut Cx<'_>,
    lower: impl FnOnce(&mut FormatStrings, &mut Cx<'_>) -> Option<HeaderChanges>,
) -> Option<AddedHeaders> {
    let mut strings = FormatStrings::default();
    let changes = lower(&mut strings, cx);
    let formats = compile_formats(&strings, cx);
    Some(AddedHeaders {
        changes: changes?,
        formats: formats?,
    })
}
