//! The local time zone, for `%START_TIME_LOCAL%`: read once from the system's
//! files (RFC 9636, TZif) with the rule for later years (POSIX `TZ`).
//!
//! The C library's functions are not used: they take a lock, and calling them
//! needs `unsafe`.

use super::civil::Civil;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Offsets from UTC over time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Zone {
    /// From this second since 1970 on, the type with this index.
    transitions: Vec<(i64, u8)>,
    types: Vec<LocalType>,
    /// What holds after the last transition.
    rule: Option<Rule>,
}

/// An offset and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocalType {
    /// Seconds east of UTC.
    pub offset: i32,
    /// `CET`, `+03`
    pub name: String,
}

/// A POSIX `TZ` rule, `CET-1CEST,M3.5.0,M10.5.0/3`.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    standard: LocalType,
    daylight: Option<Daylight>,
}

#[derive(Debug, PartialEq, Eq)]
struct Daylight {
    local: LocalType,
    begin: Change,
    end: Change,
}

/// When the clock is changed each year: a day, and seconds after its midnight.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    day: Day,
    time: i64,
}

#[derive(Debug, PartialEq, Eq)]
enum Day {
    /// `Jn`: 1 to 365, 29 February is never counted.
    Julian(i64),
    /// `n`: 0 to 365.
    OfYear(i64),
    /// `Mm.w.d`: the week 5 is the last one.
    Weekday { month: u64, week: i64, weekday: i64 },
}

impl Zone {
    /// The zone of this process: `TZ`, else `/etc/localtime`, else UTC.
    pub fn local() -> &'static Zone {
        static LOCAL: OnceLock<Zone> = OnceLock::new();
        LOCAL.get_or_init(|| match std::env::var("TZ") {
            Err(_) => Zone::read(Path::new("/etc/localtime")).unwrap_or_default(),
            Ok(name) => Zone::named(name.strip_prefix(':').unwrap_or(&name)),
        })
    }

    fn named(name: &str) -> Zone {
        // A name with dots could leave the folder; an absolute one replaces it.
        let path = PathBuf::from("/usr/share/zoneinfo").join(name);
        let file = (!name.is_empty() && !name.contains("..")).then(|| Zone::read(&path));
        file.flatten()
            .or_else(|| {
                Some(Zone {
                    rule: Some(Rule::parse(name)?),
                    ..Zone::default()
                })
            })
            .unwrap_or_default()
    }

    fn read(path: &Path) -> Option<Zone> {
        Zone::parse(&std::fs::read(path).ok()?)
    }

    /// The offset and name at a second since 1970.
    pub fn at(&self, unix: i64) -> (i32, &str) {
        let next = self.transitions.partition_point(|(from, _)| *from <= unix);
        let local = match (next.checked_sub(1), &self.rule) {
            (_, Some(rule)) if next == self.transitions.len() => Some(rule.at(unix)),
            (Some(last), _) => self.types.get(usize::from(self.transitions[last].1)),
            (None, _) => self.types.first(),
        };
        local.map_or((0, "UTC"), |local| (local.offset, &local.name))
    }

    /// Reads a TZif file of version 2 or later; older ones are not in use.
    fn parse(file: &[u8]) -> Option<Zone> {
        let (header, rest) = file.split_at_checked(HEADER_LENGTH)?;
        if !header.starts_with(b"TZif") || header[4] < b'2' {
            return None;
        }
        // The first block has 32-bit times, for readers of version 1.
        let skipped = Counts::read(header)?.length(4)?;
        let rest = rest.get(skipped..)?;
        let (header, body) = rest.split_at_checked(HEADER_LENGTH)?;
        let counts = Counts::read(header)?;
        let footer = body.get(counts.length(8)?..)?;
        let (times, body) = body.split_at_checked(counts.times * 8)?;
        let (indices, body) = body.split_at_checked(counts.times)?;
        let (types, body) = body.split_at_checked(counts.types * 6)?;
        let names = body.get(..counts.name_bytes)?;
        let footer = std::str::from_utf8(footer).ok()?.trim_matches('\n');
        Some(Zone {
            transitions: times
                .chunks_exact(8)
                .zip(indices)
                .map(|(time, index)| Some((i64::from_be_bytes(time.try_into().ok()?), *index)))
                .collect::<Option<_>>()?,
            types: types
                .chunks_exact(6)
                .map(|entry| {
                    let name = names.get(usize::from(entry[5])..)?;
                    let end = name.iter().position(|b| *b == 0)?;
                    Some(LocalType {
                        offset: i32::from_be_bytes(entry[..4].try_into().ok()?),
                        name: String::from_utf8(name[..end].to_vec()).ok()?,
                    })
                })
                .collect::<Option<_>>()?,
            rule: Rule::parse(footer),
        })
    }
}

/// Magic, version, 15 unused bytes and six counts.
const HEADER_LENGTH: usize = 44;

struct Counts {
    ut_local: usize,
    standard: usize,
    leaps: usize,
    times: usize,
    types: usize,
    name_bytes: usize,
}

impl Counts {
    fn read(header: &[u8]) -> Option<Counts> {
        let count = |n: usize| {
            let bytes = header.get(20 + 4 * n..24 + 4 * n)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?) as usize)
        };
        Some(Counts {
            ut_local: count(0)?,
            standard: count(1)?,
            leaps: count(2)?,
            times: count(3)?,
            types: count(4)?,
            name_bytes: count(5)?,
        })
    }

    /// Bytes of the block behind the header.
    fn length(&self, time_bytes: usize) -> Option<usize> {
        [
            self.times.checked_mul(time_bytes + 1)?,
            self.types.checked_mul(6)?,
            self.name_bytes,
            self.leaps.checked_mul(time_bytes + 4)?,
            self.standard,
            self.ut_local,
        ]
        .into_iter()
        .try_fold(0_usize, usize::checked_add)
    }
}

impl Rule {
    fn parse(text: &str) -> Option<Rule> {
        let mut text = text;
        let name = zone_name(&mut text)?;
        let standard = LocalType {
            offset: -i32::try_from(seconds(&mut text)?).ok()?,
            name,
        };
        if text.is_empty() {
            return Some(Rule {
                standard,
                daylight: None,
            });
        }
        let name = zone_name(&mut text)?;
        let offset = match text.starts_with(',') {
            true => standard.offset + 3_600,
            false => -i32::try_from(seconds(&mut text)?).ok()?,
        };
        let (begin, end) = text.strip_prefix(',')?.split_once(',')?;
        Some(Rule {
            standard,
            daylight: Some(Daylight {
                local: LocalType { offset, name },
                begin: Change::parse(begin)?,
                end: Change::parse(end)?,
            }),
        })
    }

    fn at(&self, unix: i64) -> &LocalType {
        let Some(daylight) = &self.daylight else {
            return &self.standard;
        };
        let local = unix + i64::from(self.standard.offset);
        let year = Civil::from_unix(u64::try_from(local).unwrap_or(0)).year;
        let begin = daylight.begin.in_year(year) - i64::from(self.standard.offset);
        let end = daylight.end.in_year(year) - i64::from(daylight.local.offset);
        let inside = match begin <= end {
            true => (begin..end).contains(&unix),
            // South of the equator the year begins in summer.
            false => !(end..begin).contains(&unix),
        };
        if inside {
            &daylight.local
        } else {
            &self.standard
        }
    }
}

impl Change {
    fn parse(text: &str) -> Option<Change> {
        let (day, time) = text.split_once('/').unwrap_or((text, "2"));
        let day = match (day.strip_prefix('J'), day.strip_prefix('M')) {
            (Some(day), _) => Day::Julian(day_of_year(day)?),
            (_, Some(day)) => {
                let mut parts = day.split('.');
                let mut part = || parts.next()?.parse::<u8>().ok();
                let (month, week, weekday) = (part()?, part()?, part()?);
                if !(1..=12).contains(&month) || !(1..=5).contains(&week) || weekday > 6 {
                    return None;
                }
                Day::Weekday {
                    month: month.into(),
                    week: week.into(),
                    weekday: weekday.into(),
                }
            }
            _ => Day::OfYear(day_of_year(day)?),
        };
        let mut time = time;
        let seconds = seconds(&mut time)?;
        time.is_empty().then_some(Change { day, time: seconds })
    }

    /// Seconds from 1970 to the change in `year`, by the clock on the wall.
    fn in_year(&self, year: u64) -> i64 {
        let first = Civil::days_before(year, 1) as i64;
        let leap = i64::from(Civil::days_before(year, 3) as i64 - first == 60);
        let day = match self.day {
            Day::OfYear(day) => first + day,
            Day::Julian(day) => first + day - 1 + if day >= 60 { leap } else { 0 },
            Day::Weekday {
                month,
                week,
                weekday,
            } => {
                let begin = Civil::days_before(year, month) as i64;
                let next = match month {
                    12 => Civil::days_before(year + 1, 1) as i64,
                    _ => Civil::days_before(year, month + 1) as i64,
                };
                // 1 January 1970 was a Thursday.
                let mut day = begin + (weekday - (begin + 4)).rem_euclid(7) + 7 * (week - 1);
                while day >= next {
                    day -= 7;
                }
                day
            }
        };
        day * 86_400 + self.time
    }
}

/// A day of a rule, at most the last one of a leap year.
fn day_of_year(text: &str) -> Option<i64> {
    let day: u16 = text.parse().ok()?;
    (day <= 365).then_some(day.into())
}

/// The name of a zone: three letters or more, in `<>` also digits and signs
/// (RFC 9636, section 3.3.1). It is copied into lines of the log.
fn zone_name(text: &mut &str) -> Option<String> {
    let (name, rest) = match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?,
        None => {
            let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
            text.split_at(letters)
        }
    };
    *text = rest;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-".contains(&byte);
    (name.len() >= 3 && name.bytes().all(allowed)).then(|| name.to_owned())
}

/// `[+-]hh[:mm[:ss]]` in seconds.
fn seconds(text: &mut &str) -> Option<i64> {
    let end = text
        .bytes()
        .position(|b| !(b.is_ascii_digit() || b"+-:".contains(&b)))
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    *text = rest;
    let (sign, number) = match number.strip_prefix('-') {
        Some(number) => (-1, number),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let mut total = 0;
    let mut unit = 3_600;
    for part in number.split(':') {
        // 167 hours are the most that a rule may name (RFC 9636, 3.3.1).
        total += part
            .parse::<u8>()
            .ok()
            .filter(|n| *n <= 167)
            .map(i64::from)?
            * unit;
        unit /= 60;
    }
    Some(sign * total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Zone {
        Zone {
            rule: Some(Rule::parse(text).expect(text)),
            ..Zone::default()
        }
    }

    #[test]
    fn rules_change_the_clock_at_the_right_second() {
        let berlin = rule("CET-1CEST,M3.5.0,M10.5.0/3");
        for (unix, expected) in [
            // 2026-03-29 01:00 UTC and 2026-10-25 01:00 UTC.
            (1_774_745_999, (3_600, "CET")),
            (1_774_746_000, (7_200, "CEST")),
            (1_792_889_999, (7_200, "CEST")),
            (1_792_890_000, (3_600, "CET")),
        ] {
            assert_eq!(berlin.at(unix), expected, "{unix}");
        }
        // Sydney: 2026-04-05 03:00 +11 and 2026-10-04 02:00 +10.
        let sydney = rule("AEST-10AEDT,M10.1.0,M4.1.0/3");
        for (unix, expected) in [
            (1_767_225_600, (39_600, "AEDT")),
            (1_775_318_399, (39_600, "AEDT")),
            (1_775_318_400, (36_000, "AEST")),
            (1_791_043_199, (36_000, "AEST")),
            (1_791_043_200, (39_600, "AEDT")),
        ] {
            assert_eq!(sydney.at(unix), expected, "{unix}");
        }
        assert_eq!(rule("<+0530>-5:30").at(0), (19_800, "+0530"));
        assert_eq!(rule("UTC0").at(0), (0, "UTC"));
        assert_eq!(Zone::default().at(0), (0, "UTC"));
        // By day of the year: 1 March is J60 always, and 59 or 60.
        let julian = rule("AAA0BBB,J60/0,J300/0");
        assert_eq!(julian.at(951_868_799), (0, "AAA"));
        assert_eq!(julian.at(951_868_800), (3_600, "BBB"));
        let days = rule("AAA0BBB,60/0,300/0");
        assert_eq!(days.at(951_868_800), (3_600, "BBB"));
    }

    impl Zone {
        /// The zone of a rule, for ever.
        pub(in crate::formatter) fn of_rule(text: &str) -> &'static Zone {
            Box::leak(Box::new(rule(text)))
        }
    }

    #[test]
    fn broken_rules_are_refused() {
        for text in [
            "",
            "A",
            "CET",
            "CET-1CEST",
            "CET-1CEST,M3.5.0",
            "CET-1CEST,M13.5.0,M10.5.0",
            "CET-1CEST,M3.6.0,M10.5.0",
            "CET-1CEST,M3.5.7,M10.5.0/x",
            "<CET-1",
            "CET-999",
            "CET-1CEST,,",
            "CET-é",
            "<C\nT>-1",
            "CET-1CEST,366,M10.5.0",
            "CET-1CEST,J9223372036854775807,M10.5.0",
        ] {
            assert_eq!(Rule::parse(text), None, "{text}");
        }
    }

    /// A file with one transition, to UTC+2 at 1000, and no rule.
    fn file(footer: &str) -> Vec<u8> {
        let header = |times: u8, types: u8, names: u8| {
            let mut header = b"TZif2".to_vec();
            header.resize(20, 0);
            for count in [0, 0, 0, times, types, names] {
                header.extend_from_slice(&[0, 0, 0, count]);
            }
            header
        };
        let mut file = header(0, 1, 4);
        file.extend_from_slice(&[0; 6 + 4]);
        file.extend(header(1, 2, 8));
        file.extend_from_slice(&1_000_i64.to_be_bytes());
        file.push(1);
        file.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
        file.extend_from_slice(&[0, 0, 0x1c, 0x20, 0, 4]);
        file.extend_from_slice(b"ABC\0DEF\0");
        file.extend_from_slice(footer.as_bytes());
        file
    }

    #[test]
    fn files_are_read_and_cut_ones_refused() {
        let whole = file("\n\n");
        let zone = Zone::parse(&whole).expect("a good file");
        assert_eq!(zone.at(999), (0, "ABC"));
        assert_eq!(zone.at(1_000), (7_200, "DEF"));
        let zone = Zone::parse(&file("\nXYZ5\n")).expect("a good file");
        assert_eq!(zone.at(999), (0, "ABC"));
        assert_eq!(zone.at(1_000), (-18_000, "XYZ"));
        for length in 0..whole.len() - 2 {
            assert_eq!(Zone::parse(&whole[..length]), None, "{length}");
        }
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..5_000 {
            let mut broken = whole.clone();
            let at = random.usize(..broken.len());
            broken[at] = random.u8(..);
            if let Some(zone) = Zone::parse(&broken) {
                zone.at(random.i64(..4_000_000_000));
            }
        }
    }
}
