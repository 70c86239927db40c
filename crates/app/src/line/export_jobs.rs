//! Export jobs: each is written from its beginning to its end, tells how far it is, and is tried again when it fails.

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use callvault_core::{Sid, TimeUs};
use callvault_store::{Objects, StoreError, Upload, rows::JobRow};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{EXPORT_JOB, LEASE_S, Line, exports::Lease, job_id, open, seal};
use crate::{
    error::{Result, VaultError},
    export::{ExportJob, ExportOrder, JobDelivery, JobPhase, JobRequest, JobResult, JobState, Passage, Sink},
    schedule::{Writing, read_back, write_object},
    vault::Account,
};

/// When an attempt that failed is followed by the next; after the last one the job is given up.
const PAUSES_S: [i64; 4] = [60, 300, 1_800, 7_200];
/// A job whose records went or came in meanwhile is begun anew after this long ...
const CHANGED_S: i64 = 30;
/// ... this often.
const MOST_CHANGES: u32 = 5;
/// How often the state that others see is renewed.
const TELL_S: i64 = 1;

/// What the line keeps of a job: all that is needed to end it, also when its definition is gone.
#[derive(Serialize, Deserialize)]
struct Queued {
    job: ExportJob,
    /// What it came to, once that is decided.
    ended: Option<JobState>,
}

impl Line {
    /// Accepts an export job. It is durable when this returns.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] that names the field at fault; [`VaultError::Refused`] when there are too many.
    pub async fn order_export(&self, account: &Account, order: ExportOrder) -> Result<ExportJob> {
        order.check()?;
        if order.delivery == JobDelivery::Target && self.vault.find_schedule(account).await?.is_none() {
            return Err(no_target());
        }
        let now = self.vault.now();
        let job = ExportJob {
            id: Account::fresh_sid(now)?,
            order,
            created_at: now,
        };
        let counted = self.ordering.lock().await;
        self.vault.insert_export_job(account, &job).await?;
        drop(counted);
        if let Err(error) = self.put_in_line(account, &job).await {
            // Who is told that it failed does not find it.
            let _ = self.vault.delete_export_job(account, job.id).await;
            return Err(error);
        }
        Ok(job)
    }

    async fn put_in_line(&self, account: &Account, job: &ExportJob) -> Result<()> {
        let id = job_id(EXPORT_JOB, job.id);
        let queued = Queued { job: *job, ended: None };
        self.enqueue(account, EXPORT_JOB, &id, job.created_at, &queued).await
    }

    /// Puts those in line that are not over: a process may have died before it did. Those that are there already stay as they are.
    pub(super) async fn put_all_in_line(&self) -> Result<()> {
        for account in self.vault.accounts_with_export_jobs().await? {
            let account = match self.vault.get_account(&account).await {
                Ok(account) => account,
                // It was closed.
                Err(VaultError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            for (job, state) in self.vault.list_export_jobs(&account).await? {
                if !state.phase.is_over() {
                    self.put_in_line(&account, &job).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn run_export_job(&self, account: &Account, mut row: JobRow) -> Result<()> {
        let mut queued: Queued = open(account, &row.id, &row.body)?;
        let job = queued.job;
        if queued.ended.is_none() && self.vault.find_export_job(account, job.id).await?.is_some() {
            let mut state = self.vault.find_job_state(account, job.id).await?;
            match self.attempt(account, &job, &mut row, &mut state).await {
                Ok(result) => state.result = Some(result),
                // Somebody else has the job by now.
                Err(VaultError::Store(StoreError::Conflict { what: "a job's lease" })) => return Ok(()),
                Err(VaultError::NotFound { what: "export job" }) => return self.forget_job(account, &job, row).await,
                Err(error) => {
                    if let Some(pause_s) = fail(&mut state, &error) {
                        row.run_at = self.vault.now().plus_seconds(pause_s);
                        return match self.vault.catalog.release(&row).await {
                            Err(StoreError::Conflict { .. }) => Ok(()),
                            Err(error) => Err(error.into()),
                            Ok(()) => self.vault.put_job_state(account, job.id, &state).await,
                        };
                    }
                }
            }
            (state.phase, state.ended_at) = match state.result {
                Some(_) => (JobPhase::Done, Some(self.vault.now())),
                None => (JobPhase::Failed, Some(self.vault.now())),
            };
            // Whoever holds the lease says what it came to, and nobody after it.
            row.body = seal(
                account,
                &row.id,
                &Queued {
                    job,
                    ended: Some(state.clone()),
                },
            )?;
            row.lease_until = Some(self.vault.now().plus_seconds(LEASE_S));
            match self.vault.catalog.renew(&row).await {
                Err(StoreError::Conflict { .. }) => {
                    self.delete_attempts(account, &job, row.attempts..=row.attempts).await;
                    return Ok(());
                }
                renewed => renewed?,
            }
            queued.ended = Some(state);
        }
        let Some(state) = queued.ended else {
            return self.forget_job(account, &job, row).await;
        };
        self.vault.put_job_state(account, job.id, &state).await?;
        // It may have been cancelled since it was last looked at.
        if self.vault.find_export_job(account, job.id).await?.is_none() {
            return self.forget_job(account, &job, row).await;
        }
        // What processes left that died after they had delivered.
        let kept = state
            .result
            .as_ref()
            .and_then(|result| result.object.as_deref())
            .unwrap_or_default();
        let left = 1..=row.attempts;
        self.delete_attempts(
            account,
            &job,
            left.filter(|attempt| !kept.starts_with(&folder(&job, *attempt))),
        )
        .await;
        self.tell_of_job(account, &job, &state).await?;
        self.finish(row).await
    }

    /// Ends a job that nobody wants any more.
    async fn forget_job(&self, account: &Account, job: &ExportJob, row: JobRow) -> Result<()> {
        self.delete_attempts(account, job, 1..=row.attempts).await;
        self.vault.delete_job_state(account, job.id).await?;
        self.finish(row).await
    }

    /// Removes what attempts brought to the target, as far as it lets go of it.
    async fn delete_attempts(&self, account: &Account, job: &ExportJob, attempts: impl Iterator<Item = i64>) {
        let mut attempts = attempts.peekable();
        if job.order.delivery != JobDelivery::Target || attempts.peek().is_none() {
            return;
        }
        let Ok(place) = self.open_target(account).await else {
            return;
        };
        for attempt in attempts {
            for name in [object_name(job, attempt), manifest_name(job, attempt)] {
                let _ = place.delete(&name).await;
            }
        }
    }

    async fn open_target(&self, account: &Account) -> Result<Arc<dyn Objects>> {
        let schedule = self.vault.find_schedule(account).await?.ok_or_else(no_target)?;
        Ok(self.destinations.open(&account.sid, &schedule.target).await?)
    }

    /// Writes it once.
    async fn attempt(
        &self,
        account: &Account,
        job: &ExportJob,
        row: &mut JobRow,
        state: &mut JobState,
    ) -> Result<JobResult> {
        let now = self.vault.now();
        *state = JobState {
            phase: JobPhase::Running,
            started_at: Some(now),
            failures: state.failures,
            changes: state.changes,
            ..JobState::default()
        };
        let place = match job.order.delivery {
            JobDelivery::Download => None,
            JobDelivery::Target => Some(self.open_target(account).await?),
        };
        // Each attempt has its own: one whose lease was lost takes nothing from who has it now.
        let attempt = row.attempts;
        let object = object_name(job, attempt);
        let mut sink = JobSink {
            upload: None,
            beat: Beat {
                line: self,
                account,
                id: job.id,
                state,
                lease: Lease::new(&self.vault, row),
                told_at: now,
            },
        };
        sink.beat.tell().await?;
        let Some(place) = place else {
            return self.write_job(account, job, &mut sink).await;
        };
        sink.upload = Some(place.begin(&object).await?);
        let written = self.write_job(account, job, &mut sink).await;
        let JobSink { upload, mut beat } = sink;
        let mut result = match (written, upload) {
            (Ok(result), Some(upload)) => {
                upload.finish().await?;
                result
            }
            (written, upload) => {
                // What is left of it is the target's to clean up, should this fail too.
                if let Some(upload) = upload {
                    let _ = upload.abort().await;
                }
                return written;
            }
        };
        result.object = Some(object.clone());
        let manifest = manifest_name(job, attempt);
        let checked = self
            .check_object(job, &result, &manifest, place.as_ref(), &mut beat)
            .await;
        if let Err(error) = checked {
            // Nothing lies there that was not read back, or that nobody wants any more.
            let _ = place.delete(&object).await;
            let _ = place.delete(&manifest).await;
            return Err(error);
        }
        Ok(result)
    }

    async fn write_job(&self, account: &Account, job: &ExportJob, sink: &mut JobSink<'_>) -> Result<JobResult> {
        let passage = Passage {
            skip_bytes: 0,
            sha256: true,
        };
        let account = self.vault.get_account(&account.sid).await?;
        let (snapshot, to, written) = match job.order.request() {
            JobRequest::Records(request) => {
                let export = self.vault.plan_export(account, &request).await?;
                sink.beat.state.records_total = Some(export.records_at_most());
                let written = export.write(&self.vault, passage, sink).await?;
                (export.snapshot(), export.to(), written)
            }
            JobRequest::Recordings(request) => {
                let archive = self.vault.plan_archive(account, &request).await?;
                let state = &mut *sink.beat.state;
                (state.records_total, state.bytes_total) = (Some(archive.recordings()), archive.bytes());
                let written = archive.write(&self.vault, passage, sink).await?;
                (archive.snapshot(), archive.to(), written)
            }
        };
        Ok(JobResult {
            snapshot: snapshot.to_string(),
            at: snapshot.at,
            to,
            records: written.records,
            bytes: written.bytes,
            sha256: written.sha256.unwrap_or_default(),
            object: None,
        })
    }
    /// Reads the job's object back, and writes what the job came to beside it.
    async fn check_object(
        &self,
        job: &ExportJob,
        result: &JobResult,
        manifest_name: &str,
        place: &dyn Objects,
        beat: &mut Beat<'_>,
    ) -> Result<()> {
        let object = result.object.as_deref().unwrap_or_default();
        read_back(place, beat, object, result.bytes, &result.sha256).await?;
        let mut manifest = summary(job, result);
        manifest["account"] = json!(beat.account.sid);
        manifest["written_at"] = json!(self.vault.now().to_string());
        let text = Bytes::from(format!("{manifest:#}\n"));
        let pieces = futures::stream::iter([Ok(text)]).boxed();
        write_object(place, beat, manifest_name, pieces).await?;
        Ok(())
    }

    /// Tells the account's webhooks, and its activity log when it failed, that a job is over.
    async fn tell_of_job(&self, account: &Account, job: &ExportJob, state: &JobState) -> Result<()> {
        let at = state.ended_at.unwrap_or_else(|| self.vault.now());
        let id = job_id(EXPORT_JOB, job.id);
        match &state.result {
            Some(result) => self.emit(account, "export.done", &id, at, summary(job, result)).await,
            None => {
                let detail = json!({ "job": job.id, "failures": state.failures, "error": state.error });
                self.note_failure(account, at, &detail).await?;
                self.exports_failed.fetch_add(1, Ordering::Relaxed);
                self.emit(account, "export.failed", &id, at, detail).await
            }
        }
    }
}

/// Where an attempt puts what it writes.
fn folder(job: &ExportJob, attempt: i64) -> String {
    format!("exports/{}/{attempt}/", job.id)
}

fn object_name(job: &ExportJob, attempt: i64) -> String {
    folder(job, attempt) + &job.order.file_name()
}

fn manifest_name(job: &ExportJob, attempt: i64) -> String {
    folder(job, attempt) + "manifest.json"
}

/// What is told of a job that is whole.
fn summary(job: &ExportJob, result: &JobResult) -> Value {
    let (class, format) = job.order.names();
    json!({
        "job": job.id, "class": class, "format": format, "from": job.order.from.map(|from| from.to_string()),
        "to": result.to.to_string(), "at": result.at.to_string(), "snapshot": result.snapshot,
        "records": result.records, "bytes": result.bytes, "sha256": result.sha256, "file": result.object,
    })
}

fn no_target() -> VaultError {
    let reason =
        "`target` is where exports on schedule go to, and this account has none; set them, or leave `delivery` out";
    VaultError::invalid("delivery", reason)
}

/// Notes a failure. Returns after how long the job is tried again, if it is.
fn fail(state: &mut JobState, error: &VaultError) -> Option<i64> {
    state.error = Some(error.to_string());
    state.phase = JobPhase::Failing;
    if error.is_conflict() {
        state.changes += 1;
        state.error = Some("records of the span came in, lapsed or were deleted while it was written".to_owned());
        return (state.changes < MOST_CHANGES).then_some(CHANGED_S);
    }
    let pause = usize::try_from(state.failures)
        .ok()
        .and_then(|n| PAUSES_S.get(n))
        .copied();
    state.failures += 1;
    // What the request itself is to blame for does not get better.
    pause.filter(|_| !matches!(error, VaultError::Invalid { .. } | VaultError::Refused(_)))
}

/// Says that a job lives, and how far it is.
struct Beat<'a> {
    line: &'a Line,
    account: &'a Account,
    id: Sid,
    state: &'a mut JobState,
    lease: Lease<'a>,
    told_at: TimeUs,
}

impl Beat<'_> {
    /// Shows how far it is.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when nobody wants the job any more.
    async fn tell(&mut self) -> Result<()> {
        let vault = &self.line.vault;
        if vault.find_export_job(self.account, self.id).await?.is_none() {
            return Err(VaultError::NotFound { what: "export job" });
        }
        vault.put_job_state(self.account, self.id, self.state).await
    }
}

#[async_trait]
impl Writing for Beat<'_> {
    async fn piece(&mut self) -> Result<()> {
        self.lease.piece().await?;
        let now = self.line.vault.now();
        if now < self.told_at.plus_seconds(TELL_S) {
            return Ok(());
        }
        self.told_at = now;
        self.tell().await
    }
}

/// Passes an export's bytes to an upload, if there is one, and counts.
struct JobSink<'a> {
    upload: Option<Box<dyn Upload>>,
    beat: Beat<'a>,
}

#[async_trait]
impl Sink for JobSink<'_> {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.beat.state.bytes += bytes.len() as u64;
        if let Some(upload) = &mut self.upload {
            upload.write(bytes).await?;
        }
        self.beat.piece().await
    }

    fn progress(&mut self, records: u64) {
        self.beat.state.records = records;
    }
}
