//! Changes of headers that the configuration asks for, done: the engine's half
//! of [`HeaderChanges`].
//!
//! All values of a list are made before the first is added, of the message as it
//! is after the list's removals. Whatever a client sent can become part of a
//! value, so formats write values in which no line can end.

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::{AppendAction, HeaderChanges, HeaderToAdd, HeaderValue};

use super::append_to_list;
use super::exchange::Exchange;
use super::route_table::RouteTable;
use crate::formatter::{AccessLogType, Context, Formatter};

/// Memory that evaluations of a worker share, so that none allocates.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The values of formats.
    bytes: Vec<u8>,
    additions: Vec<Addition>,
}

/// An entry of the list that is to be carried out.
#[derive(Debug, Clone, Copy)]
struct Addition {
    /// Its place in the list.
    place: usize,
    /// Its value in [`Scratch::bytes`], if it is not a literal.
    value: (usize, usize),
    overwrites: bool,
}

/// Which message is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The request.
    Request,
    /// The response.
    Response,
}

impl Message {
    /// Its headers.
    #[must_use]
    pub fn headers(self, exchange: &Exchange) -> &HeaderMap {
        match self {
            Message::Request => &exchange.request,
            Message::Response => &exchange.response,
        }
    }

    /// Its headers, to change them.
    pub fn headers_mut(self, exchange: &mut Exchange) -> &mut HeaderMap {
        match self {
            Message::Request => &mut exchange.request,
            Message::Response => &mut exchange.response,
        }
    }
}

/// Changes the headers of a message as the request's route, its virtual host
/// and so on say.
pub fn apply_route_mutations(
    message: Message,
    routes: &RouteTable,
    exchange: &mut Exchange,
    scratch: &mut Scratch,
) {
    for id in exchange.header_mutations.iter() {
        let mutations = routes.configuration.header_mutations().get(id);
        let changes = match message {
            Message::Request => &mutations.request,
            Message::Response => &mutations.response,
        };
        apply(changes, routes.formats(), message, exchange, scratch);
    }
}

/// Carries out one list. `formats` are those that its values are numbered in.
pub fn apply(
    changes: &HeaderChanges,
    formats: &[Formatter],
    message: Message,
    exchange: &mut Exchange,
    scratch: &mut Scratch,
) {
    let headers = message.headers_mut(exchange);
    for name in &changes.remove {
        name.remove_from(headers);
    }
    if changes.add.is_empty() {
        return;
    }
    scratch.evaluate(&changes.add, formats, message, exchange);
    let headers = message.headers_mut(exchange);
    for overwrites in [true, false] {
        for addition in &scratch.additions {
            if addition.overwrites == overwrites {
                let header = &changes.add[addition.place];
                add(
                    header,
                    addition.of(header, &scratch.bytes),
                    overwrites,
                    headers,
                );
            }
        }
    }
}

impl Scratch {
    /// Decides which headers are added, with which values.
    fn evaluate(
        &mut self,
        add: &[HeaderToAdd],
        formats: &[Formatter],
        message: Message,
        exchange: &Exchange,
    ) {
        self.bytes.clear();
        self.additions.clear();
        let headers = message.headers(exchange);
        let context = Context {
            info: &exchange.info,
            request: &exchange.request,
            response: &exchange.response,
            trailers: &exchange.response_trailers,
            local_reply_body: b"",
            kind: AccessLogType::NotSet,
        };
        for (place, header) in add.iter().enumerate() {
            let overwrites = match header.action {
                AppendAction::AppendIfExistsOrAdd => false,
                AppendAction::AddIfAbsent if header.name.is_in(headers) => continue,
                AppendAction::AddIfAbsent => false,
                AppendAction::OverwriteIfExists if !header.name.is_in(headers) => continue,
                AppendAction::OverwriteIfExists | AppendAction::OverwriteIfExistsOrAdd => true,
            };
            let start = self.bytes.len();
            let is_empty = match &header.value {
                HeaderValue::Literal(value) => value.is_empty(),
                HeaderValue::Format(id) => {
                    formats[id.0 as usize].write_value(&context, &mut self.bytes);
                    self.bytes.len() == start
                }
            };
            if is_empty && !header.keep_empty_value {
                continue;
            }
            self.additions.push(Addition {
                place,
                value: (start, self.bytes.len()),
                overwrites,
            });
        }
    }
}

impl Addition {
    fn of<'v>(&self, header: &'v HeaderToAdd, bytes: &'v [u8]) -> &'v [u8] {
        match &header.value {
            HeaderValue::Literal(value) => value,
            HeaderValue::Format(_) => &bytes[self.value.0..self.value.1],
        }
    }
}

fn add(header: &HeaderToAdd, value: &[u8], overwrites: bool, headers: &mut HeaderMap) {
    match header.joins {
        _ if overwrites => header.name.set_in(headers, value),
        Some(id) if headers.contains(id) => join(id, value, headers),
        _ => header.name.append_to(headers, value),
    }
}

fn join(id: HeaderId, value: &[u8], headers: &mut HeaderMap) {
    if !value.is_empty() {
        append_to_list(headers, id, b",", |out| out.extend_from_slice(value));
    }
}
