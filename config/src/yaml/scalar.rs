//! What an unquoted YAML scalar means.
//!
//! Envoy guesses without looking at the schema, in this order: null, a YAML
//! 1.1 boolean, an integer, text. Floating-point numbers stay text, and so do
//! integers beyond 32 bits (in decimal), because the protobuf side reads
//! numbers from text as well.

use crate::tree::Scalar;

/// The meaning of an unquoted scalar.
pub(super) fn resolve(text: &str) -> Scalar {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Scalar::Null;
    }
    if let Some(value) = boolean(text) {
        return Scalar::Bool(value, text.to_owned());
    }
    match integer(text) {
        Some(value) if i32::try_from(value).is_ok() => Scalar::Number {
            text: value.to_string(),
            written: text.to_owned(),
        },
        Some(value) => Scalar::Text(value.to_string()),
        None => Scalar::Text(text.to_owned()),
    }
}

/// A YAML 1.1 boolean: in lower case, in capitals, or capitalised.
fn boolean(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    let value = match lower.as_str() {
        "y" | "yes" | "true" | "on" => true,
        "n" | "no" | "false" | "off" => false,
        _ => return None,
    };
    let rest_is_lower = text[1..] == lower[1..];
    let all_is_upper = !text.bytes().any(|b| b.is_ascii_lowercase());
    (rest_is_lower || all_is_upper).then_some(value)
}

/// An integer as C++ streams read one: an optional sign, then hexadecimal
/// after `0x`, octal after `0`, or decimal.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = if let Some(hex) = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        (16, hex)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    };
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_envoy_reads() {
        let number = |text: &str, written: &str| Scalar::Number {
            text: text.into(),
            written: written.into(),
        };
        let boolean = |value, text: &str| Scalar::Bool(value, text.into());
        let text = |text: &str| Scalar::Text(text.into());
        for (written, meaning) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("Null", Scalar::Null),
            ("nULL", text("nULL")),
            ("y", boolean(true, "y")),
            ("Off", boolean(false, "Off")),
            ("TRUE", boolean(true, "TRUE")),
            ("tRue", text("tRue")),
            ("yEs", text("yEs")),
            ("0", number("0", "0")),
            ("-5", number("-5", "-5")),
            ("+5", number("5", "+5")),
            ("0x10", number("16", "0x10")),
            ("-0x10", number("-16", "-0x10")),
            ("010", number("8", "010")),
            ("08", text("08")),
            ("0x", text("0x")),
            ("--5", text("--5")),
            ("1e3", text("1e3")),
            ("1.5", text("1.5")),
            ("1_000", text("1_000")),
            ("-", text("-")),
            ("2147483647", number("2147483647", "2147483647")),
            ("2147483648", text("2147483648")),
            ("0x100000000", text("4294967296")),
            ("18446744073709551615", text("18446744073709551615")),
            ("1s", text("1s")),
            ("ünïcode", text("ünïcode")),
            ("é", text("é")),
        ] {
            assert_eq!(resolve(written), meaning, "{written}");
        }
    }
}
