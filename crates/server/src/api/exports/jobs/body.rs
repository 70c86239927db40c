//! What an export job looks like from outside.

use callvault_app::{
    core::AccountSid,
    export::{ExportJob, JobDelivery, JobResult, JobState},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::exports::path_of;

/// An export that is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewExportJob {
    /// `call`, `message`, `campaign_report` or `recording`.
    pub class: String,
    /// `csv` (if absent), `ndjson`, `json` or `parquet`; campaign reports are `csv`. Recordings are one tar archive:
    /// `original` (if absent), `wav` or `mp3`.
    #[serde(default)]
    pub format: Option<String>,
    /// At or after, RFC 3339 or a day; from the first one if absent.
    #[serde(default)]
    pub from: Option<String>,
    /// Before, RFC 3339 or a day; the moment at which it is written if absent.
    #[serde(default)]
    pub to: Option<String>,
    /// `download` (if absent): from `path` of the result. `target`: into the bucket or folder that exports on schedule go to.
    #[serde(default)]
    pub delivery: Option<String>,
}

/// An export job.
#[derive(Serialize, ToSchema)]
pub struct ExportJobBody {
    /// Identifier.
    pub id: String,
    /// `call`, `message`, `campaign_report` or `recording`.
    pub class: &'static str,
    /// `csv`, `ndjson`, `json`, `parquet`; `original`, `wav` or `mp3`.
    pub format: &'static str,
    /// At or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub from: Option<String>,
    /// Before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub to: Option<String>,
    /// `download` or `target`.
    pub delivery: &'static str,
    /// `queued`, `running`, `failing` (it is tried again), `done` or `failed` (given up).
    pub state: &'static str,
    /// When it was asked for.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When its latest attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub started_at: Option<String>,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
    /// Records or recordings written so far.
    pub records: u64,
    /// At most as many as there are to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_total: Option<u64>,
    /// Bytes written so far.
    pub bytes: u64,
    /// As many as there will be, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
    /// Attempts that failed.
    pub failures: u32,
    /// Why the latest attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it came to, when it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ExportResultBody>,
}

/// What an export job came to, to be checked against what arrived.
#[derive(Serialize, ToSchema)]
pub struct ExportResultBody {
    /// The state that the rest is true of.
    pub snapshot: String,
    /// The moment that it is of.
    #[schema(format = DateTime)]
    pub at: String,
    /// The end of its span.
    #[schema(format = DateTime)]
    pub to: String,
    /// Records or recordings.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes, hexadecimal.
    pub sha256: String,
    /// Path and query that give these bytes, as long as nothing of the span goes or comes in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The object in the target, below its prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

impl ExportJobBody {
    pub(super) fn new(account: &AccountSid, job: &ExportJob, state: JobState) -> Self {
        let (class, format) = job.order.names();
        Self {
            id: job.id.to_string(),
            class,
            format,
            from: job.order.from.map(|from| from.to_string()),
            to: job.order.to.map(|to| to.to_string()),
            delivery: match job.order.delivery {
                JobDelivery::Download => "download",
                JobDelivery::Target => "target",
            },
            state: state.phase.as_str(),
            created_at: job.created_at.to_string(),
            started_at: state.started_at.map(|at| at.to_string()),
            ended_at: state.ended_at.map(|at| at.to_string()),
            records: state.records,
            records_total: state.records_total,
            bytes: state.bytes,
            bytes_total: state.bytes_total,
            failures: state.failures,
            error: state.error,
            result: state.result.map(|result| ExportResultBody::new(account, job, result)),
        }
    }
}

impl ExportResultBody {
    fn new(account: &AccountSid, job: &ExportJob, result: JobResult) -> Self {
        let (_, format) = job.order.names();
        let is_download = job.order.delivery == JobDelivery::Download;
        let archive_format = job.order.is_archive().then_some(format);
        let path = || {
            path_of(
                account,
                &job.order.file_name(),
                archive_format,
                (job.order.from, result.to),
                &result.snapshot,
            )
        };
        Self {
            path: is_download.then(path),
            snapshot: result.snapshot,
            at: result.at.to_string(),
            to: result.to.to_string(),
            records: result.records,
            bytes: result.bytes,
            sha256: result.sha256,
            object: result.object,
        }
    }
}
