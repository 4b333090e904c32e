//! What an explanation says: facts, each with the place in the configuration
//! that it comes from, and the two forms in which they are shown.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// One thing that is so, and why.
#[derive(Debug, Clone)]
pub struct Fact {
    name: String,
    value: Option<Value>,
    place: Option<Place>,
    note: Option<String>,
    body: Body,
}

/// Where a fact was configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `FILE:LINE:COLUMN`, or as much of it as is known.
    Written(String),
    /// In this header of the request, in lower case.
    Header(&'static str),
    /// By `/runtime_modify`.
    Modified,
    /// Nowhere: it is what holds when nothing is said.
    Default,
}

#[derive(Debug, Clone)]
enum Body {
    Nothing,
    /// Facts about this one.
    Parts(Vec<Fact>),
    /// A list of facts of one kind, in order.
    Items(Vec<Fact>),
}

impl Fact {
    /// A fact without a value yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: None,
            place: None,
            note: None,
            body: Body::Nothing,
        }
    }

    /// The same fact with a value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Value>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// The same fact with its place.
    #[must_use]
    pub fn place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The same fact with a reason or a remark.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// The same fact with facts about it.
    #[must_use]
    pub fn parts(mut self, parts: Vec<Fact>) -> Self {
        self.body = Body::Parts(parts);
        self
    }

    /// The same fact as a list.
    #[must_use]
    pub fn items(mut self, items: Vec<Fact>) -> Self {
        self.body = Body::Items(items);
        self
    }

    /// As JSON: an object with `value`, `set_at`, `note`, and the parts by
    /// their names with underscores; a list is `items`. A fact that is nothing
    /// but a value is that value.
    #[must_use]
    pub fn to_json(&self) -> Value {
        if let (Some(value), None, None, Body::Nothing) =
            (&self.value, &self.place, &self.note, &self.body)
        {
            return value.clone();
        }
        let mut object = Map::new();
        if let Some(value) = &self.value {
            object.insert("value".into(), value.clone());
        }
        if let Some(place) = &self.place {
            object.insert("set_at".into(), place.as_text().into());
        }
        if let Some(note) = &self.note {
            object.insert("note".into(), note.as_str().into());
        }
        match &self.body {
            Body::Nothing => {}
            Body::Parts(parts) => {
                for part in parts {
                    object.insert(part.key(), part.to_json());
                }
            }
            Body::Items(items) => {
                let items: Vec<Value> = items.iter().map(Fact::item_json).collect();
                object.insert("items".into(), items.into());
            }
        }
        Value::Object(object)
    }

    /// An element of a list keeps its name.
    fn item_json(&self) -> Value {
        match self.to_json() {
            Value::Object(mut object) => {
                object.insert("name".into(), self.name.as_str().into());
                Value::Object(object)
            }
            value => json!({ "name": self.name, "value": value }),
        }
    }

    fn key(&self) -> String {
        self.name.replace(' ', "_")
    }

    /// Appends the fact and what belongs to it as indented lines.
    pub fn write_text(&self, depth: usize, out: &mut String) {
        self.write_line(depth, "", out);
        match &self.body {
            Body::Nothing => {}
            Body::Parts(parts) => {
                for part in parts {
                    part.write_text(depth + 1, out);
                }
            }
            Body::Items(items) if items.is_empty() => {
                let _ = writeln!(out, "{:1$}(none)", "", 2 * (depth + 1));
            }
            Body::Items(items) => {
                for item in items {
                    item.write_item(depth + 1, out);
                }
            }
        }
    }

    fn write_item(&self, depth: usize, out: &mut String) {
        self.write_line(depth, "- ", out);
        if let Body::Parts(parts) | Body::Items(parts) = &self.body {
            for part in parts {
                part.write_text(depth + 2, out);
            }
        }
    }

    fn write_line(&self, depth: usize, mark: &str, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = write!(out, "{:1$}{mark}{2}", "", 2 * depth, self.name);
        match &self.value {
            Some(Value::String(text)) => {
                let _ = write!(out, ": {text}");
            }
            Some(Value::Null) => out.push_str(": none"),
            Some(value) => {
                let _ = write!(out, ": {value}");
            }
            None => {}
        }
        if let Some(note) = &self.note {
            let _ = write!(out, " - {note}");
        }
        if let Some(place) = &self.place {
            let _ = write!(out, "  ({})", place.as_text());
        }
        out.push('\n');
    }
}

impl Place {
    fn as_text(&self) -> Cow<'_, str> {
        match self {
            Place::Written(text) => text.into(),
            Place::Header(name) => format!("the request's header {name}").into(),
            Place::Modified => "/runtime_modify".into(),
            Place::Default => "default".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Fact {
        Fact::new("route")
            .value("exact")
            .place(Place::Written("f.yaml:3:7".into()))
            .parts(vec![
                Fact::new("idle timeout")
                    .value("300s")
                    .place(Place::Default),
                Fact::new("per try")
                    .value("2s")
                    .place(Place::Header("x-limit")),
                Fact::new("cluster").value("web"),
                Fact::new("hash key").value(Value::Null),
                Fact::new("routes before it").items(vec![
                    Fact::new("1")
                        .note("the path is not \"/x\"")
                        .place(Place::Written("f.yaml:2:7".into())),
                    Fact::new("2").value(true),
                ]),
                Fact::new("filters").items(Vec::new()),
            ])
    }

    #[test]
    fn as_text() {
        let mut text = String::new();
        tree().write_text(0, &mut text);
        let expected = "\
route: exact  (f.yaml:3:7)
  idle timeout: 300s  (default)
  per try: 2s  (the request's header x-limit)
  cluster: web
  hash key: none
  routes before it
    - 1 - the path is not \"/x\"  (f.yaml:2:7)
    - 2: true
  filters
    (none)
";
        assert_eq!(text, expected);
    }

    #[test]
    fn as_json() {
        let expected = json!({
            "value": "exact",
            "set_at": "f.yaml:3:7",
            "idle_timeout": { "value": "300s", "set_at": "default" },
            "per_try": { "value": "2s", "set_at": "the request's header x-limit" },
            "cluster": "web",
            "hash_key": null,
            "routes_before_it": { "items": [
                { "name": "1", "note": "the path is not \"/x\"", "set_at": "f.yaml:2:7" },
                { "name": "2", "value": true },
            ] },
            "filters": { "items": [] },
        });
        assert_eq!(tree().to_json(), expected);
    }
}
