//! The calendar: seconds since 1970 taken apart, in UTC or a time zone.

use super::zone::Zone;

/// A point in time taken apart.
pub(super) struct Civil<'a> {
    /// Seconds since 1970, in UTC.
    pub unix: u64,
    /// Seconds that the local time is ahead of UTC.
    pub offset: i32,
    /// Name of the offset.
    pub zone: &'a str,
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
    /// 0 to 365.
    pub day_of_year: u64,
    /// 0 is Sunday.
    pub weekday: u64,
    pub hour: u64,
    pub minute: u64,
    pub second: u64,
}

impl<'a> Civil<'a> {
    /// The time in a zone; `None` is UTC.
    pub fn in_zone(unix: u64, zone: Option<&'a Zone>) -> Civil<'a> {
        let Some(zone) = zone else {
            return Civil::from_unix(unix);
        };
        let (offset, name) = zone.at(unix.cast_signed());
        Civil {
            unix,
            offset,
            zone: name,
            ..Civil::from_unix(unix.saturating_add_signed(offset.into()))
        }
    }

    /// The time in UTC.
    pub fn from_unix(unix: u64) -> Civil<'static> {
        let days = unix / 86_400;
        let in_day = unix % 86_400;
        // Eras of 400 years that begin on 1 March, so that the leap day is the
        // last day of a year.
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_march_year =
            day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_march_year + 2) / 153;
        let day = day_of_march_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let day_of_year = if march_month >= 10 {
            day_of_march_year - 306
        } else {
            day_of_march_year + 59 + u64::from(is_leap(year))
        };
        Civil {
            unix,
            offset: 0,
            zone: "UTC",
            year,
            month,
            day,
            day_of_year,
            weekday: (days + 4) % 7,
            hour: in_day / 3_600,
            minute: in_day / 60 % 60,
            second: in_day % 60,
        }
    }

    /// Days from 1970 to the first of a month.
    pub fn days_before(year: u64, month: u64) -> u64 {
        // The inverse of `from_unix`, with years that begin in March.
        let (march_year, march_month) = match month {
            1 | 2 => (year - 1, month + 9),
            _ => (year, month - 3),
        };
        let leap_days = march_year / 4 - march_year / 100 + march_year / 400;
        365 * march_year + leap_days + (153 * march_month + 2) / 5 - 719_468
    }

    /// The hour on a clock with twelve.
    pub fn hour12(&self) -> u64 {
        (self.hour + 11) % 12 + 1
    }

    /// Year and number of the ISO 8601 week.
    pub fn iso_week(&self) -> (u64, u64) {
        let monday_based = (self.weekday + 6) % 7;
        // The Thursday of a week says which year it belongs to.
        let thursday = (self.day_of_year + 3) as i64 - monday_based as i64;
        let year_days = 365 + i64::from(is_leap(self.year));
        if thursday < 0 {
            let before = self.year - 1;
            let thursday = thursday + 365 + i64::from(is_leap(before));
            (before, thursday as u64 / 7 + 1)
        } else if thursday >= year_days {
            (self.year + 1, (thursday - year_days) as u64 / 7 + 1)
        } else {
            (self.year, thursday as u64 / 7 + 1)
        }
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_where_the_days_before_say() {
        for (year, month) in (1970..2500).flat_map(|year| (1..=12).map(move |m| (year, m))) {
            let begin = Civil::from_unix(Civil::days_before(year, month) * 86_400);
            assert_eq!((begin.year, begin.month, begin.day), (year, month, 1));
        }
    }
}
