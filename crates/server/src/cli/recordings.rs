//! `import recordings`: WAV and MP3 files, matched to their calls by file name.

use std::{
    collections::{HashMap, HashSet},
    io::Cursor,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use callvault_app::{
    Account, Vault, VaultError,
    audio::{match_recording, probe},
    core::{
        AccountSid, Class, Number, Reader, Record, Sid, TimeUs,
        record::{Consent, RecordingMeta},
    },
    read::Query,
    recording::NewRecording,
};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{
    CliError, Done, Output,
    import::Failures,
    output::{show_count, show_counted},
    parse_account,
};
use crate::{api::recordings::create::recording_sid, site::Site};

/// How far from what a recording's file says of time its call is looked for first.
const AROUND_DAYS: i64 = 2;

#[derive(Clone, Copy, ValueEnum)]
enum ConsentName {
    Announced,
    Accepted,
    Contract,
    Attested,
}

/// Arguments of `import recordings`.
#[derive(Args)]
pub(super) struct Recordings {
    /// Account.
    #[arg(value_parser = parse_account)]
    account: AccountSid,
    /// Files, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The consent decision of all of them.
    #[arg(long)]
    consent: ConsentName,
    /// Version of the terms, for `contract`.
    #[arg(long, required_if_eq("consent", "contract"))]
    version: Option<String>,
    /// Who attests, for `attested`.
    #[arg(long, required_if_eq("consent", "attested"))]
    by: Option<String>,
}

/// What a recording belongs to: a call of the vault, or what is said of one.
#[derive(Clone)]
pub(super) struct Match {
    pub(super) sid: Option<Sid>,
    pub(super) at: TimeUs,
    pub(super) parties: [Number; 2],
}

impl Recordings {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        let consent = self.consent();
        let vault = site.open_vault_of(&self.account).await?;
        let account = vault.get_account(&self.account).await?;
        let mut files = Vec::new();
        let mut failures = Failures::default();
        let mut errors = Vec::new();
        let alone = self.paths.len() == 1 && self.paths.iter().all(|path| !path.is_dir());
        let mut fail = |error: CliError, path: &Path| {
            let error = error.of_file(path);
            if !alone {
                out.note(&error);
            }
            errors.push(json!({ "file": path, "error": error.to_json() }));
            failures.add(error);
        };
        for path in &self.paths {
            if let Err(error) = collect(path, &mut files) {
                fail(error, path);
            }
        }
        files.sort();
        let named: Vec<Named> = files.iter().filter_map(|file| Named::by(file)).collect();
        let calls = find_calls(&vault, &account, &named.iter().collect::<Vec<_>>(), Reach::Everywhere).await?;
        let bar = out.count_bar(files.len() as u64, "importing");
        let (mut stored, mut known) = (0_u64, 0_u64);
        let (mut recordings, mut rejects) = (Vec::new(), Vec::new());
        for file in &files {
            let call = match_recording(&name_of(file)).and_then(|id| calls.get(id));
            match import_one(&vault, &account, file, call, &consent).await {
                Ok(Outcome::New(sid)) => {
                    stored += 1;
                    recordings.push(json!({ "file": file, "sid": sid.to_string(), "outcome": "new" }));
                }
                Ok(Outcome::Known(sid)) => {
                    known += 1;
                    recordings.push(json!({ "file": file, "sid": sid.to_string(), "outcome": "known" }));
                }
                Ok(Outcome::Rejected(code, reason)) => {
                    out.say(&format!("{}: {reason} ({code})", file.display()))?;
                    rejects.push(json!({ "file": file, "code": code, "reason": reason }));
                }
                Err(error) => fail(error, file),
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let rejected = rejects.len() as u64;
        let value = json!({
            "stored": stored, "known": known, "rejected": rejected, "failed": errors.len(),
            "recordings": recordings, "rejects": rejects, "errors": errors,
        });
        out.show(&value, || {
            let (stored, known, rejected) = (show_count(stored), show_count(known), show_count(rejected));
            format!("{stored} stored, {known} known, {rejected} refused")
        })?;
        // A folder that could not be read counts as one file.
        let all = files.len().max(failures.count());
        failures.into_result(all)?;
        match rejected {
            0 => Ok(()),
            files => Err(CliError::Refused(format!(
                "refused: {}; everything else is stored",
                show_counted(files, "file")
            ))),
        }
    }

    fn consent(&self) -> Consent {
        match self.consent {
            ConsentName::Announced => Consent::Announced,
            ConsentName::Accepted => Consent::Accepted,
            ConsentName::Contract => Consent::Contract {
                version: self.version.clone().unwrap_or_default(),
            },
            ConsentName::Attested => Consent::Attested {
                by: self.by.clone().unwrap_or_default(),
            },
        }
    }
}

pub(super) enum Outcome {
    New(Sid),
    Known(Sid),
    Rejected(&'static str, String),
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Done {
    let failed = |error| CliError::file("recordings", &error);
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let audio = path
            .extension()
            .is_some_and(|kind| kind.eq_ignore_ascii_case("wav") || kind.eq_ignore_ascii_case("mp3"));
        if audio || path.is_dir() {
            collect(&path, files)?;
        }
    }
    Ok(())
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a file says of its call's time: the seconds that an Asterisk unique id begins with, else when it was written.
fn hint(file: &Path, id: &str) -> Option<TimeUs> {
    let seconds = id
        .split('.')
        .next()
        .and_then(|text| text.parse::<i64>().ok())
        .filter(|seconds| *seconds > 600_000_000);
    let written = || {
        let time = std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok()?;
        i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
    };
    seconds
        .or_else(written)
        .map(|seconds| TimeUs(seconds.saturating_mul(1_000_000)))
}

/// A call as a recording names it.
pub(super) struct Named {
    pub(super) id: String,
    /// About when it was.
    pub(super) hint: Option<TimeUs>,
}

impl Named {
    /// The call that a file's name means.
    pub(super) fn by(file: &Path) -> Option<Self> {
        let name = name_of(file);
        let id = match_recording(&name)?.to_owned();
        let hint = hint(file, &id);
        Some(Self { id, hint })
    }
}

/// Where calls are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Around the time that is known of them.
    Near,
    /// A copied file's time says nothing: what is not found near is looked for in the whole account.
    Everywhere,
}

/// The calls that are named so.
pub(super) async fn find_calls(
    vault: &Vault,
    account: &Account,
    named: &[&Named],
    reach: Reach,
) -> Result<HashMap<String, Match>, CliError> {
    let mut found = HashMap::new();
    let mut wanted = HashSet::new();
    let mut hints = Vec::new();
    for Named { id, hint } in named {
        match id.parse::<Sid>() {
            Ok(sid) => match vault
                .get_record(&account.sid, Class::Call, sid, Reader::Compliance)
                .await
            {
                Ok(record) => _ = found.insert(id.clone(), match_of(&record)),
                Err(VaultError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            },
            Err(_) => {
                hints.extend(*hint);
                wanted.insert(id.clone());
            }
        }
    }
    if let (Some(first), Some(last)) = (hints.iter().min(), hints.iter().max()) {
        let near = Query {
            from: Some(first.plus_days(-AROUND_DAYS)),
            to: Some(last.plus_days(AROUND_DAYS)),
            ..Query::default()
        };
        find_by_source_id(vault, account, near, &mut wanted, &mut found).await?;
    }
    if reach == Reach::Everywhere {
        find_by_source_id(vault, account, Query::default(), &mut wanted, &mut found).await?;
    }
    Ok(found)
}

/// Looks for calls by what their source calls them; those that are found are no longer wanted.
async fn find_by_source_id(
    vault: &Vault,
    account: &Account,
    range: Query<'_>,
    wanted: &mut HashSet<String>,
    found: &mut HashMap<String, Match>,
) -> Result<(), CliError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let asked = wanted.clone();
    let is_asked = |record: &Record| record.source_id().is_some_and(|id| asked.contains(id.as_str()));
    let mut query = Query {
        filter: Some(&is_asked),
        limit: callvault_app::read::MAX_PAGE,
        ..range
    };
    loop {
        let page = vault
            .list_records_of(account, Class::Call, &query, Reader::Compliance)
            .await?;
        for record in &page.records {
            if let Some(id) = record.source_id() {
                wanted.remove(id.as_str());
                found.insert(id.to_string(), match_of(record));
            }
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(()),
        }
    }
}

fn match_of(record: &Record) -> Match {
    Match {
        sid: Some(record.sid()),
        at: record.at(),
        parties: record.parties().map(Clone::clone),
    }
}

pub(super) async fn import_one(
    vault: &Vault,
    account: &Account,
    file: &Path,
    call: Option<&Match>,
    consent: &Consent,
) -> Result<Outcome, CliError> {
    let name = name_of(file);
    let Some(Match {
        sid: call_sid,
        at,
        parties,
    }) = call.cloned()
    else {
        return Ok(Outcome::Rejected(
            "no-call",
            "no call of the vault belongs to this file name".to_owned(),
        ));
    };
    let audio = std::fs::read(file).map_err(|error| CliError::file("recording", &error))?;
    let info = match probe(Cursor::new(&audio), audio.len() as u64, &name) {
        Ok(info) => info,
        Err(error) => return Ok(Outcome::Rejected(error.code(), error.to_string())),
    };
    let meta = RecordingMeta {
        parties,
        format: info.format,
        channels: info.channels,
        sample_rate_hz: info.sample_rate_hz,
        duration_ms: info.duration_ms,
        consent: consent.clone(),
        policy_version: None,
        file_name: Some(name),
    };
    let sid = recording_sid(account, call_sid, at, &audio);
    let new = NewRecording {
        sid,
        call_sid,
        at,
        meta,
    };
    match vault.put_recording(&account.sid, new, &audio).await {
        Ok(_) => Ok(Outcome::New(sid)),
        Err(VaultError::RecordingKnown) => Ok(Outcome::Known(sid)),
        Err(VaultError::Refused(refusal)) => Ok(Outcome::Rejected(refusal.code, refusal.reason)),
        Err(error) => Err(error.into()),
    }
}
