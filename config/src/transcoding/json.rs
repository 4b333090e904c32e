//! How protobuf's own library writes JSON.

use std::io::{self, Write};

use serde_json::ser::{CharEscape, Formatter, PrettyFormatter};

/// One line, or lines that are indented by a space.
pub(super) struct ProtobufFormatter {
    pretty: Option<PrettyFormatter<'static>>,
}

impl ProtobufFormatter {
    pub fn new(whitespace: bool) -> Self {
        Self {
            pretty: whitespace.then(|| PrettyFormatter::with_indent(b" ")),
        }
    }
}

/// Calls the formatter with lines, or writes what stands for it on one.
macro_rules! layout {
    ($($name:ident($($argument:ident: $type:ty),*) $plain:expr;)*) => {
        $(fn $name<W: ?Sized + Write>(&mut self, writer: &mut W $(, $argument: $type)*) -> io::Result<()> {
            match &mut self.pretty {
                Some(pretty) => pretty.$name(writer $(, $argument)*),
                None => writer.write_all($plain),
            }
        })*
    };
}

impl Formatter for ProtobufFormatter {
    layout! {
        begin_array() b"[";
        end_array() b"]";
        begin_array_value(first: bool) if first { b"" } else { b"," };
        end_array_value() b"";
        begin_object() b"{";
        end_object() b"}";
        begin_object_key(first: bool) if first { b"" } else { b"," };
        begin_object_value() b":";
        end_object_value() b"";
    }

    fn write_f32<W: ?Sized + Write>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        let digits = format!("{value:e}");
        write_number(writer, &digits, &value.to_string(), (6, 9))
    }

    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let digits = format!("{value:e}");
        write_number(writer, &digits, &value.to_string(), (15, 17))
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match escape {
            CharEscape::Quote => writer.write_all(b"\\\""),
            CharEscape::ReverseSolidus => writer.write_all(b"\\\\"),
            CharEscape::Solidus => writer.write_all(b"/"),
            CharEscape::Backspace => writer.write_all(b"\\b"),
            CharEscape::FormFeed => writer.write_all(b"\\f"),
            CharEscape::LineFeed => writer.write_all(b"\\n"),
            CharEscape::CarriageReturn => writer.write_all(b"\\r"),
            CharEscape::Tab => writer.write_all(b"\\t"),
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04x}"),
        }
    }

    /// What could end a script that it stands in is escaped, too.
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        let is_escaped = |c: char| {
            matches!(
                c,
                '<' | '>' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{2028}' | '\u{2029}'
            )
        };
        while let Some(at) = rest.find(is_escaped) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut behind = rest[at..].chars();
            if let Some(escaped) = behind.next() {
                write!(writer, "\\u{:04x}", u32::from(escaped))?;
            }
            rest = behind.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// As `%g` writes a number: with an exponent where it has more digits in front of
/// the point than the precision, or far behind it. The first precision is for
/// numbers that need no more digits.
fn write_number<W: ?Sized + Write>(
    writer: &mut W,
    scientific: &str,
    plain: &str,
    (few, many): (i32, i32),
) -> io::Result<()> {
    let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let significant = digits.bytes().filter(u8::is_ascii_digit).count() as i32;
    let precision = if significant > few { many } else { few };
    if (-4..precision).contains(&exponent) {
        return writer.write_all(plain.as_bytes());
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(writer, "{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::ProtobufFormatter;
    use serde::Serialize;
    use serde_json::Serializer;

    fn written(value: impl Serialize) -> String {
        let mut out = Vec::new();
        let formatter = ProtobufFormatter::new(false);
        let mut serializer = Serializer::with_formatter(&mut out, formatter);
        value.serialize(&mut serializer).expect("it is written");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn numbers_are_as_protobuf_writes_them() {
        for (value, expected) in [
            (1.0, "1"),
            (1.5, "1.5"),
            (-0.0001, "-0.0001"),
            (0.00001, "1e-05"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (1_234_567_890_123_456.0, "1234567890123456"),
            (1e30, "1e+30"),
        ] {
            assert_eq!(written(value), expected);
        }
        for (value, expected) in [(16_777_216_f32, "16777216"), (1e8, "1e+08"), (0.1, "0.1")] {
            assert_eq!(written(value), expected);
        }
    }

    #[test]
    fn what_scripts_could_take_for_theirs_is_escaped() {
        assert_eq!(
            written("<a>\u{2028}é\"\u{1}/"),
            r#""\u003ca\u003e\u2028é\"\u0001/""#
        );
    }
}
