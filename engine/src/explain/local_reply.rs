//! What `local_reply_config` makes of an answer that the proxy gives itself:
//! the mapper that takes it, and the status, body and headers that come of it.

use ringway_codecs::header::{HeaderId, HeaderMap};
use serde_json::Value;

use super::context::Context;
use super::fact::{Fact, Place};
use crate::filters::network::http_connection_manager::local_reply::{
    LocalReply, describe_body, grpc_message, speaks_grpc,
};
use crate::filters::network::http_connection_manager::local_reply_config::Taker;
use crate::formatter::grpc;
use crate::http::exchange::Exchange;
use crate::http::header_parser::Scratch;

/// What becomes of `reply`; nothing where nothing is configured.
pub(super) fn explain(
    reply: &LocalReply<'_>,
    exchange: &mut Exchange,
    cx: &Context<'_>,
) -> Option<Fact> {
    let config = cx.manager.config.local_replies.as_ref()?;
    let (now, _) = cx.sources.now;
    let scratch = &mut Scratch::default();
    cx.manager.prepare_reply(reply, now, exchange, scratch);
    let fact = Fact::new(NAME).place(cx.of_manager(FIELD));
    let path = |place: usize| format!("{FIELD}.mappers[{place}]");
    let taker = config.foresee(exchange, reply.status, cx.sources.runtime, now);
    let (place, mapper) = match taker {
        Taker::Nobody => (None, Fact::new("mapper").value(Value::Null)),
        Taker::Mapper(place) => {
            let mapper = Fact::new("mapper").value(place);
            (Some(place), mapper.place(cx.of_manager(&path(place))))
        }
        Taker::Perhaps(place) => {
            let mapper = Fact::new("mapper")
                .value(place)
                .note("if chance, or the time that it takes, will have it")
                .place(cx.of_manager(&path(place)));
            return Some(fact.parts(vec![mapper]));
        }
    };
    let before = exchange.response.clone();
    let mut body = Vec::new();
    let told = (reply.status, reply.body);
    let rewritten = config.rewrite_as(place, exchange, told, scratch, &mut body);
    let of_mapper = |field: &str| place.map(|place| format!("{}.{field}", path(place)));
    let mut parts = vec![mapper];
    let status = set_at("status", [of_mapper("status_code")], cx);
    let format = Some(format!("{FIELD}.body_format"));
    let formats = [of_mapper("body_format_override"), format, of_mapper("body")];
    match speaks_grpc(exchange) {
        false => {
            parts.push(status.value(rewritten.status));
            describe_body(rewritten, &body, &mut exchange.response);
            let text = String::from_utf8_lossy(&body);
            let body = set_at("body", formats, cx).value(text);
            parts.push(match exchange.response.get(HeaderId::ContentType) {
                Some(kind) => body.note(String::from_utf8_lossy(kind)),
                None => body,
            });
        }
        true => {
            let code = reply.grpc_status;
            let code = code.unwrap_or_else(|| grpc::from_http(rewritten.status).into());
            let note = format!("stands for {}", rewritten.status);
            parts.push(status.value(200));
            parts.push(Fact::new("grpc status").value(code).note(note));
            let message = String::from_utf8_lossy(grpc_message(rewritten, &body));
            parts.push(set_at("grpc message", formats, cx).value(message));
        }
    }
    let added = added(&before, &exchange.response);
    if !added.is_empty() {
        let headers = set_at("headers", [of_mapper("headers_to_add")], cx);
        parts.push(headers.items(added));
    }
    Some(fact.parts(parts))
}

/// What is said where the request is sent on: nobody knows how that ends.
pub(super) fn of_others(cx: &Context<'_>) -> Option<Fact> {
    cx.manager.config.local_replies.as_ref()?;
    Some(
        Fact::new(NAME)
            .note("it may change status, headers and body of what the proxy answers itself")
            .place(cx.of_manager(FIELD)),
    )
}

const NAME: &str = "local reply config";
const FIELD: &str = "local_reply_config";

/// A fact with the place of the first of these fields that was written, if any
/// was.
fn set_at<const N: usize>(name: &str, fields: [Option<String>; N], cx: &Context<'_>) -> Fact {
    let mut places = fields.into_iter().flatten();
    match places.find_map(|field| match cx.of_manager(&field) {
        Place::Default => None,
        written => Some(written),
    }) {
        Some(place) => Fact::new(name).place(place),
        None => Fact::new(name),
    }
}

/// The headers that are new, or have another value, those left out that tell
/// of status and body.
fn added(before: &HeaderMap, after: &HeaderMap) -> Vec<Fact> {
    const TOLD: [&str; 3] = [":status", "content-type", "content-length"];
    let was = |name: &[u8], value: &[u8]| {
        let mut fields = before.iter();
        fields.any(|(other, old)| other.as_bytes() == name && old == value)
    };
    let fields = after.iter().map(|(name, value)| (name.as_bytes(), value));
    let new = fields.filter(|(name, value)| {
        !TOLD.iter().any(|told| told.as_bytes() == *name) && !was(name, value)
    });
    new.map(|(name, value)| {
        Fact::new(String::from_utf8_lossy(name)).value(String::from_utf8_lossy(value))
    })
    .collect()
}
