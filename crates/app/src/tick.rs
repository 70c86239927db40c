//! Background work: `tick(now)` does what is due and says when to come back.
//!
//! Any number of processes may tick one region: every step is a catalog transaction that either happens or finds that
//! another process was first. A step that fails is reported and tried again by the next tick; the others go on.

use std::collections::{BTreeMap, BTreeSet};

use callvault_core::{
    AccountSid, Class, Day, KeyId, Plan as AccountPlan, TimeUs,
    hold::{Cause, Facts, is_held},
    inventory::{Inventory, PartitionItem},
    plan::{Action, MERGE_SEGMENTS, Plan, Policies, SEAL_AFTER_S, SEAL_ROWS, Step, plan},
    retention::Policy,
};
use callvault_store::rows::{Garbage, PartitionRow};
use futures::{StreamExt, stream};

mod documents;
mod recordings;

pub(crate) use documents::document_item;
pub(crate) use recordings::recording_item;

use crate::{
    deletion::{Doomed, KEYS_A_LEAF},
    error::{Result, VaultError},
    keys::EpochReport,
    partition::CLASSES,
    vault::{Account, Vault},
};

/// Rows asked for at once.
const PAGE: u32 = 1_000;
/// Objects removed at the same time.
const REMOVALS: usize = 8;
/// An object that nobody committed is removed after this long.
const STAGED_FOR_S: i64 = 86_400;
const COMPACTED: &str = "compacted-before-epoch";

/// What one tick did.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct TickReport {
    /// Key epochs.
    pub epochs: EpochReport,
    /// Keys destroyed, by account, class and cause.
    pub shredded: Vec<Shredded>,
    /// Partitions sealed or merged.
    pub sealed: u64,
    /// Partitions written anew.
    pub rewritten: u64,
    /// Objects and row groups removed.
    pub purged: u64,
    /// Log entries published in all.
    pub log_size: u64,
    /// What failed and will be tried again; without personal data.
    pub failures: Vec<String>,
    /// When something is due next, if nothing else happens.
    pub next_due_at: Option<TimeUs>,
}

/// One log entry's worth of destroyed keys.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Shredded {
    /// Account.
    pub account: AccountSid,
    /// Class.
    pub class: Class,
    /// Why.
    pub cause: Cause,
    /// Records that went.
    pub records: u64,
    /// Index of the log entry.
    pub log_index: u64,
}

impl TickReport {
    fn note<T>(&mut self, what: &str, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            // Somebody else was first; the next tick sees what is left.
            Err(error) if error.is_conflict() => None,
            Err(error) => {
                self.failures.push(format!("{what}: {error}"));
                None
            }
        }
    }

    fn wake(&mut self, at: Option<TimeUs>) {
        self.next_due_at = match (self.next_due_at, at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

impl Vault {
    /// Does everything that is due now.
    pub async fn tick(&self) -> TickReport {
        let now = self.now();
        let mut report = TickReport::default();
        let epochs = self.keys.tick(now, self.purge).await;
        report.epochs = report.note("key epochs", epochs).unwrap_or_default();
        let evicted = self.evict_destroyed().await;
        report.note("opened segments", evicted);
        let closing = self.list_closing().await;
        for account in report.note("accounts", closing).unwrap_or_default() {
            let closed = self.finish_closing(&account).await;
            report.note("closing an account", closed);
        }
        let partitions = self.tick_partitions(now, &mut report).await;
        report.note("partitions", partitions);
        let accounts = self.list_accounts().await;
        for account in report.note("accounts", accounts).unwrap_or_default() {
            let swept = self.sweep_recordings(&account, now).await;
            if let Some((shredded, next)) = report.note("recordings", swept) {
                report.shredded.extend(shredded);
                report.wake(next);
            }
        }
        let swept = self.sweep_documents(now, &mut report).await;
        report.note("documents", swept);
        let sessions = self.sweep_sessions(now).await;
        report.note("sessions", sessions);
        let published = self.publish().await;
        report.log_size = report.note("transparency log", published).unwrap_or_default();
        self.tick_purge(now, &mut report).await;
        let compacted = self.tick_compaction().await;
        report.note("compaction", compacted);
        report
    }

    /// Leaves no deleted row behind in the catalog's files when a key epoch is over: backups cannot be opened any more
    /// by then, and the files must not be worse (spec 5.1). Tried again until it is done.
    async fn tick_compaction(&self) -> Result<()> {
        let oldest = self
            .catalog
            .list_epochs()
            .await?
            .first()
            .map_or(0, |row| row.epoch)
            .to_string();
        if self
            .catalog
            .find_value(COMPACTED)
            .await?
            .is_none_or(|done| done != oldest.as_bytes())
        {
            self.catalog.compact().await?;
            self.catalog.put_value(COMPACTED, oldest.as_bytes()).await?;
        }
        Ok(())
    }

    /// Forgets the opened segments of keys that another process destroyed.
    async fn evict_destroyed(&self) -> Result<()> {
        for (account, keys) in self.segments.partitions() {
            let there = self.catalog.find_keys(&account, &keys).await?;
            let gone: Vec<KeyId> = keys
                .into_iter()
                .filter(|key| there.iter().all(|row| row.key != *key))
                .collect();
            self.segments.forget(&gone);
        }
        Ok(())
    }

    async fn tick_partitions(&self, now: TimeUs, report: &mut TickReport) -> Result<()> {
        let mut stuck: BTreeSet<KeyId> = BTreeSet::new();
        loop {
            let mut rows = self
                .list_due_partitions(now, PAGE.saturating_add(u32::try_from(stuck.len()).unwrap_or(PAGE)))
                .await?;
            rows.retain(|row| !stuck.contains(&row.key));
            if rows.is_empty() {
                break;
            }
            let mut by_account: BTreeMap<AccountSid, Vec<PartitionRow>> = BTreeMap::new();
            for row in rows {
                // Whatever happens to it, this tick looks at a partition once.
                stuck.insert(row.key);
                by_account.entry(row.account.clone()).or_default().push(row);
            }
            for (sid, rows) in by_account {
                let account = self.get_account(&sid).await;
                let Some(account) = report.note("account", account) else {
                    continue;
                };
                let done = self.tick_account(&account, &rows, now, report).await;
                report.note("partitions of an account", done);
            }
        }
        for class in CLASSES {
            let next = self.last_lapsed_day(class, now).plus(1);
            let until = self
                .region_policy()
                .kept_until(class, TimeUs(next.end().0 - 1), next.start());
            report.wake(Some(until).filter(|until| *until != TimeUs::NEVER));
        }
        Ok(())
    }

    /// Partitions that one of the planner's rules may want something of. The planner decides.
    async fn list_due_partitions(&self, now: TimeUs, limit: u32) -> Result<Vec<PartitionRow>> {
        let mut rows = Vec::new();
        for class in CLASSES {
            let before = self.last_lapsed_day(class, now).plus(1);
            rows.extend(self.catalog.list_partitions_before(class, before, limit).await?);
        }
        let settled = TimeUs(now.0.saturating_sub(SEAL_AFTER_S * callvault_core::time::SECOND_US)).day();
        rows.extend(self.catalog.list_unsealed(SEAL_ROWS, settled, limit).await?);
        let erased = TimeUs(now.0.saturating_sub(self.purge.erase_window_us()));
        rows.extend(self.catalog.list_tombstoned(erased, limit).await?);
        rows.extend(self.catalog.list_fragmented(u64::from(MERGE_SEGMENTS), limit).await?);
        rows.sort_by_key(|row| row.key);
        rows.dedup_by_key(|row| row.key);
        Ok(rows)
    }

    /// The rules that hold for partitioned classes of every account of the region: base terms and floors.
    pub(crate) fn region_policy(&self) -> Policy {
        let mut policy = Policy::new(AccountPlan::Starter, TimeUs(0));
        policy.floors.clone_from(&self.floors);
        policy
    }

    /// The last day whose records have all lapsed.
    fn last_lapsed_day(&self, class: Class, now: TimeUs) -> Day {
        let policy = self.region_policy();
        let lapsed = |day: Day| policy.kept_until(class, TimeUs(day.end().0 - 1), day.start()) <= now;
        let (mut known, mut open) = (now.day().plus(-40_000), now.day());
        while open.0 - known.0 > 1 {
            let middle = Day(known.0 + (open.0 - known.0) / 2);
            if lapsed(middle) { known = middle } else { open = middle }
        }
        known
    }

    async fn tick_account(
        &self,
        account: &Account,
        rows: &[PartitionRow],
        now: TimeUs,
        report: &mut TickReport,
    ) -> Result<()> {
        let mut inventory = Inventory::default();
        for row in rows {
            inventory.partitions.push(self.item_of(account, row, now, now).await?);
        }
        let policies = Policies::from([(account.sid.clone(), account.policy.clone())]);
        let Plan { steps, next_due_at, .. } = plan(&policies, &inventory, now, self.purge);
        report.wake(next_due_at);
        let mut shreds: BTreeMap<(Class, Cause), Vec<PartitionRow>> = BTreeMap::new();
        for step in steps {
            let Some(row) = rows.iter().find(|row| row.key == key_of(&step)) else {
                continue;
            };
            match step.action {
                Action::ShredPartition { class, .. } => {
                    let cause = step.reason.cause().unwrap_or(Cause::Term);
                    shreds.entry((class, cause)).or_default().push(row.clone());
                }
                Action::RewritePartition { keep, .. } => {
                    let cause = step.reason.cause().unwrap_or(Cause::Rewrite);
                    let done = self.rewrite_partition(account, row, keep, cause, now).await;
                    if let Some((records, log_index)) = report.note("rewrite", done) {
                        report.rewritten += 1;
                        if records > 0 {
                            let (account, class) = (account.sid.clone(), row.class);
                            report.shredded.push(Shredded {
                                account,
                                class,
                                cause,
                                records,
                                log_index,
                            });
                        }
                    }
                }
                Action::SealPartition { merge, .. } => {
                    let done = self.seal_partition(account, row, merge).await;
                    report.sealed += u64::from(report.note("seal", done).is_some());
                }
                Action::ShredRecording { .. } | Action::ShredDocument { .. } => {}
            }
        }
        for ((class, cause), rows) in shreds {
            for chunk in rows.chunks(KEYS_A_LEAF) {
                let doomed = Doomed::of_partitions(chunk);
                let records = doomed.records;
                let done = self.shred(account, Some(class), cause, doomed, now).await;
                if let Some(log_index) = report.note("shred", done) {
                    report.shredded.push(Shredded {
                        account: account.sid.clone(),
                        class,
                        cause,
                        records,
                        log_index,
                    });
                }
            }
        }
        Ok(())
    }

    /// The planner's view of a partition at `now`, with its held rows if it falls due by `until`.
    pub(crate) async fn item_of(
        &self,
        account: &Account,
        row: &PartitionRow,
        now: TimeUs,
        until: TimeUs,
    ) -> Result<PartitionItem> {
        let (held_rows, released_at) = self.held_rows(account, row, now, until).await?;
        Ok(PartitionItem {
            account: row.account.clone(),
            class: row.class,
            day: row.day,
            key: row.key,
            rows: row.loose_rows + row.sealed_rows,
            bytes: row.bytes,
            kept_since: row.day.start(),
            held_rows,
            released_at,
            tombstones: row.tombstones,
            oldest_tombstone_at: row.oldest_tombstone_at,
            loose_rows: row.loose_rows,
            oldest_loose_at: row.loose_since,
            segments: u32::try_from(row.segments).unwrap_or(u32::MAX),
        })
    }

    /// How many rows of a partition a hold freezes, and when the latest hold that mattered was lifted. The partition is
    /// read only when it falls due by `until` and a hold can reach it.
    async fn held_rows(
        &self,
        account: &Account,
        row: &PartitionRow,
        now: TimeUs,
        until: TimeUs,
    ) -> Result<(u64, Option<TimeUs>)> {
        let day_last = TimeUs(row.day.end().0 - 1);
        let due = account.policy.kept_until(row.class, day_last, row.day.start()) <= until;
        if !due || account.holds.iter().all(|hold| !may_reach(hold, row)) {
            return Ok((0, None));
        }
        let (_, records) = self.read_partition(account, row).await?;
        let mut held = 0;
        let mut released: Option<TimeUs> = None;
        for record in &records {
            let parties = account.party_hashes(record);
            let facts = Facts {
                class: row.class,
                sid: record.sid(),
                call_sid: None,
                at: record.at(),
                kept_since: record.at(),
                parties: &parties,
            };
            if is_held(&account.policy, &account.holds, &facts, now) {
                held += 1;
            } else {
                let lifted = account
                    .holds
                    .iter()
                    .filter(|hold| hold.matches(&facts))
                    .filter_map(|hold| hold.lifted_at);
                released = released.max(lifted.max());
            }
        }
        Ok((held, released))
    }

    async fn tick_purge(&self, now: TimeUs, report: &mut TickReport) {
        loop {
            let rows = self.catalog.list_garbage(PAGE).await;
            let Some(rows) = report.note("garbage", rows.map_err(VaultError::from)) else {
                return;
            };
            let mut removed = Vec::new();
            let seen = rows.len();
            let mut removals = stream::iter(rows)
                .map(|row| async move {
                    let done = match &row.what {
                        Garbage::Object(name) => self.objects.delete(name).await.map(|()| true),
                        Garbage::PartitionRows(key) => self.purge_rows(&row.account, *key).await,
                    };
                    (row.id, done)
                })
                .buffer_unordered(REMOVALS);
            while let Some((id, done)) = removals.next().await {
                if report.note("purge", done.map_err(VaultError::from)) == Some(true) {
                    removed.push(id);
                }
            }
            drop(removals);
            report.purged += removed.len() as u64;
            let dropped = self.catalog.drop_garbage(&removed, now).await.map_err(VaultError::from);
            if report.note("garbage", dropped).is_none() || removed.len() < seen || seen == 0 {
                break;
            }
        }
        let unstaged = self.tick_staged(now).await;
        report.note("unfinished objects", unstaged);
    }

    async fn purge_rows(
        &self,
        account: &AccountSid,
        key: KeyId,
    ) -> std::result::Result<bool, callvault_store::StoreError> {
        while !self.catalog.purge_rows(account, key, PAGE).await? {}
        Ok(true)
    }

    /// Removes objects that were begun and never committed. Nothing can open them: their keys were never stored.
    async fn tick_staged(&self, now: TimeUs) -> Result<()> {
        let before = now.plus_seconds(-STAGED_FOR_S);
        let names = self.catalog.list_staged(before, PAGE).await?;
        for name in &names {
            self.objects.delete(name).await?;
        }
        if names.is_empty() {
            Ok(())
        } else {
            Ok(self.catalog.unstage_objects(&names).await?)
        }
    }
}

fn key_of(step: &Step) -> KeyId {
    match step.action {
        Action::ShredPartition { key, .. }
        | Action::ShredRecording { key, .. }
        | Action::ShredDocument { key, .. }
        | Action::RewritePartition { key, .. }
        | Action::SealPartition { key, .. } => key,
    }
}

/// Whether a hold could match a row of this partition.
fn may_reach(hold: &callvault_core::Hold, row: &PartitionRow) -> bool {
    match &hold.scope {
        callvault_core::HoldScope::Records(sids) => sids.iter().any(|sid| sid.day() == row.day),
        callvault_core::HoldScope::Number(_) => true,
        callvault_core::HoldScope::Span { class, from, to } => {
            class.is_none_or(|class| class == row.class) && *from < row.day.end() && *to > row.day.start()
        }
    }
}
