//! The ledger that makes sure that the table is neither too short nor too long.

use super::{Suite, table};
use crate::programs::say;
use std::collections::{BTreeMap, BTreeSet};

/// Collects what was seen in one suite and judges it at the end.
#[derive(Debug)]
pub struct Ledger {
    suite: Suite,
    used: BTreeSet<usize>,
    intended: BTreeMap<usize, Vec<String>>,
    unexpected: Vec<String>,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(suite: Suite) -> Ledger {
        Ledger {
            suite,
            used: BTreeSet::new(),
            intended: BTreeMap::new(),
            unexpected: Vec::new(),
        }
    }

    /// Notes that `ours` differs from `envoys` in `what`.
    pub fn note(&mut self, program: &str, case: &str, what: &str, envoys: &str, ours: &str) {
        let line = format!("{case} ({program}): {what}: envoy {envoys}; ringway {ours}");
        let place = table().position(|entry| {
            entry.suite == self.suite && matches(entry.case, case) && matches(entry.what, what)
        });
        match place {
            Some(place) => {
                self.used.insert(place);
                self.intended.entry(place).or_default().push(line);
            }
            None => self.unexpected.push(line),
        }
    }

    /// Prints the intended differences. `whole` says that the whole suite was
    /// played, so that an entry of the table without use is a mistake.
    ///
    /// # Panics
    /// When there was another difference, or one of the table did not occur.
    pub fn judge(self, whole: bool) {
        let reasons: Vec<_> = table().map(|entry| entry.reason).collect();
        for (place, lines) in &self.intended {
            println!("intended: {}", reasons[*place]);
            for line in lines {
                println!("    {line}");
            }
        }
        let unneeded: Vec<_> = table()
            .enumerate()
            .filter(|(place, entry)| entry.suite == self.suite && !self.used.contains(place))
            .map(|(_, entry)| format!("{} / {} ({})", entry.case, entry.what, entry.reason))
            .collect();
        assert!(
            self.unexpected.is_empty(),
            "{} differences from Envoy that are not intended:\n{}",
            self.unexpected.len(),
            self.unexpected.join("\n")
        );
        assert!(
            !whole || unneeded.is_empty(),
            "differences in the table that no longer occur:\n{}",
            unneeded.join("\n")
        );
        say(&format!(
            "{:?}: {} differences from Envoy, of {} intended kinds (--nocapture lists them)",
            self.suite,
            self.intended.values().map(Vec::len).sum::<usize>(),
            self.intended.len()
        ));
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => {
            let Some(text) = text.strip_prefix(start) else {
                return false;
            };
            let mut ends = (0..=text.len()).filter(|&at| text.is_char_boundary(at));
            ends.any(|at| matches(rest, &text[at..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*c*", "abcd", true),
            ("a*c", "abcd", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
