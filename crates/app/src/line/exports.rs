//! Exports on schedule as jobs: planned every six hours, retried, and loud when they fail (spec 7).

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use callvault_core::{
    AccountSid, Class, Number, TimeUs,
    record::{Entry, Record},
    time::SECOND_US,
};
use callvault_seal::random_bytes;
use callvault_store::{
    Objects, StoreError,
    rows::{JobRow, JobState},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{EXPORT, LEASE_S, Line, open, seal};
use crate::{
    error::{Result, VaultError},
    schedule::{PlaceError, Progress, Run, RunState, Schedule, Slices, Stop, Writing},
    vault::{Account, Vault},
};

/// Runs of a schedule begin this far apart.
const EVERY_S: i64 = 6 * 3_600;
/// When a run that failed is tried again, counted from the attempt before; the last one repeats.
const PAUSES_S: [i64; 4] = [300, 1_800, 7_200, 21_600];
/// A run that met records coming in goes on after this long.
const BUSY_S: i64 = 60;
/// How often a lease is prolonged.
const RENEW_S: i64 = 20;
/// After this long a run lets others work, and goes on where it was.
const TURN_S: i64 = 300;
/// An object that shows whether a target can be written and read.
const CHECK: &str = "callvault-check.txt";

/// A run as its job has it.
#[derive(Serialize, Deserialize)]
struct Running {
    id: String,
    progress: Progress,
}

/// A run's identifier: the microsecond it was planned for.
fn run_id(at: TimeUs) -> String {
    let text = at.to_string();
    let whole = text.chars().take(19).filter(char::is_ascii_alphanumeric);
    format!("{}{:06}Z", whole.collect::<String>(), at.0.rem_euclid(SECOND_US))
}

impl Line {
    /// Sets an account's exports on schedule, after something was written to the target and read back, and begins a run.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] that names the field at fault, also when the target cannot be written or read.
    pub async fn set_schedule(&self, account: &Account, mut schedule: Schedule) -> Result<()> {
        schedule.check()?;
        let unfit = |error: StoreError| {
            let reason = format!("what was written there could not be read back: {error}");
            VaultError::invalid("target", reason)
        };
        let place = match self.destinations.open(&account.sid, &schedule.target).await {
            Err(PlaceError::Store(error)) => return Err(unfit(error)),
            opened => opened?,
        };
        try_target(place.as_ref()).await.map_err(unfit)?;
        schedule.set_at = self.vault.now();
        self.vault.put_schedule(account, &schedule).await?;
        self.plan_run(account, schedule.set_at).await
    }

    async fn plan_run(&self, account: &Account, at: TimeUs) -> Result<()> {
        let running = Running {
            id: run_id(at),
            progress: Progress::default(),
        };
        let job = format!("{EXPORT}:{}:{}", account.sid, running.id);
        self.enqueue(account, EXPORT, &job, self.vault.now(), &running).await?;
        self.vault.init_run(account, &Run::begun(&running.id, at)).await
    }

    /// Plans the runs that are due, when a process begins and once every six hours; a run that is planned is not planned again.
    pub(super) async fn plan_runs(&self) -> Result<()> {
        let slot = self.vault.now().0.div_euclid(EVERY_S * SECOND_US);
        if self.planned.swap(slot, Ordering::Relaxed) == slot {
            return Ok(());
        }
        let planned = self.plan_slot(TimeUs(slot * EVERY_S * SECOND_US)).await;
        if planned.is_err() {
            self.planned.store(i64::MIN, Ordering::Relaxed);
        }
        planned
    }

    async fn plan_slot(&self, at: TimeUs) -> Result<()> {
        for account in self.vault.scheduled_accounts().await? {
            match self.vault.get_account(&account).await {
                Ok(account) => {
                    // A run that has not ended goes on by itself.
                    let runs = self.vault.list_export_runs(&account).await?;
                    if runs.first().is_none_or(Run::is_over) {
                        self.plan_run(&account, at).await?;
                    }
                }
                // It was closed.
                Err(VaultError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.put_all_in_line().await
    }

    pub(super) async fn run_export(&self, account: &Account, mut job: JobRow) -> Result<()> {
        let mut running: Running = open(account, &job.id, &job.body)?;
        let known = self.vault.find_run(account, &running.id).await?;
        let schedule = self.vault.find_schedule(account).await?;
        let mut run = known.unwrap_or_else(|| Run::begun(&running.id, self.vault.now()));
        let schedule = match schedule {
            Some(schedule) if !self.is_overtaken(account, &run).await? => schedule,
            // A later run does what this one left, or there is nothing to do any more.
            _ => {
                run.state = RunState::Failed;
                self.vault.put_run(account, &run).await?;
                return self.finish(job).await;
            }
        };
        run.state = RunState::Running;
        self.vault.put_run(account, &run).await?;
        let turn = self
            .take_turn(account, &schedule, &mut job, &mut running, &mut run)
            .await;
        let now = self.vault.now();
        job.body = seal(account, &job.id, &running)?;
        match turn {
            Ok(Stop::End) => {
                (run.state, run.ended_at, run.error) = (RunState::Done, Some(now), None);
                self.vault.put_run(account, &run).await?;
                self.vault.forget_old_runs(account).await?;
                self.exports_done.fetch_add(1, Ordering::Relaxed);
                self.finish(job).await
            }
            Ok(Stop::Slice) => {
                self.vault.put_run(account, &run).await?;
                job.run_at = now;
                Ok(self.vault.catalog.release(&job).await?)
            }
            // Somebody else has the job by now.
            Err(VaultError::Store(StoreError::Conflict { what: "a job's lease" })) => Ok(()),
            Err(error) if error.is_conflict() => {
                self.vault.put_run(account, &run).await?;
                job.run_at = now.plus_seconds(BUSY_S);
                Ok(self.vault.catalog.release(&job).await?)
            }
            Err(error) => self.fail(account, job, run, error).await,
        }
    }

    /// Whether the schedule was set anew since the run was planned.
    async fn is_overtaken(&self, account: &Account, run: &Run) -> Result<bool> {
        let latest = self.vault.list_export_runs(account).await?;
        Ok(latest.first().is_some_and(|latest| latest.id > run.id))
    }

    async fn take_turn(
        &self,
        account: &Account,
        schedule: &Schedule,
        job: &mut JobRow,
        running: &mut Running,
        run: &mut Run,
    ) -> Result<Stop> {
        let place = self.destinations.open(&account.sid, &schedule.target).await?;
        let began = self.vault.now();
        let mut lease = Lease::new(&self.vault, job);
        let mut slices = Slices {
            vault: &self.vault,
            account,
            schedule,
            place: place.as_ref(),
            writing: &mut lease,
        };
        loop {
            // A slice that fails is begun anew from where it was.
            let mut progress = running.progress.clone();
            let stop = slices.next(run, &mut progress).await?;
            running.progress = progress;
            if stop == Stop::End || self.vault.now() >= began.plus_seconds(TURN_S) {
                return Ok(stop);
            }
        }
    }

    /// Raises the alarm: in the account's activity log, by webhook, in the run itself, the metrics and the doctor.
    async fn fail(&self, account: &Account, mut job: JobRow, mut run: Run, error: VaultError) -> Result<()> {
        let now = self.vault.now();
        run.failures += 1;
        let pause = usize::try_from(run.failures - 1)
            .unwrap_or(usize::MAX)
            .min(PAUSES_S.len() - 1);
        let pause_s = PAUSES_S.get(pause).copied().unwrap_or(BUSY_S);
        (run.state, run.ended_at, run.error) = (RunState::Failing, Some(now), Some(error.to_string()));
        self.vault.put_run(account, &run).await?;
        self.exports_failed.fetch_add(1, Ordering::Relaxed);
        job.run_at = now.plus_seconds(pause_s);
        job.error = run.error.clone();
        let detail = json!({
            "run": run.id, "failures": run.failures, "error": run.error, "next_attempt_at": job.run_at.to_string(),
        });
        self.note_failure(account, now, &detail).await?;
        let id = format!("export:{}:{}", run.id, run.failures);
        self.emit(account, "export.failed", &id, now, detail).await?;
        self.vault.catalog.release(&job).await?;
        // The log of the process says so too.
        Err(error)
    }

    pub(super) async fn note_failure(&self, account: &Account, now: TimeUs, detail: &serde_json::Value) -> Result<()> {
        let entry = Entry {
            sid: Account::fresh_sid(now)?,
            at: now,
            name: "export.failed".into(),
            subject: Number::default(),
            detail: Some(detail.to_string().into_boxed_str()),
        };
        let entries: Vec<Record> = Record::of_log(Class::Activity, entry).into_iter().collect();
        self.vault.ingest_into(account, &entries).await?;
        Ok(())
    }

    /// Runs that ended well and attempts that failed, since this process began.
    #[must_use]
    pub fn export_counts(&self) -> (u64, u64) {
        let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.exports_done), read(&self.exports_failed))
    }
}

/// Writes something, reads it back and removes it.
async fn try_target(place: &dyn Objects) -> std::result::Result<(), StoreError> {
    let text = Bytes::from(format!("{}\n", hex::encode(random_bytes::<16>().unwrap_or_default())));
    place.put(CHECK, text.clone()).await?;
    let found = place.get(CHECK).await?;
    // A target that does not let go of it may still be written to.
    let _ = place.delete(CHECK).await;
    match found == text {
        true => Ok(()),
        false => Err(StoreError::Damaged {
            store: "export target",
            reason: "it is something else".to_owned(),
        }),
    }
}

impl Run {
    fn begun(id: &str, at: TimeUs) -> Self {
        Self {
            id: id.to_owned(),
            state: RunState::Running,
            started_at: at,
            ended_at: None,
            recordings: 0,
            days: 0,
            records: 0,
            bytes: 0,
            failures: 0,
            error: None,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, RunState::Done | RunState::Failed)
    }
}

/// Prolongs a job's lease while it is worked on.
pub(super) struct Lease<'a> {
    vault: &'a Vault,
    job: &'a mut JobRow,
    renewed_at: TimeUs,
}

impl<'a> Lease<'a> {
    /// The lease of a job that was taken just now.
    pub(super) fn new(vault: &'a Vault, job: &'a mut JobRow) -> Self {
        let renewed_at = vault.now();
        Self { vault, job, renewed_at }
    }
}

#[async_trait]
impl Writing for Lease<'_> {
    async fn piece(&mut self) -> Result<()> {
        let now = self.vault.now();
        if now < self.renewed_at.plus_seconds(RENEW_S) {
            return Ok(());
        }
        self.job.lease_until = Some(now.plus_seconds(LEASE_S));
        self.job.state = JobState::Open;
        self.vault.catalog.renew(self.job).await?;
        self.renewed_at = now;
        Ok(())
    }
}

impl Vault {
    /// Accounts that have a schedule, closed ones among them.
    pub(crate) async fn scheduled_accounts(&self) -> Result<Vec<AccountSid>> {
        let values = self.catalog.list_values("export-schedule/").await?;
        let names = values.iter().filter_map(|(name, _)| name.rsplit_once('/'));
        Ok(names.filter_map(|(_, account)| account.parse().ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_runs_have_later_names() {
        let at = TimeUs::parse("2026-11-23T06:00:00Z").expect("a time");
        assert_eq!(run_id(at), "20261123T060000000000Z");
        assert!(run_id(at) < run_id(TimeUs(at.0 + 1)));
        assert!(run_id(TimeUs(at.0 + 999_999)) < run_id(at.plus_seconds(1)));
    }
}
