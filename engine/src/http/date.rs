//! The `Date` header: RFC 9110 section 5.6.7's IMF-fixdate, formatted once a
//! second.

use ringway_codecs::header::{HeaderId, HeaderMap};
use std::time::{SystemTime, UNIX_EPOCH};

/// The length of every IMF-fixdate.
const DATE_BYTES: usize = 29;

/// The text of the current second. One per worker.
#[derive(Debug)]
pub struct DateCache {
    second: Option<u64>,
    text: [u8; DATE_BYTES],
}

impl Default for DateCache {
    fn default() -> Self {
        Self::new()
    }
}

impl DateCache {
    /// An empty cache.
    pub fn new() -> Self {
        DateCache {
            second: None,
            text: [b' '; DATE_BYTES],
        }
    }

    /// Gives a response the date of `now`, unless it has one.
    pub fn set(&mut self, response: &mut HeaderMap, now: SystemTime) {
        if !response.contains(HeaderId::Date) {
            response.append(HeaderId::Date, self.get(now));
        }
    }

    /// The date of `now`, such as `Sun, 06 Nov 1994 08:49:37 GMT`. A clock
    /// before 1970 gives 1970.
    pub fn get(&mut self, now: SystemTime) -> &[u8] {
        let second = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
            .min(LAST_SECOND);
        if self.second != Some(second) {
            self.text = format(second);
            self.second = Some(second);
        }
        &self.text
    }
}

/// The end of the year 9999, the last that the format can hold.
const LAST_SECOND: u64 = 253_402_300_799;

fn format(second: u64) -> [u8; DATE_BYTES] {
    const WEEKDAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let days = second / 86_400;
    let (year, month, day) = civil_date(days);
    let time = second % 86_400;
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let weekday = (days % 7) as usize * 3;
    text[..3].copy_from_slice(&WEEKDAYS[weekday..weekday + 3]);
    two_digits(&mut text[5..7], day);
    let name = (month as usize - 1) * 3;
    text[8..11].copy_from_slice(&MONTHS[name..name + 3]);
    two_digits(&mut text[12..14], year / 100);
    two_digits(&mut text[14..16], year % 100);
    two_digits(&mut text[17..19], time / 3_600);
    two_digits(&mut text[20..22], time / 60 % 60);
    two_digits(&mut text[23..25], time % 60);
    text
}

fn two_digits(place: &mut [u8], number: u64) {
    place[0] = b'0' + (number / 10) as u8;
    place[1] = b'0' + (number % 10) as u8;
}

/// Days since 1970-01-01 to year, month (from 1) and day (from 1) of the
/// Gregorian calendar. Years are counted from March, so that the leap day is
/// the last of its year, in cycles of 400 years.
fn civil_date(days: u64) -> (u64, u64, u64) {
    const CYCLE_DAYS: u64 = 146_097;
    // From 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let cycle = days / CYCLE_DAYS;
    let day_of_cycle = days % CYCLE_DAYS;
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524
        - day_of_cycle / (CYCLE_DAYS - 1))
        / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn known_dates() {
        for (second, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (1_795_439_440, "Mon, 23 Nov 2026 13:10:40 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (LAST_SECOND + 1, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let mut cache = DateCache::new();
            assert_eq!(cache.get(at(second)), text.as_bytes(), "{second}");
        }
    }

    #[test]
    fn the_cache_follows_the_clock() {
        let mut cache = DateCache::new();
        for second in [100, 100, 101, 99] {
            let now = at(second) + Duration::from_millis(900);
            let text = cache.get(now).to_vec();
            assert_eq!(text, format(second));
        }
        let mut response = HeaderMap::new();
        cache.set(&mut response, at(0));
        cache.set(&mut response, at(1));
        assert_eq!(response.len(), 1);
        assert_eq!(response.get(HeaderId::Date), Some(&format(0)[..]));
        let before_1970 = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(cache.get(before_1970), format(0));
    }
}
