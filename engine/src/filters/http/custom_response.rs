//! `envoy.filters.http.custom_response`: error pages. Responses that a matcher
//! picks, the host's as well as the proxy's own, are replaced by others.
//!
//! The page is a local reply like any other: the route changes its headers and
//! `local_reply_config` may rewrite it. Of the response that it replaces it
//! keeps the status, unless it has one of its own, and nothing else.

use envoy_types::pb::envoy::extensions::filters::http::custom_response::v3 as pb;
use envoy_types::pb::envoy::extensions::http::custom_response::local_response_policy::v3 as policy;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use ringway_config::context::{Cx, unpack};
use ringway_config::format_strings::FormatStrings;
use ringway_config::matcher::{Inputs, Matcher, MatchingData};
use ringway_config::route::HeaderChanges;

use super::super::data_source;
use super::{Flow, HttpFilter, StreamContext};
use crate::filters::network::http_connection_manager::local_reply::LocalReply;
use crate::formatter::{Context, Format};
use crate::http::exchange::Exchange;
use crate::http::header_parser::AddedHeaders;
use crate::http::route_table::compile_formats;

/// The compiled filter.
pub struct CustomResponse {
    own: Matcher<Page>,
    /// What routes have in front of it.
    overrides: Vec<Override>,
}

/// What a level of the routes says.
struct Override {
    matcher: Matcher<Page>,
    /// The number of what a wider level says.
    outer: Option<u32>,
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
        Some(Self {
            own: matcher(any, cx)?,
            overrides: Vec::new(),
        })
    }
}

fn matcher(any: &Any, cx: &mut Cx<'_>) -> Option<Matcher<Page>> {
    let message = unpack::<pb::CustomResponse>(any, cx)?;
    let matcher = message.custom_response_matcher.unwrap_or_default();
    cx.field("custom_response_matcher", |cx| {
        Matcher::lower(&matcher, Inputs::RequestAndResponse, cx, &mut Page::compile)
    })
}

impl HttpFilter for CustomResponse {
    fn name(&self) -> &'static str {
        "envoy.filters.http.custom_response"
    }

    fn compile_override(&mut self, config: &Any, cx: &mut Cx<'_>) -> Option<u32> {
        self.overrides.push(Override {
            matcher: matcher(config, cx)?,
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
    ) -> Option<LocalReply<'s>> {
        let exchange = &*stream.exchange;
        let seen = MatchingData {
            request: &exchange.request,
            response: Some(&exchange.response),
        };
        let page = self.page(stream.settings, seen)?;
        Some(page.replace(stream.exchange, body))
    }
}

impl CustomResponse {
    /// The page for a response: the one of the narrowest level that has one.
    fn page(&self, settings: Option<u32>, seen: MatchingData<'_>) -> Option<&Page> {
        let mut level = settings;
        while let Some(number) = level {
            let of_level = &self.overrides[number as usize];
            if let Some(page) = of_level.matcher.find(seen) {
                return Some(page);
            }
            level = of_level.outer;
        }
        self.own.find(seen)
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

    fn compile(extension: &TypedExtensionConfig, cx: &mut Cx<'_>) -> Option<Self> {
        let Some(any) = &extension.typed_config else {
            cx.error_at("typed_config", "is required");
            return None;
        };
        cx.field("typed_config", |cx| {
            let message: policy::LocalResponsePolicy = unpack(any, cx)?;
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
            let mut strings = FormatStrings::default();
            let headers = HeaderChanges::lower_response(
                "response_headers_to_add",
                &message.response_headers_to_add,
                &mut strings,
                cx,
            );
            let formats = compile_formats(&strings, cx);
            Some(Page {
                // The validation rules allow 200 to 599 only.
                status: message
                    .status_code
                    .and_then(|status| u16::try_from(status.value).ok()),
                body: body?,
                format: format?,
                headers: AddedHeaders {
                    changes: headers?,
                    formats: formats?,
                },
                details: match &message.response_code_details_action {
                    Some(policy::local_response_policy::ResponseCodeDetailsAction::PreserveResponseCodeDetails(true)) => Details::Preserved,
                    Some(policy::local_response_policy::ResponseCodeDetailsAction::ResponseCodeDetails(text)) if !text.is_empty() => {
                        Details::Text(text.as_str().into())
                    }
                    Some(_) | None => Details::None,
                },
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
    use ringway_config::{Diagnostics, Format, LoadOptions, bootstrap, load};

    /// The findings in a filter whose matcher is this, in YAML's flow style.
    fn findings(matcher: &str) -> String {
        let text = format!(
            "\
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          route_config: {{}}
          http_filters:
          - name: pages
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.custom_response.v3.CustomResponse
              custom_response_matcher: {matcher}
"
        );
        let loaded = match load(&text, "f.yaml", Format::Yaml, &LoadOptions::default()) {
            Ok(loaded) => loaded,
            Err(found) => return found.to_string(),
        };
        let snapshot = bootstrap::lower(&loaded).expect("the rest is valid");
        let chain = snapshot.listeners[0].filter_chain().expect("it has one");
        let mut found = Diagnostics::new();
        let names = &snapshot.names;
        let mut cx = Cx::new(&mut found, &loaded.marks, loaded.file.clone(), names);
        cx.at(&chain.filters[0].path, |cx| {
            let manager = unpack::<hcm::HttpConnectionManager>(&chain.filters[0].config, cx);
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
        found.to_string()
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
        assert_eq!(findings(&leads_to(LOCAL, "status_code: 299")), "");
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
                leads_to("redirect_policy.v3.RedirectPolicy", "uri: 'http://a/b'"),
                PAGE,
                "not supported yet",
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
