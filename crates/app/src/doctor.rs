//! `callvault doctor`: are the stores well, and do the invariants hold?

use std::collections::BTreeSet;

use callvault_core::{
    TimeUs,
    plan::lapse_of_document,
    proof::{CertificateBody, LeafBody},
    purge::{EpochItem, overdue_epochs},
    time::{DAY_US, SECOND_US},
};
use callvault_seal::log::Checkpoint;
use callvault_store::rows::RecordingQuery;
use serde::Serialize;

use crate::{error::Result, forecast::all_days, partition::CLASSES, schedule::RunState, vault::Vault};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Good,
    /// Somebody should look soon.
    Warning,
    /// A promise is broken or about to be.
    Alarm,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What.
    pub check: &'static str,
    /// How it stands.
    pub severity: Severity,
    /// In words, without personal data.
    pub message: String,
}

impl Vault {
    /// Looks at everything. Reads the catalog's rows and the object store's names, and no record.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn doctor(&self) -> Result<Vec<Finding>> {
        let now = self.now();
        let mut findings = Vec::new();
        self.catalog.ping().await?;
        findings.push(good("catalog", format!("answers: {}", self.catalog.place())));
        findings.push(self.check_epochs(now).await?);
        findings.push(self.check_deadlines(now).await?);
        findings.push(self.check_leaves().await?);
        findings.push(self.check_log().await?);
        findings.push(self.check_objects(now).await?);
        findings.push(self.check_certificates(now).await?);
        findings.push(self.check_exports(now).await?);
        Ok(findings)
    }

    async fn check_epochs(&self, now: TimeUs) -> Result<Finding> {
        let rows = self.catalog.list_epochs().await?;
        let roots = self.keys.provider().list_epoch_roots()?;
        if let Some(lost) = rows.iter().find(|row| row.live_keys > 0 && !roots.contains(&row.epoch)) {
            let message = format!(
                "the root of epoch {} is gone while {} keys need it",
                lost.epoch, lost.live_keys
            );
            return Ok(alarm("key epochs", message));
        }
        let items: Vec<_> = rows
            .iter()
            .map(|row| EpochItem {
                epoch: row.epoch,
                created_at: row.created_at,
                live_keys: row.live_keys,
            })
            .collect();
        let late = overdue_epochs(&items, now, self.purge);
        if !late.is_empty() {
            return Ok(alarm(
                "key epochs",
                format!("epochs {late:?} should be destroyed by now; run `callvault work`"),
            ));
        }
        let keys: u64 = rows.iter().map(|row| row.live_keys).sum();
        Ok(good("key epochs", format!("{} epochs wrap {keys} keys", rows.len())))
    }

    /// No key outlives its deadline: one day after its last record's term (spec 1.1).
    async fn check_deadlines(&self, now: TimeUs) -> Result<Finding> {
        let late_by = |until: TimeUs| until.0.saturating_add(DAY_US) < now.0;
        let (mut late, mut keys) = (0_u64, 0_u64);
        for sid in self.list_accounts().await? {
            let account = self.get_account(&sid).await?;
            for class in CLASSES {
                for row in self.catalog.list_partitions(&sid, class, all_days()).await? {
                    keys += 1;
                    let last = TimeUs(row.day.end().0 - 1);
                    if late_by(account.policy.kept_until(class, last, row.day.start())) {
                        let item = self.item_of(&account, &row, now, now).await?;
                        late += u64::from(item.held_rows < item.rows);
                    }
                }
            }
            for item in self.document_items(&account, now).await? {
                keys += 1;
                let lapse = lapse_of_document(&account.policy, &item);
                late += u64::from(lapse.is_some_and(|lapse| late_by(lapse.due_at)));
            }
            let mut query = RecordingQuery {
                limit: 1_000,
                ..RecordingQuery::default()
            };
            loop {
                let rows = self.catalog.list_recordings(&sid, &query).await?;
                let Some(last) = rows.last() else { break };
                query.after = Some((last.at, last.sid));
                for row in &rows {
                    keys += 1;
                    let facts = crate::deletion::facts_of(row);
                    late += u64::from(late_by(callvault_core::hold::gone_at(
                        &account.policy,
                        &account.holds,
                        &facts,
                    )));
                }
            }
        }
        Ok(match late {
            0 => good("deadlines", format!("none of {keys} keys outlives its deadline")),
            _ => alarm(
                "deadlines",
                format!("{late} of {keys} keys outlive their deadline; run `callvault work`"),
            ),
        })
    }

    /// Every destroyed key has exactly one leaf, and no key that a leaf calls destroyed is there.
    async fn check_leaves(&self) -> Result<Finding> {
        let size = self.catalog.log_size().await?;
        let (mut destroyed, mut twice, mut unreadable) = (BTreeSet::new(), 0_u64, 0_u64);
        let mut at = 0;
        while at < size {
            let end = size.min(at + 4_096);
            for leaf in self.catalog.list_leaves(at..end).await? {
                match std::str::from_utf8(&leaf)
                    .ok()
                    .and_then(|text| LeafBody::parse(text).ok())
                {
                    Some(leaf) => twice += leaf.keys().iter().filter(|key| !destroyed.insert(**key)).count() as u64,
                    None => unreadable += 1,
                }
            }
            at = end;
        }
        let mut alive = 0_u64;
        for epoch in self.catalog.list_epochs().await? {
            let rows = self.catalog.list_keys_in_epoch(epoch.epoch, u32::MAX).await?;
            alive += rows.iter().filter(|row| destroyed.contains(&row.key)).count() as u64;
        }
        if twice + unreadable + alive > 0 {
            let message = format!(
                "{alive} destroyed keys are there, {twice} were destroyed twice, {unreadable} leaves are unreadable"
            );
            return Ok(alarm("log leaves", message));
        }
        Ok(good(
            "log leaves",
            format!("{size} leaves name {} destroyed keys, each once", destroyed.len()),
        ))
    }

    async fn check_log(&self) -> Result<Finding> {
        let checkpoint = Checkpoint::open(&self.get_checkpoint().await?, self.signer.verifier_key())?;
        let size = self.catalog.log_size().await?;
        Ok(match checkpoint.size.cmp(&size) {
            std::cmp::Ordering::Equal => good("published log", format!("{size} entries, all published")),
            std::cmp::Ordering::Less => {
                let waiting = size - checkpoint.size;
                finding(
                    "published log",
                    Severity::Warning,
                    format!("{waiting} entries wait to be published"),
                )
            }
            std::cmp::Ordering::Greater => alarm("published log", "the catalog is older than the log".to_owned()),
        })
    }

    /// Every object the catalog names is there.
    async fn check_objects(&self, now: TimeUs) -> Result<Finding> {
        let named = self.named_objects().await?;
        let there: BTreeSet<String> = self
            .objects
            .list("accounts/")
            .await?
            .into_iter()
            .map(|object| object.name)
            .collect();
        let missing = named.difference(&there).count();
        let garbage = self.catalog.list_garbage(u32::MAX).await?.len();
        // Listing what is staged dooms it, so that only what housekeeping removes anyway is asked for.
        let staged = self.catalog.list_staged(now.plus_days(-1), u32::MAX).await?.len();
        let unknown = there.difference(&named).count().saturating_sub(garbage + staged);
        let message = format!(
            "{} objects named, {missing} missing, {garbage} pieces wait to be removed, {unknown} unknown: {}",
            named.len(),
            self.objects.place()
        );
        Ok(match (missing, unknown) {
            (0, 0) => good("objects", message),
            (0, _) => finding("objects", Severity::Warning, message),
            _ => alarm("objects", message),
        })
    }

    /// Nothing is still pending after its purge deadline (spec 5.3).
    async fn check_certificates(&self, now: TimeUs) -> Result<Finding> {
        let mut overdue = 0_u64;
        for row in self.catalog.list_unpurged(u32::MAX).await? {
            let shred = matches!(CertificateBody::parse(&row.statement), Ok(CertificateBody::Shred(_)));
            overdue += u64::from(shred && self.purge.deadline(row.at) < now);
        }
        Ok(match overdue {
            0 => good("purge", "nothing is pending beyond its deadline".to_owned()),
            _ => alarm(
                "purge",
                format!("{overdue} deletions are not purged though their deadline is over"),
            ),
        })
    }
}

impl Vault {
    /// Exports on schedule run, and end well.
    async fn check_exports(&self, now: TimeUs) -> Result<Finding> {
        let (mut scheduled, mut failing, mut late) = (0_u64, 0_u64, 0_u64);
        for sid in self.scheduled_accounts().await? {
            // A closed account keeps no schedule that could be read.
            let Ok(account) = self.get_account(&sid).await else {
                continue;
            };
            let Some(schedule) = self.find_schedule(&account).await? else {
                continue;
            };
            scheduled += 1;
            let runs = self.list_export_runs(&account).await?;
            let ended_well = runs.iter().find(|run| run.state == RunState::Done);
            let since = ended_well.map_or(schedule.set_at, |run| run.started_at);
            let latest = runs.first();
            failing += u64::from(latest.is_some_and(|run| run.failures > 0 && run.state != RunState::Done));
            // A first run may take days, as long as it gets on.
            let works = latest.is_some_and(|run| run.state == RunState::Running && run.bytes > 0);
            late += u64::from(!works && since.plus_seconds(DAY_US / SECOND_US) < now);
        }
        let message =
            format!("{scheduled} accounts export on schedule; {failing} fail, {late} had no good run for a day");
        Ok(match failing + late {
            0 => good("scheduled exports", message),
            _ => alarm("scheduled exports", message),
        })
    }
}

const fn finding(check: &'static str, severity: Severity, message: String) -> Finding {
    Finding {
        check,
        severity,
        message,
    }
}

const fn good(check: &'static str, message: String) -> Finding {
    finding(check, Severity::Good, message)
}

const fn alarm(check: &'static str, message: String) -> Finding {
    finding(check, Severity::Alarm, message)
}
