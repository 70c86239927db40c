//! Rows of the catalog. No row holds personal data in clear: bodies are sealed, numbers are keyed hashes.

mod credentials;

pub use credentials::{ChallengeRow, SessionRow, TokenRow, UserRow};

use callvault_core::{AccountSid, Class, Day, DocumentKind, KeyId, ObjectId, Sid, TimeUs, id::HoldId};

/// An account. Its `policy` is the JSON of the retention rules' histories; it holds no personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// The account.
    pub account: AccountSid,
    /// When it was created.
    pub created_at: TimeUs,
    /// The key that its blind index and its sealed notes derive from.
    pub key: KeyId,
    /// ISO 3166 code that national numbers are read in.
    pub country: String,
    /// Retention policy as JSON.
    pub policy: String,
    /// Counts changes of the policy.
    pub version: i64,
    /// When it was closed and shredded, if it was.
    pub closed_at: Option<TimeUs>,
}

impl AccountRow {
    /// Whether its key is gone. Between the beginning of its closing and this, `closed_at` is set and the policy is there.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed_at.is_some() && self.policy.is_empty()
    }
}

/// A wrapped data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// The account it belongs to.
    pub account: AccountSid,
    /// Identifier.
    pub key: KeyId,
    /// What it opens.
    pub purpose: KeyPurpose,
    /// The epoch whose key wraps it.
    pub epoch: u64,
    /// The wrapped key.
    pub wrapped: Vec<u8>,
}

/// What a data key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyPurpose {
    /// The account's own key: blind index and sealed notes.
    Account,
    /// One partition.
    Partition,
    /// One recording.
    Recording,
    /// One document, as it is now: every change has a new key.
    Document,
}

/// A key epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRow {
    /// Number, counting up from 1.
    pub epoch: u64,
    /// When it began.
    pub created_at: TimeUs,
    /// Its key, wrapped by the provider's root for this epoch.
    pub wrapped: Vec<u8>,
    /// Whether new keys may be wrapped in it (the newest one only).
    pub open: bool,
    /// Data keys wrapped in it now (filled by [`crate::Keys::list_epochs`]).
    pub live_keys: u64,
}

/// A partition: one account's records of one class for one UTC day. Its key identifies it: everything that hangs off a
/// partition is stored under `(account, key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRow {
    /// Account.
    pub account: AccountSid,
    /// Class.
    pub class: Class,
    /// UTC day.
    pub day: Day,
    /// Data key.
    pub key: KeyId,
    /// Counts seals and rewrites; a commit that expects another value conflicts.
    pub version: i64,
    /// Rows that are loose.
    pub loose_rows: u64,
    /// When the oldest loose row arrived.
    pub loose_since: Option<TimeUs>,
    /// Rows in segments, those under a tombstone included.
    pub sealed_rows: u64,
    /// Bytes of segments and loose bodies.
    pub bytes: u64,
    /// Number of segments.
    pub segments: u64,
    /// Rows hidden by tombstones.
    pub tombstones: u64,
    /// When the oldest tombstone was set.
    pub oldest_tombstone_at: Option<TimeUs>,
}

/// What names a partition's generation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartitionRef {
    /// Account.
    pub account: AccountSid,
    /// Class.
    pub class: Class,
    /// UTC day.
    pub day: Day,
    /// Data key.
    pub key: KeyId,
}

impl PartitionRow {
    /// The partition's name.
    #[must_use]
    pub fn reference(&self) -> PartitionRef {
        PartitionRef {
            account: self.account.clone(),
            class: self.class,
            day: self.day,
            key: self.key,
        }
    }
}

/// A row that is not sealed into a segment yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LooseRow {
    /// Identifier.
    pub sid: Sid,
    /// The record's moment.
    pub at: TimeUs,
    /// The record, sealed under the partition's key.
    pub body: Vec<u8>,
}

/// A sealed segment of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRow {
    /// Identifier; also the name of its objects.
    pub segment: ObjectId,
    /// Rows in it.
    pub rows: u64,
    /// Size of body and locator in bytes.
    pub bytes: u64,
    /// First record's moment.
    pub min_at: TimeUs,
    /// Last record's moment.
    pub max_at: TimeUs,
    /// A small segment's body and locator; a large one's are objects.
    pub packed: Option<Packed>,
}

/// A small segment kept in the catalog, both parts sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Body.
    pub body: Vec<u8>,
    /// Locator.
    pub locator: Vec<u8>,
}

/// A hidden row of a sealed or loose partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// The hidden record.
    pub sid: Sid,
    /// When it was hidden.
    pub at: TimeUs,
}

/// A recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingRow {
    /// Account.
    pub account: AccountSid,
    /// Identifier.
    pub sid: Sid,
    /// The call it belongs to.
    pub call_sid: Option<Sid>,
    /// When it began. Its retention counts from here.
    pub at: TimeUs,
    /// When the vault took it in.
    pub kept_since: TimeUs,
    /// Data key.
    pub key: KeyId,
    /// Object in the object store.
    pub object: ObjectId,
    /// Bytes of audio (plain).
    pub bytes: u64,
    /// Blind hashes of the parties.
    pub parties: [[u8; 16]; 2],
    /// Description, sealed under the recording's key.
    pub meta: Vec<u8>,
}

/// A document: a contact, a list, a campaign, a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRow {
    /// Account.
    pub account: AccountSid,
    /// What it is.
    pub kind: DocumentKind,
    /// Identifier.
    pub id: Sid,
    /// Blind hash of what no other document of the kind may have: a contact's number, a list's name.
    pub name: Option<[u8; 16]>,
    /// When it was made. A term counts from here.
    pub at: TimeUs,
    /// When it was changed last.
    pub updated_at: TimeUs,
    /// Counts changes.
    pub version: i64,
    /// How many members it has, for a list.
    pub members: u64,
    /// Data key of the present body.
    pub key: KeyId,
    /// The body, sealed under the key.
    pub body: Vec<u8>,
}

/// Which documents to list. All given conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct DocumentQuery {
    /// Members of this list.
    pub list: Option<Sid>,
    /// Newest first; otherwise oldest first.
    pub newest_first: bool,
    /// Continue after this one: `(at, id)` of the last one seen.
    pub after: Option<(TimeUs, Sid)>,
    /// Pass over so many.
    pub offset: u32,
    /// At most this many.
    pub limit: u32,
}

/// What became of the change of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// It is changed.
    Done,
    /// Another one has the name.
    NameTaken,
}

/// A legal hold. `hold` is the JSON of the rule (blind hashes, SIDs, times); `note` is matter and reason, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRow {
    /// Account.
    pub account: AccountSid,
    /// Identifier.
    pub hold: HoldId,
    /// The rule as JSON.
    pub rule: String,
    /// Matter and reason, sealed under the account's key.
    pub note: Vec<u8>,
    /// When it was lifted, if it was.
    pub lifted_at: Option<TimeUs>,
}

/// A leaf to append to the transparency log. Bodies carry no personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLeaf {
    /// Canonical JSON of the leaf.
    pub body: Vec<u8>,
    /// The certificate's statement as JSON (with account and salt), kept to issue the certificate; empty when the leaf
    /// has no certificate.
    pub statement: String,
}

/// Keys to destroy, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shred {
    /// Account.
    pub account: AccountSid,
    /// Version of the account's rules (policy and holds) that the decision was made by; a hold that was placed since
    /// makes it a conflict.
    pub rules_version: i64,
    /// When.
    pub at: TimeUs,
    /// Partitions that go with their keys.
    pub partitions: Vec<PartitionRef>,
    /// Recordings that go with their keys.
    pub recordings: Vec<(Sid, KeyId)>,
    /// Documents that go with their keys.
    pub documents: Vec<(DocumentKind, Sid, KeyId)>,
    /// The account's own key, when the account goes; tokens, holds and policy go with it.
    pub account_key: Option<KeyId>,
    /// Values to set, by name: marks of what may not be taken in again (see [`crate::Recordings::insert_recording`]).
    pub marks: Vec<String>,
    /// The leaf that says so.
    pub leaf: NewLeaf,
}

/// What a leaf says was destroyed and how far the housekeeping is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestructionRow {
    /// Index of the leaf in the log.
    pub leaf: u64,
    /// Account.
    pub account: AccountSid,
    /// When.
    pub at: TimeUs,
    /// The certificate's statement.
    pub statement: String,
    /// When its last row and object were removed; nothing while something remains.
    pub purged_at: Option<TimeUs>,
}

/// Something to remove after a shred: rows of a partition, or an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GarbageRow {
    /// Identifier, in the order of removal.
    pub id: i64,
    /// Account.
    pub account: AccountSid,
    /// The leaf that caused it, or nothing (a segment replaced by a merge).
    pub leaf: Option<u64>,
    /// What to remove.
    pub what: Garbage,
}

/// What [`GarbageRow`] removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Garbage {
    /// Loose rows, segment rows and tombstones under this partition key.
    PartitionRows(KeyId),
    /// An object of the object store.
    Object(String),
}

/// The commit of a seal or a merge: loose rows and old segments are replaced by new segments of the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealCommit {
    /// The partition.
    pub partition: PartitionRef,
    /// The version that was read.
    pub expected_version: i64,
    /// New segments.
    pub add: Vec<SegmentRow>,
    /// Loose rows that are now in a segment.
    pub remove_loose: Vec<Sid>,
    /// Segments that were merged away; their objects become garbage.
    pub remove_segments: Vec<ObjectId>,
}

/// The commit of a rewrite: the partition goes on under a new key without some of its rows, and the old key is
/// destroyed in the same transaction. Tombstones end with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewriteCommit {
    /// The partition and its old key.
    pub partition: PartitionRef,
    /// The version that was read.
    pub expected_version: i64,
    /// As [`Shred::rules_version`].
    pub rules_version: i64,
    /// The number of loose rows that was read; a row that arrived since makes it a conflict.
    pub expected_loose_rows: u64,
    /// The number of tombstones that was read.
    pub expected_tombstones: u64,
    /// The new key.
    pub new_key: KeyRow,
    /// What is kept, sealed under the new key.
    pub add: Vec<SegmentRow>,
    /// When.
    pub at: TimeUs,
    /// The leaf that says the old key is gone.
    pub leaf: NewLeaf,
}

/// A segment that goes straight into a partition (bulk import).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInsert {
    /// The partition; it is opened before.
    pub partition: PartitionRef,
    /// The segment.
    pub segment: SegmentRow,
}

/// A job: work that must survive a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Identifier, 32 hexadecimal digits, or a name that makes it the only one of its kind (`import:<digest>`).
    pub id: String,
    /// Account, if it belongs to one.
    pub account: Option<AccountSid>,
    /// Kind, such as `import` or `announce`.
    pub kind: String,
    /// Parameters and progress; sealed where it could carry personal data.
    pub body: Vec<u8>,
    /// When it may run next.
    pub run_at: TimeUs,
    /// When the present lease ends; nothing while nobody works on it.
    pub lease_until: Option<TimeUs>,
    /// Who leased it.
    pub leased_by: Option<String>,
    /// How often it was begun.
    pub attempts: i64,
    /// Where it stands.
    pub state: JobState,
    /// The last failure, without personal data.
    pub error: Option<String>,
    /// When it was created.
    pub created_at: TimeUs,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Waiting or leased.
    Open,
    /// Done.
    Done,
    /// Given up; somebody must look.
    Failed,
}

/// Which recordings to list. All given conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct RecordingQuery {
    /// Began at or after.
    pub from: Option<TimeUs>,
    /// Began before.
    pub to: Option<TimeUs>,
    /// Of this call.
    pub call_sid: Option<Sid>,
    /// Of one of these calls; of whichever when there are none.
    pub call_sids: Vec<Sid>,
    /// With this party (blind hash).
    pub party: Option<[u8; 16]>,
    /// Continue after this one: `(at, sid)` of the last one seen.
    pub after: Option<(TimeUs, Sid)>,
    /// Newest first; otherwise oldest first.
    pub newest_first: bool,
    /// At most this many.
    pub limit: u32,
}

/// Recordings of one account and one UTC day, summed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingDay {
    /// The UTC day they began.
    pub day: Day,
    /// How many.
    pub count: u64,
    /// Bytes of audio.
    pub bytes: u64,
}
