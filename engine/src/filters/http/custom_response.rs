//! `envoy.filters.http.custom_response`: error pages. Responses that a matcher
//! picks, the host's as well as the proxy's own, are replaced by others.
//!
//! A page of the configuration ([`Page`]) is a local reply like any other: the
//! route changes its headers and `local_reply_config` may rewrite it. Others are
//! fetched ([`RedirectPolicy`]). Of the response that it replaces a page keeps
//! the status, unless it has one of its own, and nothing else.

mod redirect_policy;

use envoy_types::pb::envoy::extensions::filters::http::custom_response::v3 as pb;
use envoy_types::pb::envoy::extensions::http::custom_response::local_response_policy::v3 as policy;
use envoy_types::pb::envoy::extensions::http::custom_response::redirect_policy::v3 as redirect;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use ringway_config::context::{Cx, type_name, unpack};
use ringway_config::matcher::{Inputs, Matcher, MatchingData};
use ringway_config::route::HeaderChanges;

use self::redirect_policy::{RedirectPolicy, added};
use super::{Fetch, Flow, HttpFilter, Replacement, StreamContext};
use crate::data_source;
use crate::filters::network::http_connection_manager::local_reply::LocalReply;
use crate::formatter::{Context, Format};
use crate::http::exchange::Exchange;
use crate::http::header_parser::AddedHeaders;
use crate::stats::Store;
use crate::stats_struct;

stats_struct! {
    /// `http.<stat_prefix>.custom_response_*`, and without a prefix those of
    /// policies that routes have.
    pub struct CustomResponseStats {
        counters: [custom_response_invalid_uri, custom_response_redirect_no_route],
        gauges: [],
    }
}

/// The compiled filter.
pub struct CustomResponse {
    own: Matcher<Policy>,
    /// What routes have in front of it.
    overrides: Vec<Override>,
    /// The policies that fetch pages, by number.
    redirects: Vec<RedirectPolicy>,
    /// How many of them are the filter's own; the others are routes'.
    own_redirects: u32,
    /// Of the filter's own redirects, if there are any.
    own_stats: Option<CustomResponseStats>,
    /// Of those that routes have, if there are any.
    route_stats: Option<CustomResponseStats>,
}

/// What a level of the routes says.
struct Override {
    matcher: Matcher<Policy>,
    /// The number of what a wider level says.
    outer: Option<u32>,
}

/// What takes a response's place.
#[derive(Debug)]
enum Policy {
    /// A page of the configuration.
    Local(Page),
    /// One that is fetched: its number.
    Redirect(u32),
}

/// A compiled `LocalResponsePolicy`.
#[derive(Debug)]
struct Page {
    status: Option<u16>,
    body: Box<[u8]>,
    format: Option<Format>,
    headers: AddedHeaders,
    details: Details,
}

/// What `%RESPONSE_CODE_DETAILS%` of a page is.
#[derive(Debug)]
enum Details {
    /// Nothing.
    None,
    /// What it was of the response.
    Preserved,
    /// This.
    Text(Box<str>),
}

impl CustomResponse {
    /// Compiles the message, or reports why not.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let mut redirects = Vec::new();
        let own = matcher(any, &mut redirects, cx)?;
        Some(Self {
            own,
            overrides: Vec::new(),
            own_redirects: u32::try_from(redirects.len()).ok()?,
            redirects,
            own_stats: None,
            route_stats: None,
        })
    }
}

fn matcher(
    any: &Any,
    redirects: &mut Vec<RedirectPolicy>,
    cx: &mut Cx<'_>,
) -> Option<Matcher<Policy>> {
    let message = unpack::<pb::CustomResponse>(any, cx)?;
    let matcher = message.custom_response_matcher.unwrap_or_default();
    cx.field("custom_response_matcher", |cx| {
        let compile = &mut |extension: &TypedExtensionConfig, cx: &mut Cx<'_>| {
            Policy::compile(extension, redirects, cx)
        };
        Matcher::lower(&matcher, Inputs::RequestAndResponse, cx, compile)
    })
}

impl HttpFilter for CustomResponse {
    fn name(&self) -> &'static str {
        "envoy.filters.http.custom_response"
    }

    fn register(&mut self, store: &Store, prefix: &str) {
        // As in Envoy there is nothing to count where nothing is fetched, and
        // what routes say belongs to no connection manager.
        let has_own = self.own_redirects > 0;
        let routes_have = self.redirects.len() > self.own_redirects as usize;
        self.own_stats = has_own.then(|| CustomResponseStats::new(store, prefix));
        self.route_stats = routes_have.then(|| CustomResponseStats::new(store, ""));
    }

    fn compile_override(&mut self, config: &Any, cx: &mut Cx<'_>) -> Option<u32> {
        self.overrides.push(Override {
            matcher: matcher(config, &mut self.redirects, cx)?,
            outer: None,
        });
        u32::try_from(self.overrides.len() - 1).ok()
    }

    fn link_overrides(&mut self, inner: u32, outer: u32) {
        self.overrides[inner as usize].outer = Some(outer);
    }

    fn request_headers(&self, _stream: &mut StreamContext<'_>) -> Flow {
        Flow::Continue
    }

    fn replaces_responses(&self) -> bool {
        true
    }

    fn replace_response<'s>(
        &'s self,
        stream: &mut StreamContext<'_>,
        body: &mut Vec<u8>,
    ) -> Option<Replacement<'s>> {
        let exchange = &*stream.exchange;
        let seen = MatchingData::new(&exchange.request, Some(&exchange.response));
        match self.policy(stream.settings, seen)? {
            Policy::Local(page) => Some(Replacement::Reply(page.replace(stream.exchange, body))),
            Policy::Redirect(number) => self.fetch(*number, stream).map(Replacement::Fetch),
        }
    }

    fn finish_page(&self, policy: u32, instead_of: u16, stream: &mut StreamContext<'_>) -> u16 {
        self.redirects[policy as usize].finish(instead_of, stream)
    }
}

impl CustomResponse {
    /// What is said of a response by the narrowest level that says anything.
    fn policy(&self, settings: Option<u32>, seen: MatchingData<'_>) -> Option<&Policy> {
        let mut level = settings;
        while let Some(number) = level {
            let of_level = &self.overrides[number as usize];
            if let Some(policy) = of_level.matcher.find(seen) {
                return Some(policy);
            }
            level = of_level.outer;
        }
        self.own.find(seen)
    }

    fn fetch(&self, policy: u32, stream: &mut StreamContext<'_>) -> Option<Fetch> {
        // As in Envoy, which makes the page's request of the one that it has seen.
        if !stream.has_seen_request() || !RedirectPolicy::may_fetch(stream.exchange) {
            return None;
        }
        let stats = match policy < self.own_redirects {
            true => self.own_stats?,
            false => self.route_stats?,
        };
        let request = self.redirects[policy as usize].request(stream);
        if request.is_none() {
            stats.custom_response_invalid_uri.inc();
        }
        Some(Fetch {
            request: request?,
            policy,
            no_route: stats.custom_response_redirect_no_route,
        })
    }
}

impl Policy {
    fn compile(
        extension: &TypedExtensionConfig,
        redirects: &mut Vec<RedirectPolicy>,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let Some(any) = &extension.typed_config else {
            cx.error_at("typed_config", "is required");
            return None;
        };
        cx.field("typed_config", |cx| {
            if type_name(&any.type_url) != REDIRECT_POLICY {
                return Page::compile(&unpack(any, cx)?, cx).map(Self::Local);
            }
            let message = unpack::<redirect::RedirectPolicy>(any, cx)?;
            let number = u32::try_from(redirects.len()).ok()?;
            redirects.push(RedirectPolicy::compile(&message, cx)?);
            Some(Self::Redirect(number))
        })
    }
}

impl Page {
    /// Takes the response's place. The body is appended to `out`.
    fn replace(&self, exchange: &mut Exchange, out: &mut Vec<u8>) -> LocalReply<'_> {
        match &self.format {
            None => out.extend_from_slice(&self.body),
            Some(format) => format.write(
                &Context {
                    local_reply_body: &self.body,
                    ..exchange.format_context()
                },
                out,
            ),
        }
        let status = self.status.unwrap_or(exchange.info.response_code);
        exchange.response.clear();
        match &self.details {
            Details::None => exchange.info.details.clear(),
            Details::Preserved => {}
            Details::Text(text) => exchange.info.details.copy(text),
        }
        let mut reply = LocalReply::new(status, "", "");
        reply.headers = Some(&self.headers);
        reply
    }

    fn compile(message: &policy::LocalResponsePolicy, cx: &mut Cx<'_>) -> Option<Self> {
        let body = match &message.body {
            None => Some(Box::default()),
            Some(source) => cx.field("body", |cx| data_source::read(source, cx)),
        };
        let format = match &message.body_format {
            None => Some(None),
            Some(format) => cx
                .field("body_format", |cx| Format::compile(format, cx))
                .map(Some),
        };
        let headers = added(cx, |formats, cx| {
            let add = &message.response_headers_to_add;
            HeaderChanges::lower_response("response_headers_to_add", add, formats, cx)
        });
        use policy::local_response_policy::ResponseCodeDetailsAction as Action;
        Some(Page {
            // The validation rules allow 200 to 599 only.
            status: message
                .status_code
                .and_then(|status| u16::try_from(status.value).ok()),
            body: body?,
            format: format?,
            headers: headers?,
            details: match &message.response_code_details_action {
                Some(Action::PreserveResponseCodeDetails(true)) => Details::Preserved,
                Some(Action::ResponseCodeDetails(text)) if !text.is_empty() => {
                    Details::Text(text.as_str().into())
                }
                Some(_) | None => Details::None,
            },
        })
    }
}

const REDIRECT_POLICY: &str =
    "envoy.extensions.http.custom_response.redirect_policy.v3.RedirectPolicy";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::setup::at_manager;
    use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;

    /// The findings in a filter whose matcher is this, in YAML's flow style.
    fn findings(matcher: &str) -> String {
        let lines = format!(
            "          http_filters:
          - name: pages
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.custom_response.v3.CustomResponse
              custom_response_matcher: {matcher}
"
        );
        let compiled = at_manager(&lines, |manager, cx| {
            let manager = unpack::<hcm::HttpConnectionManager>(manager, cx);
            let filter = &manager.expect("it is one").http_filters[0];
            let Some(hcm::http_filter::ConfigType::TypedConfig(any)) = &filter.config_type else {
                panic!("the filter has a typed_config");
            };
            cx.at(
                &format!("{}.http_filters[0].typed_config", cx.path().to_owned()),
                |cx| {
                    assert_eq!(CustomResponse::compile(any, cx).is_none(), cx.has_errors());
                },
            );
        });
        match compiled {
            Ok(((), found)) | Err(found) => found.to_string(),
        }
    }

    /// A matcher that leads everything to a policy.
    fn leads_to(kind: &str, fields: &str) -> String {
        format!(
            "{{on_no_match: {{action: {{name: p, typed_config: {{'@type': \
             type.googleapis.com/envoy.extensions.http.custom_response.{kind}, {fields}}}}}}}}}"
        )
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        const LOCAL: &str = "local_response_policy.v3.LocalResponsePolicy";
        const PAGE: &str = "custom_response_matcher.on_no_match.action.typed_config";
        const REDIRECT: &str = "redirect_policy.v3.RedirectPolicy";
        assert_eq!(findings(&leads_to(LOCAL, "status_code: 299")), "");
        assert_eq!(
            findings(&leads_to(REDIRECT, "uri: 'http://a/b', status_code: 299")),
            ""
        );
        assert_eq!(
            findings(&leads_to(
                REDIRECT,
                "redirect_action: {path_rewrite: '/%PROTOCOL%'}"
            )),
            ""
        );
        assert_eq!(findings("{}"), "");
        for (matcher, path, reason) in [
            (leads_to(LOCAL, "status_code: 100"), PAGE, "status_code"),
            (
                leads_to(LOCAL, "body: {filename: /nonexistent/ringway}"),
                PAGE,
                "body.filename: cannot read",
            ),
            (
                leads_to(LOCAL, "body_format: {text_format: '%NONE%'}"),
                PAGE,
                "body_format.text_format: Not supported field in StreamInfo: NONE",
            ),
            (
                leads_to(
                    LOCAL,
                    "response_headers_to_add: [{header: {key: a, value: '%NONE%'}}]",
                ),
                PAGE,
                "response_headers_to_add[0].header.value: Not supported field",
            ),
            (
                leads_to(REDIRECT, "uri: '/b'"),
                PAGE,
                "uri: \"/b\" is not an absolute URL",
            ),
            (
                leads_to(REDIRECT, "uri: 'http://a:99999/b'"),
                PAGE,
                "uri: \"http://a:99999/b\" is not",
            ),
            (
                leads_to(REDIRECT, "status_code: 200"),
                PAGE,
                "one of these must be given: uri, redirect_action",
            ),
            (
                leads_to(REDIRECT, "uri: 'http://a/', status_code: 199"),
                PAGE,
                "status_code",
            ),
            (
                leads_to(REDIRECT, "redirect_action: {prefix_rewrite: /a}"),
                PAGE,
                "redirect_action.prefix_rewrite: is not supported",
            ),
            (
                leads_to(
                    REDIRECT,
                    "redirect_action: {regex_rewrite: {pattern: {regex: a}, substitution: b}}",
                ),
                PAGE,
                "redirect_action.regex_rewrite: is not supported",
            ),
            (
                leads_to(REDIRECT, "redirect_action: {path_rewrite: '%NONE%'}"),
                PAGE,
                "redirect_action.path_rewrite: Not supported field",
            ),
            (
                leads_to(
                    REDIRECT,
                    "uri: 'http://a/', request_headers_to_add: [{header: {key: host, value: a}}]",
                ),
                PAGE,
                "request_headers_to_add[0].header.key: :-prefixed or host",
            ),
            (
                leads_to(
                    REDIRECT,
                    "uri: 'http://a/', response_headers_to_add: [{header: {key: a, value: '%N%'}}]",
                ),
                PAGE,
                "response_headers_to_add[0].header.value: Not supported field",
            ),
            (
                leads_to(
                    REDIRECT,
                    "uri: 'http://a/', modify_request_headers_action: {name: a}",
                ),
                PAGE,
                "modify_request_headers_action: not supported yet",
            ),
            (
                "{matcher_tree: {input: {name: i, typed_config: {'@type': \
                 type.googleapis.com/envoy.type.matcher.v3.HttpResponseTrailerMatchInput, \
                 header_name: a}}, exact_match_map: {map: {'404': {action: {name: a, \
                 typed_config: {'@type': type.googleapis.com/envoy.extensions.http.\
                 custom_response.local_response_policy.v3.LocalResponsePolicy}}}}}}}"
                    .to_owned(),
                "custom_response_matcher.matcher_tree.input.typed_config",
                "not supported yet",
            ),
        ] {
            let found = findings(&matcher);
            assert!(
                found.contains(path) && found.contains(reason),
                "{matcher}: {found}"
            );
            assert!(found.contains("f.yaml:"), "{found}");
        }
    }
}
