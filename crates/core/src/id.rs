//! Identifiers. Each is a type of its own; none carries personal data.

use std::{fmt, str::FromStr};

use compact_str::CompactString;
use serde::{Deserialize, Serialize, de};

use crate::time::{Day, TimeUs};

/// A text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: expected {expected}")]
pub struct BadId {
    /// Which identifier was expected.
    pub what: &'static str,
    /// Its form, in words.
    pub expected: &'static str,
}

/// An account: 3 to 64 characters of `a-z`, `0-9`, `_` and `-`, as in the platform's URLs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AccountSid(CompactString);

impl AccountSid {
    /// The account's name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountSid {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if (3..=64).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(CompactString::new(text)))
        } else {
            Err(BadId {
                what: "account SID",
                expected: "3 to 64 characters of a-z, 0-9, _ and -",
            })
        }
    }
}

impl fmt::Display for AccountSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccountSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AccountSid {
    fn deserialize<D: de::Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        String::deserialize(de)?.parse().map_err(de::Error::custom)
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = BadId { what: $what, expected: "32 lower-case hexadecimal digits" };
                if text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(bad);
                }
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| bad)?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 32];
                hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, ser: S) -> Result<S::Ok, S::Error> {
                ser.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: de::Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
                String::deserialize(de)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// A record's identifier: 32 hexadecimal digits that begin with the record's time, so that a SID alone finds its
    /// partition. Bytes 0 to 5 are milliseconds since 1970 (big endian), bytes 6 to 15 are random or a keyed hash of
    /// the source's own id.
    Sid,
    "SID"
);
hex_id!(
    /// A data key's identifier: 16 random bytes.
    KeyId,
    "key id"
);
hex_id!(
    /// An object's identifier in the object store: 16 random bytes.
    ObjectId,
    "object id"
);
hex_id!(
    /// A legal hold's identifier: 16 random bytes.
    HoldId,
    "hold id"
);
hex_id!(
    /// A user's identifier: 16 random bytes.
    UserId,
    "user id"
);
hex_id!(
    /// An erased record in a log leaf: a keyed hash of its SID, 16 bytes.
    Subject,
    "subject"
);

impl Sid {
    /// The SID of a record that happened `at` this moment; `tail` is random, or a keyed hash of the source's id so
    /// that the same source row always gets the same SID.
    ///
    /// Moments before 1970 count as 1970.
    #[must_use]
    pub fn new(at: TimeUs, tail: [u8; 10]) -> Self {
        let ms = u64::try_from(at.0.div_euclid(1000)).unwrap_or(0).to_be_bytes();
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&ms[2..]);
        bytes[6..].copy_from_slice(&tail);
        Self(bytes)
    }

    /// The record's moment, cut to the millisecond.
    #[must_use]
    pub fn at_ms(self) -> TimeUs {
        let mut ms = [0; 8];
        ms[2..].copy_from_slice(&self.0[..6]);
        TimeUs(i64::from_be_bytes(ms).saturating_mul(1000))
    }

    /// The UTC day of the record, and so its partition.
    #[must_use]
    pub fn day(self) -> Day {
        self.at_ms().day()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_alone_finds_its_day() {
        let at = TimeUs::parse("2026-11-23T23:59:59.999999Z").expect("a time");
        let sid = Sid::new(at, [7; 10]);
        assert_eq!(sid.day(), at.day());
        assert_eq!(sid.to_string().len(), 32);
        assert_eq!(sid.to_string().parse::<Sid>().expect("round trip"), sid);
        assert!(Sid::new(TimeUs(at.0 + 1_000), [0; 10]) > sid, "SIDs sort by time");
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in ["", "12", "zz", &"A".repeat(32), &"0".repeat(33)] {
            assert!(text.parse::<Sid>().is_err(), "{text}");
        }
        for text in ["ab", "Acme", "a b", "a/../b", &"a".repeat(65)] {
            assert!(text.parse::<AccountSid>().is_err(), "{text}");
        }
        assert!("acme-1_x".parse::<AccountSid>().is_ok());
    }
}
