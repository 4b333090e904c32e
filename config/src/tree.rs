//! The tree that YAML and JSON are both read into. Every node knows its line.

use crate::diagnostics::Position;
use std::fmt;
use std::rc::Rc;

/// A node of the document.
#[derive(Debug)]
pub(crate) struct Node {
    pub value: Value,
    pub position: Position,
    /// This node and all below it, with shared parts counted each time.
    pub size: u64,
}

/// What a node holds. Nodes are shared where YAML aliases repeat them.
#[derive(Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    Sequence(Vec<Rc<Node>>),
    Mapping(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub key_position: Position,
    pub node: Rc<Node>,
}

/// A scalar, with the meaning that the syntax gave it.
#[derive(Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    /// The text is kept to show it: YAML has many spellings of a boolean.
    Bool(bool, String),
    /// A number of 32 bits or fewer from YAML, or any number from JSON.
    /// `text` is a decimal number.
    Number {
        text: String,
        written: String,
    },
    /// Text, quoted or not.
    Text(String),
}

/// Deepest nesting of a document. Envoy's own parser stops at 100 messages.
pub(crate) const DEPTH_MAX: usize = 100;

impl Node {
    /// The value of a key of a mapping; the last one, if it is repeated.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().rfind(|e| e.key == key),
            Value::Scalar(_) | Value::Sequence(_) => None,
        }
    }

    /// Whether this is a null, which in a configuration means "not set".
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar(Scalar::Null))
    }
}

/// Shows what was found, for messages of the form "expected X, got Y".
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Sequence(_) => f.write_str("a list"),
            Value::Mapping(_) => f.write_str("an object"),
            Value::Scalar(Scalar::Null) => f.write_str("null"),
            Value::Scalar(Scalar::Bool(_, written)) => write!(f, "the boolean {written}"),
            Value::Scalar(Scalar::Number { written, .. }) => write!(f, "the number {written}"),
            Value::Scalar(Scalar::Text(text)) => write!(f, "the string {}", quoted(text)),
        }
    }
}

/// Longest piece of the operator's text repeated in a message, in characters.
const SHOWN_MAX: usize = 120;

/// Text in quotes, escaped and cut so that it cannot flood or disguise a
/// message.
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{more}")
}
