//! From RE2's syntax, which Envoy's configurations are written in, to the
//! regex crate's, where the two give one text different meanings or one of them
//! refuses what the other takes.
//!
//! - Envoy's RE2 works on bytes: no character is more than one, and `\pL` is
//!   what is a letter in Latin-1. So is everything here.
//! - In a bracketed class RE2 takes `[`, `&&` and `~~` literally, and dashes
//!   wherever they may be; the crate has nested classes and set operations.
//! - `\<` and `\>` are the characters in RE2 and word boundaries in the crate.
//! - `\Q…\E` quotes literal text, `\141` is an octal number, `\C` any byte, and
//!   a brace that begins no repetition is itself.
//! - Nothing is repeated twice (`a**`) or, repetitions within repetitions
//!   multiplied, more than a thousand times.
//! - Names of groups may be digits and may come twice. Nobody asks for them.

use regex_syntax::hir::{Class, HirKind};
use std::fmt::Write as _;

/// How often anything may be repeated, as in RE2.
const REPEATED_MAX: u32 = 1000;

/// The expression in the regex crate's syntax, for bytes, or what RE2 does not
/// take of it. Other mistakes stay, to be reported when it is compiled.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut translation = Translation {
        out: String::with_capacity(pattern.len()),
        last: Last::Nothing,
        open: Vec::new(),
        most: 1,
    };
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        rest = translation.next(first, rest)?;
    }
    Ok(translation.out)
}

struct Translation {
    out: String,
    last: Last,
    /// The groups that are open: how often the most repeated part of what is
    /// around each is repeated.
    open: Vec<u32>,
    /// The same for the group that we are in, or all of it.
    most: u32,
}

/// What was read last.
#[derive(Clone, Copy)]
enum Last {
    /// Nothing that could be repeated.
    Nothing,
    /// A part, of which something is repeated so often.
    Part(u32),
    /// A repetition.
    Repetition,
}

impl Translation {
    /// Reads one thing; gives what is left.
    fn next<'p>(&mut self, first: char, rest: &'p str) -> Result<&'p str, String> {
        match first {
            '*' | '+' | '?' => self.repeat(rest, 1, 1),
            '{' => match Repetition::parse(rest) {
                Some((repetition, bytes)) => self.repeat(rest, bytes, repetition.checked(rest)?),
                None => {
                    self.out.push('\\');
                    Ok(self.part(rest, 1))
                }
            },
            '\\' => self.escape(rest),
            '[' => {
                self.last = Last::Part(1);
                class(rest, &mut self.out)
            }
            '(' => self.group(rest),
            ')' => {
                let inside = self.most;
                self.most = self.open.pop().unwrap_or(1).max(inside);
                let left = self.part(rest, 1);
                self.last = Last::Part(inside);
                Ok(left)
            }
            '|' | '^' => {
                let left = self.part(rest, 1);
                self.last = Last::Nothing;
                Ok(left)
            }
            _ if first.is_ascii() => Ok(self.part(rest, 1)),
            _ => {
                let (character, left) = rest.split_at(first.len_utf8());
                push_bytes(character, &mut self.out);
                self.last = Last::Part(1);
                Ok(left)
            }
        }
    }

    /// Copies a part of `bytes`.
    fn part<'p>(&mut self, rest: &'p str, bytes: usize) -> &'p str {
        self.last = Last::Part(1);
        copy(rest, bytes, &mut self.out)
    }

    /// Copies an operator of `bytes` that repeats the last part up to `times`.
    fn repeat<'p>(&mut self, rest: &'p str, bytes: usize, times: u32) -> Result<&'p str, String> {
        let lazy = usize::from(rest[bytes..].starts_with('?'));
        let left = copy(rest, bytes + lazy, &mut self.out);
        let of_part = match self.last {
            Last::Repetition => {
                let operator = &rest[..bytes + lazy];
                return Err(format!("{operator} repeats what is repeated"));
            }
            Last::Part(inside) => inside,
            // The crate says that there is nothing to repeat, if so.
            Last::Nothing => 1,
        };
        let most = of_part.saturating_mul(times.max(1));
        if times > 1 && most > REPEATED_MAX {
            let operator = &rest[..bytes];
            return Err(format!(
                "{operator} repeats something more than {REPEATED_MAX} times"
            ));
        }
        self.most = self.most.max(most);
        self.last = Last::Repetition;
        Ok(left)
    }

    /// Handles a backslash outside of classes.
    fn escape<'p>(&mut self, rest: &'p str) -> Result<&'p str, String> {
        if let Some(quoted) = rest.strip_prefix(r"\Q") {
            let (literal, left) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            for character in literal.chars() {
                let mut buffer = [0; 4];
                let character = &*character.encode_utf8(&mut buffer);
                match character.is_ascii() {
                    true => self.out.push_str(&regex::escape(character)),
                    false => push_bytes(character, &mut self.out),
                }
                self.last = Last::Part(1);
            }
            return Ok(left);
        }
        self.last = Last::Part(1);
        if let Some(left) = rest.strip_prefix(r"\C") {
            self.out.push_str("(?s:.)");
            return Ok(left);
        }
        match Escape::parse(rest)? {
            (Escape::Byte(byte), left) => {
                push_byte(byte, &mut self.out);
                Ok(left)
            }
            (Escape::Class(members), left) => {
                self.out.push_str(&bracketed(&members));
                Ok(left)
            }
            (Escape::Other(bytes), _) => match rest.as_bytes().get(1) {
                Some(b'<' | b'>') => Ok(copy(&rest[1..], 1, &mut self.out)),
                _ => Ok(copy(rest, bytes, &mut self.out)),
            },
        }
    }

    /// Handles what begins a group, or changes flags.
    fn group<'p>(&mut self, rest: &'p str) -> Result<&'p str, String> {
        let mut left = &rest[1..];
        let mut opens = true;
        if let Some(special) = left.strip_prefix('?') {
            if let Some(named) = special
                .strip_prefix("P<")
                .or_else(|| special.strip_prefix('<'))
            {
                left = name(named)?;
                self.out.push('(');
            } else {
                (left, opens) = flags(special, &mut self.out)?;
            }
        } else {
            self.out.push('(');
        }
        if opens {
            self.open.push(self.most);
            self.most = 1;
        }
        self.last = Last::Nothing;
        Ok(left)
    }
}

/// What `{…}` says.
struct Repetition {
    least: u32,
    most: Option<u32>,
}

impl Repetition {
    /// `{n}`, `{n,}` or `{n,m}` at the start of `rest`, and its length.
    fn parse(rest: &str) -> Option<(Self, usize)> {
        let (least, left) = number(rest.strip_prefix('{')?)?;
        let (most, left) = match left.strip_prefix(',') {
            None => (Some(least), left),
            Some(left) if left.starts_with('}') => (None, left),
            Some(left) => {
                let (most, left) = number(left)?;
                (Some(most), left)
            }
        };
        let left = left.strip_prefix('}')?;
        Some((Self { least, most }, rest.len() - left.len()))
    }

    /// How often it repeats at most, if it is one that RE2 takes.
    fn checked(&self, rest: &str) -> Result<u32, String> {
        let most = self.most.unwrap_or(self.least);
        if most < self.least || most > REPEATED_MAX {
            let end = rest.find('}').map_or(rest.len(), |end| end + 1);
            return Err(format!(
                "{} is no repetition: it ends before it begins, or there are more than \
                 {REPEATED_MAX}",
                &rest[..end]
            ));
        }
        Ok(most)
    }
}

/// A number without leading zeros that is not too large for RE2 to read.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text
        .bytes()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, left) = text.split_at(end);
    let has_zero = digits.len() > 1 && digits.starts_with('0');
    if digits.is_empty() || digits.len() > NUMBER_DIGITS_MAX || has_zero {
        return None;
    }
    Some((digits.parse().ok()?, left))
}

/// RE2 reads no digit behind a number of nine.
const NUMBER_DIGITS_MAX: usize = 9;

/// Reads a name and the `>` behind it; gives what is left.
fn name(rest: &str) -> Result<&str, String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match rest.split_once('>') {
        Some((name, left)) if !name.is_empty() && name.bytes().all(is_part) => Ok(left),
        _ => Err("the name of a group is letters, digits and underscores in <>".to_owned()),
    }
}

/// Reads flags behind `(?`; gives what is left, and whether a group begins.
fn flags<'p>(rest: &'p str, out: &mut String) -> Result<(&'p str, bool), String> {
    let end = rest
        .bytes()
        .position(|byte| matches!(byte, b':' | b')'))
        .ok_or_else(|| "(? is not ended".to_owned())?;
    let text = &rest[..end];
    let (mut on, mut off) = (String::new(), String::new());
    let mut negated = false;
    for flag in text.chars() {
        match flag {
            '-' if !negated => negated = true,
            'i' | 'm' | 's' | 'U' => {
                let (to, from) = match negated {
                    true => (&mut off, &mut on),
                    false => (&mut on, &mut off),
                };
                from.retain(|other| other != flag);
                if !to.contains(flag) {
                    to.push(flag);
                }
            }
            _ => return Err(format!("(?{text} is not known")),
        }
    }
    if text.ends_with('-') {
        return Err(format!("(?{text} turns nothing off"));
    }
    let opens = rest[end..].starts_with(':');
    if opens || !on.is_empty() || !off.is_empty() {
        let dash = if off.is_empty() { "" } else { "-" };
        let close = if opens { ':' } else { ')' };
        // Writing to a string cannot fail.
        let _ = write!(out, "(?{on}{dash}{off}{close}");
    }
    Ok((&rest[end + 1..], opens))
}

/// What a backslash stands for, in and outside of classes.
enum Escape {
    /// A byte that is given by its number.
    Byte(u8),
    /// Bytes that have something in common, as members of a class.
    Class(String),
    /// What means the same for the crate, or nothing to either; so long.
    Other(usize),
}

impl Escape {
    /// Reads an escape at the start of `rest`; gives what is left.
    fn parse(rest: &str) -> Result<(Self, &str), String> {
        let escaped = rest[1..].chars().next();
        let bytes = 1 + escaped.map_or(0, char::len_utf8);
        match escaped {
            Some('0'..='7') => octal(&rest[1..]),
            Some('x') => hexadecimal(&rest[2..]),
            Some('p' | 'P') => property(rest),
            Some('u' | 'U') => Err(format!("{} is not known", &rest[..bytes])),
            Some(other) if !other.is_ascii() => Err(format!("{} is not known", &rest[..bytes])),
            _ => Ok((Escape::Other(bytes), &rest[bytes..])),
        }
    }
}

fn octal(digits: &str) -> Result<(Escape, &str), String> {
    let end = digits
        .bytes()
        .take(3)
        .position(|byte| !matches!(byte, b'0'..=b'7'))
        .unwrap_or(digits.len().min(3));
    let (number, left) = digits.split_at(end);
    if number.len() == 1 && number != "0" {
        return Err(format!("\\{number} refers to a group: that takes too long"));
    }
    match u8::from_str_radix(number, 8) {
        Ok(byte) => Ok((Escape::Byte(byte), left)),
        Err(_) => Err(format!("\\{number} is more than a byte")),
    }
}

fn hexadecimal(rest: &str) -> Result<(Escape, &str), String> {
    let wrong = || "\\x has two hexadecimal digits or a byte's in braces behind it".to_owned();
    let (number, left) = match rest.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or_else(wrong)?,
        None => rest.split_at_checked(2).ok_or_else(wrong)?,
    };
    let is_number = number.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u8::from_str_radix(number, 16) {
        Ok(byte) if is_number => Ok((Escape::Byte(byte), left)),
        _ => Err(wrong()),
    }
}

/// Reads `\pL`, `\p{Greek}` and their like.
fn property(rest: &str) -> Result<(Escape, &str), String> {
    let behind = &rest[2..];
    let (name, left) = match behind.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or("\\p{ is not ended")?,
        None => {
            let first = behind.chars().next().map_or(0, char::len_utf8);
            behind.split_at(first)
        }
    };
    let positive = name.strip_prefix('^');
    let is_negated = rest.starts_with(r"\P") != positive.is_some();
    let name = positive.unwrap_or(name);
    let members = latin1(name, is_negated)
        .ok_or_else(|| format!("there is no {}", &rest[..rest.len() - left.len()]))?;
    Ok((Escape::Class(members), left))
}

/// The bytes that have a property as characters of Latin-1, or have not.
fn latin1(name: &str, is_negated: bool) -> Option<String> {
    let is_script = name.len() > 2 && name.split('_').all(is_capitalized);
    let asked = match name {
        "Any" => r"[\x00-\x{10FFFF}]".to_owned(),
        _ if CATEGORIES.contains(&name) => format!(r"\p{{gc={name}}}"),
        _ if is_script => format!(r"\p{{sc={name}}}"),
        _ => return None,
    };
    let parsed = regex_syntax::parse(&asked).ok()?;
    let HirKind::Class(Class::Unicode(class)) = parsed.kind() else {
        return None;
    };
    let has = |byte: u8| {
        let mut ranges = class.iter();
        ranges.any(|range| (range.start()..=range.end()).contains(&char::from(byte)))
    };
    let mut members = String::new();
    for byte in (0..=u8::MAX).filter(|byte| has(*byte) != is_negated) {
        push_byte(byte, &mut members);
    }
    Some(members)
}

fn is_capitalized(word: &str) -> bool {
    let mut letters = word.bytes();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_uppercase())
        && letters.all(|letter| letter.is_ascii_lowercase())
}

/// Unicode's general categories, as RE2 names them.
const CATEGORIES: &[&str] = &[
    "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N",
    "Nd", "Nl", "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So",
    "Z", "Zl", "Zp", "Zs",
];

/// A class of these members; of none, one that nothing is in.
fn bracketed(members: &str) -> String {
    match members {
        "" => NOTHING.to_owned(),
        _ => format!("[{members}]"),
    }
}

const NOTHING: &str = r"[^\x00-\xff]";

/// Handles a bracketed class; gives what is left.
fn class<'p>(rest: &'p str, out: &mut String) -> Result<&'p str, String> {
    let mut body = String::new();
    let mut left = &rest[1..];
    let is_negated = left.starts_with('^');
    if is_negated {
        left = &left[1..];
    }
    let mut place = Place::Start;
    // A closing bracket in the first place is a member.
    if let Some(behind) = left.strip_prefix(']') {
        body.push_str(r"\]");
        left = behind;
        place = Place::Low;
    }
    let mut before = ' ';
    let mut is_ended = false;
    while let Some(first) = left.chars().next() {
        let is_last = left[first.len_utf8()..].starts_with(']');
        let is_operator = matches!(first, '&' | '~') && before == first;
        let here = place;
        before = first;
        place = match here {
            Place::High => Place::Start,
            Place::Start | Place::Low => Place::Low,
        };
        match first {
            ']' => {
                is_ended = true;
                left = &left[1..];
                break;
            }
            // Between two characters a dash makes a range of them; elsewhere it
            // is one itself.
            '-' if here == Place::Low && !is_last => {
                place = Place::High;
                left = copy(left, 1, &mut body);
            }
            '-' if here == Place::High || !is_last => {
                body.push('\\');
                left = copy(left, 1, &mut body);
            }
            '\\' => {
                let (escape, behind) = Escape::parse(left)?;
                before = ' ';
                match escape {
                    Escape::Byte(byte) => push_byte(byte, &mut body),
                    Escape::Class(members) => {
                        body.push_str(&members);
                        place = Place::Start;
                    }
                    Escape::Other(bytes) => {
                        if matches!(
                            left.as_bytes().get(1),
                            Some(b'd' | b'D' | b's' | b'S' | b'w' | b'W')
                        ) {
                            place = Place::Start;
                        }
                        match left.as_bytes().get(1) {
                            // Ends of words for the library, and members for RE2.
                            Some(b'<' | b'>') => copy(&left[1..], 1, &mut body),
                            _ => copy(left, bytes, &mut body),
                        };
                    }
                }
                left = behind;
            }
            '[' if here != Place::High && left.starts_with("[:") && left.contains(":]") => {
                let bytes = left.find(":]").map_or(left.len(), |end| end + 2);
                let name = left[2..bytes - 2].trim_start_matches('^');
                if !POSIX.contains(&name) {
                    return Err(format!("there is no {}", &left[..bytes]));
                }
                left = copy(left, bytes, &mut body);
                place = Place::Start;
            }
            '[' => {
                body.push('\\');
                left = copy(left, 1, &mut body);
            }
            _ if is_operator => {
                body.push('\\');
                left = copy(left, 1, &mut body);
                before = ' ';
            }
            _ if first.is_ascii() => left = copy(left, 1, &mut body),
            _ => {
                let (character, behind) = left.split_at(first.len_utf8());
                push_bytes(character, &mut body);
                left = behind;
            }
        }
    }
    match (is_ended, is_negated) {
        // The crate says so.
        (false, _) => {
            out.push('[');
            out.push_str(&body);
        }
        (true, false) => out.push_str(&bracketed(&body)),
        (true, true) if body.is_empty() => out.push_str("(?s:.)"),
        (true, true) => {
            out.push_str("[^");
            out.push_str(&body);
            out.push(']');
        }
    }
    Ok(left)
}

/// A place in a class, as ranges see it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind nothing that begins a range: a range, or a class of its own.
    Start,
    /// Behind a character, which may begin one.
    Low,
    /// Behind the dash of one.
    High,
}

/// The names in `[:alpha:]` and its like.
const POSIX: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// Copies the first `bytes` of `rest`; gives what is left.
fn copy<'p>(rest: &'p str, bytes: usize, out: &mut String) -> &'p str {
    let (copied, left) = rest.split_at(bytes);
    out.push_str(copied);
    left
}

fn push_bytes(text: &str, out: &mut String) {
    for byte in text.bytes() {
        push_byte(byte, out);
    }
}

fn push_byte(byte: u8, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(out, r"\x{byte:02x}");
}

#[cfg(test)]
mod tests;
