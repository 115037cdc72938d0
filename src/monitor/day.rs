//! A day in UTC, by which reports count.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;

use crate::clock::WallTime;

const DAY_MICROS: u64 = 86_400_000_000;
const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// A day in UTC: how many there were since 1970-01-01. Shown as `2026-11-24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u32);

/// A text that is no day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoDay;

impl Day {
    /// The day of a time.
    #[must_use]
    pub fn of(time: WallTime) -> Self {
        Self(u32::try_from(time.as_micros() / DAY_MICROS).unwrap_or(u32::MAX))
    }

    /// From its number.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// So many days before.
    #[must_use]
    pub const fn before(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days))
    }

    /// When it begins.
    #[must_use]
    pub const fn begins(self) -> WallTime {
        WallTime::from_micros(self.0 as u64 * DAY_MICROS)
    }

    /// The days from this one to the other, both included; none if that is earlier.
    pub fn until(self, last: Self) -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        let count = if last < self { 0 } else { last.0 - self.0 + 1 };
        (0..count).map(move |number| Self(self.0 + number))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The date is the first ten characters of the time at which it begins.
        formatter.write_str(self.begins().rfc3339().get(..10).unwrap_or_default())
    }
}

impl FromStr for Day {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Self, NoDay> {
        let date: Date = text.parse().map_err(|_| NoDay)?;
        let days = (date - EPOCH).get_days();
        let day = Self(u32::try_from(days).map_err(|_| NoDay)?);
        // Written in one way alone.
        if day.to_string() == text { Ok(day) } else { Err(NoDay) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_reads_back_and_nothing_else_does() {
        for text in ["1970-01-01", "2024-02-29", "2026-11-24"] {
            assert_eq!(text.parse::<Day>().map(|day| day.to_string()), Ok(text.to_owned()));
        }
        for garbage in ["", "2026", "2026-02-30", "1969-12-31", "20261124", "2026-11-24T00:00:00Z", " 2026-11-24"] {
            assert_eq!(garbage.parse::<Day>(), Err(NoDay), "{garbage:?}");
        }
        let day: Day = "2026-11-24".parse().expect("a day");
        assert_eq!((Day::of(day.begins()), day.before(24).to_string()), (day, String::from("2026-10-31")));
        let last = WallTime::from_micros(day.begins().as_micros() + DAY_MICROS - 1);
        assert_eq!(Day::of(last), day, "until midnight");
    }

    #[test]
    fn days_are_counted_with_both_ends() {
        let day: Day = "2026-11-24".parse().expect("a day");
        assert_eq!((day.until(day).len(), day.before(91).until(day).len(), day.until(day.before(1)).len()), (1, 92, 0));
    }
}
