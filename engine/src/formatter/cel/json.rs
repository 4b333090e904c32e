//! Values in JSON, for `%TYPED_CEL(…)%`: as `google.protobuf.Value` has them. A
//! text has no types: there they are printed as `%CEL(…)%` does.

use super::time;
use super::value::Value;
use crate::formatter::escape;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::collections::BTreeMap;

impl Value<'_> {
    /// Appends the value as JSON, a text cut to `length_max` bytes. False if
    /// there is none: for null, types, and what has a type in it.
    pub fn write_json(&self, length_max: usize, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let written = match self {
            Value::Null => None,
            Value::Double(value) if !value.is_finite() => None,
            Value::Text(_) | Value::Bytes(_) | Value::Duration(_) | Value::Timestamp(_) => {
                self.string().map(|mut string| {
                    string.truncate(length_max);
                    write_string(&string, out);
                })
            }
            value => value.write_inner(out),
        };
        if written.is_none() {
            out.truncate(start);
        }
        written.is_some()
    }

    /// Appends the value within another one.
    fn write_inner(&self, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            // All numbers of a `Value` are floating-point ones.
            Value::Int(value) => write_number(*value as f64, out),
            Value::Uint(value) => write_number(*value as f64, out),
            Value::Double(value) => write_number(*value, out),
            Value::Text(_) | Value::Bytes(_) | Value::Duration(_) | Value::Timestamp(_) => {
                write_string(&self.string()?, out);
            }
            Value::List(values) => {
                out.push(b'[');
                for (place, value) in values.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    value.write_inner(out)?;
                }
                out.push(b']');
            }
            Value::Map(_) | Value::Struct(_) | Value::Object(_) => {
                let mut members = BTreeMap::new();
                for (key, value) in self.entries() {
                    let key = match key {
                        Value::Text(name) => name.into_owned(),
                        Value::Int(number) => number.to_string().into_bytes(),
                        Value::Uint(number) => number.to_string().into_bytes(),
                        _ => return None,
                    };
                    members.insert(key, value);
                }
                out.push(b'{');
                for (place, (key, value)) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    write_string(key, out);
                    out.push(b':');
                    value.write_inner(out)?;
                }
                out.push(b'}');
            }
            Value::Type(_) => return None,
        }
        Some(())
    }

    /// What is a string in JSON.
    fn string(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match self {
            Value::Text(text) => out.extend_from_slice(text),
            Value::Bytes(bytes) => out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes()),
            Value::Duration(nanos) => time::write_json_duration(*nanos, &mut out)?,
            Value::Timestamp(nanos) => time::write_json_timestamp(*nanos, &mut out)?,
            _ => return None,
        }
        Some(out)
    }
}

fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.extend_from_slice(text);
    escape::json(out, start);
    out.push(b'"');
}

/// The shorter one of the number with and without an exponent. Envoy writes
/// `inf`, too, which is no JSON.
fn write_number(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        out.extend_from_slice(b"null");
        return;
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    let scientific = format!("{digits}e{sign}{exponent:0>2}");
    // The digits of very large numbers are exact, not the fewest.
    let plain = match value.fract() == 0.0 {
        true => format!("{value:.0}"),
        false => format!("{value}"),
    };
    let shorter = if plain.len() <= scientific.len() {
        plain
    } else {
        scientific
    };
    out.extend_from_slice(shorter.as_bytes());
}

#[cfg(test)]
mod tests {
    use crate::formatter::cel::Expression;
    use crate::formatter::golden::forwarded;

    fn json(text: &str, length_max: usize) -> String {
        let expression = Expression::compile(text).expect("compiles");
        let (request, mut out) = (forwarded(), Vec::new());
        let value = expression.evaluate(&request.context());
        let written = value.is_some_and(|value| value.write_json(length_max, &mut out));
        assert!(written || out.is_empty(), "{text}");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    /// What Envoy 1.40 writes for `%TYPED_CEL(…)%`, and nothing where it
    /// writes null.
    #[test]
    fn values_are_envoys() {
        for (text, value) in [
            ("-5", "-5"),
            ("1.5", "1.5"),
            ("1000000.0", "1e+06"),
            ("123456789012345.6", "123456789012345.6"),
            ("9007199254740993", "9007199254740992"),
            ("18446744073709551615u", "18446744073709551616"),
            ("1e22", "1e+22"),
            ("0.0001", "1e-04"),
            ("-0.0", "-0"),
            ("0.0/0.0", ""),
            ("true", "true"),
            ("null", ""),
            ("'te\"xt'", r#""te\"xt""#),
            ("''", r#""""#),
            ("b'bytes'", r#""Ynl0ZXM=""#),
            (r"b'\xff'", r#""/w==""#),
            ("b''", r#""""#),
            ("[1,'a',null,[1.5]]", r#"[1,"a",null,[1.5]]"#),
            ("{'b': 1, 'a': {'c': true}}", r#"{"a":{"c":true},"b":1}"#),
            ("{1: 2, 2u: 4}", r#"{"1":2,"2":4}"#),
            ("{true: 1}", ""),
            ("[type(1)]", ""),
            ("duration('1.5s')", r#""1.500s""#),
            ("duration('-1.123456789s')", r#""-1.123456789s""#),
            ("duration('1h')", r#""3600s""#),
            ("[duration('0')]", r#"["0s"]"#),
            (
                "timestamp('2020-01-01T00:00:00.5Z')",
                r#""2020-01-01T00:00:00.500Z""#,
            ),
            (
                "timestamp('0001-01-01T00:00:00Z')",
                r#""0001-01-01T00:00:00Z""#,
            ),
            ("timestamp(-62135596801)", ""),
            ("timestamp(253402300800)", ""),
            ("response.code", "200"),
            ("request.nope", ""),
        ] {
            assert_eq!(json(text, usize::MAX), value, "{text}");
        }
        for (text, value) in [
            ("'abcdef'", r#""abc""#),
            ("b'bytes'", r#""Ynl""#),
            ("duration('1h')", r#""360""#),
            ("123456", "123456"),
            ("['abcdef']", r#"["abcdef"]"#),
        ] {
            assert_eq!(json(text, 3), value, "{text}");
        }
    }
}
