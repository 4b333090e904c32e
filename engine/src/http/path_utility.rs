//! `:path`: normalisation (RFC 3986 sections 5.2.4 and 6.2.2, as browsers and
//! Envoy do it), merging of slashes, escaped slashes, and what is refused.
//!
//! A path is surveyed in one pass first; the usual path needs no change and
//! costs nothing more.

use ringway_codecs::header::{HeaderId, HeaderMap};

/// What the connection manager is told to do with paths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathRules {
    /// `normalize_path`.
    pub normalize: bool,
    /// `merge_slashes`.
    pub merge_slashes: bool,
    /// `path_with_escaped_slashes_action`.
    pub escaped_slashes: EscapedSlashes,
}

/// What happens to `%2F` and `%5C` in the path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// They stay.
    #[default]
    Keep,
    /// The request is refused.
    Reject,
    /// They become slashes and the client is sent there.
    UnescapeAndRedirect,
    /// They become slashes.
    UnescapeAndForward,
}

/// What became of a path that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathOutcome {
    /// The request goes on with its `:path` as it is now.
    Forward,
    /// The client is to be sent to what `:path` is now.
    Redirect,
}

/// The path is refused: 400 `path_normalization_failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPath;

/// Applies the rules to the request's `:path`.
///
/// A fragment is refused, as Envoy does. An escaped NUL is refused whatever
/// the rules are; Envoy refuses it only when it normalises.
pub fn apply(headers: &mut HeaderMap, rules: PathRules) -> Result<PathOutcome, BadPath> {
    let Some(path_and_query) = headers.get(HeaderId::Path) else {
        return Ok(PathOutcome::Forward);
    };
    if memchr::memchr(b'#', path_and_query).is_some() {
        return Err(BadPath);
    }
    let end = memchr::memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(end);
    let survey = Survey::of(path);
    if survey.is_plain() {
        return Ok(PathOutcome::Forward);
    }
    if survey.escapes && has_escaped_nul(path) {
        return Err(BadPath);
    }
    let mut changed = None;
    let mut outcome = PathOutcome::Forward;
    if survey.escapes && rules.escaped_slashes != EscapedSlashes::Keep {
        let unescaped = unescape_slashes(path);
        if unescaped.len() != path.len() {
            match rules.escaped_slashes {
                EscapedSlashes::Reject => return Err(BadPath),
                EscapedSlashes::UnescapeAndRedirect => outcome = PathOutcome::Redirect,
                EscapedSlashes::Keep | EscapedSlashes::UnescapeAndForward => {}
            }
            changed = Some(unescaped);
        }
    }
    if rules.normalize {
        changed = Some(normalize(changed.as_deref().unwrap_or(path)));
    }
    if rules.merge_slashes {
        changed = Some(merge_slashes(changed.as_deref().unwrap_or(path)));
    }
    if let Some(mut changed) = changed.filter(|changed| changed != path) {
        changed.extend_from_slice(query);
        headers.set(HeaderId::Path, &changed);
    }
    Ok(outcome)
}

/// What one look at a path shows.
#[derive(Debug, Default)]
struct Survey {
    /// There is a `%`.
    escapes: bool,
    /// There is something else that a rule might change.
    special: bool,
}

impl Survey {
    fn of(path: &[u8]) -> Self {
        let mut survey = Survey::default();
        let mut before = 0;
        for byte in path {
            match byte {
                b'%' => survey.escapes = true,
                b'/' | b'.' if before == b'/' => survey.special = true,
                byte if *byte == b'\\' || must_be_escaped(*byte) => survey.special = true,
                _ => {}
            }
            before = *byte;
        }
        survey
    }

    fn is_plain(&self) -> bool {
        !self.escapes && !self.special
    }
}

fn has_escaped_nul(path: &[u8]) -> bool {
    path.windows(3).any(|escape| escape == b"%00")
}

/// Replaces `%2F` and `%5C`, in either case of the digit, by what they stand
/// for.
fn unescape_slashes(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'%', b'2', b'f' | b'F', after @ ..] => (b'/', after),
            [b'%', b'5', b'c' | b'C', after @ ..] => (b'\\', after),
            _ => (*byte, after),
        };
        out.push(byte);
        rest = after;
    }
    out
}

/// One slash for many. A path of slashes only keeps two, as in Envoy.
fn merge_slashes(path: &[u8]) -> Vec<u8> {
    if memchr::memmem::find(path, b"//").is_none() {
        return path.to_vec();
    }
    let mut out = Vec::with_capacity(path.len());
    if path.starts_with(b"/") {
        out.push(b'/');
    }
    let segments = path.split(|byte| *byte == b'/');
    for (i, segment) in segments.filter(|segment| !segment.is_empty()).enumerate() {
        if i > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(segment);
    }
    if path.ends_with(b"/") {
        out.push(b'/');
    }
    out
}

/// Resolves dot segments, takes a backslash for a slash, unescapes unreserved
/// characters and escapes those that may not stand in a path. Escapes of other
/// characters stay as they are, broken ones too.
fn normalize(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'/' | b'\\' => slash(after, &mut out),
            b'%' => escape(rest, &mut out),
            byte if must_be_escaped(*byte) => {
                push_escaped(&mut out, *byte);
                after
            }
            byte => {
                out.push(*byte);
                after
            }
        };
    }
    out
}

/// Handles a slash and the dot segment that may follow it; `after` is what
/// follows the slash. Gives what is left.
fn slash<'p>(after: &'p [u8], out: &mut Vec<u8>) -> &'p [u8] {
    let Some((dots, rest)) = dot_segment(after) else {
        out.push(b'/');
        return after;
    };
    if dots == 2 {
        let parent = memchr::memrchr(b'/', out).unwrap_or(0);
        out.truncate(parent);
    }
    if rest.is_empty() {
        out.push(b'/');
    }
    rest
}

/// A segment of one or two dots, escaped or not: how many, and what follows.
/// Parameters (`..;a=b`) make it no other segment: hosts that know them take
/// them off before they resolve dots. Envoy says so only of dots that are not
/// escaped.
fn dot_segment(after_slash: &[u8]) -> Option<(usize, &[u8])> {
    let mut rest = after_slash;
    let mut dots = 0;
    while dots < 3 {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => break,
        };
        dots += 1;
    }
    if rest.first() == Some(&b';') {
        let end = memchr::memchr(b'/', rest).unwrap_or(rest.len());
        rest = &rest[end..];
    }
    let ends = matches!(rest.first(), None | Some(b'/' | b'\\'));
    (ends && (dots == 1 || dots == 2)).then_some((dots, rest))
}

/// Handles a percent sign. Gives what is left.
fn escape<'p>(rest: &'p [u8], out: &mut Vec<u8>) -> &'p [u8] {
    if let [b'%', high, low, after @ ..] = rest
        && let (Some(high_value), Some(low_value)) = (hex(*high), hex(*low))
    {
        let value = high_value << 4 | low_value;
        match is_unreserved(value) {
            true => out.push(value),
            false => out.extend_from_slice(&[b'%', *high, *low]),
        }
        return after;
    }
    out.push(b'%');
    &rest[1..]
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn must_be_escaped(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{'..=b'}' | 0x7f..)
}

fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push(b'%');
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 0xf)]);
}

#[cfg(test)]
mod tests;
