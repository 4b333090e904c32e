//! JSON formats: a structure whose texts are format strings.
//!
//! Keys are written in the order of their bytes, as Envoy does. A text that
//! is one operator becomes a number when the operator is numeric, and null
//! when its value is not set; any other text becomes a string.

use super::operator::Operator;
use super::value::Written;
use super::{Context, FormatError, Segment, escape, segments, tell_sent_bytes};

/// The structure of a JSON format, as `google.protobuf.Struct` gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonValue {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number; not finite ones become null.
    Number(f64),
    /// A format string.
    Format(String),
    /// An array.
    List(Vec<JsonValue>),
    /// An object; the order of the members does not matter.
    Object(Vec<(String, JsonValue)>),
}

/// A compiled JSON format. Each line is one object and ends with a line feed.
#[derive(Debug)]
pub struct JsonFormatter {
    root: Node,
    omit_empty_values: bool,
}

#[derive(Debug)]
enum Node {
    Null,
    /// JSON as it is written.
    Literal(Box<[u8]>),
    /// One operator: a number, a string or null.
    Value(super::Operator),
    /// The inside of a string; the literals are escaped already.
    Template(Box<[Segment]>),
    List(Box<[Node]>),
    /// Keys with quotes and colon.
    Object(Box<[(Box<[u8]>, Node)]>),
}

impl JsonFormatter {
    /// Compiles the members of the top-level object. An error comes with the
    /// path of the text that is wrong, `a.b[0]`.
    pub fn new(
        members: Vec<(String, JsonValue)>,
        omit_empty_values: bool,
    ) -> Result<JsonFormatter, (String, FormatError)> {
        let mut path = String::new();
        Ok(JsonFormatter {
            root: object(members, &mut path).map_err(|error| (path, error))?,
            omit_empty_values,
        })
    }

    /// Whether it tells how much was sent to the client.
    pub fn tells_sent_bytes(&self) -> bool {
        self.root.tells_sent_bytes()
    }

    /// Appends the line for `cx`, its line end included. It is valid JSON
    /// whatever bytes the peers sent.
    pub fn write(&self, cx: &Context<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        if !self.root.write(cx, self.omit_empty_values, out) {
            out.truncate(start);
            out.extend_from_slice(b"{}");
        }
        out.push(b'\n');
    }
}

/// Compiles a value. On an error `path` is left at the text that is wrong.
fn node(value: JsonValue, path: &mut String) -> Result<Node, FormatError> {
    Ok(match value {
        JsonValue::Null => Node::Null,
        JsonValue::Bool(true) => Node::Literal((*b"true").into()),
        JsonValue::Bool(false) => Node::Literal((*b"false").into()),
        JsonValue::Number(value) => number(value),
        JsonValue::Format(format) => template(&format)?,
        JsonValue::List(values) => {
            let mut list = Vec::with_capacity(values.len());
            for (position, value) in values.into_iter().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{position}]"));
                list.push(node(value, path)?);
                path.truncate(length);
            }
            Node::List(list.into())
        }
        JsonValue::Object(members) => object(members, path)?,
    })
}

fn object(mut members: Vec<(String, JsonValue)>, path: &mut String) -> Result<Node, FormatError> {
    members.sort_by(|a, b| a.0.cmp(&b.0));
    let mut object = Vec::with_capacity(members.len());
    for (name, value) in members {
        let length = path.len();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&name);
        let node = node(value, path)?;
        path.truncate(length);
        let mut key = vec![b'"'];
        key.extend_from_slice(name.as_bytes());
        escape::json(&mut key, 1);
        key.extend_from_slice(b"\":");
        object.push((key.into(), node));
    }
    Ok(Node::Object(object.into()))
}

/// Whole numbers are written without a fraction up to where a double stops
/// being exact, 2^53.
fn number(value: f64) -> Node {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let text = if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
        format!("{}", value as i64)
    } else {
        match serde_json::Number::from_f64(value) {
            Some(number) => number.to_string(),
            None => return Node::Null,
        }
    };
    Node::Literal(text.into_bytes().into())
}

fn template(format: &str) -> Result<Node, FormatError> {
    let mut segments = segments(format)?;
    if let [Segment::Operator(_)] = segments[..]
        && let Some(Segment::Operator(operator)) = segments.pop()
    {
        return Ok(Node::Value(operator));
    }
    for segment in &mut segments {
        if let Segment::Literal(text) = segment {
            let mut escaped = std::mem::take(text).into_vec();
            escape::json(&mut escaped, 0);
            *text = escaped.into();
        }
    }
    Ok(Node::Template(segments.into()))
}

impl Node {
    fn tells_sent_bytes(&self) -> bool {
        match self {
            Node::Null | Node::Literal(_) => false,
            Node::Value(operator) => operator.tells_sent_bytes(),
            Node::Template(segments) => tell_sent_bytes(segments),
            Node::List(nodes) => nodes.iter().any(Node::tells_sent_bytes),
            Node::Object(members) => members.iter().any(|(_, node)| node.tells_sent_bytes()),
        }
    }

    /// Appends the value. With `omit`, false means that it is empty and that
    /// what was appended is to be taken back.
    fn write(&self, cx: &Context<'_>, omit: bool, out: &mut Vec<u8>) -> bool {
        match self {
            Node::Null => {
                out.extend_from_slice(b"null");
                false
            }
            Node::Literal(json) => {
                out.extend_from_slice(json);
                true
            }
            Node::Value(operator) => {
                let written = write_value(operator, cx, out);
                if !written {
                    out.extend_from_slice(b"null");
                }
                written
            }
            Node::Template(segments) => {
                out.push(b'"');
                for segment in segments {
                    match segment {
                        Segment::Literal(text) => out.extend_from_slice(text),
                        Segment::Operator(operator) => {
                            let start = out.len();
                            match operator.write(cx, out) {
                                Written::Nothing if !omit => out.push(b'-'),
                                Written::Nothing => {}
                                Written::Safe | Written::Untrusted => escape::json(out, start),
                            }
                        }
                    }
                }
                out.push(b'"');
                true
            }
            Node::List(values) => {
                out.push(b'[');
                write_members(out, values, omit, |value, out| value.write(cx, omit, out));
                out.push(b']');
                // Envoy keeps lists from which everything was omitted.
                true
            }
            Node::Object(members) => {
                out.push(b'{');
                let any = write_members(out, members, omit, |(key, value), out| {
                    out.extend_from_slice(key);
                    value.write(cx, omit, out)
                });
                out.push(b'}');
                any
            }
        }
    }
}

/// Appends the value of an operator with its type; false when there is none.
fn write_value(operator: &Operator, cx: &Context<'_>, out: &mut Vec<u8>) -> bool {
    match operator {
        Operator::Metadata(value) => value.write_json(cx.info, out),
        Operator::FilterState(value) => value.write_json(cx.info, out),
        Operator::Cel {
            expression,
            typed: true,
            length_max,
        } => expression
            .evaluate(cx)
            .is_some_and(|value| value.write_json(*length_max, out)),
        Operator::Coalesce(coalesce) if coalesce.is_unlimited() => coalesce
            .chosen(cx, out)
            .is_some_and(|operator| write_value(operator, cx, out)),
        operator if operator.is_number() => operator.write(cx, out) != Written::Nothing,
        operator => {
            out.push(b'"');
            let start = out.len();
            if operator.write(cx, out) == Written::Nothing {
                out.truncate(start - 1);
                return false;
            }
            escape::json(out, start);
            out.push(b'"');
            true
        }
    }
}

/// Appends members with commas between them, without the empty ones if `omit`
/// says so. Returns whether anything is left.
fn write_members<T>(
    out: &mut Vec<u8>,
    members: &[T],
    omit: bool,
    mut write: impl FnMut(&T, &mut Vec<u8>) -> bool,
) -> bool {
    let mut any = false;
    for member in members {
        let before = out.len();
        if any {
            out.push(b',');
        }
        if write(member, out) || !omit {
            any = true;
        } else {
            out.truncate(before);
        }
    }
    any
}
