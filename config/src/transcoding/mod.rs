//! JSON over HTTP and messages of gRPC, each made of the other as
//! `google.api.http` rules say
//! (`envoy.extensions.filters.http.grpc_json_transcoder.v3`).
//!
//! - `template.rs`: paths with variables, and which rule one matches.
//! - `rules.rs`: the rules of a descriptor set's services.
//! - `binding.rs`: values from paths and query strings, as fields of a message.
//! - `unknown.rs`: parameters of query strings that are no fields.
//! - `array.rs`: the messages of a request that are sent one after the other.
//! - `request.rs`: JSON to messages; `response.rs`: messages to JSON;
//!   `json.rs`: how protobuf's own library writes it.
//!
//! Bytes in, bytes out: nothing is read or sent here. It works by reflection and
//! allocates.

mod array;
mod binding;
mod json;
mod request;
mod response;
mod rules;
mod template;
mod unknown;

use std::collections::HashSet;

use envoy_types::pb::envoy::extensions::filters::http::grpc_json_transcoder::v3 as pb;
use prost_reflect::{FieldDescriptor, MessageDescriptor, MethodDescriptor};

pub use self::array::ArrayReader;
use self::binding::Binding;
use self::response::PrintOptions;
pub use self::response::{Framing, HttpBody};
use self::template::{Template, Unescape};
use self::unknown::UnknownParameters;

/// The message that carries a body as it is.
const HTTP_BODY: &str = "google.api.HttpBody";

/// A compiled configuration of the filter.
#[derive(Debug)]
pub struct Transcoder {
    rules: Vec<Rule>,
    print: PrintOptions,
    unescape: Unescape,
    /// Query parameters that are left out.
    ignored: HashSet<Box<str>>,
    ignores_unknown: bool,
    captures_unknown: bool,
    rejects_unknown_method: bool,
    rejects_unknown_query: bool,
    rejects_collisions: bool,
    case_insensitive_enums: bool,
    unescapes_plus: bool,
    /// Any verb at the end of a path is one, not only those that rules have.
    any_verb: bool,
    /// Requests keep the route that they have had.
    pub keeps_route: bool,
    /// The status of a call becomes the body, where there is none: the type that
    /// it is written as.
    status: Option<MessageDescriptor>,
    /// The longest body of a request; `None` is the connection's limit.
    pub request_bytes_max: Option<u32>,
    /// The same of a response.
    pub response_bytes_max: Option<u32>,
}

/// What requests of one shape are made into.
#[derive(Debug)]
struct Rule {
    http_method: Box<str>,
    template: Template,
    method: MethodDescriptor,
    /// The field that the body is; empty is the whole message.
    body: Vec<FieldDescriptor>,
    /// The field of the response that is sent; empty is all of it.
    response_body: Vec<FieldDescriptor>,
}

/// A request that is made into a call.
#[derive(Debug)]
pub struct Call {
    rule: usize,
    bindings: Vec<Binding>,
    /// Parameters that are no fields, where they are captured.
    unknown: UnknownParameters,
}

/// Why a request is not made into a call.
#[derive(Debug, PartialEq, Eq)]
pub enum NoCall {
    /// It goes on as it is.
    Passed,
    /// It is refused with this status, text and code of gRPC.
    Refused(u16, String, &'static str),
}

/// What could not be made into something else, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Untranslatable(pub String);

impl Transcoder {
    /// Compiles the message with its descriptor set.
    ///
    /// # Errors
    /// What is wrong with it, by its field.
    pub fn new(
        descriptors: &[u8],
        proto: &pb::GrpcJsonTranscoder,
    ) -> Result<Self, (&'static str, String)> {
        use pb::grpc_json_transcoder::UrlUnescapeSpec;
        let compiled = rules::compile(descriptors, proto)?;
        let validation = proto.request_validation_options.unwrap_or_default();
        Ok(Self {
            rules: compiled.rules,
            print: PrintOptions::new(proto.print_options.unwrap_or_default()),
            unescape: match proto.url_unescape_spec() {
                UrlUnescapeSpec::AllCharactersExceptReserved => Unescape::ExceptReserved,
                UrlUnescapeSpec::AllCharactersExceptSlash => Unescape::ExceptSlash,
                UrlUnescapeSpec::AllCharacters => Unescape::All,
            },
            ignored: (proto.ignored_query_parameters.iter())
                .map(|name| name.as_str().into())
                .collect(),
            ignores_unknown: proto.ignore_unknown_query_parameters,
            captures_unknown: proto.capture_unknown_query_parameters,
            rejects_unknown_method: validation.reject_unknown_method,
            rejects_unknown_query: validation.reject_unknown_query_parameters,
            rejects_collisions: validation.reject_binding_body_field_collisions,
            case_insensitive_enums: proto.case_insensitive_enum_parsing,
            unescapes_plus: proto.query_param_unescape_plus,
            any_verb: proto.match_unregistered_custom_verb,
            keeps_route: proto.match_incoming_request_route,
            status: compiled.status,
            response_bytes_max: proto.max_response_body_size.map(|size| size.value),
            request_bytes_max: proto.max_request_body_size.map(|size| size.value),
        })
    }

    /// The call that a request is made into.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, http_method: &[u8], path: &[u8]) -> Result<Call, NoCall> {
        let text = String::from_utf8_lossy(path);
        let (path, query) = text.split_once('?').unwrap_or((&text, ""));
        let Some((rule, captures)) = self.look_up(http_method, path) else {
            return Err(match self.rejects_unknown_method {
                false => NoCall::Passed,
                true => NoCall::Refused(
                    404,
                    format!("Could not resolve {path} to a method."),
                    "NOT_FOUND",
                ),
            });
        };
        let mut named = captures;
        named.extend(binding::of_query(query, &self.ignored, self.unescapes_plus));
        let message = self.rules[rule].method.input();
        let mut bindings = Vec::new();
        let mut unknown = UnknownParameters::default();
        for (fields, value) in named {
            match binding::resolve(&message, &fields) {
                Ok(fields) => bindings.push(Binding { fields, value }),
                Err(_) if self.captures_unknown => unknown.add(&fields, value),
                Err(_) if self.ignores_unknown => {}
                Err(_) if !self.rejects_unknown_query => return Err(NoCall::Passed),
                Err(reason) => return Err(NoCall::Refused(400, reason, "INVALID_ARGUMENT")),
            }
        }
        Ok(Call {
            rule,
            bindings,
            unknown,
        })
    }

    /// The path of a call, as gRPC has it.
    #[must_use]
    pub fn path(&self, call: &Call) -> String {
        let method = &self.rules[call.rule].method;
        let service = method.parent_service();
        format!("/{}/{}", service.full_name(), method.name())
    }

    /// Whether a request has any number of messages, in an array.
    #[must_use]
    pub fn streams_requests(&self, call: &Call) -> bool {
        let rule = &self.rules[call.rule];
        rule.method.is_client_streaming() && !request::is_http_body(rule)
    }

    /// Whether a call is answered with any number of messages.
    #[must_use]
    pub fn streams_responses(&self, call: &Call) -> bool {
        self.rules[call.rule].method.is_server_streaming()
    }
}

#[cfg(test)]
mod tests;
