//! `import`.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use callvault_app::{
    bulk::{ImportFile, Progress},
    core::{AccountSid, Class},
    import::{Format, detect, parse_time_zone},
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{CliError, Done, Output, output::show_count, parse_account, recordings::Recordings};
use crate::site::Site;

#[derive(Subcommand)]
pub(super) enum Import {
    /// Import call records: Asterisk Master.csv, FreeSWITCH JSON, or our own NDJSON and CSV.
    Calls(Records),
    /// Import message records: our own NDJSON and CSV.
    Messages(Records),
    /// Import recordings (WAV and MP3), matched to their calls by file name or a list.
    Recordings(Recordings),
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
    /// Zone of times that carry none: UTC, an offset, or a name such as Asia/Kolkata.
    #[arg(long, default_value = "UTC")]
    time_zone: String,
    /// Where refused rows go: this file, or FILE.rejects.csv beside each file.
    #[arg(long)]
    rejects: Option<PathBuf>,
    /// Read from the beginning, though an earlier import of the file is known.
    #[arg(long)]
    from_start: bool,
}

impl Import {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        match self {
            Self::Calls(records) => records.run(site, out, Class::Call).await,
            Self::Messages(records) => records.run(site, out, Class::Message).await,
            Self::Recordings(recordings) => recordings.run(site, out).await,
        }
    }
}

impl Records {
    async fn run(self, site: &Site, out: &Output, class: Class) -> Done {
        if self.rejects.is_some() && self.files.len() > 1 {
            return Err(CliError::Usage("--rejects goes with one file".to_owned()));
        }
        let time_zone =
            parse_time_zone(&self.time_zone).map_err(|error| CliError::Usage(format!("--time-zone: {error}")))?;
        let vault = site.open_vault_of(&self.account).await?;
        let mut reports = Vec::new();
        let mut rejected = 0;
        for path in &self.files {
            let size = std::fs::metadata(path)
                .map_err(|error| CliError::file("import file", &error))?
                .len();
            let format = self.format_of(path, class)?;
            let rejects = self.rejects.clone().unwrap_or_else(|| beside(path));
            let bar = out.bytes_bar(size, "importing");
            let import = ImportFile {
                path: path.clone(),
                format,
                time_zone: time_zone.clone(),
                rejects: rejects.clone(),
                from_start: self.from_start,
            };
            let mut report = |progress: &Progress| bar.set_position(progress.offset_bytes);
            let done = vault.import_file(&self.account, import, &mut report).await?;
            bar.finish_and_clear();
            rejected += done.rejected;
            let rejects = (done.rejected > 0).then_some(rejects);
            out.say(&format!(
                "{}: {} stored, {} known, {} refused{}",
                path.display(),
                show_count(done.stored),
                show_count(done.known),
                show_count(done.rejected),
                rejects
                    .as_ref()
                    .map(|path| format!(", see {}", path.display()))
                    .unwrap_or_default()
            ))?;
            reports.push(json!({
                "file": path, "rows": done.rows, "stored": done.stored, "known": done.known,
                "rejected": done.rejected, "rejects": rejects,
            }));
        }
        if out.is_json() {
            out.show(&json!({ "files": reports, "rejected": rejected }), String::new)?;
        }
        if rejected > 0 {
            return Err(CliError::Refused(format!(
                "{} rows were refused; the others are stored",
                show_count(rejected)
            )));
        }
        Ok(())
    }

    fn format_of(&self, path: &Path, class: Class) -> Result<Format, CliError> {
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
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                match detect(&start, &name) {
                    // Own files say by their fields what they are; the command says it too, and the reader checks it.
                    Some(Format::Ndjson(_)) => Ok(Format::Ndjson(class)),
                    Some(Format::Csv(_)) => Ok(Format::Csv(class)),
                    Some(format) => Ok(format),
                    None => Err(CliError::Refused(format!(
                        "{}: not a format that is known; say which with --format",
                        path.display()
                    ))),
                }
            }
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".rejects.csv");
    path.with_file_name(name)
}
