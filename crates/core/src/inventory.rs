//! What the vault holds, as the planner and the forecast see it.

use serde::{Deserialize, Serialize};

use crate::{
    class::Class,
    document::DocumentKind,
    id::{AccountSid, KeyId, Sid},
    time::{Day, TimeUs},
};

/// One account's records of one class and one UTC day, under one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionItem {
    /// Account.
    pub account: AccountSid,
    /// Class.
    pub class: Class,
    /// Day.
    pub day: Day,
    /// The key that opens it.
    pub key: KeyId,
    /// All its rows, loose and sealed, those with a tombstone included.
    pub rows: u64,
    /// Their size.
    pub bytes: u64,
    /// When the vault began to keep the latest of its rows.
    pub kept_since: TimeUs,
    /// Rows that a hold freezes now. A row with a tombstone is never one of them.
    pub held_rows: u64,
    /// When the latest hold was lifted that kept one of its rows beyond its term, if one was.
    pub released_at: Option<TimeUs>,
    /// Rows with a tombstone.
    pub tombstones: u64,
    /// When the oldest tombstone was set.
    pub oldest_tombstone_at: Option<TimeUs>,
    /// Rows that are not sealed into a segment.
    pub loose_rows: u64,
    /// When the oldest loose row came.
    pub oldest_loose_at: Option<TimeUs>,
    /// Sealed segments.
    pub segments: u32,
}

/// One recording, under its own key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingItem {
    /// Account.
    pub account: AccountSid,
    /// Identifier.
    pub sid: Sid,
    /// The key that opens it.
    pub key: KeyId,
    /// The moment its term counts from.
    pub at: TimeUs,
    /// When the vault began to keep it.
    pub kept_since: TimeUs,
    /// Size.
    pub bytes: u64,
    /// Whether a hold freezes it now.
    pub held: bool,
    /// When the latest hold was lifted that kept it beyond its term, if one was.
    pub released_at: Option<TimeUs>,
}

/// One document, under its own key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentItem {
    /// Account.
    pub account: AccountSid,
    /// What it is; its class follows.
    pub kind: DocumentKind,
    /// Identifier.
    pub id: Sid,
    /// The key that opens it.
    pub key: KeyId,
    /// The moment its term counts from.
    pub at: TimeUs,
    /// Size.
    pub bytes: u64,
    /// Whether a hold freezes it now.
    pub held: bool,
    /// When the latest hold was lifted that kept it beyond its term, if one was.
    pub released_at: Option<TimeUs>,
}

/// What the vault holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Inventory {
    /// Partitions.
    pub partitions: Vec<PartitionItem>,
    /// Recordings.
    pub recordings: Vec<RecordingItem>,
    /// Documents.
    pub documents: Vec<DocumentItem>,
}
