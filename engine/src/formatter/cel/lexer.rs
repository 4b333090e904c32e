//! Words of an expression: the lexical part of CEL's grammar (the CEL
//! specification, "Syntax"), as Envoy's parser has it.

/// A word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Int(u64),
    /// Digits that no 64 bits hold.
    TooLarge,
    Uint(u64),
    Double(f64),
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    /// A name, a keyword or a reserved word.
    Name(String),
    /// A name in backquotes, which may hold dots and dashes.
    Quoted(String),
    /// An operator or a bracket.
    Sign(&'static str),
}

/// Longer ones first: the first that fits is taken.
const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!",
    "?", ":", "+", "*", "/", "%",
];

/// The words of `text` with the offsets at which they begin.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, String> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let first = rest.as_bytes()[0];
        if matches!(first, b' ' | b'\t' | b'\r' | b'\n' | b'\x0c') {
            at += 1;
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (token, length) = token(rest).map_err(|reason| format!("{reason} at {}", at + 1))?;
        tokens.push((at, token));
        at += length;
    }
    Ok(tokens)
}

/// The word at the start of `rest`, and how many bytes it takes.
fn token(rest: &str) -> Result<(Token, usize), String> {
    let bytes = rest.as_bytes();
    if bytes[0].is_ascii_digit() || (bytes[0] == b'.' && is_digit(bytes.get(1))) {
        return Ok(number(rest));
    }
    if let Some(literal) = literal(rest)? {
        return Ok(literal);
    }
    if is_name_start(bytes[0]) {
        let length = count(bytes, |b| is_name_start(b) || b.is_ascii_digit());
        return Ok((Token::Name(rest[..length].to_owned()), length));
    }
    if bytes[0] == b'`' {
        let inside = count(&bytes[1..], |b| {
            is_name_start(b) || b.is_ascii_digit() || b".-/ ".contains(&b)
        });
        return match bytes.get(1 + inside) {
            Some(b'`') if inside > 0 => {
                Ok((Token::Quoted(rest[1..=inside].to_owned()), inside + 2))
            }
            _ => Err("a name in backquotes does not end".into()),
        };
    }
    let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
    sign.map(|sign| (Token::Sign(sign), sign.len()))
        .ok_or_else(|| {
            let odd = rest.chars().next().unwrap_or_default();
            format!("'{}' has no meaning", odd.escape_default())
        })
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn is_digit(byte: Option<&u8>) -> bool {
    byte.is_some_and(u8::is_ascii_digit)
}

fn count(bytes: &[u8], fits: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| fits(**byte)).count()
}

fn number(rest: &str) -> (Token, usize) {
    let bytes = rest.as_bytes();
    if let Some(digits) = rest.strip_prefix("0x") {
        let length = count(digits.as_bytes(), |b| b.is_ascii_hexdigit());
        if length > 0 {
            let value = u64::from_str_radix(&digits[..length], 16);
            return whole(rest, value.ok(), 2 + length);
        }
    }
    let digits = |from: usize| count(&bytes[from..], |b| b.is_ascii_digit());
    let whole_end = digits(0);
    let mut end = whole_end;
    if bytes.get(end) == Some(&b'.') && is_digit(bytes.get(end + 1)) {
        end += 1 + digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if is_digit(bytes.get(end + 1 + sign)) {
            end += 1 + sign + digits(end + 1 + sign);
        }
    }
    if end > whole_end {
        // The grammar of floating-point numbers is a part of Rust's.
        return (Token::Double(rest[..end].parse().unwrap_or(f64::NAN)), end);
    }
    whole(rest, rest[..end].parse().ok(), end)
}

fn whole(rest: &str, value: Option<u64>, end: usize) -> (Token, usize) {
    let unsigned = matches!(rest.as_bytes().get(end), Some(b'u' | b'U'));
    let token = match value {
        None => Token::TooLarge,
        Some(value) if unsigned => Token::Uint(value),
        Some(value) => Token::Int(value),
    };
    (token, end + usize::from(unsigned))
}

/// A text or bytes in quotes, if `rest` begins with one.
fn literal(rest: &str) -> Result<Option<(Token, usize)>, String> {
    let bytes = rest.as_bytes();
    let is_bytes = matches!(bytes[0], b'b' | b'B');
    let mut start = usize::from(is_bytes);
    let is_raw = matches!(bytes.get(start), Some(b'r' | b'R'));
    start += usize::from(is_raw);
    let quote = match bytes.get(start) {
        Some(b'"') if rest[start..].starts_with("\"\"\"") => "\"\"\"",
        Some(b'\'') if rest[start..].starts_with("'''") => "'''",
        Some(b'"') => "\"",
        Some(b'\'') => "'",
        _ => return Ok(None),
    };
    let inside = start + quote.len();
    let mut value = Vec::new();
    let mut at = inside;
    while !rest[at..].starts_with(quote) {
        let Some(next) = rest[at..].chars().next() else {
            return Err("a text in quotes does not end".into());
        };
        if next == '\\' && !is_raw {
            at += escape(&rest[at..], is_bytes, &mut value)?;
        } else if matches!(next, '\n' | '\r') && quote.len() == 1 {
            return Err("a text in quotes does not end".into());
        } else {
            value.extend_from_slice(&bytes[at..at + next.len_utf8()]);
            at += next.len_utf8();
        }
    }
    let token = if is_bytes {
        Token::Bytes(value)
    } else {
        Token::Text(value)
    };
    Ok(Some((token, at + quote.len())))
}

/// Appends what the escape at the start of `rest` stands for; gives its length.
fn escape(rest: &str, is_bytes: bool, value: &mut Vec<u8>) -> Result<usize, String> {
    let bad = || {
        let shown: String = rest.chars().take(2).collect();
        format!("'{}' is no escape", shown.escape_default())
    };
    let byte = *rest.as_bytes().get(1).ok_or_else(bad)?;
    let plain = match byte {
        b'a' => Some(7),
        b'b' => Some(8),
        b'f' => Some(12),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'v' => Some(11),
        b'"' | b'\'' | b'`' | b'?' | b'\\' => Some(byte),
        _ => None,
    };
    if let Some(plain) = plain {
        value.push(plain);
        return Ok(2);
    }
    let (from, digits, radix) = match byte {
        b'x' | b'X' => (2, 2, 16),
        b'0'..=b'3' => (1, 3, 8),
        b'u' if !is_bytes => (2, 4, 16),
        b'U' if !is_bytes => (2, 8, 16),
        _ => return Err(bad()),
    };
    let text = rest.get(from..from + digits).ok_or_else(bad)?;
    if !text.chars().all(|c| c.is_digit(radix)) {
        return Err(bad());
    }
    let number = u32::from_str_radix(text, radix).map_err(|_| bad())?;
    match u8::try_from(number) {
        Ok(byte) if is_bytes => value.push(byte),
        _ => {
            let character = char::from_u32(number).ok_or_else(bad)?;
            value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(from + digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Token> {
        let tokens = tokens(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        tokens.into_iter().map(|(_, token)| token).collect()
    }

    #[test]
    fn words_are_told_apart() {
        let name = |text: &str| Token::Name(text.into());
        let text = |value: &str| Token::Text(value.into());
        for (expression, expected) in [
            ("", vec![]),
            (" \t// all", vec![]),
            ("1", vec![Token::Int(1)]),
            ("007", vec![Token::Int(7)]),
            ("0x1F", vec![Token::Int(31)]),
            ("0xFFu", vec![Token::Uint(255)]),
            ("1U", vec![Token::Uint(1)]),
            ("18446744073709551616", vec![Token::TooLarge]),
            ("1.5", vec![Token::Double(1.5)]),
            (".5", vec![Token::Double(0.5)]),
            ("1e3", vec![Token::Double(1000.0)]),
            ("1e-3", vec![Token::Double(0.001)]),
            ("1e400", vec![Token::Double(f64::INFINITY)]),
            ("1.", vec![Token::Int(1), Token::Sign(".")]),
            ("1e", vec![Token::Int(1), name("e")]),
            ("0x", vec![Token::Int(0), name("x")]),
            ("1_0", vec![Token::Int(1), name("_0")]),
            ("a.b", vec![name("a"), Token::Sign("."), name("b")]),
            ("`a-b`", vec![Token::Quoted("a-b".into())]),
            ("\"a'\"", vec![text("a'")]),
            ("'a\"'", vec![text("a\"")]),
            ("\"\"\"a\"b\"\"\"", vec![text("a\"b")]),
            ("''", vec![text("")]),
            (r#""\u00e9\x41\101\n""#, vec![text("éAA\n")]),
            (r#"r"\n""#, vec![text(r"\n")]),
            (r#"b"\xff\303""#, vec![Token::Bytes(vec![0xff, 0o303])]),
            (r#"br"\x""#, vec![Token::Bytes(br"\x".to_vec())]),
            (
                "<=<==",
                vec![Token::Sign("<="), Token::Sign("<="), Token::Sign("=")],
            ),
        ] {
            if expression == "<=<==" {
                // A lone equals sign is nothing.
                assert!(tokens(expression).is_err());
                continue;
            }
            assert_eq!(words(expression), expected, "{expression}");
        }
    }

    #[test]
    fn mistakes_have_places() {
        for (text, error) in [
            ("1 = 1", "'=' has no meaning at 3"),
            ("1 & 1", "'&' has no meaning at 3"),
            ("é", r"'\u{e9}' has no meaning at 1"),
            ("\"a", "a text in quotes does not end at 1"),
            ("'a\"", "a text in quotes does not end at 1"),
            ("\"a\nb\"", "a text in quotes does not end at 1"),
            ("`a", "a name in backquotes does not end at 1"),
            (r#""\q""#, r"'\\q' is no escape at 1"),
            (r#""\0""#, r"'\\0' is no escape at 1"),
            (r#""\400""#, r"'\\4' is no escape at 1"),
            (r#""\x4""#, r"'\\x' is no escape at 1"),
            (r#""\x+4""#, r"'\\x' is no escape at 1"),
            (r#""\ud800""#, r"'\\u' is no escape at 1"),
            (r#"b"\u00e9""#, r"'\\u' is no escape at 1"),
            (r#""\"#, r"'\\' is no escape at 1"),
        ] {
            assert_eq!(tokens(text).unwrap_err(), error, "{text}");
        }
    }
}
