//! Records to a sealed segment.

use callvault_core::{Class, TimeUs, record::Record};
use callvault_seal::SecretKey;

use super::{HashOf, Result, SegmentError, columns::columns_of, locator, packed, sheet};

/// From this many rows on a segment is a Parquet file: below, decoding the whole costs less than a file's footer, and
/// the footer costs more bytes than its pages save.
pub const PARQUET_FROM_ROWS: usize = 4_000;

/// The form of a segment's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentKind {
    /// One envelope, kept in a catalog row and read whole.
    Packed,
    /// An encrypted Parquet file, read by pages.
    Parquet,
}

/// A sealed segment.
pub struct Encoded {
    /// The form of `bytes`.
    pub kind: SegmentKind,
    /// The sealed records.
    pub bytes: Vec<u8>,
    /// The sealed locator.
    pub locator: Vec<u8>,
    /// How many records.
    pub rows: u32,
    /// The earliest record's time.
    pub min_at: TimeUs,
    /// The latest record's time.
    pub max_at: TimeUs,
}

/// Seals records of one class, sorted by time and SID, under a partition's key. `segment_id` is random and new for
/// every segment: bytes and locator open under this id alone. `hash_of` is called once for each distinct number.
///
/// # Errors
/// [`SegmentError::Unfit`] when the records are none, too many, unsorted, or not all of one class;
/// [`SegmentError::Write`] and [`SegmentError::Seal`].
pub fn encode(records: &[Record], key: &SecretKey, segment_id: [u8; 16], hash_of: HashOf<'_>) -> Result<Encoded> {
    let kind = if records.len() < PARQUET_FROM_ROWS {
        SegmentKind::Packed
    } else {
        SegmentKind::Parquet
    };
    encode_as(kind, records, key, segment_id, hash_of)
}

/// [`encode`] in a form of the caller's choice.
pub(super) fn encode_as(
    kind: SegmentKind,
    records: &[Record],
    key: &SecretKey,
    segment_id: [u8; 16],
    hash_of: HashOf<'_>,
) -> Result<Encoded> {
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return Err(SegmentError::Unfit("there are none"));
    };
    let class = first.class();
    if class_code(class).is_none() || records.iter().any(|record| record.class() != class) {
        return Err(SegmentError::Unfit("they are not of one class"));
    }
    if !records.is_sorted_by_key(|record| (record.at(), record.sid())) {
        return Err(SegmentError::Unfit("they are not sorted by time and SID"));
    }
    let rows = u32::try_from(records.len()).map_err(|_| SegmentError::Unfit("there are too many"))?;
    let columns = columns_of(records);
    let bytes = match kind {
        SegmentKind::Packed => packed::seal(class, records.len(), &columns, key, &segment_id)?,
        SegmentKind::Parquet => sheet::seal(class, records.len(), &columns, key, &segment_id)?,
    };
    let locator = locator::seal(records, key, &segment_id, hash_of)?;
    Ok(Encoded {
        kind,
        bytes,
        locator,
        rows,
        min_at: first.at(),
        max_at: last.at(),
    })
}

/// The number a class has in the formats; classes that have no segments have none.
pub(super) const fn class_code(class: Class) -> Option<u8> {
    match class {
        Class::Call => Some(1),
        Class::Message => Some(2),
        Class::Activity => Some(3),
        Class::ApiAccess => Some(4),
        Class::WebhookDelivery => Some(5),
        Class::CampaignReport => Some(6),
        Class::Recording | Class::Contact => None,
    }
}

/// The class with this number.
pub(super) const fn class_from(code: u8) -> Option<Class> {
    match code {
        1 => Some(Class::Call),
        2 => Some(Class::Message),
        3 => Some(Class::Activity),
        4 => Some(Class::ApiAccess),
        5 => Some(Class::WebhookDelivery),
        6 => Some(Class::CampaignReport),
        _ => None,
    }
}
