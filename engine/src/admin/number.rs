//! Numbers as Envoy's admin writes them: like C's `%g`, and shortest.

/// `%.<precision>g`: that many significant digits, without trailing zeros.
pub(super) fn general(value: f64, precision: usize) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value == 0.0 || value.is_infinite() {
        return format!("{value}");
    }
    let scientific = format!("{value:.*e}", precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= precision as i32 {
        return with_exponent(without_trailing_zeros(mantissa), exponent);
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    without_trailing_zeros(&format!("{value:.decimals$}")).to_owned()
}

/// The shortest text that reads back as the same number: with an exponent only
/// where that is shorter. NaN is JSON's `null`.
pub(super) fn shortest_json(value: f64) -> String {
    if !value.is_finite() {
        return "null".to_owned();
    }
    let plain = format!("{value}");
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let scientific = with_exponent(mantissa, exponent.parse().unwrap_or(0));
    if scientific.len() < plain.len() {
        scientific
    } else {
        plain
    }
}

/// The shortest text that reads back as the same number, `nan` for none.
pub(super) fn shortest_text(value: f64) -> String {
    if value.is_nan() {
        "nan".to_owned()
    } else {
        format!("{value}")
    }
}

fn with_exponent(mantissa: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

fn without_trailing_zeros(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general_is_as_in_c() {
        for (value, precision, expected) in [
            (0.5, 6, "0.5"),
            (1.0, 6, "1"),
            (0.0, 32, "0"),
            (300_000.0, 6, "300000"),
            (1_800_000.0, 6, "1.8e+06"),
            (3_600_000.0, 32, "3600000"),
            (0.000_01, 6, "1e-05"),
            (
                16.484_848_484_848_484,
                32,
                "16.484848484848484417852887418121",
            ),
            (
                2.095_238_095_238_095_3,
                32,
                "2.0952380952380953438307642500149",
            ),
            (f64::NAN, 32, "nan"),
        ] {
            assert_eq!(general(value, precision), expected);
        }
    }

    #[test]
    fn shortest_uses_an_exponent_where_it_is_shorter() {
        for (value, expected) in [
            (0.5, "0.5"),
            (60_000.0, "60000"),
            (300_000.0, "3e+05"),
            (1_800_000.0, "1800000"),
            (1.033_333_333_333_333_4, "1.0333333333333334"),
            (0.0, "0"),
            (f64::NAN, "null"),
        ] {
            assert_eq!(shortest_json(value), expected);
        }
        assert_eq!(shortest_text(f64::NAN), "nan");
        assert_eq!(shortest_text(6.05), "6.05");
    }
}
