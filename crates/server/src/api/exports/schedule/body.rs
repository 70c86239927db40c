//! What a schedule looks like from outside.

use callvault_app::{
    core::record::AudioFormat,
    schedule::{DAYS_BEFORE, Run, Schedule, Target},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A schedule to be set: exactly one of `bucket` and `folder`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSchedule {
    /// The account's own bucket.
    #[serde(default)]
    pub bucket: Option<NewBucket>,
    /// A folder of the account below the one that the operator allows; a relative path.
    #[serde(default)]
    #[schema(
        max_length = 512,
        pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$"
    )]
    pub folder: Option<String>,
    /// `recording`, `call`, `message`; all three if absent.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 3)]
    pub classes: Option<Vec<String>>,
    /// What calls and messages are written in: `csv` (if absent), `ndjson`, `json` or `parquet`.
    #[serde(default)]
    pub records_format: Option<String>,
    /// What recordings are delivered in: `original` (if absent), `wav` or `mp3`.
    #[serde(default)]
    pub audio_format: Option<String>,
    /// How many days before they lapse; 35 if absent, so that the first warning, 30 days ahead, finds them exported.
    #[serde(default = "days_before")]
    #[schema(minimum = 1, maximum = 366, default = 35)]
    pub days_before: u32,
}

const fn days_before() -> u32 {
    DAYS_BEFORE
}

/// A bucket of any S3-compatible store. Its keys may write, read and remove objects, and are never shown again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBucket {
    /// `https://HOST`, without a path.
    #[schema(max_length = 512)]
    pub endpoint: String,
    /// Region's name, part of the signature.
    #[schema(min_length = 1, max_length = 512)]
    pub region: String,
    /// The bucket.
    #[schema(min_length = 3, max_length = 63)]
    pub name: String,
    /// What every object's name begins with.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub prefix: String,
    /// Access key.
    #[schema(min_length = 1, max_length = 512)]
    pub access_key: String,
    /// Secret key.
    #[schema(min_length = 1, max_length = 512, format = Password)]
    pub secret_key: String,
}

/// A schedule.
#[derive(Serialize, ToSchema)]
pub struct ScheduleBody {
    /// The bucket, without its keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketBody>,
    /// The folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// `recording`, `call`, `message`.
    pub classes: Vec<&'static str>,
    /// `csv`, `ndjson`, `json` or `parquet`.
    pub records_format: &'static str,
    /// `original`, `wav` or `mp3`.
    pub audio_format: &'static str,
    /// Days before they lapse.
    pub days_before: u32,
    /// When it was set.
    #[schema(format = DateTime)]
    pub set_at: String,
    /// The latest runs, the newest first.
    pub runs: Vec<RunBody>,
}

/// A bucket, without its keys.
#[derive(Serialize, ToSchema)]
pub struct BucketBody {
    /// Endpoint.
    pub endpoint: String,
    /// Region.
    pub region: String,
    /// Name.
    pub name: String,
    /// Prefix.
    pub prefix: String,
}

/// A run of a schedule.
#[derive(Serialize, ToSchema)]
pub struct RunBody {
    /// Identifier; manifests are named by it.
    pub id: String,
    /// `running` (planned or under way), `done`, `failing` (it is tried again) or `failed` (the schedule was set anew or ended).
    pub state: &'static str,
    /// When it began.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// When it ended, or its latest attempt did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
    /// Recordings written and read back.
    pub recordings: u64,
    /// Days of calls or messages written and read back.
    pub days: u64,
    /// Calls and messages in them.
    pub records: u64,
    /// Bytes, manifests left out.
    pub bytes: u64,
    /// Attempts that failed.
    pub failures: u32,
    /// Why the latest attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl From<Run> for RunBody {
    fn from(run: Run) -> Self {
        Self {
            id: run.id,
            state: run.state.as_str(),
            started_at: run.started_at.to_string(),
            ended_at: run.ended_at.map(|at| at.to_string()),
            recordings: run.recordings,
            days: run.days,
            records: run.records,
            bytes: run.bytes,
            failures: run.failures,
            error: run.error,
        }
    }
}

impl ScheduleBody {
    pub(super) fn new(schedule: &Schedule, runs: Vec<Run>) -> Self {
        let (bucket, folder) = match &schedule.target {
            Target::Bucket(bucket) => (Some(bucket), None),
            Target::Folder(folder) => (None, Some(folder.clone())),
        };
        Self {
            bucket: bucket.map(|bucket| BucketBody {
                endpoint: bucket.endpoint.clone(),
                region: bucket.region.clone(),
                name: bucket.bucket.clone(),
                prefix: bucket.prefix.clone(),
            }),
            folder,
            classes: schedule.classes.iter().map(|class| class.as_str()).collect(),
            records_format: schedule.records_format.as_str(),
            audio_format: match schedule.audio_format {
                None => "original",
                Some(AudioFormat::Wav) => "wav",
                Some(AudioFormat::Mp3) => "mp3",
            },
            days_before: schedule.days_before,
            set_at: schedule.set_at.to_string(),
            runs: runs.into_iter().map(RunBody::from).collect(),
        }
    }
}
