//! Dates for `%START_TIME(FORMAT)%` and `%EMIT_TIME(FORMAT)%`: strftime in
//! the C locale, in UTC or local time, with Envoy's additions (`%3f` to `%9f`, `%E3S`).
//!
//! A text is made once a second and core; for the requests in between only
//! its sub-second digits are rewritten. glibc's `localtime` lock once cost
//! HAProxy most of its throughput with dates in the log format; nothing here
//! is shared between cores.

use super::civil::Civil;
use super::zone::Zone;
use rustc_hash::FxHasher;
use std::cell::RefCell;
use std::hash::Hasher as _;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// A compiled date format.
#[derive(Debug)]
pub(super) struct DateFormat {
    format: Box<str>,
    /// `None` for UTC.
    zone: Option<&'static Zone>,
    /// Where the caches of all cores look for this format.
    slot: usize,
}

impl DateFormat {
    /// What an empty argument stands for.
    const DEFAULT: &'static str = "%Y-%m-%dT%H:%M:%E3SZ";

    /// The same in local time.
    const DEFAULT_LOCAL: &'static str = "%Y-%m-%dT%H:%M:%E3S%z";

    /// Compiles `format`, in UTC or in `zone`; `None` when it would write a
    /// line end.
    pub fn new(format: &str, zone: Option<&'static Zone>) -> Option<DateFormat> {
        let format = match (format, zone) {
            ("", None) => DateFormat::DEFAULT,
            ("", Some(_)) => DateFormat::DEFAULT_LOCAL,
            (format, _) => format,
        };
        let mut rest = format.as_bytes();
        while let Some(percent) = memchr::memchr(b'%', rest) {
            let (conversion, length) = Conversion::parse(&rest[percent..]);
            if conversion.is_some_and(|c| c.letter == b'n') {
                return None;
            }
            rest = &rest[percent + length..];
        }
        let mut hash = FxHasher::default();
        hash.write(format.as_bytes());
        Some(DateFormat {
            format: format.into(),
            zone,
            slot: hash.finish() as usize % CACHE_SLOTS,
        })
    }

    /// Appends the date of `time`. Times before 1970 are written as 1970.
    pub fn write(&self, time: SystemTime, out: &mut Vec<u8>) {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (second, nanos) = (since_epoch.as_secs(), since_epoch.subsec_nanos());
        CACHE.with_borrow_mut(|cache| {
            if cache.is_empty() {
                cache.resize_with(CACHE_SLOTS, Rendered::default);
            }
            let rendered = &mut cache[self.slot];
            if !rendered.is_of(self, second) {
                rendered.render(self, second);
            }
            let start = out.len();
            out.extend_from_slice(&rendered.text);
            for &(offset, digits) in &rendered.fractions {
                write_fraction(&mut out[start + offset..][..digits], nanos);
            }
        });
    }
}

/// Formats in use by one core at a time; more share slots and render again.
const CACHE_SLOTS: usize = 64;

thread_local! {
    static CACHE: RefCell<Vec<Rendered>> = const { RefCell::new(Vec::new()) };
}

/// The text of one format in one second.
#[derive(Default)]
struct Rendered {
    format: String,
    local: bool,
    second: u64,
    text: Vec<u8>,
    /// Where in `text` how many sub-second digits belong.
    fractions: Vec<(usize, usize)>,
}

impl Rendered {
    fn is_of(&self, format: &DateFormat, second: u64) -> bool {
        self.second == second
            && self.local == format.zone.is_some()
            && self.format == *format.format
    }

    fn render(&mut self, format: &DateFormat, second: u64) {
        self.format.clear();
        self.format.push_str(&format.format);
        self.local = format.zone.is_some();
        self.second = second;
        self.text.clear();
        self.fractions.clear();
        let civil = Civil::in_zone(second, format.zone);
        let mut rest = format.format.as_bytes();
        while let Some(percent) = memchr::memchr(b'%', rest) {
            self.text.extend_from_slice(&rest[..percent]);
            let (conversion, length) = Conversion::parse(&rest[percent..]);
            let spelled = &rest[percent..percent + length];
            match conversion {
                Some(conversion) => self.convert(&conversion, &civil, spelled),
                None => self.text.extend_from_slice(spelled),
            }
            rest = &rest[percent + length..];
        }
        self.text.extend_from_slice(rest);
    }

    fn convert(&mut self, c: &Conversion, t: &Civil<'_>, spelled: &[u8]) {
        let year = t.year;
        match (c.extension, c.letter) {
            (None, b'f') if c.flag.is_none() && c.width.is_none_or(|w| (1..=9).contains(&w)) => {
                self.fraction(c.width.unwrap_or(9));
            }
            (Some(b'E'), b'S') if c.digits.is_some() => {
                self.number(c, t.second, 2, b'0');
                if c.digits != Some(0) {
                    self.text.push(b'.');
                    self.fraction(c.digits.unwrap_or(6));
                }
            }
            (Some(b'E'), b'S') => self.text.extend_from_slice(spelled),
            (Some(b'E'), b'f') if c.digits.is_some() => self.fraction(c.digits.unwrap_or(6)),
            (_, b'f') => self.text.extend_from_slice(spelled),
            (_, b'%') => self.text.push(b'%'),
            (_, b't') => self.text.push(b'\t'),
            (_, b'Y') => self.number(c, year, 1, b'0'),
            (_, b'C') => self.number(c, year / 100, 2, b'0'),
            (_, b'y') => self.number(c, year % 100, 2, b'0'),
            (_, b'G') => self.number(c, t.iso_week().0, 1, b'0'),
            (_, b'g') => self.number(c, t.iso_week().0 % 100, 2, b'0'),
            (_, b'V') => self.number(c, t.iso_week().1, 2, b'0'),
            (_, b'm') => self.number(c, t.month, 2, b'0'),
            (_, b'd') => self.number(c, t.day, 2, b'0'),
            (_, b'e') => self.number(c, t.day, 2, b' '),
            (_, b'H') => self.number(c, t.hour, 2, b'0'),
            (_, b'k') => self.number(c, t.hour, 2, b' '),
            (_, b'I') => self.number(c, t.hour12(), 2, b'0'),
            (_, b'l') => self.number(c, t.hour12(), 2, b' '),
            (_, b'M') => self.number(c, t.minute, 2, b'0'),
            (_, b'S') => self.number(c, t.second, 2, b'0'),
            (_, b's') => self.number(c, t.unix, 1, b'0'),
            (_, b'j') => self.number(c, t.day_of_year + 1, 3, b'0'),
            (_, b'u') => self.number(c, (t.weekday + 6) % 7 + 1, 1, b'0'),
            (_, b'w') => self.number(c, t.weekday, 1, b'0'),
            (_, b'U') => self.number(c, (t.day_of_year + 7 - t.weekday) / 7, 2, b'0'),
            (_, b'W') => self.number(c, (t.day_of_year + 7 - (t.weekday + 6) % 7) / 7, 2, b'0'),
            (_, b'a') => self.name(c, &DAYS[t.weekday as usize][..3]),
            (_, b'A') => self.name(c, DAYS[t.weekday as usize]),
            (_, b'b' | b'h') => self.name(c, &MONTHS[t.month as usize - 1][..3]),
            (_, b'B') => self.name(c, MONTHS[t.month as usize - 1]),
            (_, b'p') => self.name(c, if t.hour < 12 { "AM" } else { "PM" }),
            (_, b'P') => self.name(c, if t.hour < 12 { "am" } else { "pm" }),
            (_, b'Z') => self.name(c, t.zone),
            (Some(b'E'), b'z') => self.offset(t.offset, 1),
            (_, b'z') => self.offset(t.offset, c.colons),
            (_, b'D' | b'x') => self.composed("%m/%d/%y", t),
            (_, b'F') => self.composed("%Y-%m-%d", t),
            (_, b'T' | b'X') => self.composed("%H:%M:%S", t),
            (_, b'R') => self.composed("%H:%M", t),
            (_, b'r') => self.composed("%I:%M:%S %p", t),
            (_, b'c') => self.composed("%a %b %e %H:%M:%S %Y", t),
            _ => self.text.extend_from_slice(spelled),
        }
    }

    fn composed(&mut self, format: &'static str, t: &Civil<'_>) {
        let mut rest = format.as_bytes();
        while let Some(percent) = memchr::memchr(b'%', rest) {
            self.text.extend_from_slice(&rest[..percent]);
            let (conversion, length) = Conversion::parse(&rest[percent..]);
            if let Some(conversion) = conversion {
                self.convert(&conversion, t, b"");
            }
            rest = &rest[percent + length..];
        }
        self.text.extend_from_slice(rest);
    }

    fn offset(&mut self, offset: i32, colons: usize) {
        let sign = if offset < 0 { '-' } else { '+' };
        let seconds = offset.unsigned_abs();
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        // Writing to a vector cannot fail.
        let _ = match colons {
            0 => write!(self.text, "{sign}{hours:02}{minutes:02}"),
            1 => write!(self.text, "{sign}{hours:02}:{minutes:02}"),
            _ => write!(self.text, "{sign}{hours:02}:{minutes:02}:{seconds:02}"),
        };
    }

    fn number(&mut self, c: &Conversion, value: u64, width: usize, pad: u8) {
        let (width, pad) = match c.flag {
            Some(b'-') => (1, b'0'),
            Some(b'_') => (c.width.unwrap_or(width), b' '),
            Some(b'0') => (c.width.unwrap_or(width), b'0'),
            _ => (c.width.unwrap_or(width), pad),
        };
        // Writing to a vector cannot fail.
        let _ = match pad {
            b' ' => write!(self.text, "{value:width$}"),
            _ => write!(self.text, "{value:0width$}"),
        };
    }

    fn name(&mut self, c: &Conversion, name: &str) {
        let padding = c.width.unwrap_or(0).saturating_sub(name.len());
        let pad = if c.flag == Some(b'0') { b'0' } else { b' ' };
        self.text.extend(std::iter::repeat_n(pad, padding));
        match c.flag {
            Some(b'^') => self
                .text
                .extend_from_slice(name.to_ascii_uppercase().as_bytes()),
            _ => self.text.extend_from_slice(name.as_bytes()),
        }
    }

    fn fraction(&mut self, digits: usize) {
        self.fractions.push((self.text.len(), digits));
        self.text.extend(std::iter::repeat_n(b'0', digits));
    }
}

/// Writes the first digits of a fraction of a second; what is left of the
/// last digit is cut, not rounded.
fn write_fraction(digits: &mut [u8], nanos: u32) {
    let mut value = nanos / 10_u32.pow(9 - digits.len() as u32);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// A strftime conversion: `%`, a flag, a width, `E` or `O`, a letter.
struct Conversion {
    flag: Option<u8>,
    width: Option<usize>,
    /// Colons of `%:z`.
    colons: usize,
    extension: Option<u8>,
    /// The number in `%E3S`; for `%E*S` six, which is what Envoy's clock has.
    digits: Option<usize>,
    letter: u8,
}

impl Conversion {
    /// Reads the conversion at the start of `text`, which is a percent sign.
    /// Returns it, unless it is incomplete, and how many bytes it takes.
    fn parse(text: &[u8]) -> (Option<Conversion>, usize) {
        let mut at = 1;
        let flag = text.get(at).copied().filter(|b| b"-_0^#".contains(b));
        at += usize::from(flag.is_some());
        let (width, width_length) = number(&text[at..]);
        at += width_length;
        let colons = text[at..].iter().take_while(|b| **b == b':').count();
        at += colons;
        let extension = text.get(at).copied().filter(|b| b"EO".contains(b));
        at += usize::from(extension.is_some());
        let mut digits = None;
        if extension == Some(b'E') && text.get(at) == Some(&b'*') {
            digits = Some(6);
            at += 1;
        } else if extension == Some(b'E') {
            let (number, length) = number(&text[at..]);
            digits = number.filter(|n| *n <= 9);
            at += length;
        }
        let conversion = text.get(at).map(|letter| Conversion {
            flag,
            width,
            colons,
            extension,
            digits,
            letter: *letter,
        });
        (conversion, (at + 1).min(text.len()))
    }
}

/// Widths above this are cut to it: a format cannot ask for a line of
/// gigabytes.
const WIDTH_MAX: usize = 64;

fn number(text: &[u8]) -> (Option<usize>, usize) {
    let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let value = text[..length].iter().fold(0_usize, |value, digit| {
        (value * 10 + usize::from(digit - b'0')).min(WIDTH_MAX)
    });
    ((length > 0).then_some(value), length)
}

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn date(format: &str, second: u64, nanos: u32) -> String {
        let mut out = Vec::new();
        DateFormat::new(format, None)
            .expect("no line end")
            .write(UNIX_EPOCH + Duration::new(second, nanos), &mut out);
        String::from_utf8(out).unwrap()
    }

    /// What Envoy 1.40 wrote for a request that began at 1795437499.084116.
    #[test]
    fn conversions_are_envoys() {
        for (format, expected) in [
            ("", "2026-11-23T12:38:19.084Z"),
            ("%a", "Mon"),
            ("%A", "Monday"),
            ("%b", "Nov"),
            ("%B", "November"),
            ("%c", "Mon Nov 23 12:38:19 2026"),
            ("%C", "20"),
            ("%d", "23"),
            ("%D", "11/23/26"),
            ("%e", "23"),
            ("%F", "2026-11-23"),
            ("%g", "26"),
            ("%G", "2026"),
            ("%h", "Nov"),
            ("%H", "12"),
            ("%I", "12"),
            ("%j", "327"),
            ("%k", "12"),
            ("%l", "12"),
            ("%M", "38"),
            ("%p", "PM"),
            ("%P", "pm"),
            ("%r", "12:38:19 PM"),
            ("%R", "12:38"),
            ("%S", "19"),
            ("%t", "\t"),
            ("%T", "12:38:19"),
            ("%u", "1"),
            ("%U", "47"),
            ("%V", "48"),
            ("%w", "1"),
            ("%W", "47"),
            ("%x", "11/23/26"),
            ("%X", "12:38:19"),
            ("%y", "26"),
            ("%Y", "2026"),
            ("%z", "+0000"),
            ("%Z", "UTC"),
            ("%+", "%+"),
            ("%N", "%N"),
            ("%L", "%L"),
            ("%i", "%i"),
            ("%Q", "%Q"),
            ("%O", "%O"),
            ("%Od", "23"),
            ("%s", "1795437499"),
            ("%E", "%E"),
            ("%", "%"),
            ("%%", "%"),
            ("%1", "%1"),
            ("%0f", "%0f"),
            ("%Es", "1795437499"),
            ("%Ez", "+00:00"),
            ("%:z", "+00:00"),
            ("%::z", "+00:00:00"),
            ("%Ec", "Mon Nov 23 12:38:19 2026"),
            ("%f", "084116000"),
            ("%3f", "084"),
            ("%s.%3f", "1795437499.084"),
            ("a%3f%3fb", "a084084b"),
            ("%s%6f|%9f|%1f|%2f", "1795437499084116|084116000|0|08"),
            (
                "%E3S|%E*S|%E6f|%E*f|%E4Y|%E0S",
                "19.084|19.084116|084116|084116|2026|19",
            ),
            ("%-d|%_d|%05d|%^a", "23|23|00023|MON"),
        ] {
            assert_eq!(
                date(format, 1_795_437_499, 84_116_000),
                expected,
                "{format}"
            );
        }
    }

    /// The texts are those of GNU date.
    #[test]
    fn the_calendar_is_right_at_its_edges() {
        let format = "%F %T %a %j %U %W %G-V%V %e %k %l %-d %_m";
        for (second, expected) in [
            (
                0,
                "1970-01-01 00:00:00 Thu 001 00 00 1970-V01  1  0 12 1  1",
            ),
            (
                951_782_399,
                "2000-02-28 23:59:59 Mon 059 09 09 2000-V09 28 23 11 28  2",
            ),
            (
                951_782_400,
                "2000-02-29 00:00:00 Tue 060 09 09 2000-V09 29  0 12 29  2",
            ),
            (
                951_868_800,
                "2000-03-01 00:00:00 Wed 061 09 09 2000-V09  1  0 12 1  3",
            ),
            (
                978_307_199,
                "2000-12-31 23:59:59 Sun 366 53 52 2000-V52 31 23 11 31 12",
            ),
            (
                1_609_459_200,
                "2021-01-01 00:00:00 Fri 001 00 00 2020-V53  1  0 12 1  1",
            ),
            (
                1_735_603_200,
                "2024-12-31 00:00:00 Tue 366 52 53 2025-V01 31  0 12 31 12",
            ),
            (
                4_107_542_400,
                "2100-03-01 00:00:00 Mon 060 09 09 2100-V09  1  0 12 1  3",
            ),
        ] {
            assert_eq!(date(format, second, 0), expected, "{second}");
        }
    }

    /// What Envoy 1.40 wrote with TZ=Europe/Berlin and TZ=America/St_Johns.
    #[test]
    fn local_times_are_envoys() {
        let format = "%Y-%m-%d %H:%M:%S %z %Z %Ez %:z %s %3f";
        for (rule, second, default, expected) in [
            (
                "CET-1CEST,M3.5.0,M10.5.0/3",
                1_795_439_878,
                "2026-11-23T14:17:58.964+0100",
                "2026-11-23 14:17:58 +0100 CET +01:00 +01:00 1795439878 964",
            ),
            (
                "NST3:30NDT,M3.2.0,M11.1.0",
                1_795_439_880,
                "2026-11-23T09:48:00.964-0330",
                "2026-11-23 09:48:00 -0330 NST -03:30 -03:30 1795439880 964",
            ),
        ] {
            let zone = Some(Zone::of_rule(rule));
            for (format, expected) in [("", default), (format, expected)] {
                let mut out = Vec::new();
                let time = UNIX_EPOCH + Duration::new(second, 964_000_000);
                DateFormat::new(format, zone).unwrap().write(time, &mut out);
                assert_eq!(String::from_utf8(out).unwrap(), expected);
            }
        }
    }

    #[test]
    fn a_line_end_is_refused() {
        for format in ["%n", "a%5nb", "%En", "%%%n"] {
            assert!(DateFormat::new(format, None).is_none(), "{format}");
        }
        assert!(DateFormat::new("%%n", None).is_some());
    }

    #[test]
    fn the_cache_never_mixes_formats_or_seconds() {
        let formats: Vec<_> = (0..2 * CACHE_SLOTS)
            .map(|n| DateFormat::new(&format!("{n} %s.%3f"), None).unwrap())
            .collect();
        for (second, nanos) in [(5, 1_000_000), (5, 999_999_999), (6, 0)] {
            for (n, format) in formats.iter().enumerate() {
                let mut out = b"x".to_vec();
                format.write(UNIX_EPOCH + Duration::new(second, nanos), &mut out);
                let expected = format!("x{n} {second}.{:03}", nanos / 1_000_000);
                assert_eq!(String::from_utf8(out).unwrap(), expected);
            }
        }
    }

    #[test]
    fn any_format_writes_something_bounded() {
        let mut random = fastrand::Rng::with_seed(2);
        let alphabet = b"%%%%EO-_0^#*:39nfSYszdcxQ";
        for _ in 0..20_000 {
            let format: String = (0..random.usize(..12))
                .map(|_| char::from(alphabet[random.usize(..alphabet.len())]))
                .collect();
            if DateFormat::new(&format, None).is_some() {
                let text = date(&format, 1_795_437_499, 1);
                assert!(text.len() < 1_000 && !text.contains('\n'), "{format}");
            }
        }
    }
}
