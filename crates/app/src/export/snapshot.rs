//! The name of an export's state.

use std::{fmt, str::FromStr};

use callvault_core::TimeUs;

use crate::error::VaultError;

/// The state that an export is of: a moment, and a mark of everything that decides its bytes. The mark is a keyed hash
/// under the account's own key, so that it tells nothing and cannot be made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The moment.
    pub at: TimeUs,
    /// The mark.
    pub mark: [u8; 16],
}

impl fmt::Display for Snapshot {
    /// 16 digits of the moment and 32 of the mark, hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{}", self.at.0, hex::encode(self.mark))
    }
}

impl FromStr for Snapshot {
    type Err = VaultError;

    fn from_str(text: &str) -> Result<Self, VaultError> {
        let read = || {
            let (at, mark) = text.split_at_checked(16)?;
            let mut bytes = ([0; 8], [0; 16]);
            hex::decode_to_slice(at, &mut bytes.0).ok()?;
            hex::decode_to_slice(mark, &mut bytes.1).ok()?;
            let at = TimeUs(i64::from_be_bytes(bytes.0));
            (TimeUs(0)..=TimeUs::NEVER)
                .contains(&at)
                .then_some(Self { at, mark: bytes.1 })
        };
        let expected = "not a snapshot of an export: expected 48 hexadecimal digits";
        read().ok_or_else(|| VaultError::invalid("snapshot", expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_survive_the_trip() {
        let snapshot = Snapshot {
            at: TimeUs(1_763_890_000_123_456),
            mark: [0xab; 16],
        };
        assert!(
            snapshot
                .to_string()
                .parse::<Snapshot>()
                .is_ok_and(|read| read == snapshot)
        );
        for text in [
            "",
            "zz",
            &"0".repeat(47),
            &"f".repeat(48),
            &"+".repeat(48),
            &"é".repeat(24),
        ] {
            assert!(text.parse::<Snapshot>().is_err(), "{text}");
        }
    }
}
