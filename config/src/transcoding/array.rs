//! The values of a JSON array that arrives in parts: each is given out as soon
//! as it is complete. Whether it is JSON is found out when it is read.

use super::Untranslatable;

/// Cuts one array.
#[derive(Debug, Default)]
pub struct ArrayReader {
    place: Place,
    /// Objects and arrays within the value that are open.
    depth: usize,
    text: Text,
    value: Vec<u8>,
}

/// Where it is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing has come.
    #[default]
    Before,
    /// A value or the end is next.
    First,
    Value,
    /// A comma or the end is next.
    Between,
    Behind,
}

/// Whether a text is open within a value.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Text {
    #[default]
    None,
    Open,
    /// Behind a backslash.
    Escaped,
}

impl ArrayReader {
    /// Takes bytes off `input` up to the end of the next value; `None` when more
    /// must come.
    ///
    /// # Errors
    /// It is no array.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, Untranslatable> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            if self.take(*byte)? {
                return Ok(Some(std::mem::take(&mut self.value)));
            }
        }
        Ok(None)
    }

    /// The end of the body has come.
    ///
    /// # Errors
    /// It is not that of an array.
    pub fn end(&self) -> Result<(), Untranslatable> {
        match self.place {
            Place::Behind => Ok(()),
            Place::Before => Err(no_array()),
            Place::First | Place::Value | Place::Between => {
                Err(Untranslatable("the array has no end".into()))
            }
        }
    }

    /// Bytes of a value that is not complete.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.value.len()
    }

    /// Says whether a value is complete.
    fn take(&mut self, byte: u8) -> Result<bool, Untranslatable> {
        if self.place == Place::Value {
            return Ok(self.take_of_value(byte));
        }
        if is_space(byte) {
            return Ok(false);
        }
        self.place = match (self.place, byte) {
            (Place::Before, b'[') => Place::First,
            (Place::Before, _) => return Err(no_array()),
            (Place::First | Place::Between, b']') => Place::Behind,
            (Place::Between, b',') => Place::Value,
            (Place::First, byte) => {
                self.place = Place::Value;
                return Ok(self.take_of_value(byte));
            }
            (Place::Between | Place::Value | Place::Behind, byte) => {
                let found = char::from(byte).escape_default();
                return Err(Untranslatable(format!("unexpected {found} behind a value")));
            }
        };
        Ok(false)
    }

    fn take_of_value(&mut self, byte: u8) -> bool {
        let is_outside = self.text == Text::None && self.depth == 0;
        if is_outside && matches!(byte, b',' | b']') {
            // What is no object ends here; where nothing is, it is no JSON.
            self.place = match byte {
                b',' => Place::Value,
                _ => Place::Behind,
            };
            return true;
        }
        if self.value.is_empty() && is_space(byte) {
            return false;
        }
        self.value.push(byte);
        self.text = match (self.text, byte) {
            (Text::None, b'"') | (Text::Escaped, _) => Text::Open,
            (Text::Open, b'\\') => Text::Escaped,
            (Text::Open, b'"') => Text::None,
            (text, _) => text,
        };
        if self.text != Text::None {
            return false;
        }
        match byte {
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.place = Place::Between;
                    return true;
                }
            }
            _ => {}
        }
        false
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn no_array() -> Untranslatable {
    Untranslatable("Expected an array instead of an object".into())
}

#[cfg(test)]
mod tests {
    use super::ArrayReader;

    /// The values of an array that comes in pieces of this size, and whether it
    /// has come to its end.
    fn read(text: &str, size: usize) -> (Vec<String>, bool) {
        let mut reader = ArrayReader::default();
        let mut values = Vec::new();
        for mut piece in text.as_bytes().chunks(size) {
            loop {
                match reader.next(&mut piece) {
                    Ok(Some(value)) => values.push(String::from_utf8(value).expect("text")),
                    Ok(None) => break,
                    Err(_) => return (values, false),
                }
            }
        }
        assert!(reader.end().is_err() || reader.kept() == 0);
        (values, reader.end().is_ok())
    }

    #[test]
    fn values_are_cut_however_they_arrive() {
        let table: &[(&str, &[&str], bool)] = &[
            ("", &[], false),
            (" [ ] ", &[], true),
            ("[{}]", &["{}"], true),
            (
                r#"[{"a":"}],"},{"b":[{}]}]"#,
                &[r#"{"a":"}],"}"#, r#"{"b":[{}]}"#],
                true,
            ),
            (
                r#"[ {"a":"\"]\\"} , {} ] "#,
                &[r#"{"a":"\"]\\"}"#, "{}"],
                true,
            ),
            ("[1, \"a,b\" ,null]", &["1", "\"a,b\" ", "null"], true),
            ("[{}", &["{}"], false),
            ("[{}]x", &["{}"], false),
            ("[{}{}]", &["{}"], false),
            ("[{},]", &["{}", ""], true),
            ("[,{}]", &["", "{}"], true),
            ("[}]", &["}"], true),
            ("{}", &[], false),
            ("[\u{c}{}]", &["\u{c}{}"], true),
            ("x", &[], false),
        ];
        for (text, values, is_whole) in table {
            crate::fuzz::json_array(text.as_bytes());
            for size in 1..=text.len().max(1) {
                let (read, ended) = read(text, size);
                assert_eq!((read, ended), (owned(values), *is_whole), "{text}");
            }
        }
    }

    fn owned(values: &[&str]) -> Vec<String> {
        values.iter().map(|text| (*text).to_owned()).collect()
    }
}
