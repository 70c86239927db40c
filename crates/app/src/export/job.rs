//! Export jobs: an export that is written in the background, with progress. Its definition and its state are two values
//! of the catalog, sealed under the account's key; a job whose definition is gone is over, whoever works on it.

use std::{cmp::Reverse, collections::BTreeSet};

use callvault_core::{AccountSid, Class, Refusal, Sid, TimeUs, hold::Reader, record::AudioFormat};
use serde::{Deserialize, Serialize};

use super::{ArchiveRequest, Format, Request, plan};
use crate::{
    error::{Result, VaultError},
    line::open,
    vault::{Account, Vault},
};

/// Jobs of an account that are not over.
pub const MAX_OPEN_JOBS: usize = 10;
/// Jobs that are remembered after they are over.
const JOBS_KEPT: usize = 30;

/// What a job writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum JobContent {
    /// Records of a class.
    Records {
        /// Calls, messages or campaign reports.
        class: Class,
        /// What they are written in.
        format: Format,
    },
    /// Recordings, as one archive.
    Recordings {
        /// What they are delivered in; as they came in if absent.
        format: Option<AudioFormat>,
    },
}

/// Where what a job writes is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobDelivery {
    /// From the API, by a path that names its snapshot. The vault keeps no copy.
    Download,
    /// In the bucket or folder that exports on schedule go to.
    Target,
}

/// What a job is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportOrder {
    /// What it writes.
    pub content: JobContent,
    /// At or after.
    pub from: Option<TimeUs>,
    /// Before; the moment at which it is written if absent.
    pub to: Option<TimeUs>,
    /// Who reads.
    pub reader: Reader,
    /// Where it is to be had.
    pub delivery: JobDelivery,
}

/// An export that was asked for as a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportJob {
    /// Identifier.
    pub id: Sid,
    /// What it is to do.
    pub order: ExportOrder,
    /// When it was asked for.
    pub created_at: TimeUs,
}

/// Whether a job is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    /// It waits for its turn.
    #[default]
    Queued,
    /// It is written.
    Running,
    /// An attempt failed; it is tried again.
    Failing,
    /// It is whole.
    Done,
    /// It was given up.
    Failed,
}

impl JobPhase {
    /// The phase's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Failing => "failing",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing changes any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobState {
    /// Whether it is over.
    pub phase: JobPhase,
    /// When its latest attempt began.
    pub started_at: Option<TimeUs>,
    /// When it was over.
    pub ended_at: Option<TimeUs>,
    /// Records or recordings written.
    pub records: u64,
    /// At most as many as there are to write; known when an attempt begins.
    pub records_total: Option<u64>,
    /// Bytes written.
    pub bytes: u64,
    /// As many as there will be, where that is known before the end.
    pub bytes_total: Option<u64>,
    /// Attempts that failed.
    pub failures: u32,
    /// Attempts that were begun anew because records went or came in meanwhile.
    pub changes: u32,
    /// Why the latest attempt failed, without personal data.
    pub error: Option<String>,
    /// What it came to.
    pub result: Option<JobResult>,
}

/// What an export job came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    /// The state that the rest is true of, as text.
    pub snapshot: String,
    /// The moment that it is of.
    pub at: TimeUs,
    /// The end of its span.
    pub to: TimeUs,
    /// Records or recordings.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes, hexadecimal.
    pub sha256: String,
    /// The object in the target, if it went there.
    pub object: Option<String>,
}

/// What a job asks for.
pub(crate) enum JobRequest {
    /// Records.
    Records(Request),
    /// Recordings.
    Recordings(ArchiveRequest),
}

fn job_name(account: &AccountSid, id: &str) -> String {
    format!("export-job/{account}/{id}")
}

fn state_name(account: &AccountSid, id: Sid) -> String {
    format!("export-job-state/{account}/{id}")
}

impl ExportOrder {
    /// The name of its file.
    #[must_use]
    pub fn file_name(&self) -> String {
        match self.content {
            JobContent::Recordings { .. } => "recordings.tar".to_owned(),
            JobContent::Records { class, format } => {
                let name = match class {
                    Class::Message => "messages",
                    Class::CampaignReport => "campaign_reports",
                    _ => "calls",
                };
                format!("{name}.{}", format.as_str())
            }
        }
    }

    /// Whether it writes recordings.
    #[must_use]
    pub const fn is_archive(&self) -> bool {
        matches!(self.content, JobContent::Recordings { .. })
    }

    /// Its class and its format by name.
    #[must_use]
    pub fn names(&self) -> (&'static str, &'static str) {
        match self.content {
            JobContent::Records { class, format } => (class.as_str(), format.as_str()),
            JobContent::Recordings { format } => (
                Class::Recording.as_str(),
                format.map_or("original", AudioFormat::as_str),
            ),
        }
    }

    /// What it asks for.
    pub(crate) const fn request(&self) -> JobRequest {
        let (from, to, reader) = (self.from, self.to, self.reader);
        match self.content {
            JobContent::Records { class, format } => JobRequest::Records(Request {
                class,
                format,
                from,
                to,
                reader,
            }),
            JobContent::Recordings { format } => JobRequest::Recordings(ArchiveRequest {
                from,
                to,
                format,
                reader,
            }),
        }
    }

    /// Whether it says what can be done.
    pub(crate) fn check(&self) -> Result<()> {
        match self.request() {
            JobRequest::Records(request) => plan::check(&request),
            JobRequest::Recordings(request) => plan::check_span(request.from, request.to),
        }
    }
}

impl Vault {
    /// An account's export jobs and how far they are, the newest first.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn list_export_jobs(&self, account: &Account) -> Result<Vec<(ExportJob, JobState)>> {
        let mut jobs = Vec::new();
        for (name, value) in self.catalog.list_values(&job_name(&account.sid, "")).await? {
            let job: ExportJob = open(account, &name, &value)?;
            let state = self.find_job_state(account, job.id).await?;
            jobs.push((job, state));
        }
        jobs.sort_by_key(|(job, _)| Reverse((job.created_at, job.id)));
        Ok(jobs)
    }

    /// An export job and how far it is.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is none.
    pub async fn get_export_job(&self, account: &Account, id: Sid) -> Result<(ExportJob, JobState)> {
        let job = self.find_export_job(account, id).await?;
        let job = job.ok_or(VaultError::NotFound { what: "export job" })?;
        let state = self.find_job_state(account, id).await?;
        Ok((job, state))
    }

    /// Forgets an export job. One that is under way ends with its next piece.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is none.
    pub async fn delete_export_job(&self, account: &Account, id: Sid) -> Result<()> {
        let name = job_name(&account.sid, &id.to_string());
        let was_there = self.catalog.delete_value(&name).await?;
        self.delete_job_state(account, id).await?;
        match was_there {
            true => Ok(()),
            false => Err(VaultError::NotFound { what: "export job" }),
        }
    }

    /// Accounts that have export jobs, closed ones among them.
    pub(crate) async fn accounts_with_export_jobs(&self) -> Result<BTreeSet<AccountSid>> {
        let values = self.catalog.list_values("export-job/").await?;
        let accounts = values
            .iter()
            .filter_map(|(name, _)| name.split('/').nth(1)?.parse().ok());
        Ok(accounts.collect())
    }

    /// Keeps a new job, and forgets the oldest of those that are over.
    pub(crate) async fn insert_export_job(&self, account: &Account, job: &ExportJob) -> Result<()> {
        let jobs = self.list_export_jobs(account).await?;
        let (over, open): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|(_, state)| state.phase.is_over());
        if open.len() >= MAX_OPEN_JOBS {
            let reason = format!(
                "An account has at most {MAX_OPEN_JOBS} export jobs that are not over; wait for one, or delete one."
            );
            return Err(Refusal::new("too-many-export-jobs", reason).into());
        }
        for (old, _) in over.iter().skip(JOBS_KEPT) {
            self.delete_export_job(account, old.id).await?;
        }
        self.put_note(account, &job_name(&account.sid, &job.id.to_string()), job)
            .await
    }

    pub(crate) async fn find_export_job(&self, account: &Account, id: Sid) -> Result<Option<ExportJob>> {
        self.find_note(account, &job_name(&account.sid, &id.to_string())).await
    }

    pub(crate) async fn find_job_state(&self, account: &Account, id: Sid) -> Result<JobState> {
        let found = self.find_note(account, &state_name(&account.sid, id)).await?;
        Ok(found.unwrap_or_default())
    }

    pub(crate) async fn put_job_state(&self, account: &Account, id: Sid, state: &JobState) -> Result<()> {
        self.put_note(account, &state_name(&account.sid, id), state).await
    }

    pub(crate) async fn delete_job_state(&self, account: &Account, id: Sid) -> Result<()> {
        self.catalog.delete_value(&state_name(&account.sid, id)).await?;
        Ok(())
    }
}
