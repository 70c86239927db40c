//! `import`.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use callvault_app::{
    Vault,
    bulk::{ImportFile, Progress},
    core::{AccountSid, Class},
    import::{Format, ImportError, check_readable, detect, parse_time_zone},
};
use clap::{Args, Subcommand, ValueEnum};
use jiff::tz::TimeZone;
use serde_json::json;

use super::{
    CliError, Done, Output,
    output::{show_count, show_counted},
    parse_account,
    recordings::Recordings,
    watch::Watch,
};
use crate::site::Site;

#[derive(Subcommand)]
pub(super) enum Import {
    /// Import call records: Asterisk Master.csv, FreeSWITCH JSON, or our own NDJSON and CSV.
    Calls(Records),
    /// Import message records: our own NDJSON and CSV.
    Messages(Records),
    /// Import recordings (WAV and MP3), matched to their calls by file name.
    Recordings(Recordings),
    /// Take recordings of a folder as a switch puts them there, each with a note of what the caller decided.
    Watch(Watch),
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatName {
    Asterisk,
    Freeswitch,
    Ndjson,
    Csv,
}

#[derive(Args)]
pub(super) struct Records {
    /// Account.
    #[arg(value_parser = parse_account)]
    account: AccountSid,
    /// The files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// What they are written in; found out if absent.
    #[arg(long)]
    format: Option<FormatName>,
    /// Zone of times that carry none: UTC, an offset, or a name such as Asia/Kolkata. A file that was imported with
    /// another zone is refused, because its rows would be stored a second time.
    #[arg(long, default_value = "UTC")]
    time_zone: String,
    /// Where refused rows go: this file, or FILE.rejects.csv beside each file.
    #[arg(long)]
    rejects: Option<PathBuf>,
    /// Read from the beginning, though an earlier import of the file is known; also with another time zone.
    #[arg(long)]
    from_start: bool,
}

/// Files that could not be imported, while the others were.
#[derive(Default)]
pub(super) struct Failures(Vec<CliError>);

impl Failures {
    pub(super) fn add(&mut self, error: CliError) {
        self.0.push(error);
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The worst of them, which says how many of `files` there are.
    pub(super) fn into_result(self, files: usize) -> Done {
        let count = self.0.len();
        let Some(worst) = self.0.into_iter().max_by_key(CliError::code) else {
            return Ok(());
        };
        if files == 1 {
            return Err(worst);
        }
        let tell = |text| format!("{count} of {files} files not imported, among them {text}");
        Err(match worst {
            CliError::Refused(text) => CliError::Refused(tell(text)),
            CliError::Usage(text) => CliError::Usage(tell(text)),
            CliError::Failed(text) => CliError::Failed(tell(text)),
        })
    }
}

impl Import {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        match self {
            Self::Calls(records) => records.run(site, out, Class::Call).await,
            Self::Messages(records) => records.run(site, out, Class::Message).await,
            Self::Recordings(recordings) => recordings.run(site, out).await,
            Self::Watch(watch) => watch.run(site, out).await,
        }
    }
}

impl Records {
    /// Imports file after file. One that cannot be imported does not keep the others from it; the exit code is that of
    /// the worst.
    async fn run(self, site: &Site, out: &Output, class: Class) -> Done {
        if self.rejects.is_some() && self.files.len() > 1 {
            return Err(CliError::Usage("--rejects goes with one file".to_owned()));
        }
        let time_zone =
            parse_time_zone(&self.time_zone).map_err(|error| CliError::Usage(format!("--time-zone: {error}")))?;
        let vault = site.open_vault_of(&self.account).await?;
        let mut reports = Vec::new();
        let mut rejected = 0;
        let mut failures = Failures::default();
        for path in &self.files {
            let import = self.plan(path, class, &time_zone);
            match self.import(&vault, out, import).await {
                Ok((done, report)) => {
                    rejected += done.rejected;
                    reports.push(report);
                }
                Err(error) => {
                    let error = error.of_file(path);
                    if self.files.len() > 1 {
                        out.note(&error);
                    }
                    reports.push(json!({ "file": path, "error": error.to_json() }));
                    failures.add(error);
                }
            }
        }
        out.show_json(&json!({
            "time_zone": self.time_zone, "files": reports, "rejected": rejected, "failed": failures.count(),
        }))?;
        failures.into_result(self.files.len())?;
        match rejected {
            0 => Ok(()),
            rows => Err(CliError::Refused(format!(
                "refused: {}; everything else is stored",
                show_counted(rows, "row")
            ))),
        }
    }

    fn plan(&self, path: &Path, class: Class, time_zone: &TimeZone) -> Result<ImportFile, CliError> {
        Ok(ImportFile {
            path: path.to_owned(),
            format: self.format_of(path, class)?,
            time_zone: time_zone.clone(),
            rejects: self.rejects.clone().unwrap_or_else(|| beside(path)),
            from_start: self.from_start,
        })
    }

    async fn import(
        &self,
        vault: &Vault,
        out: &Output,
        import: Result<ImportFile, CliError>,
    ) -> Result<(Progress, serde_json::Value), CliError> {
        let import = import?;
        let (path, rejects) = (import.path.clone(), import.rejects.clone());
        let zoned = matches!(import.format, Format::AsteriskCsv | Format::Csv(_));
        let size = std::fs::metadata(&path)
            .map_err(|error| CliError::file("import file", &error))?
            .len();
        let bar = out.bytes_bar(size, "importing");
        let mut report = |progress: &Progress| bar.set_position(progress.offset_bytes);
        let done = vault.import_file(&self.account, import, &mut report).await;
        bar.finish_and_clear();
        let done = done?;
        let zone = if zoned {
            format!("; times without a zone are in {}", self.time_zone)
        } else {
            String::new()
        };
        let rejects = (done.rejected > 0).then_some(rejects);
        let see = rejects.as_ref().map(|path| format!(", see {}", path.display()));
        out.say(&format!(
            "{}: {} stored, {} known, {} refused{}{}",
            path.display(),
            show_count(done.stored),
            show_count(done.known),
            show_count(done.rejected),
            see.unwrap_or_default(),
            zone
        ))?;
        let report = json!({
            "file": path, "rows": done.rows, "stored": done.stored, "known": done.known,
            "rejected": done.rejected, "rejects": rejects,
        });
        Ok((done, report))
    }

    fn format_of(&self, path: &Path, class: Class) -> Result<Format, CliError> {
        let format = self.find_format(path, class)?;
        let switch = match format {
            Format::AsteriskCsv => "Asterisk",
            Format::FreeswitchJson => "FreeSWITCH",
            Format::Ndjson(_) | Format::Csv(_) => return Ok(format),
        };
        match class {
            Class::Message => Err(unreadable(&ImportError::CallsOnly(switch))),
            _ => Ok(format),
        }
    }

    fn find_format(&self, path: &Path, class: Class) -> Result<Format, CliError> {
        match self.format {
            Some(FormatName::Asterisk) => Ok(Format::AsteriskCsv),
            Some(FormatName::Freeswitch) => Ok(Format::FreeswitchJson),
            Some(FormatName::Ndjson) => Ok(Format::Ndjson(class)),
            Some(FormatName::Csv) => Ok(Format::Csv(class)),
            None => {
                let mut start = Vec::new();
                std::fs::File::open(path)
                    .and_then(|file| file.take(16 * 1024).read_to_end(&mut start))
                    .map_err(|error| CliError::file("import file", &error))?;
                check_readable(&start).map_err(|error| unreadable(&error))?;
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                match detect(&start, &name) {
                    // Own files say by their fields what they are; the command says it too, and the reader checks it.
                    Some(Format::Ndjson(_)) => Ok(Format::Ndjson(class)),
                    Some(Format::Csv(_)) => Ok(Format::Csv(class)),
                    Some(format) => Ok(format),
                    None => Err(CliError::Refused(
                        "not a format that is known; say which with --format".to_owned(),
                    )),
                }
            }
        }
    }
}

fn unreadable(error: &ImportError) -> CliError {
    CliError::Refused(format!("{error} ({})", error.code()))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".rejects.csv");
    path.with_file_name(name)
}
