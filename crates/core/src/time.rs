//! Time as the vault counts it: microseconds since 1970-01-01T00:00:00Z, and whole UTC days.

use std::fmt;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// One second in microseconds.
pub const SECOND_US: i64 = 1_000_000;
/// One day of 24 hours in microseconds (spec 1.2: a day is 24 hours).
pub const DAY_US: i64 = 86_400 * SECOND_US;

/// A moment: microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimeUs(pub i64);

/// A UTC day, counted from 1970-01-01 (day 0).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub i32);

/// A text that is not a moment, or one outside the years 0 to 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time: expected RFC 3339, such as 2026-01-31T09:30:00Z")]
pub struct NotATime;

impl TimeUs {
    /// The latest moment that can be written in RFC 3339 (9999-12-30T22:00:00Z), used for "never".
    pub const NEVER: Self = Self(253_402_207_200_000_000);

    /// Reads RFC 3339 with any offset.
    ///
    /// # Errors
    /// [`NotATime`] when the text is something else.
    pub fn parse(text: &str) -> Result<Self, NotATime> {
        let stamp: Timestamp = text.parse().map_err(|_| NotATime)?;
        Ok(Self(stamp.as_microsecond()))
    }

    /// The UTC day this moment falls on.
    #[must_use]
    pub const fn day(self) -> Day {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a day count of 9999 years fits in 22 bits"
        )]
        Day(self.0.div_euclid(DAY_US) as i32)
    }

    /// This moment plus whole days of 24 hours, saturating at [`TimeUs::NEVER`].
    #[must_use]
    pub fn plus_days(self, days: i64) -> Self {
        Self(self.0.saturating_add(days.saturating_mul(DAY_US)).min(Self::NEVER.0))
    }

    /// This moment plus seconds, saturating.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(
            self.0
                .saturating_add(seconds.saturating_mul(SECOND_US))
                .min(Self::NEVER.0),
        )
    }

    /// This moment plus calendar years in UTC: 29 February + 1 year = 28 February (spec 1.2).
    #[must_use]
    pub fn plus_years(self, years: i16) -> Self {
        let Ok(stamp) = Timestamp::from_microsecond(self.0) else {
            return Self::NEVER;
        };
        stamp
            .to_zoned_datetime(TimeZone::UTC)
            .checked_add(i64::from(years).years())
            .map_or(Self::NEVER, |zoned| {
                Self(zoned.timestamp().as_microsecond()).min(Self::NEVER)
            })
    }
}

impl Day {
    /// The first microsecond of the day.
    #[must_use]
    pub const fn start(self) -> TimeUs {
        TimeUs(self.0 as i64 * DAY_US)
    }

    /// The first microsecond of the next day.
    #[must_use]
    pub const fn end(self) -> TimeUs {
        TimeUs((self.0 as i64 + 1) * DAY_US)
    }

    /// The day `n` days later (or earlier, when negative).
    #[must_use]
    pub const fn plus(self, n: i32) -> Self {
        Self(self.0 + n)
    }

    /// Reads `YYYY-MM-DD`.
    ///
    /// # Errors
    /// [`NotATime`] when the text is something else.
    pub fn parse(text: &str) -> Result<Self, NotATime> {
        let date: jiff::civil::Date = text.parse().map_err(|_| NotATime)?;
        let zoned = date.to_zoned_datetime(TimeZone::UTC).map_err(|_| NotATime)?;
        Ok(TimeUs(zoned.timestamp().as_microsecond()).day())
    }
}

impl fmt::Display for TimeUs {
    /// RFC 3339 in UTC, with as many decimals as are needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_microsecond(self.0) {
            Ok(stamp) => stamp.fmt(f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for TimeUs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_microsecond(self.start().0) {
            Ok(stamp) => stamp.to_zoned_datetime(TimeZone::UTC).date().fmt(f),
            Err(_) => write!(f, "day {}", self.0),
        }
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> TimeUs {
        TimeUs::parse(text).expect("a time")
    }

    #[test]
    fn a_year_is_a_calendar_year() {
        assert_eq!(at("2025-06-01T10:00:00Z").plus_years(1), at("2026-06-01T10:00:00Z"));
        assert_eq!(at("2028-02-29T23:59:59Z").plus_years(1), at("2029-02-28T23:59:59Z"));
        assert_eq!(at("2027-02-28T12:00:00Z").plus_years(1), at("2028-02-28T12:00:00Z"));
        assert_eq!(
            at("2027-12-31T23:59:59.999999Z").plus_years(2),
            at("2029-12-31T23:59:59.999999Z")
        );
    }

    #[test]
    fn days_begin_at_midnight_utc_also_before_1970() {
        assert_eq!(at("1969-12-31T23:59:59Z").day(), Day(-1));
        assert_eq!(at("1970-01-01T00:00:00Z").day(), Day(0));
        assert_eq!(Day::parse("2026-11-23").expect("a day").to_string(), "2026-11-23");
        assert_eq!(Day(0).end(), Day(1).start());
    }

    #[test]
    fn the_far_future_saturates() {
        assert_eq!(TimeUs::NEVER.plus_days(1), TimeUs::NEVER);
        assert_eq!(TimeUs::NEVER.plus_years(1), TimeUs::NEVER);
    }
}
