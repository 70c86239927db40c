//! `export`: files that go on where they broke off, each with a manifest beside it.

mod file;

use std::path::PathBuf;

use callvault_app::{
    Vault, VaultError,
    conversion::parse_format,
    core::{AccountSid, Class, Reader, TimeUs, record::AudioFormat},
    export::{Archive, ArchiveRequest, Export, Format, Passage, Request, Sink, Snapshot, Written},
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    CliError, Done, Output,
    output::{show_bytes, show_counted},
    parse_account, parse_time,
};
use crate::site::Site;
use file::Target;

/// How often an export that changes while it is written is begun anew.
const ATTEMPTS: u32 = 3;

#[derive(Subcommand)]
pub(super) enum ExportCommand {
    /// Export calls as CSV, NDJSON, JSON or Parquet.
    Calls(Records),
    /// Export messages as CSV, NDJSON, JSON or Parquet.
    Messages(Records),
    /// Export recordings as one tar archive.
    Recordings(Recordings),
}

#[derive(Args)]
pub(super) struct Recordings {
    #[command(flatten)]
    common: Common,
    /// original: as they came in; wav or mp3: those that are not are converted.
    #[arg(long, default_value = "original", value_parser = parse_audio)]
    format: Audio,
}

/// What recordings are delivered in.
#[derive(Clone, Copy)]
struct Audio(Option<AudioFormat>);

fn parse_audio(text: &str) -> Result<Audio, String> {
    parse_format(text).map(Audio).map_err(|error| error.to_string())
}

#[derive(Args)]
pub(super) struct Records {
    #[command(flatten)]
    common: Common,
    /// csv, ndjson, json or parquet.
    #[arg(long, default_value = "csv", value_parser = parse_records)]
    format: Format,
}

#[derive(Args)]
pub(super) struct Common {
    /// Account.
    #[arg(value_parser = parse_account)]
    account: AccountSid,
    /// At or after this moment; from the first record if absent.
    #[arg(long, value_parser = parse_time)]
    from: Option<TimeUs>,
    /// Before this moment; now if absent.
    #[arg(long, value_parser = parse_time)]
    to: Option<TimeUs>,
    /// The file. FILE.partial grows until it is whole; FILE.manifest.json comes beside it.
    #[arg(long, short)]
    output: PathBuf,
    /// Also what a hold or a floor keeps for the compliance role alone.
    #[arg(long)]
    compliance: bool,
}

fn parse_records(text: &str) -> Result<Format, String> {
    text.parse().map_err(|error: VaultError| error.to_string())
}

/// What is exported.
#[derive(Clone, Copy)]
enum Wanted {
    Records(Request),
    Recordings(ArchiveRequest),
}

/// An export, planned.
enum Plan {
    Records(Export),
    Recordings(Archive),
}

impl ExportCommand {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        let (common, class, Audio(audio)) = match self {
            Self::Calls(records) => (records.common, Some((Class::Call, records.format)), Audio(None)),
            Self::Messages(records) => (records.common, Some((Class::Message, records.format)), Audio(None)),
            Self::Recordings(recordings) => (recordings.common, None, recordings.format),
        };
        let reader = if common.compliance {
            Reader::Compliance
        } else {
            Reader::Account
        };
        let (from, to) = (common.from, common.to);
        let wanted = match class {
            Some((class, format)) => Wanted::Records(Request {
                class,
                format,
                from,
                to,
                reader,
            }),
            None => Wanted::Recordings(ArchiveRequest {
                from,
                to,
                format: audio,
                reader,
            }),
        };
        let vault = site.open_vault_of(&common.account).await?;
        common.write(&vault, wanted, out).await
    }
}

impl Common {
    async fn write(&self, vault: &Vault, wanted: Wanted, out: &Output) -> Done {
        let asked = wanted.describe(&self.account);
        let mut target = Target::open(&self.output, &asked)?;
        let mut attempt = 1;
        let (plan, written, resumed_bytes) = loop {
            let plan = self.plan(vault, wanted, &mut target).await?;
            let resumed_bytes = target.bytes();
            match write_once(vault, &plan, &mut target, out).await {
                Ok(written) => break (plan, written, resumed_bytes),
                Err(error) if error.is_conflict() && attempt < ATTEMPTS => attempt += 1,
                Err(error) if error.is_conflict() => {
                    let text = "records came in or went while it was written; run it again, or say an earlier --to";
                    return Err(CliError::Refused(text.to_owned()).of_file(&self.output));
                }
                Err(error) => return Err(error.into()),
            }
        };
        let sha256 = written.sha256.unwrap_or_default();
        let mut manifest = asked;
        if let Value::Object(members) = &mut manifest {
            members.insert("to".to_owned(), json!(plan.to().to_string()));
            members.insert("at".to_owned(), json!(plan.snapshot().at.to_string()));
            members.insert("snapshot".to_owned(), json!(plan.snapshot().to_string()));
            members.insert("records".to_owned(), json!(written.records));
            members.insert("bytes".to_owned(), json!(written.bytes));
            members.insert("sha256".to_owned(), json!(sha256));
        }
        target.finish(&sha256, &manifest)?;
        if let Value::Object(members) = &mut manifest {
            members.insert("file".to_owned(), json!(self.output));
            members.insert("resumed_bytes".to_owned(), json!(resumed_bytes));
        }
        let what = if matches!(wanted, Wanted::Recordings(_)) {
            "recording"
        } else {
            "record"
        };
        out.show(&manifest, || {
            format!(
                "{}: {}, {}, SHA-256 {sha256}, read back",
                self.output.display(),
                show_counted(written.records, what),
                show_bytes(written.bytes)
            )
        })
    }

    /// The export that the file was begun with, if it is what it was, or a new one.
    async fn plan(&self, vault: &Vault, wanted: Wanted, target: &mut Target) -> Result<Plan, CliError> {
        if let Some(snapshot) = target.snapshot()
            && let Some(plan) = wanted.resume(vault, &self.account, snapshot).await?
        {
            return Ok(plan);
        }
        let plan = wanted.plan(vault, &self.account).await?;
        target.begin(plan.snapshot())?;
        Ok(plan)
    }
}

impl Wanted {
    /// The request as the manifest has it.
    fn describe(&self, account: &AccountSid) -> Value {
        let (class, format, from, to, reader) = match self {
            Self::Records(request) => (
                request.class.as_str(),
                request.format.as_str(),
                request.from,
                request.to,
                request.reader,
            ),
            Self::Recordings(request) => (
                Class::Recording.as_str(),
                match request.format {
                    None => "original",
                    Some(AudioFormat::Wav) => "wav",
                    Some(AudioFormat::Mp3) => "mp3",
                },
                request.from,
                request.to,
                request.reader,
            ),
        };
        json!({
            "account": account, "class": class, "format": format, "reader": reader,
            "from": from.map(|from| from.to_string()), "to": to.map(|to| to.to_string()),
        })
    }

    async fn plan(&self, vault: &Vault, account: &AccountSid) -> Result<Plan, VaultError> {
        let account = vault.get_account(account).await?;
        Ok(match self {
            Self::Records(request) => Plan::Records(vault.plan_export(account, request).await?),
            Self::Recordings(request) => Plan::Recordings(vault.plan_archive(account, request).await?),
        })
    }

    async fn resume(
        &self,
        vault: &Vault,
        account: &AccountSid,
        snapshot: Snapshot,
    ) -> Result<Option<Plan>, VaultError> {
        let account = vault.get_account(account).await?;
        Ok(match self {
            Self::Records(request) => vault
                .resume_export(account, request, snapshot)
                .await?
                .map(Plan::Records),
            Self::Recordings(request) => {
                let archive = vault.resume_archive(account, request, snapshot).await?;
                archive.map(Plan::Recordings)
            }
        })
    }
}

impl Plan {
    const fn snapshot(&self) -> Snapshot {
        match self {
            Self::Records(export) => export.snapshot(),
            Self::Recordings(archive) => archive.snapshot(),
        }
    }

    fn to(&self) -> TimeUs {
        match self {
            Self::Records(export) => export.to(),
            Self::Recordings(archive) => archive.to(),
        }
    }

    fn records_at_most(&self) -> u64 {
        match self {
            Self::Records(export) => export.records_at_most(),
            Self::Recordings(archive) => archive.recordings(),
        }
    }

    async fn write(&self, vault: &Vault, passage: Passage, sink: &mut dyn Sink) -> Result<Written, VaultError> {
        match self {
            Self::Records(export) => export.write(vault, passage, sink).await,
            Self::Recordings(archive) => archive.write(vault, passage, sink).await,
        }
    }
}

async fn write_once(vault: &Vault, plan: &Plan, target: &mut Target, out: &Output) -> Result<Written, VaultError> {
    let bar = out.count_bar(plan.records_at_most(), "exporting");
    let passage = Passage {
        skip_bytes: target.bytes(),
        sha256: true,
    };
    let written = plan.write(vault, passage, &mut target.sink(&bar)).await;
    bar.finish_and_clear();
    if written.as_ref().is_err_and(VaultError::is_conflict) {
        target.forget();
    }
    written
}
