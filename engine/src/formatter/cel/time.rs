//! Points in time and durations of CEL: read from literals, taken apart, and
//! written as Envoy's access log writes them.

use std::io::Write as _;

/// The longest duration that `duration()` makes, in seconds: 10,000 years.
const DURATION_MAX_S: i128 = 315_576_000_000;

const NANOS: i128 = 1_000_000_000;

/// A calendar's fields in UTC or at an offset from it.
pub(super) struct Civil {
    pub year: i64,
    /// 0 to 11.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 365.
    pub day_of_year: i64,
    /// 0 is Sunday.
    pub weekday: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
}

impl Civil {
    /// Takes `seconds` since 1970 apart, which may be negative.
    pub fn from_unix(seconds: i64) -> Civil {
        let days = seconds.div_euclid(86_400);
        let in_day = seconds.rem_euclid(86_400);
        // Years that begin in March end with the leap day.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_march_year =
            day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_march_year + 2) / 153;
        let month = (march_month + 2) % 12;
        let year = era * 400 + year_of_era + i64::from(month < 2);
        Civil {
            year,
            month,
            day: day_of_march_year - (153 * march_month + 2) / 5 + 1,
            day_of_year: days - days_to(year, 1, 1),
            weekday: (days + 4).rem_euclid(7),
            hour: in_day / 3_600,
            minute: in_day / 60 % 60,
            second: in_day % 60,
        }
    }
}

/// Days from 1970 to a date; months count from one.
fn days_to(year: i64, month: i64, day: i64) -> i64 {
    let march_year = year - i64::from(month <= 2);
    let era = march_year.div_euclid(400);
    let year_of_era = march_year.rem_euclid(400);
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Nanoseconds since 1970 of a time in RFC 3339's form.
pub(super) fn parse_timestamp(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let digits = |from: usize, count: usize| -> Option<i64> {
        let part = text.get(from..from + count)?;
        (part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let separated = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !separated
        .iter()
        .all(|(at, sign)| bytes.get(*at) == Some(sign))
    {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    let days = days_to(year, month, day);
    let date = Civil::from_unix(days * 86_400);
    let is_date = (date.year, date.month + 1, date.day) == (year, month, day);
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = &text[19..];
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 || count > 9 {
            return None;
        }
        nanos = fraction[..count].parse::<i128>().ok()? * 10_i128.pow(9 - count as u32);
        rest = &fraction[count..];
    }
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - parse_offset(rest)?;
    Some(i128::from(seconds) * NANOS + nanos)
}

/// The seconds that `Z`, `UTC` or `+02:00` is ahead of UTC.
pub(super) fn parse_offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "UTC") {
        return Some(0);
    }
    let (sign, clock) = match text.strip_prefix('-') {
        Some(clock) => (-1, clock),
        None => (1, text.strip_prefix('+')?),
    };
    let (hours, minutes) = clock.split_once(':')?;
    if [hours, minutes]
        .iter()
        .any(|part| part.len() != 2 || !part.bytes().all(|b| b.is_ascii_digit()))
    {
        return None;
    }
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Nanoseconds of `1h30m`, `-1.5s`, `250ms`; only whole ones.
pub(super) fn parse_duration(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0;
    loop {
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let mut value = match whole {
            0 => 0,
            _ => rest[..whole].parse::<i64>().ok()?.into(),
        };
        let mut scale = 1;
        let mut digits = whole;
        rest = &rest[whole..];
        if let Some(fraction) = rest.strip_prefix('.') {
            let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
            // More digits than these are no whole nanoseconds of an hour.
            if count > 12 {
                return None;
            }
            for digit in fraction[..count].bytes() {
                value = value * 10 + i128::from(digit - b'0');
                scale *= 10;
            }
            digits += count;
            rest = &fraction[count..];
        }
        if digits == 0 {
            return None;
        }
        let (unit, length) = [
            ("h", 3_600 * NANOS),
            ("ms", 1_000_000),
            ("m", 60 * NANOS),
            ("s", NANOS),
            ("us", 1_000),
            ("ns", 1),
        ]
        .into_iter()
        .find(|(unit, _)| rest.starts_with(unit))
        .map(|(unit, nanos)| (nanos, unit.len()))?;
        if value * unit % scale != 0 {
            return None;
        }
        total += value * unit / scale;
        rest = &rest[length..];
        if rest.is_empty() {
            break;
        }
    }
    (total.abs() <= DURATION_MAX_S * NANOS).then_some(sign * total)
}

/// Whole seconds of a time, rounded down.
pub(super) fn unix_seconds(nanos: i128) -> Option<i64> {
    i64::try_from(nanos.div_euclid(NANOS)).ok()
}

/// Appends `2020-01-01T00:00:00.5+00:00`.
pub(super) fn write_timestamp(nanos: i128, out: &mut Vec<u8>) {
    let Some(seconds) = unix_seconds(nanos) else {
        let text: &[u8] = if nanos < 0 {
            b"infinite-past"
        } else {
            b"infinite-future"
        };
        out.extend_from_slice(text);
        return;
    };
    let civil = Civil::from_unix(seconds);
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "{}-{:02}-{:02}T{:02}:{:02}:{:02}",
        civil.year,
        civil.month + 1,
        civil.day,
        civil.hour,
        civil.minute,
        civil.second
    );
    write_fraction(nanos.rem_euclid(NANOS), 9, out);
    out.extend_from_slice(b"+00:00");
}

/// Appends `1h30m5.25s`; less than a second is in one smaller unit.
pub(super) fn write_duration(nanos: i128, out: &mut Vec<u8>) {
    if nanos == 0 {
        out.push(b'0');
        return;
    }
    if nanos < 0 {
        out.push(b'-');
    }
    let nanos = nanos.abs();
    // Writing to a vector cannot fail.
    if nanos < NANOS {
        let (unit, digits, name) = match nanos {
            1_000_000.. => (1_000_000, 6, "ms"),
            1_000.. => (1_000, 3, "us"),
            _ => (1, 0, "ns"),
        };
        let _ = write!(out, "{}", nanos / unit);
        write_fraction(nanos % unit, digits, out);
        out.extend_from_slice(name.as_bytes());
        return;
    }
    let (seconds, fraction) = (nanos / NANOS, nanos % NANOS);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        let _ = write!(out, "{hours}h");
    }
    if minutes > 0 {
        let _ = write!(out, "{minutes}m");
    }
    if seconds > 0 || fraction > 0 {
        let _ = write!(out, "{seconds}");
        write_fraction(fraction, 9, out);
        out.push(b's');
    }
}

/// Appends `2020-01-01T00:00:00.500Z`; nothing for years that have no four
/// digits.
pub(super) fn write_json_timestamp(nanos: i128, out: &mut Vec<u8>) -> Option<()> {
    let civil = Civil::from_unix(unix_seconds(nanos)?);
    if !(1..=9999).contains(&civil.year) {
        return None;
    }
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        civil.year,
        civil.month + 1,
        civil.day,
        civil.hour,
        civil.minute,
        civil.second
    );
    write_thousandths(nanos.rem_euclid(NANOS), out);
    out.push(b'Z');
    Some(())
}

/// Appends `1.500s`; nothing for what is longer than a duration may be.
pub(super) fn write_json_duration(nanos: i128, out: &mut Vec<u8>) -> Option<()> {
    if nanos.abs() > DURATION_MAX_S * NANOS {
        return None;
    }
    let sign = if nanos < 0 { "-" } else { "" };
    // Writing to a vector cannot fail.
    let _ = write!(out, "{sign}{}", nanos.abs() / NANOS);
    write_thousandths(nanos.abs() % NANOS, out);
    out.push(b's');
    Some(())
}

/// Appends a fraction of a second with three, six or nine digits.
fn write_thousandths(nanos: i128, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = match nanos {
        0 => Ok(()),
        _ if nanos % 1_000_000 == 0 => write!(out, ".{:03}", nanos / 1_000_000),
        _ if nanos % 1_000 == 0 => write!(out, ".{:06}", nanos / 1_000),
        _ => write!(out, ".{nanos:09}"),
    };
}

/// Appends a dot and `value` as so many digits, without zeros at the end.
fn write_fraction(value: i128, digits: usize, out: &mut Vec<u8>) {
    if value == 0 {
        return;
    }
    // Writing to a vector cannot fail.
    let _ = write!(out, ".{value:0digits$}");
    while out.last() == Some(&b'0') {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(write: fn(i128, &mut Vec<u8>), nanos: i128) -> String {
        let mut out = Vec::new();
        write(nanos, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// What Envoy 1.40 makes of the same literals.
    #[test]
    fn times_are_envoys() {
        for (text, time) in [
            ("2020-03-04T05:06:07Z", "2020-03-04T05:06:07+00:00"),
            (
                "2020-03-04T05:06:07.89+02:00",
                "2020-03-04T03:06:07.89+00:00",
            ),
            ("0001-01-01T00:00:00Z", "1-01-01T00:00:00+00:00"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5+00:00"),
            (
                "9999-12-31T23:59:59.999999999Z",
                "9999-12-31T23:59:59.999999999+00:00",
            ),
            ("2020-02-30T00:00:00Z", ""),
            ("2020-03-04T24:00:00Z", ""),
            ("2020-03-04T05:06:07", ""),
            ("2020-03-04T05:06:07.Z", ""),
            ("2020-03-04 05:06:07Z", ""),
            ("2020-03-04T05:06:07+2:00", ""),
            ("é", ""),
            ("", ""),
        ] {
            let parsed = parse_timestamp(text).map(|nanos| shown(write_timestamp, nanos));
            assert_eq!(parsed.unwrap_or_default(), time, "{text}");
        }
        for (seconds, time) in [
            (-62_135_596_801, "0-12-31T23:59:59+00:00"),
            (253_402_300_800, "10000-01-01T00:00:00+00:00"),
            (i64::MAX, "292277026596-12-04T15:30:07+00:00"),
        ] {
            let nanos = i128::from(seconds) * NANOS;
            assert_eq!(shown(write_timestamp, nanos), time);
        }
    }

    #[test]
    fn durations_are_envoys() {
        for (text, duration) in [
            ("90m", "1h30m"),
            ("1h30m5.25s", "1h30m5.25s"),
            ("1500us", "1.5ms"),
            ("15ns", "15ns"),
            ("-1.5s", "-1.5s"),
            ("0", "0"),
            ("-0", "0"),
            ("+1h", "1h"),
            ("1.h", "1h"),
            (".5s", "500ms"),
            ("1s1h", "1h1s"),
            ("1.5m", "1m30s"),
            ("36h1ns", "36h0.000000001s"),
            ("999.999999ms", "999.999999ms"),
            ("315576000000s", "87660000h"),
            ("315576000001s", ""),
            ("9999999999999999999h", ""),
            ("1d", ""),
            ("1", ""),
            ("", ""),
            ("-", ""),
            (".s", ""),
            ("1h 1m", ""),
            // Envoy knows quarters of nanoseconds.
            ("0.5ns", ""),
        ] {
            let parsed = parse_duration(text).map(|nanos| shown(write_duration, nanos));
            assert_eq!(parsed.unwrap_or_default(), duration, "{text}");
        }
    }

    #[test]
    fn days_are_taken_apart_and_put_together() {
        for days in (-800_000..800_000).step_by(7) {
            let civil = Civil::from_unix(days * 86_400);
            assert_eq!(days_to(civil.year, civil.month + 1, civil.day), days);
            assert!((0..366).contains(&civil.day_of_year), "{days}");
        }
    }
}
