//! Exports on schedule: what lapses soon is written to the account's own bucket or folder, and read back (spec 1.5, 7).
//!
//! A schedule, the bucket's credentials in it, and what was exported already are values of the catalog, sealed under the
//! account's key. A run is a job; what it did is committed slice by slice, so that a crash repeats one slice at most.

mod marks;
mod object;
mod place;
mod run;

use std::collections::BTreeSet;

use callvault_core::{AccountSid, Class, TimeUs, record::AudioFormat};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    error::{Result, VaultError},
    export::Format,
    line::{open, seal},
    vault::{Account, Vault},
};

pub use marks::Exported;
pub use object::Writing;
pub(crate) use object::{read_back, write_object};
pub use place::{Destinations, NoDestinations, PlaceError};
pub(crate) use run::Slices;
pub use run::{Progress, Stop};

/// The most days before their end that records are exported.
pub const MAX_DAYS_BEFORE: u32 = 366;
/// The usual: before the first warning, thirty days ahead.
pub const DAYS_BEFORE: u32 = 35;
/// Runs that are remembered.
const RUNS_KEPT: usize = 30;

/// Where exports go.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A bucket of any S3-compatible store.
    Bucket(Bucket),
    /// A folder of the account below the one that the operator allows; a relative path.
    Folder(String),
}

/// A bucket, and who may write to it and read from it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Bucket {
    /// `https://host[:port]`.
    pub endpoint: String,
    /// Region's name, part of the signature.
    pub region: String,
    /// Name.
    pub bucket: String,
    /// What every object's name begins with; may be empty.
    pub prefix: String,
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
}

/// What is exported, when, and where to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Where to.
    pub target: Target,
    /// Recordings, calls, messages, or some of them.
    pub classes: BTreeSet<Class>,
    /// What calls and messages are written in.
    pub records_format: Format,
    /// What recordings are delivered in; as they came in if absent.
    pub audio_format: Option<AudioFormat>,
    /// How many days before they lapse.
    pub days_before: u32,
    /// When it was set.
    pub set_at: TimeUs,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Planned or under way.
    Running,
    /// Everything that was due is exported and was read back.
    Done,
    /// An attempt failed; it is tried again.
    Failing,
    /// Given up: the schedule was set anew, or ended.
    Failed,
}

impl RunState {
    /// The state's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failing => "failing",
            Self::Failed => "failed",
        }
    }
}

/// A run of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Identifier; later runs have later ones.
    pub id: String,
    /// Where it stands.
    pub state: RunState,
    /// When it began.
    pub started_at: TimeUs,
    /// When it ended, or its latest attempt did.
    pub ended_at: Option<TimeUs>,
    /// Recordings written and read back.
    pub recordings: u64,
    /// Days of calls or messages.
    pub days: u64,
    /// Calls and messages in them.
    pub records: u64,
    /// Bytes written and read back, manifests left out.
    pub bytes: u64,
    /// Attempts that failed.
    pub failures: u32,
    /// Why the latest attempt failed, without personal data.
    pub error: Option<String>,
}

fn schedule_name(account: &AccountSid) -> String {
    format!("export-schedule/{account}")
}

fn run_name(account: &AccountSid, id: &str) -> String {
    format!("export-run/{account}/{id}")
}

impl Schedule {
    /// Whether it says what can be done.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] with the field.
    pub fn check(&self) -> Result<()> {
        let known = |class: &Class| matches!(class, Class::Recording | Class::Call | Class::Message);
        if self.classes.is_empty() || !self.classes.iter().all(known) {
            let reason = "expected one or more of recording, call and message";
            return Err(VaultError::invalid("classes", reason));
        }
        if !(1..=MAX_DAYS_BEFORE).contains(&self.days_before) {
            let reason = format!("expected a number from 1 to {MAX_DAYS_BEFORE}");
            return Err(VaultError::invalid("days_before", reason));
        }
        self.target.check()
    }
}

impl Vault {
    /// An account's schedule, if it has one.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn find_schedule(&self, account: &Account) -> Result<Option<Schedule>> {
        self.find_note(account, &schedule_name(&account.sid)).await
    }

    pub(crate) async fn put_schedule(&self, account: &Account, schedule: &Schedule) -> Result<()> {
        self.put_note(account, &schedule_name(&account.sid), schedule).await
    }

    /// Ends an account's exports on schedule. What was exported stays where it is, and known as exported.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is none.
    pub async fn delete_schedule(&self, account: &Account) -> Result<()> {
        match self.catalog.delete_value(&schedule_name(&account.sid)).await? {
            true => Ok(()),
            false => Err(VaultError::NotFound { what: "schedule" }),
        }
    }

    /// An account's latest runs, the newest first.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn list_export_runs(&self, account: &Account) -> Result<Vec<Run>> {
        let values = self.catalog.list_values(&run_name(&account.sid, "")).await?;
        let mut runs: Vec<Run> = values
            .iter()
            .map(|(name, value)| open(account, name, value))
            .collect::<Result<_>>()?;
        runs.sort_by(|a, b| b.id.cmp(&a.id));
        Ok(runs)
    }

    pub(crate) async fn put_run(&self, account: &Account, run: &Run) -> Result<()> {
        self.put_note(account, &run_name(&account.sid, &run.id), run).await
    }

    /// Notes a run as planned, unless it has begun already.
    pub(crate) async fn init_run(&self, account: &Account, run: &Run) -> Result<()> {
        let name = run_name(&account.sid, &run.id);
        let sealed = seal(account, &name, run)?;
        self.catalog.init_value(&name, &sealed).await?;
        Ok(())
    }

    pub(crate) async fn find_run(&self, account: &Account, id: &str) -> Result<Option<Run>> {
        self.find_note(account, &run_name(&account.sid, id)).await
    }

    /// Forgets all but the latest runs.
    pub(crate) async fn forget_old_runs(&self, account: &Account) -> Result<()> {
        for run in self.list_export_runs(account).await?.iter().skip(RUNS_KEPT) {
            self.catalog.delete_value(&run_name(&account.sid, &run.id)).await?;
        }
        Ok(())
    }

    /// A sealed value of an account's.
    pub(crate) async fn find_note<T: DeserializeOwned>(&self, account: &Account, name: &str) -> Result<Option<T>> {
        let value = self.catalog.find_value(name).await?;
        value.map(|value| open(account, name, &value)).transpose()
    }

    /// Seals a value of an account's and keeps it.
    pub(crate) async fn put_note(&self, account: &Account, name: &str, value: &impl Serialize) -> Result<()> {
        let sealed = seal(account, name, value)?;
        Ok(self.catalog.put_value(name, &sealed).await?)
    }
}
