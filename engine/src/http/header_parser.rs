//! Changes of headers that the configuration asks for, done: the engine's half
//! of [`HeaderChanges`].
//!
//! All values of a list are made before the first is added, of the message as it
//! is after the list's removals. Whatever a client sent can become part of a
//! value, so formats write values in which no line can end.

use ringway_codecs::header::HeaderMap;
use ringway_config::route::{
    AppendAction, HeaderChanges, HeaderMutation, HeaderToAdd, HeaderValue, MutationLevels,
};

use super::exchange::Exchange;
use super::route_table::RouteTable;
use crate::formatter::{Context, Formatter};

/// Bytes of values that a worker keeps room for. A list may copy a large header
/// many times; that must not stay for ever.
const SCRATCH_BYTES_KEPT_MAX: usize = 64 * 1024;

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
    /// A response that takes the place of another one. As in Envoy, its values
    /// are made without either.
    Replacement,
}

impl Message {
    /// Its headers.
    #[must_use]
    pub fn headers(self, exchange: &Exchange) -> &HeaderMap {
        match self {
            Message::Request => &exchange.request,
            Message::Response | Message::Replacement => &exchange.response,
        }
    }

    /// Its headers, to change them.
    pub fn headers_mut(self, exchange: &mut Exchange) -> &mut HeaderMap {
        match self {
            Message::Request => &mut exchange.request,
            Message::Response | Message::Replacement => &mut exchange.response,
        }
    }
}

/// Headers to add, with the formats of their values.
#[derive(Debug)]
pub struct AddedHeaders {
    /// The headers.
    pub changes: HeaderChanges,
    /// The formats that their values are numbered in.
    pub formats: Box<[Formatter]>,
}

/// Changes the headers of a message as `levels` of the request's route, its
/// virtual host and so on say.
pub fn apply_route_mutations(
    levels: MutationLevels,
    message: Message,
    routes: &RouteTable,
    exchange: &mut Exchange,
    scratch: &mut Scratch,
) {
    for id in levels.iter() {
        let mutations = routes.configuration.header_mutations().get(id);
        let changes = match message {
            Message::Request => &mutations.request,
            Message::Response | Message::Replacement => &mutations.response,
        };
        apply(changes, routes.formats(), message, exchange, scratch);
    }
}

/// Changes the request's headers as each of `mutations` says, one after the
/// other.
pub fn apply_mutations(
    mutations: &[HeaderMutation],
    formats: &[Formatter],
    exchange: &mut Exchange,
    scratch: &mut Scratch,
) {
    for mutation in mutations {
        match mutation {
            HeaderMutation::Change(changes) => {
                apply(changes, formats, Message::Request, exchange, scratch);
            }
            HeaderMutation::RemoveOnMatch(matcher) => exchange.request.retain(|name, _| {
                let name = name.as_bytes();
                name.starts_with(b":") || !matcher.matches(name)
            }),
        }
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
        self.bytes.shrink_to(SCRATCH_BYTES_KEPT_MAX);
        self.additions.clear();
        let headers = message.headers(exchange);
        let none = HeaderMap::new();
        let context = Context {
            response: match message {
                Message::Request | Message::Response => &exchange.response,
                Message::Replacement => &none,
            },
            ..exchange.format_context()
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
    // As in Envoy, the new value does not take the old one's place.
    if overwrites {
        header.name.remove_from(headers);
    }
    header.name.append_to(headers, value);
}

#[cfg(test)]
mod tests {
    use super::super::test_headers::{headers, text};
    use super::*;
    use crate::http::exchange::ExchangePool;
    use crate::stream_info::ConnectionInfo;
    use ringway_config::format_strings::FormatId;
    use ringway_config::route::MutableName;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::rc::Rc;
    use std::time::{Instant, SystemTime};

    fn exchange(request: &str) -> Box<Exchange> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let connection = Rc::new(ConnectionInfo::new(7, address, address));
        let mut pool = ExchangePool::default();
        let mut exchange = pool.take(connection, Instant::now(), SystemTime::now());
        exchange.request = headers(request);
        exchange
    }

    fn adding(name: &str, value: HeaderValue, action: AppendAction) -> HeaderToAdd {
        HeaderToAdd {
            name: MutableName::Other(name.as_bytes().into()),
            value,
            action,
            keep_empty_value: false,
        }
    }

    fn values(message: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
        let values = message.get_all_name(name.as_bytes());
        values.map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn no_value_ends_a_line() {
        const FORMAT: HeaderValue = HeaderValue::Format(FormatId(0));
        let format = Formatter::parse("%QUERY_PARAM(q)%|%REQ(:path)%").unwrap();
        let changes = HeaderChanges {
            remove: Box::default(),
            add: [
                adding("x", FORMAT, AppendAction::OverwriteIfExistsOrAdd),
                adding("y", FORMAT, AppendAction::AppendIfExistsOrAdd),
            ]
            .into(),
        };
        let mut scratch = Scratch::default();
        for byte in 0..=255_u8 {
            let mut exchange = exchange(&format!(":path: /?q=a%{byte:02x}b%{byte:02X}\nx: 1"));
            let formats = std::slice::from_ref(&format);
            apply(
                &changes,
                formats,
                Message::Request,
                &mut exchange,
                &mut scratch,
            );
            for name in ["x", "y"] {
                let values = values(&exchange.request, name);
                assert_eq!(values.len(), 1);
                assert!(values[0].starts_with(b"a"), "{values:?}");
                let allowed = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
                assert!(values[0].iter().all(allowed), "{values:?}");
            }
        }
    }

    #[test]
    fn the_same_list_does_the_same_again_without_new_memory() {
        let literal = |text: &str| HeaderValue::Literal(text.as_bytes().into());
        let changes = HeaderChanges {
            remove: [MutableName::Other(b"gone".as_slice().into())].into(),
            add: [
                adding(
                    "a",
                    HeaderValue::Format(FormatId(0)),
                    AppendAction::AddIfAbsent,
                ),
                adding("b", literal("2"), AppendAction::OverwriteIfExists),
                adding("c", literal("3"), AppendAction::OverwriteIfExists),
                adding("d", literal("4"), AppendAction::AppendIfExistsOrAdd),
                adding("e", literal(""), AppendAction::AppendIfExistsOrAdd),
            ]
            .into(),
        };
        let formats = [Formatter::parse("%REQ(gone)%%REQ(d)%").unwrap()];
        let mut scratch = Scratch::default();
        let mut memory = None;
        for _ in 0..3 {
            let mut exchange = exchange("gone: 1\nb: 1\nd: 1\ngone: 2");
            apply(
                &changes,
                &formats,
                Message::Request,
                &mut exchange,
                &mut scratch,
            );
            assert_eq!(text(&exchange.request), "d: 1 | b: 2 | a: 1 | d: 4");
            let now = (scratch.bytes.as_ptr(), scratch.additions.as_ptr());
            assert_eq!(*memory.get_or_insert(now), now);
        }
    }
}
