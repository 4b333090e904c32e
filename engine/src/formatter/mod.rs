//! Format strings of access logs and headers: `%PROTOCOL%`, `%REQ(X?Y):Z%`.
//!
//! A format is compiled once ([`Formatter::parse`], [`JsonFormatter::new`])
//! and then writes lines into a buffer of the caller, without allocating.
//! `command` is the grammar, `operator` and `names` say what there is, `value`
//! writes it, and `escape` keeps a client from forging a line. `substitution` is
//! the message that chooses between text and JSON.
//!
//! Compiled formats are shared by all workers; what is cached between lines
//! (dates) is kept per thread. This folder knows nothing of log files.

pub mod cel;
mod civil;
mod command;
mod date;
mod escape;
mod filter_state;
#[doc(hidden)]
pub mod fuzz;
pub mod grpc;
mod json;
mod log_type;
mod metadata;
mod names;
mod operator;
mod query;
mod substitution;
mod tls;
pub mod uuid;
mod value;
mod zone;

#[cfg(test)]
pub(crate) mod golden;
#[cfg(test)]
mod tests;

use crate::stream_info::StreamInfo;
use command::Token;
use operator::Operator;
use ringway_codecs::header::{HeaderMap, Lines};
use std::time::SystemTime;
use value::Written;

pub use command::FormatError;
pub use json::{JsonFormatter, JsonValue};
pub use log_type::AccessLogType;
pub use metadata::write_struct;
pub use substitution::Format;

/// A time as proto JSON of Envoy's events writes it: RFC 3339 in UTC with
/// milliseconds.
#[must_use]
pub fn timestamp(at: SystemTime) -> String {
    let mut time = prost_types::Timestamp::from(at);
    time.nanos -= time.nanos % 1_000_000;
    time.to_string()
}

/// What a line is written from.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Times, counts, addresses, flags.
    pub info: &'a StreamInfo,
    /// The request's headers as they are at the end; empty when the request's
    /// head was never understood.
    pub request: &'a HeaderMap,
    /// The response's headers, or an empty map.
    pub response: &'a HeaderMap,
    /// The response's trailers, or an empty map.
    pub trailers: &'a HeaderMap,
    /// Body of a local reply whose format is being written. Empty in access
    /// logs, as in Envoy.
    pub local_reply_body: &'a [u8],
    /// Why the line is written.
    pub kind: AccessLogType,
}

impl<'a> Context<'a> {
    /// What there is of a connection, on which no request is.
    #[must_use]
    pub fn of_connection(info: &'a StreamInfo) -> Self {
        static NONE: HeaderMap = HeaderMap::of(Lines::Request);
        Context {
            info,
            request: &NONE,
            response: &NONE,
            trailers: &NONE,
            local_reply_body: b"",
            kind: AccessLogType::NotSet,
        }
    }
}

/// A compiled text format.
#[derive(Debug)]
pub struct Formatter {
    segments: Box<[Segment]>,
    /// Values that are not set leave nothing instead of a dash.
    omit_empty_values: bool,
}

#[derive(Debug)]
enum Segment {
    Literal(Box<[u8]>),
    Operator(Operator),
}

fn tell_sent_bytes(segments: &[Segment]) -> bool {
    segments.iter().any(|segment| match segment {
        Segment::Literal(_) => false,
        Segment::Operator(operator) => operator.tells_sent_bytes(),
    })
}

impl Formatter {
    /// Compiles `format`. No line end is added.
    pub fn parse(format: &str) -> Result<Formatter, FormatError> {
        Ok(Formatter {
            segments: segments(format)?.into(),
            omit_empty_values: false,
        })
    }

    /// Writes nothing for values that are not set, instead of a dash.
    #[must_use]
    pub fn omit_empty_values(mut self, omit: bool) -> Formatter {
        self.omit_empty_values = omit;
        self
    }

    /// The format writes the same for every request.
    pub fn is_constant(&self) -> bool {
        !self
            .segments
            .iter()
            .any(|segment| matches!(segment, Segment::Operator(_)))
    }

    /// Whether it tells how much was sent to the client.
    #[must_use]
    pub fn tells_sent_bytes(&self) -> bool {
        tell_sent_bytes(&self.segments)
    }

    /// Appends the line for `cx`. No control byte of a peer is in it except
    /// the tab, so that a value never begins a new line.
    pub fn write(&self, cx: &Context<'_>, out: &mut Vec<u8>) {
        self.write_all(cx, self.omit_empty_values, out);
    }

    /// Appends the value of a header, in which a fact that is not known leaves
    /// nothing. As in a line, no line can end in it.
    pub fn write_value(&self, cx: &Context<'_>, out: &mut Vec<u8>) {
        self.write_all(cx, true, out);
    }

    fn write_all(&self, cx: &Context<'_>, omit_empty_values: bool, out: &mut Vec<u8>) {
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => out.extend_from_slice(text),
                Segment::Operator(operator) => {
                    let start = out.len();
                    match operator.write(cx, out) {
                        Written::Nothing if !omit_empty_values => out.push(b'-'),
                        Written::Nothing | Written::Safe => {}
                        Written::Untrusted => escape::text(out, start),
                    }
                }
            }
        }
    }
}

/// Compiles a format into segments in which literals are merged.
fn segments(format: &str) -> Result<Vec<Segment>, FormatError> {
    let mut segments = Vec::new();
    let mut literal = Vec::new();
    for token in command::tokens(format)? {
        match token {
            Token::Literal(text) => literal.extend_from_slice(text.as_bytes()),
            Token::Command(command) => {
                if !literal.is_empty() {
                    segments.push(Segment::Literal(std::mem::take(&mut literal).into()));
                }
                let operator = Operator::compile(&command).map_err(|reason| FormatError {
                    position: command.position,
                    reason,
                })?;
                segments.push(Segment::Operator(operator));
            }
        }
    }
    if !literal.is_empty() {
        segments.push(Segment::Literal(literal.into()));
    }
    Ok(segments)
}
