//! The documentation page of the support table.

use super::{ALL, Entry, Mark, Table, table};
use std::fmt::Write;

/// Markdown for `docs/support.md`, made from the table of this build.
pub fn support_page() -> String {
    render(table())
}

const INTRODUCTION: &str = "\
# What is supported

Ringway reads Envoy's v3 configuration. Every field of Envoy's API is known,
its values are checked by Envoy's own rules, and then one of three things
happens to a field that is set:

- **yes**: it does what it does in Envoy; where values are listed, with those
  only.
- **in part**: it works as far as the note says; the rest is refused at start.
- **no effect**: it is accepted with a warning at start, for the reason given.
- A field or extension that is not on this page is refused at start with
  \"not supported yet\" and its place in the file.

This page is generated from `config/src/support/*.txt`, the table that the
loader itself uses.
";

fn render(table: &Table) -> String {
    let mut page = String::from(INTRODUCTION);
    let mut section = None;
    for entry in &table.messages {
        if section != Some(&entry.section) {
            let _ = write!(page, "\n## {}\n", title(&entry.section));
            section = Some(&entry.section);
        }
        message(&mut page, entry);
    }
    page
}

fn message(page: &mut String, entry: &Entry) {
    let _ = write!(page, "\n### `{}`\n\n", entry.name);
    if entry.fields.is_empty() {
        page.push_str("Supported; it has no fields that matter.\n");
        return;
    }
    page.push_str("| field | supported | |\n|---|---|---|\n");
    for (field, mark) in &entry.fields {
        let field = match field.as_str() {
            ALL => "all fields".to_owned(),
            name => format!("`{name}`"),
        };
        let (state, note) = match mark {
            Mark::Ok(values) if values.is_empty() => ("yes", String::new()),
            Mark::Ok(values) => ("yes", format!("only `{}`", values.join("`, `"))),
            Mark::Part(note) => ("in part", note.replace('|', "\\|")),
            Mark::Warn(reason) => ("no effect", reason.replace('|', "\\|")),
        };
        let _ = writeln!(page, "| {field} | {state} | {note} |");
    }
}

/// `http_connection_manager` to `Http connection manager`.
fn title(section: &str) -> String {
    let words = section.replace('_', " ");
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => words,
    }
}
