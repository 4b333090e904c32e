//! Splits a format string into literal text and commands, with Envoy's
//! grammar: `%NAME%`, `%NAME(ARGUMENTS)%`, `%NAME:LENGTH%`,
//! `%NAME(ARGUMENTS):LENGTH%`, and `%%` for a percent sign.
//!
//! Nothing here knows which names exist; `operator` does.

use std::fmt;

/// A piece of a format string.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Text that is copied. Adjacent pieces are not merged.
    Literal(&'a str),
    /// A command to be compiled.
    Command(Command<'a>),
}

/// A command as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Command<'a> {
    /// Upper-case letters, digits and underscores.
    pub name: &'a str,
    /// What stands in the parentheses; empty without any.
    pub arguments: &'a str,
    /// The number after the colon: at most so many bytes are written.
    pub length_max: Option<usize>,
    /// Byte offset of the command's first percent sign.
    pub position: usize,
}

/// Why a format string is refused. Displays with the position at the end, as
/// Envoy does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    /// Byte offset in the format string of the command that is wrong.
    pub position: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at position {}", self.reason, self.position)
    }
}

impl std::error::Error for FormatError {}

/// The pieces of `format`, in order.
pub(super) fn tokens(format: &str) -> Result<Vec<Token<'_>>, FormatError> {
    let mut tokens = Vec::new();
    let mut position = 0;
    while position < format.len() {
        let rest = &format[position..];
        match rest.find('%') {
            None => {
                tokens.push(Token::Literal(rest));
                break;
            }
            Some(0) if rest.starts_with("%%") => {
                tokens.push(Token::Literal("%"));
                position += 2;
            }
            Some(0) => {
                let (command, length) =
                    command(rest, position).ok_or_else(|| not_a_command(format, position))?;
                tokens.push(Token::Command(command));
                position += length;
            }
            Some(length) => {
                tokens.push(Token::Literal(&rest[..length]));
                position += length;
            }
        }
    }
    Ok(tokens)
}

fn not_a_command(format: &str, position: usize) -> FormatError {
    FormatError {
        position,
        reason: format!("Incorrect configuration: {format}. Couldn't find valid command"),
    }
}

/// The command at the start of `text` and how many bytes it takes.
fn command(text: &str, position: usize) -> Option<(Command<'_>, usize)> {
    let name_end = 1 + text[1..]
        .bytes()
        .position(|b| !(b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'))?;
    if name_end == 1 {
        return None;
    }
    let (arguments, after) = match text.as_bytes()[name_end] {
        b'(' => arguments(text, name_end + 1)?,
        _ => ("", name_end),
    };
    let (length_max, end) = length_and_percent(text, after)?;
    let command = Command {
        name: &text[1..name_end],
        arguments,
        length_max,
        position,
    };
    Some((command, end))
}

/// The text up to the first `)` after which the command can end. Arguments may
/// hold parentheses and percent signs (`START_TIME(%s)`), but no line end.
fn arguments(text: &str, start: usize) -> Option<(&str, usize)> {
    for (offset, byte) in text.as_bytes()[start..].iter().enumerate() {
        match byte {
            b'\n' => return None,
            b')' if length_and_percent(text, start + offset + 1).is_some() => {
                return Some((&text[start..start + offset], start + offset + 1));
            }
            _ => {}
        }
    }
    None
}

/// An optional `:LENGTH`, then the closing percent sign.
fn length_and_percent(text: &str, start: usize) -> Option<(Option<usize>, usize)> {
    let rest = &text.as_bytes()[start..];
    match rest.first()? {
        b'%' => Some((None, start + 1)),
        b':' => {
            let digits = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
            let end = start + 1 + digits;
            let length = text[start + 1..end].parse().ok()?;
            (text.as_bytes().get(end) == Some(&b'%')).then_some((Some(length), end + 1))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command<'a>(
        name: &'a str,
        arguments: &'a str,
        length_max: Option<usize>,
        position: usize,
    ) -> Token<'a> {
        Token::Command(Command {
            name,
            arguments,
            length_max,
            position,
        })
    }

    #[test]
    fn formats_are_split() {
        let cases: &[(&str, Vec<Token<'_>>)] = &[
            ("", vec![]),
            ("plain\n", vec![Token::Literal("plain\n")]),
            ("%%", vec![Token::Literal("%")]),
            ("%A%", vec![command("A", "", None, 0)]),
            (
                "a%A_1%%B%",
                vec![
                    Token::Literal("a"),
                    command("A_1", "", None, 1),
                    command("B", "", None, 6),
                ],
            ),
            ("%A:5%", vec![command("A", "", Some(5), 0)]),
            ("%A(b):0%", vec![command("A", "b", Some(0), 0)]),
            ("%A()%", vec![command("A", "", None, 0)]),
            ("%A(%)%", vec![command("A", "%", None, 0)]),
            (
                "%A(%s)%)%",
                vec![command("A", "%s", None, 0), Token::Literal(")%")],
            ),
        ];
        for (format, expected) in &cases[..cases.len() - 1] {
            assert_eq!(tokens(format).as_ref(), Ok(expected), "{format}");
        }
        // Shortest arguments win; what is left is then a lone percent sign.
        assert_eq!(tokens(cases[cases.len() - 1].0).unwrap_err().position, 8);
        assert_eq!(
            tokens("%REQ(:METHOD)):4%"),
            Ok(vec![command("REQ", ":METHOD)", Some(4), 0)])
        );
        assert_eq!(
            tokens("%REQ(a):1)%"),
            Ok(vec![command("REQ", "a):1", None, 0)])
        );
    }

    #[test]
    fn errors_are_envoys_with_the_position() {
        for (format, position) in [
            ("%", 0),
            ("%A", 0),
            ("ab%", 2),
            ("%REQ(", 0),
            ("%REQ(a):x%", 0),
            ("%REQ(a):-1%", 0),
            ("%REQ(a:1%", 0),
            ("%REQ(a):%", 0),
            ("%REQ(a):99999999999999999999999%", 0),
            ("%START_TIME%%", 12),
            ("%req(a)%", 0),
            ("%REQ(a)%x%", 9),
            ("%REQ(a)b%", 0),
            ("%REQ(A\nB)%", 0),
            ("é%é", 2),
        ] {
            assert_eq!(
                tokens(format).unwrap_err().to_string(),
                format!(
                    "Incorrect configuration: {format}. Couldn't find valid command at position \
                     {position}"
                )
            );
        }
    }

    /// Random strings of the bytes that matter: no panic, and the tokens of an
    /// accepted format put together are the format again.
    #[test]
    fn any_string_is_split_or_refused() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let alphabet = [
            "%", "(", ")", ":", "A", "_", "7", "x", "\n", "é", "%%", "REQ",
        ];
        for _ in 0..20_000 {
            let length = random.usize(..16);
            let format: String = (0..length)
                .map(|_| alphabet[random.usize(..alphabet.len())])
                .collect();
            let Ok(tokens) = tokens(&format) else {
                continue;
            };
            let mut rebuilt = String::new();
            for token in tokens {
                match token {
                    Token::Literal("%") => rebuilt.push_str("%%"),
                    Token::Literal(text) => rebuilt.push_str(text),
                    Token::Command(c) => {
                        assert_eq!(c.position, rebuilt.len(), "seed {seed}: {format:?}");
                        let text = &format[c.position..];
                        let end = super::command(text, 0).expect("was a command").1;
                        rebuilt.push_str(&text[..end]);
                    }
                }
            }
            assert_eq!(rebuilt, format, "seed {seed}");
        }
    }
}
