//! JSON text (RFC 8259) to the document tree.
//!
//! A reader of its own, because the YAML parser is no faithful one: it does
//! not join `\u` surrogates, and takes comments and unquoted strings. Repeated
//! keys are an error, as in YAML.

use crate::diagnostics::{Diagnostic, Diagnostics, Position, Severity};
use crate::tree::{DEPTH_MAX, Entry, Node, Scalar, Value};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Reads one document. Repeated keys are reported and reading goes on; what
/// breaks the syntax is reported and ends it with `None`.
pub(crate) fn parse(text: &str, file: &Arc<str>, found: &mut Diagnostics) -> Option<Rc<Node>> {
    let mut reader = Reader {
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        position: Position { line: 1, column: 1 },
        open: Vec::new(),
        file,
        found,
    };
    let read = reader.node(0).and_then(|root| {
        reader.skip_space();
        match reader.peek() {
            None => Ok(root),
            Some(_) => Err(reader.broken("nothing may follow the document")),
        }
    });
    match read {
        Ok(root) => Some(root),
        Err(Broken(position, reason)) => {
            reader.report(position, reason);
            None
        }
    }
}

/// Why reading cannot go on, and where.
struct Broken(Position, String);

type Read<T> = Result<T, Broken>;

struct Reader<'a> {
    rest: &'a str,
    position: Position,
    /// The brackets that are open, and where they are.
    open: Vec<(char, Position)>,
    file: &'a Arc<str>,
    found: &'a mut Diagnostics,
}

impl<'a> Reader<'a> {
    fn node(&mut self, depth: usize) -> Read<Rc<Node>> {
        if depth > DEPTH_MAX {
            return Err(self.broken(&format!("nested more than {DEPTH_MAX} levels deep")));
        }
        self.skip_space();
        let position = self.position;
        let (value, size) = match self.peek() {
            Some('{') => self.object(depth)?,
            Some('[') => self.array(depth)?,
            Some('"') => (Value::Scalar(Scalar::Text(self.string()?)), 1),
            Some(c) if c == '-' || c.is_ascii_digit() => (Value::Scalar(self.number()?), 1),
            Some(c) if c.is_ascii_alphabetic() => (Value::Scalar(self.word()?), 1),
            Some(_) | None => return Err(self.unexpected("a value")),
        };
        Ok(Rc::new(Node {
            value,
            position,
            size,
        }))
    }

    fn object(&mut self, depth: usize) -> Read<(Value, u64)> {
        self.open('{')?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut places: HashMap<String, (Position, usize)> = HashMap::new();
        let mut size = 1;
        if self.take('}') {
            self.open.pop();
            return Ok((Value::Mapping(entries), size));
        }
        loop {
            self.skip_space();
            let key_position = self.position;
            let key = self.string()?;
            self.expect(':')?;
            let node = self.node(depth + 1)?;
            size += node.size;
            let entry = Entry {
                key: key.clone(),
                key_position,
                node,
            };
            if let Some((first, place)) = places.get(&key) {
                let reason = format!("the key {key:?} is already given at {first}");
                entries[*place] = entry;
                self.report(key_position, reason);
            } else {
                places.insert(key, (key_position, entries.len()));
                entries.push(entry);
            }
            if !self.take(',') {
                self.close('}')?;
                return Ok((Value::Mapping(entries), size));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Read<(Value, u64)> {
        self.open('[')?;
        let mut items = Vec::new();
        let mut size = 1;
        if self.take(']') {
            self.open.pop();
            return Ok((Value::Sequence(items), size));
        }
        loop {
            let node = self.node(depth + 1)?;
            size += node.size;
            items.push(node);
            if !self.take(',') {
                self.close(']')?;
                return Ok((Value::Sequence(items), size));
            }
        }
    }

    fn string(&mut self) -> Read<String> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                Some(c) if c >= ' ' => text.push(c),
                Some(_) => return Err(self.broken("a control character in a string")),
                None => return Err(self.broken(&self.within("the string has no end".into()))),
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        Ok(match self.next() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.unicode(),
            _ => return Err(self.broken("unknown escape in a string")),
        })
    }

    /// The character behind `\u`, which may take a second `\u` to complete.
    fn unicode(&mut self) -> Read<char> {
        let first = self.four_hex_digits()?;
        let code = if (0xd800..0xdc00).contains(&first) {
            let second = match (self.next(), self.next()) {
                (Some('\\'), Some('u')) => self.four_hex_digits()?,
                _ => 0,
            };
            if !(0xdc00..0xe000).contains(&second) {
                return Err(self.broken("half of a surrogate pair in a string"));
            }
            0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| self.broken("half of a surrogate pair in a string"))
    }

    fn four_hex_digits(&mut self) -> Read<u32> {
        (0..4).try_fold(0, |code, _| {
            let digit = self.next().and_then(|c| c.to_digit(16));
            match digit {
                Some(digit) => Ok(code << 4 | digit),
                None => Err(self.broken("\\u needs four hexadecimal digits")),
            }
        })
    }

    fn number(&mut self) -> Read<Scalar> {
        let text = self.take_while(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        if !is_number(text) {
            return Err(self.broken(&format!("{text:?} is not a number")));
        }
        Ok(Scalar::Number {
            text: text.to_owned(),
            written: text.to_owned(),
        })
    }

    fn word(&mut self) -> Read<Scalar> {
        match self.take_while(|c| c.is_ascii_alphanumeric()) {
            "null" => Ok(Scalar::Null),
            word @ "true" => Ok(Scalar::Bool(true, word.to_owned())),
            word @ "false" => Ok(Scalar::Bool(false, word.to_owned())),
            word => Err(self.broken(&format!("{word:?} is not a value; strings need quotes"))),
        }
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        // Only used for ASCII, so bytes are columns.
        self.position.column += u32::try_from(end).unwrap_or(u32::MAX);
        taken
    }

    fn skip_space(&mut self) {
        while let Some(' ' | '\t' | '\r' | '\n') = self.peek() {
            self.next();
        }
    }

    /// Takes `c` if it is the next character after white space.
    fn take(&mut self, c: char) -> bool {
        self.skip_space();
        let is_next = self.peek() == Some(c);
        if is_next {
            self.next();
        }
        is_next
    }

    fn expect(&mut self, c: char) -> Read<()> {
        if self.take(c) {
            return Ok(());
        }
        Err(self.unexpected(&format!("{c:?}")))
    }

    fn open(&mut self, bracket: char) -> Read<()> {
        self.skip_space();
        let position = self.position;
        self.expect(bracket)?;
        self.open.push((bracket, position));
        Ok(())
    }

    fn close(&mut self, bracket: char) -> Read<()> {
        self.expect(bracket)?;
        self.open.pop();
        Ok(())
    }

    fn unexpected(&self, wanted: &str) -> Broken {
        let got = match self.peek() {
            Some(other) => format!("{other:?}"),
            None => "the end of the document".to_owned(),
        };
        self.broken(&self.within(format!("expected {wanted}, got {got}")))
    }

    /// The reason with the innermost bracket that is open: the mistake may be
    /// that it is.
    fn within(&self, reason: String) -> String {
        match self.open.last() {
            Some((bracket, at)) => format!("{reason}; the {bracket:?} at {at} is still open"),
            None => reason,
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        if c == '\n' {
            self.position.line += 1;
            self.position.column = 1;
        } else {
            self.position.column += 1;
        }
        Some(c)
    }

    fn broken(&self, reason: &str) -> Broken {
        Broken(self.position, reason.to_owned())
    }

    fn report(&mut self, position: Position, reason: String) {
        self.found.push(Diagnostic {
            severity: Severity::Error,
            file: Some(self.file.clone()),
            position: Some(position),
            path: String::new(),
            reason,
        });
    }
}

/// RFC 8259, section 6.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Rc<Node>>, String) {
        let mut found = Diagnostics::new();
        let tree = parse(text, &"f".into(), &mut found);
        (tree, found.to_string())
    }

    #[test]
    fn scalars() {
        let text = |text: &str| Scalar::Text(text.into());
        let number = |text: &str| Scalar::Number {
            text: text.into(),
            written: text.into(),
        };
        for (written, scalar) in [
            (" null ", Scalar::Null),
            ("true", Scalar::Bool(true, "true".into())),
            ("-0", number("-0")),
            ("1.5e+3", number("1.5e+3")),
            (r#""a\"\\\/\b\f\n\r\t""#, text("a\"\\/\u{8}\u{c}\n\r\t")),
            (r#""\u00e9\ud83d\ude00é""#, text("é😀é")),
        ] {
            let (tree, found) = read(written);
            assert_eq!(found, "", "{written}");
            let tree = tree.expect("no errors, so a tree");
            assert!(
                matches!(&tree.value, Value::Scalar(s) if *s == scalar),
                "{written}: {tree:?}"
            );
        }
    }

    #[test]
    fn every_node_knows_its_place() {
        let (tree, found) = read("{\"é\": [1,\n  true], \"b\" :{ } }");
        assert_eq!(found, "");
        let tree = tree.expect("no errors, so a tree");
        let list = tree.get("é").expect("it is there");
        assert_eq!(list.key_position.to_string(), "1:2");
        assert_eq!(list.node.position.to_string(), "1:7");
        let Value::Sequence(items) = &list.node.value else {
            panic!("a list was written");
        };
        assert_eq!(items[1].position.to_string(), "2:3");
        assert_eq!(
            tree.get("b").expect("there").node.position.to_string(),
            "2:15"
        );
    }

    #[test]
    fn what_is_refused_says_where() {
        for (text, reason) in [
            ("", "f:1:1: expected a value, got the end of the document"),
            (
                "{",
                "f:1:2: expected '\"', got the end of the document; the '{' at 1:1 is still open",
            ),
            (
                "{\"a\":1,}",
                "f:1:8: expected '\"', got '}'; the '{' at 1:1 is still open",
            ),
            (
                "[1,]",
                "f:1:4: expected a value, got ']'; the '[' at 1:1 is still open",
            ),
            (
                "[1 2]",
                "f:1:4: expected ']', got '2'; the '[' at 1:1 is still open",
            ),
            (
                "{a: 1}",
                "f:1:2: expected '\"', got 'a'; the '{' at 1:1 is still open",
            ),
            (
                "{\"a\": [1],\n \"b\": [{}, {\"c\": [2}]}",
                "f:2:20: expected ']', got '}'; the '[' at 2:18 is still open",
            ),
            (
                "{\"a\": [1],\n \"b\": [{}, {\"c\": [2]]}",
                "f:2:21: expected '}', got ']'; the '{' at 2:12 is still open",
            ),
            (
                "[{\"a\": \"b]}",
                "f:1:12: the string has no end; the '{' at 1:2 is still open",
            ),
            ("yes", "f:1:4: \"yes\" is not a value; strings need quotes"),
            ("01", "f:1:3: \"01\" is not a number"),
            ("1.", "f:1:3: \"1.\" is not a number"),
            ("0x10", "f:1:5: \"0x10\" is not a number"),
            ("{} {}", "f:1:4: nothing may follow the document"),
            ("\"a", "f:1:3: the string has no end"),
            ("\"a\nb\"", "f:2:1: a control character in a string"),
            (r#""\x""#, "f:1:4: unknown escape in a string"),
            (r#""\ud800""#, "f:1:9: half of a surrogate pair in a string"),
            (r#""\udc00""#, "f:1:8: half of a surrogate pair in a string"),
            (r#""\u00g0""#, "f:1:7: \\u needs four hexadecimal digits"),
            ("// x\n{}", "f:1:1: expected a value, got '/'"),
        ] {
            let (tree, found) = read(text);
            assert!(tree.is_none(), "{text}");
            assert_eq!(found, reason, "{text}");
        }
        let (tree, found) = read("{\"a\": 1, \"a\": 2}");
        assert!(tree.is_some());
        assert_eq!(found, "f:1:10: the key \"a\" is already given at 1:2");
    }

    #[test]
    fn deep_nesting_is_refused() {
        for open in ["[", "{\"a\":"] {
            let (tree, found) = read(&open.repeat(100_000));
            assert!(tree.is_none());
            assert!(
                found.ends_with("nested more than 100 levels deep"),
                "{found}"
            );
        }
    }
}
