//! `core.v3.HealthCheck.HttpHealthCheck`.

use std::ops::Range;

use envoy_types::pb::envoy::config::core::v3::health_check::HttpHealthCheck;
use envoy_types::pb::envoy::config::core::v3::{HeaderValueOption, RequestMethod};
use envoy_types::pb::envoy::r#type::v3::{CodecClientType, Int64Range};
use ringway_codecs::header::{HeaderId, HeaderMap, Lines};

use super::{payload, payloads};
use crate::context::Cx;
use crate::format_strings::FormatStrings;
use crate::route::{AppendAction, HeaderChanges, HeaderToAdd, HeaderValue, StringMatcher};
use crate::runtime::RuntimeKey;

/// A request that a healthy host answers well.
#[derive(Debug)]
pub struct HttpCheck {
    /// What is spoken with the host.
    pub protocol: Protocol,
    /// Its head, without an authority.
    pub request: HeaderMap,
    /// Its authority; empty for the host's own name, or the cluster's.
    pub host: Box<str>,
    /// Its body.
    pub send: Box<[u8]>,
    /// What has to be in the response's body, in this order.
    pub receive: Vec<Box<[u8]>>,
    /// So much of the body is looked at; 0 is no limit.
    pub response_buffer_size: u64,
    /// Statuses of a healthy host.
    pub expected: Vec<StatusRange>,
    /// Other statuses make a host unhealthy at once, apart from these.
    pub retriable: Vec<StatusRange>,
    /// The host has to say that it is this service.
    pub service_name: Option<StringMatcher>,
    /// `health_check.verify_cluster`, in percent.
    pub verify_key: RuntimeKey,
}

/// The versions of HTTP that hosts are checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without asking whether the host speaks it.
    Http2,
}

/// Statuses from one to before another.
pub type StatusRange = Range<u16>;

pub(super) fn lower(proto: &HttpHealthCheck, cx: &mut Cx<'_>) -> Option<HttpCheck> {
    let method = match proto.method() {
        RequestMethod::MethodUnspecified => RequestMethod::Get,
        method => method,
    };
    let has_body = matches!(
        method,
        RequestMethod::Post | RequestMethod::Put | RequestMethod::Patch | RequestMethod::Options
    );
    let send = proto.send.as_ref().map(|send| {
        if !has_body {
            let method = method.as_str_name();
            cx.error_at("send", format!("a request of method {method} has no body"));
        }
        cx.field("send", |cx| payload(send, cx))
    });
    let receive = payloads("receive", &proto.receive, cx);
    let response_buffer_size = proto.response_buffer_size.map_or(1024, |size| size.value);
    let receive_bytes: u64 = receive.iter().flatten().map(|one| one.len() as u64).sum();
    if response_buffer_size != 0 && receive_bytes > response_buffer_size {
        cx.error_at(
            "receive",
            format!(
                "{receive_bytes} bytes are never found in the {response_buffer_size} of \
                 response_buffer_size"
            ),
        );
    }
    let mut expected = ranges("expected_statuses", &proto.expected_statuses, cx)?;
    if expected.is_empty() {
        expected.push(200..201);
    }
    let retriable = ranges("retriable_statuses", &proto.retriable_statuses, cx)?;
    let service_name = match &proto.service_name_matcher {
        Some(matcher) => Some(cx.field("service_name_matcher", |cx| {
            StringMatcher::lower(matcher, cx)
        })?),
        None => None,
    };
    let send = match send {
        Some(send) => send?,
        None => Box::default(),
    };
    Some(HttpCheck {
        protocol: match proto.codec_client_type() {
            // The table refuses the third.
            CodecClientType::Http1 | CodecClientType::Http3 => Protocol::Http1,
            CodecClientType::Http2 => Protocol::Http2,
        },
        request: request(proto, method.as_str_name(), send.len(), cx)?,
        host: proto.host.as_str().into(),
        send,
        receive: receive?,
        response_buffer_size,
        expected,
        retriable,
        service_name,
        verify_key: cx.runtime_keys.id("health_check.verify_cluster"),
    })
}

/// The request without its authority. The values of added headers are plain
/// texts: a check is no request of anybody, so nearly all operators would stand
/// for nothing.
fn request(
    proto: &HttpHealthCheck,
    method: &str,
    send: usize,
    cx: &mut Cx<'_>,
) -> Option<HeaderMap> {
    let mut request = HeaderMap::of(Lines::Request);
    request.append(HeaderId::Method, method.as_bytes());
    request.append(HeaderId::Path, proto.path.as_bytes());
    request.append(HeaderId::UserAgent, b"Envoy/HC");
    let changes = HeaderChanges::lower_request_changes(
        ("request_headers_to_add", &proto.request_headers_to_add),
        (
            "request_headers_to_remove",
            &proto.request_headers_to_remove,
        ),
        &mut FormatStrings::default(),
        cx,
    )?;
    for name in &changes.remove {
        name.remove_from(&mut request);
    }
    add_changes("request_headers_to_add", &changes, &mut request, cx);
    if send > 0 {
        request.set_decimal(HeaderId::ContentLength, send);
    }
    Some(request)
}

/// Adds the headers of the list `name`.
pub(super) fn add_all(
    name: &str,
    protos: &[HeaderValueOption],
    request: &mut HeaderMap,
    cx: &mut Cx<'_>,
) -> Option<()> {
    let formats = &mut FormatStrings::default();
    let none = ("", &[][..]);
    let changes = HeaderChanges::lower_request_changes((name, protos), none, formats, cx)?;
    add_changes(name, &changes, request, cx);
    Some(())
}

fn add_changes(name: &str, changes: &HeaderChanges, request: &mut HeaderMap, cx: &mut Cx<'_>) {
    for (i, header) in changes.add.iter().enumerate() {
        let HeaderValue::Literal(value) = &header.value else {
            cx.index(name, i, |cx| {
                cx.error_at(
                    "header.value",
                    "operators are not supported in health checks yet",
                );
            });
            continue;
        };
        if !value.is_empty() || header.keep_empty_value {
            add(header, value, request);
        }
    }
}

fn add(header: &HeaderToAdd, value: &[u8], request: &mut HeaderMap) {
    let is_there = header.name.is_in(request);
    match header.action {
        AppendAction::OverwriteIfExistsOrAdd => header.name.set_in(request, value),
        AppendAction::OverwriteIfExists if is_there => header.name.set_in(request, value),
        AppendAction::AddIfAbsent if !is_there => header.name.append_to(request, value),
        AppendAction::AppendIfExistsOrAdd => header.name.append_to(request, value),
        AppendAction::OverwriteIfExists | AppendAction::AddIfAbsent => {}
    }
}

fn ranges(name: &str, protos: &[Int64Range], cx: &mut Cx<'_>) -> Option<Vec<StatusRange>> {
    let all: Vec<_> = protos
        .iter()
        .enumerate()
        .map(|(i, range)| {
            cx.index(name, i, |cx| {
                if range.start >= range.end {
                    cx.error("no status is in here: start has to be less than end");
                } else if range.start < 100 {
                    cx.error_at("start", "no status is less than 100");
                } else if range.end > 600 {
                    cx.error_at("end", "600, the end of all statuses, is the largest");
                } else {
                    return Some(range.start as u16..range.end as u16);
                }
                None
            })
        })
        .collect();
    all.into_iter().collect()
}
