//! From RE2's syntax, which Envoy's configurations are written in, to the
//! regex crate's, where the two give one text different meanings.
//!
//! - In a bracketed class RE2 takes `[`, `&&`, `--` and `~~` literally; the
//!   crate has nested classes and set operations.
//! - `\<` and `\>` are the characters in RE2 and word boundaries in the crate.
//! - `\Q…\E` quotes literal text in RE2; the crate does not know it.

/// The expression in the regex crate's syntax. Mistakes in it stay, to be
/// reported when it is compiled.
pub(super) fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '\\' => outside_escape(rest, &mut out),
            '[' => class(rest, &mut out),
            _ => copy(rest, first.len_utf8(), &mut out),
        };
    }
    out
}

/// Copies the first `bytes` of `rest`; gives what is left.
fn copy<'p>(rest: &'p str, bytes: usize, out: &mut String) -> &'p str {
    let (copied, left) = rest.split_at(bytes);
    out.push_str(copied);
    left
}

/// Handles a backslash outside of classes; gives what is left.
fn outside_escape<'p>(rest: &'p str, out: &mut String) -> &'p str {
    if let Some(quoted) = rest.strip_prefix(r"\Q") {
        let (literal, left) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
        out.push_str(&regex::escape(literal));
        return left;
    }
    match rest.as_bytes().get(1) {
        Some(b'<' | b'>') => copy(&rest[1..], 1, out),
        _ => copy(rest, escape_bytes(rest), out),
    }
}

/// Handles a bracketed class; gives what is left.
fn class<'p>(rest: &'p str, out: &mut String) -> &'p str {
    let mut rest = copy(rest, 1, out);
    if rest.starts_with('^') {
        rest = copy(rest, 1, out);
    }
    // A closing bracket in the first place is a member.
    if let Some(left) = rest.strip_prefix(']') {
        out.push_str(r"\]");
        rest = left;
    }
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let is_operator = matches!(first, '&' | '-' | '~') && before == first;
        rest = match first {
            ']' => return copy(rest, 1, out),
            '\\' => copy(rest, escape_bytes(rest), out),
            '[' if let Some(bytes) = named_class_bytes(rest) => copy(rest, bytes, out),
            '[' => {
                out.push('\\');
                copy(rest, 1, out)
            }
            _ if is_operator => {
                out.push('\\');
                copy(rest, 1, out)
            }
            _ => copy(rest, first.len_utf8(), out),
        };
        before = if first == '\\' || is_operator {
            ' '
        } else {
            first
        };
    }
    rest
}

/// The length of a backslash and the character that it escapes.
fn escape_bytes(rest: &str) -> usize {
    let escaped = rest.chars().nth(1).map_or(0, char::len_utf8);
    1 + escaped
}

/// The length of `[:alpha:]` and its like.
fn named_class_bytes(rest: &str) -> Option<usize> {
    let name = rest.strip_prefix("[:")?;
    let end = name.find(":]")?;
    let is_name = name[..end]
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'^');
    is_name.then_some(end + 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::regex::Regex;

    #[test]
    fn usual_expressions_stay() {
        for pattern in [
            "",
            "/a/[0-9]+",
            r"^/v\d+(?:\.\d+)?/(.*)$",
            r"[^/\]]+",
            "[[:alpha:]_-]+",
            "[[:^digit:]x]",
            r"\\<",
            r"[a-z&-]",
            r"é[é]\é",
        ] {
            assert_eq!(translate(pattern), pattern);
        }
    }

    /// The expression, a text that RE2 matches as a whole, and one that it
    /// does not.
    #[test]
    fn differences_are_translated() {
        for (pattern, yes, no) in [
            (r"\Qa.b*\E+", "a.b**", "axb"),
            (r"\Qa[", "a[", "a"),
            (r"\<b\>", "<b>", "b"),
            ("[a&&b]+", "a&b", "c"),
            ("[+--]+", "+,-", "."),
            ("[a~~b]+", "a~b", "c"),
            ("[^[]+", "a]", "["),
            ("[[]+", "[[", "]"),
            ("[]a]+", "]a", "["),
            ("[^]a]+", "bc", "]"),
            ("[[:digit:]&&5]+", "1&5", "a"),
            (r"[\&&]+", "&&", "a"),
        ] {
            let regex = Regex::new(&format!(r"\A(?:{})\z", translate(pattern))).unwrap();
            assert!(regex.is_match(yes), "{pattern} {regex}");
            assert!(!regex.is_match(no), "{pattern} {regex}");
        }
    }

    #[test]
    fn broken_expressions_stay_broken() {
        for pattern in ["a(", "[a", "[", "[^", "a\\", "[\\", "[[:alpha:", "*"] {
            let translated = translate(pattern);
            assert!(Regex::new(&translated).is_err(), "{pattern} {translated}");
        }
    }
}
