//! YAML text to the document tree.
//!
//! Supported beyond plain YAML: Envoy's `!ignore` tag on a key, which drops the
//! entry (its anchors stay usable). Merge keys (`<<`) are keys like any other, as
//! for Envoy. Stricter than Envoy: a repeated key is an error, and so is a second
//! document.
//!
//! Hostile input is bounded by the nesting depth and by the number of nodes
//! that aliases may add; everything else is linear in the text.

mod scalar;

use crate::diagnostics::{Diagnostic, Diagnostics, Position, Severity};
use crate::tree::{DEPTH_MAX, Entry, Node, Scalar, Value};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput, Tag};
use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Nodes that the aliases of a document may add to it. A thousand clusters
/// made from one anchor need some tens of thousands.
const ALIAS_NODES_MAX: u64 = 500_000;

/// Reads one document. Repeated keys are reported and reading goes on; what
/// breaks the syntax is reported and ends it with `None`.
pub(crate) fn parse(text: &str, file: &Arc<str>, found: &mut Diagnostics) -> Option<Rc<Node>> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        alias_nodes: 0,
        text,
        open: Vec::new(),
        file,
        found,
    };
    match reader.document() {
        Ok(root) => Some(root),
        Err(Broken(position, reason)) => {
            reader.report(position, reason);
            None
        }
    }
}

/// Why reading cannot go on, and where.
struct Broken(Position, String);

type Read<T> = Result<T, Broken>;

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Rc<Node>>,
    alias_nodes: u64,
    text: &'a str,
    /// Where the collections begin that are not complete.
    open: Vec<Position>,
    file: &'a Arc<str>,
    found: &'a mut Diagnostics,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Read<Rc<Node>> {
        let mut root = None;
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(Broken(
                        at,
                        "only one YAML document is allowed in a file".into(),
                    ));
                }
                Event::DocumentStart(_) => {
                    let (event, at) = self.next()?;
                    root = Some(self.node(event, at, 0)?);
                }
                Event::StreamEnd => {
                    return root.ok_or_else(|| Broken(at, "the document is empty".into()));
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, event: Event<'a>, position: Position, depth: usize) -> Read<Rc<Node>> {
        if depth > DEPTH_MAX {
            return Err(Broken(position, too_deep()));
        }
        let (value, size, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, position),
            Event::Scalar(text, style, anchor, tag) => {
                let value =
                    Value::Scalar(if style == ScalarStyle::Plain && !is_text(tag.as_ref()) {
                        scalar::resolve(&text)
                    } else {
                        Scalar::Text(text.into_owned())
                    });
                (value, 1, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                self.open.push(position);
                let (value, size) = self.sequence(depth)?;
                self.open.pop();
                (value, size, anchor)
            }
            Event::MappingStart(anchor, _) => {
                self.open.push(position);
                let (value, size) = self.mapping(depth)?;
                self.open.pop();
                (value, size, anchor)
            }
            other => return Err(Broken(position, format!("unexpected {other:?}"))),
        };
        let node = Rc::new(Node {
            value,
            position,
            size,
        });
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, position: Position) -> Read<Rc<Node>> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            let reason = "the alias stands inside its own anchor".into();
            return Err(Broken(position, reason));
        };
        self.alias_nodes = self.alias_nodes.saturating_add(node.size);
        if self.alias_nodes > ALIAS_NODES_MAX {
            let reason = format!("aliases expand to more than {ALIAS_NODES_MAX} nodes");
            return Err(Broken(position, reason));
        }
        Ok(node)
    }

    fn sequence(&mut self, depth: usize) -> Read<(Value, u64)> {
        let mut items = Vec::new();
        let mut size: u64 = 1;
        loop {
            let (event, at) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok((Value::Sequence(items), size));
            }
            let node = self.node(event, at, depth + 1)?;
            size = size.saturating_add(node.size);
            items.push(node);
        }
    }

    fn mapping(&mut self, depth: usize) -> Read<(Value, u64)> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut places: HashMap<String, (Position, usize)> = HashMap::new();
        let mut size: u64 = 1;
        loop {
            let (event, key_position) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = self.key(event, key_position)?;
            let (event, at) = self.next()?;
            let node = self.node(event, at, depth + 1)?;
            size = size.saturating_add(node.size);
            let Key::Name(key) = key else {
                continue;
            };
            let entry = Entry {
                key: key.clone(),
                key_position,
                node,
            };
            if let Some((first, place)) = places.get(&key) {
                let reason = format!("the key {key:?} is already given at {first}");
                entries[*place] = entry;
                self.report(key_position, reason);
            } else {
                places.insert(key, (key_position, entries.len()));
                entries.push(entry);
            }
        }
        Ok((Value::Mapping(entries), size))
    }

    fn key(&mut self, event: Event<'a>, position: Position) -> Read<Key> {
        match event {
            Event::Scalar(text, _, anchor, tag) => {
                let key = match tag {
                    Some(tag) if is_ignore(&tag) => Key::Ignored,
                    _ => Key::Name(text.clone().into_owned()),
                };
                if anchor != 0 {
                    let node = Node {
                        value: Value::Scalar(Scalar::Text(text.into_owned())),
                        position,
                        size: 1,
                    };
                    self.anchors.insert(anchor, Rc::new(node));
                }
                Ok(key)
            }
            Event::Alias(anchor) => match &self.alias(anchor, position)?.value {
                Value::Scalar(Scalar::Text(text)) => Ok(Key::Name(text.clone())),
                _ => Err(Broken(position, "a key must be a string".into())),
            },
            _ => Err(Broken(position, "a key must be a string".into())),
        }
    }

    fn next(&mut self) -> Read<(Event<'a>, Position)> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, position(&span.start))),
            Some(Err(error)) => {
                // The scanner runs ahead and has a limit of its own.
                let reason = match error.info() {
                    "recursion limit exceeded" => too_deep(),
                    other => match self.open_bracket() {
                        Some((bracket, at)) => {
                            format!("{other}; the {bracket:?} at {at} is still open")
                        }
                        None => other.to_owned(),
                    },
                };
                let at = position(error.marker());
                let at = match error.info().ends_with("found a tab") {
                    true => self.tab_behind(at).unwrap_or(at),
                    false => at,
                };
                Err(Broken(at, reason))
            }
            None => Ok((Event::StreamEnd, Position { line: 1, column: 1 })),
        }
    }

    /// The tab that indents a line behind a scalar, which begins at `from`: where the
    /// scanner complains of it.
    fn tab_behind(&self, from: Position) -> Option<Position> {
        let lines = self.text.lines().skip(from.line as usize);
        let tab = |text: &str| {
            let mut characters = text.chars().enumerate();
            let first = characters.find(|(_, character)| *character != ' ');
            first.filter(|(_, character)| *character == '\t')
        };
        let mut found = (from.line + 1..).zip(lines);
        let (line, place) = found.find_map(|(line, text)| Some((line, tab(text)?.0)))?;
        let column = u32::try_from(place).ok()?.saturating_add(1);
        Some(Position { line, column })
    }

    /// The innermost bracket that is open, and where it is.
    fn open_bracket(&self) -> Option<(char, Position)> {
        let bracket = |at: &Position| {
            let line = self.text.lines().nth(at.line as usize - 1)?;
            let first = line.chars().nth(at.column as usize - 1)?;
            matches!(first, '[' | '{').then_some((first, *at))
        };
        self.open.iter().rev().find_map(bracket)
    }

    fn report(&mut self, position: Position, reason: String) {
        self.found.push(Diagnostic {
            severity: Severity::Error,
            file: Some(self.file.clone()),
            position: Some(position),
            path: String::new(),
            reason,
        });
    }
}

fn too_deep() -> String {
    format!("nested more than {DEPTH_MAX} levels deep")
}

enum Key {
    Name(String),
    /// Tagged `!ignore`: the entry does not exist.
    Ignored,
}

fn is_ignore(tag: &Tag) -> bool {
    tag.handle == "!" && tag.suffix == "ignore"
}

/// Whether a tag says that a plain scalar is text: `!` or `!!str`.
fn is_text(tag: Option<&Cow<'_, Tag>>) -> bool {
    tag.is_some_and(|tag| {
        tag.is_yaml_core_schema() && tag.suffix == "str"
            || tag.handle.is_empty() && tag.suffix == "!"
            || tag.handle == "!" && tag.suffix.is_empty()
    })
}

fn position(marker: &Marker) -> Position {
    let part = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position {
        line: part(marker.line()),
        column: part(marker.col()).saturating_add(1),
    }
}

#[cfg(test)]
mod tests;
