//! Tables of good and bad messages. Every input is read whole, byte by byte
//! and cut in two at every position, with the same result.

mod bodies;
mod corpus;
mod field_bytes;
mod names;
mod requests;
mod responses;
mod roundtrip;

use super::Http1Error;
use super::fuzz::{self, Event, Side};

/// Reads `input` in all the ways, which must agree.
fn read(side: &Side, input: &[u8]) -> Vec<Event> {
    let events = fuzz::check(side, input, 1);
    for cut in positions(input.len()) {
        let cut_in_two = side.read(input, [cut]);
        assert_eq!(events, cut_in_two, "cut at {cut}: {}", input.escape_ascii());
    }
    events
}

/// Every position of a short input; of a long one those near both ends, and
/// some between.
fn positions(len: usize) -> impl Iterator<Item = usize> {
    let near = if len < 1000 { 500 } else { 50 };
    (1..len).filter(move |&at| at < near || len - at < near || at % 9973 == 0)
}

/// The error that ends the reading of `input`, or a failure.
fn error_of(side: &Side, input: &[u8]) -> Http1Error {
    let events = read(side, input);
    let mut refusals = events.iter().filter_map(|event| match event {
        Event::Error(e) => Some(*e),
        Event::Request(head, ..) => head.refused,
        _ => None,
    });
    match refusals.next_back() {
        Some(error) => error,
        None => panic!("{}: {events:?}", input.escape_ascii()),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Entries as `name: value` lines.
fn lines(fields: &fuzz::Fields) -> Vec<String> {
    fields
        .iter()
        .map(|(name, value)| format!("{}: {}", text(name), text(value)))
        .collect()
}
