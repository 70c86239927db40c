//! A catalog that fails where a test wants it to.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use callvault_core::{AccountSid, Class, Day, KeyId, Sid, TimeUs, id::HoldId};
use callvault_store::{
    Accounts, Catalog, Jobs, Keys, Log, Partitions, Recordings, StoreError,
    rows::{
        AccountRow, DestructionRow, EpochRow, GarbageRow, HoldRow, JobRow, JobState, KeyRow, LooseRow, NewLeaf,
        PartitionRef, PartitionRow, RecordingDay, RecordingQuery, RecordingRow, RewriteCommit, SealCommit,
        SegmentInsert, SegmentRow, Shred, Tombstone,
    },
};

use super::Faults;

type Result<T> = std::result::Result<T, StoreError>;

/// A catalog behind [`Faults`].
pub struct FaultyCatalog {
    pub(super) inner: Arc<dyn Catalog>,
    pub(super) faults: Faults,
}

#[async_trait]
impl Catalog for FaultyCatalog {
    async fn migrate_to(&self, version: i64) -> Result<()> {
        self.faults
            .around("catalog", "migrate", self.inner.migrate_to(version))
            .await
    }

    async fn ping(&self) -> Result<()> {
        self.faults.around("catalog", "ping", self.inner.ping()).await
    }

    async fn dump(&self, to: &mut (dyn tokio::io::AsyncWrite + Send + Unpin)) -> Result<()> {
        self.faults.around("catalog", "dump", self.inner.dump(to)).await
    }

    async fn load(
        &self,
        from: &mut (dyn tokio::io::AsyncBufRead + Send + Unpin),
        values: &[(&str, &[u8])],
    ) -> Result<()> {
        self.faults
            .around("catalog", "load", self.inner.load(from, values))
            .await
    }

    async fn compact(&self) -> Result<()> {
        self.faults.around("catalog", "compact", self.inner.compact()).await
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}

#[async_trait]
impl Accounts for FaultyCatalog {
    async fn find_value(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.faults
            .around("catalog", "find_value", self.inner.find_value(name))
            .await
    }

    async fn list_values(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        self.faults
            .around("catalog", "list_values", self.inner.list_values(prefix))
            .await
    }

    async fn find_values(&self, names: &[String]) -> Result<Vec<String>> {
        self.faults
            .around("catalog", "find_values", self.inner.find_values(names))
            .await
    }

    async fn page_values(&self, prefix: &str, after: &str, limit: u32) -> Result<Vec<(String, Vec<u8>)>> {
        self.faults
            .around(
                "catalog",
                "list_page_values",
                self.inner.page_values(prefix, after, limit),
            )
            .await
    }

    async fn delete_value(&self, name: &str) -> Result<bool> {
        self.faults
            .around("catalog", "delete_value", self.inner.delete_value(name))
            .await
    }

    async fn put_value(&self, name: &str, value: &[u8]) -> Result<()> {
        self.faults
            .around("catalog", "put_value", self.inner.put_value(name, value))
            .await
    }

    async fn init_value(&self, name: &str, value: &[u8]) -> Result<Vec<u8>> {
        self.faults
            .around("catalog", "init_value", self.inner.init_value(name, value))
            .await
    }

    async fn insert_account(&self, account: &AccountRow, key: &KeyRow) -> Result<()> {
        self.faults
            .around("catalog", "insert_account", self.inner.insert_account(account, key))
            .await
    }

    async fn find_account(&self, account: &AccountSid) -> Result<Option<AccountRow>> {
        self.faults
            .around("catalog", "find_account", self.inner.find_account(account))
            .await
    }

    async fn list_accounts(&self, after: Option<&AccountSid>, limit: u32) -> Result<Vec<AccountRow>> {
        self.faults
            .around("catalog", "list_accounts", self.inner.list_accounts(after, limit))
            .await
    }

    async fn put_policy(
        &self,
        account: &AccountSid,
        policy: &str,
        expected_version: i64,
        jobs: &[JobRow],
    ) -> Result<()> {
        self.faults
            .around(
                "catalog",
                "put_policy",
                self.inner.put_policy(account, policy, expected_version, jobs),
            )
            .await
    }

    async fn insert_hold(&self, hold: &HoldRow) -> Result<()> {
        self.faults
            .around("catalog", "insert_hold", self.inner.insert_hold(hold))
            .await
    }

    async fn lift_hold(&self, account: &AccountSid, hold: HoldId, rule: &str, at: TimeUs) -> Result<bool> {
        self.faults
            .around("catalog", "lift_hold", self.inner.lift_hold(account, hold, rule, at))
            .await
    }

    async fn list_holds(&self, account: &AccountSid) -> Result<Vec<HoldRow>> {
        self.faults
            .around("catalog", "list_holds", self.inner.list_holds(account))
            .await
    }

    async fn begin_closing(&self, account: &AccountSid, rules_version: i64, at: TimeUs) -> Result<()> {
        self.faults
            .around(
                "catalog",
                "begin_closing",
                self.inner.begin_closing(account, rules_version, at),
            )
            .await
    }
}

#[async_trait]
impl Keys for FaultyCatalog {
    async fn insert_epoch(&self, epoch: &EpochRow) -> Result<()> {
        self.faults
            .around("catalog", "insert_epoch", self.inner.insert_epoch(epoch))
            .await
    }

    async fn list_epochs(&self) -> Result<Vec<EpochRow>> {
        self.faults
            .around("catalog", "list_epochs", self.inner.list_epochs())
            .await
    }

    async fn delete_epoch(&self, epoch: u64, leaf: &NewLeaf) -> Result<()> {
        self.faults
            .around("catalog", "delete_epoch", self.inner.delete_epoch(epoch, leaf))
            .await
    }

    async fn find_keys(&self, account: &AccountSid, keys: &[KeyId]) -> Result<Vec<KeyRow>> {
        self.faults
            .around("catalog", "find_keys", self.inner.find_keys(account, keys))
            .await
    }

    async fn list_keys_in_epoch(&self, epoch: u64, limit: u32) -> Result<Vec<KeyRow>> {
        self.faults
            .around(
                "catalog",
                "list_keys_in_epoch",
                self.inner.list_keys_in_epoch(epoch, limit),
            )
            .await
    }

    async fn rewrap(&self, from: u64, keys: &[KeyRow]) -> Result<u64> {
        self.faults
            .around("catalog", "rewrap", self.inner.rewrap(from, keys))
            .await
    }
}

#[async_trait]
impl Partitions for FaultyCatalog {
    async fn open_partitions(&self, new: &[(PartitionRef, KeyRow)]) -> Result<Vec<PartitionRow>> {
        self.faults
            .around("catalog", "open_partitions", self.inner.open_partitions(new))
            .await
    }

    async fn find_partition(&self, account: &AccountSid, class: Class, day: Day) -> Result<Option<PartitionRow>> {
        self.faults
            .around(
                "catalog",
                "find_partition",
                self.inner.find_partition(account, class, day),
            )
            .await
    }

    async fn list_partitions(&self, account: &AccountSid, class: Class, days: Range<Day>) -> Result<Vec<PartitionRow>> {
        self.faults
            .around(
                "catalog",
                "list_partitions",
                self.inner.list_partitions(account, class, days),
            )
            .await
    }

    async fn list_partitions_before(&self, class: Class, before: Day, limit: u32) -> Result<Vec<PartitionRow>> {
        self.faults
            .around(
                "catalog",
                "list_partitions_before",
                self.inner.list_partitions_before(class, before, limit),
            )
            .await
    }

    async fn list_unsealed(&self, min_rows: u64, before: Day, limit: u32) -> Result<Vec<PartitionRow>> {
        self.faults
            .around(
                "catalog",
                "list_unsealed",
                self.inner.list_unsealed(min_rows, before, limit),
            )
            .await
    }

    async fn list_tombstoned(&self, until: TimeUs, limit: u32) -> Result<Vec<PartitionRow>> {
        self.faults
            .around("catalog", "list_tombstoned", self.inner.list_tombstoned(until, limit))
            .await
    }

    async fn list_fragmented(&self, segments: u64, limit: u32) -> Result<Vec<PartitionRow>> {
        self.faults
            .around(
                "catalog",
                "list_fragmented",
                self.inner.list_fragmented(segments, limit),
            )
            .await
    }

    async fn append_loose(&self, at: TimeUs, rows: &[(PartitionRef, LooseRow)]) -> Result<Vec<bool>> {
        self.faults
            .around("catalog", "append_loose", self.inner.append_loose(at, rows))
            .await
    }

    async fn list_loose(&self, partition: &PartitionRef) -> Result<Vec<LooseRow>> {
        self.faults
            .around("catalog", "list_loose", self.inner.list_loose(partition))
            .await
    }

    async fn find_loose(&self, partition: &PartitionRef, sid: Sid) -> Result<Option<LooseRow>> {
        self.faults
            .around("catalog", "find_loose", self.inner.find_loose(partition, sid))
            .await
    }

    async fn list_segments(&self, partition: &PartitionRef) -> Result<Vec<SegmentRow>> {
        self.faults
            .around("catalog", "list_segments", self.inner.list_segments(partition))
            .await
    }

    async fn list_segments_of(&self, account: &AccountSid, keys: &[KeyId]) -> Result<Vec<(KeyId, SegmentRow)>> {
        self.faults
            .around(
                "catalog",
                "list_segments_of",
                self.inner.list_segments_of(account, keys),
            )
            .await
    }

    async fn list_tombstones(&self, partition: &PartitionRef) -> Result<Vec<Tombstone>> {
        self.faults
            .around("catalog", "list_tombstones", self.inner.list_tombstones(partition))
            .await
    }

    async fn insert_segments(&self, segments: &[SegmentInsert], progress: Option<&JobRow>) -> Result<()> {
        self.faults
            .around(
                "catalog",
                "insert_segments",
                self.inner.insert_segments(segments, progress),
            )
            .await
    }

    async fn seal(&self, commit: &SealCommit) -> Result<()> {
        self.faults.around("catalog", "seal", self.inner.seal(commit)).await
    }

    async fn rewrite(&self, commit: &RewriteCommit) -> Result<u64> {
        self.faults
            .around("catalog", "rewrite", self.inner.rewrite(commit))
            .await
    }

    async fn erase(
        &self,
        account: &AccountSid,
        rules_version: i64,
        rows: &[(PartitionRef, Tombstone)],
        leaf: &NewLeaf,
    ) -> Result<u64> {
        self.faults
            .around("catalog", "erase", self.inner.erase(account, rules_version, rows, leaf))
            .await
    }

    async fn hide(&self, rows: &[(PartitionRef, Tombstone)]) -> Result<()> {
        self.faults.around("catalog", "hide", self.inner.hide(rows)).await
    }

    async fn shred(&self, shred: &Shred) -> Result<u64> {
        self.faults.around("catalog", "shred", self.inner.shred(shred)).await
    }

    async fn list_garbage(&self, limit: u32) -> Result<Vec<GarbageRow>> {
        self.faults
            .around("catalog", "list_garbage", self.inner.list_garbage(limit))
            .await
    }

    async fn purge_rows(&self, account: &AccountSid, key: KeyId, limit: u32) -> Result<bool> {
        self.faults
            .around("catalog", "purge_rows", self.inner.purge_rows(account, key, limit))
            .await
    }

    async fn drop_garbage(&self, ids: &[i64], at: TimeUs) -> Result<()> {
        self.faults
            .around("catalog", "drop_garbage", self.inner.drop_garbage(ids, at))
            .await
    }

    async fn stage_objects(&self, names: &[String], at: TimeUs) -> Result<()> {
        self.faults
            .around("catalog", "stage_objects", self.inner.stage_objects(names, at))
            .await
    }

    async fn list_staged(&self, before: TimeUs, limit: u32) -> Result<Vec<String>> {
        self.faults
            .around("catalog", "list_staged", self.inner.list_staged(before, limit))
            .await
    }

    async fn unstage_objects(&self, names: &[String]) -> Result<()> {
        self.faults
            .around("catalog", "unstage_objects", self.inner.unstage_objects(names))
            .await
    }
}

#[async_trait]
impl Recordings for FaultyCatalog {
    async fn insert_recording(&self, recording: &RecordingRow, key: &KeyRow, unless: &str) -> Result<()> {
        self.faults
            .around(
                "catalog",
                "insert_recording",
                self.inner.insert_recording(recording, key, unless),
            )
            .await
    }

    async fn find_recording(&self, account: &AccountSid, sid: Sid) -> Result<Option<RecordingRow>> {
        self.faults
            .around("catalog", "find_recording", self.inner.find_recording(account, sid))
            .await
    }

    async fn list_recordings(&self, account: &AccountSid, query: &RecordingQuery) -> Result<Vec<RecordingRow>> {
        self.faults
            .around("catalog", "list_recordings", self.inner.list_recordings(account, query))
            .await
    }

    async fn list_recording_days(&self, account: &AccountSid) -> Result<Vec<RecordingDay>> {
        self.faults
            .around(
                "catalog",
                "list_recording_days",
                self.inner.list_recording_days(account),
            )
            .await
    }
}

#[async_trait]
impl Log for FaultyCatalog {
    async fn append_leaf(&self, account: Option<&AccountSid>, at: TimeUs, leaf: &NewLeaf) -> Result<u64> {
        self.faults
            .around("catalog", "append_leaf", self.inner.append_leaf(account, at, leaf))
            .await
    }

    async fn log_size(&self) -> Result<u64> {
        self.faults.around("catalog", "log_size", self.inner.log_size()).await
    }

    async fn list_leaves(&self, range: Range<u64>) -> Result<Vec<Vec<u8>>> {
        self.faults
            .around("catalog", "list_leaves", self.inner.list_leaves(range))
            .await
    }

    async fn find_destruction(&self, leaf: u64) -> Result<Option<DestructionRow>> {
        self.faults
            .around("catalog", "find_destruction", self.inner.find_destruction(leaf))
            .await
    }

    async fn list_destructions(
        &self,
        account: &AccountSid,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<DestructionRow>> {
        self.faults
            .around(
                "catalog",
                "list_destructions",
                self.inner.list_destructions(account, before, limit),
            )
            .await
    }

    async fn list_unpurged(&self, limit: u32) -> Result<Vec<DestructionRow>> {
        self.faults
            .around("catalog", "list_unpurged", self.inner.list_unpurged(limit))
            .await
    }

    async fn replay(&self, first: u64, leaves: &[Vec<u8>], shreds: &[KeyId], at: TimeUs) -> Result<u64> {
        self.faults
            .around("catalog", "replay", self.inner.replay(first, leaves, shreds, at))
            .await
    }
}

#[async_trait]
impl Jobs for FaultyCatalog {
    async fn enqueue(&self, job: &JobRow) -> Result<JobRow> {
        self.faults.around("catalog", "enqueue", self.inner.enqueue(job)).await
    }

    async fn lease(&self, kinds: &[&str], worker: &str, now: TimeUs, until: TimeUs) -> Result<Option<JobRow>> {
        self.faults
            .around("catalog", "lease", self.inner.lease(kinds, worker, now, until))
            .await
    }

    async fn lease_job(&self, id: &str, worker: &str, now: TimeUs, until: TimeUs) -> Result<Option<JobRow>> {
        self.faults
            .around("catalog", "lease_job", self.inner.lease_job(id, worker, now, until))
            .await
    }

    async fn renew(&self, job: &JobRow) -> Result<()> {
        self.faults.around("catalog", "renew", self.inner.renew(job)).await
    }

    async fn release(&self, job: &JobRow) -> Result<()> {
        self.faults.around("catalog", "release", self.inner.release(job)).await
    }

    async fn find_job(&self, id: &str) -> Result<Option<JobRow>> {
        self.faults.around("catalog", "find_job", self.inner.find_job(id)).await
    }

    async fn enqueue_all(&self, jobs: &[JobRow]) -> Result<()> {
        self.faults
            .around("catalog", "enqueue_all", self.inner.enqueue_all(jobs))
            .await
    }

    async fn list_jobs(&self, kind: &str, state: JobState, limit: u32) -> Result<Vec<JobRow>> {
        self.faults
            .around("catalog", "list_jobs", self.inner.list_jobs(kind, state, limit))
            .await
    }
}
