//! What Ringway does with each field of Envoy's API today.
//!
//! The table is text, in the `*.txt` files beside this one: the full name of a
//! message, then one indented line for each field that may be set.
//!
//! ```text
//! envoy.config.cluster.v3.Cluster
//!   name ok
//!   lb_policy ok ROUND_ROBIN RANDOM
//!   common_lb_config part only what is on this page
//!   metadata warn nothing reads it yet
//! envoy.type.v3.Percent
//!   * ok
//! ```
//!
//! `ok` means that the field does what it does in Envoy, here for the listed
//! values only if any are listed: `ok false` is a field that may be written but
//! not turned on. `part` means that it works as far as the note says; whoever
//! lowers it refuses the rest. `warn` means that it is accepted without effect,
//! for the reason given. `*` stands for all fields. A field that is
//! set and not in the table is refused, and so is the content of an `Any`
//! whose type is not in the table; nothing is ever ignored in silence.
//! Messages of `google.protobuf` need no entry.
//!
//! The same table gives the documentation page, see [`support_page`].

mod page;
mod walk;

pub use page::support_page;
pub(crate) use walk::check;

use std::collections::HashMap;
use std::sync::LazyLock;

/// All table files, one after the other, each behind a line `## NAME`; put
/// there by the build script.
static TEXT: &str = include_str!(concat!(env!("OUT_DIR"), "/support.txt"));

static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::parse(TEXT).expect("a test reads the embedded table"));

/// The table of this build.
pub(crate) fn table() -> &'static Table {
    &TABLE
}

/// The parsed table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// In the order of the files.
    messages: Vec<Entry>,
    by_name: HashMap<String, usize>,
}

/// One message of the table.
#[derive(Debug)]
struct Entry {
    name: String,
    /// The table file, without its ending.
    section: String,
    /// Fields in the order written; `*` for all others.
    fields: Vec<(String, Mark)>,
}

/// What happens to a field that is set.
#[derive(Clone, Debug, PartialEq)]
enum Mark {
    /// It works; only these values, if any are named.
    Ok(Vec<String>),
    /// It works as far as this note says.
    Part(String),
    /// It has no effect, for this reason.
    Warn(String),
}

/// The field name that stands for all fields not named.
const ALL: &str = "*";

impl Table {
    /// Reads the table, or says which line is wrong.
    fn parse(text: &str) -> Result<Table, String> {
        let mut table = Table::default();
        let mut section = String::new();
        for line in text.lines() {
            let wrong = |reason: &str| Err(format!("{section}.txt: {line:?}: {reason}"));
            if let Some(name) = line.strip_prefix("## ") {
                name.trim_end_matches(".txt").clone_into(&mut section);
                continue;
            }
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if !line.starts_with(' ') {
                if table.by_name.contains_key(line) {
                    return wrong("the message is already in the table");
                }
                table
                    .by_name
                    .insert(line.trim_end().to_owned(), table.messages.len());
                table.messages.push(Entry {
                    name: line.trim_end().to_owned(),
                    section: section.clone(),
                    fields: Vec::new(),
                });
                continue;
            }
            let Some(entry) = table.messages.last_mut() else {
                return wrong("a field before the first message");
            };
            let mut words = line.trim().splitn(3, ' ');
            let (field, mark) = (words.next().unwrap_or(""), words.next());
            let rest = words.next().unwrap_or("");
            let mark = match (mark, rest) {
                (Some("ok"), values) => {
                    Mark::Ok(values.split_whitespace().map(str::to_owned).collect())
                }
                (Some("part"), "") => return wrong("a part needs its note"),
                (Some("part"), note) => Mark::Part(note.to_owned()),
                (Some("warn"), "") => return wrong("a warning needs its reason"),
                (Some("warn"), reason) => Mark::Warn(reason.to_owned()),
                _ => {
                    return wrong(
                        "expected `FIELD ok [VALUE…]`, `FIELD part NOTE` or `FIELD warn REASON`",
                    );
                }
            };
            if entry.fields.iter().any(|(name, _)| name == field) {
                return wrong("the field is already in the table");
            }
            entry.fields.push((field.to_owned(), mark));
        }
        Ok(table)
    }

    fn message(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name).map(|i| &self.messages[*i])
    }
}

impl Entry {
    fn mark(&self, field: &str) -> Option<&Mark> {
        let find = |name: &str| self.fields.iter().find(|(n, _)| n == name);
        find(field).or_else(|| find(ALL)).map(|(_, mark)| mark)
    }
}

/// Whether an extension of this type can be used.
pub fn is_known(type_name: &str) -> bool {
    table().message(type_name).is_some()
}

#[cfg(test)]
mod tests;
