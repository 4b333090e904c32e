//! Lengths of time on the command line: `500ms`, `5s`, `2m`, or plain seconds.

use std::time::Duration;

/// Reads a length of time.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        unit => return Err(format!("unknown unit '{unit}' (use ms, s or m)")),
    };
    let number: f64 = digits
        .parse()
        .map_err(|_| format!("'{digits}' is not a number"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (text, ms) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("2", 2_000),
            ("1.5s", 1_500),
            ("2m", 120_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "5h", "-1s", "1e400s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
