//! From when until when a certificate holds (RFC 5280, section 4.1).

use callvault_app::core::{TimeUs, time::DAY_US};

/// The days left at which an operator is warned.
pub const WARN_DAYS: i64 = 14;

/// A certificate's term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The first moment.
    pub from: TimeUs,
    /// The last moment.
    pub to: TimeUs,
}

impl Life {
    /// Whole days left; negative when it is over.
    #[must_use]
    pub const fn days_left(&self, now: TimeUs) -> i64 {
        self.to.0.saturating_sub(now.0).div_euclid(DAY_US)
    }

    /// When it is to be renewed: at two thirds of its life.
    #[must_use]
    pub const fn renew_at(&self) -> TimeUs {
        TimeUs(
            self.from
                .0
                .saturating_add(self.to.0.saturating_sub(self.from.0) / 3 * 2),
        )
    }
}

/// A DER value's content and what follows it.
fn read_value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let length = digits.iter().try_fold(0_usize, |length, digit| {
            length.checked_mul(256)?.checked_add(usize::from(*digit))
        })?;
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `UTCTime` has two digits of the year, which are 1950 to 2049; `GeneralizedTime` four.
fn read_time(tag: u8, content: &[u8]) -> Option<TimeUs> {
    let text = std::str::from_utf8(content).ok()?;
    let (year, rest) = match tag {
        0x17 => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: u32 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        0x18 => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2);
    let (month, day, hour, minute, second) = (part(0)?, part(2)?, part(4)?, part(6)?, part(8)?);
    TimeUs::parse(&format!("{year:04}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

/// The term of a certificate in DER.
#[must_use]
pub fn read_life(der: &[u8]) -> Option<Life> {
    let (_, certificate, _) = read_value(der)?;
    let (_, mut fields, _) = read_value(certificate)?;
    // The version may be absent; then come serial number, signature algorithm, issuer and validity.
    if fields.first() == Some(&0xa0) {
        (_, _, fields) = read_value(fields)?;
    }
    for _ in 0..3 {
        (_, _, fields) = read_value(fields)?;
    }
    let (_, validity, _) = read_value(fields)?;
    let (tag, from, rest) = read_value(validity)?;
    let from = read_time(tag, from)?;
    let (tag, to, _) = read_value(rest)?;
    Some(Life {
        from,
        to: read_time(tag, to)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dates_are_those_that_were_put_in() {
        for (from, to) in [((2026, 1, 31), (2026, 5, 1)), ((1999, 12, 31), (2051, 1, 1))] {
            let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
            params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
            params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
            let key = rcgen::KeyPair::generate().expect("a key");
            let made = params.self_signed(&key).expect("a certificate");
            let life = read_life(made.der()).expect("dates");
            let day =
                |(y, m, d): (i32, u8, u8)| TimeUs::parse(&format!("{y}-{m:02}-{d:02}T00:00:00Z")).expect("a time");
            assert_eq!(
                life,
                Life {
                    from: day(from),
                    to: day(to)
                }
            );
            assert!(read_life(&made.der()[..80]).is_none());
        }
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        let life = Life {
            from: TimeUs(0),
            to: TimeUs(90 * DAY_US),
        };
        assert_eq!(life.renew_at(), TimeUs(60 * DAY_US));
        assert_eq!(life.days_left(TimeUs(80 * DAY_US + 1)), 9);
        assert_eq!(life.days_left(TimeUs(91 * DAY_US)), -1);
    }
}
