//! What is wrong with a configuration, said so that a person can mend it.
//!
//! Every phase (YAML, reflection, validation rules, support table, lowering)
//! pushes into one [`Diagnostics`] and goes on, so that one run shows all
//! mistakes of a file. [`Marks`] remembers where in the text each path was
//! written, so that phases which no longer see the text can still name a line.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// A place in a text, both parts counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from one.
    pub line: u32,
    /// The column in characters, from one.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Whether a finding stops the configuration from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is used; the operator should know.
    Warning,
}

/// One finding.
///
/// Displays as `FILE:LINE:COLUMN: PATH: REASON`; parts that are not known are
/// left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The file's name as the operator gave it.
    pub file: Option<Arc<str>>,
    /// Where in the file.
    pub position: Option<Position>,
    /// The field path with Envoy's proto names, such as
    /// `static_resources.listeners[0].address`. Empty for the whole document.
    pub path: String,
    /// What is wrong, perhaps with a suggestion.
    pub reason: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        if let Some(position) = self.position {
            write!(f, "{position}:")?;
        }
        if self.file.is_some() || self.position.is_some() {
            f.write_str(" ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", OneLine(&self.path))?;
        }
        OneLine(&self.reason).fmt(f)
    }
}

/// A text in which a file may be quoted, without the line ends and other control
/// characters that there may be in it.
struct OneLine<'t>(&'t str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(char::is_control) {
            match part.char_indices().next_back() {
                Some((at, last)) if last.is_control() => {
                    write!(f, "{}{}", &part[..at], last.escape_default())?;
                }
                _ => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

impl Diagnostic {
    /// Whether this is the warning that something is deprecated, which
    /// `--skip-deprecated-logs` silences.
    pub fn is_deprecation(&self) -> bool {
        self.severity == Severity::Warning && self.reason.ends_with(DEPRECATED)
    }
}

/// How the reason of every deprecation warning ends.
pub(crate) const DEPRECATED: &str = "is deprecated and will be removed from the API";

/// Everything found so far.
///
/// Displays one finding a line, in the order of the text.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
    errors: usize,
    left_out: usize,
}

/// Findings kept. Nobody reads more, and a hostile file must not be able to
/// turn every byte of itself into a message.
const DIAGNOSTICS_MAX: usize = 1_000;

impl Diagnostics {
    /// Nothing found yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a finding. Those beyond a limit are only counted; whether one of
    /// them was an error is never forgotten.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        if self.found.len() < DIAGNOSTICS_MAX {
            self.found.push(diagnostic);
        } else {
            self.left_out += 1;
        }
    }

    /// Adds all findings of another collection.
    pub fn extend(&mut self, other: &Diagnostics) {
        let kept_errors = other.errors().count();
        self.errors += other.errors - kept_errors;
        self.left_out += other.left_out;
        for diagnostic in other.iter() {
            self.push(diagnostic.clone());
        }
    }

    /// Whether the configuration must be refused.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// How many errors there are, also those beyond the limit.
    pub fn error_count(&self) -> usize {
        self.errors
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.left_out == 0
    }

    /// The number of findings kept.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// All findings, in the order in which they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.found.iter()
    }

    /// The findings that refuse the configuration.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.iter().filter(|d| d.severity == Severity::Error)
    }

    /// The findings that do not.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.iter().filter(|d| d.severity == Severity::Warning)
    }

    /// Puts the findings in the order of the text: by file, then by position;
    /// those without a position come first.
    pub fn sort(&mut self) {
        self.found
            .sort_by(|a, b| (&a.file, a.position).cmp(&(&b.file, b.position)));
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.clone();
        sorted.sort();
        for (i, diagnostic) in sorted.found.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        if self.left_out > 0 {
            write!(f, "\n({} more are not shown)", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Where each path of a loaded message was written.
///
/// Paths name fields as Envoy's protos do, whichever spelling the file used:
/// `static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config`.
/// The content of an `Any` continues the path of the `Any` itself; entries of
/// maps are written `metadata["key"]`.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    files: Vec<Arc<str>>,
    places: HashMap<String, (usize, Position)>,
}

impl Marks {
    /// Marks of a document called `file`.
    pub fn new(file: Arc<str>) -> Self {
        Marks {
            files: vec![file],
            places: HashMap::new(),
        }
    }

    /// Remembers where `path` was written.
    pub fn set(&mut self, path: &str, position: Position) {
        self.places.insert(path.to_owned(), (0, position));
    }

    /// Where `path`, or else its nearest known parent, was written.
    pub fn position(&self, path: &str) -> Option<Position> {
        self.place(path).map(|(_, position)| position)
    }

    /// Where `path` itself was written, if it was.
    pub fn exact(&self, path: &str) -> Option<Position> {
        self.places.get(path).map(|(_, position)| *position)
    }

    /// The file in which `path`, or else its nearest known parent, was
    /// written; when nothing is known, the first file.
    pub fn file(&self, path: &str) -> Option<&Arc<str>> {
        let file = self.place(path).map_or(0, |(file, _)| file);
        self.files.get(file)
    }

    /// Adds the marks of a document that was merged over this one. `moved`
    /// says what a path of that document is called in the merged message.
    /// The later document's places win.
    pub fn merge(&mut self, over: Marks, moved: impl Fn(&str) -> String) {
        let first = self.files.len();
        self.files.extend(over.files);
        for (path, (file, position)) in over.places {
            self.places.insert(moved(&path), (first + file, position));
        }
    }

    fn place(&self, path: &str) -> Option<(usize, Position)> {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return Some(*place);
            }
            if path.is_empty() {
                return None;
            }
            path = parent(path);
        }
    }
}

/// The path without its last segment. A dot inside the quotes of a map key
/// ends a segment too, which gives a name that nothing has and so only costs
/// another step.
fn parent(path: &str) -> &str {
    path.rfind(['.', '[']).map_or("", |end| &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, column: u32) -> Position {
        Position { line, column }
    }

    fn error(position: Option<Position>, path: &str, reason: &str) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: Some("e.yaml".into()),
            position,
            path: path.into(),
            reason: reason.into(),
        }
    }

    #[test]
    fn shown_in_the_order_of_the_text() {
        let mut all = Diagnostics::new();
        all.push(error(Some(at(10, 2)), "a.b", "late"));
        all.push(error(Some(at(9, 80)), "", "early"));
        all.push(error(None, "c", "nowhere"));
        assert_eq!(
            all.to_string(),
            "e.yaml: c: nowhere\ne.yaml:9:80: early\ne.yaml:10:2: a.b: late"
        );
    }

    #[test]
    fn a_finding_is_one_line_whatever_is_quoted() {
        for (path, reason, shown) in [
            (
                "a",
                "the name \"b\nc\" is",
                "e.yaml: a: the name \"b\\nc\" is",
            ),
            (
                "m[\"\r\"]",
                "\t\u{1b}[1m\n\n",
                "e.yaml: m[\"\\r\"]: \\t\\u{1b}[1m\\n\\n",
            ),
            ("", "ä\u{85}ö", "e.yaml: ä\\u{85}ö"),
            ("", "", "e.yaml: "),
        ] {
            assert_eq!(error(None, path, reason).to_string(), shown);
        }
    }

    #[test]
    fn too_many_are_counted_and_errors_are_not_forgotten() {
        let mut all = Diagnostics::new();
        for _ in 0..DIAGNOSTICS_MAX {
            let mut warning = error(None, "w", "warned");
            warning.severity = Severity::Warning;
            all.push(warning);
        }
        assert!(!all.has_errors());
        all.push(error(None, "e", "wrong"));
        assert!(all.has_errors());
        assert_eq!(all.len(), DIAGNOSTICS_MAX);
        assert!(all.to_string().ends_with("\n(1 more are not shown)"));

        let mut sum = Diagnostics::new();
        sum.extend(&all);
        assert!(sum.has_errors());
    }

    #[test]
    fn a_path_without_a_mark_has_its_parents_place() {
        let mut marks = Marks::new("e.yaml".into());
        marks.set("", at(1, 1));
        marks.set("a", at(2, 1));
        marks.set("a.list[1]", at(4, 5));
        marks.set("m[\"x.y\"]", at(7, 1));
        for (path, place) in [
            ("a.list[1]", at(4, 5)),
            ("a.list[1].deep[3].er", at(4, 5)),
            ("a.list[0]", at(2, 1)),
            ("a.list[10]", at(2, 1)),
            ("m[\"x.y\"].z", at(7, 1)),
            ("m[\"x.z\"].z", at(1, 1)),
            ("b", at(1, 1)),
        ] {
            assert_eq!(marks.position(path), Some(place), "{path}");
        }
        assert_eq!(Marks::default().position("a"), None);
    }

    #[test]
    fn merged_marks_keep_their_file() {
        let mut marks = Marks::new("base".into());
        marks.set("l[0]", at(1, 1));
        let mut over = Marks::new("over".into());
        over.set("l[0]", at(5, 5));
        marks.merge(over, |path| path.replace("[0]", "[1]"));
        assert_eq!(marks.file("l[0].x").map(|f| &**f), Some("base"));
        assert_eq!(marks.file("l[1].x").map(|f| &**f), Some("over"));
        assert_eq!(marks.position("l[1]"), Some(at(5, 5)));
    }
}
