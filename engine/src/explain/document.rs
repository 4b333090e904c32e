//! The configuration as it was written: what stands at a path, and in which
//! line.

use ringway_config::Marks;
use serde_json::Value;

use super::fact::{Fact, Place};

/// A loaded configuration, for looking paths up.
#[derive(Clone, Copy)]
pub struct Document<'a> {
    /// The bootstrap as proto JSON with the field names of the proto files.
    pub bootstrap: &'a Value,
    /// Where each path was written.
    pub marks: &'a Marks,
}

impl<'a> Document<'a> {
    /// What was written at `path`, such as `static_resources.listeners[0].name`.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&'a Value> {
        let mut here = self.bootstrap;
        for step in Steps(path) {
            here = match step {
                Step::Field(name) => here.get(name)?,
                Step::Element(index) => here.get(index)?,
            };
        }
        Some(here)
    }

    /// Where `path` was written; the default when it was not.
    #[must_use]
    pub fn place(&self, path: &str) -> Place {
        let Some(position) = self.marks.exact(path) else {
            return Place::Default;
        };
        Place::Written(match self.marks.file(path) {
            Some(file) => format!("{file}:{position}"),
            None => position.to_string(),
        })
    }

    /// A message that was written at `path`, as it was written: `None` when it
    /// was not.
    #[must_use]
    pub fn written(&self, name: &str, path: &str) -> Option<Fact> {
        let value = self.at(path)?;
        Some(Fact::new(name).value(value.clone()).place(self.place(path)))
    }
}

enum Step<'p> {
    Field(&'p str),
    Element(usize),
}

/// The segments of a path: names between dots, numbers and quoted keys in
/// brackets.
struct Steps<'p>(&'p str);

impl<'p> Iterator for Steps<'p> {
    type Item = Step<'p>;

    fn next(&mut self) -> Option<Step<'p>> {
        let rest = self.0.strip_prefix('.').unwrap_or(self.0);
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (key, after) = quoted.split_once("\"]")?;
            self.0 = after;
            return Some(Step::Field(key));
        }
        if let Some(number) = rest.strip_prefix('[') {
            let (index, after) = number.split_once(']')?;
            self.0 = after;
            return Some(Step::Element(index.parse().ok()?));
        }
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        self.0 = after;
        Some(Step::Field(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::Position;
    use serde_json::json;

    #[test]
    fn paths_lead_to_what_was_written() {
        let bootstrap = json!({ "a": [{ "b": { "x.y": 1 } }, 2], "c": 3 });
        let mut marks = Marks::new("f.yaml".into());
        marks.set("a[0].b", Position { line: 3, column: 7 });
        let document = Document {
            bootstrap: &bootstrap,
            marks: &marks,
        };
        for (path, expected) in [
            ("a[1]", Some(json!(2))),
            ("a[0].b", Some(json!({ "x.y": 1 }))),
            ("a[0].b[\"x.y\"]", Some(json!(1))),
            ("c", Some(json!(3))),
            ("a[2]", None),
            ("d", None),
        ] {
            assert_eq!(document.at(path).cloned(), expected, "{path}");
        }
        assert_eq!(
            document.place("a[0].b"),
            Place::Written("f.yaml:3:7".into())
        );
        assert_eq!(document.place("a[0].b.c"), Place::Default);
    }
}
