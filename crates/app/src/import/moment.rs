//! Times as sources write them: RFC 3339, and a switch's local time without a zone.

use callvault_core::{TimeUs, time::SECOND_US};
use jiff::{
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

/// Reads RFC 3339. The usual spelling is read by hand, which is several times faster than the general parser.
pub(crate) fn parse_rfc3339(text: &str) -> Option<TimeUs> {
    parse_plain(text.as_bytes()).or_else(|| TimeUs::parse(text).ok())
}

/// `YYYY-MM-DDTHH:MM:SS[.f]Z` or with an offset `+HH:MM`; none when it is spelt otherwise.
fn parse_plain(text: &[u8]) -> Option<TimeUs> {
    let (whole, mut rest) = text.split_at_checked(19)?;
    if !matches!(whole[10], b'T' | b't' | b' ') {
        return None;
    }
    let seconds = civil_seconds(whole)?;
    let mut micros = 0;
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 || digits > 6 {
            return None;
        }
        micros = number(&fraction[..digits])? * 10_i64.pow(6 - u32::try_from(digits).ok()?);
        rest = &fraction[digits..];
    }
    let offset = match rest {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 3600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    Some(TimeUs((seconds - offset) * SECOND_US + micros))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |sum, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
    })
}

/// `YYYY-MM-DD?HH:MM:SS` as seconds since 1970 in its own zone; none when it is no such date or time.
pub(crate) fn civil_seconds(text: &[u8]) -> Option<i64> {
    let &[
        y1,
        y2,
        y3,
        y4,
        b'-',
        mo1,
        mo2,
        b'-',
        d1,
        d2,
        _,
        h1,
        h2,
        b':',
        mi1,
        mi2,
        b':',
        s1,
        s2,
    ] = text
    else {
        return None;
    };
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[mo1, mo2])?, number(&[d1, d2])?);
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[mi1, mi2])?, number(&[s1, s2])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || day > last || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970-01-01 in the proleptic Gregorian calendar, years counted from March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
            - 719_469;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Turns local times into moments.
pub(crate) struct LocalClock {
    zone: TimeZone,
    fixed: Option<i64>,
    /// The last unambiguous minute and its offset: rows of one file lie close together.
    last: (i64, i64),
}

impl LocalClock {
    pub(crate) fn new(zone: TimeZone) -> Self {
        let fixed = zone.to_fixed_offset().ok().map(|offset| i64::from(offset.seconds()));
        Self {
            zone,
            fixed,
            last: (i64::MIN, 0),
        }
    }

    /// The moment of a local time. In the hour that happens twice when clocks go back, the one nearer to `near` (seconds
    /// since 1970) counts, or the first; a time that clocks going forward leave out is read with the offset before it.
    pub(crate) fn moment(&mut self, civil_seconds: i64, near: Option<i64>) -> Option<TimeUs> {
        let minute = civil_seconds.div_euclid(60);
        let offset = match self.fixed {
            Some(offset) => offset,
            None if self.last.0 == minute => self.last.1,
            None => {
                let civil = civil_datetime(civil_seconds)?;
                match self.zone.to_ambiguous_timestamp(civil).offset() {
                    AmbiguousOffset::Unambiguous { offset } => {
                        self.last = (minute, i64::from(offset.seconds()));
                        self.last.1
                    }
                    AmbiguousOffset::Gap { before, .. } => i64::from(before.seconds()),
                    AmbiguousOffset::Fold { before, after } => {
                        let (before, after) = (i64::from(before.seconds()), i64::from(after.seconds()));
                        let distance = |offset: i64| near.map_or(0, |near| (civil_seconds - offset - near).abs());
                        if distance(after) < distance(before) {
                            after
                        } else {
                            before
                        }
                    }
                }
            }
        };
        Some(TimeUs((civil_seconds - offset) * SECOND_US))
    }
}

fn civil_datetime(seconds: i64) -> Option<DateTime> {
    jiff::Timestamp::from_second(seconds)
        .ok()
        .map(|stamp| stamp.to_zoned_datetime(TimeZone::UTC).datetime())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_and_unusual_spellings_agree_with_the_general_parser() {
        for text in [
            "2026-01-31T09:30:00Z",
            "2026-01-31t09:30:00.5z",
            "2028-02-29T23:59:59.999999+05:30",
            "1999-12-31T23:59:59-08:00",
            "0001-01-01T00:00:00Z",
            "2026-01-31T09:30:00.123456789Z",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T09:30:00",
            "2026-01-31",
            "",
            "yesterday",
            "2026-01-31T09:30:00+99:00",
        ] {
            assert_eq!(parse_rfc3339(text), TimeUs::parse(text).ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_reads_back(us in -62_000_000_000_000_000_i64..253_000_000_000_000_000) {
            let text = TimeUs(us).to_string();
            prop_assert_eq!(parse_plain(text.as_bytes()), Some(TimeUs(us)), "{}", text);
        }
    }

    #[test]
    fn local_times_follow_their_zone_also_where_an_hour_happens_twice() {
        let at = |text: &str| TimeUs::parse(text).expect("a time");
        let civil = |text: &str| civil_seconds(text.as_bytes()).expect("a civil time");
        let mut india = LocalClock::new(TimeZone::fixed(jiff::tz::Offset::from_seconds(19_800).expect("+05:30")));
        assert_eq!(
            india.moment(civil("2026-01-31 09:30:00"), None),
            Some(at("2026-01-31T04:00:00Z"))
        );

        let mut berlin = LocalClock::new(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a rule"));
        assert_eq!(
            berlin.moment(civil("2026-07-01 12:00:00"), None),
            Some(at("2026-07-01T10:00:00Z"))
        );
        assert_eq!(
            berlin.moment(civil("2026-12-01 12:00:00"), None),
            Some(at("2026-12-01T11:00:00Z"))
        );
        let twice = civil("2026-10-25 02:30:00");
        let (first, second) = (at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"));
        assert_eq!(berlin.moment(twice, None), Some(first));
        assert_eq!(berlin.moment(twice, Some(second.0 / SECOND_US + 3)), Some(second));
        assert_eq!(
            berlin.moment(civil("2026-03-29 02:30:00"), None),
            Some(at("2026-03-29T01:30:00Z"))
        );
    }
}
