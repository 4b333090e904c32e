//! Request heads: `accepted` has what is let in and what it says, `refused`
//! what is not and the answer to it.

mod accepted;
mod refused;

use super::super::{RequestHead, RequestOptions};
use super::{Event, Side, error_of, lines, read};

fn side() -> Side {
    Side::Requests(RequestOptions::default())
}

fn side_with(change: impl FnOnce(&mut RequestOptions)) -> Side {
    let mut o = RequestOptions::default();
    change(&mut o);
    Side::Requests(o)
}

/// A POST with these header lines after Host.
fn post(headers: &[u8], body: &[u8]) -> Vec<u8> {
    [
        b"POST /x HTTP/1.1\r\nHost: a\r\n",
        headers,
        b"\r\n\r\n",
        body,
    ]
    .concat()
}

/// A request with this request line.
fn line(request_line: &[u8]) -> Vec<u8> {
    [request_line, b"\r\nHost: a\r\n\r\n"].concat()
}

/// The head and its entries as lines; the input must hold one whole request.
fn accepted(side: &Side, input: &[u8]) -> (RequestHead, Vec<String>) {
    match &read(side, input)[..] {
        [Event::Request(head, fields, _), rest @ ..] => {
            assert_eq!(head.refused, None);
            assert!(!matches!(rest.last(), Some(Event::Error(_))), "{rest:?}");
            (*head, lines(fields))
        }
        other => panic!("{}: {other:?}", input.escape_ascii()),
    }
}
