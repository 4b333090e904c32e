//! `envoy.type.matcher.v3.RegexMatcher` and `RegexMatchAndSubstitute`.
//!
//! Envoy uses RE2; the regex crate has nearly the same syntax (see
//! [`re2`](super::re2)) and the same promise: time linear in the text, whatever
//! the expression.

use super::re2;
use crate::context::Cx;
use envoy_types::pb::envoy::r#type::matcher::v3 as proto;
use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

/// A regular expression that must match a whole string.
#[derive(Clone, Debug)]
pub struct CompiledRegex {
    whole: Regex,
    /// Text that is somewhere in every match, if there is enough of it to
    /// tell most others apart. To look for it takes a small part of the time
    /// that the expression takes to fail.
    required: Option<Box<memmem::Finder<'static>>>,
}

/// The shortest text that is worth looking for: shorter ones are in most paths.
const REQUIRED_BYTES_MIN: usize = 4;

/// Memory that one compiled expression may take, in bytes.
///
/// Envoy refuses RE2 programs of more than 100 instructions. The two engines
/// count differently, so this is set to hold everything that Envoy accepts
/// with room to spare, and still to refuse what grows out of bounds
/// (`(?:abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz){1000}`).
const PROGRAM_BYTES_MAX: usize = 512 * 1024;

/// Memory that one expression may use as its transition cache while matching,
/// in bytes, per thread. The engine falls back to a slower linear-time method
/// beyond it.
const CACHE_BYTES_MAX: usize = 256 * 1024;

impl CompiledRegex {
    /// Whether the expression matches the whole of `text`.
    pub fn is_full_match(&self, text: &[u8]) -> bool {
        self.required
            .as_ref()
            .is_none_or(|required| required.find(text).is_some())
            && self.whole.is_match(text)
    }

    /// The expression as it is matched, for display.
    pub fn pattern(&self) -> &str {
        self.whole.as_str()
    }

    /// What every text that matches begins with; perhaps nothing.
    pub(super) fn literal_prefix(&self) -> Vec<u8> {
        let mut prefix = Vec::new();
        if let Some(parsed) = parse(self.pattern()) {
            add_literal_prefix(&parsed, &mut prefix);
        }
        prefix
    }

    fn new(whole: Regex) -> Self {
        let required = parse(whole.as_str()).and_then(|parsed| {
            let mut longest = Vec::new();
            find_required(&parsed, &mut true, &mut longest);
            let finder = memmem::Finder::new(&longest).into_owned();
            (longest.len() >= REQUIRED_BYTES_MIN).then(|| Box::new(finder))
        });
        CompiledRegex { whole, required }
    }

    /// Compiles the message, or reports why not.
    pub(super) fn lower(message: &proto::RegexMatcher, cx: &mut Cx<'_>) -> Option<Self> {
        let compiled = compile_whole(&message.regex).map(CompiledRegex::new);
        report(compiled, &message.regex, cx)
    }
}

/// A search-and-replace over a whole string.
#[derive(Debug)]
pub struct Substitution {
    pattern: Regex,
    /// What replaces a match, in pieces.
    pieces: Box<[Piece]>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<[u8]>),
    Group(usize),
}

impl Substitution {
    /// Appends `text` to `out` with every match replaced.
    pub fn write(&self, text: &[u8], out: &mut Vec<u8>) {
        let mut end = 0;
        for captures in self.pattern.captures_iter(text) {
            let Some(whole) = captures.get(0) else {
                continue;
            };
            out.extend_from_slice(&text[end..whole.start()]);
            for piece in &self.pieces {
                match piece {
                    Piece::Text(literal) => out.extend_from_slice(literal),
                    Piece::Group(group) => {
                        if let Some(group) = captures.get(*group) {
                            out.extend_from_slice(group.as_bytes());
                        }
                    }
                }
            }
            end = whole.end();
        }
        out.extend_from_slice(&text[end..]);
    }

    /// Compiles the message, or reports why not.
    pub fn lower(message: &proto::RegexMatchAndSubstitute, cx: &mut Cx<'_>) -> Option<Self> {
        let Some(pattern) = &message.pattern else {
            cx.error_at("pattern", "is required");
            return None;
        };
        let pattern = cx.field("pattern", |cx| {
            report(compile(&pattern.regex), &pattern.regex, cx)
        })?;
        let (pieces, complaint) = pieces(&message.substitution, pattern.captures_len());
        if let Some(complaint) = complaint {
            cx.warn_at("substitution", complaint);
        }
        Some(Substitution { pattern, pieces })
    }
}

/// Splits RE2's replacement syntax: `\0` to `\9` are groups, `\\` is a
/// backslash. `groups` counts group 0 too.
///
/// Envoy accepts replacements that RE2 cannot carry out, so they are only
/// complained about: with a group that does not exist nothing is replaced,
/// and a bad escape ends the replacement.
fn pieces(substitution: &str, groups: usize) -> (Box<[Piece]>, Option<String>) {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut complaint = None;
    let mut bytes = substitution.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        match bytes.next() {
            Some(digit @ b'0'..=b'9') => {
                let group = usize::from(digit - b'0');
                if group >= groups {
                    let unchanged = Box::new([Piece::Group(0)]);
                    let complaint = format!(
                        "\\{group} names a group, but the pattern has only {}; nothing is replaced",
                        groups - 1
                    );
                    return (unchanged, Some(complaint));
                }
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text).into()));
                }
                pieces.push(Piece::Group(group));
            }
            Some(b'\\') => text.push(b'\\'),
            _ => {
                complaint = Some(
                    "a backslash must be followed by a digit or a backslash; \
                     the replacement ends before it"
                        .to_owned(),
                );
                break;
            }
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
    (pieces.into(), complaint)
}

/// Why an expression is refused.
enum Refused {
    /// It takes too much memory.
    TooLarge,
    /// It is none.
    Invalid(String),
}

/// Compiles an expression in RE2's syntax, for bytes.
fn compile(pattern: &str) -> Result<Regex, Refused> {
    build(&re2::translate(pattern).map_err(Refused::Invalid)?)
}

/// An expression in RE2's syntax that is looked for anywhere in a text; the
/// error is what is wrong with it.
pub fn compile_search(pattern: &str) -> Result<Regex, String> {
    compile(pattern).map_err(|refused| match refused {
        Refused::TooLarge => "is too large when compiled".to_owned(),
        Refused::Invalid(reason) => reason,
    })
}

/// As [`compile`], for matching whole texts only.
fn compile_whole(pattern: &str) -> Result<Regex, Refused> {
    let translated = re2::translate(pattern).map_err(Refused::Invalid)?;
    // Alone first: `a)(b` must not become valid by what is put around it.
    build(&translated)?;
    build(&format!(r"\A(?:{translated})\z"))
}

fn build(translated: &str) -> Result<Regex, Refused> {
    RegexBuilder::new(translated)
        .unicode(false)
        .size_limit(PROGRAM_BYTES_MAX)
        .dfa_size_limit(CACHE_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => Refused::TooLarge,
            error => Refused::Invalid(reason(&error)),
        })
}

fn parse(translated: &str) -> Option<Hir> {
    regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .build()
        .parse(translated)
        .ok()
}

/// Puts the longest literal that every match of `part` holds into `longest`.
/// What a match begins with (`at_start`) does not count: expressions that are
/// tried for one text often begin alike.
fn find_required(part: &Hir, at_start: &mut bool, longest: &mut Vec<u8>) {
    match part.kind() {
        HirKind::Look(_) | HirKind::Empty => return,
        HirKind::Literal(literal) if !*at_start && literal.0.len() > longest.len() => {
            *longest = literal.0.to_vec();
        }
        HirKind::Capture(capture) => return find_required(&capture.sub, at_start, longest),
        HirKind::Concat(parts) => {
            for part in parts {
                find_required(part, at_start, longest);
            }
        }
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            find_required(&repetition.sub, at_start, longest);
        }
        _ => {}
    }
    *at_start = false;
}

/// Appends the literal bytes that every match of `part` begins with. Gives
/// whether `part` matches nothing else, so that what follows it goes on.
fn add_literal_prefix(part: &Hir, prefix: &mut Vec<u8>) -> bool {
    match part.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => {
            prefix.extend_from_slice(&literal.0);
            true
        }
        HirKind::Capture(capture) => add_literal_prefix(&capture.sub, prefix),
        HirKind::Concat(parts) => parts.iter().all(|part| add_literal_prefix(part, prefix)),
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            add_literal_prefix(&repetition.sub, prefix);
            false
        }
        HirKind::Repetition(_) | HirKind::Class(_) | HirKind::Alternation(_) => false,
    }
}

/// What is wrong, in one line. The crate draws a picture over several; the last
/// one says it.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default();
    reason.strip_prefix("error: ").unwrap_or(reason).to_owned()
}

fn report<T>(compiled: Result<T, Refused>, pattern: &str, cx: &mut Cx<'_>) -> Option<T> {
    match compiled {
        Ok(compiled) => Some(compiled),
        Err(Refused::TooLarge) => {
            cx.error_at(
                "regex",
                format!(
                    "the regex '{}' is too large when compiled",
                    shortened(pattern)
                ),
            );
            None
        }
        Err(Refused::Invalid(reason)) => {
            cx.error_at(
                "regex",
                format!("invalid regex '{}': {reason}", shortened(pattern)),
            );
            None
        }
    }
}

/// The beginning of a text, for messages.
fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(pattern: &str) -> CompiledRegex {
        CompiledRegex::new(compile_whole(pattern).ok().expect("it is one"))
    }

    #[test]
    fn required_literals() {
        for (pattern, required) in [
            ("/api/v[0-9]+/resource7/[^/]*", Some("/resource7/")),
            ("/api/v1/resource7", None),
            ("/api/.*/ab", None),
            ("^(/a.*)(abcd|x)efgh$", Some("efgh")),
            ("^(/a.*)(?:long-text){2}b", Some("long-text")),
            ("/a.*(?:long-text)?b", None),
            ("/a.*(?:long-text)*b", None),
            ("/a.*(?:long-text|other-line)b", None),
            ("/a.(?i)abcdef", None),
            (".*abcd", Some("abcd")),
            ("(?:.*)wxyz.*/longer/.*", Some("/longer/")),
            ("/é.*éé", Some("éé")),
        ] {
            let found = compiled(pattern).required;
            let found = found.map(|finder| String::from_utf8_lossy(finder.needle()).into_owned());
            assert_eq!(found.as_deref(), required, "{pattern}");
        }
    }

    #[test]
    fn what_is_required_does_not_keep_a_match_away() {
        for (pattern, yes, no) in [
            ("/a/.*/long/b", "/a/x/long/b", "/a/x/lang/b"),
            (
                "/a.*(?:long-text){2}",
                "/along-textlong-text",
                "/along-text",
            ),
            ("/a.*(?:long|text)abcd", "/atextabcd", "/atextabc"),
            ("/a.*abcd$", "/aabcd", "/aabcde"),
        ] {
            let regex = compiled(pattern);
            assert!(regex.is_full_match(yes.as_bytes()), "{pattern}");
            assert!(!regex.is_full_match(no.as_bytes()), "{pattern}");
        }
    }

    #[test]
    fn literal_prefixes() {
        for (pattern, prefix) in [
            ("/a/b", "/a/b"),
            ("^/a/b$", "/a/b"),
            ("/a/[0-9]+/b", "/a/"),
            (r"/a\.b\/c.*", "/a.b/c"),
            ("/ab?c", "/a"),
            ("/ab*", "/a"),
            ("/ab+c", "/ab"),
            ("/ab{2}c", "/ab"),
            ("/ab{0}c", "/ac"),
            ("/(a/b)c", "/a/bc"),
            ("/(?:a(?P<x>b))c?", "/ab"),
            ("/a|/b", ""),
            ("a|b", ""),
            ("(?i)/ab", "/"),
            ("/a(?i)b", "/a"),
            (".*", ""),
            (r"/a\Q.*\E[b]", "/a.*b"),
            ("", ""),
            ("/é.", "/é"),
        ] {
            let found = compiled(pattern).literal_prefix();
            assert_eq!(String::from_utf8_lossy(&found), prefix, "{pattern}");
        }
    }
}
