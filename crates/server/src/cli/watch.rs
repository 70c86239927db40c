//! `import watch`: a folder that a switch puts recordings into, each with a note of what the caller decided.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use callvault_app::{
    Account, Vault,
    bulk::ImportFile,
    core::{AccountSid, Class, Number, TimeUs, consent::decide_ingest, record::Consent, time::SECOND_US},
    import::{Format, parse_time_zone},
};
use clap::Args;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::json;

use super::{
    CliError, Done, Output, parse_account,
    recordings::{Match, Named, Outcome, Reach, find_calls, import_one},
};
use crate::{serve, site::Site};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(2);
/// How long a note may be half written.
const WRITING_S: i64 = 10;
/// How long audio may wait for its note before that is said.
const NOTE_S: i64 = 60;
/// How long a call's record is waited for if the note says all that is needed; and if it does not.
const CALL_S: [i64; 2] = [60, 600];
/// How long until calls that were not there are looked for again, if none came.
const LOOK_AGAIN_S: i64 = 10;
/// The longest note.
const MAX_NOTE_BYTES: u64 = 16 * 1024;

/// Arguments of `import watch`.
#[derive(Args)]
pub(super) struct Watch {
    /// Account.
    #[arg(value_parser = parse_account)]
    account: AccountSid,
    /// The folder. What is stored is removed from it; what is refused stays, beside a file that says why.
    folder: PathBuf,
    /// A file of call records that the switch adds to, such as Asterisk's Master.csv; imported as it grows.
    #[arg(long)]
    calls: Vec<PathBuf>,
    /// Zone of times that carry none: UTC, an offset, or a name such as Asia/Kolkata.
    #[arg(long, default_value = "UTC")]
    time_zone: String,
    /// Do what there is to do now, and end.
    #[arg(long)]
    once: bool,
}

/// What a hook writes beside a recording: `NAME.json` for `NAME.wav` or `NAME.mp3`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    consent: String,
    version: Option<String>,
    by: Option<String>,
    /// What the switch calls the call; what the file's name says if absent.
    call: Option<String>,
    /// When it began, RFC 3339; and who spoke. With all three, the recording can do without a call's record.
    at: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// A recording whose call is looked for.
struct Candidate {
    path: PathBuf,
    consent: Consent,
    /// What the note says of the call.
    given: Option<Match>,
    /// What the call is called.
    named: Option<Named>,
    /// How long its note has been there.
    waited_s: i64,
}

/// Why a file is not taken.
struct Refused(&'static str, String);

/// Rounds of looking.
struct Rounds<'w> {
    watch: &'w Watch,
    vault: &'w Vault,
    account: &'w Account,
    zone: TimeZone,
    out: &'w Output,
    /// How long files of call records were when they were read last.
    read: BTreeMap<PathBuf, u64>,
    /// Recordings that were said to wait for a note.
    told: BTreeSet<PathBuf>,
    /// When calls were looked for that were not there; nothing if none was missing, or some came since.
    looked_at: Option<TimeUs>,
    counts: [u64; 3],
}

impl Watch {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        let zone = parse_time_zone(&self.time_zone);
        let zone = zone.map_err(|error| CliError::Usage(format!("--time-zone: {error}")))?;
        let vault = site.open_vault_of(&self.account).await?;
        let account = vault.get_account(&self.account).await?;
        let mut rounds = Rounds {
            watch: &self,
            vault: &vault,
            account: &account,
            zone,
            out,
            read: BTreeMap::new(),
            told: BTreeSet::new(),
            looked_at: None,
            counts: [0; 3],
        };
        let told = serve::told_to_stop();
        tokio::pin!(told);
        loop {
            let done = rounds.look().await;
            if self.once {
                done?;
                break;
            }
            // What failed is tried again.
            if let Err(error) = done {
                out.note(&error);
            }
            tokio::select! {
                () = &mut told => break,
                () = pause() => {}
            }
        }
        let [stored, known, refused] = rounds.counts;
        out.show(&json!({ "stored": stored, "known": known, "refused": refused }), || {
            format!("{stored} stored, {known} known, {refused} refused")
        })?;
        match refused {
            0 => Ok(()),
            _ => Err(CliError::Refused(format!(
                "refused: {refused}; the files beside them say why"
            ))),
        }
    }
}

impl Rounds<'_> {
    async fn look(&mut self) -> Done {
        for path in &self.watch.calls {
            self.take_calls(path, false).await?;
        }
        let (mut audio, mut records) = (Vec::new(), Vec::new());
        let failed = |error| CliError::file("folder", &error).of_file(&self.watch.folder);
        for entry in std::fs::read_dir(&self.watch.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            // A link would lead elsewhere, and what is stored is removed.
            if !entry.file_type().map_err(failed)?.is_file() || refusal_of(&path).exists() {
                continue;
            }
            let name = entry.file_name().to_string_lossy().to_ascii_lowercase();
            if name.ends_with(".cdr.json") {
                records.push(path);
            } else if name.ends_with(".wav") || name.ends_with(".mp3") {
                audio.push(path);
            } else if name.ends_with(".json") {
                self.remove_leftover(&path);
            }
        }
        records.sort();
        for path in &records {
            self.take_calls(path, true).await?;
        }
        audio.sort();
        let mut candidates = Vec::new();
        for path in audio {
            match self.read_candidate(&path) {
                Ok(candidate) => candidates.extend(candidate),
                Err(refused) => self.refuse(&path, &refused)?,
            }
        }
        self.take(candidates).await
    }

    /// Imports call records. What cannot be read keeps nothing else from being taken.
    async fn take_calls(&mut self, path: &Path, is_own: bool) -> Done {
        match self.read_calls(path, is_own).await {
            Err(CliError::Refused(reason)) if is_own => self.refuse(path, &Refused("bad-calls", reason)),
            Err(error @ CliError::Refused(_)) => {
                if self.told.insert(path.to_owned()) {
                    self.out.note(&error.of_file(path));
                }
                Ok(())
            }
            done => done,
        }
    }

    /// Imports what was added to a file of call records. One of the folder's own is one call's, and goes once it is read.
    async fn read_calls(&mut self, path: &Path, is_own: bool) -> Done {
        let failed = |error| CliError::file("call records", &error).of_file(path);
        let bytes = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            // A switch that had no call yet has no such file.
            Err(error) if error.kind() == ErrorKind::NotFound && !is_own => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        if self.read.get(path) == Some(&bytes) {
            return Ok(());
        }
        let is_json = path.extension() == Some(OsStr::new("json"));
        let is_ndjson = path.extension() == Some(OsStr::new("ndjson"));
        let import = ImportFile {
            path: path.to_owned(),
            format: match (is_json, is_ndjson) {
                (true, _) => Format::FreeswitchJson,
                (_, true) => Format::Ndjson(Class::Call),
                _ => Format::AsteriskCsv,
            },
            time_zone: self.zone.clone(),
            rejects: with_ending(path, ".rejects.csv"),
            from_start: false,
        };
        let rejects = import.rejects.clone();
        let done = self.vault.import_file(&self.account.sid, import, &mut |_| {}).await?;
        self.read.insert(path.to_owned(), bytes);
        if done.stored > 0 {
            self.looked_at = None;
        }
        if done.stored + done.rejected > 0 {
            let (stored, rejected) = (done.stored, done.rejected);
            self.out.say(&format!(
                "{}: {stored} calls stored, {rejected} refused",
                path.display()
            ))?;
        }
        if !is_own {
            return Ok(());
        }
        self.read.remove(path);
        match done.rejected {
            0 => std::fs::remove_file(path).map_err(failed),
            _ => self.refuse(
                path,
                &Refused(
                    "bad-calls",
                    format!("not all of it is stored, see {}", rejects.display()),
                ),
            ),
        }
    }

    /// A recording with its note. Nothing while it waits for one.
    fn read_candidate(&mut self, path: &Path) -> Result<Option<Candidate>, Refused> {
        let note_path = note_of(path);
        let Some(waited_s) = self.age_s(&note_path) else {
            let is_late = self.watch.once || self.age_s(path).is_some_and(|age_s| age_s > NOTE_S);
            if is_late && self.told.insert(path.to_owned()) {
                let reason = format!(
                    "waits for {}: nothing is stored without a consent decision",
                    note_path.display()
                );
                self.out.note(&CliError::Refused(reason).of_file(path));
            }
            return Ok(None);
        };
        let bad = |reason| Refused("bad-note", reason);
        let note = match read_note(&note_path) {
            Ok(note) => note,
            Err(_) if waited_s < WRITING_S && !self.watch.once => return Ok(None),
            Err(reason) => return Err(bad(reason)),
        };
        let consent = decide_ingest(Some(&note.consent), note.version.clone(), note.by.clone());
        let consent = consent.map_err(|refusal| Refused(refusal.code, refusal.reason))?;
        let at = note.at.as_deref().map(TimeUs::parse).transpose();
        let at = at.map_err(|_| bad("`at` is no time (RFC 3339)".to_owned()))?;
        let given = self.read_given(&note, at).map_err(bad)?;
        // What the note calls the call decides, not what the file is called.
        let mut named = Named::by(path);
        if let Some(id) = note.call {
            let hint = named.and_then(|named| named.hint).or_else(|| self.written_at(path));
            named = Some(Named { id, hint });
        }
        if let Some(named) = &mut named {
            named.hint = at.or(named.hint);
        }
        Ok(Some(Candidate {
            path: path.to_owned(),
            consent,
            given,
            named,
            waited_s,
        }))
    }

    /// Takes recordings whose calls are there, or need not be.
    async fn take(&mut self, candidates: Vec<Candidate>) -> Done {
        let now = self.vault.now();
        // Looking for calls reads days of them: not for every file, and not all the time.
        if self.looked_at.is_some_and(|at| now < at.plus_seconds(LOOK_AGAIN_S)) {
            return Ok(());
        }
        let named: Vec<&Named> = candidates
            .iter()
            .filter_map(|candidate| candidate.named.as_ref())
            .collect();
        let calls = find_calls(self.vault, self.account, &named, Reach::Near).await?;
        self.looked_at = None;
        let mut done = Ok(());
        for candidate in candidates {
            let path = &candidate.path;
            let call = candidate.named.as_ref().and_then(|named| calls.get(&named.id));
            let patience_s = CALL_S[usize::from(candidate.given.is_none())];
            let is_over = self.watch.once || candidate.waited_s >= patience_s;
            let Some(call) = call.or_else(|| {
                candidate
                    .given
                    .as_ref()
                    .filter(|_| is_over || candidate.named.is_none())
            }) else {
                if is_over {
                    let reason =
                        "no call of the vault belongs to it; with `at`, `from` and `to` in its note it needs none";
                    self.refuse(path, &Refused("no-call", reason.to_owned()))?;
                } else {
                    self.looked_at = Some(now);
                }
                continue;
            };
            match import_one(self.vault, self.account, path, Some(call), &candidate.consent).await {
                Ok(Outcome::Rejected(code, reason)) => self.refuse(path, &Refused(code, reason))?,
                Ok(Outcome::New(sid)) => done = done.and(self.remove(path, 0, &format!("stored, {sid}"))),
                Ok(Outcome::Known(sid)) => done = done.and(self.remove(path, 1, &format!("known, {sid}"))),
                // The others are taken all the same; this one is tried again.
                Err(error) => done = done.and(Err(error.of_file(path))),
            }
        }
        done
    }

    /// Removes what is the vault's by now.
    fn remove(&mut self, path: &Path, count: usize, outcome: &str) -> Done {
        self.counts[count] += 1;
        self.out.say(&format!("{}: {outcome}", path.display()))?;
        // The audio first: a note alone is removed later.
        for done in [path.to_owned(), note_of(path)] {
            match std::fs::remove_file(&done) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(CliError::file("stored recording", &error).of_file(&done));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn refuse(&mut self, path: &Path, Refused(code, reason): &Refused) -> Done {
        self.counts[2] += 1;
        let refusal = refusal_of(path);
        let text = json!({ "code": code, "reason": reason }).to_string();
        std::fs::write(&refusal, text).map_err(|error| CliError::file("refusal", &error).of_file(&refusal))?;
        self.out
            .note(&CliError::Refused(format!("{reason} ({code})")).of_file(path));
        Ok(())
    }

    /// What a note says of the call, if it says all of it.
    fn read_given(&self, note: &Note, at: Option<TimeUs>) -> Result<Option<Match>, String> {
        let (Some(at), Some(from), Some(to)) = (at, &note.from, &note.to) else {
            return Ok(None);
        };
        let read = |name: &str, text: &str| {
            Number::parse(text, self.account.country).map_err(|error| format!("`{name}` is {error}"))
        };
        Ok(Some(Match {
            sid: None,
            at,
            parties: [read("from", from)?, read("to", to)?],
        }))
    }

    /// When a file was written; nothing if there is none.
    fn written_at(&self, path: &Path) -> Option<TimeUs> {
        let metadata = std::fs::symlink_metadata(path)
            .ok()
            .filter(std::fs::Metadata::is_file)?;
        let written = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(TimeUs(i64::try_from(written.as_micros()).ok()?))
    }

    /// How long ago that was.
    fn age_s(&self, path: &Path) -> Option<i64> {
        Some((self.vault.now().0 - self.written_at(path)?.0) / SECOND_US)
    }

    /// Removes a note whose recording was stored and removed before a crash.
    fn remove_leftover(&self, note: &Path) {
        let is_alone = ["wav", "mp3", "WAV", "MP3"]
            .iter()
            .all(|kind| !note.with_extension(kind).exists());
        if is_alone && self.age_s(note).is_some_and(|age_s| age_s > CALL_S[1]) {
            let _ = std::fs::remove_file(note);
        }
    }
}

fn read_note(path: &Path) -> Result<Note, String> {
    let said = |error: std::io::Error| format!("its note cannot be read: {}", error.kind());
    if std::fs::metadata(path).map_err(said)?.len() > MAX_NOTE_BYTES {
        return Err(format!("its note is longer than {MAX_NOTE_BYTES} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(said)?;
    // What the error says may be what the note says: numbers of people.
    let place = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        format!("its note is no JSON object of the fields that are known (line {line}, column {column})")
    };
    serde_json::from_str(&text).map_err(place)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

fn note_of(path: &Path) -> PathBuf {
    path.with_extension("json")
}

fn refusal_of(path: &Path) -> PathBuf {
    with_ending(path, ".refused")
}

#[expect(clippy::disallowed_methods, reason = "a folder is looked into every so often")]
async fn pause() {
    tokio::time::sleep(LOOK).await;
}
