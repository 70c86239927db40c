//! Sealed partitions: records of one class as encrypted bytes, with a locator beside them.
//!
//! [`encode`] turns sorted records into one [`Encoded`] segment: small ones are *packed* whole into one envelope, big
//! ones become one encrypted Apache Parquet file. [`SegmentReader`] reads both. The [`Locator`] finds the rows of a
//! number by its blind hash without decoding any of them. Formats and sizes: `docs/design/segments.md`.
//!
//! Nothing here does I/O of its own: bytes come through [`RangeRead`].

mod columns;
mod encode;
mod footer;
mod locator;
mod packed;
mod range;
mod reader;
mod restore;
mod sheet;
mod varint;

#[cfg(test)]
mod tests;

pub use encode::{Encoded, PARQUET_FROM_ROWS, SegmentKind, encode};
pub use footer::Footer;
pub use locator::{Fence, Locator};
pub use range::RangeRead;
pub use reader::{Order, Scan, SegmentReader};

use callvault_core::Number;
use callvault_seal::{SealError, SecretKey};

/// Gives a number's blind hash; the locator keeps its first six bytes.
pub type HashOf<'a> = &'a (dyn Fn(&Number) -> [u8; 16] + Sync);

/// Why a segment cannot be written or read. No variant carries content.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The key, or the segment id, is not the one the bytes were sealed under.
    #[error("the key or the segment id does not belong to these bytes")]
    WrongKey,
    /// The bytes are cut short or changed.
    #[error("the segment is damaged: {0}")]
    Damaged(&'static str),
    /// The records cannot form a segment.
    #[error("these records form no segment: {0}")]
    Unfit(&'static str),
    /// The Parquet writer refused.
    #[error("the segment cannot be written: {0}")]
    Write(String),
    /// The bytes could not be fetched.
    #[error("the segment cannot be fetched: {0}")]
    Fetch(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

type Result<T> = std::result::Result<T, SegmentError>;

/// What a derived key is for.
#[derive(Clone, Copy)]
enum Part {
    File,
    Packed,
    Locator,
}

/// The key of one part of one segment. Every part has its own, so that no two of them share nonces.
fn part_key(partition: &SecretKey, part: Part, segment_id: &[u8; 16]) -> SecretKey {
    let purpose: &[u8] = match part {
        Part::File => b"callvault/segment/v1/parquet/",
        Part::Packed => b"callvault/segment/v1/packed/",
        Part::Locator => b"callvault/segment/v1/locator/",
    };
    partition.derive(&[purpose, segment_id].concat())
}

/// Eight bytes in clear that tell a wrong key from damage. They are a one-way function of the part's key.
fn key_check(part_key: &SecretKey) -> [u8; 8] {
    let derived = part_key.derive(b"callvault/segment/v1/check");
    let mut check = [0; 8];
    check.copy_from_slice(&derived.expose()[..8]);
    check
}
