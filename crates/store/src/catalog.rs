//! The catalog port: what the vault knows about what it keeps.

use async_trait::async_trait;
use callvault_core::{AccountSid, Class, Day, DocumentKind, KeyId, Sid, TimeUs, id::HoldId};
use std::ops::Range;

use crate::{
    Credentials, StoreError,
    rows::{
        AccountRow, DestructionRow, DocumentQuery, DocumentRow, EpochRow, GarbageRow, HoldRow, JobRow, JobState,
        KeyRow, LooseRow, NewLeaf, PartitionRef, PartitionRow, RecordingDay, RecordingQuery, RecordingRow, Replaced,
        RewriteCommit, SealCommit, SegmentInsert, SegmentRow, Shred, Tombstone,
    },
};

type Result<T> = std::result::Result<T, StoreError>;

/// Everything a region's catalog does.
#[async_trait]
pub trait Catalog: Accounts + Credentials + Keys + Partitions + Recordings + Documents + Log + Jobs {
    /// Brings the schema up to date. Safe to call from several processes at once.
    async fn migrate(&self) -> Result<()> {
        self.migrate_to(i64::MAX).await
    }

    /// As [`Catalog::migrate`], up to this version of the schema and no further: what tests of older catalogs begin with.
    async fn migrate_to(&self, version: i64) -> Result<()>;

    /// Answers when the catalog can read and write.
    async fn ping(&self) -> Result<()>;

    /// Writes every table's rows, from one consistent snapshot, while others go on working. The text is the same for
    /// every backend: a header line, then one JSON array a row.
    async fn dump(&self, to: &mut (dyn tokio::io::AsyncWrite + Send + Unpin)) -> Result<()>;

    /// Fills an empty catalog from a dump of any backend and sets these values, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the catalog is not empty, [`StoreError::Damaged`] when the dump is.
    async fn load(
        &self,
        from: &mut (dyn tokio::io::AsyncBufRead + Send + Unpin),
        values: &[(&str, &[u8])],
    ) -> Result<()>;

    /// Gives freed space back and leaves no deleted row behind in the files where the engine allows it (SQLite:
    /// checkpoint and truncate the write-ahead log; PostgreSQL: vacuum).
    async fn compact(&self) -> Result<()>;

    /// Where the catalog is, for people: a file or a database, without credentials.
    fn place(&self) -> String;
}

/// Accounts, settings, holds.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// A region-wide value (`region`, `log-key`, `purge-days`, ...).
    async fn find_value(&self, name: &str) -> Result<Option<Vec<u8>>>;
    /// The values whose names begin like this, in order of name.
    async fn list_values(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>>;
    /// Those of these names that have a value.
    async fn find_values(&self, names: &[String]) -> Result<Vec<String>>;
    /// At most so many values whose names begin like this, with the rest of the name after `after`, in order of name.
    async fn page_values(&self, prefix: &str, after: &str, limit: u32) -> Result<Vec<(String, Vec<u8>)>>;
    /// Removes a value. Returns whether it was there.
    async fn delete_value(&self, name: &str) -> Result<bool>;
    /// Sets a region-wide value, whatever was there.
    async fn put_value(&self, name: &str, value: &[u8]) -> Result<()>;
    /// Sets a region-wide value if it is not set; returns the one that is in force.
    async fn init_value(&self, name: &str, value: &[u8]) -> Result<Vec<u8>>;

    /// Creates an account with its key.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of this name, also a closed one.
    async fn insert_account(&self, account: &AccountRow, key: &KeyRow) -> Result<()>;
    /// An account, closed ones included.
    async fn find_account(&self, account: &AccountSid) -> Result<Option<AccountRow>>;
    /// Accounts after this one, in order of name.
    async fn list_accounts(&self, after: Option<&AccountSid>, limit: u32) -> Result<Vec<AccountRow>>;
    /// Replaces an account's policy, with the jobs that announce it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the version is no longer `expected_version`.
    async fn put_policy(
        &self,
        account: &AccountSid,
        policy: &str,
        expected_version: i64,
        jobs: &[JobRow],
    ) -> Result<()>;

    /// Places a hold.
    async fn insert_hold(&self, hold: &HoldRow) -> Result<()>;
    /// Lifts a hold: its rule is replaced and `lifted_at` set. Returns whether it was in force.
    async fn lift_hold(&self, account: &AccountSid, hold: HoldId, rule: &str, at: TimeUs) -> Result<bool>;
    /// Every hold of an account, lifted ones included, oldest first.
    async fn list_holds(&self, account: &AccountSid) -> Result<Vec<HoldRow>>;

    /// Closes an account for good: nothing more is taken in, no hold is placed. What it has stays until it is shredded,
    /// and its policy until its key is.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its rules changed since this version, or it is closed.
    async fn begin_closing(&self, account: &AccountSid, rules_version: i64, at: TimeUs) -> Result<()>;
}

/// Key epochs and wrapped data keys.
#[async_trait]
pub trait Keys: Send + Sync + 'static {
    /// Adds a new epoch and closes all others.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of this number.
    async fn insert_epoch(&self, epoch: &EpochRow) -> Result<()>;
    /// Every epoch, oldest first, with the number of keys in it.
    async fn list_epochs(&self) -> Result<Vec<EpochRow>>;
    /// Forgets an epoch, with the leaf that says so.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is open or a key is still wrapped in it.
    async fn delete_epoch(&self, epoch: u64, leaf: &NewLeaf) -> Result<()>;

    /// The wrapped keys that exist among those asked for.
    async fn find_keys(&self, account: &AccountSid, keys: &[KeyId]) -> Result<Vec<KeyRow>>;
    /// Keys wrapped in an epoch, in any stable order.
    async fn list_keys_in_epoch(&self, epoch: u64, limit: u32) -> Result<Vec<KeyRow>>;
    /// Moves keys into another epoch: each row carries its new epoch and wrapping, and takes effect only if the key
    /// still exists in epoch `from`. Returns how many did.
    async fn rewrap(&self, from: u64, keys: &[KeyRow]) -> Result<u64>;
}

/// Partitions, loose rows, segments, tombstones, and the shredding of all keys.
#[async_trait]
pub trait Partitions: Send + Sync + 'static {
    /// Opens partitions: those that do not exist are created with the given key. Returns them all as they are now, in
    /// the order asked for, so that the winner of a race is everybody's.
    async fn open_partitions(&self, new: &[(PartitionRef, KeyRow)]) -> Result<Vec<PartitionRow>>;
    /// One partition.
    async fn find_partition(&self, account: &AccountSid, class: Class, day: Day) -> Result<Option<PartitionRow>>;
    /// An account's partitions of a class, by day.
    async fn list_partitions(&self, account: &AccountSid, class: Class, days: Range<Day>) -> Result<Vec<PartitionRow>>;
    /// Every account's partitions of a class whose day is before `before`, oldest first.
    async fn list_partitions_before(&self, class: Class, before: Day, limit: u32) -> Result<Vec<PartitionRow>>;
    /// Partitions with loose rows to seal: at least `min_rows` of them, or of a day before `before`.
    async fn list_unsealed(&self, min_rows: u64, before: Day, limit: u32) -> Result<Vec<PartitionRow>>;
    /// Partitions with a tombstone set at or before this moment.
    async fn list_tombstoned(&self, until: TimeUs, limit: u32) -> Result<Vec<PartitionRow>>;
    /// Partitions with more segments than this.
    async fn list_fragmented(&self, segments: u64, limit: u32) -> Result<Vec<PartitionRow>>;

    /// Adds rows to opened partitions, all in one transaction. Returns for each row whether it was new; a SID that is
    /// there already is left as it is.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a partition no longer has this key; nothing is added then.
    async fn append_loose(&self, at: TimeUs, rows: &[(PartitionRef, LooseRow)]) -> Result<Vec<bool>>;
    /// A partition's loose rows, by SID.
    async fn list_loose(&self, partition: &PartitionRef) -> Result<Vec<LooseRow>>;
    /// One loose row.
    async fn find_loose(&self, partition: &PartitionRef, sid: Sid) -> Result<Option<LooseRow>>;
    /// A partition's segments, by first moment; small ones with their contents.
    async fn list_segments(&self, partition: &PartitionRef) -> Result<Vec<SegmentRow>>;
    /// The segments of several of an account's partitions, by partition and first moment; small ones with their
    /// contents. Partitions that do not exist have none.
    async fn list_segments_of(&self, account: &AccountSid, keys: &[KeyId]) -> Result<Vec<(KeyId, SegmentRow)>>;
    /// A partition's tombstones.
    async fn list_tombstones(&self, partition: &PartitionRef) -> Result<Vec<Tombstone>>;

    /// Adds segments straight to opened partitions and stores a job's progress with them, all in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a partition no longer has this key, or the job's lease is lost.
    async fn insert_segments(&self, segments: &[SegmentInsert], progress: Option<&JobRow>) -> Result<()>;
    /// Replaces loose rows and old segments by new segments of the same key.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the partition changed since it was read.
    async fn seal(&self, commit: &SealCommit) -> Result<()>;
    /// Replaces a partition's contents and key. Returns the leaf's index.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the partition changed since it was read.
    async fn rewrite(&self, commit: &RewriteCommit) -> Result<u64>;
    /// Hides rows at once, with the leaf that says so. Returns the leaf's index.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a partition no longer has this key, or the account's rules changed since this
    /// version.
    async fn erase(
        &self,
        account: &AccountSid,
        rules_version: i64,
        rows: &[(PartitionRef, Tombstone)],
        leaf: &NewLeaf,
    ) -> Result<u64>;

    /// Hides rows without a leaf: a restore that follows leaves already written. A row that is hidden stays so.
    async fn hide(&self, rows: &[(PartitionRef, Tombstone)]) -> Result<()>;

    /// Destroys keys: the keys' rows, the catalog entries they opened, and the leaf that says so, in one transaction.
    /// Costs by the number of keys, not of records. What remains to be removed becomes garbage rows. Returns the
    /// leaf's index.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when one of the keys is not there any more, or (with an account key) the account has
    /// another key that is not named; nothing is destroyed then.
    async fn shred(&self, shred: &Shred) -> Result<u64>;

    /// What is left to remove, oldest first.
    async fn list_garbage(&self, limit: u32) -> Result<Vec<GarbageRow>>;
    /// Removes the rows under a shredded partition key, a bounded number a call. Returns whether none remain.
    async fn purge_rows(&self, account: &AccountSid, key: KeyId, limit: u32) -> Result<bool>;
    /// Strikes removed garbage off; when it was the last of its leaf, `purged_at` of the leaf is set.
    async fn drop_garbage(&self, ids: &[i64], at: TimeUs) -> Result<()>;

    /// Names objects about to be written, so that a crash leaves no unknown object behind.
    async fn stage_objects(&self, names: &[String], at: TimeUs) -> Result<()>;
    /// Objects named before this moment that no commit took over. A commit ([`Self::seal`], [`Self::rewrite`],
    /// [`Self::insert_segments`], [`Recordings::insert_recording`]) takes over the objects of its segments and
    /// recordings in its own transaction (see [`object_names`]), and conflicts when one of them is not staged. What is
    /// listed is doomed: a commit that comes later conflicts, so that no clean-up takes an object that is in use.
    async fn list_staged(&self, before: TimeUs, limit: u32) -> Result<Vec<String>>;
    /// Forgets staged names, after their objects were removed.
    async fn unstage_objects(&self, names: &[String]) -> Result<()>;
}

/// Topics of values that belong to an account, named `TOPIC/ACCOUNT` or `TOPIC/ACCOUNT/...`; they go with it.
pub const ACCOUNT_TOPICS: [&str; 12] = [
    "alerts",
    "consent-policy",
    "export-job",
    "export-job-state",
    "export-run",
    "export-schedule",
    "exported",
    "flow",
    "prompt",
    "prompt-audio",
    "suppressed",
    "webhook",
];

/// Names of the objects of a segment or recording.
pub mod object_names {
    use callvault_core::{AccountSid, ObjectId};

    /// A large segment's body.
    #[must_use]
    pub fn segment(account: &AccountSid, segment: ObjectId) -> String {
        format!("accounts/{account}/segments/{segment}.parquet")
    }

    /// A large segment's locator.
    #[must_use]
    pub fn locator(account: &AccountSid, segment: ObjectId) -> String {
        format!("accounts/{account}/segments/{segment}.locator")
    }

    /// A recording.
    #[must_use]
    pub fn recording(account: &AccountSid, object: ObjectId) -> String {
        format!("accounts/{account}/recordings/{object}")
    }
}

/// Recordings.
#[async_trait]
pub trait Recordings: Send + Sync + 'static {
    /// Adds a recording with its key; its object is whole by then.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of this SID, or a value named `unless` is set: its deletion's mark.
    async fn insert_recording(&self, recording: &RecordingRow, key: &KeyRow, unless: &str) -> Result<()>;
    /// One recording.
    async fn find_recording(&self, account: &AccountSid, sid: Sid) -> Result<Option<RecordingRow>>;
    /// An account's recordings.
    async fn list_recordings(&self, account: &AccountSid, query: &RecordingQuery) -> Result<Vec<RecordingRow>>;
    /// An account's recordings summed up by day.
    async fn list_recording_days(&self, account: &AccountSid) -> Result<Vec<RecordingDay>>;
}

/// Documents, and which are members of which list.
#[async_trait]
pub trait Documents: Send + Sync + 'static {
    /// Adds documents with their keys, all in one transaction, as members of a list if one is named. Returns for each
    /// whether it was added: one whose id or name another has is left out.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such list.
    async fn insert_documents(&self, new: &[(DocumentRow, KeyRow)], list: Option<Sid>) -> Result<Vec<bool>>;
    /// Those of these documents that exist, in any order.
    async fn find_documents(&self, account: &AccountSid, kind: DocumentKind, ids: &[Sid]) -> Result<Vec<DocumentRow>>;
    /// The document with this name.
    async fn find_named(&self, account: &AccountSid, kind: DocumentKind, name: [u8; 16])
    -> Result<Option<DocumentRow>>;
    /// An account's documents of a kind, by the moment they were made.
    async fn list_documents(
        &self,
        account: &AccountSid,
        kind: DocumentKind,
        query: &DocumentQuery,
    ) -> Result<Vec<DocumentRow>>;
    /// How many documents of a kind an account has, and the bytes of their bodies.
    async fn count_documents(&self, account: &AccountSid, kind: DocumentKind) -> Result<(u64, u64)>;
    /// Every account's documents of a kind that were made before a moment, oldest first, after `(at, account, id)`.
    async fn list_documents_before(
        &self,
        kind: DocumentKind,
        before: TimeUs,
        after: Option<(TimeUs, &AccountSid, Sid)>,
        limit: u32,
    ) -> Result<Vec<DocumentRow>>;
    /// Replaces a document's body, name and key; the row carries what is new, its version one above the present one.
    /// The old key is destroyed in the same transaction, so that the old body opens nowhere.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its version is another.
    async fn replace_document(&self, row: &DocumentRow, key: &KeyRow) -> Result<Replaced>;
    /// Makes documents members of a list. Returns for each whether it is new there; one that does not exist is not.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such list.
    async fn add_members(
        &self,
        account: &AccountSid,
        list: Sid,
        kind: DocumentKind,
        members: &[Sid],
        at: TimeUs,
    ) -> Result<Vec<bool>>;
    /// Takes a member off a list. Returns whether it was one.
    async fn remove_member(&self, account: &AccountSid, list: Sid, member: Sid) -> Result<bool>;
    /// The lists that each of these is a member of.
    async fn list_memberships(&self, account: &AccountSid, members: &[Sid]) -> Result<Vec<(Sid, Sid)>>;
}

/// The transparency log's leaves and what they destroyed.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Appends a leaf that destroys nothing. Returns its index. A statement of an account's leaf is kept as a
    /// destruction that is purged at once.
    async fn append_leaf(&self, account: Option<&AccountSid>, at: TimeUs, leaf: &NewLeaf) -> Result<u64>;
    /// Number of leaves.
    async fn log_size(&self) -> Result<u64>;
    /// Leaf bodies with indexes in this range, in order.
    async fn list_leaves(&self, range: Range<u64>) -> Result<Vec<Vec<u8>>>;
    /// One destruction.
    async fn find_destruction(&self, leaf: u64) -> Result<Option<DestructionRow>>;
    /// An account's destructions with an index below `before`, newest first.
    async fn list_destructions(
        &self,
        account: &AccountSid,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<DestructionRow>>;
    /// Destructions of any account that are not purged, oldest first.
    async fn list_unpurged(&self, limit: u32) -> Result<Vec<DestructionRow>>;
    /// Takes over leaves from a published log after a restore, destroying again what they destroyed: `shreds` are the
    /// keys that any of these leaves names. Returns how many keys were there and are gone now.
    async fn replay(&self, first: u64, leaves: &[Vec<u8>], shreds: &[KeyId], at: TimeUs) -> Result<u64>;
}

/// Jobs with leases. Any number of processes may work one region.
#[async_trait]
pub trait Jobs: Send + Sync + 'static {
    /// Adds a job unless one of this id exists. Returns the one that is there.
    async fn enqueue(&self, job: &JobRow) -> Result<JobRow>;
    /// Adds jobs, all or none; one whose id exists is left as it is.
    async fn enqueue_all(&self, jobs: &[JobRow]) -> Result<()>;
    /// Leases the job of these kinds that is due longest: open, `run_at <= now`, and not leased or its lease ended.
    async fn lease(&self, kinds: &[&str], worker: &str, now: TimeUs, until: TimeUs) -> Result<Option<JobRow>>;
    /// Leases one job by id if it is free; nothing otherwise.
    async fn lease_job(&self, id: &str, worker: &str, now: TimeUs, until: TimeUs) -> Result<Option<JobRow>>;
    /// Stores progress and prolongs the lease.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the lease was lost.
    async fn renew(&self, job: &JobRow) -> Result<()>;
    /// Ends a lease: the job is done, failed for good, or open again from `run_at`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the lease was lost.
    async fn release(&self, job: &JobRow) -> Result<()>;
    /// One job.
    async fn find_job(&self, id: &str) -> Result<Option<JobRow>>;
    /// Jobs of a kind and state, oldest first.
    async fn list_jobs(&self, kind: &str, state: JobState, limit: u32) -> Result<Vec<JobRow>>;
}
